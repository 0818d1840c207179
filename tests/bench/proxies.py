"""A server with three proxies in front of it: the relay, haproxy and nginx, set up alike.

Each has one thread, keeps connections to the server, tells it the client's address, counts, and writes its access log to a file. The
proxies share one core, the load and the server have the other; nothing but the proxy that is measured has work to do."""

import os
import socket
import subprocess
from pathlib import Path

from fleet20 import free_port, wait
from measure import Setting, lbdeck, need

PROXY_CORE, LOAD_CORE = "0", "1"
NAMES = ("lbdeck", "haproxy", "nginx")
KINDS = ("http", "tls", "tcp")
# Connections at once that haproxy agrees to, with twice as many descriptors at hand.
HAPROXY_MAXCONN = 9_900


def cpu_s(pid):
    """CPU of a process and of all its children."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if stat.parent.name == str(pid) or fields[1] == str(pid):
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory_kb(pid):
    """Resident memory of a process and of all its children, and how much of it is no file's."""
    total, own = 0, 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue
        if fields["Pid"].strip() == str(pid) or fields["PPid"].strip() == str(pid):
            total += int(fields.get("VmRSS", "0").split()[0])
            own += int(fields.get("RssAnon", "0").split()[0])
    return total, own


def forget(program):
    """Drops a program from the page cache, as after a boot. How much of it one page fault maps depends on how it came to be there:
    the same process had 19.5 MB when its pages were faulted in, and 23.7 MB after the file had been read once."""
    with open(program, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Proxies(Setting):
    """The server and the proxies of `names`. `checked`: pools and servers in each; then they only check these and serve nothing."""

    def __init__(self, names=NAMES, checked=None):
        self.ports, self.pids = {}, {}
        self.server = free_port("127.0.0.1")
        super().__init__(names, checked)

    def _start(self, names, checked):
        d = self.dir
        (d / "www").mkdir()
        (d / "www/1k").write_bytes(b"x" * 1024)
        with open(d / "www/bulk", "wb") as file:
            file.truncate(1 << 30)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", d / "key", "-out", d / "cert"],
            check=True, stderr=subprocess.DEVNULL,
        )
        (d / "pem").write_text((d / "cert").read_text() + (d / "key").read_text())
        # Checked servers have an address each: the server listens on all of loopback.
        address = "0.0.0.0" if checked else "127.0.0.1"
        self._nginx("server", f"server {{ listen {address}:{self.server} backlog=4096; root {d}/www; access_log off; }}", LOAD_CORE)
        wait("the server", lambda: listens(self.server))
        starts = {"lbdeck": self._relay, "haproxy": self._haproxy, "nginx": self._nginx_proxy}
        for name in names:
            ports = {kind: free_port("127.0.0.1") for kind in KINDS}
            process = starts[name](ports, checked)
            self.pids[name], self.ports[name] = process.pid, ports
            for port in ports.values():
                wait(f"{name} on {port}", lambda port=port: listens(port))

    def _spawn(self, core, argv, log):
        with open(self.dir / log, "wb") as out:
            process = subprocess.Popen(["taskset", "-c", core, *map(str, argv)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def _nginx(self, name, servers, core, before=""):
        root = self.dir / name
        root.mkdir()
        (root / "conf").write_text(
            f"{before}user root; worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log;\n"
            f"events {{ worker_connections 15000; }}\n"
            f"http {{ access_log {root}/access.log; keepalive_requests 1000000000; client_body_temp_path {root}; proxy_temp_path {root};\n"
            f"fastcgi_temp_path {root}; uwsgi_temp_path {root}; scgi_temp_path {root};\n{servers} }}\n"
        )
        return self._spawn(core, [need("nginx", "nginx-light"), "-p", root, "-c", root / "conf"], f"{name}.out")

    def _nginx_proxy(self, ports, _checked):
        location = (
            "location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host;\n"
            "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; }"
        )
        servers = (
            f"upstream app {{ server 127.0.0.1:{self.server}; keepalive 256; keepalive_requests 1000000000; }}\n"
            f"server {{ listen 127.0.0.1:{ports['http']}; {location} }}\n"
            f"server {{ listen 127.0.0.1:{ports['tls']} ssl http2; ssl_certificate {self.dir}/cert; ssl_certificate_key {self.dir}/key; {location} }}"
        )
        module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        if not module.exists():
            del ports["tcp"]  # without its module nginx has no TCP mode to compare
            return self._nginx("nginx", servers, PROXY_CORE)
        tcp = f"load_module {module};\nstream {{ server {{ listen 127.0.0.1:{ports['tcp']}; proxy_pass 127.0.0.1:{self.server}; }} }}\n"
        return self._nginx("nginx", servers, PROXY_CORE, tcp)

    def _servers(self, pool, servers):
        return [f"127.{pool + 1}.{s // 200}.{s % 200 + 1}:{self.server}" for s in range(servers)]

    def _haproxy(self, ports, checked):
        text = (
            # Its cheapest way to a file: a socket to a syslog daemon cost it a twentieth more.
            f"global\n nbthread 1\n maxconn {1_000 if checked else HAPROXY_MAXCONN}\n log stdout format raw local0\n stats socket {self.dir}/stats\n"
            f"defaults\n log global\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n timeout http-request 10s\n timeout queue 5s\n"
            f"frontend h\n mode http\n option httplog\n option forwardfor\n http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n"
            f" http-request set-header X-Forwarded-Host %[req.hdr(host)]\n bind 127.0.0.1:{ports['http']}\n"
            f" bind 127.0.0.1:{ports['tls']} ssl crt {self.dir}/pem alpn h2,http/1.1\n default_backend app\n"
            f"backend app\n mode http\n http-reuse always\n server s 127.0.0.1:{self.server}\n"
            f"listen t\n mode tcp\n option tcplog\n option splice-auto\n bind 127.0.0.1:{ports['tcp']}\n server s 127.0.0.1:{self.server}\n"
        )
        for pool in range(checked[0] if checked else 0):
            text += f"backend p{pool}\n mode http\n" + "".join(
                f" server s{i} {at} check inter 2s\n" for i, at in enumerate(self._servers(pool, checked[1]))
            )
        (self.dir / "haproxy.cfg").write_text(text)
        return self._spawn(PROXY_CORE, [need("haproxy", "haproxy"), "-db", "-f", self.dir / "haproxy.cfg"], "haproxy.log")

    def _relay(self, ports, checked):
        d, at = self.dir, f"127.0.0.1:{self.server}"
        text = (
            f"version: 1\nglobal: {{threads: 1, access_log: {{to: {d}/relay.log}}}}\n"
            f"listeners:\n  - {{name: http, bind: '127.0.0.1:{ports['http']}', pool: app}}\n"
            f"  - {{name: tls, bind: '127.0.0.1:{ports['tls']}', pool: app, tls: {{certificates: [{d}/pem]}}}}\n"
            f"  - {{name: tcp, mode: tcp, bind: '127.0.0.1:{ports['tcp']}', pool: raw}}\n"
            f"pools:\n  - {{name: app, servers: [{{name: s, address: '{at}'}}]}}\n"
            f"  - {{name: raw, mode: tcp, servers: [{{name: s, address: '{at}'}}]}}\n"
        )
        for pool in range(checked[0] if checked else 0):
            text += f"  - name: p{pool}\n    check: {{inter: 2s}}\n    servers:\n" + "".join(
                f"      - {{name: s{i}, address: '{at}'}}\n" for i, at in enumerate(self._servers(pool, checked[1]))
            )
        (d / "relay.yaml").write_text(text)
        argv = [lbdeck(), "agent", "run", "--config", d / "relay.yaml", "--socket", d / "agent.sock", "--lock-dir", d, "--state", d]
        return self._spawn(PROXY_CORE, argv, "agent.out")

"""Twenty nodes on loopback: an OpenSSH server and a haproxy with one statistics socket each, as in the field."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from measure import Setting, fail, need

SERVERS = 4
USER = "root" if os.getuid() == 0 else os.environ.get("USER", "")


def free_port(address):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def wait(what, ready, within=20):
    end = time.monotonic() + within
    while not ready():
        if time.monotonic() > end:
            fail(f"waited {within} s in vain: {what}")
        time.sleep(0.02)


def ask(path, command):
    """One command on a statistics socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(path))
        s.sendall(command.encode() + b"\n")
        reply = b""
        while chunk := s.recv(65536):
            reply += chunk
        return reply.decode()


def answers(path):
    try:
        return bool(ask(path, "show info"))
    except OSError:
        return False


class Fleet(Setting):
    def __init__(self, nodes=20):
        self.nodes = [f"node{i + 1:02}" for i in range(nodes)]
        self.address = {name: f"127.0.0.{101 + i}" for i, name in enumerate(self.nodes)}
        self.port = {}
        super().__init__()

    def socket(self, node):
        return self.dir / f"{node}.sock"

    def _spawn(self, argv, log):
        with open(self.dir / log, "wb") as out:
            self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True))

    def _start(self):
        haproxy, sshd = need("haproxy", "haproxy"), need("sshd", "openssh-server")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        d = self.dir
        app = free_port("127.0.0.1")
        (d / "app.cfg").write_text(
            f"global\n    stats socket {d}/app.sock\ndefaults\n    mode http\n    timeout client 10s\n    timeout connect 1s\n"
            f"    timeout server 10s\nfrontend app\n    bind 127.0.0.1:{app}\n    http-request return status 200\n"
        )
        self._spawn([haproxy, "-db", "-f", d / "app.cfg"], "app.log")
        wait("the application", lambda: answers(d / "app.sock"))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d / "key"], check=True)
        shutil.copy(d / "key.pub", d / "authorized_keys")
        known, config = "", ""
        for node in self.nodes:
            address = self.address[node]
            port = self.port[node] = free_port(address)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d / f"{node}.host"], check=True)
            # SHLVL: root's .bashrc may be slow, and bash reads it for ssh commands at a low SHLVL only.
            (d / f"{node}.sshd").write_text(
                f"Port {port}\nListenAddress {address}\nHostKey {d}/{node}.host\nPidFile none\nStrictModes no\nUsePAM no\n"
                f"AuthorizedKeysFile {d}/authorized_keys\nPermitRootLogin yes\nPasswordAuthentication no\nUseDNS no\n"
                f"MaxStartups 1000\nMaxSessions 100\nSetEnv SHLVL=5\nSubsystem sftp internal-sftp\n"
            )
            self._spawn([sshd, "-D", "-e", "-f", d / f"{node}.sshd"], f"{node}.sshd.log")
            key = (d / f"{node}.host.pub").read_text().split()
            known += f"[{address}]:{port} {key[0]} {key[1]}\n"
            config += f"Host {node}\n    HostName {address}\n    Port {port}\n"
            servers = "".join(f"    server s{i + 1} 127.0.0.1:{app} check inter 10s\n" for i in range(SERVERS))
            (d / f"{node}.cfg").write_text(
                f"global\n    stats socket {self.socket(node)} mode 600 level admin\n    nbthread 1\n"
                f"defaults\n    mode http\n    timeout client 10s\n    timeout connect 1s\n    timeout server 10s\n"
                f"frontend web-in\n    bind {address}:{free_port(address)}\n    default_backend web\nbackend web\n{servers}"
            )
            self._spawn([haproxy, "-db", "-f", d / f"{node}.cfg"], f"{node}.log")
        (d / "known_hosts").write_text(known)
        (d / "ssh_config").write_text(
            config + f"Host *\n    User {USER}\n    IdentityFile {d}/key\n    IdentitiesOnly yes\n    UserKnownHostsFile {d}/known_hosts\n"
            "    BatchMode yes\n    StrictHostKeyChecking yes\n"
        )
        for node in self.nodes:
            wait(f"haproxy of {node}", lambda: answers(self.socket(node)))
            wait(f"sshd of {node}", lambda: self._listens(node))
            wait(f"servers of {node}", lambda: ask(self.socket(node), "show stat").count(",UP,") >= SERVERS)

    def _listens(self, node):
        try:
            with socket.create_connection((self.address[node], self.port[node]), timeout=5) as s:
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    def fleet_file(self):
        path = self.dir / "lbdeck.yaml"
        text = f"version: 1\ndefaults:\n  ssh:\n    config_file: {self.dir}/ssh_config\nnodes:\n"
        for node in self.nodes:
            text += (
                f"  - name: {node}\n    address: {node}\n    lock_dir: {self.dir}/{node}.lock\n"
                f"    engines: {{ haproxy: {{ socket: {self.socket(node)}, config: {self.dir}/{node}.cfg }} }}\n"
            )
        path.write_text(text)
        return path

    def ready(self, server="web/s1"):
        """Brings the server back on all nodes, past everything that is measured."""
        for node in self.nodes:
            ask(self.socket(node), f"set server {server} state ready")

    def drained(self, pool="web", server="s1"):
        """On how many nodes the server is forced to drain."""
        count = 0
        for node in self.nodes:
            for line in ask(self.socket(node), f"show servers state {pool}").splitlines():
                fields = line.split()
                if len(fields) > 6 and fields[3] == server and int(fields[6]) & 8:
                    count += 1
        return count

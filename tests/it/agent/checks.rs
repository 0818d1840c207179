//! Many servers under checks of HTTP, plain and over TLS, by nginx that answers on a whole network of loopback addresses.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::agent::Agent;
use crate::support::wait;

use super::leases::LONG;

/// Servers of each pool, of which every seventh fails at first.
const SERVERS: usize = 200;
const SICK: usize = 7;

/// `127.77.N.M:PORT`, plain and over TLS: 503 for addresses of which a file `down-ADDRESS` is there.
struct Servers {
    child: Child,
    folder: tempfile::TempDir,
    ports: [u16; 2],
}

fn address(n: usize) -> String {
    format!("127.77.{}.{}", n / 200, n % 200 + 1)
}

impl Servers {
    fn start() -> Servers {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=app",
            ])
            .arg("-keyout")
            .arg(root.join("key"))
            .arg("-out")
            .arg(root.join("pem"))
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = [free(), free()];
        let dir = root.display();
        let servers: String = ports
            .iter()
            .zip(["", "ssl"])
            .map(|(port, ssl)| {
                format!(
                    "server {{ listen 0.0.0.0:{port} {ssl}; ssl_certificate {dir}/pem; ssl_certificate_key {dir}/key;\n\
                     location = /health {{ if (-f {dir}/down-$server_addr) {{ return 503; }} return 200 'all is well'; }} }}\n"
                )
            })
            .collect();
        let conf = format!(
            "worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/error.log; user root;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};\n\
             uwsgi_temp_path {dir}; scgi_temp_path {dir};\n{servers} }}\n"
        );
        fs::write(root.join("conf"), conf).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(root).arg("-c").arg(root.join("conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let servers = Servers { child: command.spawn().unwrap(), folder, ports };
        for port in ports {
            wait::until("nginx listens", LONG, || std::net::TcpStream::connect(("127.77.0.1", port)).ok());
        }
        servers
    }

    fn file(&self, n: usize) -> PathBuf {
        self.folder.path().join(format!("down-{}", address(n)))
    }

    fn config(&self) -> String {
        let mut text = "listeners: [{name: front, bind: '127.0.0.1:0', pool: plain}, {name: other, bind: '127.0.0.1:0', pool: tls}]\npools:\n".to_owned();
        for ((name, port), tls) in ["plain", "tls"].iter().zip(self.ports).zip([false, true]) {
            writeln!(
                text,
                "  - name: {name}\n    check: {{type: http, path: /health, status: 200, body: well, tls: {tls}, inter: 1s, fastinter: 100ms, rise: 2, fall: 2}}\n    servers:"
            )
            .unwrap();
            for n in 0..SERVERS {
                writeln!(text, "      - {{name: s{n}, address: '{}:{port}'}}", address(n)).unwrap();
            }
        }
        text
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // SIGTERM lets the master end its workers.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Waits until the servers of both pools that are down are exactly these.
fn down_are(agent: &Agent, sick: impl Fn(usize) -> bool) {
    let expected: Vec<String> = (0..SERVERS).map(|n| (if sick(n) { "down" } else { "up" }).to_owned()).collect();
    wait::until("every server to be seen as it is", LONG * 3, || {
        let pools = agent.get("/v1/snapshot")["pools"].clone();
        let health = |pool: &serde_json::Value| -> Vec<String> {
            let servers = pool["servers"].as_array().unwrap();
            (0..SERVERS)
                .map(|n| servers.iter().find(|s| s["name"] == format!("s{n}")).unwrap()["health"].as_str().unwrap().to_owned())
                .collect()
        };
        pools.as_array().unwrap().iter().all(|pool| health(pool) == expected).then_some(())
    });
}

#[test]
fn each_of_many_servers_is_seen_as_it_is_over_http_and_tls() {
    if !nix::unistd::Uid::effective().is_root() {
        let test = "agent::checks::each_of_many_servers_is_seen_as_it_is_over_http_and_tls";
        return crate::support::skip(test, "nginx is told to serve as root");
    }
    let servers = Servers::start();
    for n in (0..SERVERS).filter(|n| n % SICK == 0) {
        fs::write(servers.file(n), "").unwrap();
    }
    let agent = Agent::with_config(&servers.config());
    down_are(&agent, |n| n % SICK == 0);
    // Some recover, others fall ill.
    for n in 0..SERVERS {
        if n % SICK == 0 {
            fs::remove_file(servers.file(n)).unwrap();
        } else if n % SICK == 1 {
            fs::write(servers.file(n), "").unwrap();
        }
    }
    down_are(&agent, |n| n % SICK == 1);
    let pools = agent.get("/v1/snapshot")["pools"].clone();
    for pool in pools.as_array().unwrap() {
        let sick = pool["servers"].as_array().unwrap().iter().find(|s| s["health"] == "down").unwrap();
        assert_eq!((&sick["check"]["status"], &sick["check"]["code"]), (&"L7STS".into(), &503.into()), "{sick}");
    }
}

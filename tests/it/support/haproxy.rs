//! Real haproxy for tests: built from pools of servers, on sockets in a folder of its own, ended by its pid.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::wait;

pub const STATS_USER: &str = "admin";
pub const STATS_PASSWORD: &str = "s3cret:pass";
const LONG: Duration = Duration::from_secs(15);

/// A backend and the frontend `fe_NAME` in front of it.
#[derive(Clone, Debug)]
pub struct Pool {
    name: String,
    balance: String,
    lines: Vec<String>,
    servers: Vec<String>,
}

impl Pool {
    pub fn new(name: &str) -> Pool {
        Pool { name: name.into(), balance: "roundrobin".into(), lines: Vec::new(), servers: Vec::new() }
    }
    /// `static-rr`, `leastconn`, `source` …
    pub fn balance(mut self, algorithm: &str) -> Pool {
        self.balance = algorithm.into();
        self
    }
    /// Any further line of the backend (`cookie SRV insert`, `stick-table …`, `option httpchk GET /health`).
    pub fn line(mut self, line: &str) -> Pool {
        self.lines.push(line.into());
        self
    }
    /// A server with further words (`check inter 50ms`, `weight 10`, `disabled`).
    pub fn server(mut self, name: &str, addr: SocketAddr, words: &str) -> Pool {
        self.servers.push(format!("server {name} {addr} {words}"));
        self
    }
    /// Servers `PREFIX1` .. `PREFIXn` on an address where nothing listens.
    pub fn idle_servers(mut self, prefix: &str, n: usize) -> Pool {
        for i in 1..=n {
            self.servers.push(format!("server {prefix}{i} 127.0.0.1:{}", 1 + (i % 1000)));
        }
        self
    }
}

#[derive(Clone, Debug, Default)]
pub struct Builder {
    pools: Vec<Pool>,
    sections: Vec<String>,
    master: bool,
    stats: Option<bool>,
    tls: Option<(Vec<String>, (i32, u8, u8))>,
    tcp_socket: bool,
}

impl Builder {
    pub fn pool(mut self, pool: Pool) -> Builder {
        self.pools.push(pool);
        self
    }
    /// A whole section, as text.
    pub fn section(mut self, text: &str) -> Builder {
        self.sections.push(text.into());
        self
    }
    /// `haproxy -W -S`: reloads by SIGUSR2, `master_socket()`.
    pub fn master_worker(mut self) -> Builder {
        self.master = true;
        self
    }
    /// Statistics page at `stats_url()` with basic authentication, and `/metrics`; `admin` allows changes.
    pub fn stats_page(mut self, admin: bool) -> Builder {
        self.stats = Some(admin);
        self
    }
    /// A TLS frontend whose certificate has these names and ends on this day.
    pub fn tls(mut self, names: &[&str], ends: (i32, u8, u8)) -> Builder {
        self.tls = Some((names.iter().map(ToString::to_string).collect(), ends));
        self
    }
    /// The runtime API on TCP too, level admin: `tcp_socket()`.
    pub fn tcp_socket(mut self) -> Builder {
        self.tcp_socket = true;
        self
    }

    pub fn start(self) -> Haproxy {
        let dir = tempfile::Builder::new().prefix("hap").tempdir().unwrap();
        let host = own_host();
        let d = dir.path().display();
        let mut cfg = String::from("global\n    maxconn 2000\n");
        for level in ["user", "operator", "admin"] {
            writeln!(cfg, "    stats socket {d}/{level}.sock mode 666 level {level}").unwrap();
        }
        let tcp_socket = self.tcp_socket.then(|| free_port(&host));
        if let Some(addr) = tcp_socket {
            writeln!(cfg, "    stats socket ipv4@{addr} level admin").unwrap();
        }
        cfg.push_str("\ndefaults\n    mode http\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n    timeout check 5s\n");
        let mut frontends = Vec::new();
        for pool in &self.pools {
            let addr = free_port(&host);
            frontends.push((pool.name.clone(), addr));
            let (name, balance) = (&pool.name, &pool.balance);
            write!(cfg, "\nfrontend fe_{name}\n    bind {addr}\n    default_backend {name}\n").unwrap();
            write!(cfg, "\nbackend {name}\n    balance {balance}\n").unwrap();
            for line in pool.lines.iter().chain(&pool.servers) {
                writeln!(cfg, "    {line}").unwrap();
            }
        }
        let stats = self.stats.map(|admin| {
            let addr = free_port(&host);
            write!(cfg, "\nfrontend stats\n    bind {addr}\n    http-request use-service prometheus-exporter if {{ path /metrics }}\n    stats enable\n    stats uri /stats\n    stats auth {STATS_USER}:{STATS_PASSWORD}\n").unwrap();
            if admin {
                cfg.push_str("    stats admin if TRUE\n");
            }
            addr
        });
        if let Some((names, ends)) = self.tls {
            let addr = free_port(&host);
            let pem = dir.path().join("site.pem");
            fs::write(&pem, certificate(&names, ends)).unwrap();
            write!(cfg, "\nfrontend tls\n    bind {addr} ssl crt {}\n", pem.display()).unwrap();
        }
        for section in &self.sections {
            write!(cfg, "\n{section}\n").unwrap();
        }
        fs::write(dir.path().join("haproxy.cfg"), &cfg).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(dir.path().join("haproxy.cfg"));
        if self.master {
            command.arg("-W").arg("-S").arg(dir.path().join("master.sock"));
        }
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("haproxy is installed");
        let mut haproxy = Haproxy { dir, child, frontends, stats, tcp_socket, master: self.master, frozen: Mutex::default() };
        haproxy.wait_ready();
        haproxy
    }
}

/// A running haproxy; it and its workers end with the value.
pub struct Haproxy {
    dir: TempDir,
    child: Child,
    frontends: Vec<(String, SocketAddr)>,
    stats: Option<SocketAddr>,
    tcp_socket: Option<SocketAddr>,
    master: bool,
    /// Process that stands still.
    frozen: Mutex<Option<u32>>,
}

impl Haproxy {
    pub fn builder() -> Builder {
        Builder::default()
    }
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    /// The statistics socket of level admin.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }
    pub fn operator_socket(&self) -> PathBuf {
        self.dir.path().join("operator.sock")
    }
    pub fn user_socket(&self) -> PathBuf {
        self.dir.path().join("user.sock")
    }
    pub fn master_socket(&self) -> PathBuf {
        self.dir.path().join("master.sock")
    }
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("haproxy.cfg")
    }
    /// Where the frontend of a pool listens.
    pub fn frontend(&self, pool: &str) -> SocketAddr {
        self.frontends.iter().find(|(name, _)| name == pool).expect("pool was built").1
    }
    pub fn stats_url(&self) -> String {
        format!("http://{}/stats", self.stats.expect("built with stats_page()"))
    }
    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.stats.expect("built with stats_page()"))
    }
    pub fn tcp_socket(&self) -> SocketAddr {
        self.tcp_socket.expect("built with tcp_socket()")
    }
    /// Process id of what was started (the master where there is one).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Process id of the worker that answers now.
    pub fn worker_pid(&self) -> Option<u32> {
        let info = ask(&self.socket(), "show info").ok()?;
        info.lines().find_map(|l| l.strip_prefix("Pid: "))?.trim().parse().ok()
    }
    /// One command (or several joined by `;`) on the admin socket; the reply as it came.
    pub fn cli(&self, command: &str) -> String {
        ask(&self.socket(), command).unwrap()
    }
    /// Every column of a server by name, read by a parser that is not the product's.
    pub fn stat(&self, pool: &str, server: &str, column: &str) -> String {
        let text = self.cli("show stat");
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
        let index = header.iter().position(|h| *h == column).unwrap_or_else(|| panic!("no column {column}"));
        let row = lines.find(|l| l.starts_with(&format!("{pool},{server},")));
        row.unwrap_or_else(|| panic!("no row {pool}/{server}")).split(',').nth(index).unwrap().to_owned()
    }
    /// What haproxy wrote so far (warnings, alerts).
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Writes another configuration, made from the present one.
    pub fn edit_config(&self, edit: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.config_file()).unwrap();
        fs::write(self.config_file(), edit(text)).unwrap();
    }

    /// SIGUSR2 to the master, as `systemctl reload` does; returns when a new worker answers.
    pub fn reload(&mut self) {
        assert!(self.master, "reload needs master_worker()");
        let before = self.worker_pid();
        self.signal(Signal::SIGUSR2);
        let end = Instant::now() + LONG;
        while self.worker_pid().is_none_or(|pid| Some(pid) == before) {
            assert!(Instant::now() < end, "no new worker after the reload:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.wait_master();
    }
    /// The process and its workers vanish without a word, as after a crash; sockets stay behind.
    pub fn crash(&mut self) {
        if let Some(worker) = self.worker_pid().filter(|_| self.master) {
            let _ = kill(Pid::from_raw(worker as i32), Signal::SIGKILL);
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
    /// Stops the process in its tracks: sockets accept and never answer, until `thaw()`.
    pub fn freeze(&self) {
        let pid = self.worker_pid().unwrap_or(self.child.id());
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGSTOP);
        let stopped = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(") ").next()?.starts_with('T').then_some(pid)
        };
        *self.frozen.lock().unwrap() = Some(wait::until("the process to stand still", LONG, stopped));
    }
    pub fn thaw(&self) {
        if let Some(pid) = self.frozen.lock().unwrap().take() {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGCONT);
        }
    }
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    fn wait_ready(&mut self) {
        wait::until("haproxy to answer on its socket", LONG, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("haproxy ended ({status}):\n{}", self.log());
            }
            self.worker_pid()
        });
        self.wait_master();
    }

    /// The master executes itself once more after it has started a worker, and loses signals that come before.
    fn wait_master(&self) {
        if self.master {
            wait::until("the master to answer", LONG, || {
                ask(&self.master_socket(), "show proc").ok().filter(|reply| reply.contains("worker "))
            });
        }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // The master ends its workers, old ones too, on SIGTERM.
        self.thaw();
        self.signal(Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Sends one line to a runtime socket and reads until it is closed.
pub fn ask(socket: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LONG))?;
    writeln!(stream, "{command}")?;
    stream.shutdown(std::net::Shutdown::Write)?; // the master CLI waits for more otherwise
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A loopback address that only this call has, so that a port found free on it stays free.
fn own_host() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    format!("127.{}.{}.{}", 16 + (n / 250) % 200, pid / 250 % 250 + 1, (pid + 7 * n) % 250 + 1)
}

fn free_port(host: &str) -> SocketAddr {
    TcpListener::bind(format!("{host}:0")).unwrap().local_addr().unwrap()
}

/// A self-signed certificate and its key in one PEM, as haproxy wants it.
fn certificate(names: &[String], (year, month, day): (i32, u8, u8)) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    params.not_after = rcgen::date_time_ymd(year, month, day);
    params.distinguished_name.push(rcgen::DnType::CommonName, names.first().cloned().unwrap_or_default());
    let cert = params.self_signed(&key).unwrap();
    format!("{}{}", cert.pem(), key.serialize_pem())
}

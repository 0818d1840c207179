//! Two directors with keepalived, haproxy and sshd in network namespaces, and a client beside them, as `/run/netns` has them.
//!
//! The client's namespace is where the console and the probes run: it reaches sshd of d1 (10.77.0.11) and d2 (10.77.0.12), and the VIP.
//! haproxy answers every request by itself with the director's name, on the VIP's port 80 (`ip_nonlocal_bind`).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::netns::{Netns, switch, unique_prefix};
use super::sshd::{keygen, user};
use super::wait::until;

pub const VIP: &str = "10.77.0.100";
const LONG: Duration = Duration::from_secs(20);

/// What keepalived.conf of one director says.
#[derive(Clone, Debug)]
pub struct Conf {
    pub priority: u8,
    /// Seconds, as `advert_int` takes them.
    pub advert: &'static str,
    /// A weighted track file `planned`.
    pub track_file: bool,
    pub pass: &'static str,
    /// Further lines of the instance.
    pub extra: String,
    /// Further text at the top of the file.
    pub top: String,
}

impl Conf {
    /// d1 is at home (150), d2 stands by (100).
    pub fn of(n: usize) -> Conf {
        Conf {
            priority: if n == 1 { 150 } else { 100 },
            advert: "1",
            track_file: true,
            pass: "s3cret",
            extra: String::new(),
            top: String::new(),
        }
    }

    fn text(&self, n: usize, track_file: &Path) -> String {
        let mut text = format!("! director {n}\nglobal_defs {{\n  router_id d{n}\n  script_user root\n}}\n{}\n", self.top);
        if self.track_file {
            writeln!(text, "vrrp_track_file planned {{\n  file {}\n  weight 1\n}}", track_file.display()).unwrap();
        }
        writeln!(
            text,
            "vrrp_instance VI_1 {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority {}\n  advert_int {}\n  \
             authentication {{\n    auth_type PASS\n    auth_pass {}\n  }}\n  virtual_ipaddress {{\n    {VIP}/24 dev eth0\n  }}\n  {}\n{}}}",
            self.priority,
            self.advert,
            self.pass,
            self.extra,
            if self.track_file { "  track_file {\n    planned\n  }\n" } else { "" },
        )
        .unwrap();
        text
    }
}

/// One director.
pub struct Director {
    /// 1 or 2.
    n: usize,
    dir: PathBuf,
    keepalived: Option<Child>,
    haproxy: Option<Child>,
    sshd: Option<Child>,
    pub ns: Netns,
}

/// The whole small world; everything in it ends when it is dropped.
pub struct Directors {
    d: Vec<Director>,
    pub client: Netns,
    /// Its ports are `p-d1`, `p-d2`, `p-c1`.
    _switch: Netns,
    dir: TempDir,
}

impl Directors {
    /// With a weighted track file on both, adverts every second.
    pub fn start() -> Directors {
        Self::with(Conf::of)
    }

    pub fn with(conf: impl Fn(usize) -> Conf) -> Directors {
        let directors = Self::without_keepalived(conf);
        let mut directors = directors;
        for d in &mut directors.d {
            d.start_keepalived();
        }
        directors.wait_for_one_owner();
        directors
    }

    /// Everything but keepalived runs; its configuration is written.
    pub fn without_keepalived(conf: impl Fn(usize) -> Conf) -> Directors {
        let prefix = unique_prefix();
        let dir = tempfile::Builder::new().prefix("dir").tempdir().unwrap();
        let sw = switch(&format!("{prefix}-sw"));
        keygen("ed25519", &dir.path().join("client"), "");
        let client = Netns::new(&format!("{prefix}-c1"));
        client.plug(&sw, "p-c1", "10.77.0.15/24");
        let d = (1..=2)
            .map(|n| {
                let ns = Netns::new(&format!("{prefix}-d{n}"));
                ns.plug(&sw, &format!("p-d{n}"), &format!("10.77.0.1{n}/24"));
                ns.run(&["sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1", "net.ipv4.ip_forward=0"]);
                Director::new(n, ns, dir.path(), &conf(n))
            })
            .collect();
        Directors { d, client, _switch: sw, dir }
    }

    pub fn d(&self, n: usize) -> &Director {
        &self.d[n - 1]
    }
    pub fn d_mut(&mut self, n: usize) -> &mut Director {
        &mut self.d[n - 1]
    }
    /// The private key that every director lets in.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("client")
    }
    pub fn known_hosts(&self) -> PathBuf {
        let path = self.dir.path().join("known_hosts");
        let lines: String = self.d.iter().map(|d| format!("{} {}\n", d.address(), d.host_key())).collect();
        fs::write(&path, lines).unwrap();
        path
    }

    /// Numbers of the directors whose interface carries the VIP.
    pub fn owners(&self) -> Vec<usize> {
        self.d.iter().filter(|d| d.owns()).map(|d| d.n).collect()
    }

    pub fn wait_for_one_owner(&self) -> usize {
        // One look is not enough: after a start both may be about to take it.
        until("one director owns the VIP", LONG, || match self.owners().as_slice() {
            [one] => Some(*one),
            _ => None,
        })
    }
    pub fn wait_for_owner(&self, n: usize) {
        until(&format!("d{n} alone owns the VIP"), LONG, || (self.owners() == [n]).then_some(()));
    }

    /// The nodes of a fleet file, `lb1` and `lb2`, with haproxy and keepalived, reached from the client's namespace.
    pub fn nodes_yaml(&self, locks: &Path) -> String {
        let mut text = String::new();
        for d in &self.d {
            write!(
                text,
                "  - name: lb{}\n    address: {}\n    lock_dir: {}\n    ssh: {{user: {}, identity_file: {}, known_hosts: {}}}\n    engines:\n      \
                 haproxy: {{socket: {}}}\n      keepalived: {{config: {}}}\n",
                d.n,
                d.address(),
                locks.join(format!("d{}", d.n)).display(),
                user(),
                self.key().display(),
                self.known_hosts().display(),
                d.haproxy_socket().display(),
                d.conf().display(),
            )
            .unwrap();
        }
        text
    }
}

impl Director {
    fn new(n: usize, ns: Netns, base: &Path, conf: &Conf) -> Director {
        let dir = base.join(format!("d{n}"));
        fs::create_dir_all(dir.join("tmp")).unwrap();
        let mut d = Director { n, dir, keepalived: None, haproxy: None, sshd: None, ns };
        fs::write(d.track_file(), "0\n").unwrap();
        d.write_conf(conf);
        d.start_haproxy();
        d.start_sshd(base);
        d
    }

    pub fn address(&self) -> String {
        format!("10.77.0.1{}", self.n)
    }
    /// A folder of its own.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    pub fn conf(&self) -> PathBuf {
        self.dir.join("keepalived.conf")
    }
    pub fn track_file(&self) -> PathBuf {
        self.dir.join("planned")
    }
    pub fn write_conf(&self, conf: &Conf) {
        fs::write(self.conf(), conf.text(self.n, &self.track_file())).unwrap();
    }
    pub fn haproxy_socket(&self) -> PathBuf {
        self.dir.join("haproxy.sock")
    }
    /// What keepalived has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("keepalived.log")).unwrap_or_default()
    }
    fn host_key(&self) -> String {
        let text = fs::read_to_string(self.dir.join("host.pub")).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// The interface carries the VIP.
    pub fn owns(&self) -> bool {
        self.ns.ip(&["-br", "addr", "show"]).contains(&format!("{VIP}/"))
    }

    pub fn start_keepalived(&mut self) {
        let child = self.spawn_keepalived("keepalived", &self.conf());
        self.keepalived = Some(child);
        until("keepalived starts", LONG, || self.log().contains("Startup complete").then_some(()));
    }

    /// A keepalived with pid files of its own name; whoever calls this ends it by `end_keepalived`.
    pub fn spawn_keepalived(&self, name: &str, conf: &Path) -> Child {
        let log = fs::File::create(self.dir.join(format!("{name}.log"))).unwrap();
        let pid = |part: &str| self.dir.join(format!("{name}{part}.pid"));
        // A director is no busy build machine: what else runs here must not starve it.
        Command::new("nice")
            .args(["-n", "-15", "keepalived", "-s", self.ns.name(), "-P", "-n", "-l", "-D", "-f"])
            .arg(conf)
            .arg("-p")
            .arg(pid(""))
            .arg("-r")
            .arg(pid("-vrrp"))
            .env("TMPDIR", self.dir.join("tmp"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("Debian's keepalived is needed")
    }

    /// keepalived's parent process.
    pub fn keepalived_pid(&self) -> Pid {
        Pid::from_raw(self.keepalived.as_ref().unwrap().id().cast_signed())
    }
    /// The child that speaks VRRP.
    pub fn vrrp_pid(&self) -> Pid {
        let text = fs::read_to_string(self.dir.join("keepalived-vrrp.pid")).unwrap();
        Pid::from_raw(text.trim().parse().unwrap())
    }
    /// A clean stop: priority 0 is sent, the VIP goes.
    pub fn stop_keepalived(&mut self) {
        if let Some(child) = self.keepalived.take() {
            end_keepalived(child);
        }
    }
    /// SIGKILL to parent and child: the VIP stays on the interface.
    pub fn kill_keepalived(&mut self) {
        let vrrp = self.vrrp_pid();
        if let Some(mut child) = self.keepalived.take() {
            // The parent is held still first: it would start another child, and at its end the child would leave in order.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGSTOP);
            let _ = kill(vrrp, Signal::SIGKILL);
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn start_haproxy(&mut self) {
        let conf = self.dir.join("haproxy.cfg");
        let text = format!(
            "global\n  stats socket {socket} mode 666 level admin\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  \
             timeout server 60s\nfrontend fe\n  bind {VIP}:80\n  bind {own}:80\n  http-request return status 200 content-type text/plain string \"d{n}\"\n\
             backend web\n  server web1 127.0.0.1:1\n",
            socket = self.haproxy_socket().display(),
            own = self.address(),
            n = self.n,
        );
        fs::write(&conf, text).unwrap();
        let mut command = self.ns.command("nice");
        command
            .args(["-n", "-15", "haproxy", "-db", "-f"])
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.haproxy = Some(command.spawn().unwrap());
        until("haproxy answers", LONG, || std::os::unix::net::UnixStream::connect(self.haproxy_socket()).ok());
    }
    pub fn stop_haproxy(&mut self) {
        end(self.haproxy.take());
        let _ = fs::remove_file(self.haproxy_socket());
    }
    pub fn stop_sshd(&mut self) {
        end(self.sshd.take());
    }

    fn start_sshd(&mut self, base: &Path) {
        keygen("ed25519", &self.dir.join("host"), "");
        fs::create_dir_all("/run/sshd").unwrap();
        let config = self.dir.join("sshd_config");
        let text = format!(
            "HostKey {host}\nListenAddress {own}:22\nPidFile none\nAuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             PermitRootLogin yes\nUseDNS no\nMaxStartups 1000\nMaxSessions 100\nAllowStreamLocalForwarding yes\nSubsystem sftp internal-sftp\n\
             SetEnv SHLVL=5\n",
            host = self.dir.join("host").display(),
            own = self.address(),
            keys = base.join("client.pub").display(),
        );
        fs::write(&config, text).unwrap();
        let mut command = self.ns.command("/usr/sbin/sshd");
        command.args(["-D", "-f"]).arg(&config).arg("-E").arg(self.dir.join("sshd.log"));
        self.sshd = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("sshd listens", LONG, || self.ns.run(&["cat", "/proc/net/tcp"]).contains(":0016 00000000:0000 0A").then_some(()));
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if let Some(child) = self.keepalived.take() {
            end_keepalived(child);
        }
        end(self.haproxy.take());
        end(self.sshd.take());
        // What was started inside by whomever (sessions of sshd, a second keepalived) ends with its namespace.
        let left = Command::new("ip").args(["netns", "pids", self.ns.name()]).output().map(|o| o.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&left).lines().filter_map(|l| l.trim().parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// SIGCONT first: it may have been frozen. Then a clean stop, and SIGKILL for what is left.
pub fn end_keepalived(mut child: Child) {
    let pid = Pid::from_raw(child.id().cast_signed());
    let _ = kill(pid, Signal::SIGCONT);
    let _ = kill(pid, Signal::SIGTERM);
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while std::time::Instant::now() < end {
        if child.try_wait().is_ok_and(|s| s.is_some()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

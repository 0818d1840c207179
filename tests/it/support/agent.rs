//! A real agent process on a socket of its own, with the folders that a node has, and HTTP to ask it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::wait;

const LONG: Duration = Duration::from_secs(20);

pub struct Agent {
    dir: TempDir,
    child: Child,
    /// Of the process that serves now: an upgrade replaces the first.
    pid: u32,
    how: How,
}

/// How its processes are started.
#[derive(Clone, Default)]
struct How {
    more: Vec<String>,
    /// Limit of open files.
    files: Option<u32>,
}

impl Agent {
    /// Without a configuration: it watches the node and keeps leases.
    pub fn idle() -> Agent {
        Agent::launch(None, &[])
    }

    pub fn with_config(text: &str) -> Agent {
        Agent::launch(Some(text), &[])
    }

    pub fn launch(config: Option<&str>, more: &[&str]) -> Agent {
        Agent::started(config, How { more: more.iter().map(ToString::to_string).collect(), files: None })
    }

    /// With so many open files; more than this process may have take root.
    pub fn with_files(config: &str, files: u32) -> Agent {
        Agent::started(Some(config), How { more: Vec::new(), files: Some(files) })
    }

    fn started(config: Option<&str>, how: How) -> Agent {
        let dir = tempfile::Builder::new().prefix("agt").tempdir().unwrap();
        if let Some(text) = config {
            std::fs::write(dir.path().join("agent.yaml"), text).unwrap();
        }
        let child = spawn(dir.path(), &how);
        let mut agent = Agent { dir, pid: child.id(), child, how };
        agent.wait_until_up();
        agent
    }

    fn wait_until_up(&mut self) {
        let began = std::time::Instant::now();
        while self.try_ask("GET", "/hello", "").is_none() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < LONG, "the agent did not come up ({ended:?}):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("agent.yaml")
    }
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }
    pub fn lock_dir(&self) -> PathBuf {
        self.dir.path().join("locks")
    }
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn try_ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Status and body of one request.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_ask(method, path, body).unwrap_or_else(|| panic!("no answer to {method} {path}:\n{}", self.log()))
    }

    /// The body of a request that must succeed.
    #[track_caller]
    pub fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, text) = self.ask(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {text}\n{}", self.log());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e}: {text}"))
    }

    pub fn get(&self, path: &str) -> Value {
        self.json("GET", path, "")
    }

    /// Another process takes over; its pid.
    pub fn upgrade(&mut self) -> u32 {
        let done = self.json("POST", "/v1/upgrade", "{}");
        self.adopt(&done);
        self.pid
    }

    /// Notes which process serves after an upgrade.
    pub fn adopt(&mut self, upgraded: &Value) {
        self.pid = u32::try_from(upgraded["new_pid"].as_u64().unwrap()).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid.cast_signed()), signal).unwrap();
    }

    /// SIGKILL, as the kernel does when memory runs out; then it is started again, as a supervisor would.
    pub fn crash(&mut self) {
        self.signal(Signal::SIGKILL);
        self.gone(self.pid);
        self.restart();
    }

    /// Starts a process again after the last one has ended.
    pub fn restart(&mut self) {
        let _ = self.child.wait();
        self.child = spawn(self.dir.path(), &self.how);
        self.pid = self.child.id();
        self.wait_until_up();
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let pid = self.pid;
        self.gone(pid);
        (self.child.id() == pid).then(|| self.child.wait().unwrap())
    }

    /// Waits until a process has ended.
    pub fn gone(&mut self, pid: u32) {
        wait::until("the end of a process", LONG, || {
            if self.child.id() == pid {
                return self.child.try_wait().unwrap().map(|_| ());
            }
            // A process that an upgrade started is nobody's child here, or a zombie of whoever adopted it.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
}

fn spawn(dir: &Path, how: &How) -> Child {
    let log = std::fs::File::options().append(true).create(true).open(dir.join("log")).unwrap();
    let lbdeck = env!("CARGO_BIN_EXE_lbdeck");
    let mut command = match how.files {
        None => Command::new(lbdeck),
        Some(files) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\""), lbdeck]);
            shell
        }
    };
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .args(["agent", "run", "--config"])
        .arg(dir.join("agent.yaml"))
        .arg("--state")
        .arg(dir.join("state"))
        .arg("--socket")
        .arg(dir.join("agent.sock"))
        .arg("--lock-dir")
        .arg(dir.join("locks"))
        .args(["--drain", "5s"])
        .args(&how.more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

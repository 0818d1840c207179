//! A fleet file over real nodes, and the lbdeck binary driven on it as a script would drive it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::haproxy::Haproxy;
use super::sshd::{Sshd, user};

/// A fleet file in a folder of its own, with a store of its own: nothing of the operator's own is read or written.
pub struct Fleet {
    dir: TempDir,
    nodes: String,
    rest: String,
    /// The network namespace that lbdeck runs in.
    netns: Option<String>,
}

impl Fleet {
    pub fn new() -> Fleet {
        let dir = tempfile::Builder::new().prefix("fleet").tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        Fleet { dir, nodes: String::new(), rest: String::new(), netns: None }
    }

    /// A node on this machine, its haproxy on the admin socket.
    pub fn local(self, name: &str, haproxy: &Haproxy) -> Fleet {
        self.local_socket(name, &haproxy.socket(), Some(&haproxy.config_file()))
    }

    /// A node on this machine with whatever listens on a unix socket.
    pub fn local_socket(mut self, name: &str, socket: &Path, config: Option<&Path>) -> Fleet {
        let locks = self.locks();
        write!(
            self.nodes,
            "  - name: {name}\n    address: 127.0.0.1\n    local: true\n    lock_dir: {}\n    engines:\n      haproxy:\n        socket: {}\n",
            locks.display(),
            socket.display()
        )
        .unwrap();
        if let Some(config) = config {
            writeln!(self.nodes, "        config: {}", config.display()).unwrap();
        }
        self
    }

    /// The same with locks where an agent looks for leases.
    pub fn local_with_locks(mut self, name: &str, socket: &Path, locks: &Path) -> Fleet {
        writeln!(
            self.nodes,
            "  - name: {name}\n    address: 127.0.0.1\n    local: true\n    lock_dir: {}\n    engines: {{haproxy: {{socket: {}}}}}",
            locks.display(),
            socket.display()
        )
        .unwrap();
        self
    }

    /// A node on this machine with lbdeck's own agent.
    pub fn local_agent(mut self, name: &str, agent: &super::agent::Agent) -> Fleet {
        writeln!(
            self.nodes,
            "  - name: {name}\n    address: 127.0.0.1\n    local: true\n    lock_dir: {}\n    engines: {{relay: {{socket: {}}}}}",
            agent.lock_dir().display(),
            agent.socket().display()
        )
        .unwrap();
        self
    }

    /// A node that is nothing but an agent over TLS; `pki` holds what the console shows.
    pub fn tls_agent(mut self, name: &str, address: &str, ca: &Path, pki: &Path) -> Fleet {
        let (certificate, key) = (pki.join("client-alice.pem"), pki.join("client-alice.key"));
        writeln!(
            self.nodes,
            "  - name: {name}\n    engines: {{relay: {{tcp: '{address}', ca: {}, certificate: {}, key: {}}}}}",
            ca.display(),
            certificate.display(),
            key.display()
        )
        .unwrap();
        self
    }

    /// The same behind a real sshd.
    pub fn ssh_agent(self, name: &str, sshd: &Sshd, agent: &super::agent::Agent) -> Fleet {
        let mut fleet = self.ssh(name, sshd, &agent.socket());
        let (locks, wanted) = (fleet.locks().display().to_string(), agent.lock_dir().display().to_string());
        fleet.nodes = fleet.nodes.replace("engines: {haproxy:", "engines: {relay:").replace(&locks, &wanted);
        fleet
    }

    /// Two directors, `lb1` and `lb2`; lbdeck runs in the client's namespace.
    pub fn directors(mut self, directors: &super::directors::Directors) -> Fleet {
        self.nodes.push_str(&directors.nodes_yaml(&self.locks()));
        fs::create_dir_all(self.locks()).unwrap();
        self.netns = Some(directors.client.name().to_owned());
        self
    }

    /// A further line of the last node (`zone: a`, `tags: [edge]`).
    pub fn node_line(mut self, line: &str) -> Fleet {
        writeln!(self.nodes, "    {line}").unwrap();
        self
    }

    /// A node behind a real sshd.
    pub fn ssh(mut self, name: &str, sshd: &Sshd, socket: &Path) -> Fleet {
        let known_hosts = sshd.dir().join("known_hosts");
        if !known_hosts.exists() {
            fs::write(&known_hosts, sshd.known_hosts_line()).unwrap();
        }
        let locks = self.locks();
        write!(
            self.nodes,
            "  - name: {name}\n    address: 127.0.0.1\n    lock_dir: {}\n    ssh: {{port: {}, user: {}, identity_file: {}, known_hosts: {}}}\n    engines: {{haproxy: {{socket: {}}}}}\n",
            locks.display(),
            sshd.port(),
            user(),
            sshd.client_key().display(),
            known_hosts.display(),
            socket.display()
        )
        .unwrap();
        self
    }

    /// Further top-level text (`policies:`, `settings:`).
    pub fn with(mut self, text: &str) -> Fleet {
        self.rest.push_str(text);
        self.rest.push('\n');
        self
    }

    /// Where locks and leases of the nodes live.
    pub fn locks(&self) -> PathBuf {
        self.dir.path().join("locks")
    }
    pub fn file(&self) -> PathBuf {
        let path = self.dir.path().join("lbdeck.yaml");
        fs::write(&path, format!("nodes:\n{}{}", self.nodes, self.rest)).unwrap();
        path
    }
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// lbdeck with these words, as one operator of this fleet. No terminal anywhere.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_as(&self.state(), words)
    }

    /// The same for an operator on another machine: a store of its own.
    pub fn command_as(&self, state: &Path, words: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_lbdeck");
        let mut command = match &self.netns {
            None => Command::new(program),
            Some(netns) => {
                let mut command = Command::new("/usr/sbin/ip");
                command.args(["netns", "exec", netns, program]);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path().join("home"))
            .env("LBDECK_FLEET", self.file())
            .env("LBDECK_STATE", state)
            .args(words)
            .stdin(Stdio::null());
        if let Some(run) = std::env::var_os("LBDECK_TEST_RUN") {
            command.env("LBDECK_TEST_RUN", run);
        }
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    /// Starts lbdeck and gives the process; it is killed when the value goes.
    pub fn spawn(&self, words: &[&str]) -> Background {
        Background(Some(self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }
}

/// What a finished lbdeck left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
    /// The exit code must be this one; shows what was said otherwise.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
    /// Both streams, for words whose stream does not matter.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
    #[track_caller]
    pub fn says(self, words: &str) -> Ran {
        assert!(self.said().contains(words), "'{words}' is missing in\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {}\n{}", self.stdout, self.stderr))
    }
}

pub struct Background(Option<Child>);

impl Background {
    pub fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }
    /// Waits for its end.
    pub fn finish(mut self) -> Ran {
        Ran::of(self.0.take().unwrap().wait_with_output().unwrap())
    }
    /// SIGKILL, as the kernel or an impatient operator would.
    pub fn kill(mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

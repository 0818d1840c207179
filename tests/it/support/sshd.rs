//! A real OpenSSH server on loopback for tests: own port, host keys, authorized keys and log, in a temporary folder.
//!
//! Everything runs as the user who runs the tests. A server ends with its connections when its [`Sshd`] is dropped.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};

use super::wait::until;

const SSHD: &str = "/usr/sbin/sshd";
/// How long a server or agent may take to come up on a busy machine.
const START: Duration = Duration::from_secs(20);

/// What a test wants of its server.
pub struct SshdOptions {
    /// Key types as ssh-keygen names them; the first is what [`Sshd::host_key`] gives.
    pub host_keys: &'static [&'static str],
    /// `AllowStreamLocalForwarding`.
    pub streamlocal: bool,
    /// The sftp subsystem is there.
    pub sftp: bool,
    /// `(FROM, TO)`: what runs on this node sees the folder FROM at TO, as on a machine of its own. Takes root.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// More lines of sshd_config. They come first, and the first value wins.
    pub extra: String,
}

impl Default for SshdOptions {
    fn default() -> Self {
        Self { host_keys: &["ed25519"], streamlocal: true, sftp: true, binds: Vec::new(), extra: String::new() }
    }
}

pub struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    options: SshdOptions,
    child: Option<Child>,
}

impl Sshd {
    /// ed25519 host key, one client key, every kind of forwarding allowed, no passwords.
    pub fn start() -> Self {
        Self::with(SshdOptions::default())
    }

    pub fn with(options: SshdOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for kind in options.host_keys {
            keygen(kind, &dir.path().join(format!("host_{kind}")), "");
        }
        keygen("ed25519", &dir.path().join("client"), "");
        fs::copy(dir.path().join("client.pub"), dir.path().join("authorized_keys")).unwrap();
        let mut sshd = Self { dir, port: 0, options, child: None };
        // Between finding a free port and sshd taking it, another test may take it: then another port is tried.
        for _ in 0..10 {
            sshd.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if sshd.launch() {
                return sshd;
            }
        }
        panic!("sshd found no free port");
    }

    /// 127.0.0.1's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of this server: a good place for what belongs to the node.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Private key that may log on as [`user`].
    pub fn client_key(&self) -> PathBuf {
        self.dir.path().join("client")
    }

    /// Lets one more public key in (the text of a `.pub` file).
    pub fn authorize(&self, public_key: &str) {
        let path = self.dir.path().join("authorized_keys");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{text}{}\n", public_key.trim_end())).unwrap();
    }

    /// `ssh-ed25519 AAAA…` of the first host key.
    pub fn host_key(&self) -> String {
        self.host_key_of(self.options.host_keys[0])
    }

    pub fn host_key_of(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.dir.path().join(format!("host_{kind}.pub"))).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Replaces the host keys, as a reinstalled node would; takes effect at the next start.
    pub fn new_host_keys(&self) {
        for kind in self.options.host_keys {
            let path = self.dir.path().join(format!("host_{kind}"));
            fs::remove_file(&path).unwrap();
            keygen(kind, &path, "");
        }
    }

    /// The entry of known_hosts that makes this server known.
    pub fn known_hosts_line(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, self.host_key())
    }

    /// A block of ssh configuration under which `alias` reaches this server.
    pub fn ssh_config(&self, alias: &str) -> String {
        let known_hosts = self.dir.path().join("known_hosts");
        fs::write(&known_hosts, self.known_hosts_line()).unwrap();
        format!(
            "Host {alias}\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n",
            self.port,
            user(),
            self.client_key().display(),
            known_hosts.display()
        )
    }

    /// What sshd has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("sshd.log")).unwrap_or_default()
    }

    /// Ends the server and its connections.
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            end_tree(child);
        }
    }

    /// Cuts every connection while the server goes on.
    pub fn drop_connections(&self) {
        if let Some(child) = &self.child {
            for pid in descendants(child.id()) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }

    /// Every connection falls silent without ending, as when a cable is pulled. They are ended with the server.
    pub fn freeze_connections(&self) {
        if let Some(child) = &self.child {
            for pid in descendants(child.id()) {
                let _ = kill(pid, Signal::SIGSTOP);
            }
        }
    }

    /// One more line of sshd_config, from the next start on.
    pub fn configure(&mut self, line: &str) {
        self.options.extra.push_str(&format!("\n{line}\n"));
    }

    /// Starts again on the same port after [`Self::stop`].
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "sshd still runs");
        assert!(self.launch(), "sshd's port was taken meanwhile");
    }

    /// False where the port was taken.
    fn launch(&mut self) -> bool {
        let config = self.dir.path().join("sshd_config");
        let log = self.dir.path().join("sshd.log");
        fs::write(&config, self.config()).unwrap();
        let _ = fs::remove_file(&log);
        if Uid::effective().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut command = match self.options.binds.is_empty() {
            true => Command::new(SSHD),
            false => self.in_a_namespace(),
        };
        let mut child = command
            .args(["-D", "-f"])
            .arg(&config)
            .arg("-E")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's openssh-server is needed");
        let up = until("sshd comes up", START, || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => speaks_ssh(self.port).then_some(true),
        });
        if up {
            self.child = Some(child);
        } else {
            assert!(self.log().contains("Address already in use"), "sshd ended: {}", self.log());
        }
        up
    }

    /// sshd with the mounts that its node has for itself.
    fn in_a_namespace(&self) -> Command {
        let mount = |(from, to): &(PathBuf, PathBuf)| format!("mount --bind '{}' '{}' && ", from.display(), to.display());
        let mounts: String = self.options.binds.iter().map(mount).collect();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{mounts}exec {SSHD} \"$@\""), "sshd"]);
        command
    }

    fn config(&self) -> String {
        let dir = self.dir.path().display();
        let mut text = self.options.extra.clone();
        text.push('\n');
        for kind in self.options.host_keys {
            writeln!(text, "HostKey {dir}/host_{kind}").unwrap();
        }
        writeln!(
            text,
            "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nAuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nUseDNS no\nLogLevel VERBOSE\n\
             MaxStartups 1000\nAllowStreamLocalForwarding {streamlocal}\n{sftp}{penalties}\
             # root's .bashrc may be slow, and bash reads it for ssh commands at a low SHLVL only.\nSetEnv SHLVL=5",
            port = self.port,
            streamlocal = if self.options.streamlocal { "yes" } else { "no" },
            sftp = if self.options.sftp { "Subsystem sftp internal-sftp\n" } else { "" },
            penalties = if knows_penalties() { "PerSourcePenalties no\n" } else { "" },
        )
        .unwrap();
        text
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whoever runs the tests, and so whom the server lets in.
pub fn user() -> String {
    User::from_uid(Uid::effective()).unwrap().unwrap().name
}

/// Makes a key pair at `path` and `path.pub`; an empty passphrase leaves it unencrypted.
pub fn keygen(kind: &str, path: &Path, passphrase: &str) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-C", "lbdeck-test", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

/// An ssh-agent of its own that holds the given keys.
pub struct Agent {
    dir: tempfile::TempDir,
    child: Child,
}

impl Agent {
    pub fn start(keys: &[&Path]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let child = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { dir, child };
        until("ssh-agent comes up", START, || std::os::unix::net::UnixStream::connect(&socket).ok());
        for key in keys {
            fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
            let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).status().unwrap();
            assert!(added.success());
        }
        agent
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// OpenSSH from 9.8 on shuts out addresses that fail to log on, which tests do on purpose.
fn knows_penalties() -> bool {
    static KNOWS: OnceLock<bool> = OnceLock::new();
    *KNOWS.get_or_init(|| {
        let said = Command::new(SSHD).args(["-t", "-f", "/dev/null", "-o", "PerSourcePenalties=no"]).output().unwrap();
        !String::from_utf8_lossy(&said.stderr).contains("Bad configuration option")
    })
}

fn speaks_ssh(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(START));
    let mut banner = [0; 4];
    stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-"
}

/// Ends a process of ours and all that it started: sshd's connections leave its process group.
fn end_tree(mut child: Child) {
    let started = descendants(child.id());
    let _ = child.kill();
    let _ = child.wait();
    for pid in started {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

fn descendants(of: u32) -> Vec<Pid> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold spaces: fields are counted from its end.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let (mut found, mut next) = (Vec::new(), vec![of]);
    while let Some(parent) = next.pop() {
        for (pid, _) in parents.iter().filter(|(_, p)| *p == parent) {
            next.push(*pid);
            found.push(Pid::from_raw(i32::try_from(*pid).unwrap()));
        }
    }
    found
}

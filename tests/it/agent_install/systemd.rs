//! lbdeck's own agent on a real systemd node: installed over SSH as a confined unit, upgraded without losing its place, removed
//! without a trace.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::fleet::{Fleet, Ran};
use crate::support::sshd::keygen;

const TEST: &str = "agent_install::systemd::a_whole_life_on_a_systemd_node";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/systemd-node.sh");

fn script(words: &[&str]) -> Output {
    Command::new(SCRIPT).args(words).stdin(Stdio::null()).output().unwrap()
}

struct Node {
    dir: tempfile::TempDir,
    port: u16,
}

impl Node {
    /// None, with the reason on record, where no node can be booted here.
    fn boot() -> Option<Node> {
        if !nix::unistd::Uid::effective().is_root() {
            crate::support::skip(TEST, "booting a node takes root");
            return None;
        }
        for tool in ["systemd-nspawn", "debootstrap"] {
            if !Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
                crate::support::skip(TEST, &format!("{tool} is not installed (tests/run installs it)"));
                return None;
            }
        }
        let base = script(&["base"]);
        if !base.status.success() {
            crate::support::skip(TEST, &format!("no base image: {}", String::from_utf8_lossy(&base.stderr).replace('\n', "; ")));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("node").tempdir_in("/var/tmp").unwrap();
        keygen("ed25519", &dir.path().join("client"), "");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let node = Node { dir, port };
        let up = script(&["up", node.path(), &port.to_string(), &node.file("client.pub").display().to_string()]);
        if !up.status.success() {
            // A container in a container may lack the rights for it.
            crate::support::skip(
                TEST,
                &format!("no node boots here: {}", String::from_utf8_lossy(&up.stderr).replace('\n', "; ")),
            );
            return None;
        }
        let key = String::from_utf8(up.stdout).unwrap();
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        fs::write(node.file("known_hosts"), format!("[127.0.0.1]:{port} {}\n", key.join(" "))).unwrap();
        Some(node)
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn run(&self, words: &[&str]) -> String {
        let ran = script(&[&["run", self.path()][..], words].concat());
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }
    /// Every file that belongs to the node's disk, and its users.
    fn inventory(&self) -> String {
        let files = script(&["files", self.path()]);
        assert!(files.status.success(), "{}", String::from_utf8_lossy(&files.stderr));
        String::from_utf8(files.stdout).unwrap() + &self.run(&["cat", "/etc/passwd", "/etc/group"])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        script(&["down", self.path()]);
    }
}

/// The program without what only debuggers read, and a second build of it: other bytes, the same behaviour.
fn builds(dir: &Path) -> (PathBuf, PathBuf) {
    let (one, two) = (dir.join("one"), dir.join("two"));
    let stripped = Command::new("strip").arg("-o").arg(&one).arg(env!("CARGO_BIN_EXE_lbdeck")).status().unwrap();
    assert!(stripped.success());
    let mut bytes = fs::read(&one).unwrap();
    bytes.extend(b"another build");
    fs::write(&two, bytes).unwrap();
    (one, two)
}

#[test]
fn a_whole_life_on_a_systemd_node() {
    let Some(node) = Node::boot() else { return };
    let (one, two) = builds(node.dir.path());
    let ssh = format!(
        "nodes:\n  - name: lb1\n    address: 127.0.0.1\n    engines: {{relay: true}}\n    ssh: {{port: {}, user: root, identity_file: {}, known_hosts: {}}}\n",
        node.port,
        node.file("client").display(),
        node.file("known_hosts").display()
    );
    let file = node.file("fleet.yaml");
    fs::write(&file, ssh).unwrap();
    let fleet = Fleet::new();
    let run = |words: &[&str]| -> Ran { fleet.run(&[words, &["--fleet", file.to_str().unwrap()][..]].concat()) };
    let status = || run(&["agent", "status", "-o", "json"]).exits(0).json()["items"][0].clone();
    let show = |what: &str| node.run(&["systemctl", "show", "-p", what, "--value", "lbdeck-agent"]).trim().to_owned();

    let before = node.inventory();
    run(&["agent", "install", "lb1", "--yes", "--binary", one.to_str().unwrap()]).exits(0).says("serves");
    let first = status();
    assert_eq!(
        (&first["state"], &first["kept_by"], &first["problem"]),
        (&"running".into(), &"systemd".into(), &serde_json::Value::Null)
    );
    assert_eq!((show("User"), show("ActiveState"), show("UnitFileState")), ("lbdeck".into(), "active".into(), "enabled".into()));
    assert_eq!(show("MainPID"), node.run(&["pgrep", "-u", "lbdeck", "-x", "lbdeck"]).trim());
    // Nobody but root and the agent reaches the control socket.
    assert_eq!(node.run(&["stat", "-c", "%U %a", "/run/lbdeck"]).trim(), "lbdeck 700");

    run(&["agent", "install", "lb1", "--yes", "--binary", one.to_str().unwrap()]).exits(0).says("nothing to do");

    let started = show("ActiveEnterTimestampMonotonic");
    run(&["agent", "upgrade", "lb1", "--yes", "--binary", two.to_str().unwrap()]).exits(0).says("serves");
    let second = status();
    assert_ne!(second["build"], first["build"]);
    assert_eq!(second["previous"], first["build"]);
    assert_eq!(show("ActiveEnterTimestampMonotonic"), started, "the unit was restarted instead of handing over");
    run(&["agent", "rollback", "lb1", "--yes"]).exits(0);
    assert_eq!(status()["build"], first["build"]);
    run(&["agent", "logs", "lb1"]).exits(0).says("lbdeck");

    run(&["agent", "remove", "lb1", "--confirm", "lb1"]).exits(0);
    // The node's own log says who did what.
    let log = node.run(&["journalctl", "-t", "lbdeck", "-o", "cat"]);
    for what in ["install", "upgrade", "remove"] {
        let told = log.lines().any(|l| l.contains("operation=") && l.contains("who=") && l.contains(what));
        assert!(told, "nothing of {what}: {log}");
    }
    let after = node.inventory();
    let left: Vec<&str> = after.lines().filter(|l| !before.lines().any(|b| b == *l)).collect();
    assert!(left.is_empty(), "removing left {left:?}");
    assert_eq!(before, after);
}

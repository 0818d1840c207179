//! `lbdeck lab` as a whole: its proof, its SSH servers as OpenSSH sees them, and that nothing outlives it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::support::terminal::Terminal;
use super::support::wait::until;

const LBDECK: &str = env!("CARGO_BIN_EXE_lbdeck");
/// For whatever a busy machine may delay.
const LONG: Duration = Duration::from_secs(60);

fn lbdeck(tmp: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(LBDECK);
    command.args(words).env("TMPDIR", tmp).env("HOME", tmp).env_remove("LBDECK_FLEET").stdin(Stdio::null());
    command
}

/// A lab that runs until it is told to end.
struct Serving {
    tmp: TempDir,
    child: Child,
    folder: PathBuf,
}

impl Serving {
    fn start() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let mut child = lbdeck(tmp.path(), &["lab", "--serve", "--nodes", "2", "--servers", "2", "--rate", "20"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let fleet = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the lab ended: {said}")).unwrap();
            if let Some((_, path)) = line.split_once("fleet file ") {
                break PathBuf::from(path);
            }
            said.push_str(&line);
        };
        // Whoever writes to a closed pipe fails: somebody has to read to the end.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { tmp, child, folder: fleet.parent().unwrap().to_owned() }
    }

    /// All processes that work in the lab's folder.
    fn processes(&self) -> Vec<i32> {
        let folder = self.folder.to_str().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&words).contains(folder) {
                found.push(pid);
            }
        }
        found
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn nothing_outlives(signal: Signal) {
    let mut lab = Serving::start();
    // The keeper, and a master and a worker for each of two nodes.
    let processes = until("everything runs", LONG, || Some(lab.processes()).filter(|p| p.len() >= 5));
    lab.signal(signal);
    let status = until("the lab ends", LONG, || lab.child.try_wait().unwrap());
    // To stay until it is told to end is all that was asked of it; nobody can end in order by SIGKILL.
    assert_eq!(status.code(), (signal != Signal::SIGKILL).then_some(0));
    until("all of its processes end", LONG, || {
        processes.iter().all(|p| !Path::new(&format!("/proc/{p}")).exists()).then_some(())
    });
    until("its folder goes", LONG, || (!lab.folder.exists()).then_some(()));
    assert_eq!(fs::read_dir(lab.tmp.path()).unwrap().count(), 0, "something was left in TMPDIR");
}

#[test]
fn nothing_outlives_ctrl_c() {
    nothing_outlives(Signal::SIGINT);
}

#[test]
fn nothing_outlives_sigterm() {
    nothing_outlives(Signal::SIGTERM);
}

#[test]
fn nothing_outlives_a_closed_terminal() {
    nothing_outlives(Signal::SIGHUP);
}

#[test]
fn nothing_outlives_sigkill() {
    nothing_outlives(Signal::SIGKILL);
}

#[test]
fn a_missing_haproxy_is_said_with_the_command_that_installs_it() {
    let tmp = tempfile::tempdir().unwrap();
    let output = lbdeck(tmp.path(), &["lab", "--haproxy", "/nonexistent/haproxy"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/haproxy") && said.contains("apt-get install haproxy"), "{said}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0, "something was left in TMPDIR");
}

#[test]
fn a_haproxy_that_does_not_start_is_reported_in_its_own_words() {
    let tmp = tempfile::tempdir().unwrap();
    let fake = tmp.path().join("haproxy");
    fs::write(&fake, "#!/bin/sh\necho '[ALERT] this one is broken' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = lbdeck(tmp.path(), &["lab", "--haproxy", fake.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("haproxy of lb1") && said.contains("this one is broken"), "{said}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1, "something was left in TMPDIR");
}

#[test]
fn a_temporary_folder_that_cannot_hold_sockets_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["x".repeat(90), "with space".to_owned()] {
        let folder = tmp.path().join(name);
        fs::create_dir(&folder).unwrap();
        let output = lbdeck(&folder, &["lab"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("set TMPDIR"), "{said}");
    }
}

/// OpenSSH's client against a node of the lab.
fn ssh(lab: &Serving, user: &str, key: &Path, words: &[&str]) -> Output {
    let fleet = fs::read_to_string(lab.folder.join("lbdeck.yaml")).unwrap();
    let port = fleet.split("port: ").nth(1).unwrap().split_whitespace().next().unwrap();
    Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-p", port])
        .arg(format!("-oUserKnownHostsFile={}", lab.folder.join("known_hosts").display()))
        .arg("-i")
        .arg(key)
        .arg(format!("{user}@127.0.0.11"))
        .args(words)
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_node_speaks_to_openssh_and_offers_little() {
    let lab = Serving::start();
    let key = lab.folder.join("id_ed25519");

    let hostname = ssh(&lab, "lab", &key, &["hostname"]);
    assert_eq!((hostname.status.code(), hostname.stdout.as_slice()), (Some(0), &b"lb1\n"[..]), "{hostname:?}");
    let failing = ssh(&lab, "lab", &key, &["cat", "missing"]);
    assert_eq!(failing.status.code(), Some(1), "{failing:?}");
    assert!(String::from_utf8_lossy(&failing.stderr).contains("missing"), "{failing:?}");

    for refused in ["sh -c true", "rm -rf .", "sleep 1000"] {
        assert_eq!(ssh(&lab, "lab", &key, &[refused]).status.code(), Some(127), "{refused}");
    }
    assert_eq!(ssh(&lab, "root", &key, &["true"]).status.code(), Some(255), "another user");
    let stranger = lab.tmp.path().join("stranger");
    super::support::sshd::keygen("ed25519", &stranger, "");
    assert_eq!(ssh(&lab, "lab", &stranger, &["true"]).status.code(), Some(255), "another key");
}

#[test]
fn the_proof_drains_under_load_without_losing_a_request() {
    let tmp = tempfile::tempdir().unwrap();
    let output = lbdeck(tmp.path(), &["lab", "--nodes", "2", "--rate", "60"]).output().unwrap();
    let (data, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{data}\n{talk}");
    assert!(data.contains("web/web2 is drained on 2 of 2 nodes"), "{data}");
    assert!(data.contains("web/web2 is back and serves on every node"), "{data}");
    assert!(data.contains(" 0 failed"), "{data}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0, "something was left in TMPDIR");
}

/// The lab in a terminal, as somebody who tries lbdeck sees it.
fn in_a_terminal(tmp: &Path) -> Terminal {
    let mut command = portable_pty::CommandBuilder::new(LBDECK);
    command.args(["lab", "--nodes", "2", "--rate", "20"]);
    command.env("TMPDIR", tmp);
    command.env("HOME", tmp);
    command.env_remove("LBDECK_FLEET");
    let terminal = Terminal::start(command, (120, 40));
    terminal.sees("2 fresh");
    terminal
}

#[test]
fn a_terminal_gets_the_console_and_gets_itself_back() {
    let tmp = tempfile::tempdir().unwrap();
    let mut lab = in_a_terminal(tmp.path());
    lab.press(":quit\r");
    assert_eq!(lab.ends(), 0);
    lab.assert_restored();
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0, "something was left in TMPDIR");
}

#[test]
fn a_signal_ends_the_console_of_the_lab_in_order() {
    let tmp = tempfile::tempdir().unwrap();
    let mut lab = in_a_terminal(tmp.path());
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.ends(), 1);
    lab.assert_restored();
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0, "something was left in TMPDIR");
}

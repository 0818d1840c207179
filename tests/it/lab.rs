//! `lbdeck lab` as a whole, on its own agents and on haproxy: its proof, its SSH servers as OpenSSH sees them, its console, and that
//! nothing outlives it.

mod haproxy;
mod relay;

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
    /// Returns as soon as its folder is known.
    fn start(more: &[&str]) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let mut words = vec!["lab", "--serve", "--nodes", "2", "--servers", "2", "--rate", "20"];
        words.extend(more);
        let mut child = lbdeck(tmp.path(), &words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
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

/// Ends a lab and waits until all that it started is gone.
fn ends_with_all_it_started(mut lab: Serving, processes: &[i32], signal: Signal) {
    lab.signal(signal);
    let status = until("the lab ends", LONG, || lab.child.try_wait().unwrap());
    // To stay until it is told to end is all that was asked of it; nobody can end in order by SIGKILL.
    assert_eq!(status.code(), (signal != Signal::SIGKILL).then_some(0));
    until("all of its processes end", LONG, || {
        let gone = processes.iter().all(|p| !Path::new(&format!("/proc/{p}")).exists()) && lab.processes().is_empty();
        gone.then_some(())
    });
    until("its folder goes", LONG, || (!lab.folder.exists()).then_some(()));
    nothing_left(lab.tmp.path());
}

fn nothing_left(tmp: &Path) {
    let left: Vec<_> = fs::read_dir(tmp).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "something was left in TMPDIR: {left:?}");
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
    let lab = Serving::start(&["--engine", "haproxy"]);
    let key = lab.folder.join("id_ed25519");

    let hostname = ssh(&lab, "lab", &key, &["hostname"]);
    assert_eq!((hostname.status.code(), hostname.stdout.as_slice()), (Some(0), &b"lb1\n"[..]), "{hostname:?}");
    let failing = ssh(&lab, "lab", &key, &["cat", "missing"]);
    assert_eq!(failing.status.code(), Some(1), "{failing:?}");
    assert!(String::from_utf8_lossy(&failing.stderr).contains("missing"), "{failing:?}");

    for refused in ["sh -c true", "/bin/rm -rf .", "sleep 1000"] {
        assert_eq!(ssh(&lab, "lab", &key, &[refused]).status.code(), Some(127), "{refused}");
    }
    for outside in ["rm -rf ../lb2", "install -m 0644 /etc/hostname /tmp/x", "mv -t/tmp haproxy.cfg"] {
        assert_eq!(ssh(&lab, "lab", &key, &[outside]).status.code(), Some(126), "{outside}");
    }
    assert!(lab.folder.join("lb2/haproxy.cfg").exists());
    let home = ssh(&lab, "lab", &key, &["printenv"]);
    let environment = String::from_utf8_lossy(&home.stdout);
    let expected = format!("HOME={}", lab.folder.join("lb1").display());
    assert!(environment.lines().any(|l| l == expected) && !environment.contains("TMPDIR"), "{environment}");
    assert_eq!(ssh(&lab, "root", &key, &["true"]).status.code(), Some(255), "another user");
    let stranger = lab.tmp.path().join("stranger");
    super::support::sshd::keygen("ed25519", &stranger, "");
    assert_eq!(ssh(&lab, "lab", &stranger, &["true"]).status.code(), Some(255), "another key");
}

/// Runs the lab to its end.
fn run(tmp: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = lbdeck(tmp, &[&["lab"], words].concat()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    for (words, said) in [
        (&["--engine", "relay", "--haproxy", "/usr/sbin/haproxy"][..], "--engine haproxy"),
        (&["--agent", "/bin/true", "--haproxy", "/usr/sbin/haproxy"], "cannot be used with"),
        (&["--agent", "/nonexistent/lbdeck"], "/nonexistent/lbdeck: is no file"),
        (&["--nodes", "0"], "1..=40"),
        (&["--servers", "1"], "2..=40"),
        (&["--errors", "101"], "0..=100"),
        (&["--check", "--serve"], "cannot be used with"),
    ] {
        let (code, data, talk) = run(tmp.path(), words);
        assert_eq!((code, data.as_str()), (Some(2), ""), "{words:?}: {talk}");
        assert!(talk.contains(said), "{words:?}: {talk}");
    }
    nothing_left(tmp.path());
}

/// The lab in a terminal, as somebody who tries lbdeck sees it.
fn in_a_terminal(tmp: &Path, size: (u16, u16), words: &[&str]) -> Terminal {
    let mut command = portable_pty::CommandBuilder::new(LBDECK);
    command.args(["lab", "--nodes", "2", "--rate", "20"]);
    command.args(words);
    command.env("TMPDIR", tmp);
    command.env("HOME", tmp);
    command.env_remove("LBDECK_FLEET");
    let terminal = Terminal::start(command, size);
    terminal.sees("2 fresh");
    terminal
}

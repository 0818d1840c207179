//! A stand-in for the agent, built for each test, and a node to install it on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::fleet::{Fleet, Ran};
use crate::support::sshd::{Sshd, SshdOptions};

pub const LBDECK: &str = env!("CARGO_BIN_EXE_lbdeck");
/// For whatever a busy machine may delay.
pub const LONG: Duration = Duration::from_secs(60);

/// How a build behaves.
#[derive(Clone, Copy)]
pub enum Mode {
    Serves = 0,
    NeverAnswers = 1,
    TellsAnotherVersion = 2,
    EndsAtOnce = 3,
}

/// A node behind a real sshd, with a home of its own and a folder for the agent.
pub struct Place {
    pub sshd: Sshd,
    pub dir: tempfile::TempDir,
    pub fleet: Fleet,
}

impl Place {
    pub fn new() -> Self {
        Self::with(|_| {}, SshdOptions::default())
    }

    /// `prepare` gets the home before anything is started.
    pub fn with(prepare: impl FnOnce(&Path), options: SshdOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("agent").tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        prepare(&home);
        // sshd takes the first SetEnv alone.
        let extra = format!("SetEnv SHLVL=5 HOME={}\n{}", home.display(), options.extra);
        let sshd = Sshd::with(SshdOptions { extra, ..options });
        let fleet = Fleet::new().ssh("lb1", &sshd, &dir.path().join("no.sock"));
        Self { sshd, dir, fleet }
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }
    pub fn prefix(&self) -> PathBuf {
        self.dir.path().join("p")
    }

    /// Builds a stand-in, with so many bytes behind it that nobody reads.
    pub fn build(&self, version: &str, mode: Mode, padding: usize) -> PathBuf {
        let path = self.dir.path().join(format!("build-{version}"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agent/double.c");
        let built = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror"])
            .arg(format!("-DREAL=\"{LBDECK}\""))
            .arg(format!("-DVERSION=\"{version}\""))
            .arg(format!("-DMODE={}", mode as u8))
            .arg("-o")
            .args([&path, &source])
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend((0..padding).map(|n| (n % 251) as u8));
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The words of a verb on this node, confirmed.
    pub fn words<'a>(&'a self, verb: &'a str, more: &[&'a str]) -> Vec<String> {
        let mut words: Vec<String> = ["agent", verb, "lb1", "--prefix"].map(String::from).to_vec();
        words.push(self.prefix().display().to_string());
        words.extend(more.iter().map(|w| (*w).to_owned()));
        words
    }
    pub fn run(&self, verb: &str, more: &[&str]) -> Ran {
        let words = self.words(verb, more);
        self.fleet.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
    pub fn install(&self, binary: &Path) -> Ran {
        self.run("install", &["--yes", "--binary", binary.to_str().unwrap()])
    }
    pub fn upgrade(&self, binary: &Path) -> Ran {
        self.run("upgrade", &["--yes", "--ready-within", "3s", "--binary", binary.to_str().unwrap()])
    }
    /// The only item of `agent status`.
    pub fn status(&self) -> serde_json::Value {
        self.run("status", &["-o", "json"]).exits(0).json()["items"][0].clone()
    }

    /// Every path of the node that the agent's installation could touch.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.home(), self.prefix()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        found.sort();
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whatever a test that failed left running.
        let prefix = self.prefix().display().to_string();
        let _ = Command::new(LBDECK).args(["agent", "supervise", "stop", "--prefix", &prefix]).output();
    }
}

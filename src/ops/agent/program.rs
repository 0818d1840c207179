//! From what a node has and what is asked to the exact steps, each with what undoes it. Pure.
//!
//! The order keeps the agent that serves untouched as long as anything can still fail: upload, sum, a trial run on the node,
//! and only then the swap, by renames; the displaced binary stays until the new one is known to serve.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{AGENT_UNIT, AGENT_USER, AgentPaths};

use super::elf;
use super::facts::{NodeFacts, Privilege, ask, displaced, incoming, supervisor};
use super::payload::{BinaryInfo, sha256};
use super::request::{AgentRequest, AgentVerb};
use super::unit::{self, UnitOptions};

/// Room that must be free beside the binary itself (bytes).
const SLACK: u64 = 1 << 20;
/// What a handover may take beside the start of the new process (seconds).
const HANDOVER_S: u64 = 10;

/// One thing that is done on a node.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// argv, which must end with status 0.
    Run { argv: Vec<String> },
    /// argv whose failure is said and changes nothing (a folder that others use too).
    Try { argv: Vec<String> },
    /// The binary, in pieces; goes on where an earlier upload of the same sum stopped.
    Upload { to: PathBuf, bytes: u64, sha256: String },
    /// A small file, readable for its owner only until it is put in its place.
    Write { to: PathBuf, bytes: u64, sha256: String, text: String },
    /// argv is sha256sum(1); its answer must be this sum.
    Sum { argv: Vec<String>, sha256: String },
    /// argv prints a version: the binary runs on this node.
    Trial { argv: Vec<String> },
    /// Waits until a process of this sum answers on the control socket, in the version that the trial told.
    Serving { sha256: String, within_s: u64 },
    /// As `serving`, but where another build serves or none, argv is run first: the way back.
    Bring { sha256: String, argv: Vec<String>, within_s: u64 },
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub action: Action,
    /// What takes it back, in order, once it was begun.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Action>,
}

/// Steps for one node: empty where nothing is left to do.
pub struct Draft {
    pub steps: Vec<Step>,
    pub notes: Vec<String>,
    /// What was seen, in words.
    pub now: String,
}

/// # Errors
/// Why it cannot be done on this node, in words.
pub fn program(request: &AgentRequest, facts: &NodeFacts) -> Result<Draft, String> {
    let mut maker = Maker { request, paths: &facts.paths, facts, p: facts.privilege, steps: Vec::new(), notes: Vec::new() };
    match request.verb {
        AgentVerb::Install => maker.install()?,
        AgentVerb::Upgrade => {
            maker.must_be_installed()?;
            maker.install()?;
        }
        AgentVerb::Rollback => maker.roll_back()?,
        AgentVerb::Restart => maker.restart()?,
        AgentVerb::Remove => maker.remove(),
    }
    Ok(Draft { now: describe(facts), steps: maker.steps, notes: maker.notes })
}

/// The agent of a node in a few words.
pub fn describe(facts: &NodeFacts) -> String {
    match (&facts.running, facts.installed()) {
        (Some(running), _) => format!("{} runs, pid {}", running.hello.agent, running.hello.pid),
        (None, true) => "installed, does not answer".into(),
        (None, false) => "not installed".into(),
    }
}

struct Maker<'a> {
    request: &'a AgentRequest,
    paths: &'a AgentPaths,
    facts: &'a NodeFacts,
    p: Privilege,
    steps: Vec<Step>,
    notes: Vec<String>,
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl Maker<'_> {
    fn push(&mut self, action: Action, undo: Vec<Action>) {
        self.steps.push(Step { action, undo });
    }
    fn run(&mut self, argv: Vec<String>) {
        self.push(Action::Run { argv }, Vec::new());
    }
    fn as_run<const N: usize>(&self, words: [&str; N]) -> Action {
        Action::Run { argv: self.p.argv(words) }
    }
    fn as_try<const N: usize>(&self, words: [&str; N]) -> Action {
        Action::Try { argv: self.p.argv(words) }
    }

    fn must_be_installed(&self) -> Result<(), String> {
        match self.facts.installed() {
            true => Ok(()),
            false => Err("no agent is installed there (`lbdeck agent install`)".into()),
        }
    }

    /// Starts the agent that is in its place, as a new process without a handover.
    fn start_argv(&self) -> Vec<String> {
        match self.facts.systemd {
            true => self.p.argv(["systemctl", "restart", AGENT_UNIT]),
            false => self.p.words(supervisor(self.paths, "restart")),
        }
    }
    fn stop_argv(&self) -> Vec<String> {
        match self.facts.systemd {
            true => self.p.argv(["systemctl", "stop", AGENT_UNIT]),
            false => self.p.words(supervisor(self.paths, "stop")),
        }
    }
    /// Asks the agent that runs to hand over to the binary that stands under its path now.
    fn handover_argv(&self) -> Vec<String> {
        let body = serde_json::json!({ "binary": shown(&self.paths.binary()), "ready_within_s": self.request.ready_within_s });
        self.p.words(ask(self.paths, self.request.ready_within_s + HANDOVER_S, &["POST", "/v1/upgrade", &body.to_string()]))
    }
    fn serving(&self, sha256: &str) -> Action {
        Action::Serving { sha256: sha256.to_owned(), within_s: self.request.ready_within_s }
    }
    fn bring(&self, sha256: &str) -> Action {
        Action::Bring { sha256: sha256.to_owned(), argv: self.start_argv(), within_s: self.request.ready_within_s }
    }

    fn own_user(&self) -> bool {
        self.facts.systemd && (self.facts.has_user || self.facts.can_add_user)
    }

    fn install(&mut self) -> Result<(), String> {
        let Some(binary) = &self.request.binary else { return Err("no binary was given".into()) };
        self.fits(binary)?;
        let has = self.facts.sum(&self.paths.binary()) == Some(binary.sha256.as_str());
        let runs = self.facts.running.as_ref().and_then(|r| r.sha256.as_deref()) == Some(binary.sha256.as_str());
        let half_done = self.facts.has(&displaced(self.paths));
        if !has {
            self.bring_binary(binary)?;
        }
        self.user_and_folders();
        self.config()?;
        if has && half_done {
            // An earlier run ended between the swap and the proof: the way back is still open.
            let argv = self.p.argv(["sha256sum", "--", &shown(&self.paths.binary())]);
            let undo = self.swap_back();
            self.push(Action::Sum { argv, sha256: binary.sha256.clone() }, undo);
        }
        if !has {
            self.swap();
        }
        let unit_changed = self.facts.systemd && self.unit();
        if !runs || unit_changed && self.facts.running.is_none() {
            self.take_over(binary);
        } else if unit_changed {
            self.notes.push("the unit has changed: what of it limits the process holds from its next start on".into());
        }
        if !has || half_done {
            self.keep_displaced();
        }
        if !self.facts.systemd && self.paths.prefix().is_none() && !self.steps.is_empty() {
            self.notes.push(format!(
                "no systemd: let the node's init run `{}` at boot; the agent runs as root",
                supervisor(self.paths, "start").join(" ")
            ));
        }
        Ok(())
    }

    /// Does the binary suit the node?
    fn fits(&mut self, binary: &BinaryInfo) -> Result<(), String> {
        let facts = self.facts;
        if facts.system != "Linux" {
            return Err(format!("runs {}; the agent is made for Linux", facts.system));
        }
        if !elf::runs_on(&binary.elf.machine, &facts.machine) {
            return Err(format!(
                "is {}, and {} is built for {}: give a build for {} with --binary",
                facts.machine,
                binary.file.display(),
                binary.elf.machine,
                facts.machine
            ));
        }
        let missing = facts.sum(&self.paths.binary()) != Some(binary.sha256.as_str());
        if let Some(free) = facts.free.filter(|_| missing)
            && free < binary.bytes + SLACK
        {
            return Err(format!(
                "{} free in {}, {} are needed",
                mib(free),
                self.paths.library().display(),
                mib(binary.bytes + SLACK)
            ));
        }
        if !binary.elf.is_static && missing {
            self.notes.push(
                "the binary is not static: it runs only where the node has libraries as new as those it was built with".into(),
            );
        }
        Ok(())
    }

    fn bring_binary(&mut self, binary: &BinaryInfo) -> Result<(), String> {
        let staged = self.stage(&format!("lbdeck-{}", binary.sha256.get(..16).unwrap_or_default()))?;
        self.push(Action::Upload { to: staged.clone(), bytes: binary.bytes, sha256: binary.sha256.clone() }, Vec::new());
        self.push(
            Action::Sum { argv: vec!["sha256sum".into(), "--".into(), shown(&staged)], sha256: binary.sha256.clone() },
            // What is not what was sent must not be gone on with.
            self.as_unstaged(&staged),
        );
        if let Some(prefix) = self.paths.prefix() {
            self.folder(prefix, "0755", None);
        }
        self.folder(&self.paths.library(), "0755", None);
        let new = shown(&incoming(self.paths));
        let undo = vec![self.as_run(["rm", "-f", "--", &new])];
        self.push(Action::Run { argv: self.p.argv(["install", "-m", "0755", "--", &shown(&staged), &new]) }, undo);
        let argv = self.p.argv(["sha256sum", "--", &new]);
        self.push(Action::Sum { argv, sha256: binary.sha256.clone() }, Vec::new());
        self.push(Action::Trial { argv: vec![new, "--version".into()] }, Vec::new());
        self.unstage(&staged);
        Ok(())
    }

    /// A place for what is on its way, private to the ssh user; the folder is made first.
    fn stage(&mut self, name: &str) -> Result<PathBuf, String> {
        let folder = self.facts.staging.clone().ok_or("the ssh user has no home folder to upload into (HOME is not set)")?;
        self.run(vec!["mkdir".into(), "-p".into(), "-m".into(), "0700".into(), "--".into(), shown(&folder)]);
        Ok(folder.join(name))
    }
    fn unstage(&mut self, staged: &Path) {
        for action in self.as_unstaged(staged) {
            self.push(action, Vec::new());
        }
    }
    fn as_unstaged(&self, staged: &Path) -> Vec<Action> {
        let mut actions = vec![Action::Run { argv: vec!["rm".into(), "-f".into(), "--".into(), shown(staged)] }];
        if let Some(folder) = staged.parent() {
            actions.push(Action::Try { argv: vec!["rmdir".into(), "--".into(), shown(folder)] });
        }
        actions
    }

    fn folder(&mut self, folder: &Path, mode: &str, group: Option<&str>) {
        if self.facts.folders.iter().any(|f| f == folder) {
            return;
        }
        let path = shown(folder);
        let argv = match group {
            Some(group) => self.p.argv(["install", "-d", "-m", mode, "-g", group, "--", &path]),
            None => self.p.argv(["install", "-d", "-m", mode, "--", &path]),
        };
        let undo = vec![self.as_try(["rmdir", "--", &path])];
        self.push(Action::Run { argv }, undo);
    }

    fn user_and_folders(&mut self) {
        if self.facts.can_add_user && !self.facts.has_user {
            let state = shown(&self.paths.state());
            let argv = self.p.argv([
                "/usr/sbin/useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                &state,
                "--shell",
                "/usr/sbin/nologin",
                AGENT_USER,
            ]);
            let undo = vec![self.as_run(["/usr/sbin/userdel", AGENT_USER])];
            self.push(Action::Run { argv }, undo);
        }
        let group = self.own_user().then_some(AGENT_USER);
        self.folder(&self.paths.config_dir(), "0750", group);
        if !self.facts.systemd {
            for folder in [self.paths.state(), self.paths.runtime()] {
                if !self.facts.folders.contains(&folder) {
                    let path = shown(&folder);
                    let undo = vec![self.as_run(["rm", "-rf", "--", &path])];
                    self.push(Action::Run { argv: self.p.argv(["install", "-d", "-m", "0700", "--", &path]) }, undo);
                }
            }
        }
    }

    fn config(&mut self) -> Result<(), String> {
        let target = self.paths.config();
        if self.facts.has(&target) {
            if self.request.config.as_ref().is_some_and(|text| Some(sha256(text.as_bytes()).as_str()) != self.facts.sum(&target))
            {
                self.notes.push(format!("{} is there already and stays as it is", target.display()));
            }
            return Ok(());
        }
        // Without a configuration the agent keeps leases and watches the node.
        let Some(text) = self.request.config.clone() else { return Ok(()) };
        let undo = vec![self.as_run(["rm", "-f", "--", &shown(&target)])];
        let group = self.own_user().then_some(AGENT_USER);
        self.place(&target, text, "0640", group, undo)
    }

    /// A small file into its place, by way of the staging folder.
    fn place(&mut self, target: &Path, text: String, mode: &str, group: Option<&str>, undo: Vec<Action>) -> Result<(), String> {
        let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let staged = self.stage(&name)?;
        let (from, to) = (shown(&staged), shown(target));
        self.push(write(staged.clone(), text), Vec::new());
        let argv = match group {
            Some(group) => self.p.argv(["install", "-m", mode, "-g", group, "--", &from, &to]),
            None => self.p.argv(["install", "-m", mode, "--", &from, &to]),
        };
        self.push(Action::Run { argv }, undo);
        self.unstage(&staged);
        Ok(())
    }

    /// What brings the displaced binary back into its place, and the agent with it.
    fn swap_back(&self) -> Vec<Action> {
        let (binary, old) = (shown(&self.paths.binary()), shown(&displaced(self.paths)));
        let mut undo = vec![self.as_run(["mv", "-f", "--", &old, &binary])];
        let before = self.facts.sum(&displaced(self.paths)).or_else(|| self.facts.sum(&self.paths.binary()));
        if let (Some(before), Some(_)) = (before, &self.facts.running) {
            undo.push(self.bring(before));
        }
        undo
    }

    /// The new binary takes the place of the old one, by renames: at every moment there is a whole one.
    fn swap(&mut self) {
        let (binary, old, new) = (shown(&self.paths.binary()), shown(&displaced(self.paths)), shown(&incoming(self.paths)));
        let undo = if self.facts.installed() {
            let undo = vec![self.as_run(["rm", "-f", "--", &old])];
            self.push(Action::Run { argv: self.p.argv(["ln", "-f", "--", &binary, &old]) }, undo);
            self.swap_back()
        } else {
            vec![self.as_run(["rm", "-f", "--", &binary])]
        };
        self.push(Action::Run { argv: self.p.argv(["mv", "-f", "--", &new, &binary]) }, undo);
    }

    fn keep_displaced(&mut self) {
        if self.facts.installed() {
            let (old, previous) = (shown(&displaced(self.paths)), shown(&self.paths.previous()));
            self.run(self.p.argv(["mv", "-f", "--", &old, &previous]));
        }
    }

    /// True where the unit had to be written.
    fn unit(&mut self) -> bool {
        let options = UnitOptions { own_user: self.own_user(), haproxy_group: self.facts.haproxy_group };
        let text = unit::text(self.paths, options);
        let path = self.paths.unit();
        let reload = self.as_run(["systemctl", "daemon-reload"]);
        let changed = self.facts.unit_text.as_deref() != Some(text.as_str());
        if changed {
            let mut undo = match (&self.facts.unit_text, &self.facts.staging) {
                (Some(before), Some(staging)) => {
                    let staged = staging.join(AGENT_UNIT);
                    vec![
                        Action::Run {
                            argv: vec!["mkdir".into(), "-p".into(), "-m".into(), "0700".into(), "--".into(), shown(staging)],
                        },
                        write(staged.clone(), before.clone()),
                        self.as_run(["install", "-m", "0644", "--", &shown(&staged), &shown(&path)]),
                        Action::Run { argv: vec!["rm".into(), "-f".into(), "--".into(), shown(&staged)] },
                        Action::Try { argv: vec!["rmdir".into(), "--".into(), shown(staging)] },
                    ]
                }
                _ => vec![self.as_run(["rm", "-f", "--", &shown(&path)])],
            };
            undo.push(reload.clone());
            // A home is there: the binary came through it.
            let _ = self.place(&path, text, "0644", None, undo);
            self.push(reload, Vec::new());
        }
        if !self.facts.unit.as_ref().is_some_and(|u| u.enabled) {
            let undo = vec![self.as_run(["systemctl", "disable", AGENT_UNIT])];
            self.push(Action::Run { argv: self.p.argv(["systemctl", "enable", AGENT_UNIT]) }, undo);
        }
        changed
    }

    /// The new build serves: by a handover where an agent runs, by a start where none does.
    fn take_over(&mut self, binary: &BinaryInfo) {
        match self.facts.running {
            Some(_) => self.run(self.handover_argv()),
            None => {
                let mut undo = vec![Action::Try { argv: self.stop_argv() }];
                let state = self.paths.state();
                if self.facts.systemd && !self.facts.folders.contains(&state) {
                    // systemd makes it at the start.
                    undo.push(self.as_run(["rm", "-rf", "--", &shown(&state)]));
                }
                self.push(Action::Run { argv: self.start_argv() }, undo);
            }
        }
        self.push(self.serving(&binary.sha256), Vec::new());
    }

    fn roll_back(&mut self) -> Result<(), String> {
        self.must_be_installed()?;
        let (binary, previous) = (self.paths.binary(), self.paths.previous());
        let before = self.facts.sum(&previous).ok_or("no earlier build is kept there")?.to_owned();
        let present = self.facts.sum(&binary).unwrap_or_default().to_owned();
        let (binary, previous, old) = (shown(&binary), shown(&previous), shown(&displaced(self.paths)));
        self.push(Action::Trial { argv: vec![previous.clone(), "--version".into()] }, Vec::new());
        let undo = vec![self.as_run(["rm", "-f", "--", &old])];
        self.push(Action::Run { argv: self.p.argv(["ln", "-f", "--", &binary, &old]) }, undo);
        let mut undo = vec![self.as_run(["ln", "-f", "--", &binary, &previous]), self.as_run(["mv", "-f", "--", &old, &binary])];
        if self.facts.running.is_some() {
            undo.push(self.bring(&present));
        }
        self.push(Action::Run { argv: self.p.argv(["mv", "-f", "--", &previous, &binary]) }, undo);
        match self.facts.running {
            Some(_) => self.run(self.handover_argv()),
            None => self.run(self.start_argv()),
        }
        self.push(self.serving(&before), Vec::new());
        // What was rolled back is the build before now: rolling back twice leads forward again.
        self.run(self.p.argv(["mv", "-f", "--", &old, &previous]));
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        self.must_be_installed()?;
        let sum = self.facts.sum(&self.paths.binary()).unwrap_or_default().to_owned();
        match &self.facts.running {
            Some(running) if !self.request.hard => {
                self.run(self.handover_argv());
                if running.sha256.as_deref() != Some(sum.as_str()) {
                    self.notes.push("another build stands in its place than the one that runs: it will run then".into());
                }
            }
            _ => self.run(self.start_argv()),
        }
        self.push(self.serving(&sum), Vec::new());
        Ok(())
    }

    fn remove(&mut self) {
        let (paths, facts) = (self.paths, self.facts);
        if facts.systemd && facts.has(&paths.unit()) {
            self.run(self.p.argv(["systemctl", "disable", "--now", AGENT_UNIT]));
            self.run(self.p.argv(["rm", "-f", "--", &shown(&paths.unit())]));
            self.run(self.p.argv(["systemctl", "daemon-reload"]));
            // It only has something to forget where the unit had failed.
            self.push(self.as_try(["systemctl", "reset-failed", AGENT_UNIT]), Vec::new());
        } else if facts.installed() && (facts.supervised || facts.running.is_some()) {
            self.run(self.p.words(supervisor(paths, "stop")));
        }
        let there = |folder: &Path| facts.folders.iter().any(|f| f == folder);
        let binaries = [paths.binary(), paths.previous(), incoming(paths), displaced(paths)];
        for file in binaries.iter().filter(|f| facts.has(f)) {
            self.run(self.p.argv(["rm", "-f", "--", &shown(file)]));
        }
        if there(&paths.library()) {
            self.push(self.as_try(["rmdir", "--", &shown(&paths.library())]), Vec::new());
        }
        if !facts.systemd && there(&paths.runtime()) {
            self.run(self.p.argv(["rm", "-rf", "--", &shown(&paths.runtime())]));
        }
        if self.request.keep_state {
            if there(&paths.state()) || there(&paths.config_dir()) {
                self.notes.push(format!("{} and {} stay", paths.state().display(), paths.config_dir().display()));
            }
            return;
        }
        if there(&paths.state()) {
            self.run(self.p.argv(["rm", "-rf", "--", &shown(&paths.state())]));
        }
        if facts.has(&paths.config()) {
            self.run(self.p.argv(["rm", "-f", "--", &shown(&paths.config())]));
        }
        if there(&paths.config_dir()) {
            self.push(self.as_try(["rmdir", "--", &shown(&paths.config_dir())]), Vec::new());
        }
        if facts.has_user && facts.can_add_user {
            self.run(self.p.argv(["/usr/sbin/userdel", AGENT_USER]));
        }
        if let Some(prefix) = paths.prefix().filter(|_| !self.steps.is_empty()) {
            self.push(self.as_try(["rmdir", "--", &shown(prefix)]), Vec::new());
        }
    }
}

fn write(to: PathBuf, text: String) -> Action {
    Action::Write { to, bytes: text.len() as u64, sha256: sha256(text.as_bytes()), text }
}

/// Bytes as people read them.
pub fn mib(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// As it is shown before and while it is done.
impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |sum: &str| sum.get(..16).unwrap_or(sum).to_owned();
        match self {
            Action::Run { argv } => f.write_str(&shell_words::join(argv)),
            Action::Try { argv } => write!(f, "{} (may fail)", shell_words::join(argv)),
            Action::Upload { to, bytes, sha256 } => {
                write!(f, "upload {} ({bytes} bytes, sha256 {})", to.display(), short(sha256))
            }
            Action::Write { to, bytes, sha256, .. } => {
                write!(f, "write {} ({bytes} bytes, sha256 {})", to.display(), short(sha256))
            }
            Action::Sum { argv, sha256 } => write!(f, "{} (must be {})", shell_words::join(argv), short(sha256)),
            Action::Trial { argv } => write!(f, "{} (must run on the node)", shell_words::join(argv)),
            Action::Serving { sha256, within_s } => write!(f, "wait until {} serves, at most {within_s} s", short(sha256)),
            Action::Bring { sha256, argv, within_s } => {
                write!(f, "unless {} serves: {}; wait at most {within_s} s", short(sha256), shell_words::join(argv))
            }
        }
    }
}

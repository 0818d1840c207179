//! The supervisor itself: one small process that starts, watches and restarts.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::net::UnixDatagram;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::config::AgentPaths;

use super::notify::{self, Said};
use super::{SUPERVISOR_ENV, SuperviseError};

/// Silence after which the agent is taken for hung.
const WATCHDOG: Duration = Duration::from_secs(20);
/// A start that is not ready by then is tried anew.
const START: Duration = Duration::from_secs(60);
/// How long processes may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(60);
/// Pause before the first restart in a row, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Who has served so long starts the pauses anew.
const STABLE: Duration = Duration::from_secs(60);
/// A log larger than this is put aside at the next start (bytes).
const LARGEST_LOG: u64 = 16 << 20;

enum Phase {
    /// Runs; must say something before this moment.
    Up {
        silent_until: Instant,
    },
    Pausing {
        until: Instant,
    },
    Stopping {
        until: Instant,
    },
}

struct Supervisor<'a> {
    paths: &'a AgentPaths,
    notify: PathBuf,
    main: Option<i32>,
    /// All that run: the main process and those that finish what is established.
    children: BTreeSet<i32>,
    phase: Phase,
    since: Instant,
    failures: u32,
}

/// Supervises until SIGTERM or SIGINT, then ends the agent and returns.
pub async fn run(paths: &AgentPaths) -> Result<(), SuperviseError> {
    // Away from the terminal or SSH session that started it. A leader of its group stays what it is.
    let _ = nix::unistd::setsid();
    let _lock = hold(&paths.pid_file())?;
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|e| SuperviseError::Io { doing: "taking over orphans".into(), source: e.into() })?;
    let notify = paths.runtime().join("notify.sock");
    let _ = fs::remove_file(&notify);
    let socket = UnixDatagram::bind(&notify).map_err(SuperviseError::io(format!("binding {}", notify.display())))?;
    let listen = |kind| signal(kind).map_err(SuperviseError::io("listening for signals"));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let (mut hangup, mut child) = (listen(SignalKind::hangup())?, listen(SignalKind::child())?);
    let now = Instant::now();
    let mut all = Supervisor {
        paths,
        notify: notify.clone(),
        main: None,
        children: BTreeSet::new(),
        phase: Phase::Pausing { until: now },
        since: now,
        failures: 0,
    };
    let mut buffer = [0u8; 4096];
    loop {
        let until = match all.phase {
            Phase::Up { silent_until } => silent_until,
            Phase::Pausing { until } | Phase::Stopping { until } => until,
        };
        tokio::select! {
            _ = terminate.recv() => all.stop("SIGTERM"),
            _ = interrupt.recv() => all.stop("SIGINT"),
            _ = hangup.recv() => all.pass_on(Signal::SIGHUP),
            _ = child.recv() => {}
            got = socket.recv(&mut buffer) => {
                if let Ok(length) = got {
                    all.hear(notify::parse(buffer.get(..length).unwrap_or_default()));
                }
            }
            () = tokio::time::sleep_until(until) => all.time_is_up(),
        }
        // Signals come together, and datagrams may be late: whoever has ended is looked for each time.
        all.reap();
        if matches!(all.phase, Phase::Stopping { .. }) {
            all.end_newcomers();
        }
        if matches!(all.phase, Phase::Stopping { .. }) && all.children.is_empty() {
            break;
        }
    }
    for file in [notify, paths.pid_file()] {
        let _ = fs::remove_file(file);
    }
    say("ended");
    Ok(())
}

/// Holds the file with our process id as long as we live: whoever starts a second supervisor is refused.
fn hold(file: &Path) -> Result<Flock<File>, SuperviseError> {
    let doing = || format!("holding {}", file.display());
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(file);
    let opened = opened.map_err(SuperviseError::io(doing()))?;
    let mut held = Flock::lock(opened, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| match e {
        Errno::EWOULDBLOCK => SuperviseError::Running { file: file.to_owned(), pid: super::control::pid_in(file).unwrap_or(0) },
        e => SuperviseError::Io { doing: doing(), source: e.into() },
    })?;
    held.set_len(0).and_then(|()| writeln!(held, "{}", std::process::id())).map_err(SuperviseError::io(doing()))?;
    Ok(held)
}

/// The supervisor's own words go where the agent's go.
fn say(what: &str) {
    // A log that cannot be written must not end what it is about.
    let _ = writeln!(std::io::stderr(), "{} supervisor: {what}", jiff::Timestamp::now());
}

/// All processes below one, that are not zombies. Those whose parents end become our children (we are a subreaper), so none is lost.
fn descendants(of: i32) -> Vec<i32> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parents: Vec<(i32, i32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(above) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// None where it has ended.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    let mut words = after.split_whitespace();
    words.next().filter(|state| *state != "Z")?;
    words.next()?.parse().ok()
}

impl Supervisor<'_> {
    fn start(&mut self) {
        self.rotate_log();
        let argv = self.paths.run_argv();
        let Some((program, words)) = argv.split_first() else { return };
        let mut command = Command::new(program);
        command
            .args(words)
            .env("NOTIFY_SOCKET", &self.notify)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            .env(SUPERVISOR_ENV, "lbdeck")
            .stdin(Stdio::null());
        match command.spawn() {
            Ok(child) => {
                // The child is reaped by its number, together with those that upgrades made.
                let pid = child.id().cast_signed();
                say(&format!("started the agent, pid {pid}"));
                self.children.insert(pid);
                self.main = Some(pid);
                self.since = Instant::now();
                self.phase = Phase::Up { silent_until: Instant::now() + START };
            }
            Err(e) => {
                say(&format!("starting {program}: {e}"));
                self.pause();
            }
        }
    }

    fn rotate_log(&self) {
        let log = self.paths.log();
        if fs::metadata(&log).is_ok_and(|m| m.len() > LARGEST_LOG) {
            let mut aside = log.clone().into_os_string();
            aside.push(".1");
            // Copied and cut, because this process and the agent have it open.
            if fs::copy(&log, &aside).is_ok() {
                let _ = OpenOptions::new().write(true).open(&log).and_then(|f| f.set_len(0));
            }
        }
    }

    fn pause(&mut self) {
        if self.since.elapsed() > STABLE {
            self.failures = 0;
        }
        let pause = PAUSE.0.saturating_mul(1 << self.failures.min(10)).min(PAUSE.1);
        self.failures += 1;
        self.main = None;
        self.phase = Phase::Pausing { until: Instant::now() + pause };
    }

    fn hear(&mut self, said: Said) {
        if let Some(pid) = said.main.filter(|pid| Some(*pid) != self.main) {
            say(&format!("pid {pid} takes over"));
            self.children.insert(pid);
            self.main = Some(pid);
        }
        if let Phase::Up { silent_until } = &mut self.phase
            && (said.ready || said.alive || said.main.is_some())
        {
            *silent_until = Instant::now() + WATCHDOG;
        }
        if said.stopping {
            tracing::debug!("the agent says that it stops");
        }
    }

    fn time_is_up(&mut self) {
        match self.phase {
            Phase::Pausing { .. } => self.start(),
            Phase::Up { .. } => {
                say(&format!("pid {} has said nothing for too long: it is ended", self.main.unwrap_or(0)));
                self.pass_on(Signal::SIGKILL);
                self.phase = Phase::Up { silent_until: Instant::now() + START };
            }
            Phase::Stopping { .. } => {
                say("some processes did not end in time: they are killed");
                self.signal_all(Signal::SIGKILL);
                self.phase = Phase::Stopping { until: Instant::now() + STOP };
            }
        }
    }

    fn stop(&mut self, why: &str) {
        if !matches!(self.phase, Phase::Stopping { .. }) {
            say(&format!("{why}: ending the agent"));
            self.signal_all(Signal::SIGTERM);
            self.phase = Phase::Stopping { until: Instant::now() + STOP };
        }
    }

    /// While it stops: ends those that nobody told us of, such as a new process of an upgrade that was under way.
    fn end_newcomers(&mut self) {
        for pid in descendants(std::process::id().cast_signed()) {
            if self.children.insert(pid) {
                say(&format!("pid {pid} is ended too"));
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
    }

    fn pass_on(&self, signal: Signal) {
        if let Some(main) = self.main {
            let _ = kill(Pid::from_raw(main), signal);
        }
    }

    fn signal_all(&self, signal: Signal) {
        for pid in &self.children {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
    }

    fn reap(&mut self) {
        loop {
            let (pid, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid.as_raw(), ExitStatus::from_raw(status << 8)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), ExitStatus::from_raw(signal as i32)),
                // Nobody to reap, or nobody has ended.
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => break,
            };
            self.children.remove(&pid);
            say(&format!("pid {pid} ended: {how}"));
            if self.main == Some(pid) {
                self.main = None;
                if !matches!(self.phase, Phase::Stopping { .. }) {
                    self.pause();
                }
            }
        }
        // One that took over may not be ours yet (its parent, the process before it, still runs), so its end may be missed.
        self.children.retain(|pid| kill(Pid::from_raw(*pid), None) != Err(Errno::ESRCH));
        if let (Some(main), Phase::Up { .. }) = (self.main, &self.phase)
            && !self.children.contains(&main)
        {
            say(&format!("pid {main} is gone"));
            self.pause();
        }
    }
}

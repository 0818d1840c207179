//! Starts, stops and restarts the supervisor from outside. Each returns when it is done, and doing it twice is fine.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::ask::ask;
use crate::config::AgentPaths;

use super::SuperviseError;

/// How long the agent may take to answer after its start, and to end after SIGTERM.
const UP: Duration = Duration::from_secs(30);
const DOWN: Duration = Duration::from_secs(70);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Bytes of the log that are told where a start failed.
const TOLD: u64 = 2000;

/// Starts a supervisor that stays when whoever started it goes; returns when the agent answers on its control socket.
pub async fn start(paths: &AgentPaths) -> Result<String, SuperviseError> {
    if let Some(pid) = supervisor(paths) {
        return Ok(format!("runs already, supervisor pid {pid}"));
    }
    let log = paths.log();
    let doing = format!("opening {}", log.display());
    let open = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
    let out = open.map_err(SuperviseError::io(doing.clone()))?;
    let before = out.metadata().map(|m| m.len()).unwrap_or(0);
    let err = out.try_clone().map_err(SuperviseError::io(doing))?;
    let mut command = Command::new(paths.binary());
    command.args(["agent", "supervise", "run"]);
    for (flag, folder) in [("--prefix", paths.prefix()), ("--lock-dir", paths.lock_dir())] {
        if let Some(folder) = folder {
            command.arg(flag).arg(folder);
        }
    }
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(SuperviseError::io(format!("starting {}", paths.binary().display())))?;
    let began = Instant::now();
    loop {
        if let Ok((200, _)) = ask(&paths.socket(), Method::GET, "/hello", String::new(), ANSWER).await {
            return Ok(format!("runs, supervisor pid {}", child.id()));
        }
        let why = match child.try_wait() {
            Ok(Some(status)) => format!("the supervisor ended: {status}"),
            _ if began.elapsed() > UP => format!("no answer on {} within {} s", paths.socket().display(), UP.as_secs()),
            _ => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        // What does not come up does not stay either.
        stop(paths).await?;
        let _ = child.wait();
        return Err(SuperviseError::NotUp { why: format!("{why}; its last words: {}", tail(&log, before)) });
    }
}

/// Ends the supervisor and all of its processes; returns when they are gone.
pub async fn stop(paths: &AgentPaths) -> Result<String, SuperviseError> {
    let Some(pid) = supervisor(paths) else { return Ok("does not run".into()) };
    if let Err(e) = kill(Pid::from_raw(pid), Signal::SIGTERM)
        && e != Errno::ESRCH
    {
        return Err(SuperviseError::Io { doing: format!("ending pid {pid}"), source: e.into() });
    }
    let began = Instant::now();
    while supervisor(paths) == Some(pid) {
        if began.elapsed() > DOWN {
            return Err(SuperviseError::DoesNotEnd { pid, within_s: DOWN.as_secs() });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(format!("ended, supervisor pid {pid}"))
}

/// A new process, without a handover.
pub async fn restart(paths: &AgentPaths) -> Result<String, SuperviseError> {
    stop(paths).await?;
    start(paths).await
}

pub(super) fn pid_in(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|pid| *pid > 1)
}

/// The supervisor that is on record, if it lives: its number may belong to somebody else by now.
fn supervisor(paths: &AgentPaths) -> Option<i32> {
    let pid = pid_in(&paths.pid_file())?;
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    words.split(|b| *b == 0).any(|word| word == b"supervise").then_some(pid)
}

/// What the log got since `from`, at most its end.
fn tail(log: &Path, from: u64) -> String {
    let mut text = Vec::new();
    let read = fs::File::open(log).and_then(|mut file| {
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(TOLD))))?;
        file.take(TOLD).read_to_end(&mut text)
    });
    match read {
        Ok(0) => "(none)".into(),
        Ok(_) => String::from_utf8_lossy(&text).trim().replace('\n', "; "),
        Err(e) => format!("({}: {e})", log.display()),
    }
}

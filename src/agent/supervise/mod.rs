//! Keeps the agent running where there is no systemd: starts it detached, restarts it when it dies or falls silent, follows
//! it through upgrades, ends it on SIGTERM.
//!
//! It speaks systemd's own protocol (sd_notify(3)), so that the agent knows only one: `READY=1`, `WATCHDOG=1`, `MAINPID=`,
//! `STOPPING=1`. A process that an upgrade made becomes its child when the one before ends (PR_SET_CHILD_SUBREAPER).

pub mod control;
mod notify;
mod run;

pub use control::{restart, start, stop};
pub use run::run;

use std::path::PathBuf;

/// Told to the agent, so that it can tell who restarts it.
pub const SUPERVISOR_ENV: &str = "LBDECK_SUPERVISOR";

#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error("an agent runs already: {} is held by pid {pid}", file.display())]
    Running { file: PathBuf, pid: i32 },
    /// It ended, or was not ready in time; with the last lines of its log.
    #[error("the agent did not come up: {why}")]
    NotUp { why: String },
    #[error("pid {pid} did not end within {within_s} s")]
    DoesNotEnd { pid: i32, within_s: u64 },
}

impl SuperviseError {
    fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

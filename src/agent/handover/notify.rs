//! Talk to whoever supervises this process, by sd_notify(3): systemd or `lbdeck agent supervise`, the same for both.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::agent::supervise::SUPERVISOR_ENV;

/// Who restarts this process when it is killed.
pub fn supervisor_name() -> &'static str {
    if std::env::var_os(SUPERVISOR_ENV).is_some() {
        "lbdeck"
    } else if std::env::var_os("NOTIFY_SOCKET").is_some() {
        "systemd"
    } else {
        "nobody"
    }
}

/// Where nobody listens, nothing happens.
#[derive(Clone, Copy, Debug)]
pub struct Notify;

impl Notify {
    /// It serves, and it is the main process (after a handover the supervisor knows another).
    pub fn ready(self, status: &str) {
        self.say(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready, NotifyState::Status(status)]);
    }
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(e) => tracing::warn!(error = %e, "the supervisor cannot be told of the upgrade"),
        }
    }
    pub fn main_pid(self, pid: u32) {
        self.say(&[NotifyState::MainPid(pid)]);
    }
    pub fn stopping(self) {
        self.say(&[NotifyState::Stopping]);
    }

    fn say(self, words: &[NotifyState<'_>]) {
        if let Err(e) = sd_notify::notify(words) {
            tracing::warn!(error = %e, "the supervisor cannot be told");
        }
    }

    /// Pings at half of the interval that the supervisor asks for, until `stop`. It runs on the runtime that serves the
    /// control API: one that hangs does not ping.
    pub async fn watchdog(self, mut stop: watch::Receiver<bool>) {
        let Some(usec) = std::env::var("WATCHDOG_USEC").ok().and_then(|u| u.parse::<u64>().ok()).filter(|u| *u > 0) else {
            return;
        };
        let mut turn = tokio::time::interval(Duration::from_micros(usec) / 2);
        loop {
            tokio::select! {
                _ = turn.tick() => self.say(&[NotifyState::Watchdog]),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

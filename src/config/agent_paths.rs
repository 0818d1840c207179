//! Where the agent keeps its parts on a node: the one place that names them, for who installs it, who runs it and who asks it.
//!
//! What the installer relies on (`ops::agent`):
//! - it is started as `lbdeck agent run --config FILE --state DIR --socket PATH` ([`AgentPaths::run_argv`]), by systemd or by
//!   `lbdeck agent supervise`; both speak the same protocol of sd_notify(3): `READY=1`, `WATCHDOG=1`, `MAINPID=` when a new process
//!   takes over, `STOPPING=1`;
//! - SIGTERM ends it in order; SIGHUP, or `POST /v1/upgrade`, makes it start the file that stands under the binary's path now, hand its
//!   listening sockets over, and finish established connections in the old process up to a deadline;
//! - `GET /hello` on the control socket answers as soon as it serves.

use std::path::{Path, PathBuf};

use super::nodes::DEFAULT_LOCK_DIR;

/// Name of the systemd unit.
pub const AGENT_UNIT: &str = "lbdeck-agent.service";
/// The agent's own user, where the node has tools to make one.
pub const AGENT_USER: &str = "lbdeck";

/// Paths on a node. They differ only between an agent of the system and one below a folder of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentPaths {
    prefix: Option<PathBuf>,
    /// Where consoles leave locks and leases, where it is not the place that the agent assumes.
    lock_dir: Option<PathBuf>,
}

impl AgentPaths {
    /// The agent of the system: `/usr/local/lib/lbdeck`, `/etc/lbdeck`, `/var/lib/lbdeck`, `/run/lbdeck`.
    pub fn system() -> Self {
        Self::default()
    }

    /// An agent of whoever logs on, with all of its parts below one folder (absolute): needs no root, has no unit.
    pub fn below(prefix: impl Into<PathBuf>) -> Self {
        Self { prefix: Some(prefix.into()), lock_dir: None }
    }

    /// The same with locks and leases in this folder.
    #[must_use]
    pub fn with_locks_in(self, folder: &Path) -> Self {
        let lock_dir = (folder != Path::new(DEFAULT_LOCK_DIR)).then(|| folder.to_owned());
        Self { lock_dir, ..self }
    }
    /// Set where it is not the default.
    pub fn lock_dir(&self) -> Option<&Path> {
        self.lock_dir.as_deref()
    }

    pub fn prefix(&self) -> Option<&Path> {
        self.prefix.as_deref()
    }

    fn part(&self, below: &str, of_system: &str) -> PathBuf {
        self.prefix.as_ref().map_or_else(|| PathBuf::from(of_system), |prefix| prefix.join(below))
    }

    /// Folder of the binaries.
    pub fn library(&self) -> PathBuf {
        self.part("lib", "/usr/local/lib/lbdeck")
    }
    /// What runs.
    pub fn binary(&self) -> PathBuf {
        self.library().join("lbdeck")
    }
    /// What ran before, for the way back.
    pub fn previous(&self) -> PathBuf {
        self.library().join("lbdeck.previous")
    }
    pub fn config_dir(&self) -> PathBuf {
        self.part("etc", "/etc/lbdeck")
    }
    /// The relay's configuration: written once, then the operator's own.
    pub fn config(&self) -> PathBuf {
        self.config_dir().join("agent.yaml")
    }
    /// What survives restart and reboot: configuration as applied, drains, weights, leases.
    pub fn state(&self) -> PathBuf {
        self.part("state", "/var/lib/lbdeck")
    }
    /// What does not survive a reboot.
    pub fn runtime(&self) -> PathBuf {
        self.part("run", "/run/lbdeck")
    }
    /// The control API.
    pub fn socket(&self) -> PathBuf {
        self.runtime().join("agent.sock")
    }
    /// The supervisor's process id, where there is no systemd.
    pub fn pid_file(&self) -> PathBuf {
        self.runtime().join("agent.pid")
    }
    /// What the agent says, where there is no journal.
    pub fn log(&self) -> PathBuf {
        self.state().join("agent.log")
    }
    pub fn unit(&self) -> PathBuf {
        Path::new("/etc/systemd/system").join(AGENT_UNIT)
    }

    /// How the agent is started, program first.
    pub fn run_argv(&self) -> Vec<String> {
        let mut argv = vec![self.binary().display().to_string(), "agent".into(), "run".into()];
        for (flag, path) in [("--config", self.config()), ("--state", self.state()), ("--socket", self.socket())] {
            argv.extend([flag.to_owned(), path.display().to_string()]);
        }
        if let Some(folder) = &self.lock_dir {
            argv.extend(["--lock-dir".to_owned(), folder.display().to_string()]);
        }
        argv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_a_users_agent_lie_below_one_folder() {
        let paths = AgentPaths::below("/home/ops/lb");
        for part in
            [paths.binary(), paths.previous(), paths.config(), paths.state(), paths.socket(), paths.pid_file(), paths.log()]
        {
            assert!(part.starts_with("/home/ops/lb"), "{}", part.display());
        }
        assert_eq!(AgentPaths::system().run_argv().first().map(String::as_str), Some("/usr/local/lib/lbdeck/lbdeck"));
    }
}

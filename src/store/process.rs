//! Which process acts, named so that a later one can tell whether it still lives: process ids alone are used again.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process of one boot of one machine, in one pid namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    pub host: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The pid namespace: containers of one machine share the boot id and not the process ids.
    pub namespace: String,
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub started: u64,
}

impl Process {
    pub fn me() -> Process {
        let pid = std::process::id();
        Process {
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|t| t.trim().to_owned()).unwrap_or_default(),
            namespace: fs::read_link("/proc/self/ns/pid").map(|p| p.display().to_string()).unwrap_or_default(),
            pid,
            started: start_time(pid).unwrap_or(0),
        }
    }

    /// True where it is certain that the process is gone: another boot of this machine, or no such process with that
    /// start time. A process of another machine or namespace cannot be judged from here.
    pub fn is_gone(&self, here: &Process) -> bool {
        if self.host != here.host || self.boot.is_empty() || here.boot.is_empty() {
            return false;
        }
        if self.boot != here.boot {
            return true;
        }
        self.namespace == here.namespace && start_time(self.pid) != Some(self.started)
    }
}

/// None where there is no such process (or it is a zombie, which will never act again).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from the last one.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_others_are_told_apart() {
        let me = Process::me();
        assert!(me.started > 0 && !me.boot.is_empty());
        assert!(!me.is_gone(&me));
        assert!(Process { started: me.started + 1, ..me.clone() }.is_gone(&me), "the id was used again");
        assert!(Process { boot: "other".into(), ..me.clone() }.is_gone(&me), "the machine was booted since");
        assert!(!Process { host: "other".into(), pid: 1, ..me.clone() }.is_gone(&me), "another machine cannot be judged");
        assert!(!Process { namespace: "other".into(), started: 1, ..me.clone() }.is_gone(&me), "nor another container");
    }

    #[test]
    fn an_ended_process_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let me = Process::me();
        let other = Process { pid: child.id(), started: start_time(child.id()).unwrap(), ..me.clone() };
        assert!(!other.is_gone(&me));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(other.is_gone(&me));
    }
}

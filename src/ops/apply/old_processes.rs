//! What processes from before a reload still hold: they finish what they began, and no reading of the new process counts it.

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::Workers;
use crate::model::ServerRef;

use super::act::{Cx, NodeJob};

/// A process that ends right now is still listed, and answers no more.
const ENDING_LOOKS: u32 = 20;
const ENDING_PAUSE: Duration = Duration::from_millis(50);

/// What is held where the statistics socket does not reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hidden {
    Nothing,
    /// So many sessions, queued requests or connections.
    Left(u64),
    /// This process runs, and nobody tells what it holds.
    Runs(u32),
    /// Nobody can be asked, and why.
    Unknown(String),
}

/// In words for the result.
pub fn unseen(why: &str) -> String {
    format!("what processes from before a reload still hold cannot be seen ({why})")
}

/// The process that a reload replaced while its drain was waited for, and the one that answers since.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    pub old: u32,
    pub new: Option<u32>,
}

/// Asks every old process through the master what it holds of a server.
pub async fn hold(cx: &Cx, job: &NodeJob, at: &ServerRef, replaced: Option<Replaced>) -> Hidden {
    let Some(workers) = job.handle.engine.as_ref().and_then(|e| e.workers()) else {
        // Without a master nobody lists processes: only a reload that was noticed tells that there is one.
        return match replaced {
            Some(replaced) => by_proc(job, replaced).await,
            None => Hidden::Nothing,
        };
    };
    let replaced = replaced.map(|r| r.old);
    let deadline = cx.inner.fleet.settings.timeout;
    let all = match workers.workers(deadline).await {
        Ok(all) => all,
        Err(e) => return Hidden::Unknown(e.to_string()),
    };
    let mut left = 0u64;
    for old in all.iter().filter(|w| w.old || Some(w.pid) == replaced) {
        let mut asked = workers.left(old.pid, at, deadline).await;
        for _ in 0..ENDING_LOOKS {
            if asked.is_ok() || !runs(workers, old.pid, deadline).await {
                break;
            }
            tokio::time::sleep(ENDING_PAUSE).await;
            asked = workers.left(old.pid, at, deadline).await;
        }
        match asked {
            Ok(n) => left = left.saturating_add(n),
            Err(e) if runs(workers, old.pid, deadline).await => return Hidden::Unknown(format!("process {}: {e}", old.pid)),
            Err(_) => {} // it ended while it was asked
        }
    }
    if left == 0 { Hidden::Nothing } else { Hidden::Left(left) }
}

/// Ends what old processes hold of a server; gives the commands that were sent.
pub async fn kill(cx: &Cx, job: &NodeJob, at: &ServerRef, replaced: Option<Replaced>) -> Result<Vec<String>, String> {
    let replaced = replaced.map(|r| r.old);
    let Some(workers) = job.handle.engine.as_ref().and_then(|e| e.workers()) else { return Ok(Vec::new()) };
    let deadline = cx.inner.fleet.settings.timeout;
    let all = workers.workers(deadline).await.map_err(|e| e.to_string())?;
    let mut sent = Vec::new();
    for old in all.iter().filter(|w| w.old || Some(w.pid) == replaced) {
        match workers.kill_sessions(old.pid, at, deadline).await {
            Ok(commands) => sent.extend(commands),
            Err(e) if runs(workers, old.pid, deadline).await => return Err(format!("process {}: {e}", old.pid)),
            Err(_) => {}
        }
    }
    Ok(sent)
}

/// By the node's /proc whether the old process has ended: then it holds nothing.
async fn by_proc(job: &NodeJob, replaced: Replaced) -> Hidden {
    let unknown = |why: &str| Hidden::Unknown(format!("no master socket, and {why}"));
    let Some(files) = job.handle.transport.as_ref().and_then(|t| t.files()) else {
        return unknown("no way to look for the process");
    };
    let proc = |pid: u32| PathBuf::from(format!("/proc/{pid}/comm"));
    // In a container the engine counts processes by itself: its numbers are of use where the one that answers is found.
    let Some(new) = replaced.new else { return unknown("the engine does not tell its process") };
    let Ok(name) = files.read(&proc(new), 64).await else { return unknown("its process is not seen in the node's /proc") };
    match files.stat(&proc(replaced.old)).await {
        Ok(None) => Hidden::Nothing,
        // A number that something else has got since.
        Ok(Some(_)) => match files.read(&proc(replaced.old), 64).await {
            Ok(old) if old != name => Hidden::Nothing,
            _ => Hidden::Runs(replaced.old),
        },
        Err(e) => unknown(&e.to_string()),
    }
}

/// Whether a process is there still, or may be.
async fn runs(workers: &dyn Workers, pid: u32, deadline: Duration) -> bool {
    workers.workers(deadline).await.map_or(true, |all| all.iter().any(|w| w.pid == pid))
}

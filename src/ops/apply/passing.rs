//! Changes that leave no state behind (killed sessions, cleared entries): what can be seen of them afterwards.

use std::time::Duration;

use crate::model::{Change, NodeObs, Target};
use crate::ops::plan::Step;
use crate::ops::verify::{Holds, describe};

use super::act::{Cx, NodeJob};

/// Enough to find one session among those of a busy node.
const SESSIONS: usize = 1_000_000;
const ENTRIES: usize = 100_000;

pub async fn check(cx: &Cx, job: &NodeJob, step: &Step, seen: &NodeObs) -> Holds {
    let deadline = cx.inner.fleet.settings.timeout;
    match (&step.change, &step.target) {
        (Change::KillSessions, Target::Server(at)) => {
            let now = seen.server(at.pool.as_str(), at.server.as_str());
            let before = job.seen.server(at.pool.as_str(), at.server.as_str()).map_or(0, |s| s.left());
            match now {
                None => Holds::No(format!("{at} is gone")),
                Some(server) if server.left() == 0 => Holds::Yes(format!("{before} killed, none left")),
                // A server that takes traffic gets new sessions at once: that is no failure to kill.
                Some(server) if server.is_serving() => {
                    Holds::Yes(format!("{before} killed; new ones have come since: {}", describe(server)))
                }
                Some(server) => Holds::No(describe(server)),
            }
        }
        (Change::KillSession { id }, _) => is_gone(job, id, deadline).await,
        (Change::ClearTable { key }, Target::Table(table)) => is_clear(job, table, key.as_deref(), deadline).await,
        // The answer to a purge comes when all of it is gone, and tells how much that was.
        (Change::PurgeCache { .. }, Target::Cache(_)) => Holds::Yes("purged".into()),
        _ => Holds::Unknown(String::new()),
    }
}

async fn is_gone(job: &NodeJob, id: &str, deadline: Duration) -> Holds {
    let Some(sessions) = job.handle.engine.as_ref().and_then(|e| e.sessions()) else {
        return Holds::Unknown("this engine does not list sessions".into());
    };
    match sessions.sessions(None, SESSIONS, deadline).await {
        Ok(all) if all.iter().any(|s| s.id == id) => Holds::No(format!("session {id} is still there")),
        Ok(_) => Holds::Yes(format!("session {id} is gone")),
        Err(e) => Holds::Unknown(e.to_string()),
    }
}

async fn is_clear(job: &NodeJob, table: &str, key: Option<&str>, deadline: Duration) -> Holds {
    let Some(tables) = job.handle.engine.as_ref().and_then(|e| e.tables()) else {
        return Holds::Unknown("this engine does not list tables".into());
    };
    match tables.entries(table, ENTRIES, deadline).await {
        Err(e) => Holds::Unknown(e.to_string()),
        Ok(entries) => match key {
            Some(key) if entries.iter().any(|e| e.key == key) => {
                // Traffic may have brought the key back at once; only what it counted tells, and that is not ours to judge.
                Holds::Unknown(format!("cleared; an entry for {key} is there (again)"))
            }
            Some(key) => Holds::Yes(format!("no entry for {key}")),
            None if entries.is_empty() => Holds::Yes("empty".into()),
            None => Holds::Unknown(format!("cleared; {} entries have come since", entries.len())),
        },
    }
}

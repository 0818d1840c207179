//! What the agent wrote on its nodes: from the journal, or from the supervisor's file where there is none.

use futures::future::join_all;

use crate::config::{AGENT_UNIT, AgentPaths};
use crate::model::{FleetView, NodeName, sanitize};
use crate::ops::inner::Inner;
use crate::ops::{PlanError, Selector};
use crate::transport::Transport;

use super::facts::{NodeFacts, look};
use super::far::{self, FarError, SHORT};
use super::survey::selected;

/// What of the logs is wanted.
#[derive(Clone, Debug)]
pub struct LogsAsk {
    pub paths: AgentPaths,
    /// Lines from the end.
    pub lines: u32,
    /// Only what came after this, by node.
    pub after: Vec<(NodeName, Cursor)>,
}

/// Where a node's log was read up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    Journal(String),
    /// Bytes of the file.
    File(u64),
}

#[derive(Clone, Debug)]
pub struct NodeLogs {
    pub node: NodeName,
    pub lines: Result<Vec<String>, FarError>,
    pub cursor: Option<Cursor>,
}

pub async fn read(inner: &Inner, selector: &Selector, ask: &LogsAsk, view: &FleetView) -> Result<Vec<NodeLogs>, PlanError> {
    let nodes = selected(inner, selector, &ask.paths, view)?;
    Ok(join_all(nodes.into_iter().map(|(node, transport, _)| async move {
        let after = ask.after.iter().find(|(n, _)| *n == node).map(|(_, c)| c.clone());
        let read = match transport {
            Some(transport) => of_node(transport.as_ref(), ask, after.as_ref()).await,
            None => Err(FarError::Wrong { what: "there is no way to run commands there (neither ssh nor local)".into() }),
        };
        match read {
            Ok((lines, cursor)) => NodeLogs { node, lines: Ok(lines), cursor },
            Err(e) => NodeLogs { node, lines: Err(e), cursor: after },
        }
    }))
    .await)
}

async fn of_node(
    transport: &dyn Transport,
    ask: &LogsAsk,
    after: Option<&Cursor>,
) -> Result<(Vec<String>, Option<Cursor>), FarError> {
    let facts = look(transport, &ask.paths).await?;
    if !facts.installed() {
        return Err(FarError::Wrong { what: "no agent is installed there (`lbdeck agent install`)".into() });
    }
    if facts.systemd { journal(transport, &facts, ask, after).await } else { file(transport, &facts, ask, after).await }
}

async fn journal(
    transport: &dyn Transport,
    facts: &NodeFacts,
    ask: &LogsAsk,
    after: Option<&Cursor>,
) -> Result<(Vec<String>, Option<Cursor>), FarError> {
    let lines = ask.lines.to_string();
    let mut argv = facts.privilege.argv(["journalctl", "-u", AGENT_UNIT, "--no-pager", "-q", "-o", "short-iso", "--show-cursor"]);
    match after {
        Some(Cursor::Journal(cursor)) => argv.push(format!("--after-cursor={cursor}")),
        _ => argv.extend(["-n".to_owned(), lines]),
    }
    let text = far::run(transport, &argv, b"", SHORT).await?;
    let mut cursor = after.cloned();
    let mut told = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("-- cursor: ") {
            Some(found) => cursor = Some(Cursor::Journal(found.to_owned())),
            None => told.push(sanitize(line).into_owned()),
        }
    }
    Ok((told, cursor))
}

async fn file(
    transport: &dyn Transport,
    facts: &NodeFacts,
    ask: &LogsAsk,
    after: Option<&Cursor>,
) -> Result<(Vec<String>, Option<Cursor>), FarError> {
    let log = ask.paths.log().display().to_string();
    let size = far::run(transport, &facts.privilege.argv(["wc", "-c", &log]), b"", SHORT).await?;
    let size: u64 = size.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let argv = match after {
        // A file that has become shorter was begun anew.
        Some(Cursor::File(read)) if *read <= size => facts.privilege.argv(["tail", "-c", &format!("+{}", read + 1), &log]),
        _ => facts.privilege.argv(["tail", "-n", &ask.lines.to_string(), &log]),
    };
    let text = far::run(transport, &argv, b"", SHORT).await?;
    let lines = text.lines().map(|l| sanitize(l).into_owned()).collect();
    Ok((lines, Some(Cursor::File(size))))
}

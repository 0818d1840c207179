//! Looks at nodes before they are worked with: `fleet check` and `fleet init`. Composes what these looks need.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;

use crate::collect::check::{self, Finding, Level};
use crate::collect::probe::{self, ProbeReport};
use crate::config::{Fleet, env};
use crate::engine::{EngineError, NodeHandle};
use crate::model::{NodeName, Problem};
use crate::transport::{TransportError, ssh};

use super::Prompting;
use super::connect::{self, SetupError};

/// Connections that are built up at once: more make no fleet faster, and sshd's MaxStartups would refuse them.
const AT_ONCE: usize = 64;

/// Handles of all nodes that can be set up, and why the others cannot.
fn handles(fleet: &Fleet, prompting: Prompting) -> (Vec<NodeHandle>, Vec<SetupError>) {
    let (mut handles, mut failed) = (Vec::new(), Vec::new());
    for node in connect::each(fleet, prompting.build()) {
        match node {
            Ok(handle) => handles.push(handle),
            Err(error) => failed.push(error),
        }
    }
    (handles, failed)
}

/// Looks at every node side by side. `each` hears of a node as soon as it is done. The findings come in the order of the
/// fleet file, those of the fleet as a whole first.
pub async fn check(whole: Fleet, prompting: Prompting, mut each: impl FnMut(&NodeName)) -> Vec<Finding> {
    let (handles, failed) = handles(&whole, prompting);
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    let place = |name: &str| whole.nodes.iter().position(|n| n.meta.name.as_str() == name).unwrap_or(usize::MAX);
    for error in &failed {
        let remedy = error.source.hint().unwrap_or("mend what the fleet file says of this node").to_owned();
        let (node, text) = (Some(error.node.clone()), error.source.to_string());
        findings
            .push((place(error.node.as_str()), Finding { node, check: "setup", level: Level::Fail, text, remedy: Some(remedy) }));
    }
    let looks = futures::stream::iter(
        handles
            .iter()
            .filter_map(|handle| Some((whole.node(handle.name().as_str())?, handle)))
            .map(|(spec, handle)| async { (handle.name().clone(), check::check_node(handle, spec, &whole.settings).await) }),
    );
    let mut looks = std::pin::pin!(looks.buffer_unordered(AT_ONCE));
    let (mut seen, mut unread) = (Vec::new(), failed.len());
    while let Some((name, checked)) = looks.next().await {
        each(&name);
        let engine = whole.node(name.as_str()).is_some_and(|n| n.haproxy.is_some() || n.relay.is_some());
        match checked.obs {
            Some(obs) => seen.push(obs),
            None if engine => unread += 1,
            None => {}
        }
        findings.extend(checked.findings.into_iter().map(|f| (place(name.as_str()), f)));
    }
    findings.sort_by_key(|(place, _)| *place);
    let mut all = check::check_fleet(&whole, &seen.iter().collect::<Vec<_>>(), unread);
    all.extend(findings.into_iter().map(|(_, finding)| finding));
    all
}

/// What runs on each host of a fleet that is being written, in the order of its nodes.
pub async fn probe(
    fleet: Fleet,
    prompting: Prompting,
    mut each: impl FnMut(&NodeName),
) -> Vec<(NodeName, Result<ProbeReport, Problem>)> {
    let names: Vec<NodeName> = fleet.nodes.iter().map(|n| n.meta.name.clone()).collect();
    let step = fleet.settings.timeout;
    let (handles, failed) = handles(&fleet, prompting);
    let mut reports: Vec<(NodeName, Result<ProbeReport, Problem>)> =
        failed.into_iter().map(|e| (e.node, Err(e.source.problem()))).collect();
    let looks =
        futures::stream::iter(handles.iter().map(|handle| async move { (handle.name().clone(), probe_one(handle, step).await) }));
    let mut looks = std::pin::pin!(looks.buffer_unordered(AT_ONCE));
    while let Some((name, report)) = looks.next().await {
        each(&name);
        reports.push((name, report));
    }
    reports.sort_by_key(|(name, _)| names.iter().position(|n| n == name));
    reports
}

async fn probe_one(handle: &NodeHandle, step: Duration) -> Result<ProbeReport, Problem> {
    let Some(transport) = &handle.transport else {
        return Err(Problem { what: "nothing says how the host is reached".to_owned(), hint: None, retry: false });
    };
    probe::probe(transport.as_ref(), step).await.map_err(problem)
}

fn problem(error: TransportError) -> Problem {
    EngineError::Transport(error).problem()
}

/// Hosts that an ssh configuration names without wildcards: the given file, or the user's own.
pub fn ssh_hosts(file: Option<&Path>) -> Result<Vec<String>, Problem> {
    let home = env::home().unwrap_or_default();
    ssh::config::host_aliases(file, &home).map_err(problem)
}

//! lbdeck's own eyes on the lab, and the conditions that they look for: SSH to each node, as in the field.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::{App, Options, Prompting};
use crate::config;
use crate::lab::LabError;
use crate::lab::fleet::Lab;
use crate::model::{FleetView, NodeName, ServerObs, ServerRef};

/// How long health checks may take to tell of a change on every node, and how long the load may take to be seen.
const WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Observer {
    pub(super) app: App,
}

impl Observer {
    pub(super) fn open(lab: &Lab) -> Result<Self, LabError> {
        let fleet = config::load(&lab.layout.fleet_file()).map_err(|e| LabError::Open(e.to_string()))?;
        let options = Options { prompting: Prompting::Nobody, state: Some(lab.layout.store()) };
        Ok(Self { app: App::compose(fleet, options) })
    }

    pub(super) async fn look(&self) -> Arc<FleetView> {
        self.app.collector.observe_once().await
    }

    /// Process of a node's engine.
    pub(super) async fn pid(&self, node: &NodeName) -> Result<u32, LabError> {
        let view = self.look().await;
        let seen = view.nodes.iter().find(|n| n.meta.name == *node).and_then(|n| n.fresh());
        seen.and_then(|o| o.engine.pid).ok_or_else(|| LabError::Proof(format!("{node}: its engine does not tell its process")))
    }

    /// Looks until nothing is missing any more.
    pub(super) async fn until_view(&self, missing: impl Fn(&FleetView) -> Option<String>) -> Result<Arc<FleetView>, LabError> {
        let began = Instant::now();
        loop {
            let view = self.look().await;
            let Some(what) = missing(&view) else { return Ok(view) };
            if began.elapsed() > WITHIN {
                return Err(LabError::NotHealthy { after_s: WITHIN.as_secs(), what });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), LabError> {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > WITHIN {
                return Err(LabError::Proof(format!("waited {} s in vain: {what}", WITHIN.as_secs())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// A server on each node that was read and has it.
fn cells<'v>(view: &'v FleetView, server: &ServerRef) -> Result<Vec<(&'v NodeName, &'v ServerObs)>, String> {
    view.nodes
        .iter()
        .map(|node| {
            let name = &node.meta.name;
            let Some(seen) = node.fresh() else {
                let why = node.problem.as_ref().map_or("not read yet", |p| p.what.as_str());
                return Err(format!("{name}: {why}"));
            };
            let cell = seen.server(server.pool.as_str(), server.server.as_str());
            cell.map(|cell| (name, cell)).ok_or_else(|| format!("{name}: has no {server}"))
        })
        .collect()
}

/// What keeps the server from being drained everywhere.
pub(super) fn all_drained(view: &FleetView, server: &ServerRef) -> Option<String> {
    match cells(view, server) {
        Err(what) => Some(what),
        Ok(cells) => cells
            .iter()
            .find(|(_, s)| !s.admin.is_drain() || s.gauges.sessions > 0 || s.gauges.queue > 0)
            .map(|(node, s)| format!("{node}: {server} {}", s.summary())),
    }
}

/// What keeps these servers from being known to be down everywhere.
pub(super) fn all_down(view: &FleetView, servers: &[ServerRef]) -> Option<String> {
    servers.iter().find_map(|server| match cells(view, server) {
        Err(what) => Some(what),
        Ok(cells) => cells.iter().find(|(_, s)| s.is_serving()).map(|(node, s)| format!("{node}: {server} {}", s.summary())),
    })
}

/// What keeps a server from serving everywhere: any server, or one that has begun sessions on each node since it was drained.
pub(super) fn all_serving(view: &FleetView, since: Option<(&ServerRef, &Vec<(NodeName, u64)>)>) -> Option<String> {
    let servers = match since {
        Some((server, _)) => vec![server.clone()],
        None => view.server_refs(),
    };
    if servers.is_empty() {
        return Some(
            view.nodes.iter().find_map(|n| n.problem.as_ref()).map_or("no server was seen".to_owned(), |p| p.what.clone()),
        );
    }
    for server in &servers {
        let cells = match cells(view, server) {
            Err(what) => return Some(what),
            Ok(cells) => cells,
        };
        for (node, cell) in cells {
            let then = since.and_then(|(_, totals)| totals.iter().find(|(n, _)| n == node)).map(|(_, total)| *total);
            if !cell.is_serving() || then.is_some_and(|total| cell.gauges.sessions_total <= total) {
                return Some(format!("{node}: {server} {}", cell.summary()));
            }
        }
    }
    None
}

pub(super) fn session_totals(view: &FleetView, server: &ServerRef) -> Vec<(NodeName, u64)> {
    cells(view, server).unwrap_or_default().into_iter().map(|(node, s)| (node.clone(), s.gauges.sessions_total)).collect()
}

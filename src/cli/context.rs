//! What every verb starts from: the printer, the global flags, the fleet, a look at it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::failure::{Failure, Result};
use super::global::Global;
use super::output::{Cell, Tone};
use super::printer::{Printer, Unread};
use super::select::{NodeSelect, matcher};
use super::signals::OwnSignals;
use crate::app::{App, Options, Prompting};
use crate::config::duration::show_duration;
use crate::config::{self, Fleet};
use crate::model::{Exit, FleetView, Health, NodeName, NodeObs, NodeView, PoolObs, Problem, ServerObs};
use crate::ops::Matcher;
use crate::store::Store;

#[derive(Clone, Debug)]
pub struct Context {
    pub printer: Printer,
    pub global: Global,
    pub own_signals: OwnSignals,
}

/// The fleet, or the selected part of it, as it was read just now.
pub struct Look {
    pub app: App,
    pub view: Arc<FleetView>,
}

/// One server on one node.
#[derive(Clone, Copy)]
pub struct SeenServer<'a> {
    pub node: &'a NodeView,
    pub obs: &'a NodeObs,
    pub pool: &'a PoolObs,
    pub server: &'a ServerObs,
}

/// Where a row comes from and how old it is: part of everything that is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Origin<'a> {
    pub node: &'a NodeName,
    pub zone: Option<&'a str>,
    pub health: Health,
    pub age_ms: u64,
    pub source: &'a str,
}

impl Context {
    /// The fleet file, with what the flags change in it.
    pub fn fleet(&self) -> Result<Fleet> {
        let path = config::locate(self.global.fleet.as_deref(), |name| std::env::var_os(name))?;
        let mut fleet = config::load(&path)?;
        if let Some(timeout) = self.global.timeout {
            fleet.settings.timeout = timeout;
        }
        Ok(fleet)
    }

    /// All parts, for a fleet. Nothing is connected yet.
    pub fn app(&self, fleet: Fleet) -> App {
        self.compose(fleet, Prompting::Terminal)
    }

    /// The same, with somebody else to answer what connections ask.
    pub fn compose(&self, fleet: Fleet, prompting: Prompting) -> App {
        App::compose(fleet, Options { prompting, state: Some(self.store_file()) })
    }

    /// The file of the store.
    pub fn store_file(&self) -> PathBuf {
        self.global.state.as_deref().map_or_else(Store::default_path, Store::file_in)
    }

    /// The fleet, with the selected nodes only.
    pub fn selected_fleet(&self, nodes: &NodeSelect) -> Result<Fleet> {
        let mut fleet = self.fleet()?;
        keep(&mut fleet, nodes)?;
        Ok(fleet)
    }

    /// All parts, for the selected nodes only.
    pub fn selected_app(&self, nodes: &NodeSelect) -> Result<App> {
        Ok(self.app(self.selected_fleet(nodes)?))
    }

    /// Reads the selected nodes side by side; the others are not even connected to.
    pub async fn look(&self, nodes: &NodeSelect) -> Result<Look> {
        let app = self.selected_app(nodes)?;
        let view = app.collector.observe_once().await;
        Ok(Look { app, view })
    }
}

/// Leaves only the selected nodes in the fleet.
pub fn keep(fleet: &mut Fleet, nodes: &NodeSelect) -> Result<()> {
    for group in &nodes.group {
        if !fleet.groups.contains(group) {
            return Err(Failure::invalid(format!("no group is called '{group}'")).hint(match fleet.groups.is_empty() {
                true => format!("{} has no groups", fleet.path.display()),
                false => format!("{} has: {}", fleet.path.display(), fleet.groups.join(", ")),
            }));
        }
    }
    let wanted = matcher(&nodes.selector())?;
    let names: Vec<String> = fleet.nodes.iter().take(20).map(|n| n.meta.name.to_string()).collect();
    fleet.nodes.retain(|n| wanted.node(&n.meta));
    if fleet.nodes.is_empty() {
        return Err(Failure::invalid("no node is selected").hint(format!("{} has: {}", fleet.path.display(), names.join(", "))));
    }
    Ok(())
}

impl Look {
    /// Observations that may be believed, in the order of the fleet file.
    pub fn fresh(&self) -> impl Iterator<Item = (&NodeView, &NodeObs)> {
        self.view.nodes.iter().filter_map(|n| Some((n.as_ref(), n.fresh()?)))
    }

    /// Every server that the selector matches on every node that was read: by pool and server, nodes in the order of the fleet file.
    pub fn servers(&self, wanted: &Matcher) -> Vec<SeenServer<'_>> {
        let mut seen: Vec<SeenServer<'_>> = Vec::new();
        for (node, obs) in self.fresh() {
            for pool in &obs.pools {
                let servers = pool.servers.iter().filter(|s| wanted.server(pool.name.as_str(), s));
                seen.extend(servers.map(|server| SeenServer { node, obs, pool, server }));
            }
        }
        seen.sort_by_key(|s| (&s.pool.name, &s.server.name));
        seen
    }

    /// Nodes that could not be read.
    pub fn unread(&self) -> Vec<Unread> {
        self.view
            .nodes
            .iter()
            .filter(|n| n.health != Health::Fresh)
            .map(|n| match &n.problem {
                Some(problem) => unread(&n.meta.name, n.health, problem),
                None => Unread {
                    node: n.meta.name.clone(),
                    health: n.health,
                    problem: "nothing was read".into(),
                    hint: None,
                    retry: true,
                },
            })
            .collect()
    }
}

pub fn unread(node: &NodeName, health: Health, problem: &Problem) -> Unread {
    Unread { node: node.clone(), health, problem: problem.what.clone(), hint: problem.hint.clone(), retry: problem.retry }
}

/// What people are told of unread nodes beside a listing that names them anyway; programs find them where every verb tells them.
pub fn told<'a>(printer: &Printer, unread: &'a [Unread]) -> &'a [Unread] {
    if printer.is_structured() { unread } else { &[] }
}

/// The exit code of a verb that looks: 1 where a node could not be read.
pub fn looked(unread: &[Unread]) -> Exit {
    if unread.is_empty() { Exit::Ok } else { Exit::Failed }
}

impl<'a> Origin<'a> {
    pub fn new(node: &'a NodeView, obs: &'a NodeObs) -> Self {
        Self::at(node, obs, obs.seen)
    }

    /// Of something that was read from the node at another moment than the observation.
    pub fn at(node: &'a NodeView, obs: &'a NodeObs, seen: Instant) -> Self {
        Self {
            node: &node.meta.name,
            zone: node.meta.zone.as_deref(),
            health: node.health,
            age_ms: u64::try_from(Instant::now().saturating_duration_since(seen).as_millis()).unwrap_or(u64::MAX),
            source: &obs.source,
        }
    }

    pub fn age_cell(&self) -> Cell {
        age_cell(self.age_ms, self.health)
    }

    /// The first word of the source (`ssh`, `local`, `http`) in the table, all of it elsewhere.
    pub fn source_cell(&self) -> Cell {
        Cell::new(self.source.split_whitespace().next().unwrap_or("-"), Tone::Dim)
    }
}

/// An age; whatever is not fresh is marked as such.
pub fn age_cell(age_ms: u64, health: Health) -> Cell {
    let age = match age_ms {
        0 => "<1ms".to_owned(),
        ms => show_duration(std::time::Duration::from_millis(ms)),
    };
    match health {
        Health::Fresh => Cell::new(age, Tone::Dim),
        Health::Connecting => Cell::new("never read", Tone::Warn),
        Health::Stale => Cell::new(format!("{age} STALE"), Tone::Warn),
        Health::Dead => Cell::new(format!("{age} DEAD"), Tone::Bad),
    }
}

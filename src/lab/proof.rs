//! What the lab does without a terminal: a drain under load, with proof at every step that nothing was lost.
//!
//! The steps are lbdeck's own verbs, run as an operator would type them; that they did what they say is checked here by
//! looking at every node again and by the load's own count.

use std::time::{Duration, Instant};

use crate::app::{App, Options, Prompting};
use crate::config;
use crate::model::{Exit, FleetView, NodeName, ServerObs, ServerRef};

use super::fleet::Lab;
use super::{Front, LabError, summary};

/// How long health checks may take to bring every server up, and how long the load may take to be seen.
const WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Answers that each server must have given before the drain, so that the load is known to run.
const WARM: u64 = 5;
/// Answers that the rest of the pool must give while the server is drained.
const MEANWHILE: u64 = 50;
const POOL: &str = "web";
const SERVER: &str = "web2";

/// Waits until every node is read and every server is up.
pub(super) async fn await_healthy(lab: &Lab) -> Result<(), LabError> {
    Observer::open(lab)?.until_view(|view| all_serving(view, None)).await.map(drop)
}

/// Runs the proof; every line on stdout is a result, talk goes to stderr.
pub(super) async fn run(front: &Front, lab: &Lab) -> Result<Exit, LabError> {
    let eyes = Observer::open(lab)?;
    let server = ServerRef::new(POOL, SERVER);
    let name = server.to_string();

    step(front, lab, &["status"]).await?;
    eyes.until("every server of the pool has answered", || {
        let counts = lab.counts();
        lab.servers_of(POOL).all(|s| counts.of(s) >= WARM)
    })
    .await?;

    step(front, lab, &["server", "drain", &name, "--dry-run"]).await?;
    let drain = ["server", "drain", &name, "--deadline", "60s", "--reason", "proof of the lab", "--yes"];
    step(front, lab, &drain).await?;

    // The engines' own counters: not one session may begin on the server from here on.
    let drained = eyes.until_view(|view| all_drained(view, &server)).await?;
    let totals = session_totals(&drained, &server);
    let before = lab.counts().of_pool(lab.servers_of(POOL));
    eyes.until("the rest of the pool serves on", || lab.counts().of_pool(lab.servers_of(POOL)) >= before + MEANWHILE).await?;
    let view = eyes.look().await;
    if let Some(what) = all_drained(&view, &server) {
        return Err(LabError::Proof(format!("{name} did not stay drained: {what}")));
    }
    let now = session_totals(&view, &server);
    if now != totals {
        return Err(LabError::Proof(format!("sessions began on the drained {name}: {totals:?} before, {now:?} after")));
    }
    let meanwhile = lab.counts().of_pool(lab.servers_of(POOL)) - before;
    (front.data)(&format!(
        "lab: {name} is drained on {} of {} nodes, 0 sessions, 0 queued; {meanwhile} requests went elsewhere meanwhile, 0 to it",
        totals.len(),
        view.nodes.len()
    ));
    step(front, lab, &["server", "list", &format!("{POOL}/*")]).await?;

    step(front, lab, &["server", "ready", &name, "--reason", "proof of the lab", "--yes"]).await?;
    eyes.until_view(|view| all_serving(view, Some((&server, &totals)))).await?;
    (front.data)(&format!("lab: {name} is back and serves on every node"));
    let left = eyes.app.ops.leases().await;
    if !left.is_empty() {
        return Err(LabError::Proof(format!("leases were left behind: {left:?}")));
    }

    let counts = lab.counts();
    (front.data)(&format!("lab: {}", summary(&counts)));
    if counts.failed > 0 {
        return Err(LabError::Proof(format!("{} requests failed: {}", counts.failed, counts.failures.join("; "))));
    }
    Ok(Exit::Ok)
}

/// One verb, shown as it would be typed.
async fn step(front: &Front, lab: &Lab, words: &[&str]) -> Result<(), LabError> {
    let shown = shell_words::join(words);
    (front.talk)(&format!("\n$ lbdeck {shown}"));
    match front.run(lab.command(words)).await {
        Some(Exit::Ok) => Ok(()),
        Some(exit) => Err(LabError::Proof(format!("lbdeck {shown} ended with exit code {}", exit.code()))),
        None => Err(LabError::Proof(format!("lbdeck {shown} did not end in order"))),
    }
}

/// lbdeck's own eyes on the lab: SSH to each node, as in the field.
struct Observer {
    app: App,
}

impl Observer {
    fn open(lab: &Lab) -> Result<Self, LabError> {
        let fleet = config::load(&lab.layout.fleet_file()).map_err(|e| LabError::Open(e.to_string()))?;
        let options = Options { prompting: Prompting::Nobody, state: Some(lab.layout.store()) };
        Ok(Self { app: App::compose(fleet, options) })
    }

    async fn look(&self) -> std::sync::Arc<FleetView> {
        self.app.collector.observe_once().await
    }

    /// Looks until nothing is missing any more.
    async fn until_view(&self, missing: impl Fn(&FleetView) -> Option<String>) -> Result<std::sync::Arc<FleetView>, LabError> {
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

    async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), LabError> {
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
fn all_drained(view: &FleetView, server: &ServerRef) -> Option<String> {
    match cells(view, server) {
        Err(what) => Some(what),
        Ok(cells) => cells
            .iter()
            .find(|(_, s)| !s.admin.is_drain() || s.gauges.sessions > 0 || s.gauges.queue > 0)
            .map(|(node, s)| format!("{node}: {server} {}", s.summary())),
    }
}

/// What keeps a server from serving everywhere: any server, or one that has begun sessions on each node since it was drained.
fn all_serving(view: &FleetView, since: Option<(&ServerRef, &Vec<(NodeName, u64)>)>) -> Option<String> {
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

fn session_totals(view: &FleetView, server: &ServerRef) -> Vec<(NodeName, u64)> {
    cells(view, server).unwrap_or_default().into_iter().map(|(node, s)| (node.clone(), s.gauges.sessions_total)).collect()
}

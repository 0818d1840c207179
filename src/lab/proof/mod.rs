//! What the lab does without a terminal: changes and accidents under load, with proof at every step that nothing was lost.
//!
//! The steps are lbdeck's own verbs, run as an operator would type them; that they did what they say is checked here by
//! looking at every node again and by the load's own count. A request may fail for one reason only: the application that this
//! proof kills had begun to answer it, and nobody else has the rest of that answer.

mod observer;

use std::path::Path;

use crate::model::{Exit, NodeName, ServerRef};

use super::fleet::Lab;
use super::load::Counts;
use super::{Front, LabError, agents, summary};
use observer::{Observer, all_down, all_drained, all_serving, session_totals};

/// Answers that each server must have given before the first step, so that the load is known to run.
const WARM: u64 = 5;
/// Answers that the pool must give while something is out of it.
const MEANWHILE: u64 = 50;
const POOL: &str = "web";
const SERVER: &str = "web2";
/// The application that is killed, counted from 1; the last one where there are fewer.
const KILLED: u8 = 3;

/// Waits until every node is read and every server is up.
pub(super) async fn await_healthy(lab: &Lab) -> Result<(), LabError> {
    Observer::open(lab)?.until_view(|view| all_serving(view, None)).await.map(drop)
}

/// Runs the proof; every line on stdout is a result, talk goes to stderr. `agent` is the build that is installed on the nodes,
/// where they have no other engine.
pub(super) async fn run(front: &Front, lab: &Lab, agent: Option<&Path>) -> Result<Exit, LabError> {
    let proof = Proof { front, lab, eyes: Observer::open(lab)? };
    if let Some(build) = agent {
        proof.install(build).await?;
    }
    lab.begin_load();
    proof.warm_up().await?;
    proof.drain().await?;
    proof.nothing_failed(&[])?;
    let mut killed = Vec::new();
    if let Some(build) = agent {
        killed = proof.kill().await?;
        proof.upgrade(build).await?;
    }
    let left = proof.eyes.app.ops.leases().await;
    if !left.is_empty() {
        return Err(LabError::Proof(format!("leases were left behind: {left:?}")));
    }
    let counts = proof.nothing_failed(&killed)?;
    proof.tell(&summary(&counts, &killed));
    Ok(Exit::Ok)
}

struct Proof<'a> {
    front: &'a Front,
    lab: &'a Lab,
    eyes: Observer,
}

impl Proof<'_> {
    fn tell(&self, what: &str) {
        (self.front.data)(&format!("lab: {what}"));
    }

    /// One verb, shown as it would be typed.
    async fn step(&self, words: &[&str]) -> Result<(), LabError> {
        let shown = shell_words::join(words);
        (self.front.talk)(&format!("\n$ lbdeck {shown}"));
        match self.front.run(self.lab.command(words)).await {
            Some(Exit::Ok) => Ok(()),
            Some(exit) => Err(LabError::Proof(format!("lbdeck {shown} ended with exit code {}", exit.code()))),
            None => Err(LabError::Proof(format!("lbdeck {shown} did not end in order"))),
        }
    }

    /// The agent on each node, by SSH.
    async fn install(&self, build: &Path) -> Result<(), LabError> {
        for node in &self.lab.layout.nodes {
            let config = self.lab.layout.relay_config(node).display().to_string();
            let mut words = agents::on_node("install", node, build);
            words.extend(["--config".to_owned(), config]);
            self.step(&words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        self.tell(&format!("the agent is installed over SSH on {} nodes", self.lab.layout.nodes.len()));
        Ok(())
    }

    async fn warm_up(&self) -> Result<(), LabError> {
        self.eyes.until_view(|view| all_serving(view, None)).await?;
        self.step(&["status"]).await?;
        self.eyes
            .until("every server of the pool has answered", || {
                let counts = self.lab.load.counts();
                self.lab.servers_of(POOL).all(|s| counts.of(s) >= WARM)
            })
            .await
    }

    /// Answers of the pool so far.
    fn answered(&self) -> u64 {
        self.lab.load.counts().of_servers(self.lab.servers_of(POOL))
    }

    /// Waits until the pool has answered more; how many.
    async fn meanwhile(&self) -> Result<u64, LabError> {
        let before = self.answered();
        self.eyes.until("the rest of the pool serves on", || self.answered() >= before + MEANWHILE).await?;
        Ok(self.answered() - before)
    }

    /// A server out of traffic and back, by undo.
    async fn drain(&self) -> Result<(), LabError> {
        let server = ServerRef::new(POOL, SERVER);
        let name = server.to_string();
        self.step(&["server", "drain", &name, "--dry-run"]).await?;
        let drain = ["server", "drain", &name, "--deadline", "60s", "--reason", "proof of the lab", "--yes"];
        self.step(&drain).await?;

        // The engines' own counters: not one session may begin on the server from here on.
        let drained = self.eyes.until_view(|view| all_drained(view, &server)).await?;
        let totals = session_totals(&drained, &server);
        let meanwhile = self.meanwhile().await?;
        let view = self.eyes.look().await;
        if let Some(what) = all_drained(&view, &server) {
            return Err(LabError::Proof(format!("{name} did not stay drained: {what}")));
        }
        let now = session_totals(&view, &server);
        if now != totals {
            return Err(LabError::Proof(format!("sessions began on the drained {name}: {totals:?} before, {now:?} after")));
        }
        self.tell(&format!(
            "{name} is drained on {} of {} nodes, 0 sessions, 0 queued; {meanwhile} requests went elsewhere meanwhile, 0 to it",
            totals.len(),
            view.nodes.len()
        ));
        self.step(&["server", "list", &format!("{POOL}/*")]).await?;

        self.step(&["undo", "last", "--yes"]).await?;
        self.eyes.until_view(|view| all_serving(view, Some((&server, &totals)))).await?;
        self.tell(&format!("{name} is back and serves on every node"));
        Ok(())
    }

    /// An application is killed and started again; its servers.
    async fn kill(&self) -> Result<Vec<String>, LabError> {
        let apps = &self.lab.apps;
        let killed = (1..=KILLED).rev().find(|n| !apps.servers_of(*n).is_empty()).unwrap_or(1);
        let servers: Vec<ServerRef> = apps.servers_of(killed).iter().map(|s| ServerRef::new(s.pool, s.name.as_str())).collect();
        let names: Vec<String> = apps.servers_of(killed).iter().map(|s| s.name.clone()).collect();
        (self.front.talk)(&format!("\nlab: killing application {killed} ({})", names.join(", ")));
        apps.kill(killed).await;
        let view = self.eyes.until_view(|view| all_down(view, &servers)).await?;
        let meanwhile = self.meanwhile().await?;
        self.step(&["status"]).await?;
        let counts = self.nothing_failed(&names)?;
        self.tell(&format!(
            "application {killed} was killed: {} down on {} nodes; {meanwhile} requests went elsewhere meanwhile, 0 failed; {} that it \
             was answering broke off",
            names.join(", "),
            view.nodes.len(),
            counts.cut_from(names.iter().map(String::as_str)),
        ));
        apps.revive(killed).await?;
        self.eyes.until_view(|view| all_serving(view, None)).await?;
        self.tell(&format!("application {killed} runs again and serves on every node"));
        Ok(names)
    }

    /// The first node's agent gets another build.
    async fn upgrade(&self, build: &Path) -> Result<(), LabError> {
        let Some(node) = self.lab.layout.nodes.first() else { return Ok(()) };
        let name = NodeName::from(node.name.as_str());
        let next = self.lab.layout.next_build();
        agents::make_next_build(build, &next)?;
        let before = self.eyes.pid(&name).await?;
        let answered = self.answered();
        let words = agents::on_node("upgrade", node, &next);
        self.step(&words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        self.eyes.until_view(|view| all_serving(view, None)).await?;
        let after = self.eyes.pid(&name).await?;
        if after == before {
            return Err(LabError::Proof(format!("the agent of {name} is still the process it was, {before}")));
        }
        self.meanwhile().await?;
        self.tell(&format!(
            "the agent of {name} was upgraded: process {before} handed over to {after}; {} requests were answered meanwhile",
            self.answered() - answered
        ));
        let prefix = node.agent().prefix().unwrap_or(&node.folder).display().to_string();
        self.step(&["agent", "status", &node.name, "--prefix", &prefix]).await
    }

    /// The count, where no request failed but answers of the killed servers that broke off.
    fn nothing_failed(&self, killed: &[String]) -> Result<Counts, LabError> {
        let counts = self.lab.load.counts();
        let killed: Vec<&str> = killed.iter().map(String::as_str).collect();
        match counts.failed - counts.cut_from(killed.iter().copied()) {
            0 => Ok(counts),
            1 => Err(LabError::Proof(format!("1 request failed: {}", counts.failures(&killed)))),
            failed => Err(LabError::Proof(format!("{failed} requests failed: {}", counts.failures(&killed)))),
        }
    }
}

//! Drives lbdeck's parts on a fleet file as the console does, for the scripts of `tests/bench`:
//! `observe FLEET` reads the fleet once for each line of its input; `drain FLEET STATE SERVER ROUNDS` drains a server with the
//! connections up and tells how long each part took, as JSON lines.

#![allow(clippy::print_stdout, reason = "a measurement is data on stdout")]

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lbdeck::app::{App, Options, Prompting};
use lbdeck::model::{Change, Exit};
use lbdeck::ops::{Approval, AtDeadline, DrainOptions, EventKind, Request, Selector, Verb};
use lbdeck::store::Store;

/// As in `main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench` and `cargo test --benches` call every benchmark with words of their own.
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["observe", fleet] => observe(open(fleet, None)?).await,
        ["drain", fleet, state, server, rounds] => {
            drain(open(fleet, Some(Store::file_in(Path::new(state))))?, server, rounds.parse().context("rounds")?).await
        }
        _ => {
            println!("usage: observe FLEET | drain FLEET STATE SERVER ROUNDS (see tests/bench/README.md)");
            Ok(())
        }
    }
}

fn open(fleet: &str, state: Option<PathBuf>) -> Result<App> {
    let fleet = lbdeck::config::load(Path::new(fleet))?;
    Ok(App::compose(fleet, Options { prompting: Prompting::Nobody, state }))
}

async fn observe(app: App) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        line?;
        let view = app.collector.observe_once().await;
        let mut servers = 0;
        for node in &view.nodes {
            let Some(seen) = node.fresh() else { bail!("{}: {:?}", node.meta.name, node.problem) };
            servers += seen.pools.iter().map(|p| p.servers.len()).sum::<usize>();
        }
        println!("read {servers} servers");
    }
    Ok(())
}

fn request(server: &str, verb: Verb) -> Request {
    let selector = Selector { servers: vec![server.to_owned()], ..Selector::default() };
    Request { verb, selector, reason: Some("bench".to_owned()), lease: None, force: false }
}

async fn drain(app: App, server: &str, rounds: usize) -> Result<()> {
    let options = DrainOptions { deadline: Some(Duration::from_secs(30)), then: AtDeadline::Fail, wait: true };
    // The first round opens what the console has open already.
    for round in 0..=rounds {
        apply(&app, request(server, Verb::Server(Change::Ready))).await?;
        let took = apply(&app, request(server, Verb::Drain(options.clone()))).await?;
        if round > 0 {
            println!("{}", serde_json::to_string(&took)?);
        }
    }
    Ok(())
}

/// Since the command was given.
#[derive(serde::Serialize)]
struct Took {
    plan_ms: f64,
    /// Until every node was seen to hold the change.
    verified_ms: f64,
    /// Until everything was recorded and every lock given back.
    finished_ms: f64,
}

async fn apply(app: &App, request: Request) -> Result<Took> {
    // The console has a view that is at most a second old.
    let view = app.collector.observe_once().await;
    let began = Instant::now();
    let since = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let plan = app.ops.plan(request, &view)?;
    let nodes = plan.steps.iter().filter(|s| !s.already).count();
    let plan_ms = since(began);
    let approved = match app.ops.approve(plan, Approval::Yes) {
        Ok(approved) => approved,
        Err(refusal) => bail!("refused: {refusal:?}"),
    };
    let mut running = app.ops.apply(approved);
    let (mut verified, mut verified_ms) = (0, 0.0);
    while let Some(event) = running.events.recv().await {
        match event.kind {
            EventKind::Verified { .. } => {
                verified += 1;
                verified_ms = since(began);
            }
            EventKind::Finished { outcome } if outcome.exit == Exit::Ok && verified == nodes => {
                return Ok(Took { plan_ms, verified_ms, finished_ms: since(began) });
            }
            EventKind::Finished { outcome } => bail!("verified on {verified} of {nodes} nodes: {outcome:?}"),
            _ => {}
        }
    }
    bail!("the operation ended without an outcome")
}

//! What goes wrong between plan, apply and verify: reported for each node, never half-believed, and always with a way on.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lbdeck::config::{HaproxyAccess, HaproxySpec};
use lbdeck::engine::haproxy::Haproxy as HaproxyEngine;
use lbdeck::engine::{Admin, Command as EngineCommand, Engine, EngineError, NodeHandle, Want};
use lbdeck::model::{AddServer, Change, EngineKind, Exit, NodeName, NodeObs, ServerRef, Target};
use lbdeck::ops::{Approval, EventKind, Judgement, NodeResult, Ops, Verb};
use lbdeck::store::{AuditFilter, JournalState, OperationState, Store};
use lbdeck::transport::local::LocalTransport;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bench::{LONG, assert_ok, collect, drain, handle, request, run, start, three_servers, undo, until, who};
use crate::support::app::HeldRequest;
use crate::support::fleet::Fleet;
use crate::support::wait;

fn maint(server: &str) -> lbdeck::ops::Request {
    request(Verb::Server(Change::Maint), &[server])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_between_plan_and_apply_is_not_touched_and_the_rest_goes_on() {
    let mut bench = three_servers(3);
    let plan = bench.plan(drain("app/web1")).await;
    bench.nodes[1].crash();
    let (outcome, _) = collect(bench.ops.apply(bench.ops.approve(plan, Approval::Yes).unwrap())).await;
    assert_eq!(outcome.exit, Exit::Failed);
    let result = |node: &str| outcome.nodes.iter().find(|n| n.node.as_str() == node).unwrap();
    assert_eq!(result("lb1").result, NodeResult::Done);
    assert_eq!(result("lb3").result, NodeResult::Done);
    assert_eq!(result("lb2").result, NodeResult::Unreachable);
    assert!(result("lb2").text.contains("not drained"), "{}", result("lb2").text);
    assert!(outcome.next.iter().any(|n| n.contains("lb2")), "{:?}", outcome.next);
    assert_eq!(bench.admin(0, "web1"), "drain");
    assert!(bench.lock_files(1, ".lock").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_down_at_the_plan_is_named_in_plan_and_result() {
    let mut bench = three_servers(2);
    bench.nodes[1].crash();
    let plan = bench.plan(drain("app/web1")).await;
    assert!(plan.verdicts.iter().any(|v| v.guard == "reach" && v.text.contains("lb2") && v.judgement == Judgement::Warn));
    let (outcome, _) = bench.run(drain("app/web1")).await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert!(outcome.nodes.iter().any(|n| n.node.as_str() == "lb2" && n.result == NodeResult::Unreachable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_are_asked_again_under_the_locks() {
    let bench = three_servers(2);
    let plan = bench.plan(maint("app/web1")).await;
    let approved = bench.ops.approve(plan, Approval::Yes).unwrap();
    for server in ["web2", "web3"] {
        bench.nodes[1].cli(&format!("set server app/{server} state maint"));
    }
    let (outcome, events) = collect(bench.ops.apply(approved)).await;
    assert_eq!(outcome.exit, Exit::GuardRefused, "{outcome:#?}");
    assert!(outcome.summary.contains("last healthy server of app out on lb2"), "{}", outcome.summary);
    assert!(!events.iter().any(|e| matches!(e.kind, EventKind::Sent { .. })));
    assert_eq!(bench.admin(0, "web1"), "ready");
    assert!(bench.lock_files(0, ".lock").is_empty() && bench.lock_files(0, ".lease").is_empty());
}

/// The real engine, with something that happens right after a change was sent.
struct Hooked {
    inner: HaproxyEngine,
    after_send: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

#[async_trait]
impl Engine for Hooked {
    fn kind(&self) -> EngineKind {
        self.inner.kind()
    }
    fn node(&self) -> &NodeName {
        self.inner.node()
    }
    fn identity(&self) -> String {
        self.inner.identity()
    }
    fn source(&self) -> String {
        self.inner.source()
    }
    async fn observe(&self, want: Want<'_>, deadline: Duration) -> Result<NodeObs, EngineError> {
        self.inner.observe(want, deadline).await
    }
    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }
}

#[async_trait]
impl Admin for Hooked {
    fn encode(&self, target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<EngineCommand>, String> {
        self.inner.admin().unwrap().encode(target, change, seen)
    }
    fn inverse(&self, target: &Target, change: &Change, seen: &NodeObs) -> Vec<Change> {
        self.inner.admin().unwrap().inverse(target, change, seen)
    }
    async fn send(&self, commands: &[EngineCommand], deadline: Duration) -> Result<Vec<String>, EngineError> {
        let replies = self.inner.admin().unwrap().send(commands, deadline).await;
        (self.after_send)();
        replies
    }
    fn can_add(&self, pool: &str, server: &AddServer, seen: &NodeObs) -> Result<(), String> {
        self.inner.admin().unwrap().can_add(pool, server, seen)
    }
}

fn engine_at(name: &str, socket: PathBuf, bench: &super::bench::Bench) -> HaproxyEngine {
    let spec = HaproxySpec { access: HaproxyAccess::Socket(socket), metrics_url: None, master_socket: None, config_file: None };
    HaproxyEngine::new(name.into(), &spec, Some(Arc::new(LocalTransport)), &bench.fleet.settings).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_before_it_could_be_verified_is_an_open_question_that_undo_settles() {
    let bench = three_servers(2);
    let pid = Pid::from_raw(i32::try_from(bench.nodes[1].pid()).unwrap());
    let hooked = Hooked {
        inner: engine_at("lb2", bench.nodes[1].socket(), &bench),
        after_send: Box::new(move || kill(pid, Signal::SIGKILL).unwrap()),
    };
    let first = handle(0, &bench.nodes[0], Arc::new(LocalTransport), bench.lock_dir(0), &bench.fleet.settings);
    let second = NodeHandle {
        engine: Some(Arc::new(hooked)),
        ..handle(1, &bench.nodes[1], Arc::new(LocalTransport), bench.lock_dir(1), &bench.fleet.settings)
    };
    let ops = Ops::new(vec![first, second], Arc::clone(&bench.fleet), Store::at(bench.dir.path().join("h.db")), who("alice"));
    let (outcome, _) = run(&ops, drain("app/web1"), &bench.view().await).await;
    assert_eq!(outcome.exit, Exit::Failed);
    let lb2 = outcome.nodes.iter().find(|n| n.node.as_str() == "lb2").unwrap();
    assert_eq!(lb2.result, NodeResult::Failed);
    assert!(lb2.text.contains("could not be verified"), "{}", lb2.text);
    let journal = ops.journal(1).unwrap();
    let state = |node: &str| journal.iter().find(|e| e.node.as_str() == node).unwrap().state;
    assert_eq!((state("lb1"), state("lb2")), (JournalState::Done, JournalState::Intent));
    assert_eq!(bench.lock_files(1, ".lease").len(), 1, "what may hold keeps its lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_holds_nobody_up() {
    let bench = three_servers(2);
    let plan = bench.plan(maint("app/web1")).await;
    bench.nodes[1].freeze();
    let before = Instant::now();
    let (outcome, _) = collect(bench.ops.apply(bench.ops.approve(plan, Approval::Yes).unwrap())).await;
    assert!(before.elapsed() < Duration::from_secs(15), "{:?}", before.elapsed());
    assert_eq!(outcome.exit, Exit::Failed);
    assert_eq!(bench.admin(0, "web1"), "maint");
    assert!(outcome.nodes.iter().any(|n| n.node.as_str() == "lb2" && n.result == NodeResult::Unreachable), "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_level_user_is_refused_with_a_way_to_mend_it() {
    let bench = three_servers(1);
    let lower = NodeHandle {
        engine: Some(Arc::new(engine_at("lb1", bench.nodes[0].user_socket(), &bench))),
        ..handle(0, &bench.nodes[0], Arc::new(LocalTransport), bench.lock_dir(0), &bench.fleet.settings)
    };
    let ops = Ops::new(vec![lower], Arc::clone(&bench.fleet), Store::at(bench.dir.path().join("u.db")), who("alice"));
    // Whether the plan or the engine says so depends on what a reading tells; either way nothing is believed.
    match start(&ops, maint("app/web1"), &bench.view().await) {
        Err(refusal) => assert!(refusal.to_string().contains("level"), "{refusal}"),
        Ok(running) => {
            let (outcome, _) = collect(running).await;
            assert_ne!(outcome.exit, Exit::Ok, "{outcome:#?}");
            let told = format!("{} {}", outcome.summary, outcome.nodes[0].text);
            assert!(told.contains("level") || told.contains("ermission"), "{outcome:#?}");
        }
    }
    assert_eq!(bench.admin(0, "web1"), "ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_folder_that_cannot_be_made_stops_the_change_on_that_node() {
    let bench = three_servers(2);
    let locked = |i: usize, dir: PathBuf| handle(i, &bench.nodes[i], Arc::new(LocalTransport), dir, &bench.fleet.settings);
    let handles = vec![locked(0, bench.lock_dir(0)), locked(1, "/proc/lbdeck/locks".into())];
    let ops = Ops::new(handles, Arc::clone(&bench.fleet), Store::at(bench.dir.path().join("l.db")), who("alice"));
    let (outcome, _) = run(&ops, maint("app/web1"), &bench.view().await).await;
    assert_eq!(outcome.exit, Exit::Failed);
    let lb2 = outcome.nodes.iter().find(|n| n.node.as_str() == "lb2").unwrap();
    assert!(lb2.text.contains("no lock could be taken") && lb2.text.contains("/proc/lbdeck"), "{}", lb2.text);
    assert_eq!((bench.admin(0, "web1").as_str(), bench.admin(1, "web1").as_str()), ("maint", "ready"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_between_plan_and_apply_is_said_to_be_gone() {
    let bench = three_servers(1);
    let at = ServerRef::new("app", "dyn1");
    let add = AddServer { address: "127.0.0.1".into(), port: 9, ..AddServer::default() };
    let named = |change| Verb::Named { target: Target::Server(at.clone()), change };
    assert_ok(&bench.run(request(named(Change::AddServer(add)), &[])).await.0);
    let plan = bench.plan(request(named(Change::Maint), &[])).await;
    assert_ok(&bench.run(request(named(Change::RemoveServer), &[])).await.0);
    let (outcome, _) = collect(bench.ops.apply(bench.ops.approve(plan, Approval::Yes).unwrap())).await;
    assert_eq!(outcome.exit, Exit::Failed, "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_drain_is_found_by_the_next_run_and_undone() {
    let bench = three_servers(2);
    let held = HeldRequest::open(bench.nodes[0].frontend("app"));
    let busy = bench.apps.iter().find(|a| a.holding() == 1).unwrap();
    let fleet = Fleet::new().local("lb1", &bench.nodes[0]).local("lb2", &bench.nodes[1]);
    let words = ["server", "drain", "--yes", "--reason", "kernel", &format!("app/{}", busy.name)];
    let mut child = fleet.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait::until("the drain", LONG, || (0..2).all(|n| bench.admin(n, &busy.name) == "drain").then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();

    let handles = |i| handle(i, &bench.nodes[i], Arc::new(LocalTransport), fleet.locks(), &bench.fleet.settings);
    let store = Store::at(Store::file_in(&fleet.state()));
    let next = Ops::new(vec![handles(0), handles(1)], Arc::clone(&bench.fleet), store, who("alice"));
    let unfinished = next.unfinished().unwrap();
    assert_eq!(unfinished.len(), 1);
    assert_eq!((unfinished[0].left.len(), unfinished[0].reason.as_deref()), (2, Some("kernel")));
    assert_eq!(next.leases().await.len(), 1, "and the nodes tell everybody");
    // Its locks are those of a process that is gone, so nobody has to wait for them.
    let (outcome, _) = run(&next, undo(unfinished[0].operation), &bench.view().await).await;
    assert_ok(&outcome);
    for node in 0..2 {
        assert_eq!(bench.admin(node, &busy.name), "ready");
    }
    assert!(next.leases().await.is_empty());
    assert!(next.unfinished().unwrap().is_empty());
    let audit = next.audit(&AuditFilter::default()).unwrap();
    assert_eq!(audit[1].state, OperationState::Abandoned);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_on_every_node_and_one_failure_does_not_stop_it() {
    let bench = three_servers(2);
    let argv = vec!["sh".to_owned(), "-c".into(), "echo out; echo '\u{1b}[2Jerr' >&2; exit 3".into()];
    let (outcome, events) = bench.run(request(Verb::Exec { argv }, &[])).await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert_eq!(outcome.nodes.iter().filter(|n| n.text.contains("status 3")).count(), 2, "{outcome:#?}");
    let lines: Vec<&str> = events
        .iter()
        .filter_map(|e| match &e.kind {
            EventKind::Output { line, .. } => Some(line.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(lines.iter().filter(|l| **l == "out").count(), 2);
    assert_eq!(lines.iter().filter(|l| **l == "\\x1b[2Jerr").count(), 2, "{lines:?}");
    assert_eq!(bench.ops.audit(&AuditFilter::default()).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_in_the_middle_of_a_wait_is_not_drained() {
    let mut bench = three_servers(2);
    let _held = HeldRequest::open(bench.nodes[1].frontend("app"));
    let busy = bench.apps.iter().find(|a| a.holding() == 1).unwrap().name.clone();
    let mut running = bench.start(drain(&format!("app/{busy}"))).await;
    until(&mut running, |k| matches!(k, EventKind::Waiting { .. })).await;
    bench.nodes[1].crash();
    let (outcome, _) = collect(running).await;
    assert_eq!(outcome.exit, Exit::Failed);
    let lb2 = outcome.nodes.iter().find(|n| n.node.as_str() == "lb2").unwrap();
    assert_eq!(lb2.result, NodeResult::Unreachable);
    assert!(lb2.text.contains("not known to be drained"), "{}", lb2.text);
}

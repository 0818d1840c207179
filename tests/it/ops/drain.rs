//! Drain over every node: guarded, waited for with proof, given back.

use std::sync::Arc;
use std::time::Duration;

use lbdeck::config::{HaproxyAccess, HaproxySpec, MinHealthy};
use lbdeck::engine::haproxy::Haproxy as Engine;
use lbdeck::model::{Change, Exit, Weight};
use lbdeck::ops::{Approval, AtDeadline, EventKind, Judgement, NodeResult, Ops, Verb};
use lbdeck::store::{AuditFilter, JournalState, Store};
use lbdeck::transport::local::LocalTransport;

use super::bench::{
    LONG, assert_ok, build, collect, drain, drain_until, handle, request, start, three_servers, undo, until, who,
};
use crate::support::app::HeldRequest;
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_for_the_last_session_and_is_undone() {
    let bench = three_servers(2);
    // Whichever server got it is drained, so that the drain has something to wait for.
    let held = HeldRequest::open(bench.nodes[0].frontend("app"));
    let busy = bench.apps.iter().find(|a| a.holding() == 1).unwrap();
    let mut running = bench.start(drain(&format!("app/{}", busy.name))).await;
    let waiting = until(&mut running, |k| matches!(k, EventKind::Waiting { .. })).await;
    assert!(matches!(waiting.kind, EventKind::Waiting { sessions: 1, .. }), "{waiting:?}");
    assert_eq!(waiting.node.unwrap().as_str(), "lb1");
    for node in 0..2 {
        wait::until("the drain on both", LONG, || (bench.admin(node, &busy.name) == "drain").then_some(()));
        assert_eq!(bench.lock_files(node, ".lease").len(), 1);
        assert_eq!(bench.lock_files(node, ".lock").len(), 1, "the pool is locked while it is waited for");
    }
    busy.release();
    let (outcome, events) = collect(running).await;
    assert_ok(&outcome);
    assert_eq!(outcome.nodes.iter().filter(|n| n.result == NodeResult::Done).count(), 2, "{outcome:#?}");
    assert_eq!(outcome.leases.len(), 1);
    assert!(events.iter().any(|e| matches!(e.kind, EventKind::Drained { .. })));
    assert_eq!(bench.lock_files(0, ".lock").len(), 0, "locks are given back");
    drop(held);

    let leases = bench.ops.leases().await;
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].holds.len(), 2);
    let operation = leases[0].operation.unwrap();
    let (outcome, _) = bench.run(undo(operation)).await;
    assert_ok(&outcome);
    for node in 0..2 {
        assert_eq!(bench.admin(node, &busy.name), "ready");
        assert_eq!(bench.lock_files(node, ".lease").len(), 0);
    }
    assert!(bench.ops.leases().await.is_empty());
    assert!(bench.ops.journal(operation).unwrap().iter().all(|e| e.state == JournalState::Undone));
    let audit = bench.ops.audit(&AuditFilter::default()).unwrap();
    assert_eq!(audit.iter().map(|o| o.exit).collect::<Vec<_>>(), [Some(Exit::Ok), Some(Exit::Ok)]);
    assert_eq!(audit[1].reason.as_deref(), Some("a test"));
    let again = bench.ops.plan(undo(operation), &bench.view().await);
    assert!(again.is_err_and(|e| e.exit() == Exit::Ok), "nothing is left to undo");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_takes_the_last_healthy_server_out() {
    let bench = three_servers(2);
    assert_ok(&bench.run(drain("app/web1")).await.0);
    assert_ok(&bench.run(request(Verb::Server(Change::Maint), &["app/web2"])).await.0);
    for verb in [
        Change::Drain,
        Change::Maint,
        Change::Weight(Weight::Absolute(0)),
        Change::Weight(Weight::Percent(0)),
        Change::RemoveServer,
    ] {
        let mut asked = request(Verb::Server(verb.clone()), &["app/web3"]);
        asked.force = true;
        let plan = bench.plan(asked).await;
        assert_eq!(plan.judgement(), Judgement::Never, "{verb}: {plan:#?}");
        let refusal = bench.ops.approve(plan, Approval::Typed("app/web3".into())).unwrap_err();
        assert_eq!(refusal.exit, Exit::GuardRefused);
        assert!(refusal.what.contains("last healthy"), "{}", refusal.what);
    }
    // Two at once that together are the last.
    let ready = bench.run(request(Verb::Server(Change::Ready), &["app/web1"])).await.0;
    assert_ok(&ready);
    assert_eq!(bench.plan(drain("app/*")).await.judgement(), Judgement::Never);
    assert_eq!(bench.plan(drain("app/web1")).await.judgement(), Judgement::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_floor_is_kept_unless_forced_and_typed() {
    let bench = three_servers(2).with_policy(MinHealthy::Percent(60));
    assert_ok(&bench.run(drain("app/web1")).await.0);
    let plan = bench.plan(drain("app/web2")).await;
    assert_eq!(plan.judgement(), Judgement::Refuse, "{:#?}", plan.verdicts);
    assert_eq!(bench.ops.approve(plan, Approval::Yes).unwrap_err().exit, Exit::GuardRefused);
    let mut forced = drain("app/web2");
    forced.force = true;
    let plan = bench.plan(forced.clone()).await;
    assert_eq!(bench.ops.approve(plan, Approval::Yes).unwrap_err().exit, Exit::GuardRefused, "a yes is not enough");
    assert_ok(&bench.run(forced).await.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_shows_the_exact_bytes_and_sends_nothing() {
    let bench = three_servers(2);
    let plan = bench.plan(drain("app/web1")).await;
    let shown: Vec<String> = plan.steps.iter().flat_map(|s| s.commands.iter().map(ToString::to_string)).collect();
    assert_eq!(shown, ["set server app/web1 state drain", "set server app/web1 state drain"]);
    assert_eq!(bench.admin(0, "web1"), "ready");
    assert!(bench.lock_files(0, "").is_empty());
    assert!(bench.ops.audit(&AuditFilter::default()).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_deadline_what_was_asked_for_happens() {
    for (then, exit, admin) in [
        (AtDeadline::Fail, Exit::Failed, "drain"),
        (AtDeadline::Kill, Exit::Ok, "drain"),
        (AtDeadline::Maint, Exit::Ok, "maint"),
        (AtDeadline::Return, Exit::FailedRolledBack, "ready"),
    ] {
        let bench = three_servers(2);
        let mut held = HeldRequest::open(bench.nodes[0].frontend("app"));
        let busy = bench.apps.iter().find(|a| a.holding() == 1).unwrap();
        let asked = drain_until(&format!("app/{}", busy.name), Some(Duration::from_millis(300)), then);
        let (outcome, events) = bench.run(asked).await;
        assert_eq!(outcome.exit, exit, "{then:?}: {outcome:#?}");
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::DeadlineReached { left: 1, .. })), "{then:?}");
        assert_eq!(bench.admin(0, &busy.name), admin, "{then:?}");
        if then == AtDeadline::Kill {
            wait::until("the killed session to be over", LONG, || held.is_over().then_some(()));
        } else {
            assert!(!held.is_over(), "{then:?}");
        }
        let leases = bench.ops.leases().await;
        assert_eq!(leases.len(), usize::from(then != AtDeadline::Return), "{then:?}: {leases:#?}");
        if let Some(lease) = leases.first() {
            let (outcome, _) = bench.run(undo(lease.operation.unwrap())).await;
            assert_ok(&outcome);
            assert_eq!(bench.admin(0, &busy.name), "ready", "{then:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_in_maintenance_stays_there_and_counts_as_out() {
    let bench = three_servers(2);
    bench.nodes[1].cli("set server app/web1 state maint");
    let (outcome, events) = bench.run(drain("app/web1")).await;
    assert_ok(&outcome);
    assert_eq!((bench.admin(0, "web1").as_str(), bench.admin(1, "web1").as_str()), ("drain", "maint"));
    let lb2 = outcome.nodes.iter().find(|n| n.node.as_str() == "lb2").unwrap();
    assert_eq!(lb2.result, NodeResult::Already);
    assert!(!events.iter().any(|e| matches!(&e.kind, EventKind::Warning { text } if text.contains("maintenance"))));
    let (outcome, _) = bench.run(undo(1)).await;
    assert_ok(&outcome);
    assert_eq!((bench.admin(0, "web1").as_str(), bench.admin(1, "web1").as_str()), ("ready", "maint"), "not ours to lift");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_says_what_holds_and_leaves_no_lock() {
    let bench = three_servers(2);
    let _held = HeldRequest::open(bench.nodes[1].frontend("app"));
    let busy = bench.apps.iter().find(|a| a.holding() == 1).unwrap();
    let mut running = bench.start(drain(&format!("app/{}", busy.name))).await;
    until(&mut running, |k| matches!(k, EventKind::Waiting { .. })).await;
    running.stop();
    let (outcome, _) = collect(running).await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert!(
        outcome.nodes.iter().any(|n| n.result == NodeResult::NotDrained && n.text.contains("still draining")),
        "{outcome:#?}"
    );
    assert!(outcome.next.iter().any(|n| n.contains("lbdeck undo")), "{:?}", outcome.next);
    assert!(bench.lock_files(0, ".lock").is_empty() && bench.lock_files(1, ".lock").is_empty());
    assert_eq!(bench.admin(0, &busy.name), "drain");
}

/// Without a master socket nobody can ask the process before the reload: while it runs, the server is not known to be drained.
/// With one the old process is asked, and what it holds is waited for, or killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_process_holds_counts() {
    let mut bench = build(1, 3, |b| b.master_worker(), |p| p);
    let without_master = {
        let haproxy = &bench.nodes[0];
        let spec = HaproxySpec {
            access: HaproxyAccess::Socket(haproxy.socket()),
            metrics_url: None,
            master_socket: None,
            config_file: None,
        };
        let mut handle = handle(0, haproxy, Arc::new(LocalTransport), bench.lock_dir(0), &bench.fleet.settings);
        let engine = Engine::new("lb1".into(), &spec, handle.transport.clone(), &bench.fleet.settings).unwrap();
        handle.engine = Some(Arc::new(engine));
        Ops::new(vec![handle], Arc::clone(&bench.fleet), Store::at(bench.dir.path().join("blind/lbdeck.db")), who("alice"))
    };
    let held = HeldRequest::open(bench.nodes[0].frontend("app"));
    let busy = bench.apps.iter().position(|a| a.holding() == 1).unwrap();
    let name = bench.apps[busy].name.clone();
    let request = drain_until(&format!("app/{name}"), Some(Duration::from_secs(3)), AtDeadline::Fail);
    let mut running = start(&without_master, request, &bench.view().await).unwrap();
    until(&mut running, |k| matches!(k, EventKind::Waiting { .. })).await;
    bench.nodes[0].reload();
    let (outcome, _) = collect(running).await;
    assert_eq!(outcome.exit, Exit::Failed, "{outcome:#?}");
    assert_eq!(bench.apps[busy].holding(), 1, "a client is still served by the old process");
    assert!(outcome.nodes[0].result == NodeResult::NotDrained && outcome.nodes[0].text.contains("master_socket"), "{outcome:#?}");

    // The same drain by somebody with the master socket: the old process tells what it holds.
    let mut running = bench.start(drain(&format!("app/{name}"))).await;
    let told = until(&mut running, |k| matches!(k, EventKind::Waiting { .. })).await;
    assert!(matches!(told.kind, EventKind::Waiting { sessions: 1, .. }), "{told:?}");
    assert_eq!(bench.nodes[0].stat("app", &name, "scur"), "0", "the new process holds nothing");
    bench.apps[busy].release();
    drop(held);
    let (outcome, _) = collect(running).await;
    assert_ok(&outcome);
    assert_eq!(outcome.nodes[0].unseen, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_process_holds_is_killed_at_the_deadline() {
    let mut bench = build(1, 3, |b| b.master_worker(), |p| p);
    let held = HeldRequest::open(bench.nodes[0].frontend("app"));
    let busy = bench.apps.iter().position(|a| a.holding() == 1).unwrap();
    let name = bench.apps[busy].name.clone();
    bench.nodes[0].reload();
    assert_eq!(bench.nodes[0].stat("app", &name, "scur"), "0");
    let request = drain_until(&format!("app/{name}"), Some(Duration::from_millis(600)), AtDeadline::Kill);
    let (outcome, events) = bench.run(request).await;
    assert_ok(&outcome);
    let killed = |k: &EventKind| matches!(k, EventKind::Sent { command, .. } if command.starts_with("@!") && command.contains("shutdown session 0x"));
    assert!(events.iter().any(|e| killed(&e.kind)), "{events:#?}");
    wait::until("the old process to end the session", LONG, || (bench.apps[busy].holding() == 0).then_some(()));
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_in_the_middle_is_noticed_and_the_drain_made_again() {
    let mut bench = build(1, 3, |b| b.master_worker(), |p| p);
    let held = HeldRequest::open(bench.nodes[0].frontend("app"));
    let busy = bench.apps.iter().position(|a| a.holding() == 1).unwrap();
    let name = bench.apps[busy].name.clone();
    let mut running = bench.start(drain(&format!("app/{name}"))).await;
    until(&mut running, |k| matches!(k, EventKind::Waiting { .. })).await;
    bench.nodes[0].reload();
    let lost = until(&mut running, |k| matches!(k, EventKind::Lost { .. })).await;
    assert!(matches!(&lost.kind, EventKind::Lost { what, again: true } if what.contains("reload")), "{lost:?}");
    wait::until("the drain to be made again", LONG, || (bench.admin(0, &name) == "drain").then_some(()));
    // The session lives in the old worker, which the new one does not count: not drained before it is gone.
    assert_eq!(bench.nodes[0].stat("app", &name, "scur"), "0");
    assert!(running.events.try_recv().is_err() || bench.lock_files(0, ".lock").len() == 1, "it waits on");
    bench.apps[busy].release();
    drop(held);
    let (outcome, _) = collect(running).await;
    assert_ok(&outcome);
    assert_eq!(bench.admin(0, &name), "drain");
}

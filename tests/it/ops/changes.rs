//! Every change through the whole way on real haproxy: sent, seen to hold, undone.

use std::sync::Arc;

use lbdeck::config::{HaproxyAccess, HaproxySpec, SecretRef};
use lbdeck::engine::haproxy::Haproxy as HaproxyEngine;
use lbdeck::engine::{Engine, NodeHandle, Want};
use lbdeck::model::{AddServer, Change, CheckKind, ServerRef, Target, Weight};
use lbdeck::ops::{EventKind, NodeResult, Ops, Verb};
use lbdeck::store::{AuditFilter, Store};
use lbdeck::transport::local::LocalTransport;

use super::bench::{Bench, LONG, assert_ok, build, drain, handle, request, run, three_servers, undo, who};
use crate::support::app::{HeldRequest, get};
use crate::support::haproxy::{STATS_PASSWORD, STATS_USER};
use crate::support::wait;

async fn last_operation(bench: &Bench) -> i64 {
    bench.ops.audit(&AuditFilter::default()).unwrap()[0].id
}

/// What haproxy itself says of web1 and of the frontend, without what moves by itself.
fn picture(bench: &Bench) -> Vec<String> {
    let server = bench.nodes[0].cli("show servers state app");
    let server = server.lines().find(|l| l.split(' ').nth(3) == Some("web1")).unwrap_or("gone").to_owned();
    let words: Vec<&str> = server.split(' ').collect();
    // Address, administrative state, weight asked for, port, health and agent checks (Management Guide, show servers state).
    let mut told: Vec<String> = [4, 6, 7, 18].iter().filter_map(|i| words.get(*i).map(ToString::to_string)).collect();
    told.push(bench.nodes[0].stat("app", "web1", "slim"));
    told.push(bench.nodes[0].stat("fe_app", "FRONTEND", "status"));
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_server_is_verified_and_undone() {
    let bench = build(2, 3, |b| b, |p| p.line("default-server check inter 100ms weight 40 maxconn 50"));
    for change in [
        Change::Drain,
        Change::Maint,
        Change::Weight(Weight::Absolute(7)),
        Change::Weight(Weight::Percent(50)),
        Change::Address { address: "127.0.0.2".into(), port: Some(81) },
        Change::MaxConn(9),
        Change::Checks { kind: CheckKind::Health, on: false },
    ] {
        let before = picture(&bench);
        let (outcome, events) = bench.run(request(Verb::Server(change.clone()), &["app/web1"])).await;
        assert_ok(&outcome);
        let verified = events.iter().filter(|e| matches!(e.kind, EventKind::Verified { .. })).count();
        assert_eq!(verified, 2, "{change}: {outcome:#?}");
        let is_seen = !matches!(change, Change::Checks { .. });
        assert_eq!(picture(&bench) != before, is_seen, "{change}: {before:?}");
        let (outcome, _) = bench.run(undo(last_operation(&bench).await)).await;
        assert_ok(&outcome);
        assert_eq!(picture(&bench), before, "undo of {change}");
        assert!(bench.ops.leases().await.is_empty(), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_added_used_and_removed_by_undo() {
    let bench = three_servers(2);
    let at = ServerRef::new("app", "web9");
    let add = AddServer { address: "127.0.0.1".into(), port: bench.apps[0].addr.port(), ..AddServer::default() };
    let verb = |change| Verb::Named { target: Target::Server(at.clone()), change };
    assert_ok(&bench.run(request(verb(Change::AddServer(add.clone())), &[])).await.0);
    assert_eq!(bench.admin(1, "web9"), "ready");
    let again = bench.plan(request(verb(Change::AddServer(add)), &[])).await;
    assert!(again.steps.is_empty() && again.verdicts.iter().any(|v| v.text.contains("already")), "{again:#?}");
    let (outcome, _) = bench.run(undo(1)).await;
    assert_ok(&outcome);
    assert!(!bench.nodes[1].cli("show servers state app").contains("web9"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frontend_is_closed_and_opened() {
    let bench = three_servers(2);
    let before = picture(&bench);
    let verb = Verb::Named { target: Target::Frontend("fe_app".into()), change: Change::DisableFrontend };
    let (outcome, _) = bench.run(request(verb, &[])).await;
    assert_ok(&outcome);
    assert_eq!(outcome.leases.len(), 1, "so that nobody forgets it");
    assert_ne!(bench.nodes[1].stat("fe_app", "FRONTEND", "status"), "OPEN");
    assert_ok(&bench.run(undo(1)).await.0);
    assert_eq!(picture(&bench), before);
    assert!(get(bench.nodes[1].frontend("app"), "/").contains("web"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_killed_and_counted() {
    let bench = three_servers(1);
    let mut held = HeldRequest::open(bench.nodes[0].frontend("app"));
    let busy = bench.apps.iter().find(|a| a.holding() == 1).unwrap();
    let (outcome, _) = bench.run(request(Verb::Server(Change::KillSessions), &[&format!("app/{}", busy.name)])).await;
    assert_ok(&outcome);
    assert!(outcome.nodes[0].text.contains("killed"), "{outcome:#?}");
    assert!(outcome.leases.is_empty());
    wait::until("the session to be over", LONG, || held.is_over().then_some(()));
    let (again, _) = bench.run(request(Verb::Server(Change::KillSessions), &[&format!("app/{}", busy.name)])).await;
    assert_eq!(again.nodes[0].result, NodeResult::Already);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stick_table_is_cleared() {
    let bench = build(1, 2, |b| b, |p| p.line("stick-table type ip size 1k expire 1h store conn_cnt").line("stick on src"));
    get(bench.nodes[0].frontend("app"), "/");
    assert!(bench.nodes[0].cli("show table app").contains("used:1"));
    let verb = Verb::Named { target: Target::Table("app".into()), change: Change::ClearTable { key: None } };
    assert_ok(&bench.run(request(verb, &[])).await.0);
    assert!(bench.nodes[0].cli("show table app").contains("used:0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_only_a_statistics_page_is_drained_too_and_its_lock_is_said_to_be_weak() {
    let bench = build(1, 3, |b| b.stats_page(true), |p| p);
    let secret = bench.dir.path().join("password");
    std::fs::write(&secret, STATS_PASSWORD).unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let spec = HaproxySpec {
        access: HaproxyAccess::Stats {
            url: bench.nodes[0].stats_url(),
            user: Some(STATS_USER.into()),
            password: Some(SecretRef::File(secret)),
            ca_file: None,
        },
        metrics_url: None,
        master_socket: None,
        config_file: None,
    };
    let engine: Arc<dyn Engine> = Arc::new(HaproxyEngine::new("lb1".into(), &spec, None, &bench.fleet.settings).unwrap());
    let page = NodeHandle {
        transport: None,
        engine: Some(Arc::clone(&engine)),
        ..handle(0, &bench.nodes[0], Arc::new(LocalTransport), bench.lock_dir(0), &bench.fleet.settings)
    };
    let seen = engine.observe(Want::All, LONG).await.unwrap();
    let mut view = bench.view().await;
    Arc::make_mut(&mut view.nodes[0]).last = Some(Arc::new(seen));
    let ops = Ops::new(vec![page], Arc::clone(&bench.fleet), Store::at(bench.dir.path().join("page.db")), who("alice"));
    let plan = ops.plan(drain("app/web1"), &view).unwrap();
    assert!(plan.steps[0].commands[0].to_string().starts_with("POST "), "{plan:#?}");
    let (outcome, events) = run(&ops, drain("app/web1"), &view).await;
    assert_ok(&outcome);
    assert!(events.iter().any(|e| matches!(e.kind, EventKind::LockedHereOnly { .. })));
    assert_eq!(bench.admin(0, "web1"), "drain");
    assert_eq!(ops.leases().await.len(), 1, "the store remembers what the node cannot");
    assert_ok(&run(&ops, undo(1), &view).await.0);
    assert_eq!(bench.admin(0, "web1"), "ready");
    assert!(ops.leases().await.is_empty());
}

/// What stands in the file comes back with the server, and what no command can say is said before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_server_is_added_again_as_it_was() {
    let bench = build(2, 2, |b| b, |p| p.line("default-server check inter 150ms fall 7 weight 40 maxconn 50 backup"));
    bench.nodes[0].cli("set server app/web1 weight 12");
    bench.nodes[1].cli("set server app/web1 state drain");
    let stats = |node: usize| {
        let of = |column| bench.nodes[node].stat("app", "web1", column);
        ["weight", "slim", "bck", "check_fall", "addr"].map(of)
    };
    let before = [stats(0), stats(1)];
    let plan = bench.plan(request(Verb::Server(Change::RemoveServer), &["app/web1"])).await;
    let told: Vec<&str> = plan.verdicts.iter().filter(|v| v.guard == "undo").map(|v| v.text.as_str()).collect();
    assert!(told.len() == 1 && told[0].contains("not known from the file") && told[0].contains("lb1, lb2"), "{told:?}");
    assert!(plan.steps.iter().all(|s| matches!(s.inverse[..], [Change::AddServer(_)])), "{plan:#?}");
    assert_ok(&bench.run(request(Verb::Server(Change::RemoveServer), &["app/web1"])).await.0);
    assert!(!bench.nodes[0].cli("show servers state app").contains("web1"));
    assert_ok(&bench.run(undo(last_operation(&bench).await)).await.0);
    assert_eq!([stats(0), stats(1)], before);
    wait::until("the server to be checked again", LONG, || {
        (bench.nodes[0].stat("app", "web1", "check_status") == "L7OK"
            || bench.nodes[0].stat("app", "web1", "check_status") == "L4OK")
            .then_some(())
    });
    assert_eq!((bench.admin(0, "web1").as_str(), bench.admin(1, "web1").as_str()), ("ready", "drain"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_server_that_cannot_come_back_says_so_before() {
    let bench = build(1, 2, |b| b, |p| p.balance("static-rr"));
    let plan = bench.plan(request(Verb::Server(Change::RemoveServer), &["app/web1"])).await;
    let told: Vec<&str> = plan.verdicts.iter().filter(|v| v.guard == "undo").map(|v| v.text.as_str()).collect();
    assert!(told.len() == 1 && told[0].contains("cannot be undone") && told[0].contains("static"), "{told:?}");
    assert!(plan.steps[0].inverse.is_empty());
    assert_ok(&bench.run(request(Verb::Server(Change::RemoveServer), &["app/web1"])).await.0);
}

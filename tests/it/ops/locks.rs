//! Locks on the node: one holder among many, expiry by the node's clock, takeover, two operators at once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lbdeck::model::{Change, Exit, ServerRef, Target};
use lbdeck::ops::lock::{HereOnly, Holder, LockError, LockService, NodeFiles, TTL, key};
use lbdeck::ops::{EventKind, NodeResult, Verb};
use lbdeck::store::{Process, Store};
use lbdeck::transport::local::LocalTransport;

use super::bench::{assert_ok, collect, drain, request, run, start, three_servers, until, who};
use crate::support::app::HeldRequest;

fn service(dir: &Path, process: &Process) -> NodeFiles {
    NodeFiles::new("lb1".into(), Arc::new(LocalTransport), dir.to_owned(), process.clone(), Duration::from_secs(5))
}

fn holder(name: &str, process: &Process) -> Holder {
    Holder {
        who: who(name),
        process: process.clone(),
        operation: 7,
        summary: "drain app/web1".into(),
        reason: Some("disk".into()),
        since: Timestamp::now(),
        ttl: TTL.as_secs(),
    }
}

fn app_key() -> String {
    key("haproxy:/run/a.sock", &Target::Server(ServerRef::new("app", "web1")))
}

/// A process of another machine: it cannot be judged from here whether it lives.
fn elsewhere() -> Process {
    Process { host: "elsewhere".into(), ..Process::me() }
}

/// As if nobody had renewed the lock for so long, by the node's own clock.
fn age(dir: &Path, by: Duration) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "lock") {
            let file = std::fs::File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_contenders_exactly_one_holds() {
    let dir = tempfile::tempdir().unwrap();
    let me = Process::me();
    let keys = [app_key()];
    let mut tokens = BTreeSet::new();
    for _ in 0..5 {
        let services: Vec<NodeFiles> = (0..50).map(|_| service(dir.path(), &me)).collect();
        let holder = holder("alice", &me);
        let results = futures::future::join_all(services.iter().map(|s| s.acquire(&keys, &holder))).await;
        let held: Vec<_> = services.iter().zip(&results).filter_map(|(s, r)| Some((s, r.as_ref().ok()?))).collect();
        assert_eq!(held.len(), 1);
        assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|e| matches!(e, LockError::Taken { .. })));
        let (service, acquired) = held[0];
        assert!(tokens.insert(acquired.held[0].token), "tokens only grow");
        assert_eq!(tokens.last(), Some(&acquired.held[0].token));
        service.release(&acquired.held[0]).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_expires_by_the_nodes_clock_and_the_late_holder_is_fenced_off() {
    let dir = tempfile::tempdir().unwrap();
    let (bob, alice) = (service(dir.path(), &elsewhere()), service(dir.path(), &Process::me()));
    let keys = [app_key()];
    // The holder's own clock is a day ahead: only the file's time on the node counts.
    let ahead = Holder { since: Timestamp::now() + jiff::SignedDuration::from_hours(24), ..holder("bob", &elsewhere()) };
    let mut bobs = bob.acquire(&keys, &ahead).await.unwrap();
    let refused = alice.acquire(&keys, &holder("alice", &Process::me())).await.unwrap_err();
    assert!(refused.to_string().contains("bob@laptop") && refused.to_string().contains("disk"), "{refused}");
    age(dir.path(), TTL / 2);
    assert!(alice.acquire(&keys, &holder("alice", &Process::me())).await.is_err(), "half of its time is left");
    age(dir.path(), TTL * 2);
    let alices = alice.acquire(&keys, &holder("alice", &Process::me())).await.unwrap();
    assert!(alices.held[0].token > bobs.held[0].token);
    assert!(!bob.renew(&mut bobs.held[0], &ahead).await.unwrap(), "overtaken");
    let mut again = alices.held[0].clone();
    assert!(alice.renew(&mut again, &holder("alice", &Process::me())).await.unwrap(), "and the new holder keeps it");
    alice.release(&again).await.unwrap();
    assert!(bob.acquire(&keys, &ahead).await.is_ok());
}

#[tokio::test]
async fn a_lock_of_a_dead_process_of_this_machine_is_taken_over_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dead = Process { started: 1, ..Process::me() };
    service(dir.path(), &dead).acquire(&[app_key()], &holder("alice", &dead)).await.unwrap();
    assert!(service(dir.path(), &Process::me()).acquire(&[app_key()], &holder("alice", &Process::me())).await.is_ok());
}

#[tokio::test]
async fn all_keys_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let me = Process::me();
    let other = key("haproxy:/run/a.sock", &Target::Frontend("fe".into()));
    service(dir.path(), &me).acquire(std::slice::from_ref(&other), &holder("bob", &me)).await.unwrap();
    let mut keys = vec![app_key(), other];
    keys.sort();
    assert!(service(dir.path(), &me).acquire(&keys, &holder("alice", &me)).await.is_err());
    assert!(service(dir.path(), &me).acquire(&[app_key()], &holder("alice", &me)).await.is_ok(), "what was got was given back");
}

#[tokio::test]
async fn a_half_written_lock_counts_until_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let me = Process::me();
    std::fs::write(dir.path().join(format!("{}.4.lock", app_key())), b"{\"who\"").unwrap();
    let alice = service(dir.path(), &me);
    assert!(matches!(alice.acquire(&[app_key()], &holder("alice", &me)).await, Err(LockError::Taken { holder: None, .. })));
    age(dir.path(), TTL * 2);
    assert_eq!(alice.acquire(&[app_key()], &holder("alice", &me)).await.unwrap().held[0].token, 5);
}

#[tokio::test]
async fn without_files_the_store_excludes_those_who_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbdeck.db");
    let service =
        |path: &Path| HereOnly { node: "lb1".into(), store: Store::at(path), here: Process::me(), why: "no files".into() };
    let keys = [app_key()];
    let alice = service(&path);
    let mut held = alice.acquire(&keys, &holder("alice", &Process::me())).await.unwrap().held.remove(0);
    // Another process has a connection of its own.
    let refused = service(&path).acquire(&keys, &holder("bob", &Process::me())).await.unwrap_err();
    assert!(refused.to_string().contains("alice@laptop"), "{refused}");
    assert!(alice.renew(&mut held, &holder("alice", &Process::me())).await.unwrap());
    alice.release(&held).await.unwrap();
    let dead = Process { started: 1, ..Process::me() };
    let bobs = service(&path).acquire(&keys, &holder("bob", &dead)).await.unwrap().held.remove(0);
    assert!(bobs.token > held.token);
    let after = alice.acquire(&keys, &holder("alice", &Process::me())).await.unwrap().held.remove(0);
    assert!(after.token > bobs.token, "the lock of a dead process is free");
    assert!(!service(&path).renew(&mut bobs.clone(), &holder("bob", &dead)).await.unwrap(), "and it was overtaken");
    assert!(alice.here_only().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_cannot_act_on_one_pool_at_once() {
    let bench = three_servers(2);
    let _held = HeldRequest::open(bench.nodes[0].frontend("app"));
    let busy = bench.apps.iter().find(|a| a.holding() == 1).unwrap();
    let other = bench.apps.iter().find(|a| a.holding() == 0).unwrap();
    let mut running = bench.start(drain(&format!("app/{}", busy.name))).await;
    until(&mut running, |k| matches!(k, EventKind::Waiting { .. })).await;

    let bob = bench.operator("bob");
    let asked = request(Verb::Server(Change::Maint), &[&format!("app/{}", other.name)]);
    let (outcome, events) = run(&bob, asked.clone(), &bench.view().await).await;
    assert_eq!(outcome.exit, Exit::Locked, "{outcome:#?}");
    for word in ["alice@laptop", "a test", "drain app/"] {
        assert!(outcome.summary.contains(word), "{}", outcome.summary);
    }
    assert!(outcome.nodes.iter().all(|n| n.result == NodeResult::NotStarted));
    assert!(!events.iter().any(|e| matches!(e.kind, EventKind::Sent { .. })));
    assert_eq!(bench.admin(0, &other.name), "ready");

    running.stop();
    collect(running).await;
    assert_ok(&run(&bob, asked, &bench.view().await).await.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_at_the_same_moment_at_most_one_acts_and_the_guards_hold() {
    let bench = three_servers(3);
    let view = bench.view().await;
    let operators: Vec<_> = (0..4).map(|i| bench.operator(&format!("op{i}"))).collect();
    // Each of the four would be fine alone; together they would take all servers out.
    let mut running = Vec::new();
    for (i, ops) in operators.iter().enumerate() {
        let server = format!("app/web{}", i % 3 + 1);
        running.push(start(ops, request(Verb::Server(Change::Maint), &[&server]), &view).unwrap());
    }
    for r in running {
        let (outcome, _) = collect(r).await;
        assert!(matches!(outcome.exit, Exit::Ok | Exit::Locked | Exit::GuardRefused), "{outcome:#?}");
    }
    for node in 0..3 {
        let left = (1..=3).filter(|i| bench.admin(node, &format!("web{i}")) == "ready").count();
        assert!(left >= 1, "node {node} has a server left");
    }
}

//! Leases: recorded here and on the node, found by everybody, given back when they end, left alone when overtaken.

use std::time::Duration;

use lbdeck::model::{Change, Exit, Weight};
use lbdeck::ops::{Judgement, Request, Verb};
use lbdeck::store::LeaseState;

use super::bench::{LONG, assert_ok, drain, request, run, three_servers};
use crate::support::wait;

fn for_a_moment(mut request: Request) -> Request {
    request.lease = Some(Duration::from_millis(50));
    request
}

async fn until_ended(bench: &super::bench::Bench) {
    // What runs behind the operation that made the lease must not be the one that gives it back.
    bench.ops.settle().await;
    let now = || jiff::Timestamp::now();
    let leases = bench.ops.leases().await;
    wait::until("the leases to end", LONG, || leases.iter().all(|l| l.has_ended(now())).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operator_finds_the_leases_of_all() {
    let bench = three_servers(2);
    assert_ok(&bench.run(for_a_moment(drain("app/web1"))).await.0);
    assert_ok(&bench.run(drain("app/web2")).await.0);
    let bob = bench.operator("bob");
    let seen = bob.leases().await;
    assert_eq!(seen.len(), 2, "bob sees alice's leases: {seen:#?}");
    assert!(seen.iter().all(|l| l.who.user == "alice" && l.reason.as_deref() == Some("a test") && l.holds.len() == 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_returns_what_ended_and_the_first_learns_of_it() {
    let bench = three_servers(2);
    assert_ok(&bench.run(for_a_moment(drain("app/web1"))).await.0);
    until_ended_on_the_node(&bench);
    let bob = bench.operator("bob");
    let report = bob.sweep().await;
    assert_eq!(report.returned.len(), 1, "{report:#?}");
    assert!(report.failed.is_empty() && report.overtaken.is_empty());
    for node in 0..2 {
        assert_eq!(bench.admin(node, "web1"), "ready");
        assert!(bench.lock_files(node, ".lease").is_empty());
    }
    assert!(bench.ops.leases().await.is_empty(), "alice's store hears that it was returned");
    assert!(bench.ops.sweep_if_due().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_is_given_back_behind_the_next_operation_of_anybody() {
    let bench = three_servers(2);
    assert_ok(&bench.run(for_a_moment(drain("app/web1"))).await.0);
    until_ended_on_the_node(&bench);
    let bob = bench.operator("bob");
    let asked = request(Verb::Server(Change::Weight(Weight::Absolute(3))), &["app/web2"]);
    assert_ok(&run(&bob, asked, &bench.view().await).await.0);
    bob.settle().await;
    assert_eq!((bench.admin(0, "web1").as_str(), bench.admin(1, "web1").as_str()), ("ready", "ready"));
    assert_eq!(bench.lock_files(0, ".lease").len(), 1, "bob's own is left");
}

fn until_ended_on_the_node(bench: &super::bench::Bench) {
    wait::until("the end of the lease", LONG, || {
        bench.lock_files(0, ".lease").iter().all(|n| ends_of(n) < jiff::Timestamp::now().as_second()).then_some(())
    });
}

fn ends_of(name: &str) -> i64 {
    name.split('.').nth(3).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_changed_since_is_left_as_it_is() {
    let bench = three_servers(2);
    assert_ok(&bench.run(for_a_moment(drain("app/web1"))).await.0);
    bench.nodes[1].cli("set server app/web1 state maint");
    until_ended(&bench).await;
    let report = bench.ops.sweep().await;
    assert_eq!((report.returned.len(), report.overtaken.len()), (1, 1), "{report:#?}");
    assert_eq!(bench.admin(0, "web1"), "ready");
    assert_eq!(bench.admin(1, "web1"), "maint", "not ours to undo");
    assert!(bench.ops.leases().await.is_empty() && bench.lock_files(1, ".lease").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_closes_the_lease_and_others_are_refused() {
    let bench = three_servers(2);
    assert_ok(&bench.run(drain("app/web1")).await.0);
    let bob = bench.operator("bob");
    bob.leases().await;
    let plan = bob.plan(request(Verb::Server(Change::Ready), &["app/web1"]), &bench.view().await).unwrap();
    assert_eq!(plan.judgement(), Judgement::Refuse, "{:#?}", plan.verdicts);
    assert!(plan.verdicts.iter().any(|v| v.guard == "lease" && v.text.contains("alice@laptop")));
    // Who has never listed the nodes finds the lease beside the lock, and is refused before anything is sent.
    let carol = bench.operator("carol");
    let (outcome, _) = run(&carol, request(Verb::Server(Change::Ready), &["app/web1"]), &bench.view().await).await;
    assert_eq!(outcome.exit, Exit::GuardRefused, "{outcome:#?}");
    assert_eq!(bench.admin(0, "web1"), "drain");

    assert_ok(&bench.run(request(Verb::Server(Change::Ready), &["app/web1"])).await.0);
    assert!(bench.ops.leases().await.is_empty());
    assert!(bench.lock_files(0, ".lease").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_returned_by_its_id_from_another_machine() {
    let bench = three_servers(2);
    let weight = request(Verb::Server(Change::Weight(Weight::Absolute(7))), &["app/web1"]);
    let before = bench.nodes[0].stat("app", "web1", "weight");
    let (outcome, _) = bench.run(weight).await;
    assert_ok(&outcome);
    assert_eq!(bench.nodes[1].stat("app", "web1", "weight"), "7");
    let bob = bench.operator("bob");
    bob.leases().await;
    let give_back = Verb::ReturnLease { lease: outcome.leases[0].clone() };
    assert_ok(&run(&bob, request(give_back.clone(), &[]), &bench.view().await).await.0);
    assert_eq!(bench.nodes[1].stat("app", "web1", "weight"), before);
    assert!(bob.plan(request(give_back, &[]), &bench.view().await).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_on_one_server_are_given_back_in_any_order() {
    for first in [0, 1] {
        let bench = three_servers(1);
        let (drained, _) = bench.run(drain("app/web1")).await;
        let (maint, _) = bench.run(request(Verb::Server(Change::Maint), &["app/web1"])).await;
        let mut ids = [drained.leases[0].clone(), maint.leases[0].clone()];
        ids.rotate_left(first);
        for id in ids {
            let verb = Verb::ReturnLease { lease: id };
            assert_ok(&bench.run(request(verb, &[])).await.0);
        }
        assert_eq!(bench.admin(0, "web1"), "ready", "order {first}");
        assert!(bench.ops.leases().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_over_an_unreachable_node_stays_open_there() {
    let mut bench = three_servers(2);
    assert_ok(&bench.run(for_a_moment(drain("app/web1"))).await.0);
    until_ended(&bench).await;
    bench.nodes[1].crash();
    let report = bench.ops.sweep().await;
    assert_eq!(report.failed.len(), 1, "{report:#?}");
    assert_eq!(bench.admin(0, "web1"), "ready", "the node that answers got it back");
    let left = bench.ops.leases().await;
    assert_eq!(left.len(), 1);
    let open: Vec<_> = left[0].holds.iter().filter(|h| h.state == LeaseState::Open).map(|h| h.node.as_str()).collect();
    assert_eq!(open, ["lb2"]);
}

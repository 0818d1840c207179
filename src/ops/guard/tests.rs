//! Guards against tables of cases, and against any sequence of plans.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::config::{ConfirmLevel, MinHealthy, PoolPolicy};
use crate::model::{AdminState, Health, ServerObs, ServerRef, ServerStatus, StatusWord};
use crate::ops::approve::{Approval, approve};
use crate::ops::plan::{GiveBack, Plan};
use crate::ops::testing::{World, handle, pool, request, server, world};
use crate::ops::{AtDeadline, DrainOptions, Verb};
use crate::store::{Lease, LeaseHold, LeaseState, Who};

fn down(name: &str) -> ServerObs {
    ServerObs { status: ServerStatus::of(StatusWord::Down), ..server(name) }
}
fn backup(name: &str) -> ServerObs {
    ServerObs { backup: true, ..server(name) }
}
fn maint(name: &str) -> ServerObs {
    ServerObs { admin: AdminState(AdminState::FMAINT), status: ServerStatus::of(StatusWord::Maint), ..server(name) }
}
fn weightless(name: &str) -> ServerObs {
    ServerObs { weight: 0, user_weight: Some(0), ..server(name) }
}

fn drain(servers: &[&str]) -> Request {
    request(Verb::Drain(DrainOptions { deadline: None, then: AtDeadline::Fail, wait: true }), servers)
}

fn guard<'p>(plan: &'p Plan, name: &str) -> Vec<&'p Verdict> {
    plan.verdicts.iter().filter(|v| v.guard == name).collect()
}

fn policy(min_healthy: MinHealthy) -> PoolPolicy {
    PoolPolicy { pool: "app".into(), min_healthy: Some(min_healthy), read_only: false, confirm: None }
}

#[test]
fn capacity_by_table() {
    use Judgement::{Never, Ok, Refuse, Warn};
    type Case<'a> = (&'a str, Vec<ServerObs>, &'a [&'a str], Option<MinHealthy>, Judgement);
    let cases: &[Case<'_>] = &[
        ("two of three stay", vec![server("a"), server("b"), server("c")], &["app/a"], None, Ok),
        ("one of three stays", vec![server("a"), server("b"), server("c")], &["app/a", "app/b"], None, Ok),
        ("all at once", vec![server("a"), server("b"), server("c")], &["app/*"], None, Never),
        ("the only one", vec![server("a")], &["app/a"], None, Never),
        ("the other is down", vec![server("a"), down("b")], &["app/a"], None, Never),
        ("the other is in maintenance", vec![server("a"), maint("b")], &["app/a"], None, Never),
        ("the other has no weight", vec![server("a"), weightless("b")], &["app/a"], None, Never),
        ("it does not serve itself", vec![server("a"), down("b")], &["app/b"], None, Ok),
        ("nothing serves already", vec![down("a"), down("b")], &["app/a"], None, Warn),
        ("a backup is left", vec![server("a"), backup("b")], &["app/a"], None, Warn),
        ("only a dead backup is left", vec![server("a"), ServerObs { backup: true, ..down("b") }], &["app/a"], None, Never),
        ("backups count as one", vec![server("a"), backup("b"), backup("c")], &["app/a"], Some(MinHealthy::Count(2)), Refuse),
        ("below the count", vec![server("a"), server("b"), server("c")], &["app/a"], Some(MinHealthy::Count(3)), Refuse),
        ("at the count", vec![server("a"), server("b"), server("c")], &["app/a"], Some(MinHealthy::Count(2)), Ok),
        ("below the share", vec![server("a"), server("b"), server("c")], &["app/a"], Some(MinHealthy::Percent(67)), Refuse),
        ("at the share", vec![server("a"), server("b"), server("c")], &["app/a"], Some(MinHealthy::Percent(66)), Ok),
        ("no floor still keeps one", vec![server("a")], &["app/a"], Some(MinHealthy::Count(0)), Never),
    ];
    for (what, servers, asked, floor, wanted) in cases {
        let mut world = world(vec![vec![pool("app", servers.clone())]]);
        world.fleet.policies.extend(floor.map(policy));
        let plan = world.plan(drain(asked)).unwrap();
        let worst = guard(&plan, "capacity").iter().map(|v| v.judgement).max();
        assert_eq!(worst, Some(*wanted), "{what}: {:#?}", plan.verdicts);
    }
}

#[test]
fn each_node_counts_for_itself_and_the_fleet_in_sum() {
    let three = || pool("app", vec![server("a"), server("b"), server("c")]);
    // On lb2 the others are down: it alone forbids it.
    let mut one_bad = world(vec![vec![three()], vec![pool("app", vec![server("a"), down("b"), down("c")])]]);
    let plan = one_bad.plan(drain(&["app/a"])).unwrap();
    assert!(guard(&plan, "capacity").iter().any(|v| v.judgement == Judgement::Never && v.text.contains("lb2")));
    one_bad.fleet.policies.push(policy(MinHealthy::Count(1)));
    let mut elsewhere = drain(&["app/a"]);
    elsewhere.selector.nodes = vec!["lb1".into()];
    assert_eq!(one_bad.plan(elsewhere).unwrap().judgement(), Judgement::Ok);

    // Each node keeps two of its own, but over the fleet too few are left.
    let mut split =
        world(vec![vec![pool("app", vec![server("a"), server("b")])], vec![pool("app", vec![server("a"), server("b")])]]);
    split.fleet.policies.push(policy(MinHealthy::Percent(50)));
    assert_eq!(split.plan(drain(&["app/a"])).unwrap().judgement(), Judgement::Ok);
    split.fleet.policies[0].min_healthy = Some(MinHealthy::Percent(51));
    let plan = split.plan(drain(&["app/a"])).unwrap();
    assert!(guard(&plan, "capacity").iter().any(|v| v.text.contains("whole fleet")), "{:#?}", plan.verdicts);
}

#[test]
fn read_only_is_never_overridden() {
    let mut fleet_wide = world(vec![vec![pool("app", vec![server("a"), server("b")])]]);
    fleet_wide.fleet.settings.read_only = true;
    let mut pool_only = world(vec![vec![pool("app", vec![server("a"), server("b")])]]);
    pool_only.fleet.policies.push(PoolPolicy { pool: "ap*".into(), min_healthy: None, read_only: true, confirm: None });
    for world in [fleet_wide, pool_only] {
        let mut asked = drain(&["app/a"]);
        asked.force = true;
        let plan = world.plan(asked).unwrap();
        assert_eq!(guard(&plan, "read-only")[0].judgement, Judgement::Never);
        let refusal = approve(plan, Approval::Typed("app/a".into()), &world.fleet).unwrap_err();
        assert_eq!(refusal.exit, crate::model::Exit::GuardRefused);
    }
}

#[test]
fn read_only_holds_even_for_a_plan_that_was_tampered_with() {
    let mut world = world(vec![vec![pool("app", vec![server("a"), server("b")])]]);
    world.fleet.settings.read_only = true;
    let mut plan = world.plan(drain(&["app/a"])).unwrap();
    plan.verdicts.clear();
    assert!(approve(plan, Approval::Yes, &world.fleet).is_err());
}

#[test]
fn unreadable_nodes_are_named_and_stale_ones_read_again() {
    let servers = || vec![pool("app", vec![server("a"), server("b")])];
    let mut world = world(vec![servers(), servers(), servers()]);
    world.node(1).health = Health::Dead;
    world.node(2).health = Health::Stale;
    let plan = world.plan(drain(&["app/a"])).unwrap();
    let told: Vec<&str> = guard(&plan, "reach").iter().map(|v| v.text.as_str()).collect();
    assert!(told.iter().any(|t| t.starts_with("lb2") && t.contains("not be touched")), "{told:?}");
    assert!(told.iter().any(|t| t.starts_with("lb3") && t.contains("read again")), "{told:?}");
    assert_eq!(plan.steps.iter().map(|s| s.node.as_str()).collect::<Vec<_>>(), ["lb1", "lb3"]);
    assert_eq!(plan.unreachable.len(), 1);
}

#[test]
fn an_engine_that_cannot_is_said_to_and_the_rest_needs_force() {
    let servers = || vec![pool("app", vec![server("a"), server("b")])];
    let mut world = world(vec![servers(), servers()]);
    world.handles[1] = handle(&world.view.nodes[1].meta, Some(Change::Weight(Weight::Absolute(5))));
    let asked = request(Verb::Server(Change::Weight(Weight::Absolute(5))), &["app/a"]);
    let plan = world.plan(asked).unwrap();
    let verdict = guard(&plan, "capability")[0];
    assert_eq!(verdict.judgement, Judgement::Refuse);
    assert!(verdict.text.contains("lb2") && verdict.text.contains("static"), "{}", verdict.text);
}

#[test]
fn cookies_and_disagreement_are_warned_of() {
    let mut sticky = server("a");
    sticky.cookie = Some("s1".into());
    let world = world(vec![vec![pool("app", vec![sticky, server("b")])], vec![pool("app", vec![maint("a"), server("b")])]]);
    let plan = world.plan(drain(&["app/a"])).unwrap();
    assert_eq!(guard(&plan, "persistence").len(), 1);
    assert!(guard(&plan, "disagreement")[0].text.contains("maint with weight 100 on lb2"), "{:#?}", plan.verdicts);
}

fn lease(user: &str, ends: Option<Timestamp>) -> Lease {
    Lease {
        id: "0badcafe".into(),
        operation: None,
        target: Target::Server(ServerRef::new("app", "a")),
        change: Change::Maint,
        who: Who { user: user.into(), host: "laptop".into(), from: "tty".into() },
        reason: Some("disk".into()),
        made: Timestamp::UNIX_EPOCH,
        ends,
        holds: vec![LeaseHold {
            node: "lb1".into(),
            change: Change::Maint,
            inverse: vec![Change::Ready],
            state: LeaseState::Open,
            returned_at: None,
        }],
    }
}

#[test]
fn a_lease_of_somebody_else_holds_until_it_ends() {
    let past = Timestamp::UNIX_EPOCH;
    for (lease, wanted) in [
        (lease("bob", None), Judgement::Refuse),
        (lease("bob", Some(past)), Judgement::Warn),
        (lease("alice", None), Judgement::Warn),
    ] {
        let mut world = world(vec![vec![pool("app", vec![maint("a"), server("b")])]]);
        world.leases.push(lease);
        let plan = world.plan(request(Verb::Server(Change::Ready), &["app/a"])).unwrap();
        let verdict = guard(&plan, "lease")[0];
        assert_eq!(verdict.judgement, wanted, "{}", verdict.text);
        assert!(verdict.text.contains("0badcafe") && verdict.text.contains("disk"), "{}", verdict.text);
        let other = world.plan(request(Verb::Server(Change::Weight(Weight::Absolute(5))), &["app/b"])).unwrap();
        assert!(guard(&other, "lease").is_empty());
    }
}

#[test]
fn undo_leaves_alone_what_somebody_else_changed() {
    for (now, wanted) in [(maint("a"), None), (server("a"), None), (weightless("a"), None)] {
        assert_eq!(undo_of_maint(now), wanted);
    }
    let drained = ServerObs { admin: AdminState(AdminState::FDRAIN), ..server("a") };
    assert_eq!(undo_of_maint(drained), Some(Judgement::Refuse));
}

fn undo_of_maint(now: ServerObs) -> Option<Judgement> {
    let mut world = world(vec![vec![pool("app", vec![now, server("b")])]]);
    world.give_back.push(GiveBack {
        node: "lb1".into(),
        target: Target::Server(ServerRef::new("app", "a")),
        change: Change::Maint,
        inverse: vec![Change::Ready],
        journal: None,
        lease: None,
        kept_by: None,
    });
    let plan = world.plan(request(Verb::Undo { operation: 1 }, &[])).unwrap();
    guard(&plan, "changed").iter().map(|v| v.judgement).max()
}

#[test]
fn what_is_dangerous_wants_typing_and_a_policy_cannot_spare_it() {
    let busy = ServerObs { used_conns: Some(3), ..server("a") };
    let mut world = world(vec![vec![pool("app", vec![busy, server("b")])]]);
    let level = |world: &World, change| world.plan(request(Verb::Server(change), &["app/a"])).unwrap().confirm;
    assert_eq!(level(&world, Change::Maint), ConfirmLevel::Ask);
    assert_eq!(level(&world, Change::KillSessions), ConfirmLevel::Typed);
    assert_eq!(level(&world, Change::Ready), ConfirmLevel::None, "nothing to send");
    let mut lax = policy(MinHealthy::Count(1));
    lax.confirm = Some(ConfirmLevel::None);
    world.fleet.policies.push(lax);
    assert_eq!(level(&world, Change::Maint), ConfirmLevel::None);
    assert_eq!(level(&world, Change::RemoveServer), ConfirmLevel::Typed);
    let mut forced = request(Verb::Server(Change::Maint), &["app/a"]);
    forced.force = true;
    assert_eq!(world.plan(forced).unwrap().confirm, ConfirmLevel::Typed);
}

#[derive(Clone, Debug)]
struct Act {
    change: Change,
    servers: Vec<usize>,
    node: Option<usize>,
    force: bool,
    /// What happens to a server by itself before the act: it goes down or comes up.
    flips: Option<(usize, usize)>,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let change = prop_oneof![
        Just(Change::Drain),
        Just(Change::Maint),
        Just(Change::Ready),
        Just(Change::RemoveServer),
        Just(Change::Weight(Weight::Absolute(0))),
        Just(Change::Weight(Weight::Absolute(50))),
    ];
    let act = (
        change,
        prop::collection::vec(0..4usize, 1..4),
        prop::option::of(0..3usize),
        any::<bool>(),
        prop::option::of((0..3usize, 0..4usize)),
    )
        .prop_map(|(change, servers, node, force, flips)| Act { change, servers, node, force, flips });
    prop::collection::vec(act, 1..30)
}

fn serving(world: &World, node: usize) -> usize {
    world.view.nodes[node].last.as_ref().and_then(|o| o.pool("app")).map_or(0, |p| p.serving())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is asked, forced and typed, and whatever fails by itself in between: lbdeck never brings a pool that
    /// serves on a node to one that does not.
    #[test]
    fn no_sequence_of_plans_takes_the_last_healthy_server_out(acts in acts()) {
        let names = ["a", "b", "c", "d"];
        let servers = || vec![server("a"), server("b"), server("c"), ServerObs { backup: true, ..server("d") }];
        let mut world = world((0..3).map(|_| vec![pool("app", servers())]).collect());
        for act in acts {
            if let Some((node, index)) = act.flips
                && let Some(server) = world.pools(node)[0].servers.get_mut(index)
            {
                let word = if server.status.is_healthy() { StatusWord::Down } else { StatusWord::Up };
                server.status = ServerStatus::of(word);
            }
            let asked: Vec<String> = act.servers.iter().map(|i| format!("app/{}", names[*i])).collect();
            let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            let mut wanted = request(Verb::Server(act.change.clone()), &asked);
            wanted.force = act.force;
            wanted.selector.nodes = act.node.map(|n| format!("lb{}", n + 1)).into_iter().collect();
            // Servers that were removed earlier cannot be asked for any more.
            let Ok(plan) = world.plan(wanted) else { continue };
            let word = plan.confirm_word.clone();
            let Ok(approved) = approve(plan, Approval::Typed(word), &world.fleet) else { continue };
            let before: Vec<usize> = (0..3).map(|n| serving(&world, n)).collect();
            world.obey(approved.plan());
            for (node, before) in before.into_iter().enumerate() {
                prop_assert!(before == 0 || serving(&world, node) > 0, "{:?} on lb{}", act, node + 1);
            }
        }
    }
}

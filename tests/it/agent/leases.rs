//! Leases of any engine of the node come back at their end although the console that made them was killed.

use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::app::App;
use crate::support::fleet::Fleet;
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::wait;

pub const LONG: Duration = Duration::from_secs(30);

/// A haproxy whose locks lie where the agent looks.
fn site(agent: &Agent) -> (Vec<App>, Haproxy, Fleet) {
    let apps: Vec<App> = ["web1", "web2", "web3"].iter().map(|name| App::start(name)).collect();
    let pool = apps.iter().fold(Pool::new("web"), |pool, app| pool.server(&app.name, app.addr, ""));
    let haproxy = Haproxy::builder().pool(pool).start();
    let fleet = Fleet::new().local_with_locks("lb1", &haproxy.socket(), &agent.lock_dir());
    (apps, haproxy, fleet)
}

#[test]
fn a_lease_on_haproxy_is_given_back_when_its_console_was_killed() {
    let agent = Agent::idle();
    let (_apps, haproxy, fleet) = site(&agent);
    // A drain that waits for a request which does not end: the console is killed in the middle of it.
    let held = crate::support::app::HeldRequest::open(haproxy.frontend("web"));
    let serving = |name: &str| haproxy.stat("web", name, "scur") != "0";
    let busy = ["web1", "web2", "web3"].into_iter().find(|name| serving(name)).unwrap();
    let target = format!("web/{busy}");
    let console = fleet.spawn(&["server", "drain", &target, "--for", "3s", "--deadline", "60s", "--yes", "--reason", "kernel"]);
    wait::until("the drain", LONG, || (haproxy.stat("web", busy, "status") == "DRAIN").then_some(()));
    console.kill();
    let lease = wait::until("the agent to see the lease", LONG, || agent.get("/v1/leases").as_array().unwrap().first().cloned());
    assert_eq!((&lease["change"], &lease["reason"]), (&"drain".into(), &"kernel".into()), "{lease}");
    assert!(lease["engine"].as_str().unwrap().starts_with("haproxy:/"));
    wait::until("the server to come back", LONG, || (haproxy.stat("web", busy, "status") != "DRAIN").then_some(()));
    wait::until("the lease to be closed", LONG, || agent.get("/v1/leases").as_array().unwrap().is_empty().then_some(()));
    let left: Vec<_> = std::fs::read_dir(agent.lock_dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().ends_with(".lease")), "{left:?}");
    let events = agent.get("/v1/events");
    let told =
        events.as_array().unwrap().iter().any(|e| e["kind"] == "lease" && e["text"].as_str().unwrap().contains("given back"));
    assert!(told, "{events}\n{}", agent.log());
    drop(held);
}

#[test]
fn a_lease_is_given_back_early_by_the_api_and_survives_an_upgrade_until_then() {
    let mut agent = Agent::idle();
    let (_apps, haproxy, fleet) = site(&agent);
    fleet.run(&["server", "drain", "web/web1", "--for", "1h", "--yes", "--reason", "kernel"]).exits(0);
    agent.upgrade();
    let lease = wait::until("the lease", LONG, || agent.get("/v1/leases").as_array().unwrap().first().cloned());
    let left = lease["left_s"].as_u64().unwrap();
    assert!((3500..=3605).contains(&left), "{lease}");
    let id = lease["id"].as_str().unwrap();
    agent.json("POST", &format!("/v1/leases/{id}/return"), "");
    assert_ne!(haproxy.stat("web", "web1", "status"), "DRAIN");
    // The console's own store learns of it.
    fleet.run(&["lease", "list", "-o", "json"]).exits(0).says("[]");
}

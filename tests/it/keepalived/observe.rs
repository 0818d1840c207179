//! Who holds the VIP, and what keepalived says of it.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::can_run;
use crate::support::directors::{Directors, VIP, end_keepalived};
use crate::support::fleet::Fleet;
use crate::support::prober::{Prober, cost_nothing};
use crate::support::wait::until;

fn vip(fleet: &Fleet) -> Value {
    fleet.run(&["vip", "list", "-o", "json"]).exits(0).json()["items"][0].clone()
}

#[test]
fn the_owner_is_what_the_interface_says() {
    if !can_run("keepalived::observe::the_owner_is_what_the_interface_says") {
        return;
    }
    let mut directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    let seen = vip(&fleet);
    assert_eq!((&seen["address"], &seen["state"], &seen["home"]), (&VIP.into(), &"ok".into(), &"lb1".into()), "{seen}");
    assert_eq!(seen["owners"], serde_json::json!(["lb1"]));
    let states: Vec<&str> = seen["nodes"].as_array().unwrap().iter().map(|n| n["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["master", "backup"]);

    let shown = fleet.run(&["vip", "show", VIP, "-o", "json"]).exits(0).json();
    let lb1 = &shown["items"][0];
    assert_eq!((&lb1["told_by"], &lb1["version"]), (&"json".into(), &env_version().into()));
    let instance = &lb1["instance"];
    assert_eq!(
        (&instance["name"], &instance["effective_priority"], &instance["vrid"]),
        (&"VI_1".into(), &150.into(), &51.into())
    );
    assert_eq!(instance["track_files"][0]["status"], "writable");
    assert_eq!(instance["track_files"][0]["value"], 0);
    assert!(instance["counters"]["became_master"].as_u64().unwrap() >= 1 && instance["last_transition"].is_string());
    assert!(!shown.to_string().contains("s3cret"), "passwords are never shown");
    fleet.run(&["vip", "show", VIP]).exits(0).says("carries it: eth0").says("MASTER, priority 150").says("planned");

    // The VIP goes over when keepalived stops; who holds it changes with it.
    directors.d_mut(1).stop_keepalived();
    directors.wait_for_owner(2);
    assert_eq!(vip(&fleet)["owners"], serde_json::json!(["lb2"]));
    fleet.run(&["vip", "show", "10.9.9.9"]).exits(2).says("no keepalived of the selected nodes has the VIP");
}

/// The version of the keepalived that is installed here.
fn env_version() -> String {
    let said = std::process::Command::new("keepalived").arg("-v").output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    text.split_whitespace().nth(1).unwrap().trim_start_matches('v').to_owned()
}

#[test]
fn a_daemon_that_does_not_answer_and_one_that_is_not_alone() {
    if !can_run("keepalived::observe::a_daemon_that_does_not_answer_and_one_that_is_not_alone") {
        return;
    }
    let directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    // Frozen: the signal is taken and nothing comes; the interfaces tell nonetheless.
    kill(directors.d(2).vrrp_pid(), Signal::SIGSTOP).unwrap();
    kill(directors.d(2).keepalived_pid(), Signal::SIGSTOP).unwrap();
    let ran = fleet.run(&["vip", "show", VIP]).exits(0);
    kill(directors.d(2).keepalived_pid(), Signal::SIGCONT).unwrap();
    kill(directors.d(2).vrrp_pid(), Signal::SIGCONT).unwrap();
    ran.says("does not answer signal").says("carries it: eth0");

    let conf = directors.d(1).dir().join("second.conf");
    std::fs::write(&conf, "global_defs {\n router_id x\n}\n").unwrap();
    let second = directors.d(1).spawn_keepalived("second", &conf);
    let seen = fleet.run(&["vip", "show", VIP, "-o", "json"]).exits(0).json();
    end_keepalived(second);
    assert_eq!(seen["items"][0]["instance"]["state"], "master", "{seen}");
}

#[test]
fn two_owners_are_a_split_brain_and_what_cannot_be_read_is_said() {
    if !can_run("keepalived::observe::two_owners_are_a_split_brain_and_what_cannot_be_read_is_said") {
        return;
    }
    let mut directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    // SIGKILL leaves the VIP where it is, and the other takes it too.
    directors.d_mut(1).kill_keepalived();
    until("both carry the VIP", Duration::from_secs(20), || (directors.owners() == [1, 2]).then_some(()));
    let seen = vip(&fleet);
    assert_eq!((&seen["state"], &seen["owners"]), (&"split brain".into(), &serde_json::json!(["lb1", "lb2"])), "{seen}");
    fleet.run(&["vip", "list"]).exits(0).says("split brain").says("lb1 (keepalived did not tell) 150 on eth0");

    // haproxy's end is not keepalived's: the VIP is told all the same.
    directors.d_mut(2).stop_haproxy();
    assert_eq!(vip(&fleet)["owners"], serde_json::json!(["lb1", "lb2"]));
    directors.d_mut(2).start_haproxy();
    directors.d_mut(2).stop_sshd();
    fleet.run(&["vip", "list"]).exits(1).says("lb2").says("10.77.0.12");
}

#[test]
fn a_weighted_track_file_moves_the_vip_at_no_cost() {
    if !can_run("keepalived::observe::a_weighted_track_file_moves_the_vip_at_no_cost") {
        return;
    }
    let directors = Directors::start();
    directors.wait_for_owner(1);
    let prober = Prober::start(&directors.client, format!("{VIP}:80").parse().unwrap(), Duration::from_millis(5));
    std::fs::write(directors.d(1).track_file(), "-100\n").unwrap();
    directors.wait_for_owner(2);
    let probes = prober.stop();
    assert!(probes.len() > 10, "{}", probes.len());
    cost_nothing(&probes);
    let (first, last) = (probes.first().unwrap(), probes.last().unwrap());
    assert_eq!((first.answer.as_deref(), first.at < last.at), (Ok("d1"), true));
}

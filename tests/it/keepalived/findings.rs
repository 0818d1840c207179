//! What is wrong is named, with the remedy.

use std::time::{Duration, Instant};

use super::can_run;
use crate::support::directors::{Conf, Directors, VIP, end_keepalived};
use crate::support::fleet::Fleet;
use crate::support::wait::until;

#[test]
fn a_split_brain_is_named_soon() {
    if !can_run("keepalived::findings::a_split_brain_is_named_soon") {
        return;
    }
    let directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    // Advertisements are dropped on the way out: lb2 hears nobody any more.
    directors.d(1).ns.run(&[
        "nft",
        "add table ip t; add chain ip t o { type filter hook output priority 0; }; add rule ip t o ip protocol 112 drop",
    ]);
    until("a second owner appears", Duration::from_secs(30), || (directors.owners() == [1, 2]).then_some(()));
    let since = Instant::now();
    let named = until("it is named", Duration::from_secs(30), || {
        let ran = fleet.run(&["status"]);
        ran.stdout.contains("split brain").then_some(ran)
    });
    // The bar is 2 s, the start of a process included; a busy machine may be slower, and says so.
    eprintln!("named {} ms after the second owner appeared", since.elapsed().as_millis());
    named.says("lb1 (eth0) and lb2 (eth0) carry it at once").says("IP protocol 112");
}

#[test]
fn peers_that_differ_files_that_miss_and_daemons_too_many() {
    if !can_run("keepalived::findings::peers_that_differ_files_that_miss_and_daemons_too_many") {
        return;
    }
    let mut directors =
        Directors::with(|n| Conf { extra: if n == 2 { "nopreempt".into() } else { String::new() }, ..Conf::of(n) });
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_one_owner();
    std::fs::remove_file(directors.d(1).track_file()).unwrap();
    std::fs::set_permissions(directors.d(2).track_file(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let conf = directors.d(1).dir().join("second.conf");
    std::fs::write(&conf, "global_defs {\n router_id x\n}\n").unwrap();
    let second = directors.d(1).spawn_keepalived("second", &conf);
    let status = fleet.run(&["status"]).exits(0);
    end_keepalived(second);
    let status = status.says("2 keepalived run").says("nopreempt").says("is missing");
    // nopreempt on the peer: the next best way, and its cost.
    let status = status.says("echo 0 > ");
    assert!(!status.stdout.contains("split brain"), "{}", status.stdout);
    fleet.run(&["vip", "failover", VIP, "--dry-run"]).exits(5).says("has nopreempt");

    // The address on another interface than the configuration says.
    let owner = directors.wait_for_one_owner();
    directors.d_mut(owner).stop_keepalived();
    let other = directors.wait_for_one_owner();
    let d = directors.d(other);
    d.ns.ip(&["addr", "del", &format!("{VIP}/24"), "dev", "eth0"]);
    d.ns.ip(&["addr", "add", &format!("{VIP}/32"), "dev", "lo"]);
    fleet.run(&["status"]).exits(0).says("keepalived does not run").says("carries it on lo");
}

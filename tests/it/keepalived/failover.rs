//! VIPs moved on purpose, and what stands against it.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::can_run;
use crate::support::directors::{Conf, Directors, VIP};
use crate::support::fleet::Fleet;
use crate::support::prober::{Prober, cost_nothing};
use crate::support::wait::until;

fn probing(directors: &Directors) -> Prober {
    Prober::start(&directors.client, format!("{VIP}:80").parse().unwrap(), Duration::from_millis(5))
}

#[test]
fn over_and_back_at_no_cost() {
    if !can_run("keepalived::failover::over_and_back_at_no_cost") {
        return;
    }
    let directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    let track = directors.d(1).track_file();
    // The plan says exactly what would be sent, and nothing is.
    let plan = fleet.run(&["vip", "failover", VIP, "--dry-run"]).exits(0);
    plan.says(&format!("lb1> tee -- {} <<< \"-60\\n\"", track.display())).says("no outage is expected");
    assert_eq!((std::fs::read_to_string(&track).unwrap().as_str(), directors.owners().as_slice()), ("0\n", &[1][..]));
    fleet.run(&["vip", "failover", VIP]).exits(5).says("--yes");

    let prober = probing(&directors);
    let ran = fleet.run(&["vip", "failover", VIP, "--yes", "--reason", "kernel"]).exits(0);
    ran.says("lb2 alone carries 10.77.0.100").says("10.77.0.100:80: HTTP 200").says("vip failback");
    assert_eq!(directors.owners(), [2]);
    fleet.run(&["vip", "failover", VIP, "--to", "lb2", "--yes"]).exits(0).says("is on lb2 already");
    fleet.run(&["status"]).exits(0).says("held down by the track file").says("node return lb1");
    fleet.run(&["vip", "failback", VIP, "--yes"]).exits(0).says("lb1 alone carries");
    let probes = prober.stop();
    assert_eq!(directors.owners(), [1]);
    cost_nothing(&probes);
    let answers: Vec<&str> = probes.iter().filter_map(|p| p.answer.as_deref().ok()).collect();
    assert!(answers.contains(&"d1") && answers.contains(&"d2"), "both served");
    fleet.run(&["audit"]).exits(0).says("fail over 10.77.0.100 from lb1 to lb2").says("kernel");
}

#[test]
fn a_whole_node_out_of_service_and_back() {
    if !can_run("keepalived::failover::a_whole_node_out_of_service_and_back") {
        return;
    }
    let directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    // A connection to the node itself is not moved: it is watched.
    let mut client = directors.client.command("bash");
    let talk = format!("exec 3<>/dev/tcp/{}/80; read -r -t 60 line <&3", directors.d(1).address());
    let mut client = client.args(["-c", &talk]).spawn().unwrap();
    let sessions = || fleet.run(&["frontend", "list", "--node", "lb1", "-o", "json"]).json()["items"][0]["sessions"].as_u64();
    until("the connection is there", Duration::from_secs(10), || (sessions() == Some(1)).then_some(()));
    let ran = fleet.run(&["node", "drain", "lb1", "--deadline", "1s", "--yes"]).exits(1);
    ran.says("1 sessions are left").says("not yet safe to reboot");
    assert_eq!(directors.owners(), [2]);
    client.kill().unwrap();
    client.wait().unwrap();
    fleet.run(&["node", "drain", "lb1", "--yes"]).exits(0).says("safe to reboot");
    fleet.run(&["node", "return", "lb1", "--yes"]).exits(0).says("lb1 alone carries");
    fleet.run(&["node", "return", "lb1", "--yes"]).exits(0).says("no track file holds lb1 down");
    fleet.run(&["node", "drain", "nosuch", "--yes"]).exits(2).says("no node is called 'nosuch'");
}

#[test]
fn without_a_track_file_the_plan_says_what_it_costs_and_can_add_one() {
    if !can_run("keepalived::failover::without_a_track_file_the_plan_says_what_it_costs_and_can_add_one") {
        return;
    }
    let directors = Directors::with(|n| Conf { track_file: false, ..Conf::of(n) });
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    let plan = fleet.run(&["vip", "failover", VIP, "--dry-run"]).exits(5);
    plan.says("about 609 ms without an owner").says("--add-track-file").says("runs in no systemd unit");
    let before = std::fs::read_to_string(directors.d(1).conf()).unwrap();
    let add = ["vip", "failover", VIP, "--add-track-file"];
    fleet.run(&[&add[..], &["--dry-run"]].concat()).exits(0).says("+ vrrp_track_file lbdeck_planned {").says("keepalived -t -f");
    assert_eq!(std::fs::read_to_string(directors.d(1).conf()).unwrap(), before);
    // Configurations are changed: that has to be typed.
    fleet.run(&[&add[..], &["--yes"]].concat()).exits(5).says("--confirm");

    let prober = probing(&directors);
    fleet.run(&[&add[..], &["--confirm", VIP]].concat()).exits(0).says("lb2 alone carries");
    let after = std::fs::read_to_string(directors.d(1).conf()).unwrap();
    let mut lines = after.lines();
    assert!(before.lines().all(|line| lines.any(|l| l == line)), "only lines are added:\n{after}");
    let kept = std::fs::read_dir(directors.d(1).dir()).unwrap().flatten().find(|e| {
        let name = e.file_name().into_string().unwrap();
        name.starts_with("keepalived.conf.lbdeck-2")
    });
    assert_eq!(std::fs::read_to_string(kept.expect("the old file is kept").path()).unwrap(), before);
    // From now on it costs nothing, both ways.
    fleet.run(&["vip", "failback", VIP, "--yes"]).exits(0).says("lb1 alone carries");
    cost_nothing(&prober.stop());
}

#[test]
fn what_stands_against_a_move() {
    if !can_run("keepalived::failover::what_stands_against_a_move") {
        return;
    }
    let mut directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    let fail = ["vip", "failover", VIP, "--yes"];
    fleet.run(&["vip", "failover", "10.9.9.9", "--yes"]).exits(2).says("no keepalived of the fleet has the VIP");
    fleet.run(&["vip", "failover", VIP, "--to", "lb9", "--yes"]).exits(2).says("lb9 has no instance for");
    // The peer does not serve.
    directors.d_mut(2).stop_haproxy();
    fleet.run(&fail).exits(5).says("the engine of lb2 cannot be read");
    fleet.run(&["vip", "failover", VIP, "--dry-run"]).exits(5).says("nothing listens there on lb2");
    directors.d_mut(2).start_haproxy();
    // A deploy runs.
    let marker = fleet.locks().join("d2").join("deploy");
    std::fs::create_dir_all(marker.parent().unwrap()).unwrap();
    std::fs::write(&marker, "release 7\n").unwrap();
    fleet.run(&fail).exits(75).says("a deploy runs (release 7)");
    std::fs::remove_file(&marker).unwrap();
    // A drill, or another operator, has the node.
    assert_eq!(directors.owners(), [1]);
    // Other words for the peer: it would not hear.
    directors.d(2).write_conf(&Conf { pass: "other", ..Conf::of(2) });
    kill(directors.d(2).keepalived_pid(), Signal::SIGHUP).unwrap();
    until("both own it", Duration::from_secs(20), || (directors.owners() == [1, 2]).then_some(()));
    fleet.run(&fail).exits(2).says("a split brain is not moved");
    let told = fleet.run(&["status"]).exits(0);
    told.says("split brain: 10.77.0.100: lb1 (eth0) and lb2 (eth0) carry it at once")
        .says("differ in auth_pass")
        .says("write the same auth_pass");
}

#[test]
fn the_peer_dies_during_the_failover() {
    if !can_run("keepalived::failover::the_peer_dies_during_the_failover") {
        return;
    }
    let mut directors = Directors::start();
    let fleet = Fleet::new().directors(&directors);
    directors.wait_for_owner(1);
    let track = directors.d(1).track_file();
    let running = fleet.spawn(&["vip", "failover", VIP, "--yes"]);
    until("the priority is lowered", Duration::from_secs(20), || {
        (std::fs::read_to_string(&track).unwrap() == "-60\n").then_some(())
    });
    directors.d_mut(2).stop_keepalived();
    let ran = running.finish().exits(3);
    ran.says("keepalived on lb2 has ended").says("lb1 carries it");
    assert_eq!((std::fs::read_to_string(&track).unwrap().as_str(), directors.owners().as_slice()), ("0\n", &[1][..]));
}

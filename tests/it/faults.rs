//! The faults that an on-call engineer meets, each met by the whole program as a script would run it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::app::{App, HeldRequest};
use crate::support::disk::SmallDisk;
use crate::support::fleet::Fleet;
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::meddler::{Meddler, Meddling};
use crate::support::sshd::Sshd;
use crate::support::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// `web` with three servers on three applications.
fn web() -> (Haproxy, Vec<App>) {
    let apps: Vec<App> = (1..=3).map(|i| App::start(&format!("app{i}"))).collect();
    let pool = apps
        .iter()
        .enumerate()
        .fold(Pool::new("web").balance("leastconn"), |pool, (i, app)| pool.server(&format!("s{}", i + 1), app.addr, ""));
    (Haproxy::builder().master_worker().pool(pool).start(), apps)
}

fn status_of(haproxy: &Haproxy, server: &str) -> String {
    haproxy.stat("web", server, "status")
}

/// Opens held requests until `server` holds one; gives all of them.
fn hold(haproxy: &Haproxy, server: &str) -> Vec<HeldRequest> {
    let mut held = Vec::new();
    while haproxy.stat("web", server, "scur") == "0" {
        assert!(held.len() < 20, "{server} gets no request");
        held.push(HeldRequest::open(haproxy.frontend("web")));
    }
    held
}

#[test]
fn a_socket_that_never_answers_delays_nobody_for_longer_than_the_timeout() {
    let (good, _apps) = web();
    let silent = Meddler::before(&good.socket(), Meddling::Silence);
    let fleet = Fleet::new().local("good", &good).local_socket("mute", &silent.socket(), None);
    let began = Instant::now();
    let ran = fleet.run(&["status", "--timeout", "1s"]).exits(1).says("mute").says("no answer within 1s");
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert!(ran.said().contains("2.6"), "the other node is shown: {}", ran.said());
}

#[test]
fn a_reply_without_end_is_cut_off_and_named() {
    let (good, _apps) = web();
    let flood = Meddler::before(&good.socket(), Meddling::Flood(100 << 20));
    let fleet = Fleet::new().local_socket("flood", &flood.socket(), None);
    fleet.run(&["status"]).exits(1).says("flood").says("more than 67108864 bytes");
}

#[test]
fn truncated_replies_are_an_error_and_no_half_picture() {
    let (good, _apps) = web();
    for bytes in [0, 40, 900, 2500] {
        let cut = Meddler::before(&good.socket(), Meddling::Cut(bytes));
        let fleet = Fleet::new().local_socket("cut", &cut.socket(), None);
        let ran = fleet.run(&["server", "list", "-o", "json"]).exits(1);
        assert_eq!(ran.json()["items"].as_array().map(Vec::len), Some(0), "after {bytes} bytes: {}", ran.stdout);
        assert!(ran.said().contains("cut"), "the node is named: {}", ran.said());
    }
}

#[test]
fn columns_of_a_future_version_are_kept_by_name() {
    let (good, _apps) = web();
    let future = Meddler::before(&good.socket(), Meddling::Replace(",eint,", ",mystery,"));
    let fleet = Fleet::new().local_socket("lb1", &future.socket(), None);
    fleet.run(&["server", "show", "web/s1", "-o", "json"]).exits(0).says("mystery");
}

#[test]
fn escape_sequences_from_a_node_reach_no_terminal() {
    let (good, _apps) = web();
    let hostile = Meddler::before(&good.socket(), Meddling::Replace(",s1,", ",s1\u{1b}[2J\u{202e},"));
    let fleet = Fleet::new().local_socket("lb1", &hostile.socket(), None);
    for format in ["table", "wide", "json", "yaml", "csv"] {
        let ran = fleet.run(&["server", "list", "-o", format]);
        assert!(!ran.said().contains(['\u{1b}', '\u{202e}']), "{format}: {:?}", ran.said());
        assert!(ran.stdout.contains("s1"), "{format}: {}", ran.stdout);
    }
}

#[test]
fn permission_denied_is_named_with_its_remedy() {
    if !nix::unistd::Uid::effective().is_root() {
        crate::support::skip("faults::permission_denied_is_named_with_its_remedy", "needs root, to become somebody else");
        return;
    }
    let (good, _apps) = web();
    fs::set_permissions(good.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(good.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    let fleet = Fleet::new().local("lb1", &good);
    // Somebody else needs a program and a fleet file that he can read, and a state folder of his own.
    let room = tempfile::tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = room.path().join("lbdeck");
    fs::copy(env!("CARGO_BIN_EXE_lbdeck"), &program).unwrap();
    let file = room.path().join("lbdeck.yaml");
    fs::copy(fleet.file(), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for words in [&["status"][..], &["server", "maint", "web/s1", "--yes"], &["server", "drain", "web/s1", "--yes"]] {
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .arg("--fleet")
            .arg(&file)
            .args(words)
            .env("LBDECK_STATE", room.path().join("state"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains("permission denied") && said.contains("hint:"), "{words:?}: {said}");
    }
    assert_eq!(status_of(&good, "s1"), "no check", "nothing was sent");
}

#[test]
fn a_user_level_socket_shows_and_changes_nothing() {
    let (haproxy, _apps) = web();
    let fleet = Fleet::new().local_socket("lb1", &haproxy.user_socket(), None);
    fleet.run(&["server", "list"]).exits(0).says("s1");
    let ran = fleet.run(&["server", "drain", "web/s1", "--yes", "--reason", "test", "--deadline", "5s"]);
    assert!(matches!(ran.code, Some(1 | 5)), "{ran:?}");
    assert!(ran.said().contains("level"), "{}", ran.said());
    assert_eq!(status_of(&haproxy, "s1"), "no check");
}

#[test]
fn unknown_and_changed_host_keys_are_refused_in_words() {
    let (haproxy, _apps) = web();
    let sshd = Sshd::start();
    let known_hosts = sshd.dir().join("known_hosts");
    fs::write(&known_hosts, "").unwrap();
    let fleet = Fleet::new().ssh("lb1", &sshd, &haproxy.socket());
    fleet.run(&["status"]).exits(1).says("host key is not known").says("ssh-keyscan");
    let other = Sshd::start();
    fs::write(&known_hosts, format!("[127.0.0.1]:{} {}\n", sshd.port(), other.host_key())).unwrap();
    fleet.run(&["status"]).exits(1).says("host key has changed").says("ssh-keygen -R");
    fs::write(&known_hosts, sshd.known_hosts_line()).unwrap();
    fleet.run(&["status"]).exits(0);
}

#[test]
fn a_jump_host_that_is_down_is_named() {
    let (haproxy, _apps) = web();
    let sshd = Sshd::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fleet = Fleet::new().ssh("lb1", &sshd, &haproxy.socket());
    let text = fs::read_to_string(fleet.file()).unwrap();
    let path = fleet.state().with_file_name("jump.yaml");
    fs::write(&path, text.replace("ssh: {", &format!("ssh: {{proxy_jump: \"127.0.0.1:{closed}\", "))).unwrap();
    fleet.run(&["status", "--fleet", path.to_str().unwrap()]).exits(1).says(&format!("127.0.0.1:{closed}"));
}

#[test]
fn the_last_healthy_server_stays() {
    let (haproxy, _apps) = web();
    let fleet = Fleet::new().local("lb1", &haproxy);
    let drain = |server: &str| fleet.run(&["server", "drain", server, "--yes", "--reason", "test", "--deadline", "10s"]);
    drain("web/s1").exits(0);
    drain("web/s2").exits(0);
    drain("web/s3").exits(5).says("last");
    fleet
        .run(&["server", "maint", "web/s3", "--yes", "--force", "--confirm", "web/s3", "--reason", "test"])
        .exits(5)
        .says("last");
    assert_eq!(status_of(&haproxy, "s3"), "no check");
    assert_eq!(status_of(&haproxy, "s1"), "DRAIN");
}

#[test]
fn a_drain_that_was_killed_is_remembered_and_can_be_given_back() {
    let (haproxy, _apps) = web();
    let fleet = Fleet::new().local("lb1", &haproxy);
    let _held = hold(&haproxy, "s1");
    let drain = fleet.spawn(&["server", "drain", "web/s1", "--yes", "--reason", "disk swap"]);
    until("s1 drains", PATIENCE, || (status_of(&haproxy, "s1") == "DRAIN").then_some(()));
    drain.kill();
    let ran = fleet.run(&["status"]).says("web/s1").says("disk swap").says("undo");
    let number = ran
        .said()
        .split("lbdeck undo ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().map(str::to_owned))
        .unwrap_or_else(|| panic!("no command that returns it in {}", ran.said()));
    fleet.run(&["undo", &number, "--yes"]).exits(0);
    assert_eq!(status_of(&haproxy, "s1"), "no check");
    let after = fleet.run(&["status"]).exits(0);
    assert!(!after.said().contains("disk swap"), "{}", after.said());
}

#[test]
fn two_operators_cannot_act_on_one_pool_at_once() {
    let (haproxy, _apps) = web();
    let fleet = Fleet::new().local("lb1", &haproxy);
    let _held = hold(&haproxy, "s1");
    let first = fleet.spawn(&["server", "drain", "web/s1", "--yes", "--reason", "first comes", "--deadline", "60s"]);
    until("s1 drains", PATIENCE, || (status_of(&haproxy, "s1") == "DRAIN").then_some(()));
    let elsewhere = fleet.state().with_file_name("state-of-another-machine");
    let output = fleet.command_as(&elsewhere, &["server", "maint", "web/s2", "--yes", "--reason", "second"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("first comes"), "the reason of who holds it is told: {said}");
    assert_eq!(status_of(&haproxy, "s2"), "no check");
    first.signal(Signal::SIGINT);
    first.finish().exits(1).says("undo");
    let output = fleet.command_as(&elsewhere, &["server", "maint", "web/s2", "--yes", "--reason", "second"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_reload_in_the_middle_of_a_drain_is_noticed_and_the_server_drained_again() {
    let (mut haproxy, apps) = web();
    let fleet = Fleet::new().local("lb1", &haproxy);
    let held = hold(&haproxy, "s1");
    let drain = fleet.spawn(&["server", "drain", "web/s1", "--yes", "--reason", "test", "--deadline", "60s"]);
    until("s1 drains", PATIENCE, || (status_of(&haproxy, "s1") == "DRAIN").then_some(()));
    haproxy.reload();
    until("s1 drains again after the reload", PATIENCE, || (status_of(&haproxy, "s1") == "DRAIN").then_some(()));
    apps.iter().for_each(App::release);
    // The process from before the reload ends with its last client; until then nothing is proven.
    drop(held);
    drain.finish().exits(0).says("reload");
}

#[test]
fn an_engine_that_dies_in_the_middle_is_not_drained() {
    let (first, _apps) = web();
    let (mut second, _others) = web();
    let fleet = Fleet::new().local("lb1", &first).local("lb2", &second).with("settings: {timeout: 1s}");
    let _held = (hold(&first, "s1"), hold(&second, "s1"));
    let drain = fleet.spawn(&["server", "drain", "web/s1", "--yes", "--reason", "test", "--deadline", "4s"]);
    until("both drain", PATIENCE, || [&first, &second].iter().all(|h| status_of(h, "s1") == "DRAIN").then_some(()));
    second.crash();
    drain.finish().exits(1).says("lb2").says("lb1");
}

#[test]
fn a_full_disk_under_the_store_stops_changes_and_not_looking() {
    if !nix::unistd::Uid::effective().is_root() {
        crate::support::skip(
            "faults::a_full_disk_under_the_store_stops_changes_and_not_looking",
            "needs root, to mount a small disk",
        );
        return;
    }
    let (haproxy, _apps) = web();
    let fleet = Fleet::new().local("lb1", &haproxy);
    let _disk = SmallDisk::at(&fleet.state(), "16k");
    fs::write(fleet.state().join("ballast"), vec![0u8; 15 << 10]).unwrap();
    fleet.run(&["status"]).says("1 fresh");
    let ran = fleet.run(&["server", "drain", "web/s1", "--yes", "--reason", "test", "--deadline", "5s"]).exits(1);
    assert!(ran.stderr.contains(fleet.state().to_str().unwrap()), "names the place: {}", ran.stderr);
    assert_eq!(status_of(&haproxy, "s1"), "no check", "nothing was sent");
}

#[test]
fn a_node_that_cannot_be_set_up_hides_no_other() {
    let (good, _apps) = web();
    let fleet = Fleet::new().local("good", &good).with(
        "  - name: odd\n    address: 127.0.0.1\n    engines: {haproxy: {stats: {url: \"https://127.0.0.1:1/stats\", ca_file: /no/such/ca.pem}}}",
    );
    fleet.run(&["status"]).exits(1).says("odd").says("/no/such/ca.pem").says("1 fresh");
}

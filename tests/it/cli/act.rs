//! Every change, looked at in haproxy itself afterwards; and what must not happen.

use std::time::Duration;

use super::Pair;
use crate::support::app::{HeldRequest, get};
use crate::support::haproxy::Haproxy;
use crate::support::wait;

/// What a dry run or a refusal must leave as it is.
fn state_of(pair: &Pair) -> Vec<String> {
    let seen = |lb: &Haproxy| {
        // Without the column that counts seconds.
        let lines = lb.cli("show servers state");
        lines
            .lines()
            .filter(|l| !l.starts_with('#'))
            .map(|l| l.split(' ').enumerate().filter(|(i, _)| *i != 9).map(|(_, w)| w).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    vec![seen(&pair.lb1), seen(&pair.lb2)]
}

/// Waits until so many clients have seen the end of their connection.
fn ended(held: &mut [HeldRequest], wanted: usize) {
    wait::until(&format!("{wanted} sessions end"), Duration::from_secs(5), || {
        (held.iter_mut().filter_map(|h| h.is_over().then_some(())).count() == wanted).then_some(())
    });
}

#[test]
fn a_dry_run_shows_the_bytes_and_sends_nothing() {
    let pair = Pair::start();
    let before = state_of(&pair);
    let ran = pair.fleet.run(&["server", "drain", "web/web1", "--dry-run", "--for", "1h", "--reason", "look"]).exits(0);
    assert_eq!(ran.stdout.matches("> set server web/web1 state drain").count(), 2, "{}", ran.stdout);
    for words in ["lb1: web/web1: drain", "given back by: ready", "lost on next reload", "reason: look", "1h00m"] {
        assert!(ran.stdout.contains(words), "{words} is missing in\n{}", ran.stdout);
    }
    assert!(ran.stderr.contains("nothing was sent"));
    let document = pair.fleet.run(&["server", "weight", "web/web1", "10%", "--dry-run", "-o", "json"]).exits(0).json();
    assert_eq!(document["kind"], "plan");
    assert_eq!(document["items"][0]["steps"][1]["commands"][0], "set server web/web1 weight 10%");
    assert_eq!(document["items"][0]["confirm"], "ask");
    pair.fleet.run(&["node", "exec", "lb1", "--dry-run", "--", "touch", "/tmp/a b"]).exits(0).says("touch '/tmp/a b'");
    assert_eq!(state_of(&pair), before);
    assert!(!pair.fleet.locks().exists(), "a dry run locks nothing");
    pair.fleet.run(&["audit"]).exits(0).says("no operations");
}

#[test]
fn without_a_terminal_nothing_dangerous_happens_unasked() {
    let pair = Pair::start();
    let _held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
    let before = state_of(&pair);
    pair.fleet.run(&["server", "drain", "web/web1", "--no-wait"]).exits(5).says("--yes");
    pair.fleet.run(&["server", "kill-sessions", "web/web1", "--yes"]).exits(5).says("--confirm 'web/web1'");
    pair.fleet.run(&["server", "kill-sessions", "web/web1", "--confirm", "web/web2"]).exits(5).says("web/web1");
    pair.fleet.run(&["frontend", "disable", "fe_web", "--yes"]).exits(5).says("--confirm 'fe_web'");
    pair.fleet.run(&["node", "exec", "--yes", "--", "true"]).exits(5).says("--confirm 'true'");
    pair.fleet.run(&["node", "exec", "lb1", "--", "true"]).exits(5).says("--yes");
    assert_eq!(state_of(&pair), before);
}

#[test]
fn a_guard_refuses_and_force_wants_the_word() {
    let pair = Pair::with("policies: [{pool: web, min_healthy: 3}]");
    let before = state_of(&pair);
    let drain = ["server", "drain", "web/web1", "--no-wait", "--yes"];
    pair.fleet.run(&drain).exits(5).says("min_healthy");
    pair.fleet.run(&["server", "drain", "web/web1", "--dry-run"]).exits(5).says("REFUSE");
    pair.fleet.run(&["server", "drain", "web/web1", "--no-wait", "--yes", "--force"]).exits(5).says("--confirm 'web/web1'");
    assert_eq!(state_of(&pair), before);
    pair.fleet.run(&["server", "drain", "web/web1", "--no-wait", "--force", "--confirm", "web/web1"]).exits(0);
    assert_eq!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);
}

#[test]
fn drain_and_ready() {
    let pair = Pair::start();
    let ran = pair.fleet.run(&["server", "drain", "web/web1", "--deadline", "20s", "--yes", "--reason", "test"]).exits(0);
    assert_eq!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
    assert!(ran.stdout.lines().skip(1).all(|l| l.contains("done")), "{}", ran.stdout);
    // Progress is talk: plain lines on stderr where there is no terminal.
    assert!(ran.stderr.contains("lb1: web/web1: drained"), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    let quiet = pair.fleet.run(&["-q", "server", "ready", "web/web1"]).exits(0);
    assert!(!quiet.stderr.contains("sent") && !quiet.stderr.contains("hint"), "{}", quiet.stderr);
    assert_ne!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);
}

#[test]
fn a_drain_waits_for_sessions_and_does_at_the_deadline_what_it_was_told() {
    let pair = Pair::start();
    let mut held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
    let of_web1 = || pair.lb1.stat("web", "web1", "scur");
    assert_eq!(of_web1(), "1");
    let document = pair
        .fleet
        .run(&["server", "drain", "web/web1", "--deadline", "1s", "--then", "fail", "--yes", "-o", "json", "--events"])
        .exits(1);
    let outcome = &document.json()["items"][0];
    assert_eq!((&outcome["exit"], &outcome["exit_code"]), (&"failed".into(), &1.into()));
    let of = |node: &str| outcome["nodes"].as_array().unwrap().iter().find(|n| n["node"] == node).unwrap()["result"].clone();
    assert_eq!((of("lb1"), of("lb2")), ("not_drained".into(), "done".into()));
    assert_eq!(of_web1(), "1");

    let events: Vec<serde_json::Value> =
        document.stderr.lines().filter(|l| l.starts_with('{')).map(|l| serde_json::from_str(l).unwrap()).collect();
    let named = |name: &str| events.iter().filter(|e| e["event"] == name).count();
    assert!(events.iter().all(|e| e["version"] == 1));
    assert!(
        named("started") == 1 && named("sent") >= 2 && named("deadline_reached") == 1 && named("finished") == 1,
        "{events:#?}"
    );

    pair.fleet.run(&["server", "drain", "web/web1", "--deadline", "1s", "--then", "kill", "--yes"]).exits(0);
    assert_eq!(of_web1(), "0");
    ended(&mut held, 1);
}

#[test]
fn every_change_of_a_server() {
    let pair = Pair::start();
    let run = |words: &[&str]| pair.fleet.run(words).exits(0);
    run(&["server", "maint", "web/web1", "--node", "lb1", "--yes"]);
    assert_eq!(pair.lb1.stat("web", "web1", "status"), "MAINT");
    assert_ne!(pair.lb2.stat("web", "web1", "status"), "MAINT");
    run(&["server", "ready", "web/web1"]);
    run(&["server", "weight", "web/web1", "50%", "--yes"]);
    assert_eq!(pair.stat("web1", "weight"), ["50", "50"]);
    run(&["server", "weight", "web/web1", "--node", "lb2", "7", "--yes"]);
    assert_eq!(pair.stat("web1", "weight"), ["50", "7"]);
    run(&["server", "maxconn", "web/web1", "33", "--yes"]);
    assert_eq!(pair.stat("web1", "slim"), ["33", "33"]);
    let elsewhere = pair.apps[2].addr.to_string();
    run(&["server", "address", "web/web1", &elsewhere, "--yes"]);
    assert_eq!(pair.stat("web1", "addr"), [elsewhere.clone(), elsewhere]);
}

#[test]
fn frontends_tables_and_servers_that_come_and_go() {
    let pair = Pair::start();
    let run = |words: &[&str]| pair.fleet.run(words).exits(0);
    run(&["frontend", "disable", "fe_api", "--node", "lb1", "--confirm", "fe_api"]);
    assert_eq!(get(pair.lb1.frontend("api"), "/"), "");
    run(&["frontend", "enable", "fe_api", "--node", "lb1"]);
    assert!(get(pair.lb1.frontend("api"), "/").contains("200"));

    get(pair.lb1.frontend("web"), "/");
    assert!(pair.lb1.cli("show table web").contains("everybody"));
    run(&["table", "clear", "web", "--key", "everybody", "--yes"]);
    assert!(!pair.lb1.cli("show table web").contains("everybody"));

    let address = pair.apps[0].addr.to_string();
    run(&["server", "add", "web/web9", &address, "--weight", "10", "--yes"]);
    assert_eq!(pair.stat("web9", "weight"), ["10", "10"]);
    pair.fleet.run(&["server", "show", "web/web9"]).exits(0).says("lost on reload");
    run(&["server", "remove", "web/web9", "--confirm", "web/web9"]);
    assert!(!pair.lb1.cli("show stat").contains("web9"));
}

#[test]
fn sessions_are_ended_one_by_one_and_all() {
    let pair = Pair::start();
    let mut held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
    let listed = pair.fleet.run(&["session", "list", "web/web2", "-o", "json"]).exits(0).json();
    let sessions = listed["items"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{listed}");
    assert_eq!((&sessions[0]["node"], &sessions[0]["server"]), (&"lb1".into(), &"web2".into()));
    let id = sessions[0]["id"].as_str().unwrap();
    pair.fleet.run(&["session", "kill", id]).exits(5);
    pair.fleet.run(&["session", "kill", id, "--confirm", "web/web2"]).exits(0);
    ended(&mut held, 1);
    pair.fleet.run(&["server", "kill-sessions", "web/*", "--confirm", "web"]).exits(0);
    ended(&mut held, 3);
}

#[test]
fn undo_gives_back_and_the_audit_remembers() {
    let pair = Pair::start();
    pair.fleet.run(&["server", "weight", "web/web1", "20", "--yes", "--reason", "canary"]).exits(0);
    assert_eq!(pair.stat("web1", "weight"), ["20", "20"]);
    pair.fleet.run(&["undo", "last", "--yes"]).exits(0);
    assert_eq!(pair.stat("web1", "weight"), ["100", "100"]);
    let audit = pair.fleet.run(&["audit", "-o", "json"]).exits(0).json();
    let items = audit["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{audit}");
    assert_eq!((&items[1]["reason"], &items[1]["exit"]), (&"canary".into(), &"ok".into()));
    // A CSV has one header, whatever the operations were.
    let csv = pair.fleet.run(&["audit", "-o", "csv"]).exits(0).stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 13, "{csv}");
    assert_eq!(reader.records().map(|r| r.unwrap()[7].to_owned()).collect::<Vec<_>>().len(), 2);
    let id = items[1]["id"].to_string();
    pair.fleet.run(&["audit", &id]).exits(0).says("weight 20").says("undone");
}

#[test]
fn leases_are_listed_returned_and_swept() {
    let pair = Pair::start();
    pair.fleet.run(&["server", "drain", "web/web1", "--no-wait", "--yes", "--for", "1h", "--reason", "disk"]).exits(0);
    pair.fleet.run(&["server", "weight", "web/web2", "5", "--yes", "--for", "1s"]).exits(0);
    let leases = pair.fleet.run(&["lease", "list", "-o", "json"]).exits(0).json();
    let lease = leases["items"].as_array().unwrap().iter().find(|l| l["reason"] == "disk").expect("the drain is leased").clone();
    wait::until("the second lease ends", Duration::from_secs(10), || {
        pair.fleet.run(&["lease", "list", "--ended"]).stdout.contains("web/web2").then_some(())
    });
    pair.fleet.run(&["lease", "sweep"]).exits(0).says("returned");
    assert_eq!(pair.stat("web2", "weight"), ["100", "100"]);
    assert_eq!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"], "a lease that has not ended is left alone");
    pair.fleet.run(&["lease", "return", lease["id"].as_str().unwrap(), "--yes"]).exits(0);
    assert_ne!(pair.lb1.stat("web", "web1", "status"), "DRAIN");
    pair.fleet.run(&["lease", "list"]).exits(0).says("no leases");
}

#[test]
fn exec_runs_argv_on_every_node_and_tells_the_streams_apart() {
    let pair = Pair::start();
    let ran = pair.fleet.run(&["node", "exec", "--confirm", "sh", "--", "sh", "-c", "echo 'a  b'; echo oops >&2"]).exits(0);
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["lb1: a  b", "lb2: a  b"]);
    assert!(ran.stderr.contains("lb1: oops"), "{}", ran.stderr);
    let document = pair.fleet.run(&["node", "exec", "lb1", "--confirm", "echo", "-o", "json", "--", "echo", "x"]).exits(0).json();
    assert_eq!(document["items"][0]["outputs"]["lb1"]["stdout"][0], "x");
    pair.fleet.run(&["node", "exec", "lb1", "--confirm", "false", "--", "false"]).exits(1);
}

#[test]
fn the_leases_of_another_machine_are_respected_and_can_be_returned() {
    let pair = Pair::start();
    pair.fleet.run(&["server", "maint", "web/web1", "--yes", "--reason", "disk"]).exits(0);
    let bob = pair.fleet.state().with_file_name("bob");
    let as_bob = |words: &[&str]| pair.fleet.command_as(&bob, words).output().unwrap();
    let text =
        |out: &std::process::Output| format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let listed = as_bob(&["lease", "list", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let id = listed["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{listed}")).to_owned();
    // Both are the same person here, so that the lease is told of, not refused.
    let shown = as_bob(&["server", "ready", "web/web1", "--dry-run"]);
    assert!(text(&shown).contains(&id), "{}", text(&shown));
    let returned = as_bob(&["lease", "return", &id, "--yes"]);
    assert_eq!(returned.status.code(), Some(0), "{}", text(&returned));
    assert_eq!(pair.stat("web1", "status"), ["no check", "no check"]);
    pair.fleet.run(&["lease", "list"]).exits(0).says("no lease");
}

//! What runs for a while: signals, readers that go away, the stream of events.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Pair;
use crate::support::app::HeldRequest;
use crate::support::fleet::Fleet;
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::wait;

#[test]
fn a_signal_ends_the_waiting_and_says_what_holds() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let pair = Pair::start();
        let _held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
        let drain = pair.fleet.spawn(&["server", "drain", "web/web1", "--yes"]);
        wait::until("it drains", Duration::from_secs(10), || (pair.lb1.stat("web", "web1", "status") == "DRAIN").then_some(()));
        drain.signal(signal);
        let ran = drain.finish().exits(1);
        assert!(ran.stderr.contains("stopping"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint:"), "it says how to go on: {}", ran.stderr);
        assert_eq!(pair.lb1.stat("web", "web1", "status"), "DRAIN");
        // The lock was given back.
        pair.fleet.run(&["server", "ready", "web/web1"]).exits(0);
    }
}

#[test]
fn watch_tells_changes_as_lines_of_json_and_ends_on_sigterm() {
    let pair = Pair::start();
    let mut child =
        pair.fleet.command(&["watch", "web/web1", "--interval", "100ms", "--initial"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = |what: &str, wanted: &dyn Fn(&serde_json::Value) -> bool| loop {
        let line = lines.next().unwrap_or_else(|| panic!("watch ended before {what}")).unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["version"], 1);
        if wanted(&event) {
            return event;
        }
    };
    let first = next("its first line", &|_| true);
    assert_eq!((&first["event"], first["nodes"].as_array().unwrap().len()), (&"watching".into(), 2));
    for _ in 0..2 {
        next("the initial state", &|e| e["event"] == "server" && e["from"].is_null());
    }
    pair.fleet.run(&["server", "drain", "web/web1", "--node", "lb2", "--no-wait", "--yes"]).exits(0);
    let event = next("the drain", &|e| e["event"] == "server" && e["to"]["admin"] == "drain");
    assert_eq!((&event["node"], &event["server"], &event["from"]["admin"]), (&"lb2".into(), &"web1".into(), &"ready".into()));
    assert!(event["changed"].as_array().unwrap().contains(&"admin".into()));
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn watch_tells_of_a_node_that_dies_and_ends_with_its_reader() {
    let mut pair = Pair::with("settings: {dead_after: 300ms}");
    let mut child = pair.fleet.command(&["watch", "--interval", "100ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = |health: &str| {
        for line in lines.by_ref() {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["event"] == "node" && event["node"] == "lb2" && event["to"] == *health {
                return;
            }
        }
        panic!("watch ended before lb2 was {health}");
    };
    wait_for("fresh");
    pair.lb2.crash();
    wait_for("dead");
    // Nothing changes any more, so nothing is written: it must notice all the same.
    drop(lines);
    let code = wait::until("it ends", Duration::from_secs(10), || child.try_wait().unwrap());
    assert_eq!(code.code(), Some(0));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let haproxy = Haproxy::builder().pool(Pool::new("big").idle_servers("s", 3000)).start();
    let fleet = Fleet::new().local("lb1", &haproxy);
    for format in ["table", "json", "csv"] {
        let lbdeck = fleet.command(&["server", "list", "-o", format]);
        // More than a pipe holds, so that the writer is still writing when the reader goes.
        let mut shell = Command::new("bash");
        shell.arg("-c").arg("\"$0\" \"$@\" | head -1; echo \"exit ${PIPESTATUS[0]}\"").arg(lbdeck.get_program());
        shell.args(lbdeck.get_args()).env_clear();
        shell.envs(lbdeck.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ran = shell.output().unwrap();
        let (out, err) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        assert_eq!((out.lines().count(), out.lines().last()), (2, Some("exit 0")), "{format}: {out}\n{err}");
        assert_eq!(err, "", "{format}");
    }
}

#[test]
fn a_full_disk_under_stdout_is_said() {
    let pair = Pair::start();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = pair.fleet.command(&["server", "list"]).stdout(full).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8(ran.stderr).unwrap().contains("cannot write to stdout"));
}

#[test]
fn logs_go_to_stderr_and_a_bad_filter_is_refused() {
    let pair = Pair::start();
    let run = |log: &str, words: &[&str]| pair.fleet.command(words).env("LBDECK_LOG", log).output().unwrap();
    let ran = run("lbdeck==x", &["server", "list"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8(ran.stderr).unwrap().contains("LBDECK_LOG"));
    let loud = pair.fleet.run(&["-vvv", "server", "list", "-o", "json"]).exits(0);
    loud.json();
}

//! The lab on haproxy.

use std::fs;

use nix::sys::signal::Signal;

use super::{LONG, Serving, ends_with_all_it_started, in_a_terminal, lbdeck, nothing_left, run};
use crate::support::wait::until;

fn nothing_outlives(signal: Signal) {
    let lab = Serving::start(&["--engine", "haproxy"]);
    // The keeper, and a master and a worker for each of two nodes.
    let processes = until("everything runs", LONG, || Some(lab.processes()).filter(|p| p.len() >= 5));
    ends_with_all_it_started(lab, &processes, signal);
}

#[test]
fn nothing_outlives_ctrl_c() {
    nothing_outlives(Signal::SIGINT);
}

#[test]
fn nothing_outlives_sigterm() {
    nothing_outlives(Signal::SIGTERM);
}

#[test]
fn nothing_outlives_a_closed_terminal() {
    nothing_outlives(Signal::SIGHUP);
}

#[test]
fn nothing_outlives_sigkill() {
    nothing_outlives(Signal::SIGKILL);
}

#[test]
fn a_missing_haproxy_is_said_with_the_command_that_installs_it() {
    let tmp = tempfile::tempdir().unwrap();
    let output = lbdeck(tmp.path(), &["lab", "--engine", "haproxy", "--haproxy", "/nonexistent/haproxy"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/haproxy") && said.contains("apt-get install haproxy"), "{said}");
    nothing_left(tmp.path());
}

#[test]
fn a_haproxy_that_does_not_start_is_reported_in_its_own_words() {
    let tmp = tempfile::tempdir().unwrap();
    let fake = tmp.path().join("haproxy");
    fs::write(&fake, "#!/bin/sh\necho '[ALERT] this one is broken' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = lbdeck(tmp.path(), &["lab", "--haproxy", fake.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("haproxy of lb1") && said.contains("this one is broken"), "{said}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1, "something was left in TMPDIR");
}

#[test]
fn the_proof_drains_under_load_without_losing_a_request() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, data, talk) = run(tmp.path(), &["--engine", "haproxy", "--nodes", "2", "--rate", "60"]);
    assert_eq!(code, Some(0), "{data}\n{talk}");
    assert!(data.contains("web/web2 is drained on 2 of 2 nodes"), "{data}");
    assert!(data.contains("web/web2 is back and serves on every node"), "{data}");
    assert!(data.contains(" 0 failed;"), "{data}");
    nothing_left(tmp.path());
}

#[test]
fn the_proof_fails_where_requests_fail() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, data, talk) = run(tmp.path(), &["--engine", "haproxy", "--nodes", "1", "--rate", "60", "--errors", "10"]);
    assert_eq!(code, Some(1), "{data}\n{talk}");
    assert!(talk.contains("requests failed") && talk.contains("an error that --errors asked for"), "{talk}");
    nothing_left(tmp.path());
}

#[test]
fn a_terminal_gets_the_console_and_gets_itself_back() {
    let tmp = tempfile::tempdir().unwrap();
    let mut lab = in_a_terminal(tmp.path(), (120, 40), &["--engine", "haproxy"]);
    lab.sees("errors/s");
    lab.press(":quit\r");
    assert_eq!(lab.ends(), 0);
    lab.assert_restored();
    nothing_left(tmp.path());
}

#[test]
fn a_signal_ends_the_console_of_the_lab_in_order() {
    let tmp = tempfile::tempdir().unwrap();
    let mut lab = in_a_terminal(tmp.path(), (120, 40), &["--engine", "haproxy"]);
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.ends(), 1);
    lab.assert_restored();
    nothing_left(tmp.path());
}

//! The lab on lbdeck's own agents, which it installs over its own SSH servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::signal::Signal;

use super::{LBDECK, LONG, Serving, ends_with_all_it_started, in_a_terminal, nothing_left, run};
use crate::support::disk::SmallDisk;
use crate::support::wait::until;

/// The tests' own build without its symbols: a third of the bytes to upload to each node.
fn agent() -> &'static str {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    let path = STRIPPED.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lbdeck-stripped");
        let ran = Command::new("strip").arg("-o").args([&path, Path::new(LBDECK)]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        path
    });
    path.to_str().unwrap()
}

/// Processes of the lab whose program lies in its folder.
fn of_the_agents(lab: &Serving) -> Vec<i32> {
    let from_here = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(&lab.folder));
    lab.processes().into_iter().filter(from_here).collect()
}

fn nothing_outlives(signal: Signal) {
    let lab = Serving::start(&["--agent", agent()]);
    // A supervisor and an agent for each of two nodes, and nobody who installs any more.
    let socket = |node: &str| lab.folder.join(node).join("agent/run/agent.sock").exists();
    let processes = until("both agents run", LONG, || {
        let found = of_the_agents(&lab);
        (found.len() == 4 && socket("lb1") && socket("lb2")).then_some(found)
    });
    ends_with_all_it_started(lab, &processes, signal);
}

#[test]
fn nothing_outlives_ctrl_c() {
    nothing_outlives(Signal::SIGINT);
}

#[test]
fn nothing_outlives_sigkill() {
    nothing_outlives(Signal::SIGKILL);
}

#[test]
fn nothing_outlives_a_kill_in_the_middle_of_the_installation() {
    let lab = Serving::start(&["--agent", agent()]);
    let processes = until("the first agent starts", LONG, || Some(of_the_agents(&lab)).filter(|p| !p.is_empty()));
    ends_with_all_it_started(lab, &processes, Signal::SIGKILL);
}

#[test]
fn the_proof_installs_drains_kills_and_upgrades_without_losing_a_request() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, data, talk) = run(tmp.path(), &["--check", "--rate", "40", "--agent", agent()]);
    assert_eq!(code, Some(0), "{data}\n{talk}");
    for held in [
        "the agent is installed over SSH on 2 nodes",
        "web/web2 is drained on 2 of 2 nodes, 0 sessions, 0 queued",
        "web/web2 is back and serves on every node",
        "application 3 was killed: web3, api3 down on 2 nodes",
        "application 3 runs again and serves on every node",
        "the agent of lb1 was upgraded: process ",
        " requests ok, 0 failed",
    ] {
        assert!(data.contains(held), "'{held}' is missing in\n{data}");
    }
    // Verbs that everybody has, over SSH.
    for verb in ["$ lbdeck agent install lb1 --prefix ", "$ lbdeck undo last", "$ lbdeck agent upgrade lb1 --prefix "] {
        assert!(talk.contains(verb), "'{verb}' is missing in\n{talk}");
    }
    nothing_left(tmp.path());
}

#[test]
fn the_smallest_lab_proves_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, data, talk) = run(tmp.path(), &["--nodes", "1", "--servers", "2", "--rate", "30", "--agent", agent()]);
    assert_eq!(code, Some(0), "{data}\n{talk}");
    assert!(data.contains("application 2 was killed: web2, api2 down on 1 nodes") && data.contains("lb1 was upgraded"), "{data}");
    nothing_left(tmp.path());
}

#[test]
fn the_proof_fails_where_requests_fail() {
    let tmp = tempfile::tempdir().unwrap();
    let words = ["--nodes", "1", "--rate", "40", "--errors", "10", "--agent", agent()];
    let (code, data, talk) = run(tmp.path(), &words);
    assert_eq!(code, Some(1), "{data}\n{talk}");
    assert!(talk.contains("requests failed") && talk.contains("an error that --errors asked for"), "{talk}");
    assert!(!data.contains("was upgraded"), "it went on after requests had failed: {data}");
    nothing_left(tmp.path());
}

#[test]
fn an_agent_that_is_none_is_told_and_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, data, talk) = run(tmp.path(), &["--agent", "/bin/true"]);
    assert_eq!(code, Some(1), "{data}\n{talk}");
    assert!(talk.contains("is no lbdeck") && talk.contains("agent install lb1"), "{talk}");
    nothing_left(tmp.path());
}

#[test]
fn a_disk_without_room_is_told_before_anything_starts() {
    let disk = SmallDisk::new("100m");
    let (code, data, talk) = run(disk.path(), &["--agent", agent()]);
    assert_eq!((code, data.as_str()), (Some(1), ""), "{talk}");
    assert!(talk.contains("are free there, and the lab needs") && talk.contains("set TMPDIR"), "{talk}");
    nothing_left(disk.path());
}

#[test]
fn the_console_opens_on_two_agents_and_shows_what_clients_see() {
    let tmp = tempfile::tempdir().unwrap();
    let mut lab = in_a_terminal(tmp.path(), (80, 24), &["--agent", agent()]);
    for shown in ["16/16", "p99 ms", "errors/s", " 0 of "] {
        lab.sees(shown);
    }
    lab.press(":drain web/web2\r");
    lab.sees("send it");
    lab.press("\t\t\t\t\t\t\r");
    lab.sees("2 drained");
    // The load is in sight wherever one is.
    lab.sees("errors/s");
    lab.press(":quit\r");
    assert_eq!(lab.ends(), 0);
    lab.assert_restored();
    nothing_left(tmp.path());
}

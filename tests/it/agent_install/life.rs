//! What goes well: install, again, upgrade, back, restart, logs, remove; and that nothing is left.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::double::{LONG, Mode, Place};
use crate::support::sshd::SshdOptions;
use crate::support::wait::until;

fn pid(status: &serde_json::Value) -> i32 {
    i32::try_from(status["pid"].as_i64().unwrap_or_else(|| panic!("no agent runs: {status}"))).unwrap()
}

fn a_whole_life(place: &Place) {
    let before = place.files();
    let (one, two) = (place.build("1.0.0", Mode::Serves, 0), place.build("1.1.0", Mode::Serves, 0));

    place.install(&one).exits(0).says("1.0.0 serves");
    let first = place.status();
    assert_eq!((&first["state"], &first["version"], &first["kept_by"]), (&"running".into(), &"1.0.0".into(), &"lbdeck".into()));
    assert!(place.home().read_dir().unwrap().next().is_none(), "the upload's folder was left");

    place.install(&one).exits(0).says("nothing to do");
    assert_eq!(place.status()["pid"], first["pid"], "an install that has nothing to do restarts nothing");

    place.upgrade(&two).exits(0).says("1.1.0 serves");
    let second = place.status();
    assert_eq!((&second["version"], &second["previous"]), (&"1.1.0".into(), &first["build"]));

    place.run("rollback", &["--yes"]).exits(0).says("1.0.0 serves");
    let back = place.status();
    assert_eq!((&back["build"], &back["previous"]), (&first["build"], &second["build"]));

    place.run("restart", &["--yes"]).exits(0);
    let restarted = place.status();
    assert_ne!(pid(&restarted), pid(&back));
    place.run("restart", &["--yes", "--hard"]).exits(0);
    let hard = place.status();
    assert_ne!(pid(&hard), pid(&restarted));
    place.run("logs", &["--lines", "50"]).exits(0).says("started the agent, pid");

    // Killed, it comes back by itself.
    kill(Pid::from_raw(pid(&hard)), Signal::SIGKILL).unwrap();
    until("the supervisor starts it again", LONG, || {
        let now = place.run("status", &["-o", "json"]).json()["items"][0].clone();
        (now["state"] == "running" && now["pid"] != hard["pid"]).then_some(())
    });

    place.run("remove", &["--confirm", "lb1"]).exits(0).says("removed");
    assert_eq!(place.files(), before, "removing left something");
    assert!(!place.prefix().exists());
    assert_eq!(place.status()["state"], "absent");
    place.run("remove", &["--yes"]).exits(0).says("nothing to do");
}

#[test]
fn a_whole_life_over_sftp() {
    a_whole_life(&Place::new());
}

#[test]
fn a_whole_life_where_sshd_has_no_sftp() {
    a_whole_life(&Place::with(|_| {}, SshdOptions { sftp: false, ..SshdOptions::default() }));
}

#[test]
fn a_dry_run_shows_every_file_and_sends_nothing() {
    let place = Place::new();
    let binary = place.build("1.0.0", Mode::Serves, 0);
    let before = place.files();
    let bytes = fs::metadata(&binary).unwrap().len();
    let config = place.dir.path().join("relay.yaml");
    fs::write(&config, "version: 1\n").unwrap();
    let words = ["--dry-run", "--binary", binary.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let ran = place.run("install", &words).exits(0);
    for shown in
        [&format!("({bytes} bytes, sha256 "), "agent.yaml (11 bytes, sha256 ", "| version: 1", "lbdeck.new --version", "CONFIRM"]
    {
        assert!(ran.stdout.contains(shown), "'{shown}' is missing in {}", ran.stdout);
    }
    assert_eq!(place.files(), before);
    assert!(!Path::new(&place.prefix()).exists());
    // Without a terminal and without --yes it is not done either.
    place.run("install", &["--binary", binary.to_str().unwrap()]).exits(5);
    assert_eq!(place.files(), before);
}

#[test]
fn state_may_stay() {
    let place = Place::new();
    place.install(&place.build("1.0.0", Mode::Serves, 0)).exits(0);
    let state = place.prefix().join("state");
    fs::write(state.join("drains"), "kept").unwrap();
    place.run("remove", &["--keep-state", "--confirm", "lb1"]).exits(0);
    assert_eq!(fs::read_to_string(state.join("drains")).unwrap(), "kept");
    assert!(!place.prefix().join("lib").exists() && !place.prefix().join("run").exists());
}

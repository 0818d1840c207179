//! What goes wrong: each is said, and leaves the node as it was.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::double::{LBDECK, LONG, Mode, Place};
use crate::support::fleet::Fleet;
use crate::support::sshd::SshdOptions;
use crate::support::wait::until;

/// Bytes behind a build, so that its upload takes several pieces.
const PADDING: usize = 24 << 20;

#[test]
fn a_build_that_never_answers_is_rolled_back_and_the_old_one_serves() {
    let place = Place::new();
    place.install(&place.build("1.0.0", Mode::Serves, 0)).exits(0);
    let before = (place.status(), place.files());
    let ran = place.upgrade(&place.build("1.1.0", Mode::NeverAnswers, 0)).exits(3);
    assert!(ran.said().contains("rolled back"), "{}", ran.said());
    let now = place.status();
    assert_eq!(
        (&now["version"], &now["build"]),
        (&before.0["version"], &before.0["build"]),
        "the build that served serves again"
    );
    assert_eq!(place.files(), before.1);
}

/// The supervisor ends with all that came of it, told or not: here a new process that an upgrade has just started.
#[test]
fn stopping_leaves_no_process_behind() {
    let place = Place::new();
    place.install(&place.build("1.0.0", Mode::Serves, 0)).exits(0);
    // The next process of this path says nothing, for ever.
    let program = place.prefix().join("lib/lbdeck");
    fs::remove_file(&program).unwrap();
    fs::copy(place.build("1.1.0", Mode::NeverAnswers, 0), &program).unwrap();
    let runs = || -> Vec<String> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let words = all.filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok());
        words.filter(|words| words.contains(place.prefix().to_str().unwrap())).collect()
    };
    let before = runs().len();
    let mut upgrade = UnixStream::connect(place.prefix().join("run/agent.sock")).unwrap();
    upgrade.write_all(b"POST /v1/upgrade HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    until("the new process", LONG, || (runs().len() > before).then_some(()));
    let stopped = Command::new(LBDECK).args(["agent", "supervise", "stop", "--prefix"]).arg(place.prefix()).output().unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    assert_eq!(runs(), Vec::<String>::new());
}

#[test]
fn a_build_that_tells_another_version_is_rolled_back() {
    let place = Place::new();
    place.install(&place.build("1.0.0", Mode::Serves, 0)).exits(0);
    let before = place.status();
    place.upgrade(&place.build("1.1.0", Mode::TellsAnotherVersion, 0)).exits(3).says("says it is 0.0.1, not 1.1.0");
    let now = place.status();
    assert_eq!((&now["version"], &now["build"]), (&"1.0.0".into(), &before["build"]));
}

#[test]
fn a_first_install_that_fails_leaves_nothing() {
    let place = Place::new();
    let before = place.files();
    place.install(&place.build("1.0.0", Mode::EndsAtOnce, 0)).exits(3).says("this build is broken");
    assert_eq!(place.files(), before);
    assert!(!place.prefix().exists());
}

#[test]
fn another_processor_and_what_is_no_program_are_refused_before_anything_is_sent() {
    let place = Place::new();
    let binary = place.build("1.0.0", Mode::Serves, 0);
    let mut bytes = fs::read(&binary).unwrap();
    // e_machine of the ELF header: s390x would be another byte order, so: RISC-V.
    bytes[18..20].copy_from_slice(&243u16.to_le_bytes());
    let foreign = place.dir.path().join("foreign");
    fs::write(&foreign, bytes).unwrap();
    place.install(&foreign).exits(5).says("is built for riscv64");
    let script = place.dir.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    place.install(&script).exits(2).says("not an ELF executable");
    assert!(place.files().is_empty());
    let text = "settings: {read_only: true}";
    let mut place = Place::new();
    place.fleet = Fleet::new().ssh("lb1", &place.sshd, Path::new("/no")).with(text);
    place.install(&binary).exits(5).says("read-only");
}

#[test]
fn bytes_that_changed_on_their_way_are_found_and_not_installed() {
    let place = Place::new();
    let binary = place.build("1.0.0", Mode::Serves, PADDING);
    let sum = Command::new("sha256sum").arg(&binary).output().unwrap();
    let staging = place.home().join(".lbdeck-upload");
    fs::create_dir(&staging).unwrap();
    // What an earlier upload left, with a byte that is not ours.
    let mut bytes = fs::read(&binary).unwrap();
    bytes[100_000] ^= 1;
    fs::write(staging.join(format!("lbdeck-{}", &String::from_utf8(sum.stdout).unwrap()[..16])), bytes).unwrap();
    let ran = place.install(&binary);
    assert!(ran.code != Some(0) && ran.said().contains("was changed or cut on its way"), "{}", ran.said());
    assert!(place.files().is_empty(), "{:?}", place.files());
    place.install(&binary).exits(0);
}

#[test]
fn a_full_disk_is_said_and_nothing_is_left() {
    let mounted = std::cell::Cell::new(false);
    let place = Place::with(
        |home| {
            let ran = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(home).output().unwrap();
            mounted.set(ran.status.success());
        },
        SshdOptions::default(),
    );
    if !mounted.get() {
        crate::support::skip("agent_install::faults::a_full_disk_is_said_and_nothing_is_left", "mounting a tmpfs takes root");
        return;
    }
    struct Unmount(PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(place.home());
    let ran = place.install(&place.build("1.0.0", Mode::Serves, PADDING));
    assert!(ran.code != Some(0) && ran.said().contains("writing"), "{}", ran.said());
    assert!(!place.prefix().exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_said_with_a_way_out() {
    let place = Place::new();
    let binary = place.build("1.0.0", Mode::Serves, 0);
    // Root may write anywhere but in a folder that nobody may change.
    struct Immutable(PathBuf);
    impl Immutable {
        fn set(&self, flag: &str) -> bool {
            Command::new("chattr").arg(flag).arg(&self.0).status().is_ok_and(|s| s.success())
        }
    }
    impl Drop for Immutable {
        fn drop(&mut self) {
            self.set("-i");
        }
    }
    let folder = Immutable(place.dir.path().join("immutable"));
    fs::create_dir(&folder.0).unwrap();
    if !folder.set("+i") {
        crate::support::skip(
            "agent_install::faults::a_folder_that_cannot_be_written_is_said_with_a_way_out",
            "chattr +i takes root",
        );
        return;
    }
    let prefix = folder.0.join("lbdeck");
    let prefix = prefix.to_str().unwrap();
    let ran = place.fleet.run(&["agent", "install", "lb1", "--yes", "--prefix", prefix, "--binary", binary.to_str().unwrap()]);
    assert!(ran.code != Some(0) && ran.said().contains(prefix), "{}", ran.said());
    assert!(ran.said().contains("ssh user must be root or have sudo"), "{}", ran.said());
}

/// The file of an upload that is under way.
fn part(place: &Place) -> Option<u64> {
    let entry = fs::read_dir(place.home().join(".lbdeck-upload")).ok()?.flatten().next()?;
    let size = entry.metadata().ok()?.size();
    (size > 1 << 20 && size < PADDING as u64).then_some(size)
}

#[test]
fn a_connection_that_dies_in_the_middle_is_made_again() {
    let place = Place::new();
    let binary = place.build("1.0.0", Mode::Serves, PADDING);
    let words = place.words("install", &["--yes", "--binary", binary.to_str().unwrap()]);
    let running = place.fleet.spawn(&words.iter().map(String::as_str).collect::<Vec<_>>());
    until("the upload is under way", LONG, || part(&place));
    place.sshd.drop_connections();
    let ran = running.finish().exits(0);
    assert!(ran.said().contains("trying again") && ran.said().contains("went on after"), "{}", ran.said());
    assert_eq!(place.status()["state"], "running");
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let place = Place::new();
    let binary = place.build("1.0.0", Mode::Serves, PADDING);
    let words = place.words("install", &["--yes", "--binary", binary.to_str().unwrap()]);
    let running = place.fleet.spawn(&words.iter().map(String::as_str).collect::<Vec<_>>());
    until("the upload is under way", LONG, || part(&place));
    running.kill();
    let locked = "a lock whose holder died";
    let ran = until("the lock of the dead is free", LONG, || {
        let ran = place.install(&binary);
        (!ran.said().contains(locked)).then_some(ran)
    });
    ran.exits(0).says("went on after");
    assert_eq!(place.status()["state"], "running");
}

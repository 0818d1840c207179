//! `fleet check`: every fault is named on the node that has it, with a remedy; one bad node never hides another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use serde_json::Value;

use crate::support::fleet::Fleet;
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::sshd::{Sshd, SshdOptions};

/// Debian's `nobody`.
const NOBODY: u32 = 65534;

fn haproxy() -> Haproxy {
    Haproxy::builder().pool(Pool::new("web").idle_servers("w", 2)).start()
}

/// The finding of a node (`-` for the fleet) by its check.
#[track_caller]
fn finding<'j>(json: &'j Value, node: &str, check: &str) -> &'j Value {
    let found =
        json["items"].as_array().unwrap().iter().find(|f| f["node"].as_str().unwrap_or("-") == node && f["check"] == check);
    found.unwrap_or_else(|| panic!("no finding {check} of {node} in {json:#}"))
}

#[track_caller]
fn is(json: &Value, node: &str, check: &str, level: &str, text: &str, remedy: &str) {
    let found = finding(json, node, check);
    assert_eq!(found["level"], level, "{found:#}");
    assert!(found["text"].as_str().unwrap().contains(text), "'{text}' is missing in {found:#}");
    assert!(found["remedy"].as_str().unwrap_or_default().contains(remedy), "'{remedy}' is missing in {found:#}");
}

#[test]
fn nothing_to_mend_on_a_good_node() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("w", 2)).master_worker().start();
    let ran = Fleet::new().local("lb1", &haproxy).run(&["fleet", "check"]).exits(0);
    insta::assert_snapshot!(ran.stdout, @"
    nothing to mend
      fleet  file
      lb1    reach, files, locks, clock, syslog, haproxy, level, version, forwarding, config, master
    ");
    assert!(ran.stderr.contains("0 failed, 0 to know, 12 well"), "{}", ran.stderr);
}

#[test]
fn metrics_are_fetched_and_looked_at() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("w", 2)).stats_page(false).start();
    let check = |url: &str| {
        let fleet = Fleet::new().local("lb1", &haproxy).node_line(&format!("    metrics: {url}"));
        fleet.run(&["fleet", "check", "-o", "json"]).json()
    };
    let json = check(&haproxy.metrics_url());
    is(&json, "lb1", "metrics", "ok", "metrics of the process", "");
    let json = check(&haproxy.metrics_url().replace("/metrics", "/nothing-here"));
    is(&json, "lb1", "metrics", "fail", "", "prometheus-exporter");
    let html = crate::support::app::App::start("no metrics");
    let json = check(&format!("http://{}/", html.addr));
    assert_ne!(finding(&json, "lb1", "metrics")["level"], "ok", "{json:#}");
}

#[test]
fn all_of_it_over_ssh() {
    let (sshd, haproxy) = (Sshd::start(), haproxy());
    let json = Fleet::new().ssh("lb1", &sshd, &haproxy.socket()).run(&["fleet", "check", "-o", "json"]).exits(0).json();
    for check in ["reach", "files", "locks", "clock", "haproxy", "level", "version"] {
        assert_eq!(finding(&json, "lb1", check)["level"], "ok", "{json:#}");
    }
    is(&json, "lb1", "forwarding", "ok", "streamlocal", "");
    // The usual configuration file is not the one of this haproxy, and may not be there.
    assert_ne!(finding(&json, "lb1", "config")["level"], "fail");
}

#[test]
fn a_changed_host_key() {
    let (mut sshd, haproxy) = (Sshd::start(), haproxy());
    let fleet = Fleet::new().ssh("lb1", &sshd, &haproxy.socket()).local("lb2", &haproxy);
    sshd.stop();
    sshd.new_host_keys();
    sshd.start_again();
    let json = fleet.run(&["fleet", "check", "-o", "json"]).exits(1).json();
    is(&json, "lb1", "reach", "fail", "changed", "");
    assert!(finding(&json, "lb1", "reach")["remedy"].is_string(), "{json:#}");
    is(&json, "lb2", "haproxy", "ok", "2 servers", "");
}

#[test]
fn an_unknown_host_key() {
    let (sshd, haproxy) = (Sshd::start(), haproxy());
    fs::write(sshd.dir().join("known_hosts"), "").unwrap();
    let json = Fleet::new().ssh("lb1", &sshd, &haproxy.socket()).run(&["fleet", "check", "-o", "json"]).exits(1).json();
    let found = finding(&json, "lb1", "reach");
    assert_eq!(found["level"], "fail", "{found:#}");
    assert!(found["remedy"].is_string(), "{found:#}");
}

#[test]
fn a_key_that_may_not_log_on() {
    let (sshd, haproxy) = (Sshd::start(), haproxy());
    fs::write(sshd.dir().join("authorized_keys"), "").unwrap();
    let json = Fleet::new().ssh("lb1", &sshd, &haproxy.socket()).run(&["fleet", "check", "-o", "json"]).exits(1).json();
    let found = finding(&json, "lb1", "reach");
    assert_eq!(found["level"], "fail", "{found:#}");
    assert!(found["remedy"].is_string(), "{found:#}");
}

#[test]
fn streamlocal_forbidden() {
    let sshd = Sshd::with(SshdOptions { streamlocal: false, ..SshdOptions::default() });
    let haproxy = haproxy();
    let json = Fleet::new().ssh("lb1", &sshd, &haproxy.socket()).run(&["fleet", "check", "-o", "json"]).exits(0).json();
    is(&json, "lb1", "forwarding", "warn", "forbids", "AllowStreamLocalForwarding yes");
    is(&json, "lb1", "haproxy", "ok", "2 servers", "");
}

#[test]
fn sftp_switched_off() {
    let sshd = Sshd::with(SshdOptions { sftp: false, ..SshdOptions::default() });
    let haproxy = haproxy();
    let ran = Fleet::new().ssh("lb1", &sshd, &haproxy.socket()).run(&["fleet", "check", "-o", "json"]);
    let files = finding(&ran.json(), "lb1", "files").clone();
    // Either files work another way, or the remedy is told.
    assert!(files["level"] == "ok" || files["remedy"].as_str().unwrap().contains("sftp"), "{files:#}");
    is(&ran.json(), "lb1", "haproxy", "ok", "2 servers", "");
}

#[test]
fn a_missing_socket_is_searched_for() {
    let (sshd, _haproxy) = (Sshd::start(), haproxy());
    let json =
        Fleet::new().ssh("lb1", &sshd, Path::new("/nowhere/admin.sock")).run(&["fleet", "check", "-o", "json"]).exits(1).json();
    is(&json, "lb1", "haproxy", "fail", "no socket at /nowhere/admin.sock", "set engines.haproxy.");
}

#[test]
fn a_socket_that_only_shows() {
    let haproxy = haproxy();
    let fleet = Fleet::new().local_socket("lb1", &haproxy.user_socket(), None);
    let json = fleet.run(&["fleet", "check", "-o", "json"]).exits(1).json();
    is(&json, "lb1", "level", "fail", "user", "level admin");
    // Who has said that nothing will be changed needs no more.
    let json = fleet.with("settings: {read_only: true}").run(&["fleet", "check", "-o", "json"]).exits(0).json();
    is(&json, "lb1", "level", "warn", "user", "level admin");
}

#[test]
fn a_statistics_page_that_only_shows() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("w", 2)).stats_page(false).start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.yaml");
    fs::write(dir.path().join("pw"), crate::support::haproxy::STATS_PASSWORD).unwrap();
    let node = format!(
        "nodes:\n- name: lb1\n  engines: {{haproxy: {{stats: {{url: '{}', user: {}, password_file: pw}}}}}}\n",
        haproxy.stats_url(),
        crate::support::haproxy::STATS_USER
    );
    fs::write(&file, node).unwrap();
    let check = || Fleet::new().run(&["fleet", "check", "-o", "json", "--fleet", file.to_str().unwrap()]).exits(1);
    fs::set_permissions(dir.path().join("pw"), fs::Permissions::from_mode(0o644)).unwrap();
    is(&check().json(), "lb1", "haproxy", "fail", "may read the secret", "chmod o-rwx");
    fs::set_permissions(dir.path().join("pw"), fs::Permissions::from_mode(0o600)).unwrap();
    let ran = check();
    is(&ran.json(), "lb1", "level", "fail", "only shows", "stats admin");
    is(&ran.json(), "lb1", "locks", "warn", "no place for locks", "ssh");
    assert!(!ran.said().contains(crate::support::haproxy::STATS_PASSWORD));
}

#[test]
fn a_socket_that_may_not_be_used() {
    let haproxy = haproxy();
    let fleet = Fleet::new().local("lb1", &haproxy);
    let file = fleet.file();
    // Root may do everything: it becomes somebody who may not, with a binary and a file within reach.
    let bin = tempfile::tempdir().unwrap();
    let lbdeck = bin.path().join("lbdeck");
    if fs::hard_link(env!("CARGO_BIN_EXE_lbdeck"), &lbdeck).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_lbdeck"), &lbdeck).unwrap();
    }
    for dir in [bin.path(), haproxy.dir(), file.parent().unwrap()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(haproxy.socket(), fs::Permissions::from_mode(if Uid::effective().is_root() { 0o600 } else { 0o000 }))
        .unwrap();
    let mut command = Command::new(&lbdeck);
    command.args(["fleet", "check", "-o", "json", "--fleet"]).arg(&file).env("HOME", "/nonexistent").current_dir("/");
    if Uid::effective().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let out = command.output().unwrap();
    let json: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
    assert_eq!(out.status.code(), Some(1));
    is(&json, "lb1", "haproxy", "fail", "permission denied", "usermod -aG");
    if Uid::effective().is_root() {
        is(&json, "lb1", "locks", "fail", "no lock can be made", "install -d");
    }
}

#[test]
fn a_node_that_is_gone_or_hangs_holds_up_nobody() {
    let (mut sshd, hung, good) = (Sshd::start(), haproxy(), haproxy());
    let fleet = Fleet::new().ssh("gone", &sshd, &good.socket()).local("hung", &hung).local("good", &good);
    sshd.stop();
    hung.freeze();
    let began = Instant::now();
    let json = fleet.run(&["fleet", "check", "-o", "json", "--timeout", "1s"]).exits(1).json();
    assert!(began.elapsed() < Duration::from_secs(15), "took {:?}", began.elapsed());
    is(&json, "gone", "reach", "fail", "", "ssh");
    is(&json, "hung", "haproxy", "fail", "", "");
    is(&json, "good", "haproxy", "ok", "2 servers", "");
}

#[test]
fn policies_and_groups_that_hold_nothing() {
    let haproxy = haproxy();
    let fleet = Fleet::new()
        .local("lb1", &haproxy)
        .with("groups: {all: [lb1], spare: ['x*']}\npolicies: [{pool: web, min_healthy: 1}, {pool: wbe, min_healthy: 1}]");
    let json = fleet.run(&["fleet", "check", "-o", "json"]).exits(0).json();
    is(&json, "-", "policies", "warn", "'wbe' matches no pool", "did you mean 'web'?");
    is(&json, "-", "groups", "warn", "'spare' holds no node", "");
    let shown = fleet.run(&["fleet", "check"]).exits(0).stdout;
    assert!(shown.starts_with("fleet\n  warn policies"), "problems come first:\n{shown}");
    assert!(shown.contains("mend: did you mean 'web'?"), "{shown}");
}

#[test]
fn an_invalid_file_is_invalid_input() {
    let haproxy = haproxy();
    let fleet = Fleet::new().local("lb1", &haproxy).with("polices: []");
    let ran = fleet.run(&["fleet", "check"]).exits(2).says("unknown key 'polices'").says("did you mean 'policies'?");
    assert!(ran.stderr.contains("lbdeck.yaml:10:1"), "{}", ran.stderr);
}

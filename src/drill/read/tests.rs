//! Drill files that are right, and what is said of those that are not.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::ops::drill::{Direction, Fault, KillSignal};

fn parse_text(text: &str) -> Result<Drill, String> {
    parse(text, Path::new("d.yaml"), "d.yaml").map_err(|e| e.to_string())
}

const WHOLE: &str = "
kind: drill
name: crash
scope: {vip: 10.0.0.100, target: current_master, max_nodes: 1}
window: {allow: [\"Mon-Thu 10:00-16:00 Europe/London\"], block_if: [incident, deploy, other_drill]}
steady_state: {baseline: 30s, checks: [{vip_owner: exactly_one}, {peer: healthy}, {probe_ok: 100%}]}
measure: {probes: [{http: /healthz, hz: 20, timeout: 500ms, new_conn: true}], streams: {tcp: 50, keepalive: 200ms}}
fault: [{kill: {unit: keepalived, signal: KILL, hold_down: true}, duration: 45s}]
abort: [{outage_gt: 8s}, {two_owners_gt: 3s}, {no_owner_gt: 10s}, {heartbeat_lost: 10s}]
expect: {outage_ms: {max: 4000}, failed: {max: 100}, resets: {max: 50}, failback_outage_ms: {max: 1500}}
restore: {deadline: 90s, verify: steady_state, settle: 60s}
";

#[test]
fn the_documented_drill_is_read() {
    let drill = parse_text(WHOLE).unwrap();
    assert_eq!((drill.hold, drill.restore.deadline), (Duration::from_secs(45), Duration::from_secs(90)));
    assert!(
        matches!(&drill.faults[..], [Fault::Kill { unit, how }] if unit == "keepalived" && how.hold_down && how.signal == KillSignal::Kill)
    );
    assert_eq!(drill.expect.outage_ms, Some(4000));
    assert_eq!(drill.abort.two_owners_gt, Some(Duration::from_secs(3)));
    assert_eq!(drill.window.block_if.len(), 3);
    assert_eq!(drill.measure.streams.map(|s| s.connections), Some(50));
}

#[test]
fn every_fault_is_read() {
    let of = |fault: &str| {
        parse_text(&format!("kind: drill\nname: x\nmeasure: {{probes: [{{tcp: 80}}]}}\nfault:\n  - {fault}\n"))
            .map(|d| d.faults.into_iter().map(|f| f.to_string()).collect::<Vec<_>>().join("|"))
    };
    for (text, shown) in [
        ("stop: {unit: keepalived.service}", "stop keepalived"),
        ("freeze: {unit: haproxy}", "freeze haproxy"),
        ("kill: {unit: haproxy, signal: TERM, hold_down: false}", "kill haproxy (SIGTERM, may be started again)"),
        ("vrrp_drop: {direction: out}", "drop outgoing VRRP"),
        ("vrrp_drop:", "drop VRRP both ways"),
        ("isolate: {}", "isolate the node"),
        ("netem: {interface: eth0, delay: 100ms, loss: 5%}", "netem on eth0, delay 100ms, loss 5%"),
        ("link: {interface: eth1}", "link eth1 down"),
        ("engine_kill:", "kill the engine (SIGKILL, held down)"),
        ("server_kill: {server: web/w1}", "kill server web/w1 (SIGKILL, held down)"),
        ("track_file: {file: /run/k/f, value: -20}", "track file /run/k/f = -20"),
    ] {
        assert_eq!(of(text).as_deref(), Ok(shown), "{text}");
    }
    let both = of("vrrp_drop: {direction: in}\n  - freeze: {unit: haproxy}").unwrap();
    assert_eq!(both, "drop incoming VRRP|freeze haproxy");
    assert_eq!(Direction::default(), Direction::Both);
}

/// Replaces a part of the whole drill and returns what is said.
fn wrong(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    parse_text(&WHOLE.replace(from, to)).expect_err(to)
}

#[test]
fn mistakes_show_their_place_and_the_nearest_word() {
    let said = wrong("outage_gt: 8s", "outage_gt: 8");
    assert!(said.contains("d.yaml:9:21") && said.contains("no unit"), "{said}");
    for (from, to, words) in [
        ("steady_state:", "steady_stat:", "did you mean 'steady_state'?"),
        ("hold_down", "holddown", "did you mean 'hold_down'?"),
        ("kill:", "kil:", "did you mean 'kill'?"),
        ("incident", "incidnt", "did you mean 'incident'?"),
        ("hz: 20", "hz: 500", "from 1 to 200"),
        ("Europe/London", "Europe/Londn", "no time zone"),
        ("10.0.0.100", "10.0.0.300", "no address"),
        ("max_nodes: 1", "max_nodes: 2", "no peer to take over"),
        ("deadline: 90s", "deadline: 46s", "too short"),
        ("probe_ok: 100%", "probe_ok: 100", "99.9%"),
        ("unit: keepalived", "unit: sshd", "nobody gets back"),
        ("signal: KILL", "signal: HUP", "one of KILL, TERM"),
        ("kind: drill", "kind: playbook", "write kind: drill"),
        ("http: /healthz", "http: http://x/healthz", "is a path"),
        ("name: crash", "name: ../../etc", "not a name"),
        ("{tcp: 50, keepalive: 200ms}", "{tcp: 50, keepalive: 1ms}", "too short"),
        ("fault: [{kill: {unit: keepalived, signal: KILL, hold_down: true}, duration: 45s}]", "fault: [kill]", "a mapping"),
        ("fault: [{kill: {unit: keepalived, signal: KILL, hold_down: true}, duration: 45s}]", "fault: []", "list of faults"),
        ("duration: 45s}", "duration: 45s}, {isolate: {}, duration: 20s}", "equally long"),
        ("duration: 45s}", "duration: 45s}, {server_kill: {server: a/b}}", "stands alone"),
        ("duration: 45s}", "isolate: {}}", "one item is one fault"),
        ("duration: 45s}", "duration: 45s}, {link: {interface: lo}}", "loopback"),
        ("duration: 45s}", "duration: 45s}, {track_file: {file: run/x, value: 1}}", "absolute"),
        ("duration: 45s}", "duration: 45s}, {netem: {interface: eth0}}", "does nothing"),
    ] {
        let said = wrong(from, to);
        assert!(said.contains(words), "{to}: {said}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let said =
        parse_text("kind: drill\nname: a b\nmeasure: {probes: []}\nfault: [{kill: {}}]\nexpect: {outage_ms: 5}\n").unwrap_err();
    for words in ["not a name", "1 to 8 probes", "needs 'unit'", "outage_ms"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(parse_text("").is_err_and(|e| e.contains("empty")));
    assert!(parse_text("- 1").is_err_and(|e| e.contains("a mapping")));
}

#[test]
fn what_is_shipped_is_read() {
    let found = crate::drill::find::all(&[]).unwrap();
    assert_eq!(found.len(), 10);
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/drills")).unwrap();
    for file in files {
        let path = file.unwrap().path();
        let drill = load(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(path.file_stem().and_then(|s| s.to_str()), Some(drill.name.as_str()));
        assert!(found.iter().any(|f| f.drill.as_ref().is_ok_and(|d| d.name == drill.name)), "{} is not built in", drill.name);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// No edit of a drill makes the reader panic.
    #[test]
    fn nothing_panics(at in 0usize..900, with in "[ -~\\n]{0,6}", cut in 0usize..12) {
        let mut text = WHOLE.to_owned();
        let at = at.min(text.len() - 1);
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &with);
        let _ = parse_text(&text);
    }
}

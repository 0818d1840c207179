//! Every view at three sizes, reached by keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lbdeck::app::PromptRequest;
use lbdeck::model::{
    Change, LoadLatency, LoadPicture, LoadSecond, NodeName, ServerRef, Session, StickTable, StickTableEntry, Target,
};
use lbdeck::ops::{Event as OpEvent, EventKind};
use lbdeck::store::{JournalEntry, JournalState, Lease, LeaseHold, LeaseState, Operation, OperationState, Unfinished, Who};
use lbdeck::tui::event::{Answer, Effect, Event};
use lbdeck::tui::theme::ThemeName;

use super::fleet;
use super::harness::Console;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Takes the view at all sizes.
fn shots(name: &str, go: impl Fn(&mut Console)) {
    for (width, height) in SIZES {
        let mut console = Console::new(width, height);
        go(&mut console);
        let screen = console.screen();
        insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
        });
    }
}

fn answer(console: &mut Console, answer: Answer) {
    console.event(Event::Answer(Box::new(answer)));
}

fn who() -> Who {
    Who { user: "ada".into(), host: "desk7".into(), from: "tty /dev/pts/3".into() }
}

fn web_s2() -> Target {
    Target::Server(ServerRef::new("web", "s2"))
}

fn leases() -> Vec<Lease> {
    let hold = |node: &str, state| LeaseHold {
        node: node.into(),
        change: Change::Drain,
        inverse: vec![Change::Ready],
        state,
        returned_at: None,
    };
    let lease = |id: &str, reason: Option<&str>, ends: Option<&str>| Lease {
        id: id.into(),
        operation: Some(41),
        target: web_s2(),
        change: Change::Drain,
        who: who(),
        reason: reason.map(str::to_owned),
        made: "2026-03-01T01:00:00Z".parse().unwrap(),
        ends: ends.map(|e| e.parse().unwrap()),
        holds: vec![hold("lb1", LeaseState::Returned), hold("lb2", LeaseState::Open)],
    };
    vec![
        lease("0a1b2c3d", Some("kernel update"), Some("2026-03-01T04:00:00Z")),
        lease("11223344", Some("disk swap"), Some("2026-03-01T03:00:00Z")),
        lease("99aabbcc", None, None),
    ]
}

#[test]
fn overview() {
    shots("overview", |c| answer(c, Answer::Leases(leases())));
}

/// A load of 40 seconds, in the last of which requests fail.
fn load(seconds: u64) -> Event {
    let second = |n: u64| LoadSecond {
        ok: 140 + n % 5,
        failed: n.saturating_sub(35),
        latency: Some(LoadLatency { p50_us: 3_100 + n * 10, p99_us: 12_000 + (n % 7) * 900, max_us: 30_000 + (n % 11) * 4_000 }),
    };
    let seconds: Vec<LoadSecond> = (0..seconds).map(second).collect();
    let sum = |of: fn(&LoadSecond) -> u64| seconds.iter().map(of).sum();
    let (ok, failed) = (sum(|s| s.ok), sum(|s| s.failed));
    let last_failure = (failed > 0).then(|| "http://127.0.0.11:8001/: status 503 Service \u{1b}[31mUnavailable".to_owned());
    Event::Load(Arc::new(LoadPicture { asked: 150, ok, failed, seconds, last_failure }))
}

#[test]
fn load_that_clients_see() {
    shots("load", |c| c.event(load(40)));
    shots("load_servers", |c| {
        c.event(load(30));
        c.keys(&["4"]);
    });
    let mut console = Console::new(80, 24);
    assert!(!console.screen().contains("errors/s"), "nobody makes a load");
    console.event(load(0));
    assert!(console.screen().contains("load 150/s asked for"), "{}", console.screen());
}

#[test]
fn nodes() {
    shots("nodes", |c| {
        c.keys(&["2"]);
    });
}

#[test]
fn node() {
    shots("node", |c| {
        c.keys(&["2", "down", "enter"]);
    });
    shots("node_dead", |c| {
        c.keys(&["2", "end", "enter"]);
    });
}

#[test]
fn pools() {
    shots("pools", |c| {
        c.keys(&["3"]);
    });
}

#[test]
fn servers() {
    shots("servers", |c| {
        c.keys(&["4"]);
    });
    shots("servers_of_pool_selected_sorted", |c| {
        c.keys(&["3", "end", "enter", "space", "space", ">", ">", "o"]);
    });
}

#[test]
fn server() {
    shots("server", |c| {
        answer(c, Answer::Leases(leases()));
        c.keys(&[":server web/s2", "enter"]);
    });
}

#[test]
fn frontends() {
    shots("frontends", |c| {
        c.keys(&["5"]);
    });
}

fn ticket(console: &Console) -> u64 {
    console
        .asked
        .iter()
        .rev()
        .find_map(|effect| match effect {
            Effect::Sessions { ticket, .. } | Effect::Tables { ticket, .. } | Effect::Entries { ticket, .. } => Some(*ticket),
            _ => None,
        })
        .unwrap()
}

#[test]
fn sessions() {
    shots("sessions", |c| {
        c.keys(&[":sessions web/s1", "enter"]);
        let ticket = ticket(c);
        let session = |id: u32, age| Session {
            id: format!("0x7f00{id:04x}"),
            protocol: "tcpv4".into(),
            source: format!("198.51.100.{id}:40{id:03}"),
            frontend: "fe_web".into(),
            backend: "web".into(),
            server: "s1".into(),
            age: Some(Duration::from_secs(age)),
            expires: Some(Duration::from_secs(50)),
            raw: format!("0x7f00{id:04x}: proto=tcpv4"),
        };
        let rows = vec![session(7, 3), session(21, 4_000), session(99, 70)];
        answer(c, Answer::Sessions { ticket, node: "lb1".into(), result: Ok(rows) });
        let problem = lbdeck::model::Problem { what: "permission denied".into(), hint: None, retry: false };
        answer(c, Answer::Sessions { ticket, node: "lb2".into(), result: Err(problem) });
    });
}

#[test]
fn stick_tables() {
    shots("tables", |c| {
        c.keys(&[":tables", "enter"]);
        let ticket = ticket(c);
        let table = |name: &str, used| StickTable { name: name.into(), kind: "ip".into(), size: 100_000, used };
        answer(c, Answer::Tables { ticket, node: "lb1".into(), result: Ok(vec![table("api", 99_000), table("web", 12)]) });
    });
    shots("entries", |c| {
        c.keys(&[":tables", "enter"]);
        let table = StickTable { name: "api".into(), kind: "ip".into(), size: 10, used: 2 };
        let asked = ticket(c);
        answer(c, Answer::Tables { ticket: asked, node: "lb1".into(), result: Ok(vec![table]) });
        c.keys(&["enter"]);
        let entry = |key: &str| StickTableEntry { key: key.into(), fields: vec![("conn_cur".into(), "4".into())] };
        let asked = ticket(c);
        answer(
            c,
            Answer::Entries { ticket: asked, node: "lb1".into(), result: Ok(vec![entry("192.0.2.9"), entry("192.0.2.10")]) },
        );
    });
}

#[test]
fn leases_view() {
    shots("leases", |c| {
        c.keys(&["6"]);
        answer(c, Answer::Leases(leases()));
    });
}

fn operation(id: i64, exit: Option<lbdeck::model::Exit>) -> Operation {
    Operation {
        id,
        began: "2026-03-01T02:00:00Z".parse().unwrap(),
        ended: None,
        who: who(),
        state: if exit.is_some() { OperationState::Finished } else { OperationState::Abandoned },
        summary: format!("drain web/s{id}"),
        reason: Some("kernel update".into()),
        pools: vec!["web".into()],
        exit,
        request: serde_json::json!({"verb": "drain"}),
        plan: serde_json::json!({"steps": [{"node": "lb1", "commands": ["set server web/s1 state drain"]}]}),
        outcome: None,
        syslog: None,
    }
}

#[test]
fn audit() {
    use lbdeck::model::Exit;
    let rows = || vec![operation(3, Some(Exit::Ok)), operation(2, Some(Exit::Locked)), operation(1, None)];
    shots("audit", |c| {
        c.keys(&["8"]);
        answer(c, Answer::Audit(Ok(rows())));
    });
    shots("audit_fields", |c| {
        c.keys(&["8"]);
        answer(c, Answer::Audit(Ok(rows())));
        c.keys(&["f"]);
    });
}

#[test]
fn unfinished() {
    shots("unfinished", |c| {
        c.keys(&[":unfinished", "enter"]);
        let left = JournalEntry {
            seq: 0,
            node: "lb1".into(),
            target: web_s2(),
            change: Change::Drain,
            inverse: vec![Change::Ready],
            state: JournalState::Intent,
            text: None,
        };
        let unfinished = Unfinished {
            operation: 40,
            summary: "drain web/s2".into(),
            who: who(),
            began: "2026-03-01T02:00:00Z".parse().unwrap(),
            reason: None,
            left: vec![left],
        };
        answer(c, Answer::Unfinished(Ok(vec![unfinished])));
    });
}

#[test]
fn plan_dialog() {
    shots("plan", |c| {
        c.keys(&[":drain web/s2 --for 2h --reason 'kernel update' --deadline 5m", "enter"]);
    });
    shots("plan_field_wrong", |c| {
        c.keys(&[":server web/s2", "enter", "w", "300"]);
    });
}

/// Drains web/s2 through the dialog and lets two nodes report.
pub fn begin_drain(c: &mut Console) -> u64 {
    c.keys(&[":drain web/s2", "enter", "backtab", "web/s2", "enter"]);
    let run = c
        .asked
        .iter()
        .find_map(|e| if let Effect::Apply { plans } = e { plans.first().map(|p| p.run) } else { None })
        .expect("the plan is applied");
    let mut event = |node: &str, kind| {
        let node = (!node.is_empty()).then(|| NodeName::from(node));
        let target = node.is_some().then(web_s2);
        c.event(Event::Operation { run, event: OpEvent { operation: 42, at: fleet::wall(), node, target, kind } });
    };
    event("", EventKind::Started { summary: "drain web/s2".into() });
    for node in ["lb1", "lb3"] {
        let command = "set server web/s2 state drain".to_owned();
        event(node, EventKind::Sent { command, reply: String::new() });
        event(node, EventKind::Verified { state: "DRAIN".into() });
    }
    let waiting = |sessions, eta: Option<u64>| EventKind::Waiting {
        sessions,
        queue: 0,
        connections: Some(sessions),
        eta: eta.map(Duration::from_secs),
        waited: Duration::from_secs(2),
    };
    event("lb1", waiting(15, None));
    event("lb1", waiting(6, Some(9)));
    event("lb3", EventKind::Drained { after: Duration::from_secs(3), unseen: None });
    run
}

#[test]
fn running_operation() {
    shots("operation", |c| {
        begin_drain(c);
    });
    shots("operations", |c| {
        begin_drain(c);
        c.keys(&["7"]);
    });
}

#[test]
fn help_and_command_line_and_filter() {
    shots("help", |c| {
        c.keys(&["4", "?"]);
    });
    shots("command_line", |c| {
        c.keys(&[":drain web/", "tab", "tab"]);
    });
    shots("filter", |c| {
        c.keys(&["4", "/web[", "s"]);
    });
    shots("messages", |c| {
        c.keys(&["5", "d", "esc", "ctrl-c", "T", "9"]);
    });
}

#[test]
fn questions() {
    shots("new_host_key", |c| {
        let (answer, _) = tokio::sync::oneshot::channel();
        let host = "lb7.example.net".into();
        let fingerprint = "SHA256:2q3w4e5r6t7z8u9i0o1p2a3s4d5f6g7h8j9k0l1y2x3".into();
        c.event(Event::Prompt(PromptRequest::NewHostKey { host, key_type: "ssh-ed25519".into(), fingerprint, answer }));
    });
    shots("passphrase", |c| {
        let (answer, _) = tokio::sync::oneshot::channel();
        c.event(Event::Prompt(PromptRequest::Secret { question: "Passphrase of ~/.ssh/id_ed25519".into(), answer }));
        c.keys(&["hunter2"]);
    });
}

#[test]
fn hostile_names_are_rendered_harmlessly() {
    let start = Instant::now();
    for (width, height) in SIZES {
        let mut console = Console::on(width, height, fleet::config(), fleet::hostile(start), start, ThemeName::Dark);
        for keys in [&["4"][..], &["enter"], &["2", "enter"], &["1"]] {
            console.keys(keys);
            let buffer = console.buffer();
            for cell in buffer.content() {
                assert!(
                    cell.symbol().chars().all(|c| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{feff}')),
                    "{:?} reaches the terminal",
                    cell.symbol()
                );
            }
        }
        console.keys(&["4"]);
        insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(format!("hostile_{width}x{height}"), console.screen());
        });
    }
}

#[test]
fn small_terminals_say_so() {
    let mut console = Console::new(10, 3);
    insta::assert_snapshot!(console.screen(), @r"
    4/6 fresh
    6 problems
    q quits
    ");
}

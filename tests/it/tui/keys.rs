//! Keys and clicks through the whole state: what they change, and what they ask for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lbdeck::app::PromptRequest;
use lbdeck::model::{Health, StatusWord};
use lbdeck::ops::{Approval, AtDeadline, Verb};
use lbdeck::tui::event::{Effect, Event};
use lbdeck::tui::state::screen::Screen;
use lbdeck::tui::theme::ThemeName;

use super::fleet;
use super::harness::Console;
use super::snapshots::begin_drain;

fn applied(console: &Console) -> Vec<&lbdeck::tui::event::Confirmed> {
    console.asked.iter().flat_map(|e| if let Effect::Apply { plans } = e { plans.iter().collect() } else { Vec::new() }).collect()
}

#[test]
fn enter_drills_down_and_escape_comes_back_up() {
    let mut c = Console::new(120, 40);
    c.keys(&["3", "end", "enter"]);
    assert_eq!(*c.state.screen(), Screen::Servers(Some("web".into())));
    c.keys(&["enter"]);
    assert!(matches!(c.state.screen(), Screen::Server(s) if s.to_string() == "web/s1"), "{:?}", c.state.screen());
    c.keys(&["enter"]);
    assert!(matches!(c.state.screen(), Screen::Sessions { node: Some(n), .. } if n.as_str() == "lb1"));
    c.keys(&["esc", "esc", "esc", "esc"]);
    assert_eq!(*c.state.screen(), Screen::Overview);
    c.keys(&["[", "[", "]"]);
    assert_eq!(*c.state.screen(), Screen::Pools);
}

#[test]
fn a_problem_leads_to_where_it_is() {
    let mut c = Console::new(120, 40);
    assert!(c.screen().contains("▸ ✖ node dead"), "{}", c.screen());
    c.keys(&["enter"]);
    assert_eq!(*c.state.screen(), Screen::Node("lb6".into()));
}

#[test]
fn nothing_is_sent_before_the_word_is_typed_and_then_exactly_the_plan_that_was_shown() {
    let mut c = Console::new(120, 40);
    c.keys(&[":drain web/s2 --for 2h --reason maintenance --deadline 5m --then kill", "enter"]);
    assert!(c.screen().contains("⇒ set server web/s2 state drain"), "{}", c.screen());
    c.keys(&["backtab", "enter"]);
    assert!(applied(&c).is_empty(), "not typed yet");
    assert!(c.screen().contains("type web/s2 to confirm"));
    c.keys(&["web/s1", "enter"]);
    assert!(applied(&c).is_empty(), "the wrong word");
    c.keys(&["backtab", "tab"]);
    for _ in 0.."web/s1".len() {
        c.event(Event::Terminal(crossterm::event::Event::Key(crossterm::event::KeyCode::Backspace.into())));
    }
    c.keys(&["web/s2", "enter"]);
    let plans = applied(&c);
    assert_eq!(plans.len(), 1);
    assert_eq!(plans[0].approval, Approval::Typed("web/s2".into()));
    let Verb::Drain(options) = &plans[0].plan.request.verb else { panic!("{:?}", plans[0].plan.request) };
    assert_eq!((options.deadline, options.then), (Some(Duration::from_secs(300)), AtDeadline::Kill));
    assert_eq!(plans[0].plan.request.lease, Some(Duration::from_secs(7200)));
    assert!(matches!(c.state.screen(), Screen::Operation(_)), "its progress is shown");
}

#[test]
fn escape_and_ctrl_c_leave_the_dialog_with_nothing_sent() {
    for key in ["esc", "ctrl-c"] {
        let mut c = Console::new(80, 24);
        c.keys(&["4", "d", key]);
        assert!(c.state.form.is_none());
        assert!(applied(&c).is_empty());
        assert!(!c.asked.iter().any(|e| matches!(e, Effect::Quit)));
    }
}

#[test]
fn a_drain_from_the_list_takes_the_selected_servers_and_a_node_view_only_its_node() {
    let mut c = Console::new(120, 40);
    c.keys(&["4", "/web", "enter", "space", "space", "d"]);
    let title = c.state.form.as_ref().map(|f| f.title.clone());
    assert_eq!(title.as_deref(), Some("drain 2 servers on every node that has it"));
    c.keys(&["esc", ":node lb1", "enter", "end", "d"]);
    let title = c.state.form.as_ref().map(|f| f.title.clone());
    assert_eq!(title.as_deref(), Some("drain web/s10 on lb1 only"));
    let form = c.state.form.as_mut().unwrap();
    let requests = form.requests().unwrap();
    assert_eq!(requests[0].selector.nodes, ["lb1"]);
}

#[test]
fn keys_that_cannot_work_say_why() {
    let mut c = Console::new(120, 40);
    c.keys(&[":node lb4", "enter", "d"]);
    assert!(c.state.form.is_none());
    assert!(c.screen().contains("pool legacy is read-only"), "{}", c.screen());

    let mut config = fleet::config();
    config.policies.clear();
    let start = Instant::now();
    let mut c = Console::on(120, 40, config.clone(), fleet::view(start), start, ThemeName::Dark);
    c.keys(&[":node lb4", "enter", "d"]);
    assert!(c.screen().contains("level user only; changes need level admin"), "{}", c.screen());

    config.settings.read_only = true;
    let mut c = Console::on(120, 40, config, fleet::view(start), start, ThemeName::Mono);
    c.keys(&["4", ":drain web/s1", "enter"]);
    assert!(c.state.form.is_none());
    let screen = c.screen();
    assert!(screen.contains("READ-ONLY") && screen.contains("(d) drain"), "{screen}");
}

#[test]
fn the_filter_is_live_and_a_bad_one_changes_nothing() {
    let mut c = Console::new(120, 40);
    c.keys(&["4", "/s1"]);
    let narrowed = c.screen();
    assert!(narrowed.contains("web/s10") && !narrowed.contains("api/a1"), "{narrowed}");
    c.keys(&["("]);
    let screen = c.screen();
    assert!(screen.contains("not applied") && screen.contains("web/s10") && !screen.contains("api/a1"), "{screen}");
    c.keys(&["esc"]);
    assert!(c.screen().contains("api/a1"));
}

#[test]
fn clicks_choose_rows_sort_columns_and_open_views() {
    let mut c = Console::new(120, 40);
    c.click_on("3 Pools");
    assert_eq!(*c.state.screen(), Screen::Pools);
    c.click_on("web ");
    assert_eq!(*c.state.screen(), Screen::Pools, "the first click only moves the cursor");
    c.click_on("web ");
    assert_eq!(*c.state.screen(), Screen::Servers(Some("web".into())));
    let before = c.state.journey.here.list.sort;
    c.click_on("SESS");
    let after = c.state.journey.here.list.sort;
    assert_ne!(before, after);
    c.click_on("SESS▲");
    assert!(c.state.journey.here.list.sort.descending);
    c.click_on("Pools ›");
    assert_eq!(*c.state.screen(), Screen::Pools);
}

#[test]
fn leaving_with_operations_running_asks_twice_and_stops_them() {
    let mut c = Console::new(120, 40);
    let run = begin_drain(&mut c);
    c.keys(&["q"]);
    assert!(!c.asked.iter().any(|e| matches!(e, Effect::Quit | Effect::Stop { .. })));
    c.keys(&["q"]);
    assert!(c.asked.iter().any(|e| matches!(e, Effect::Stop { run: r } if *r == run)));
    assert!(!c.asked.iter().any(|e| matches!(e, Effect::Quit)), "it is waited for");
    c.event(Event::OperationOver { run });
    assert!(c.asked.iter().any(|e| matches!(e, Effect::Quit)));
}

#[test]
fn questions_of_connections_are_answered_in_turn() {
    let mut c = Console::new(80, 24);
    let (key, key_answer) = tokio::sync::oneshot::channel();
    let (secret, secret_answer) = tokio::sync::oneshot::channel();
    let (other, other_answer) = tokio::sync::oneshot::channel();
    let host_key = |answer| PromptRequest::NewHostKey {
        host: "lb7".into(),
        key_type: "ssh-ed25519".into(),
        fingerprint: "SHA256:x".into(),
        answer,
    };
    c.event(Event::Prompt(host_key(key)));
    c.event(Event::Prompt(PromptRequest::Secret { question: "passphrase".into(), answer: secret }));
    c.event(Event::Prompt(host_key(other)));
    c.keys(&["q", "y"]);
    assert_eq!(key_answer.blocking_recv(), Ok(true));
    c.keys(&["hun ter2"]);
    assert!(!c.screen().contains("hun"), "a secret is not shown");
    c.keys(&["enter", "n"]);
    assert_eq!(secret_answer.blocking_recv().as_deref(), Ok("hun ter2"));
    assert!(other_answer.blocking_recv().is_err(), "dropped: a no");
    assert!(!c.state.questions.is_open());
}

#[test]
fn every_size_is_survived_in_every_view() {
    let mut c = Console::new(80, 24);
    let dialog: &[&str] = &["4", "d"];
    let views: [&[&str]; 14] = [
        &["1"],
        &["2"],
        &["2", "enter"],
        &["3"],
        &["4"],
        &["4", "enter"],
        &["5"],
        &["6"],
        &["7"],
        &["8"],
        &["9"],
        &["4", "?"],
        &["4", ":d"],
        dialog,
    ];
    for view in views {
        c.keys(&["esc", "esc", "esc", "esc"]).keys(view);
        // Small, narrow, flat, large, and back.
        for (width, height) in [(10, 3), (1, 1), (60, 14), (61, 200), (300, 15), (80, 24), (2, 60), (500, 2), (120, 40)] {
            c.resize(width, height);
            c.screen();
        }
    }
}

#[test]
fn states_are_told_without_colour() {
    let start = Instant::now();
    let mut c = Console::on(200, 60, fleet::config(), fleet::view(start), start, ThemeName::Mono);
    c.keys(&["4"]);
    let screen = c.screen();
    for sign in ["● UP", "✖ DOWN", "◐ DRAIN", "~ UP", "≠", "✖lb6", "◌lb5", "⟲"] {
        assert!(screen.contains(sign), "{sign} in\n{screen}");
    }
    use ratatui::style::Color;
    assert!(c.buffer().content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}

#[test]
fn old_data_grows_old_in_sight() {
    let mut c = Console::new(120, 40);
    c.keys(&["2"]);
    assert!(c.screen().contains("data 0.4s–12s old"), "{}", c.screen());
    c.wait(Duration::from_secs(60));
    assert!(c.screen().contains("data 1m00s–1m12s old"), "{}", c.screen());
}

#[test]
fn the_plan_follows_the_fleet_until_it_is_about_to_be_confirmed() {
    let start = Instant::now();
    let mut c = Console::new(120, 40);
    c.keys(&[":drain api/a1", "enter"]);
    assert!(c.screen().contains("api/a1: drain  (now UP, weight 100, 120 sessions)"), "{}", c.screen());
    let busier = |sessions| {
        let mut view = fleet::view(start);
        let pools =
            vec![fleet::pool("api", vec![fleet::server("a1", StatusWord::Up, sessions), fleet::server("a2", StatusWord::Up, 1)])];
        Arc::make_mut(&mut view).nodes = vec![fleet::node("lb1", "eu-1", Health::Fresh, start, Duration::ZERO, pools)];
        Event::View(view)
    };
    c.event(busier(777));
    assert!(c.screen().contains("777 sessions"), "{}", c.screen());
    c.keys(&["backtab"]);
    c.event(busier(888));
    assert!(c.screen().contains("777 sessions"), "what is confirmed is what was read");
    c.keys(&["enter"]);
    assert!(applied(&c)[0].plan.steps[0].now.contains("777"));
}

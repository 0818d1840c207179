//! The command line in a terminal: colour, questions, progress.

use std::time::Duration;

use portable_pty::CommandBuilder;

use super::Pair;
use crate::support::app::HeldRequest;
use crate::support::terminal::Terminal;
use crate::support::wait;

/// lbdeck in a terminal of 100x30, as one operator of the pair's fleet.
fn in_terminal(plain: &std::process::Command, env: &[(&str, &str)]) -> Terminal {
    let mut command = CommandBuilder::new(plain.get_program());
    command.args(plain.get_args());
    command.env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap());
    }
    for (name, value) in env {
        command.env(name, value);
    }
    Terminal::start(command, (100, 30))
}

fn run(pair: &Pair, words: &[&str], env: &[(&str, &str)]) -> Terminal {
    in_terminal(&pair.fleet.command(words), env)
}

#[test]
fn colour_is_for_terminals_and_no_color_is_honoured() {
    let pair = Pair::start();
    let coloured = |words: &[&str], env: &[(&str, &str)]| {
        let terminal = run(&pair, words, env);
        terminal.wrote("web3");
        let (code, text) = terminal.ends_with();
        assert_eq!(code, 0, "{text}");
        text.contains("\u{1b}[")
    };
    assert!(coloured(&["server", "list"], &[]));
    assert!(coloured(&["server", "list"], &[("NO_COLOR", "")]), "an empty NO_COLOR says nothing");
    assert!(!coloured(&["server", "list"], &[("NO_COLOR", "1")]));
    assert!(!coloured(&["server", "list", "--no-color"], &[]));
    assert!(!coloured(&["server", "list"], &[("TERM", "dumb")]));
    assert!(!coloured(&["server", "list", "-o", "csv"], &[]));
}

#[test]
fn a_change_asks_and_no_means_no() {
    let pair = Pair::start();
    let mut terminal = run(&pair, &["server", "drain", "web/web1", "--no-wait"], &[]);
    terminal.wrote("set server web/web1 state drain");
    terminal.wrote("Do it?");
    terminal.press("n");
    let (code, text) = terminal.ends_with();
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("nothing was sent"), "{text}");
    assert_ne!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);

    let mut terminal = run(&pair, &["server", "drain", "web/web1", "--no-wait"], &[]);
    terminal.wrote("Do it?");
    terminal.press("y");
    let (code, text) = terminal.ends_with();
    assert_eq!(code, 0, "{text}");
    assert_eq!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);
}

#[test]
fn what_is_dangerous_wants_the_name_typed() {
    let pair = Pair::start();
    let kill = ["server", "kill-sessions", "web/web1"];
    let mut held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
    let mut terminal = run(&pair, &kill, &[]);
    terminal.wrote("Type web/web1");
    terminal.press("web/web2\r");
    assert_eq!(terminal.ends_with().0, 5);
    assert_eq!(held.iter_mut().filter_map(|h| h.is_over().then_some(())).count(), 0);
    let mut terminal = run(&pair, &kill, &[]);
    terminal.wrote("Type web/web1");
    terminal.press("web/web1\r");
    let (code, text) = terminal.ends_with();
    assert_eq!(code, 0, "{text}");
    wait::until("one session ends", Duration::from_secs(5), || {
        (held.iter_mut().filter_map(|h| h.is_over().then_some(())).count() == 1).then_some(())
    });
}

#[test]
fn ctrl_c_at_the_question_sends_nothing_and_shows_the_cursor() {
    let pair = Pair::start();
    let mut terminal = run(&pair, &["server", "drain", "web/web1"], &[]);
    terminal.wrote("Do it?");
    terminal.press("\u{3}");
    let (code, text) = terminal.ends_with();
    assert_ne!(code, 0, "{text}");
    assert_ne!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);
    let (hidden, shown) = (text.rfind("\u{1b}[?25l"), text.rfind("\u{1b}[?25h"));
    assert!(hidden.is_none() || shown > hidden, "the cursor stays hidden: {text:?}");
}

#[test]
fn progress_shows_the_sessions_that_are_left() {
    let pair = Pair::start();
    let _held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
    let mut terminal = run(&pair, &["server", "drain", "web/web1", "--yes"], &[]);
    terminal.wrote("1 session left");
    terminal.press("\u{3}");
    let (code, text) = terminal.ends_with();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("stopping") && text.contains("NOT DRAINED"), "{text}");
    // Of the progress nothing is left behind on the screen.
    let mut screen = vt100::Parser::new(30.try_into().unwrap(), 100.try_into().unwrap(), 0);
    screen.process(text.as_bytes());
    let left = screen.screen().contents();
    assert!(left.contains("NOT DRAINED") && !left.contains("no end in sight"), "{left}");
}

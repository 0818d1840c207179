//! The real program in a real pseudo-terminal, on real haproxy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portable_pty::CommandBuilder;
use tempfile::TempDir;

use crate::support::app::{App, HeldRequest};
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::terminal::Terminal;
use crate::support::wait::until;

const LONG: Duration = Duration::from_secs(20);

/// lbdeck in a terminal of its own, in a folder that has a fleet file and its memory.
struct Session {
    terminal: Terminal,
    dir: Arc<TempDir>,
}

impl std::ops::Deref for Session {
    type Target = Terminal;
    fn deref(&self) -> &Terminal {
        &self.terminal
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Terminal {
        &mut self.terminal
    }
}

impl Session {
    fn start(fleet: &str, size: (u16, u16)) -> Session {
        Session::with(fleet, size, &[])
    }

    fn with(fleet: &str, size: (u16, u16), environment: &[(&str, &str)]) -> Session {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("lbdeck.yaml"), fleet).unwrap();
        Session::open(Arc::new(dir), size, environment)
    }

    /// In a folder that has a fleet file, and perhaps the memory of a run before.
    fn open(dir: Arc<TempDir>, size: (u16, u16), environment: &[(&str, &str)]) -> Session {
        let terminal = Terminal::start(console(&dir, environment), size);
        Session { terminal, dir }
    }
}

fn console(dir: &TempDir, environment: &[(&str, &str)]) -> CommandBuilder {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lbdeck"));
    command.arg("--fleet");
    command.arg(dir.path().join("lbdeck.yaml"));
    command.arg("tui");
    command.env("LBDECK_STATE", dir.path().join("state"));
    for (name, value) in environment {
        command.env(name, value);
    }
    command
}

/// A fleet file with these haproxies as nodes lb1, lb2 …
fn fleet(haproxies: &[&Haproxy]) -> String {
    let mut text = String::from("settings: {refresh: 200ms, timeout: 1s}\nnodes:\n");
    for (n, haproxy) in haproxies.iter().enumerate() {
        let (socket, locks) = (haproxy.socket(), haproxy.dir().join("locks"));
        text.push_str(&format!(
            "  - {{name: lb{}, local: true, lock_dir: {}, engines: {{haproxy: {{socket: {}}}}}}}\n",
            n + 1,
            locks.display(),
            socket.display()
        ));
    }
    text
}

fn web(app: &App) -> Haproxy {
    let pool = Pool::new("web").server("s1", app.addr, "").server("s2", app.addr, "").server("s3", app.addr, "");
    Haproxy::builder().pool(pool).start()
}

#[test]
fn a_server_is_drained_through_the_dialog_and_is_drained_in_haproxy() {
    let app = App::start("app");
    let haproxy = web(&app);
    let held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(haproxy.frontend("web"))).collect();
    assert_eq!(haproxy.stat("web", "s1", "scur"), "1");
    let mut lbdeck = Session::start(&fleet(&[&haproxy]), (120, 40));
    lbdeck.sees("1 fresh");
    lbdeck.press("3");
    lbdeck.sees("web");
    lbdeck.press("\r");
    lbdeck.sees("web/s1");
    lbdeck.press("d");
    lbdeck.sees("⇒ set server web/s1 state drain");
    assert_eq!(haproxy.stat("web", "s1", "status"), "no check", "nothing is sent by looking");
    // Back to the end of the dialog: the confirmation.
    lbdeck.press("\x1b[Z\r");
    lbdeck.sees("draining");
    assert_eq!(haproxy.stat("web", "s1", "status"), "DRAIN");
    app.release();
    drop(held);
    lbdeck.sees("drained after");
    lbdeck.sees("finished");
    assert_eq!(haproxy.stat("web", "s1", "scur"), "0");
    // And undone from where one stands.
    lbdeck.press("u");
    lbdeck.sees("⇒ set server web/s1 state ready");
    lbdeck.press("\x1b[Z\r");
    until("s1 is ready again", LONG, || (haproxy.stat("web", "s1", "status") == "no check").then_some(()));
    lbdeck.press("q");
    assert_eq!(lbdeck.ends(), 0);
    lbdeck.assert_restored();
}

#[test]
fn however_it_ends_the_terminal_is_as_it_was() {
    let app = App::start("app");
    let haproxy = web(&app);
    let fleet = fleet(&[&haproxy]);
    type End = fn(&mut Session);
    let ends: [(&str, End); 5] = [
        ("q", |s| s.press("q")),
        ("ctrl-c", |s| s.press("\x03")),
        (":quit", |s| s.press(":quit\r")),
        ("SIGTERM", |s| s.signal(Signal::SIGTERM)),
        ("SIGHUP", |s| s.signal(Signal::SIGHUP)),
    ];
    for (name, end) in ends {
        let mut lbdeck = Session::start(&fleet, (80, 24));
        lbdeck.sees("1 fresh");
        assert!(lbdeck.screen.lock().unwrap().screen().alternate_screen());
        end(&mut lbdeck);
        assert_eq!(lbdeck.ends(), 0, "{name}");
        lbdeck.assert_restored();
    }
}

#[test]
fn what_a_killed_console_left_behind_is_offered_at_the_next_start() {
    let app = App::start("app");
    let haproxy = web(&app);
    let held = HeldRequest::open(haproxy.frontend("web"));
    let server = (1..=3).map(|n| format!("s{n}")).find(|s| haproxy.stat("web", s, "scur") == "1").unwrap();
    let mut lbdeck = Session::start(&fleet(&[&haproxy]), (120, 40));
    lbdeck.sees("1 fresh");
    lbdeck.press(&format!(":drain web/{server}\r"));
    lbdeck.sees("⇒ set server");
    lbdeck.press("\x1b[Z\r");
    lbdeck.sees("draining");
    let dir = lbdeck.dir.clone();
    lbdeck.signal(Signal::SIGKILL);
    lbdeck.ends();
    drop(lbdeck);
    let mut next = Session::open(dir, (120, 40), &[]);
    next.sees("Left unfinished");
    next.sees(&format!("lb1: web/{server} drain"));
    next.sees("1 fresh");
    next.press("u");
    next.sees(&format!("⇒ set server web/{server} state ready"));
    next.press("\x1b[Z\r");
    until("the server is ready again", LONG, || (haproxy.stat("web", &server, "status") == "no check").then_some(()));
    drop(held);
    next.press("q");
    assert_eq!(next.ends(), 0);
}

/// Set for the run of the next test inside itself, in a terminal of its own.
const PANICS: &str = "LBDECK_TEST_PANICS_IN_THE_CONSOLE";

#[test]
fn a_panic_gives_the_terminal_back() {
    if std::env::var_os(PANICS).is_some() {
        let _screen = lbdeck::tui::terminal::Screen::take(true).unwrap();
        panic!("the panic that was asked for");
    }
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tui::pty::a_panic_gives_the_terminal_back", "--nocapture", "--test-threads=1"]);
    command.env(PANICS, "1");
    let mut terminal = Terminal::start(command, (80, 24));
    assert_eq!(terminal.ends(), 101, "the child panicked");
    terminal.assert_restored();
    let (_, all) = terminal.ends_with();
    let (left, said) = (all.find("\x1b[?1049l").unwrap(), all.find("the panic that").unwrap());
    assert!(left < said, "the panic's words are on the screen that stays");
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again() {
    let app = App::start("app");
    let haproxy = web(&app);
    // A shell with job control, as a person has: it says what stopped, and lets it go on.
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("lbdeck.yaml"), fleet(&[&haproxy])).unwrap();
    let mut command = CommandBuilder::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    command.env("LBDECK_STATE", dir.path().join("state"));
    command.env("PS1", "ready> ");
    let mut shell = Terminal::start(command, (100, 30));
    shell.sees("ready>");
    shell.press(&format!("{} --fleet {} tui\r", env!("CARGO_BIN_EXE_lbdeck"), dir.path().join("lbdeck.yaml").display()));
    shell.sees("1 fresh");
    shell.press(":pools");
    shell.sees(":pools");
    for _ in 0..2 {
        shell.press("\x1a");
        shell.sees("Stopped");
        let modes = |shell: &Terminal| {
            let parser = shell.screen.lock().unwrap();
            (parser.screen().alternate_screen(), parser.screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None)
        };
        assert_eq!(modes(&shell), (false, false));
        shell.press("fg\r");
        // What was being typed is there again.
        shell.sees_that("the console", |text| text.contains("1 fresh") && text.contains(":pools"));
        assert_eq!(modes(&shell), (true, true));
    }
    shell.press("\x1b");
    shell.sees_that("the command line to be closed", |text| !text.contains(":pools"));
    shell.press("q");
    shell.sees("ready>");
    shell.press("exit\r");
    shell.ends();
}

#[test]
fn a_locale_without_utf_8_gets_ascii() {
    let app = App::start("app");
    let haproxy = web(&app);
    let mut lbdeck = Session::with(&fleet(&[&haproxy]), (120, 40), &[("LC_ALL", "C")]);
    lbdeck.sees("1 fresh");
    lbdeck.press("4");
    lbdeck.sees("n NO CHECK");
    lbdeck.press("?");
    lbdeck.sees("KEYS OF ALL VIEWS");
    assert!(lbdeck.text().is_ascii(), "{}", lbdeck.text());
    // Escape with a letter right behind it would be read as one key.
    lbdeck.press("\x1b");
    lbdeck.sees_that("the view without help", |text| !text.contains("KEYS OF ALL VIEWS"));
    lbdeck.press("q");
    assert_eq!(lbdeck.ends(), 0);
    assert!(lbdeck.written().is_ascii());
}

#[test]
fn tiny_terminals_and_a_resize_storm_are_survived() {
    let app = App::start("app");
    let haproxy = web(&app);
    let mut lbdeck = Session::start(&fleet(&[&haproxy]), (10, 3));
    lbdeck.sees("1/1 fresh");
    for n in 0..300u16 {
        lbdeck.resize(1 + n * 7 % 220, 1 + n * 13 % 70);
        if n % 20 == 0 {
            lbdeck.press("4");
        }
    }
    lbdeck.resize(100, 30);
    lbdeck.press("4");
    lbdeck.sees("web/s3");
    lbdeck.press("q");
    assert_eq!(lbdeck.ends(), 0);
    lbdeck.assert_restored();
}

#[test]
fn a_hung_node_is_marked_and_delays_no_key() {
    let app = App::start("app");
    let (good, hung) = (web(&app), web(&app));
    let mut lbdeck = Session::start(&fleet(&[&good, &hung]), (100, 30));
    lbdeck.sees("2 fresh");
    hung.freeze();
    lbdeck.press("2");
    lbdeck.sees("stale");
    // Live sessions of both nodes: one answers, the other does not, and the view says so.
    lbdeck.press(":sessions lb2\r");
    lbdeck.sees("waiting for 1");
    let mut answers = Vec::new();
    for n in 0..21 {
        let (key, title) = if n % 2 == 0 { ("3", "POOL▲") } else { ("5", "FRONTEND▲") };
        let began = Instant::now();
        lbdeck.press(key);
        lbdeck.sees(title);
        answers.push(began.elapsed());
    }
    answers.sort();
    hung.signal(Signal::SIGCONT);
    assert!(answers[answers.len() / 2] <= Duration::from_millis(50), "{answers:?}");
    lbdeck.press("2");
    lbdeck.sees("2 fresh");
    hung.freeze();
    lbdeck.press("q");
    let began = Instant::now();
    assert_eq!(lbdeck.ends(), 0);
    assert!(began.elapsed() < Duration::from_secs(3), "a hung node holds up the end: {:?}", began.elapsed());
    hung.signal(Signal::SIGCONT);
}

#[test]
fn no_color_is_honoured_by_the_program() {
    let app = App::start("app");
    let haproxy = web(&app);
    let lbdeck = Session::with(&fleet(&[&haproxy]), (100, 30), &[("NO_COLOR", "1")]);
    lbdeck.sees("1 fresh");
    let parser = lbdeck.screen.lock().unwrap();
    for row in 0..30 {
        for column in 0..100 {
            let cell = parser.screen().cell(row, column).unwrap();
            assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Default, vt100::Color::Default));
        }
    }
}

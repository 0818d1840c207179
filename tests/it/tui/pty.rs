//! The real program in a real pseudo-terminal, on real haproxy.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;

use crate::support::app::{App, HeldRequest};
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::wait::until;

const LONG: Duration = Duration::from_secs(20);

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a terminal has a size")
}

/// lbdeck in a terminal of its own. Ends with the value.
struct Session {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    dir: Arc<TempDir>,
}

impl Session {
    fn start(fleet: &str, (columns, rows): (u16, u16)) -> Session {
        Session::with(fleet, (columns, rows), &[])
    }

    fn with(fleet: &str, size: (u16, u16), environment: &[(&str, &str)]) -> Session {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("lbdeck.yaml"), fleet).unwrap();
        Session::open(Arc::new(dir), size, environment)
    }

    /// In a folder that has a fleet file, and perhaps the memory of a run before.
    fn open(dir: Arc<TempDir>, (columns, rows): (u16, u16), environment: &[(&str, &str)]) -> Session {
        let file = dir.path().join("lbdeck.yaml");
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lbdeck"));
        command.arg("--fleet");
        command.arg(&file);
        command.arg("tui");
        command.env("LBDECK_STATE", dir.path().join("state"));
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
        let (mut output, parser) = (pty.master.try_clone_reader().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..n]);
            }
        });
        let keyboard = pty.master.take_writer().unwrap();
        Session { master: pty.master, child, keyboard, screen, dir }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn sees(&self, what: &str) {
        self.sees_that(what, |text| text.contains(what));
    }

    fn sees_that(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + LONG;
        while !holds(&self.text()) {
            assert!(Instant::now() < end, "never saw {what} on\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.process_id().unwrap()).unwrap()), signal).unwrap();
    }

    /// Waits for its end; the exit code (130-like for signals that killed it).
    fn ends(&mut self) -> u32 {
        until("lbdeck ends", LONG, || self.child.try_wait().unwrap()).exit_code()
    }

    /// The terminal is as it was: main screen, visible cursor, no mouse, no raw mode.
    fn assert_restored(&self) {
        until("the terminal is restored", LONG, || {
            let parser = self.screen.lock().unwrap();
            let screen = parser.screen();
            let restored = !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
            restored.then_some(())
        });
        let flags = self.master.get_termios().expect("a pty has settings").local_flags.bits();
        let cooked = (LocalFlags::ECHO | LocalFlags::ICANON).bits();
        assert_eq!(flags & cooked, cooked, "left raw");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// What the next test runs in a terminal of its own.
#[test]
#[ignore = "ends in a panic: the child of a_panic_gives_the_terminal_back"]
fn takes_the_terminal_and_panics() {
    let _screen = lbdeck::tui::terminal::Screen::take(true).unwrap();
    panic!("the panic that was asked for");
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let pty = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tui::pty::takes_the_terminal_and_panics", "--ignored", "--nocapture", "--test-threads=1"]);
    let child = pty.slave.spawn_command(command).unwrap();
    drop(pty.slave);
    let screen = Arc::new(Mutex::new(vt100::Parser::default()));
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (mut output, parser, log) = (pty.master.try_clone_reader().unwrap(), screen.clone(), bytes.clone());
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(n @ 1..) = output.read(&mut chunk) {
            parser.lock().unwrap().process(&chunk[..n]);
            log.lock().unwrap().extend_from_slice(&chunk[..n]);
        }
    });
    let keyboard = pty.master.take_writer().unwrap();
    let mut session = Session { master: pty.master, child, keyboard, screen, dir: Arc::new(TempDir::new().unwrap()) };
    assert_eq!(session.ends(), 101, "the child panicked");
    session.assert_restored();
    drop(session);
    reader.join().unwrap();
    let bytes = bytes.lock().unwrap();
    let all = String::from_utf8_lossy(&bytes);
    let (left, said) = (all.find("\x1b[?1049l").unwrap(), all.find("the panic that").unwrap());
    assert!(left < said, "the panic's words are on the screen that stays");
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

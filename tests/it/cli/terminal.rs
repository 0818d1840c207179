//! The command line in a terminal: colour, questions, progress.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::Pair;
use crate::support::app::HeldRequest;
use crate::support::wait;

/// lbdeck in a pty of 100x30.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    _pty: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    fn run(pair: &Pair, words: &[&str], env: &[(&str, &str)]) -> Terminal {
        let pty = native_pty_system().openpty(PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 }).unwrap();
        let plain = pair.fleet.command(words);
        let mut command = CommandBuilder::new(plain.get_program());
        command.args(plain.get_args());
        command.env_clear();
        for (name, value) in plain.get_envs() {
            command.env(name, value.unwrap());
        }
        command.env("TERM", "xterm-256color");
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut source, sink) = (pty.master.try_clone_reader().unwrap(), shown.clone());
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = source.read(&mut chunk) {
                sink.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        let keys = pty.master.take_writer().unwrap();
        Terminal { child, _pty: pty.master, keys, shown, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn sees(&self, words: &str) {
        wait::until(&format!("'{words}' is shown"), Duration::from_secs(15), || self.text().contains(words).then_some(()));
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Its exit code and all that was shown.
    fn ends(mut self) -> (u32, String) {
        let status = wait::until("it ends", Duration::from_secs(15), || self.child.try_wait().unwrap());
        // The reader ends when nobody holds the other side any more: then all of it is there.
        self.reader.take().unwrap().join().unwrap();
        (status.exit_code(), self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn colour_is_for_terminals_and_no_color_is_honoured() {
    let pair = Pair::start();
    let coloured = |words: &[&str], env: &[(&str, &str)]| {
        let terminal = Terminal::run(&pair, words, env);
        terminal.sees("web3");
        let (code, text) = terminal.ends();
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
    let mut terminal = Terminal::run(&pair, &["server", "drain", "web/web1", "--no-wait"], &[]);
    terminal.sees("set server web/web1 state drain");
    terminal.sees("Do it?");
    terminal.types("n");
    let (code, text) = terminal.ends();
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("nothing was sent"), "{text}");
    assert_ne!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);

    let mut terminal = Terminal::run(&pair, &["server", "drain", "web/web1", "--no-wait"], &[]);
    terminal.sees("Do it?");
    terminal.types("y");
    let (code, text) = terminal.ends();
    assert_eq!(code, 0, "{text}");
    assert_eq!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);
}

#[test]
fn what_is_dangerous_wants_the_name_typed() {
    let pair = Pair::start();
    let kill = ["server", "kill-sessions", "web/web1"];
    let mut held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
    let mut terminal = Terminal::run(&pair, &kill, &[]);
    terminal.sees("Type web/web1");
    terminal.types("web/web2\r");
    assert_eq!(terminal.ends().0, 5);
    assert_eq!(held.iter_mut().filter_map(|h| h.is_over().then_some(())).count(), 0);
    let mut terminal = Terminal::run(&pair, &kill, &[]);
    terminal.sees("Type web/web1");
    terminal.types("web/web1\r");
    let (code, text) = terminal.ends();
    assert_eq!(code, 0, "{text}");
    wait::until("one session ends", Duration::from_secs(5), || {
        (held.iter_mut().filter_map(|h| h.is_over().then_some(())).count() == 1).then_some(())
    });
}

#[test]
fn ctrl_c_at_the_question_sends_nothing_and_shows_the_cursor() {
    let pair = Pair::start();
    let mut terminal = Terminal::run(&pair, &["server", "drain", "web/web1"], &[]);
    terminal.sees("Do it?");
    terminal.types("\u{3}");
    let (code, text) = terminal.ends();
    assert_ne!(code, 0, "{text}");
    assert_ne!(pair.stat("web1", "status"), ["DRAIN", "DRAIN"]);
    let (hidden, shown) = (text.rfind("\u{1b}[?25l"), text.rfind("\u{1b}[?25h"));
    assert!(hidden.is_none() || shown > hidden, "the cursor stays hidden: {text:?}");
}

#[test]
fn progress_shows_the_sessions_that_are_left() {
    let pair = Pair::start();
    let _held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(pair.lb1.frontend("web"))).collect();
    let mut terminal = Terminal::run(&pair, &["server", "drain", "web/web1", "--yes"], &[]);
    terminal.sees("1 session left");
    terminal.types("\u{3}");
    let (code, text) = terminal.ends();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("stopping") && text.contains("NOT DRAINED"), "{text}");
    // Of the progress nothing is left behind on the screen.
    let mut screen = vt100::Parser::new(30.try_into().unwrap(), 100.try_into().unwrap(), 0);
    screen.process(text.as_bytes());
    let left = screen.screen().contents();
    assert!(left.contains("NOT DRAINED") && !left.contains("no end in sight"), "{left}");
}

//! A program in a pseudo-terminal of its own: what it wrote, and what its screen shows.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::wait::until;

/// For whatever a busy machine may delay.
const LONG: Duration = Duration::from_secs(60);

/// Ends with the value, if it has not ended before.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    pub screen: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// The terminal hangs up when this goes.
    master: Box<dyn MasterPty + Send>,
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a terminal has a size")
}

fn size((columns, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    /// With a terminal of today and colours, unless the command's environment says otherwise.
    pub fn start(mut command: CommandBuilder, (columns, rows): (u16, u16)) -> Self {
        let pty = native_pty_system().openpty(size((columns, rows))).unwrap();
        for (name, value) in [("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")] {
            let ours = std::env::var_os(name);
            // What the tests themselves were started with says nothing of the program's terminal.
            if command.get_env(name).is_none_or(|v| ours.as_deref() == Some(v)) {
                command.env(name, value);
            }
        }
        if command.get_env("NO_COLOR") == std::env::var_os("NO_COLOR").as_deref() {
            command.env_remove("NO_COLOR");
        }
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut output, shown, log) = (pty.master.try_clone_reader().unwrap(), screen.clone(), written.clone());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..n]);
                log.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        let keyboard = pty.master.take_writer().unwrap();
        Self { child, keyboard, screen, written, reader: Some(reader), master: pty.master }
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.process_id().unwrap()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(size((columns, rows))).unwrap();
    }

    /// The screen as it is now.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    pub fn sees(&self, what: &str) {
        self.sees_that(what, |text| text.contains(what));
    }

    pub fn sees_that(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + LONG;
        while !holds(&self.text()) {
            assert!(Instant::now() < end, "never saw {what} on\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that was written so far, escape sequences included.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits for words that may be overwritten again at once.
    pub fn wrote(&self, words: &str) {
        until(&format!("'{words}' is written"), LONG, || self.written().contains(words).then_some(()));
    }

    /// Waits for the end of the program; its exit code.
    pub fn ends(&mut self) -> u32 {
        until("the program ends", LONG, || self.child.try_wait().unwrap()).exit_code()
    }

    /// Waits for its end: the exit code and all that was written.
    pub fn ends_with(mut self) -> (u32, String) {
        let code = self.ends();
        // The reader ends when nobody holds the other side any more: then all of it is there.
        self.reader.take().unwrap().join().unwrap();
        (code, self.written())
    }

    /// The terminal is as it was: main screen, visible cursor, no mouse, no raw mode.
    pub fn assert_restored(&self) {
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

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A program in a pseudo-terminal of its own, and what its screen shows.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::wait::until;

const LONG: Duration = Duration::from_secs(60);

/// Ends with the value, if it has not ended before.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// The terminal hangs up when this goes.
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    pub fn start(mut command: CommandBuilder, (columns, rows): (u16, u16)) -> Self {
        let pty = native_pty_system().openpty(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)));
        let (mut output, shown) = (pty.master.try_clone_reader().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..n]);
            }
        });
        let keyboard = pty.master.take_writer().unwrap();
        Self { child, keyboard, screen, _master: pty.master }
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.process_id().unwrap()).unwrap()), signal).unwrap();
    }

    pub fn sees(&self, what: &str) {
        until(what, LONG, || self.screen.lock().unwrap().screen().contents().contains(what).then_some(()));
    }

    /// Waits for the end of the program, which leaves the terminal as it was; its exit code.
    pub fn ends(&mut self) -> u32 {
        let code = until("the program ends", LONG, || self.child.try_wait().unwrap()).exit_code();
        until("the terminal is given back", LONG, || {
            let parser = self.screen.lock().unwrap();
            let screen = parser.screen();
            (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
        });
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

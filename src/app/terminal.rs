//! The terminal as it was before a question: whoever is interrupted while answering gets it back.

use dialoguer::console::Term;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

/// Puts echo, line mode and cursor back when dropped. A question that is cut short (Ctrl-C, SIGTERM) cannot do so itself,
/// because it waits for a key on another thread.
#[derive(Debug)]
pub struct TerminalGuard {
    was: Option<Termios>,
}

impl TerminalGuard {
    pub fn new() -> Self {
        Self { was: tcgetattr(std::io::stdin()).ok() }
    }
}

impl Default for TerminalGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing put back.
        if let Some(was) = &self.was {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, was);
        }
        let _ = Term::stderr().show_cursor();
    }
}

//! The terminal as it was before a question: whoever is interrupted while answering gets it back.

use dialoguer::console::Term;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

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

    /// The same, and until then Ctrl-C is not echoed as `^C`, which would tear what is being drawn.
    pub fn without_echo_of_keys() -> Self {
        let guard = Self::new();
        if let Some(mut quiet) = guard.was.clone() {
            quiet.local_flags.remove(LocalFlags::ECHOCTL);
            // Where this fails, the drawing is torn and nothing else.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &quiet);
        }
        guard
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

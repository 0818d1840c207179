//! The console: whole views by snapshot, driven by keys through the whole state; and the real program in a pty.

mod fleet;
mod harness;
mod keys;
mod pty;
mod snapshots;

//! Pollers turn engines into one `FleetView`, with age, source and error for each node.
//!
//! No mutation passes through here; questions that need the engine (sessions, tables, certificates) do, so that `tui`
//! and `cli` never touch an engine.

pub mod check;
pub mod describe;
mod history;
mod poll;
#[cfg(test)]
mod poll_tests;
pub mod probe;
#[cfg(test)]
mod probe_tests;
pub mod problems;
mod query;

pub use history::{History, Sample};
pub use poll::{Collector, Polling};

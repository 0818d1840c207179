//! The access log: what a listener logs, and where the relay's log goes.

use crate::config::reader::{Reader, Section};

/// What a listener says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {}

/// Keys of a listener that are read here.
pub const KEYS: &[&str] = &[];

/// Reads the keys of a listener.
pub fn read(_reader: &mut Reader<'_>, _listener: Section<'_>) -> Log {
    Log {}
}

/// What `global` says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobalLog {}

/// Keys of `global` that are read here.
pub const GLOBAL_KEYS: &[&str] = &[];

/// Reads the keys of `global`.
pub fn read_global(_reader: &mut Reader<'_>, _global: Section<'_>) -> GlobalLog {
    GlobalLog {}
}

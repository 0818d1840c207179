//! What clients may ask for, and how much of it.

use crate::config::reader::{Reader, Section};

/// What a listener says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Protect {}

/// Keys of a listener that are read here.
pub const KEYS: &[&str] = &[];

/// Reads the keys of a listener.
pub fn read(_reader: &mut Reader<'_>, _listener: Section<'_>) -> Protect {
    Protect {}
}

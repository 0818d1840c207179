//! Which pool takes a request, and what is changed or answered on the way.

use crate::config::reader::{Reader, Section};

use super::PoolNames;

/// What a listener says about it. Without any, all requests go to the listener's pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {}

/// Keys of a listener that are read here.
pub const KEYS: &[&str] = &[];

/// Reads the keys of a listener; `pools` is asked for every pool that a rule names.
pub fn read(_reader: &mut Reader<'_>, _listener: Section<'_>, _pools: &PoolNames) -> Routes {
    Routes {}
}

impl Routes {
    /// True where the rules alone say where every request goes, so that the listener needs no pool.
    pub fn is_complete(&self) -> bool {
        false
    }
}

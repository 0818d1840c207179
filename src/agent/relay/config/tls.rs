//! How a listener terminates TLS, and how a pool speaks it to its servers.

use crate::config::reader::{Reader, Section};

/// What a listener says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {}

/// Keys of a listener that are read here.
pub const LISTENER_KEYS: &[&str] = &[];

/// Reads the keys of a listener; None = plain text.
pub fn read_listener(_reader: &mut Reader<'_>, _listener: Section<'_>) -> Option<ListenerTls> {
    None
}

/// What a pool says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {}

/// Keys of a pool that are read here.
pub const POOL_KEYS: &[&str] = &[];

/// Reads the keys of a pool; None = plain text.
pub fn read_pool(_reader: &mut Reader<'_>, _pool: Section<'_>) -> Option<ServerTls> {
    None
}

//! What a release, a socket level and a balancing algorithm allow. Probed from what the engine says of itself.

use crate::model::{EngineInfo, PoolObs, SocketLevel};

/// First releases of what lbdeck uses.
pub const ADD_SERVER: (u16, u16) = (2, 4);
/// Before, `add server` hides behind `experimental-mode on`.
pub const ADD_SERVER_STABLE: (u16, u16) = (2, 6);
/// Before, only servers that were added at run time can be deleted.
pub const DELETE_ANY_SERVER: (u16, u16) = (2, 5);
pub const WAIT_REMOVABLE: (u16, u16) = (3, 0);
pub const SESSIONS_OF_SERVER: (u16, u16) = (3, 2);

/// True where the release is known and has it; an engine that does not tell its version gets the oldest way.
pub fn has(engine: &EngineInfo, first: (u16, u16)) -> bool {
    engine.release.is_some_and(|release| release >= first)
}

/// The words of `show cli level`.
pub fn level(reply: &[u8]) -> SocketLevel {
    match reply.trim_ascii() {
        b"admin" => SocketLevel::Admin,
        b"operator" => SocketLevel::Operator,
        b"user" => SocketLevel::User,
        _ => SocketLevel::Unknown,
    }
}

/// Why the engine will not accept changes at all, with what to do; None where it may.
pub fn refuses_changes(level: SocketLevel) -> Option<(&'static str, &'static str)> {
    match level {
        SocketLevel::User => Some(("the socket's level is user", RAISE_LEVEL)),
        SocketLevel::Operator => Some(("the socket's level is operator", RAISE_LEVEL)),
        SocketLevel::StatsReadOnly => Some((
            "the statistics page only shows",
            "add 'stats admin if …' to the node's configuration, or give lbdeck a socket",
        )),
        SocketLevel::Unknown | SocketLevel::Admin | SocketLevel::StatsAdmin => None,
    }
}

pub const RAISE_LEVEL: &str = "give lbdeck a socket with 'stats socket … level admin'";

/// How a pool's algorithm treats weights and dynamic servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Balance {
    Dynamic,
    /// Only weights 0 and 100 %, no servers at run time.
    Static,
    /// Hashes are either, by `hash-type`, which statistics do not show; so is a pool whose algorithm is hidden.
    Unknown,
}

pub fn balance(pool: Option<&PoolObs>) -> Balance {
    match pool.map_or("", |p| &p.algorithm) {
        "roundrobin" | "leastconn" | "first" | "random" => Balance::Dynamic,
        "static-rr" => Balance::Static,
        _ => Balance::Unknown,
    }
}

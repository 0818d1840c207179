//! What is known of a request when it has ended: for the access log and the counters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::site::Began;

/// One of HAProxy's two first letters of the termination state (configuration manual, 8.5): who ended it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(pub u8, pub u8);

impl Ended {
    /// An operator or the end of the relay ended it.
    pub const KILLED: Self = Self(b'K', b'D');
    pub const NORMAL: Self = Self(b'-', b'-');
    /// The relay answered by itself, as configured.
    pub const LOCAL: Self = Self(b'L', b'R');
    /// The relay refused the request.
    pub const DENIED: Self = Self(b'P', b'R');
    /// The client sent nonsense or went away before its request was whole.
    pub const CLIENT_REQUEST: Self = Self(b'C', b'R');
    pub const CLIENT_REQUEST_TIMEOUT: Self = Self(b'c', b'R');
    /// The client went away, or took nothing for too long, while data was passed.
    pub const CLIENT_DATA: Self = Self(b'C', b'D');
    pub const CLIENT_DATA_TIMEOUT: Self = Self(b'c', b'D');
    /// The client went away before the server answered.
    pub const CLIENT_HEADERS: Self = Self(b'C', b'H');
    /// The client went away while its request waited for a server.
    pub const CLIENT_QUEUE: Self = Self(b'C', b'Q');
    /// The client went away before there was a connection to the server.
    pub const CLIENT_CONNECT: Self = Self(b'C', b'C');
    pub const SERVER_CONNECT: Self = Self(b'S', b'C');
    pub const SERVER_CONNECT_TIMEOUT: Self = Self(b's', b'C');
    pub const SERVER_HEADERS: Self = Self(b'S', b'H');
    pub const SERVER_HEADERS_TIMEOUT: Self = Self(b's', b'H');
    /// What the server said makes no sense.
    pub const SERVER_NONSENSE: Self = Self(b'P', b'H');
    pub const SERVER_DATA: Self = Self(b'S', b'D');
    pub const SERVER_DATA_TIMEOUT: Self = Self(b's', b'D');
    pub const QUEUE_TIMEOUT: Self = Self(b's', b'Q');
}

/// What is gathered on the way.
#[derive(Clone, Debug)]
pub struct Told {
    pub client: SocketAddr,
    pub tls: bool,
    pub began: Began,
    /// The target as the client wrote it, where a route has rewritten it.
    pub original_target: Option<String>,
    /// Empty where the listener makes none.
    pub request_id: String,
    /// Place of the route in the router.
    pub route: Option<usize>,
    pub pool: Option<Arc<str>>,
    /// Place of the pool in the configuration.
    pub pool_place: Option<usize>,
    pub server: Option<Arc<str>>,
    /// Until the head of the request was there.
    pub request: Duration,
    pub queue: Option<Duration>,
    pub connect: Option<Duration>,
    /// From the request's being sent to the head of the response.
    pub response: Option<Duration>,
    pub total: Duration,
    pub status: Option<u16>,
    /// To the client, heads included.
    pub bytes: u64,
    /// Of the request's body.
    pub received: u64,
    pub retries: u32,
    /// The last attempt was made on another server than the one before.
    pub redispatched: bool,
    /// Requests in progress on the server and in the pool when it ended, without this one.
    pub busy: (u32, u32),
    pub ended: Ended,
}

impl Told {
    pub fn new(client: SocketAddr, tls: bool, began: Began) -> Self {
        Self {
            client,
            tls,
            began,
            original_target: None,
            request_id: String::new(),
            route: None,
            pool: None,
            pool_place: None,
            server: None,
            request: Duration::ZERO,
            queue: None,
            connect: None,
            response: None,
            total: Duration::ZERO,
            status: None,
            bytes: 0,
            received: 0,
            retries: 0,
            redispatched: false,
            busy: (0, 0),
            ended: Ended::NORMAL,
        }
    }
}

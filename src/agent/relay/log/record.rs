//! What is known of a request or connection when it ends: what the access log is made of.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::Version;

/// How long each step took; `None` = it was not reached (HAProxy writes -1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// TR: until the whole head of the request was there.
    pub request: Option<Duration>,
    /// Tw: in queues.
    pub queue: Option<Duration>,
    /// Tc: until the connection to the server stood; zero where one was kept.
    pub connect: Option<Duration>,
    /// Tr: until the head of the response was there.
    pub response: Option<Duration>,
    /// Ta: from the first byte of the request to the last of the response; for connections Tt, their whole life.
    pub total: Duration,
}

/// Connections and queues when the entry was written, the relay's own included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Of the relay.
    pub active: u32,
    pub listener: u32,
    pub pool: u32,
    pub server: u32,
    pub retries: u32,
    /// The last retry went to another server.
    pub redispatched: bool,
    pub server_queue: u32,
    pub pool_queue: u32,
}

/// How a session ended: HAProxy's first two letters of the termination state (configuration manual, 8.5), then two for cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination(pub [u8; 4]);

impl Termination {
    pub const NORMAL: Self = Self(*b"----");
    /// The server ended the connection before its response was complete.
    pub const SERVER_ABORT: Self = Self(*b"SD--");
    /// The client did not complete its request in time.
    pub const CLIENT_TIMEOUT: Self = Self(*b"cR--");
    /// The client went away while data was transferred.
    pub const CLIENT_ABORT: Self = Self(*b"CD--");
    /// The relay refused the request (a limit, a rule, nonsense).
    pub const DENIED: Self = Self(*b"PR--");
    /// The relay answered by itself (redirect, fixed response).
    pub const LOCAL: Self = Self(*b"LR--");
}

/// The line of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub version: Version,
    pub host: &'a str,
    pub user_agent: &'a [u8],
}

/// One entry. Text is borrowed: what is logged is copied once, into the buffer of its thread.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// `None` for a client on a unix socket.
    pub client: Option<SocketAddr>,
    /// First byte of the request (or start of the connection).
    pub started: SystemTime,
    pub listener: &'a str,
    pub tls: bool,
    /// Empty where none was picked.
    pub pool: &'a str,
    pub server: &'a str,
    pub route: &'a str,
    pub request_id: &'a str,
    pub times: Times,
    /// `None` where none was sent.
    pub status: Option<u16>,
    /// Bytes to the client, heads included.
    pub bytes: u64,
    pub termination: Termination,
    pub load: Load,
    /// `None` for TCP, which is logged with the fields of HAProxy's tcplog.
    pub request: Option<RequestLine<'a>>,
}

impl Record<'_> {
    /// What is kept whatever the load is: errors of servers, cut connections, and what got no response.
    pub fn is_error(&self) -> bool {
        let failed = self.request.is_some() && self.status.is_none_or(|s| s >= 500);
        failed || !matches!(self.termination.0.first(), Some(b'-' | b'L' | b'P'))
    }
}

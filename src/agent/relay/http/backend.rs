//! What the path of a request asks of a pool of servers. The pools themselves know nothing of HTTP's wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::Patience;
use super::head::RequestHead;
use super::upstream::Target;
use crate::agent::relay::pool::ServerId;

/// What a pool may look at to choose a server.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub request: &'a RequestHead,
    /// Behind trusted proxies the client that they name.
    pub client: SocketAddr,
    /// The client came over TLS: a cookie may be bound to it.
    pub tls: bool,
    /// Servers that failed this request: others are chosen where there are any.
    pub tried: &'a [ServerId],
}

/// Why there is no server for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoServer {
    #[error("no server is up")]
    Down,
    #[error("no server was free in time")]
    QueueTimeout,
    #[error("the queue is full")]
    QueueFull,
}

/// A pool.
pub trait Backend: 'static {
    type Lease: Lease;

    fn name(&self) -> &Arc<str>;
    /// A server for a request; waits in the pool's queue where all are full.
    fn pick(&self, ask: Ask<'_>) -> impl Future<Output = Result<Self::Lease, NoServer>>;
    /// How often a request is tried anew after a connection that could not be made.
    fn connect_retries(&self) -> u32;
    /// Whether a request that was sent and may be repeated is tried again: there are attempts left, and budget.
    fn may_retry(&self, attempt: u32) -> bool;
    fn patience(&self, client: Duration) -> Patience;
}

/// A server that was chosen for one request; dropping it ends what was counted.
pub trait Lease {
    fn target(&self) -> &Target;
    fn id(&self) -> ServerId;
    /// Requests in progress on the server and in its pool, this one included.
    fn busy(&self) -> (u32, u32);
    /// The request is tried again because of this server.
    fn retried(&self);
    /// Name of the server within its pool.
    fn server(&self) -> &Arc<str>;
    /// What a new connection begins with: a PROXY protocol header, or nothing.
    fn preamble(&self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Vec<u8>;
    /// `Set-Cookie` that binds the client to the server.
    fn set_cookie(&self) -> Option<String>;
    /// How it went; may be said more than once, the last counts.
    fn note(&mut self, outcome: ServerOutcome);
    /// Bytes of bodies that were passed to the server and from it.
    fn passed(&mut self, sent: u64, received: u64);
}

/// How a request to a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOutcome {
    /// A response with this status has begun.
    Answer(u16),
    ConnectFailed,
    /// The connection broke, was silent for too long, or what came made no sense.
    ResponseFailed,
}

//! What becomes of a session of layer 4 that has ended: bytes of its server, and a line of the access log with the fields of HAProxy's tcplog.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::http::backend::NoServer;
use super::http::site::Began;
use super::http::story::Ended;
use super::http::upgrade::Passed;
use super::http::upstream::ConnectError;
use super::log::{Load, Record, Termination, ThreadLog, Times};
use super::pool::{Pool, Server};

/// Logs the sessions of one listener on one data thread.
pub struct SessionLog {
    listener: Arc<str>,
    pool: Arc<Pool>,
    log: RefCell<ThreadLog>,
    /// How busy everything else is.
    load: Box<dyn Fn() -> Load>,
}

impl std::fmt::Debug for SessionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionLog").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl SessionLog {
    pub fn new(listener: Arc<str>, pool: Arc<Pool>, log: ThreadLog, load: impl Fn() -> Load + 'static) -> Self {
        Self { listener, pool, log: RefCell::new(log), load: Box::new(load) }
    }
}

/// One session until it ends, however it does: what is not said otherwise was ended by an operator.
#[derive(Debug)]
pub struct Story {
    log: Option<Rc<SessionLog>>,
    client: Option<SocketAddr>,
    tls: bool,
    began: Began,
    pub server: Option<Arc<Server>>,
    pub queue: Option<Duration>,
    pub connect: Option<Duration>,
    pub retries: u32,
    pub redispatched: bool,
    pub passed: Passed,
    pub ended: Ended,
}

impl Story {
    /// `log`: None where the listener is not logged.
    pub fn begin(log: Option<&Rc<SessionLog>>, client: Option<SocketAddr>, tls: bool) -> Self {
        Self {
            log: log.cloned(),
            client,
            tls,
            began: Began::now(),
            server: None,
            queue: None,
            connect: None,
            retries: 0,
            redispatched: false,
            passed: Passed::default(),
            ended: Ended::KILLED,
        }
    }

    /// Since it began.
    pub fn age(&self) -> Duration {
        self.began.at.elapsed()
    }

    /// There is no server for it.
    pub fn refused(&mut self, why: NoServer) {
        self.queue = Some(self.age());
        self.ended = match why {
            NoServer::Down => Ended::SERVER_CONNECT,
            NoServer::QueueTimeout | NoServer::QueueFull => Ended::QUEUE_TIMEOUT,
        };
    }

    /// No connection to its server could be made.
    pub fn unreachable(&mut self, why: &ConnectError) {
        self.ended = match why {
            ConnectError::Timeout(_) => Ended::SERVER_CONNECT_TIMEOUT,
            ConnectError::Io(_) | ConnectError::H2(_) => Ended::SERVER_CONNECT,
        };
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.stats.bytes_in.fetch_add(self.passed.sent, Ordering::Relaxed);
            server.stats.bytes_out.fetch_add(self.passed.received, Ordering::Relaxed);
        }
        let Some(log) = &self.log else { return };
        let load = Load {
            pool: log.pool.in_use(),
            server: self.server.as_ref().map_or(0, |server| server.in_use()),
            retries: self.retries,
            redispatched: self.redispatched,
            ..(log.load)()
        };
        let record = Record {
            client: self.client,
            started: self.began.wall,
            listener: &log.listener,
            tls: self.tls,
            pool: &log.pool.name,
            server: self.server.as_ref().map_or("", |server| &server.name),
            route: "",
            request_id: "",
            times: Times { queue: self.queue, connect: self.connect, total: self.age(), ..Times::default() },
            status: None,
            bytes: self.passed.received,
            termination: Termination([self.ended.0, self.ended.1, b'-', b'-']),
            load,
            request: None,
        };
        log.log.borrow_mut().log(&record);
    }
}

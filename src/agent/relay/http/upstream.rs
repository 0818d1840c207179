//! Connections to servers, kept by the thread that made them and used again, the youngest first.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::side::H1Side;
pub use super::spare::Idle;
use super::spare::{Counted, Kept, Spare};
use crate::agent::relay::buffer::Input;
use crate::agent::relay::stream::{Socket, Stream};
use crate::agent::relay::tls::connect::TlsToServer;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A server as a connection needs to know it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Differs wherever a kept connection must not be shared: another server, another address, other TLS.
    pub id: u64,
    pub address: ServerAddress,
    pub tls: Option<Arc<TlsToServer>>,
    /// Speak HTTP/2: with TLS if ALPN agrees, without TLS with prior knowledge (RFC 9113, 3.3).
    pub http2: bool,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    pub idle: Idle,
}

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("HTTP/2: {0}")]
    H2(#[from] h2::Error),
}

impl ConnectError {
    /// This process is out of descriptors, ports or memory: the server has nothing to do with it.
    pub fn is_own(&self) -> bool {
        use rustix::io::Errno;
        let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL, Errno::PERM];
        matches!(self, Self::Io(error) if own.iter().any(|own| error.raw_os_error() == Some(own.raw_os_error())))
    }
}

/// A connection that is ready for one request.
#[derive(Debug)]
pub enum Ready {
    H1(H1Side),
    H2(H2Ready),
}

/// A place for one stream on a connection of HTTP/2.
#[derive(Debug)]
pub struct H2Ready {
    pub send: h2::client::SendRequest<Bytes>,
    _place: Place,
    closed: Rc<Cell<bool>>,
}

struct KeptH2 {
    send: h2::client::SendRequest<Bytes>,
    streams: Rc<Cell<usize>>,
    closed: Rc<Cell<bool>>,
    since: Instant,
    timeout: Duration,
}

/// Counts one stream of a connection while it lives.
#[derive(Debug)]
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[derive(Default)]
struct Pools {
    h1: HashMap<u64, Spare>,
    h2: HashMap<u64, Vec<KeptH2>>,
}

/// How often kept connections are looked through. Those that are too old are not used in between either.
const SWEEP: Duration = Duration::from_secs(1);

thread_local! {
    static SWEEPING: Cell<bool> = const { Cell::new(false) };
    static POOLS: RefCell<Pools> = RefCell::default();
}

/// A connection to the server: one that is kept, or a new one.
///
/// `first` are bytes that a new connection must begin with (a PROXY protocol header); as they speak for one client, such a connection is
/// neither taken from the kept ones nor kept. `fresh` asks for a new one.
pub async fn connect(target: &Target, first: &[u8], fresh: bool) -> Result<Ready, ConnectError> {
    if !target.http2 {
        if first.is_empty()
            && !fresh
            && let Some(stream) = take(target.id).await
        {
            return Ok(Ready::H1(H1Side::new(stream, Input::new())));
        }
        let stream = open(target, first).await?;
        return Ok(Ready::H1(H1Side::new(stream, Input::new())));
    }
    while first.is_empty()
        && let Some(mut ready) = take_h2(target.id)
    {
        match poll_fn(|cx| ready.send.poll_ready(cx)).await {
            Ok(()) => return Ok(Ready::H2(ready)),
            // It has ended meanwhile, which says nothing of the server.
            Err(_) => ready.closed.set(true),
        }
    }
    let stream = open(target, first).await?;
    if target.tls.is_some() && stream.alpn() != Some(b"h2") {
        return Ok(Ready::H1(H1Side::new(stream, Input::new())));
    }
    start_h2(target, stream, first.is_empty()).await
}

async fn open(target: &Target, first: &[u8]) -> Result<Stream, ConnectError> {
    let opening = async {
        let mut socket = match &target.address {
            ServerAddress::Tcp(address) => {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                Socket::Tcp(tcp)
            }
            ServerAddress::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        };
        if !first.is_empty() {
            socket.write_all(first).await?;
        }
        match &target.tls {
            Some(tls) => tls.connect(socket).await.map(|tls| Stream::TlsOut(Box::new(tls))),
            None => Ok(Stream::Plain(socket)),
        }
    };
    match tokio::time::timeout(target.connect_timeout, opening).await {
        Ok(stream) => Ok(stream?),
        Err(_) => Err(ConnectError::Timeout(target.connect_timeout)),
    }
}

/// The youngest kept connection that the server has not closed or written to since.
async fn take(id: u64) -> Option<Stream> {
    loop {
        let mut kept = POOLS.with_borrow_mut(|pools| pools.h1.get_mut(&id)?.pop())?;
        // Costs no system call unless something has happened: the reactor knows.
        let quiet = poll_fn(|cx| Poll::Ready(Input::new().poll_read(&mut kept.stream, cx, 1).is_pending())).await;
        if quiet && !kept.is_old(Instant::now()) {
            return Some(kept.stream);
        }
    }
}

/// Keeps a connection for the next request. It must have nothing left to read or write.
pub fn keep(target: &Target, side: H1Side) {
    if target.idle.timeout.is_zero() || side.closed || !side.input.is_empty() || !side.output.is_empty() {
        return;
    }
    let Some(counted) = Counted::new(&target.idle) else { return };
    start_sweeping();
    let kept = Kept::new(side.stream, counted, target.idle.timeout);
    POOLS.with_borrow_mut(|pools| {
        let spare = pools.h1.entry(target.id).or_insert_with(|| Spare::new(&target.idle));
        spare.push(kept, target.idle.purge_delay);
    });
}

fn take_h2(id: u64) -> Option<H2Ready> {
    POOLS.with_borrow_mut(|pools| {
        let kept = pools.h2.get_mut(&id)?;
        kept.retain(|k| !k.closed.get());
        let free = kept.iter_mut().find(|k| k.streams.get() < k.send.current_max_send_streams())?;
        free.streams.set(free.streams.get() + 1);
        free.since = Instant::now();
        Some(H2Ready { send: free.send.clone(), _place: Place(Rc::clone(&free.streams)), closed: Rc::clone(&free.closed) })
    })
}

async fn start_h2(target: &Target, stream: Stream, share: bool) -> Result<Ready, ConnectError> {
    let handshake = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(super::http2::STREAM_WINDOW)
        .initial_connection_window_size(super::http2::CONNECTION_WINDOW)
        .handshake(stream);
    let handshake = tokio::time::timeout(target.connect_timeout, handshake).await;
    let (send, connection) = handshake.map_err(|_| ConnectError::Timeout(target.connect_timeout))??;
    let closed = Rc::new(Cell::new(false));
    let mark = Rc::clone(&closed);
    tokio::task::spawn_local(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "a connection of HTTP/2 to a server ended");
        }
        mark.set(true);
    });
    let streams = Rc::new(Cell::new(1));
    if share {
        start_sweeping();
        let kept = KeptH2 {
            send: send.clone(),
            streams: Rc::clone(&streams),
            closed: Rc::clone(&closed),
            since: Instant::now(),
            timeout: target.idle.timeout,
        };
        POOLS.with_borrow_mut(|pools| pools.h2.entry(target.id).or_default().push(kept));
    }
    let mut ready = H2Ready { send, _place: Place(streams), closed };
    poll_fn(|cx| ready.send.poll_ready(cx)).await?;
    Ok(Ready::H2(ready))
}

/// Has this thread look now and then for connections that were kept too long, from the first that is kept.
fn start_sweeping() {
    if !SWEEPING.replace(true) {
        tokio::task::spawn_local(async {
            loop {
                tokio::time::sleep(SWEEP).await;
                sweep();
            }
        });
    }
}

/// Closes what was kept too long on this thread.
fn sweep() {
    POOLS.with_borrow_mut(|pools| {
        let now = Instant::now();
        pools.h1.retain(|_, spare| {
            spare.purge(now);
            !spare.is_empty()
        });
        pools.h2.retain(|_, kept| {
            kept.retain(|k| !k.closed.get() && (k.streams.get() > 0 || k.since.elapsed() < k.timeout));
            !kept.is_empty()
        });
    });
}

/// Connections to servers that this thread keeps without a request.
pub fn kept() -> usize {
    POOLS.with_borrow(|pools| pools.h1.values().map(Spare::len).sum::<usize>() + pools.h2.values().map(Vec::len).sum::<usize>())
}

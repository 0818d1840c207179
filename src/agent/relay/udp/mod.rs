//! Layer 4 for datagrams: a client address is a session for as long as either side says something. The kernel gives all
//! datagrams of one client to one data thread (SO_REUSEPORT), so sessions are not shared.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::backend::{Held, ThreadPool};
use super::deadline::Deadline;
use super::http::backend::{Lease, ServerOutcome};
use super::http::story::Ended;
use super::http::upgrade::Passed;
use super::http::upstream::ConnectError;
use super::pool::Request;
use super::session::{Closing, Session, Sessions};
use super::session_log::{SessionLog, Story};

/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// A session whose listener is gone ends after so much silence.
const CLOSING_SILENCE: Duration = Duration::from_secs(1);

thread_local! {
    /// One buffer for all sessions of a thread: nothing is held in it between two looks.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; DATAGRAM]);
}

/// A listener of mode udp, for one data thread.
#[derive(Debug)]
pub struct UdpSite {
    pub listener: Arc<str>,
    pub pool: Rc<ThreadPool>,
    /// Silence of both sides after which a session ends.
    pub silence: Duration,
    /// Room for sessions over all threads.
    pub room: Option<Arc<Semaphore>>,
    pub closing: Rc<Closing>,
    pub log: Option<Rc<SessionLog>>,
}

struct Flow {
    server: UdpSocket,
    last: Cell<Instant>,
    /// Bytes to the server and from it.
    passed: Cell<(u64, u64)>,
}

impl Flow {
    fn count(&self, sent: usize, received: usize) {
        let (before_sent, before_received) = self.passed.get();
        self.passed.set((before_sent + sent as u64, before_received + received as u64));
    }
}

type Flows = Rc<RefCell<HashMap<SocketAddr, Rc<Flow>>>>;

/// Passes datagrams on until it is dropped. `current` gives the configuration of this moment.
pub async fn serve(socket: Rc<UdpSocket>, current: impl Fn() -> Option<Rc<UdpSite>>) {
    let flows = Flows::default();
    loop {
        if let Err(error) = socket.readable().await {
            tracing::error!(%error, "a data thread cannot receive datagrams");
            return;
        }
        BUFFER.with_borrow_mut(|buffer| {
            // Errors are of one datagram (an ICMP answer to one of ours), or that there is no more.
            while let Ok((len, client)) = socket.try_recv_from(buffer) {
                let Some(site) = current() else { continue };
                let datagram = buffer.get(..len).unwrap_or_default();
                let known = flows.borrow().get(&client).cloned();
                match known {
                    // A datagram that does not fit the server's queue is lost, as any may be.
                    Some(flow) => {
                        flow.last.set(Instant::now());
                        if flow.server.try_send(datagram).is_ok() {
                            flow.count(len, 0);
                        }
                    }
                    None => open(&socket, &site, &flows, client, datagram),
                }
            }
        });
        tokio::task::yield_now().await;
    }
}

/// A session of a new client with its first datagram; nothing happens where there is no room or no server.
fn open(socket: &Rc<UdpSocket>, site: &Rc<UdpSite>, flows: &Flows, client: SocketAddr, first: &[u8]) {
    let permit = match &site.room {
        Some(room) => match room.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => return,
        },
        None => None,
    };
    let mut story = Story::begin(site.log.as_ref(), Some(client), false);
    let held = match site.pool.take(&Request::from(client.ip())) {
        Ok(held) => held,
        Err(why) => return story.refused(why),
    };
    story.queue = Some(Duration::ZERO);
    story.server = Some(held.lease().server.clone());
    let server = match connect(held.lease().address, first) {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(server = %held.place(), %error, "no socket for a session of UDP");
            let error = ConnectError::from(error);
            story.unreachable(&error);
            if !error.is_own() {
                let mut held = held;
                held.note(ServerOutcome::ConnectFailed);
            }
            return;
        }
    };
    story.connect = Some(Duration::ZERO);
    let flow = Rc::new(Flow { server, last: Cell::new(Instant::now()), passed: Cell::new((first.len() as u64, 0)) });
    flows.borrow_mut().insert(client, flow.clone());
    let (socket, site) = (socket.clone(), site.clone());
    let remove = Remove { flows: flows.clone(), client };
    tokio::task::spawn_local(async move {
        let (listener, closing) = (site.listener.clone(), site.closing.clone());
        let told = Told { flow: flow.clone(), story };
        let answers = |session| answer(socket, flow, client, site.silence, session, held, told);
        Sessions::here().run(listener, Some(client), closing, answers).await;
        drop((remove, permit));
    });
}

/// What is told of a session however it ends.
struct Told {
    flow: Rc<Flow>,
    story: Story,
}

impl Drop for Told {
    fn drop(&mut self) {
        let (sent, received) = self.flow.passed.get();
        self.story.passed = Passed { sent, received };
    }
}

/// Forgets a session however it ends.
struct Remove {
    flows: Flows,
    client: SocketAddr,
}

impl Drop for Remove {
    fn drop(&mut self) {
        let removed = self.flows.borrow_mut().remove(&self.client);
        drop(removed);
    }
}

/// The first datagram is sent before the reactor knows the socket: until it does, everything would seem to block.
fn connect(to: SocketAddr, first: &[u8]) -> io::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    socket.send(first)?;
    UdpSocket::from_std(socket)
}

/// Passes the server's datagrams to the client until both are silent for too long.
async fn answer(
    socket: Rc<UdpSocket>,
    flow: Rc<Flow>,
    client: SocketAddr,
    silence: Duration,
    session: Rc<Session>,
    held: Held,
    mut told: Told,
) {
    // Given back before the line is written.
    let mut held = held;
    session.set_server(Some(held.place()));
    let mut deadline = Deadline::after(silence);
    let ended: io::Result<()> = poll_fn(|cx| {
        loop {
            let silence = if session.is_closing() { silence.min(CLOSING_SILENCE) } else { silence };
            deadline.set(flow.last.get(), silence);
            if deadline.poll_expired(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if flow.server.poll_recv_ready(cx)?.is_pending() {
                return Poll::Pending;
            }
            BUFFER.with_borrow_mut(|buffer| match flow.server.try_recv(buffer) {
                Ok(len) => {
                    flow.last.set(Instant::now());
                    flow.count(0, len);
                    // What does not fit the client's queue is lost, as any datagram may be.
                    let _lost = socket.try_send_to(buffer.get(..len).unwrap_or_default(), client);
                    Ok(())
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(e) => Err(e),
            })?;
        }
    })
    .await;
    match ended {
        Ok(()) => {
            held.established();
            told.story.ended = Ended::NORMAL;
        }
        // Nobody listens at the server's port.
        Err(_) => {
            held.note(ServerOutcome::ConnectFailed);
            told.story.ended = Ended::SERVER_CONNECT;
        }
    }
}

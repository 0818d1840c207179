//! Layer 4: a client's connection is passed on to a server as it is, in both directions until both have ended.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::backend::{Held, ThreadPool, client_ip};
use super::buffer::Input;
use super::deadline::Deadline;
use super::http::backend::{Backend, Lease, ServerOutcome};
use super::http::forward::TURNAROUND;
use super::http::side::H1Side;
use super::http::story::Ended;
use super::http::upgrade::{TunnelEnd, tunnel};
use super::http::upstream::{self, Ready};
use super::pool::{Request, ServerId};
use super::session::Session;
use super::session_log::{SessionLog, Story};
use super::stream::Stream;

/// A listener of mode tcp, for one data thread.
#[derive(Debug)]
pub struct TcpSite {
    pub pool: Rc<ThreadPool>,
    /// Silence of both sides after which a session ends.
    pub silence: Duration,
    pub log: Option<Rc<SessionLog>>,
}

/// Serves one client until its session ends.
pub async fn serve(site: &TcpSite, stream: Stream, session: &Session, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
    let mut story = Story::begin(site.log.as_ref(), peer, stream.is_tls());
    let Some((_held, ready)) = connect(site, session, peer, local, &mut story).await else {
        // The client learns that nobody took it: a close alone would look like an answer of nothing.
        return stream.socket().reset_on_close();
    };
    let Ready::H1(mut server) = ready else { return };
    let mut client = H1Side::new(stream, Input::new());
    let mut deadline = Deadline::after(site.silence);
    let end = tunnel(&mut client, &mut server, &mut deadline, site.silence, &mut story.passed).await;
    story.ended = match end {
        TunnelEnd::Closed => Ended::NORMAL,
        TunnelEnd::Silent => Ended::CLIENT_DATA_TIMEOUT,
        TunnelEnd::ClientFailed => Ended::CLIENT_DATA,
        TunnelEnd::ServerFailed => Ended::SERVER_DATA,
    };
    if end != TunnelEnd::Closed {
        // Neither side may take what it got for the whole.
        client.stream.socket().reset_on_close();
        server.stream.socket().reset_on_close();
    }
}

/// A connection to a server; another server is tried where one cannot be reached.
async fn connect(
    site: &TcpSite,
    session: &Session,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    story: &mut Story,
) -> Option<(Held, Ready)> {
    let mut tried: Vec<ServerId> = Vec::new();
    loop {
        let request = Request { tried: &tried, ..Request::from(client_ip(peer)) };
        let mut held = match site.pool.acquire(&request).await {
            Ok(held) => held,
            Err(why) => {
                tracing::debug!(?peer, pool = %site.pool.name(), "a client was not served: {why}");
                story.refused(why);
                return None;
            }
        };
        if tried.contains(&held.id()) {
            // There is no other one. It may be starting again.
            tokio::time::sleep(held.target().connect_timeout.min(TURNAROUND)).await;
        }
        let picked = Instant::now();
        story.queue = Some(story.age());
        story.redispatched = tried.last().is_some_and(|last| *last != held.id());
        story.server = Some(held.lease().server.clone());
        session.set_server(Some(held.place()));
        match upstream::connect(held.target(), &held.preamble(peer, local), true).await {
            Ok(ready) => {
                story.connect = Some(picked.elapsed());
                held.established();
                return Some((held, ready));
            }
            Err(why) => {
                tracing::debug!(server = %held.place(), "{why}");
                story.unreachable(&why);
                if !why.is_own() {
                    held.note(ServerOutcome::ConnectFailed);
                }
                tried.push(held.id());
                if tried.len() > site.pool.connect_retries() as usize {
                    return None;
                }
                held.retried();
                story.retries += 1;
                // What ends it from here on is an operator again.
                story.ended = Ended::KILLED;
            }
        }
    }
}

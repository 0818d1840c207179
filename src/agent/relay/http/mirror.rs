//! Mirroring: a copy of a request goes to another pool, on a task of its own, and what comes back is thrown away. The client's request
//! neither waits for it nor learns of it.
//!
//! Only requests without a body are copied: a body would have to be held until the slower of both pools has taken it.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::backend::{Ask, Backend, Lease, ServerOutcome};
use super::exchange::ServerHalf;
use super::forward::start;
use super::head::{RequestHead, ResponseHead};
use super::http1::HeadLimits;
use super::http1::framing::BodyLength;
use super::http1::request::RequestFraming;
use super::side::{Next, SideError};
use super::upstream;

/// Copies under way on one thread at most: a mirror that hangs must not eat the memory of the relay.
const MOST: usize = 256;
/// How long one copy may take.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

struct Running;

impl Running {
    fn start() -> Option<Self> {
        let running = RUNNING.get();
        (running < MOST).then(|| {
            RUNNING.set(running + 1);
            Self
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(RUNNING.get().saturating_sub(1));
    }
}

/// Sends a copy of a request that has no body.
pub(super) fn send<B: Backend>(
    backend: &Rc<B>,
    request: &RequestHead,
    framing: &RequestFraming,
    client: SocketAddr,
    tls: bool,
    limits: HeadLimits,
) {
    if framing.body != BodyLength::None || framing.fields.upgrade.is_some() {
        return;
    }
    let Some(running) = Running::start() else {
        tracing::debug!("a request was not mirrored: too many copies are under way");
        return;
    };
    let (backend, request, framing) = (Rc::clone(backend), request.clone(), framing.clone());
    tokio::task::spawn_local(async move {
        let _running = running;
        let copy = copy(&*backend, &request, &framing, client, tls, &limits);
        if tokio::time::timeout(PATIENCE, copy).await.is_err() {
            tracing::debug!(pool = &**backend.name(), "a mirrored request took too long");
        }
    });
}

async fn copy<B: Backend>(
    backend: &B,
    request: &RequestHead,
    framing: &RequestFraming,
    client: SocketAddr,
    tls: bool,
    limits: &HeadLimits,
) {
    let ask = Ask { request, client, tls, tried: &[] };
    let Ok(mut lease) = backend.pick(ask).await else { return };
    let preamble = lease.preamble(Some(client), None);
    let ready = match upstream::connect(lease.target(), &preamble, true).await {
        Ok(ready) => ready,
        Err(error) => {
            tracing::debug!(server = &**lease.server(), %error, "a mirrored request found no connection");
            if !error.is_own() {
                lease.note(ServerOutcome::ConnectFailed);
            }
            return;
        }
    };
    let Ok((mut server, _place)) = start(request, framing, ready, lease.target().tls.is_some()) else { return };
    match throw_away(&mut server, request, limits).await {
        Ok((status, received)) => {
            lease.note(ServerOutcome::Answer(status));
            lease.passed(0, received);
        }
        Err(error) => {
            tracing::debug!(server = &**lease.server(), %error, "a mirrored request failed");
            lease.note(ServerOutcome::ResponseFailed);
        }
    }
    server.side.abort(h2::Reason::CANCEL);
}

/// Status and bytes of the body of what came.
async fn throw_away(server: &mut ServerHalf, request: &RequestHead, limits: &HeadLimits) -> Result<(u16, u64), SideError> {
    server.side.flush().await?;
    let mut head = ResponseHead::default();
    loop {
        poll_fn(|cx| server.poll_head(cx, &request.method, limits, &mut head)).await?;
        if !head.status.is_informational() {
            break;
        }
    }
    let mut received = 0;
    while poll_fn(|cx| server.side.poll_piece(cx)).await? == Next::Data {
        received += server.side.data().len() as u64;
        server.side.consume();
    }
    Ok((head.status.as_u16(), received))
}

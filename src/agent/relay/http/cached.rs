//! The cache on the path of a request: what is answered from memory, and what is kept of a response on its way to the client.

use std::sync::Arc;
use std::time::SystemTime;

use ::http::StatusCode;

use super::exchange::Filter;
use super::head::{RequestHead, ResponseHead};
use super::site::Site;
use crate::agent::relay::content::cache::{Cache, Fill, Filled, Lookup, Recorder, Stored};
use crate::agent::relay::content::compress::{self, Encoder};
use crate::agent::relay::route::Route;

/// A request on a route with a cache.
pub(super) struct Caching {
    cache: Arc<Cache>,
    /// As the client wrote it: keys, variants and conditions are the client's.
    original: RequestHead,
    tls: bool,
    fill: Option<Box<Fill>>,
}

/// A response of the relay's own: from memory.
pub(super) struct Kept {
    pub head: ResponseHead,
    pub body: Arc<[u8]>,
}

/// What the cache makes of the head of a server's response.
pub(super) enum Came {
    /// Goes to the client, and into the cache where there is a recorder.
    Passes(Option<Box<Recorder>>),
    /// This is answered instead.
    Instead(Stored),
}

impl Caching {
    /// Looks for an answer; waits for another request that fetches the same.
    pub async fn look<B>(site: &Site<B>, route: usize, head: &RequestHead, tls: bool) -> Option<Result<Self, Stored>> {
        let cache = site.caches.get(route)?.as_ref()?;
        let mut waited = false;
        let fill = loop {
            match cache.lookup(head, tls, waited, SystemTime::now()) {
                Lookup::Hit(stored) => return Some(Err(stored)),
                Lookup::Fetch(fill) => break Some(fill),
                Lookup::Wait(waiting) => waiting.done().await,
                Lookup::Pass => break None,
            }
            waited = true;
        };
        Some(Ok(Self { cache: Arc::clone(cache), original: head.clone(), tls, fill }))
    }

    /// Asks the server for what the cache needs.
    pub fn prepare(&self, request: &mut RequestHead) {
        if let Some(fill) = &self.fill {
            fill.prepare(request);
        }
    }

    /// The head of the final response is there.
    pub fn came(&mut self, head: &ResponseHead) -> Came {
        let now = SystemTime::now();
        self.cache.invalidate(&self.original, self.tls, head.status);
        match self.fill.take().map(|fill| fill.respond(head, now)) {
            Some(Filled::Renewed(stored) | Filled::StandIn(stored)) => Came::Instead(stored),
            Some(Filled::Store(recorder)) => Came::Passes(Some(recorder)),
            Some(Filled::Pass) | None => Came::Passes(None),
        }
    }

    /// There is no response.
    pub fn failed(&mut self) -> Option<Stored> {
        self.fill.take()?.failed(SystemTime::now())
    }

    pub fn answer(&self, route: &Route, stored: &Stored) -> Kept {
        answer(route, stored, &self.original)
    }
}

/// The response from memory to a request, compressed where the route wants it.
pub(super) fn answer(route: &Route, stored: &Stored, request: &RequestHead) -> Kept {
    let (mut head, mut body) = stored.answer(request, SystemTime::now());
    if let Some(config) = &route.compression
        && head.status != StatusCode::NOT_MODIFIED
    {
        let decision = compress::decide(config, request, &head, Some(body.len() as u64));
        let compressed = decision.encoding.map(|encoding| {
            let mut out = Vec::with_capacity(body.len() / 2);
            let mut encoder = Encoder::new(encoding)?;
            encoder.write(&body, &mut out)?;
            encoder.finish(&mut out)?;
            std::io::Result::Ok(out)
        });
        match compressed {
            Some(Ok(out)) => {
                body = out.into();
                compress::amend(decision, &mut head);
            }
            None => compress::amend(decision, &mut head),
            // It goes as it is.
            Some(Err(error)) => tracing::debug!(%error, "a kept response could not be compressed"),
        }
    }
    Kept { head, body }
}

/// What happens to a body on its way: kept, then compressed.
pub(super) struct Passing {
    pub recorder: Option<Box<Recorder>>,
    pub encoder: Option<Encoder>,
}

impl Passing {
    /// `None` where the body is left alone.
    pub fn new(recorder: Option<Box<Recorder>>, encoder: Option<Encoder>) -> Option<Self> {
        (recorder.is_some() || encoder.is_some()).then_some(Self { recorder, encoder })
    }
}

impl Filter for Passing {
    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(data);
        }
        match &mut self.encoder {
            Some(encoder) => encoder.write(data, out),
            None => {
                out.extend_from_slice(data);
                Ok(())
            }
        }
    }
    fn pause(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.flush(out))
    }
    fn end(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        if let Some(recorder) = self.recorder.take() {
            recorder.finish(SystemTime::now());
        }
        self.encoder.take().map_or(Ok(()), |encoder| encoder.finish(out))
    }
}

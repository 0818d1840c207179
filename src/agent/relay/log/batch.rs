//! Entries of one thread on their way to the thread that writes: numbers in one list, text in one buffer, both used again.

use super::record::{Load, Record, RequestLine, Termination, Times};
use std::net::SocketAddr;
use std::time::SystemTime;

use http::Version;

const TEXTS: usize = 9;

/// An entry without its text.
#[derive(Clone, Copy, Debug)]
struct Entry {
    client: Option<SocketAddr>,
    started: SystemTime,
    tls: bool,
    times: Times,
    status: Option<u16>,
    bytes: u64,
    termination: Termination,
    load: Load,
    version: Option<Version>,
    /// Lengths of its pieces of text, which follow each other.
    texts: [u32; TEXTS],
}

/// Longest piece of text that is kept, in bytes: a target may be as long as the relay allows heads to be.
const MAX_TEXT: usize = 8192;

/// Entries in the order in which they came.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    text: Vec<u8>,
}

impl Batch {
    /// Memory that the entries take, in bytes.
    pub fn size(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.text.len()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
    }

    pub fn push(&mut self, record: &Record<'_>) {
        let (method, target, host, agent) = match &record.request {
            Some(r) => (r.method.as_bytes(), r.target.as_bytes(), r.host.as_bytes(), r.user_agent),
            None => Default::default(),
        };
        let Record { listener, pool, server, route, request_id, .. } = record;
        let pieces: [&[u8]; TEXTS] = [
            listener.as_bytes(),
            pool.as_bytes(),
            server.as_bytes(),
            route.as_bytes(),
            request_id.as_bytes(),
            method,
            target,
            host,
            agent,
        ];
        let texts = pieces.map(|piece| {
            let kept = piece.get(..MAX_TEXT).unwrap_or(piece);
            self.text.extend_from_slice(kept);
            kept.len() as u32
        });
        self.entries.push(Entry {
            client: record.client,
            started: record.started,
            tls: record.tls,
            times: record.times,
            status: record.status,
            bytes: record.bytes,
            termination: record.termination,
            load: record.load,
            version: record.request.map(|r| r.version),
            texts,
        });
    }

    /// Gives each entry back as it was pushed.
    pub fn each(&self, mut take: impl FnMut(&Record<'_>)) {
        let mut rest = self.text.as_slice();
        for entry in &self.entries {
            let pieces = entry.texts.map(|len| {
                let (piece, after) = rest.split_at_checked(len as usize).unwrap_or((rest, &[]));
                rest = after;
                piece
            });
            let [listener, pool, server, route, request_id, method, target, host, user_agent] = pieces;
            // All but the user agent was text, and is cut only where it is ASCII.
            let [listener, pool, server, route, request_id, method, target, host] =
                [listener, pool, server, route, request_id, method, target, host]
                    .map(|t| std::str::from_utf8(t).unwrap_or_default());
            take(&Record {
                client: entry.client,
                started: entry.started,
                listener,
                tls: entry.tls,
                pool,
                server,
                route,
                request_id,
                times: entry.times,
                status: entry.status,
                bytes: entry.bytes,
                termination: entry.termination,
                load: entry.load,
                request: entry.version.map(|version| RequestLine { method, target, version, host, user_agent }),
            });
        }
    }
}

//! A response that is kept, and what is answered from it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};
use http_cache_semantics::{AfterResponse, CachePolicy};

use super::policy;
use crate::agent::relay::http::head::{Headers, RequestHead, ResponseHead};

/// Fields that a 304 does not change, since the body stays (RFC 9111, 3.2).
const KEPT: &[&str] = &["content-length", "content-encoding", "transfer-encoding", "content-range", "content-type"];

/// A stored response. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stored(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub head: ResponseHead,
    pub body: Arc<[u8]>,
    pub policy: CachePolicy,
    pub for_all: bool,
}

impl Stored {
    pub(super) fn new(head: ResponseHead, body: Arc<[u8]>, policy: CachePolicy) -> Self {
        let for_all = policy::is_for_all(&head.headers);
        Self(Arc::new(Inner { head, body, policy, for_all }))
    }

    /// Memory that it takes, in bytes: the policy holds the fields of request and response once more.
    pub(super) fn size(&self) -> usize {
        let fields: usize = self.0.head.headers.iter().map(|(n, v)| n.len() + v.len() + 64).sum();
        self.0.body.len() + 3 * fields + 1024
    }

    /// The answer to a request: the whole response, or 304 where the client has it already (RFC 9110, 13). Whoever writes it leaves
    /// the body out for HEAD.
    pub fn answer(&self, request: &RequestHead, now: SystemTime) -> (ResponseHead, Arc<[u8]>) {
        let mut head = self.0.head.clone();
        head.headers.set("Age", self.0.policy.age(now).as_secs().to_string());
        if self.0.head.status == StatusCode::OK && is_unchanged(&request.headers, &head.headers) {
            head.status = StatusCode::NOT_MODIFIED;
            head.reason.clear();
            for name in ["content-length", "content-type", "content-encoding"] {
                head.headers.remove(name);
            }
            return (head, Arc::default());
        }
        head.headers.set("Content-Length", self.0.body.len().to_string());
        (head, Arc::clone(&self.0.body))
    }

    /// Whether it may stand in for a server that failed (RFC 5861, 4). `otherwise`: how long past its freshness where it does not say.
    pub(super) fn may_stand_in(&self, otherwise: Duration, now: SystemTime) -> bool {
        let headers = &self.0.head.headers;
        let forbidden = ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage"];
        if forbidden.iter().any(|d| policy::directive(headers, d).is_some()) {
            return false;
        }
        let allowed = policy::seconds(headers, "stale-if-error").map_or(otherwise, Duration::from_secs);
        let age = self.0.policy.age(now);
        // Time to live is 0 for what is stale: how long it was fresh is what it had left when it came, and its age then.
        let origin = now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let lifetime = self.0.policy.time_to_live(origin).saturating_add(self.0.policy.age(origin));
        age <= lifetime.saturating_add(allowed)
    }

    /// The same after a 304 for it; `None` where the 304 is for something else.
    pub(super) fn renewed(&self, asked: &Request<()>, not_modified: &ResponseHead, now: SystemTime) -> Option<Self> {
        let mut head = self.0.head.clone();
        let names: Vec<Vec<u8>> = not_modified.headers.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
        for name in names.iter().filter(|n| !KEPT.iter().any(|k| k.as_bytes() == n.as_slice())) {
            head.headers.remove(name);
            for value in not_modified.headers.get_all(name) {
                head.headers.add(name, value);
            }
        }
        let mut answer = http::Response::new(());
        *answer.status_mut() = not_modified.status;
        for name in ["etag", "last-modified"] {
            if let Some(value) = not_modified.headers.get(name).and_then(|v| http::HeaderValue::from_bytes(v).ok()) {
                answer.headers_mut().insert(name, value);
            }
        }
        // A 304 without any validator confirms what was asked about.
        let bare = answer.headers().is_empty();
        match self.0.policy.after_response(asked, &answer, now) {
            AfterResponse::NotModified(..) => {}
            AfterResponse::Modified(..) if bare => {}
            AfterResponse::Modified(..) => return None,
        }
        let policy = policy::policy(asked, &head, now);
        Some(Self::new(head, Arc::clone(&self.0.body), policy))
    }
}

/// Whether the client's validators say that it has this already (RFC 9110, 13.1.2 and 13.1.3).
fn is_unchanged(request: &Headers, stored: &Headers) -> bool {
    if request.contains("if-none-match") {
        let ours = stored.get("etag").map(weak);
        let mut theirs = request.get_all("if-none-match").flat_map(|f| f.split(|b| *b == b',')).map(<[u8]>::trim_ascii);
        return theirs.any(|tag| tag == b"*" || ours.is_some_and(|o| o == weak(tag)));
    }
    let date = |headers: &Headers, name: &str| {
        let text = std::str::from_utf8(headers.get(name)?).ok()?.to_owned();
        httpdate::parse_http_date(&text).ok()
    };
    match (date(request, "if-modified-since"), date(stored, "last-modified")) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// A tag without its mark of weakness, for the weak comparison (RFC 9110, 8.8.3.2).
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

//! The bridge to `http-cache-semantics`: our heads as it wants them, with what it does not do itself.
//!
//! The crate compares only the first field of a name and reads directives in small letters; `Age` beyond what fits would overflow in it.
//! So fields are joined, directives lowered and ages bounded (RFC 9111, 1.2.2) before it sees them. What is served is made from the
//! stored head, because the crate keeps only the last of several fields of one name.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};

use crate::agent::relay::content::compress::negotiate::lists;
use crate::agent::relay::http::head::{Headers, RequestHead, ResponseHead};

/// Seconds that stand for "older than anything" (RFC 9111, 1.2.2).
const MAX_AGE: u64 = 1 << 31;

fn map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        let Ok(name) = HeaderName::from_bytes(name) else { continue };
        let value = match name.as_str() {
            "cache-control" | "pragma" => value.to_ascii_lowercase(),
            "age" => std::str::from_utf8(value)
                .ok()
                .and_then(|t| t.trim().parse::<u64>().ok())
                .unwrap_or(0)
                .min(MAX_AGE)
                .to_string()
                .into_bytes(),
            _ => value.to_vec(),
        };
        let joined = match map.get(&name) {
            Some(before) => [HeaderValue::as_bytes(before), b", ", &value].concat(),
            None => value,
        };
        if let Ok(value) = HeaderValue::from_bytes(&joined) {
            map.insert(name, value);
        }
    }
    map
}

/// The request as the crate wants it; `None` where its target is no URI.
pub(super) fn request(head: &RequestHead) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.target.parse::<Uri>().ok()?;
    *request.headers_mut() = map(&head.headers);
    request.headers_mut().remove("host");
    Some(request)
}

fn response(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = map(&head.headers);
    response
}

/// The policy of a response that came at `now`.
pub(super) fn policy(asked: &Request<()>, head: &ResponseHead, now: SystemTime) -> CachePolicy {
    CachePolicy::new_options(asked, &response(head), now, CacheOptions::default())
}

/// Whether a response may be kept at all. Beyond the crate: nothing with `Set-Cookie`, with `Vary: *`, or that a `Cookie` may have
/// shaped and that does not say itself that it may be kept.
pub(super) fn may_store(policy: &CachePolicy, asked: &Request<()>, head: &ResponseHead) -> bool {
    let headers = &head.headers;
    let explicit =
        headers.contains("expires") || ["public", "s-maxage", "max-age"].iter().any(|d| directive(headers, d).is_some());
    policy.is_storable()
        && !headers.contains("set-cookie")
        && !lists(headers, "vary", "*")
        && (explicit || !asked.headers().contains_key("cookie"))
        // Without time to live or validator it would never be used.
        && (!policy.is_stale(SystemTime::UNIX_EPOCH) || headers.contains("etag") || headers.contains("last-modified"))
}

/// Whether the response may answer requests with `Authorization` (RFC 9111, 3.5).
pub(super) fn is_for_all(headers: &Headers) -> bool {
    ["public", "s-maxage", "must-revalidate"].iter().any(|d| directive(headers, d).is_some())
}

/// The value of a directive of `Cache-Control`, empty where it has none.
pub(super) fn directive<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers.get_all("cache-control").flat_map(|f| f.split(|b| *b == b',')).find_map(|item| {
        let mut parts = item.splitn(2, |b| *b == b'=');
        let is_it = parts.next()?.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        is_it.then(|| parts.next().unwrap_or_default().trim_ascii().trim_ascii_start())
    })
}

/// Seconds of a directive.
pub(super) fn seconds(headers: &Headers, name: &str) -> Option<u64> {
    let value = directive(headers, name)?;
    let text = std::str::from_utf8(value).ok()?.trim_matches('"');
    text.parse::<u64>().ok().map(|s| s.min(MAX_AGE))
}

/// Whether a stored response answers this request as it is.
pub(super) fn is_fresh(policy: &CachePolicy, asked: &Request<()>, now: SystemTime) -> bool {
    matches!(policy.before_request(asked, now), BeforeRequest::Fresh(_))
}

/// Whether a stored response is for this request: the same target and the same values of the fields that it varies by.
pub(super) fn is_for(policy: &CachePolicy, asked: &Request<()>, now: SystemTime) -> bool {
    match policy.before_request(asked, now) {
        BeforeRequest::Fresh(_) => true,
        BeforeRequest::Stale { matches, .. } => matches,
    }
}

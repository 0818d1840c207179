//! HTTP/1.1 on the wire: heads, framing of bodies, chunks and trailers. Pure functions over bytes; no I/O.
//!
//! It is stricter than most servers, on purpose: what two parsers may read differently lets a request be smuggled past this one
//! (RFC 9112, 11.2). Such a message is refused, never repaired.

pub mod chunked;
pub mod framing;
pub mod request;
pub mod response;
pub mod write;

use ::http::StatusCode;

/// Limits of one message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, the first line and the empty one included.
    pub size: usize,
    /// Number of header fields; [`HeadLimits::MOST_FIELDS`] at most.
    pub fields: usize,
}

impl HeadLimits {
    /// More fields than this are never read.
    pub const MOST_FIELDS: usize = 256;
}

impl Default for HeadLimits {
    /// What HAProxy takes by default: a buffer of 16 KiB and 101 fields.
    fn default() -> Self {
        Self { size: 16 * 1024, fields: 101 }
    }
}

/// Why a message is refused. The connection is closed after it: where the next message starts is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    #[error("the head is larger than the limit, or has more fields")]
    HeadTooLarge,
    #[error("the version of HTTP is not 1.0 or 1.1")]
    Version,
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    #[error("the method is not served by a reverse proxy")]
    Method,
}

impl Refusal {
    /// The status that tells a client of it (RFC 9110, 15.5 and 15.6; RFC 6585, 5).
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn from_httparse(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => Self::Malformed("a header name"),
            httparse::Error::HeaderValue => Self::Malformed("a header value"),
            httparse::Error::NewLine => Self::Malformed("a line end"),
            httparse::Error::Status => Self::Malformed("the status"),
            httparse::Error::Token => Self::Malformed("the first line"),
            httparse::Error::TooManyHeaders => Self::HeadTooLarge,
            httparse::Error::Version => Self::Version,
        }
    }
}

/// Looks for the empty line that ends a head, so that a head that comes in drops is parsed once.
///
/// `scanned` is where the last call on the same bytes stopped; 0 at first. Returns the length of the head. A line feed without a carriage
/// return before it is refused: some servers take it for a line end and some do not.
pub fn head_end(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, Refusal> {
    let from = *scanned;
    for at in memchr::memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
        let at = from + at;
        let line = bytes.get(..=at).unwrap_or_default();
        if !line.ends_with(b"\r\n") {
            return Err(Refusal::Malformed("a line feed without a carriage return"));
        }
        if line.ends_with(b"\r\n\r\n") {
            return Ok(Some(at + 1));
        }
    }
    *scanned = bytes.len();
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for first in 0..whole.len() {
            let mut scanned = 0;
            let found = head_end(&whole[..first], &mut scanned).unwrap();
            let end = found.or_else(|| head_end(whole, &mut scanned).unwrap());
            assert_eq!(end, Some(whole.len() - 4), "cut at {first}");
        }
    }

    #[test]
    fn bare_line_feeds_are_refused_at_once() {
        for head in ["GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\n", "\n", "GET / HTTP/1.1\r\n\n"] {
            assert!(head_end(head.as_bytes(), &mut 0).is_err(), "{head:?}");
        }
    }
}

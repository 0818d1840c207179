//! Reads the head of a response from a server.

use std::mem::MaybeUninit;

use ::http::{Method, StatusCode};

use super::framing::{self, BodyLength, ConnectionFields};
use super::{HeadLimits, Refusal};
use crate::agent::relay::http::head::ResponseHead;

/// What a response says of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    pub body: BodyLength,
    /// Whether the server takes another request on this connection.
    pub keep_alive: bool,
    pub fields: ConnectionFields,
}

/// Parses a whole head (see [`super::head_end`]) into `head`, which is cleared first. `method` is the request's.
///
/// # Errors
/// A [`Refusal`]: the server cannot be understood; nothing of its connection may be used any more.
pub fn parse(bytes: &[u8], method: &Method, limits: &HeadLimits, head: &mut ResponseHead) -> Result<ResponseFraming, Refusal> {
    head.clear();
    let mut fields = [const { MaybeUninit::uninit() }; HeadLimits::MOST_FIELDS];
    let fields = fields.get_mut(..limits.fields).unwrap_or_default();
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, fields)
        .map_err(Refusal::from_httparse)?
    {
        httparse::Status::Complete(length) if length == bytes.len() => {}
        httparse::Status::Complete(_) | httparse::Status::Partial => return Err(Refusal::Malformed("the end of the head")),
    }
    head.status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| Refusal::Malformed("the status"))?;
    // The standard's own phrase is not copied: it is written anyway.
    if parsed.reason != head.status.canonical_reason() {
        head.reason.push_str(parsed.reason.unwrap_or_default());
    }
    let old = parsed.version == Some(0);
    let fields = framing::sort(parsed.headers, &mut head.headers)?;
    if old && fields.chunked {
        return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0"));
    }
    let body = match fields.content_length {
        _ if is_without_body(head.status, method) => BodyLength::None,
        _ if fields.chunked => BodyLength::Chunked,
        Some(0) => BodyLength::None,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::UntilClose,
    };
    let keep_alive = !fields.close && (!old || fields.keep_alive) && body != BodyLength::UntilClose;
    Ok(ResponseFraming { body, keep_alive, fields })
}

/// Whether a response has no body whatever its fields say (RFC 9112, 6.3).
pub fn is_without_body(status: StatusCode, method: &Method) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || *method == Method::HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: &Method) -> Result<(ResponseHead, ResponseFraming), Refusal> {
        let mut head = ResponseHead::default();
        let framing = parse(text.as_bytes(), method, &HeadLimits::default(), &mut head)?;
        Ok((head, framing))
    }

    #[test]
    fn bodies() {
        for (text, method, body, keep) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::GET, BodyLength::Known(5), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::HEAD, BodyLength::None, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::GET, BodyLength::Chunked, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::HEAD, BodyLength::None, true),
            ("HTTP/1.1 200 OK\r\n\r\n", Method::GET, BodyLength::UntilClose, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Method::GET, BodyLength::None, true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Method::GET, BodyLength::None, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Method::GET, BodyLength::None, false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", Method::GET, BodyLength::Known(1), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", Method::GET, BodyLength::Known(1), true),
        ] {
            let (_, framing) = read(text, &method).unwrap();
            assert_eq!((framing.body, framing.keep_alive), (body, keep), "{method} {text:?}");
        }
    }

    #[test]
    fn reasons_are_kept_where_they_differ() {
        assert_eq!(read("HTTP/1.1 200 Fine\r\n\r\n", &Method::GET).unwrap().0.reason(), "Fine");
        assert_eq!(read("HTTP/1.1 404 Not Found\r\n\r\n", &Method::GET).unwrap().0.reason(), "Not Found");
        assert_eq!(read("HTTP/1.1 299\r\n\r\n", &Method::GET).unwrap().0.reason(), "");
    }

    #[test]
    fn refused() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "220 smtp ready\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(read(text, &Method::GET).is_err(), "{text:?}");
        }
    }
}

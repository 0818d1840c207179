//! Writes heads, chunks and trailers of HTTP/1.1.

use ::http::Version;

use super::framing::{BodyLength, is_trailer};
use crate::agent::relay::digits::digits;
use crate::agent::relay::http::head::{Headers, RequestHead, ResponseHead};

/// What to say of the connection that a message is written to.
#[derive(Clone, Copy, Debug)]
pub struct WriteFraming<'a> {
    pub body: BodyLength,
    /// `Connection: close` where false; `Connection: keep-alive` where true and the peer speaks HTTP/1.0.
    pub keep_alive: bool,
    /// Version that the peer speaks.
    pub version: Version,
    /// `Upgrade` of a request or a 101.
    pub upgrade: Option<&'a str>,
    /// `Expect: 100-continue`
    pub expect_continue: bool,
}

/// The head of a request to a server, always as HTTP/1.1.
pub fn request(out: &mut Vec<u8>, head: &RequestHead, framing: &WriteFraming<'_>) {
    put(out, &[head.method.as_str().as_bytes(), b" ", head.target.as_bytes(), b" HTTP/1.1\r\n"]);
    if framing.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    // Without a length a request has no body; a method that means something by its body says so (RFC 9110, 8.6).
    let none = framing.body == BodyLength::None && head.headers.contains("content-length");
    fields(out, &head.headers, framing, none);
}

/// The head of a response to a client.
pub fn response(out: &mut Vec<u8>, head: &ResponseHead, framing: &WriteFraming<'_>) {
    let status = head.status;
    put(out, &[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", head.reason().as_bytes(), b"\r\n"]);
    // Where there is no body, the length is what it would be (HEAD, 304) or 0.
    fields(out, &head.headers, framing, framing.body == BodyLength::None && !status.is_informational());
}

fn fields(out: &mut Vec<u8>, headers: &Headers, framing: &WriteFraming<'_>, keep_length: bool) {
    for (name, value) in headers.iter() {
        if name.len() == 14 && name.eq_ignore_ascii_case(b"content-length") && !keep_length {
            continue;
        }
        put(out, &[name, b": ", value, b"\r\n"]);
    }
    match framing.body {
        BodyLength::Known(length) => put(out, &[b"Content-Length: ", digits(length, &mut [0; 20]), b"\r\n"]),
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
    match framing.upgrade {
        Some(protocol) => put(out, &[b"Connection: upgrade\r\nUpgrade: ", protocol.as_bytes(), b"\r\n"]),
        None if !framing.keep_alive => out.extend_from_slice(b"Connection: close\r\n"),
        None if framing.version == Version::HTTP_10 => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// One chunk. Empty data writes nothing: an empty chunk is the last.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        put(out, &[hex(data.len() as u64, &mut [0; 16]), b"\r\n", data, b"\r\n"]);
    }
}

/// The last chunk with the trailers that may stand there.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&Headers>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flat_map(Headers::iter).filter(|(name, _)| is_trailer(name)) {
        put(out, &[name, b": ", value, b"\r\n"]);
    }
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn hex(mut number: u64, digits: &mut [u8; 16]) -> &[u8] {
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit((number % 16) as u32, 16).map_or(b'0', |c| c as u8);
        number /= 16;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ::http::StatusCode;

    use super::*;

    fn framing(body: BodyLength) -> WriteFraming<'static> {
        WriteFraming { body, keep_alive: true, version: Version::HTTP_11, upgrade: None, expect_continue: false }
    }

    #[test]
    fn lengths_are_said_once() {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.headers.add("Content-Length", "99");
        for (body, expected) in [
            (BodyLength::Known(5), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            (BodyLength::Chunked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (BodyLength::None, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
            (BodyLength::UntilClose, "HTTP/1.1 200 OK\r\n\r\n"),
        ] {
            let mut out = Vec::new();
            response(&mut out, &head, &framing(body));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn connection_fields() {
        let head = RequestHead { target: "/a".to_owned(), ..RequestHead::default() };
        for (change, expected) in [
            (WriteFraming { keep_alive: false, ..framing(BodyLength::None) }, "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"),
            (
                WriteFraming { version: Version::HTTP_10, ..framing(BodyLength::None) },
                "GET /a HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
            ),
            (
                WriteFraming { upgrade: Some("websocket"), ..framing(BodyLength::None) },
                "GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            ),
            (
                WriteFraming { expect_continue: true, ..framing(BodyLength::None) },
                "GET /a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            ),
        ] {
            let mut out = Vec::new();
            request(&mut out, &head, &change);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn chunks_and_trailers() {
        let mut out = Vec::new();
        chunk(&mut out, b"");
        chunk(&mut out, &[b'x'; 26]);
        let mut trailers = Headers::new();
        trailers.add("grpc-status", "0");
        trailers.add("Content-Length", "7");
        last_chunk(&mut out, Some(&trailers));
        let expected = format!("1a\r\n{}\r\n0\r\ngrpc-status: 0\r\n\r\n", "x".repeat(26));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

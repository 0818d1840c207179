//! Reads the head of a request from a client.

use std::mem::MaybeUninit;

use ::http::{Method, Version};

use super::framing::{self, BodyLength, ConnectionFields};
use super::{HeadLimits, Refusal};
use crate::agent::relay::http::head::RequestHead;

/// What a request asks of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFraming {
    pub body: BodyLength,
    /// Whether the client takes another response on this connection.
    pub keep_alive: bool,
    pub fields: ConnectionFields,
}

/// Parses a whole head (see [`super::head_end`]) into `head`, which is cleared first.
///
/// # Errors
/// A [`Refusal`]: its status is to be sent and the connection closed.
pub fn parse(bytes: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<RequestFraming, Refusal> {
    head.clear();
    let mut fields = [const { MaybeUninit::uninit() }; HeadLimits::MOST_FIELDS];
    let fields = fields.get_mut(..limits.fields).unwrap_or_default();
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, fields).map_err(Refusal::from_httparse)? {
        httparse::Status::Complete(length) if length == bytes.len() => {}
        httparse::Status::Complete(_) | httparse::Status::Partial => return Err(Refusal::Malformed("the end of the head")),
    }
    let method = parsed.method.unwrap_or_default();
    head.method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed("the method"))?;
    head.version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let absolute = read_target(parsed.path.unwrap_or_default(), head)?;
    let fields = framing::sort(parsed.headers, &mut head.headers)?;
    read_host(head, absolute)?;
    if head.version == Version::HTTP_10 && fields.chunked {
        return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0"));
    }
    let body = match fields.content_length {
        _ if fields.chunked => BodyLength::Chunked,
        Some(0) | None => BodyLength::None,
        Some(length) => BodyLength::Known(length),
    };
    let keep_alive = !fields.close && (head.version == Version::HTTP_11 || fields.keep_alive);
    Ok(RequestFraming { body, keep_alive, fields })
}

/// Path and query of the target (RFC 9112, 3.2); whether it was absolute, then the authority is set.
fn read_target(target: &str, head: &mut RequestHead) -> Result<bool, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Method);
    }
    if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Refusal::Malformed("the target"));
    }
    if target.starts_with('/') || (target == "*" && head.method == Method::OPTIONS) {
        head.target.push_str(target);
        return Ok(false);
    }
    let scheme = target.find("://").filter(|at| {
        let scheme = target.get(..*at).unwrap_or_default();
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    let rest = scheme.and_then(|at| target.get(at + 3..)).ok_or(Refusal::Malformed("the target"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_authority(authority.as_bytes()) {
        return Err(Refusal::Malformed("the authority of the target"));
    }
    head.authority.push_str(authority);
    if path.is_empty() && head.method == Method::OPTIONS {
        head.target.push('*');
    } else if !path.starts_with('/') {
        head.target.push('/');
    }
    head.target.push_str(path);
    Ok(true)
}

/// Checks `Host`: exactly one in HTTP/1.1, and of the form that RFC 9110, 7.2 gives. An absolute target wins over it.
fn read_host(head: &mut RequestHead, absolute: bool) -> Result<(), Refusal> {
    let (first, second) = {
        let mut hosts = head.headers.get_all("host");
        (hosts.next(), hosts.next())
    };
    match (first, second) {
        (_, Some(_)) => return Err(Refusal::Malformed("Host twice")),
        (None, None) if head.version == Version::HTTP_10 => return Ok(()),
        (None, None) => return Err(Refusal::Malformed("no Host")),
        (Some(host), None) if !is_authority(host) => return Err(Refusal::Malformed("Host")),
        (Some(host), None) if !absolute => head.authority.push_str(std::str::from_utf8(host).unwrap_or_default()),
        (Some(_), None) => head.headers.set("Host", head.authority.as_bytes()),
    }
    Ok(())
}

/// A host name or address with an optional port; no user information.
pub fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let (address, after) = rest.split_at(end);
            if !address.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) {
                return false;
            }
            (address, after.get(1..).unwrap_or_default())
        }
        None => text.split_at(memchr::memchr(b':', text).unwrap_or(text.len())),
    };
    let host_ok = !host.is_empty()
        && host.iter().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'-' | b'.'
                        | b'_'
                        | b'~'
                        | b'%'
                        | b'!'
                        | b'$'
                        | b'&'
                        | b'\''
                        | b'('
                        | b')'
                        | b'*'
                        | b'+'
                        | b','
                        | b';'
                        | b'='
                        | b':'
                )
        });
    let port_ok = port.is_empty() || port.strip_prefix(b":").is_some_and(|p| p.len() <= 5 && p.iter().all(u8::is_ascii_digit));
    host_ok && port_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(RequestHead, RequestFraming), Refusal> {
        let mut head = RequestHead::default();
        let framing = parse(text.as_bytes(), &HeadLimits::default(), &mut head)?;
        Ok((head, framing))
    }

    #[test]
    fn a_request() {
        let (head, framing) = read("POST /a?b HTTP/1.1\r\nHost: example.org:81\r\nContent-Length: 3\r\nX: y\r\n\r\n").unwrap();
        assert_eq!((head.method.as_str(), head.target.as_str(), head.authority.as_str()), ("POST", "/a?b", "example.org:81"));
        assert_eq!((framing.body, framing.keep_alive), (BodyLength::Known(3), true));
        assert_eq!(head.headers.get("x"), Some(&b"y"[..]));
    }

    #[test]
    fn targets() {
        for (line, target, authority) in [
            ("GET http://h:1/a?b HTTP/1.1", "/a?b", "h:1"),
            ("GET http://h HTTP/1.1", "/", "h"),
            ("GET HTTP://h?q HTTP/1.1", "/?q", "h"),
            ("OPTIONS http://h HTTP/1.1", "*", "h"),
            ("OPTIONS * HTTP/1.1", "*", "other"),
            ("GET //a HTTP/1.1", "//a", "other"),
        ] {
            let (head, _) = read(&format!("{line}\r\nHost: other\r\n\r\n")).unwrap();
            assert_eq!((head.target.as_str(), head.authority.as_str()), (target, authority), "{line}");
            assert_eq!(head.headers.get("host"), Some(authority.as_bytes()), "{line}");
        }
        for line in [
            "GET a HTTP/1.1",
            "GET * HTTP/1.1",
            "GET ftp://h/ HTTP/1.1",
            "GET http:///a HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET http://u@h/ HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 x",
            "G(T / HTTP/1.1",
            "GET /",
            " GET / HTTP/1.1",
        ] {
            assert!(matches!(read(&format!("{line}\r\nHost: h\r\n\r\n")), Err(Refusal::Malformed(_))), "{line}");
        }
        assert_eq!(read("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n").unwrap_err(), Refusal::Method);
        assert_eq!(read("GET / HTTP/2.0\r\nHost: h\r\n\r\n").unwrap_err(), Refusal::Version);
    }

    #[test]
    fn hosts() {
        for host in ["h", "h:80", "[::1]:80", "a-b.c_d", "1.2.3.4"] {
            assert_eq!(read(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap().0.authority, host);
        }
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: \r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: u@a\r\n",
            "Host: a:b\r\n",
            "Host: [::1\r\n",
            "Host: a:123456\r\n",
            "Host: a\\b\r\n",
        ] {
            assert!(matches!(read(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), Err(Refusal::Malformed(_))), "{fields:?}");
        }
        assert!(read("GET / HTTP/1.0\r\n\r\n").is_ok());
    }

    #[test]
    fn malformed_fields() {
        for field in [
            "X : y",
            " X: y",
            "X: a\r\n b",
            "X: a\r\n\tb",
            "X: a\0b",
            "X: a\rb",
            "X",
            ": y",
            "X: a\u{7f}",
            "X\u{e9}: y",
            "X[]: y",
        ] {
            let refused = read(&format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n"));
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{field:?}: {refused:?}");
        }
    }

    #[test]
    fn too_many_fields() {
        let many = |n: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(n - 1));
        assert!(read(&many(101)).is_ok());
        assert_eq!(read(&many(102)).unwrap_err(), Refusal::HeadTooLarge);
    }

    #[test]
    fn keeping_alive() {
        for (head, keep) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
        ] {
            assert_eq!(read(head).unwrap().1.keep_alive, keep, "{head:?}");
        }
        assert!(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}

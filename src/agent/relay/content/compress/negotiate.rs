//! Which coding a client wants (RFC 9110, 12.5.3), and whether a response may be coded at all.

use http::{Method, StatusCode};

use super::CompressionConfig;
use crate::agent::relay::http::head::{Headers, RequestHead, ResponseHead};

/// A coding of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Brotli,
    Zstd,
}

impl Encoding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As registered for `Content-Encoding`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The coding of those offered that the client likes best; the server's order decides between equals. `None`: send it plain.
pub fn choose(accept: &Headers, offered: &[Encoding]) -> Option<Encoding> {
    let mut weights = [None; Encoding::ALL.len()];
    let (mut identity, mut any) = (None, None);
    for item in accept.get_all("accept-encoding").flat_map(|f| f.split(|b| *b == b',')) {
        let mut parts = item.split(|b| *b == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let weight = weight(parts);
        let slot = match Encoding::ALL.iter().position(|e| is_named(*e, name)) {
            Some(at) => weights.get_mut(at),
            None if name.eq_ignore_ascii_case(b"identity") => Some(&mut identity),
            None if name == b"*" => Some(&mut any),
            None => None,
        };
        if let Some(slot) = slot {
            slot.get_or_insert(weight);
        }
    }
    let of = |e: Encoding| {
        Encoding::ALL.iter().position(|a| *a == e).and_then(|at| weights.get(at).copied().flatten()).or(any).unwrap_or(0)
    };
    // What a client does not name stays acceptable but unwanted, identity included.
    let floor = identity.unwrap_or(0);
    let mut best: Option<(u16, Encoding)> = None;
    for encoding in offered {
        let weight = of(*encoding);
        if weight > 0 && weight >= floor && best.is_none_or(|(b, _)| weight > b) {
            best = Some((weight, *encoding));
        }
    }
    best.map(|(_, encoding)| encoding)
}

fn is_named(encoding: Encoding, name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(encoding.word().as_bytes()) || (encoding == Encoding::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
}

/// The `q` among parameters in thousandths; 1000 where there is none, 0 where it is malformed: nobody asked for that.
fn weight<'p>(mut parameters: impl Iterator<Item = &'p [u8]>) -> u16 {
    let Some(q) = parameters.find_map(|p| p.trim_ascii().strip_prefix(b"q=").or(p.trim_ascii().strip_prefix(b"Q="))) else {
        return 1000;
    };
    let text = std::str::from_utf8(q.trim_ascii()).unwrap_or_default();
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{rest:0<3}").parse().unwrap_or(0);
    match (whole, thousandths) {
        ("0", t) => t,
        ("1", 0) => 1000,
        _ => 0,
    }
}

/// What is done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The coding to use.
    pub encoding: Option<Encoding>,
    /// The response would have been coded for another client, so that caches must tell them apart.
    pub varies: bool,
}

/// Decides about a response. `length`: bytes of its body where they are known.
pub fn decide(config: &CompressionConfig, request: &RequestHead, response: &ResponseHead, length: Option<u64>) -> Decision {
    let varies = is_codable(config, response, length);
    let has_body = request.method != Method::HEAD;
    let encoding = (varies && has_body).then(|| choose(&request.headers, &config.encodings)).flatten();
    Decision { encoding, varies }
}

fn is_codable(config: &CompressionConfig, response: &ResponseHead, length: Option<u64>) -> bool {
    let headers = &response.headers;
    let plain = response.status.as_u16() >= 200
        && !matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
        );
    plain
        && length.is_none_or(|l| l >= config.min_size)
        && headers.get("content-type").is_some_and(|t| config.takes(t))
        && headers.get("content-encoding").is_none_or(|e| e.eq_ignore_ascii_case(b"identity"))
        // A digest is of the body as it is.
        && !["content-range", "content-digest", "repr-digest", "digest", "content-md5"].iter().any(|n| headers.contains(n))
        && !lists(headers, "cache-control", "no-transform")
}

/// Whether a list field holds a word.
pub fn lists(headers: &Headers, name: &str, word: &str) -> bool {
    headers
        .get_all(name)
        .flat_map(|f| f.split(|b| *b == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// Changes the head of a response as decided. Whoever frames the body drops the length where an encoding is used.
pub fn amend(decision: Decision, response: &mut ResponseHead) {
    let headers = &mut response.headers;
    if decision.varies && !lists(headers, "vary", "accept-encoding") && !lists(headers, "vary", "*") {
        let mut all: Vec<u8> = headers.get_all("vary").collect::<Vec<_>>().join(&b", "[..]);
        if !all.is_empty() {
            all.extend_from_slice(b", ");
        }
        all.extend_from_slice(b"Accept-Encoding");
        headers.set("Vary", all);
    }
    let Some(encoding) = decision.encoding else { return };
    headers.set("Content-Encoding", encoding.word());
    headers.remove("content-length");
    // Byte ranges of the server are not those of what the client gets.
    headers.remove("accept-ranges");
    if let Some(strong) = headers.get("etag").filter(|e| e.starts_with(b"\"")) {
        let weak = [b"W/", strong].concat();
        headers.set("ETag", weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &str) -> Option<&'static str> {
        let mut headers = Headers::new();
        headers.add("Accept-Encoding", accept);
        choose(&headers, &[Encoding::Zstd, Encoding::Brotli, Encoding::Gzip]).map(Encoding::word)
    }

    #[test]
    fn weights_decide_then_the_servers_order() {
        for (accept, chosen) in [
            ("gzip, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("br")),
            ("gzip;q=1.0, br;q=0.5", Some("gzip")),
            ("GZIP;Q=0.001", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("*", Some("zstd")),
            ("*;q=0.1, br;q=0", Some("zstd")),
            ("zstd;q=0, *", Some("br")),
            ("gzip;q=0", None),
            ("gzip;q=0.5, identity", None),
            ("identity;q=0.5, gzip;q=0.5", Some("gzip")),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=nan", None),
            ("deflate", None),
            ("", None),
        ] {
            assert_eq!(wanted(accept), chosen, "{accept}");
        }
        assert_eq!(choose(&Headers::new(), &[Encoding::Gzip]), None);
    }

    fn response(fields: &[(&str, &str)]) -> ResponseHead {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.headers.add("Content-Type", "text/html; charset=utf-8");
        fields.iter().for_each(|(n, v)| head.headers.set(n, v));
        head
    }

    fn request() -> RequestHead {
        let mut head = RequestHead::default();
        head.headers.add("Accept-Encoding", "gzip");
        head
    }

    fn decided(response: &ResponseHead, length: Option<u64>) -> (bool, bool) {
        let d = decide(&CompressionConfig::default(), &request(), response, length);
        (d.encoding.is_some(), d.varies)
    }

    #[test]
    fn some_responses_are_left_alone() {
        assert_eq!(decided(&response(&[]), None), (true, true));
        assert_eq!(decided(&response(&[("content-encoding", "identity")]), Some(5000)), (true, true));
        for left in [
            response(&[("Content-Encoding", "br")]),
            response(&[("Cache-Control", "public, No-Transform")]),
            response(&[("Content-Type", "image/png")]),
            response(&[("Content-Range", "bytes 0-1/2")]),
            response(&[("Repr-Digest", "sha-256=:x:")]),
        ] {
            assert_eq!(decided(&left, None), (false, false), "{left:?}");
        }
        assert_eq!(decided(&response(&[]), Some(10)), (false, false));
        for status in [101, 204, 205, 206, 304] {
            let head = ResponseHead { status: StatusCode::from_u16(status).unwrap(), ..response(&[]) };
            assert_eq!(decided(&head, None), (false, false), "{status}");
        }
        let head = RequestHead { method: Method::HEAD, ..request() };
        let d = decide(&CompressionConfig::default(), &head, &response(&[]), None);
        assert_eq!((d.encoding, d.varies), (None, true));
    }

    #[test]
    fn the_head_says_what_was_done() {
        let mut head = response(&[("ETag", "\"abc\""), ("Vary", "Origin"), ("Content-Length", "99"), ("Accept-Ranges", "bytes")]);
        amend(Decision { encoding: Some(Encoding::Gzip), varies: true }, &mut head);
        let get = |n: &str| head.headers.get(n).map(|v| String::from_utf8_lossy(v).into_owned());
        assert_eq!(get("etag").as_deref(), Some("W/\"abc\""));
        assert_eq!(get("vary").as_deref(), Some("Origin, Accept-Encoding"));
        assert_eq!(get("content-encoding").as_deref(), Some("gzip"));
        assert_eq!((get("content-length"), get("accept-ranges")), (None, None));
        let mut head = response(&[("ETag", "W/\"abc\""), ("Vary", "accept-encoding")]);
        amend(Decision { encoding: None, varies: true }, &mut head);
        assert_eq!(head.headers.get("vary"), Some(&b"accept-encoding"[..]));
        assert_eq!(head.headers.get("etag"), Some(&b"W/\"abc\""[..]));
    }
}

//! How long a body is, and what the fields say that concern one connection only (RFC 9112, 6.3 and 9.3; RFC 9110, 7.6.1).

use super::Refusal;
use crate::agent::relay::digits::digits;
use crate::agent::relay::http::head::Headers;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// That many bytes.
    Known(u64),
    /// Until the last chunk; trailers may follow.
    Chunked,
    /// Until the sender closes (responses only).
    UntilClose,
}

/// What the fields of one connection said; they are not among the [`Headers`] of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFields {
    /// `Content-Length`. It stays among the headers as well, once.
    pub content_length: Option<u64>,
    pub chunked: bool,
    /// `Connection: close`
    pub close: bool,
    /// `Connection: keep-alive`
    pub keep_alive: bool,
    /// The `Upgrade` field, where `Connection: upgrade` stands beside it.
    pub upgrade: Option<String>,
    /// `Expect: 100-continue`
    pub expect_continue: bool,
    /// `TE: trailers`
    pub te_trailers: bool,
}

/// Names that only concern one connection, whether or not `Connection` lists them.
const HOP_BY_HOP: &[&[u8]] =
    &[b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings", b"expect"];

/// Names that a `Connection` field cannot take away: it could hide from the server what the relay decided on.
const NOT_OPTIONS: &[&[u8]] =
    &[b"host", b"content-length", b"content-type", b"content-encoding", b"authorization", b"cookie", b"range"];

/// Sorts the fields of a head: what concerns the connection becomes [`ConnectionFields`], all others go into `headers`.
pub(super) fn sort(parsed: &[httparse::Header<'_>], headers: &mut Headers) -> Result<ConnectionFields, Refusal> {
    let mut fields = ConnectionFields::default();
    let mut upgrade: Option<&[u8]> = None;
    let mut upgrade_listed = false;
    let mut lists_others = false;
    let mut coded = false;
    for field in parsed {
        let (name, value) = (field.name.as_bytes(), field.value);
        // Most fields are none of these: their length tells.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in list(value) {
                    match () {
                        () if option.eq_ignore_ascii_case(b"close") => fields.close = true,
                        () if option.eq_ignore_ascii_case(b"keep-alive") => fields.keep_alive = true,
                        () if option.eq_ignore_ascii_case(b"upgrade") => upgrade_listed = true,
                        () => lists_others = true,
                    }
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                for number in value.split(|b| *b == b',') {
                    let number = decimal(number.trim_ascii()).ok_or(Refusal::Malformed("Content-Length"))?;
                    if fields.content_length.replace(number).is_some_and(|other| other != number) {
                        return Err(Refusal::Malformed("two different values of Content-Length"));
                    }
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if coded {
                    return Err(Refusal::Malformed("Transfer-Encoding twice"));
                }
                coded = true;
                fields.chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if !fields.chunked {
                    let last = list(value).last().unwrap_or_default();
                    return Err(if last.eq_ignore_ascii_case(b"chunked") && list(value).filter(|c| *c == last).count() == 1 {
                        Refusal::Unsupported("a transfer coding other than chunked")
                    } else {
                        Refusal::Malformed("Transfer-Encoding")
                    });
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => upgrade = Some(value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                fields.expect_continue |= value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
            }
            2 if name.eq_ignore_ascii_case(b"te") => {
                fields.te_trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            10 | 14 | 16 if HOP_BY_HOP.iter().any(|n| name.eq_ignore_ascii_case(n)) => {}
            _ => headers.add(name, value),
        }
    }
    if coded && fields.content_length.is_some() {
        return Err(Refusal::Malformed("both Content-Length and Transfer-Encoding"));
    }
    if let Some(length) = fields.content_length {
        headers.add("Content-Length", digits(length, &mut [0; 20]));
    }
    if upgrade_listed {
        fields.upgrade = upgrade.and_then(|u| std::str::from_utf8(u).ok()).map(str::to_owned);
    }
    if lists_others {
        let listed = parsed.iter().filter(|f| f.name.eq_ignore_ascii_case("connection")).flat_map(|f| list(f.value));
        for option in listed.filter(|o| !NOT_OPTIONS.iter().any(|n| o.eq_ignore_ascii_case(n))) {
            headers.remove(option);
        }
    }
    Ok(fields)
}

/// Whether a field may stand among trailers: not what frames, routes or authenticates a message (RFC 9110, 6.5.1).
pub fn is_trailer(name: &[u8]) -> bool {
    const NEVER: &[&[u8]] = &[
        b"content-length",
        b"host",
        b"trailer",
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"max-forwards",
        b"cache-control",
        b"range",
        b"location",
    ];
    !HOP_BY_HOP.iter().chain(NEVER).any(|n| name.eq_ignore_ascii_case(n))
}

/// The members of a comma-separated list without white space; empty ones are left out (RFC 9110, 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
}

/// Digits only: no sign, no space, no overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(fields: &[(&str, &str)]) -> Result<(ConnectionFields, Vec<String>), Refusal> {
        let parsed: Vec<_> = fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        let mut headers = Headers::new();
        let fields = sort(&parsed, &mut headers)?;
        Ok((fields, headers.iter().map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect()))
    }

    #[test]
    fn what_frames_twice_is_refused() {
        for fields in [
            &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")][..],
            &[("Content-Length", "5"), ("Content-Length", "6")],
            &[("Content-Length", "5, 6")],
            &[("Content-Length", "+5")],
            &[("Content-Length", "-5")],
            &[("Content-Length", "0x5")],
            &[("Content-Length", "5 5")],
            &[("Content-Length", "")],
            &[("Content-Length", "99999999999999999999")],
            &[("Transfer-Encoding", "xchunked")],
            &[("Transfer-Encoding", "chunked, identity")],
            &[("Transfer-Encoding", "chunked, chunked")],
            &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "\u{b}chunked")],
            &[("Transfer-Encoding", "")],
        ] {
            assert!(matches!(sorted(fields), Err(Refusal::Malformed(_))), "{fields:?}");
        }
        assert_eq!(
            sorted(&[("Transfer-Encoding", "gzip, chunked")]),
            Err(Refusal::Unsupported("a transfer coding other than chunked"))
        );
    }

    #[test]
    fn equal_lengths_become_one() {
        let (fields, names) = sorted(&[("Content-Length", "5"), ("content-length", "5, 05")]).unwrap();
        assert_eq!((fields.content_length, names), (Some(5), vec!["Content-Length".to_owned()]));
    }

    #[test]
    fn fields_of_the_connection_go_no_further() {
        let (fields, names) = sorted(&[
            ("X-Hop", "1"),
            ("Connection", "X-Hop, close, Host, upgrade"),
            ("Host", "a"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "x"),
            ("HTTP2-Settings", "x"),
            ("Upgrade", "websocket"),
            ("TE", "gzip, trailers"),
            ("Expect", "100-Continue"),
            ("Accept", "a"),
        ])
        .unwrap();
        assert_eq!(names, ["Host", "Accept"]);
        assert!(fields.close && fields.te_trailers && fields.expect_continue && !fields.keep_alive);
        assert_eq!(fields.upgrade.as_deref(), Some("websocket"));
        assert_eq!(sorted(&[("Upgrade", "h2c")]).unwrap().0.upgrade, None);
    }

    #[test]
    fn names_of_trailers() {
        assert!(is_trailer(b"grpc-status") && !is_trailer(b"Content-Length") && !is_trailer(b"transfer-encoding"));
    }
}

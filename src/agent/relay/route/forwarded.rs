//! Who the client is behind proxies, and what servers are told: X-Forwarded-For/-Proto/-Host and Forwarded (RFC 7239).
//!
//! What a peer says about itself counts only if the peer is a trusted proxy; from everybody else these fields are replaced.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::agent::relay::http::head::Headers;
use crate::agent::relay::protect::networks::Networks;

/// Which fields tell servers about the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` of RFC 7239.
    Forwarded,
    /// Both; a trusted proxy's `X-Forwarded-For` is then the one that is read.
    Both,
    /// None: the fields of clients go through as they are, and the peer is the client.
    Off,
}

/// How a listener deals with proxies in front of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forwarding {
    pub style: Style,
    /// Proxies whose word counts.
    pub trusted: Networks,
}

const FIELDS: &[&str] = &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"];

impl Forwarding {
    pub fn trusts(&self, peer: IpAddr) -> bool {
        !self.trusted.is_empty() && self.trusted.contains(peer)
    }

    /// The client's address: the peer, or what trusted proxies say. The last address that no trusted proxy has is the client's; where
    /// a proxy names none (`unknown`, `_hidden`, nonsense), the last trusted one stands for it.
    pub fn client(&self, headers: &Headers, peer: SocketAddr) -> SocketAddr {
        if self.style == Style::Off || !self.trusts(peer.ip()) {
            return peer;
        }
        let mut client = peer;
        let mut walk = |address: Option<SocketAddr>| {
            let Some(address) = address else { return false };
            client = address;
            self.trusts(address.ip())
        };
        if self.style == Style::Forwarded {
            let elements: Vec<Element> = headers.get_all("forwarded").flat_map(parse).collect();
            let _ = elements.iter().rev().all(|e| walk(e.node.as_deref().and_then(node_address)));
        } else {
            let fields: Vec<&[u8]> = headers.get_all("x-forwarded-for").collect();
            let _ = fields
                .iter()
                .rev()
                .flat_map(|f| f.rsplit(|b| *b == b','))
                .all(|hop| walk(std::str::from_utf8(hop).ok().and_then(|t| node_address(t.trim()))));
        }
        client
    }

    /// Writes the fields for the server. `host` is the authority that the client asked for.
    pub fn apply(&self, headers: &mut Headers, peer: IpAddr, tls: bool, host: &str) {
        if self.style == Style::Off {
            return;
        }
        let trusted = self.trusts(peer);
        if !trusted {
            for name in FIELDS {
                headers.remove(name);
            }
        }
        let peer = peer.to_canonical();
        let scheme = if tls { "https" } else { "http" };
        if matches!(self.style, Style::XForwarded | Style::Both) {
            append(headers, "X-Forwarded-For", &peer.to_string());
            if !headers.contains("x-forwarded-proto") {
                headers.set("X-Forwarded-Proto", scheme);
            }
            if !host.is_empty() && !headers.contains("x-forwarded-host") {
                headers.set("X-Forwarded-Host", host);
            }
        }
        if matches!(self.style, Style::Forwarded | Style::Both) {
            append(headers, "Forwarded", &element(peer, scheme, host));
        }
    }
}

/// Adds to a list field: several fields of the name become one.
fn append(headers: &mut Headers, name: &str, value: &str) {
    if !headers.contains(name) {
        headers.set(name, value);
        return;
    }
    let mut all = Vec::new();
    for field in headers.get_all(name) {
        all.extend_from_slice(field);
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(value.as_bytes());
    headers.set(name, all);
}

/// One element of `Forwarded`.
fn element(peer: IpAddr, scheme: &str, host: &str) -> String {
    let mut text = match peer {
        IpAddr::V4(v4) => format!("for={v4}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\""),
    };
    if !host.is_empty() {
        // A port or brackets are no token.
        let quote = if host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') { "" } else { "\"" };
        let _ = write!(text, ";host={quote}{}{quote}", host.replace(['"', '\\'], ""));
    }
    let _ = write!(text, ";proto={scheme}");
    text
}

/// What one proxy said in `Forwarded`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// `for`: address, `unknown` or a hidden name, unquoted.
    pub node: Option<String>,
    pub host: Option<String>,
    pub proto: Option<String>,
}

/// The elements of one field, first proxy first (RFC 7239, 4). Parameters that are malformed are left out; their element stays, so that
/// nobody can hide a hop by malforming it.
pub fn parse(field: &[u8]) -> Vec<Element> {
    split_unquoted(field, b',')
        .into_iter()
        .filter(|e| !e.trim_ascii().is_empty())
        .map(|e| {
            let mut element = Element::default();
            for pair in split_unquoted(e, b';') {
                let Some(equals) = pair.iter().position(|b| *b == b'=') else { continue };
                let (name, value) = pair.split_at(equals);
                let Some(value) = value.get(1..).and_then(unquote) else { continue };
                let slot = match name.trim_ascii().to_ascii_lowercase().as_slice() {
                    b"for" => &mut element.node,
                    b"host" => &mut element.host,
                    b"proto" => &mut element.proto,
                    _ => continue,
                };
                // Each parameter must come once; the first counts.
                slot.get_or_insert(value);
            }
            element
        })
        .collect()
}

/// Parts between separators that stand outside of quotes.
fn split_unquoted(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|&b| {
        if escaped {
            escaped = false;
        } else if quoted && b == b'\\' {
            escaped = true;
        } else if b == b'"' {
            quoted = !quoted;
        }
        b == separator && !quoted
    })
    .collect()
}

/// A token, or a quoted string without its quotes and escapes. Only ASCII that can be shown.
fn unquote(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let text = std::str::from_utf8(value).ok().filter(|t| t.bytes().all(|b| b.is_ascii_graphic() || b == b' '))?;
    let Some(inner) = text.strip_prefix('"') else {
        return (!text.is_empty() && !text.contains('"')).then(|| text.to_owned());
    };
    let mut unquoted = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(unquoted),
            '\\' => unquoted.push(chars.next()?),
            other => unquoted.push(other),
        }
    }
}

/// Address of a node: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`. The port is 0 where none is given.
pub fn node_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forwarding(style: Style) -> Forwarding {
        let trusted = ["10.0.0.0/8", "2001:db8:f::/48"].iter().map(|n| n.parse().unwrap()).collect();
        Forwarding { style, trusted: Networks::new(trusted) }
    }

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        fields.iter().for_each(|(n, v)| headers.add(n, v));
        headers
    }

    fn client(style: Style, peer: &str, fields: &[(&str, &str)]) -> String {
        forwarding(style).client(&headers(fields), peer.parse().unwrap()).ip().to_string()
    }

    #[test]
    fn strangers_are_not_believed() {
        let lie = &[("X-Forwarded-For", "1.1.1.1"), ("Forwarded", "for=1.1.1.1")][..];
        for style in [Style::XForwarded, Style::Forwarded, Style::Both, Style::Off] {
            assert_eq!(client(style, "192.0.2.9:1", lie), "192.0.2.9");
        }
        assert_eq!(client(Style::Off, "10.0.0.1:1", lie), "10.0.0.1");
        let mut told = headers(&[("x-forwarded-for", "1.1.1.1"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=1.1.1.1")]);
        forwarding(Style::XForwarded).apply(&mut told, "192.0.2.9".parse().unwrap(), false, "example.org:8080");
        let shown: Vec<_> = told.iter().map(|(n, v)| [n, v].map(|b| String::from_utf8_lossy(b).into_owned()).join("=")).collect();
        assert_eq!(shown, ["X-Forwarded-For=192.0.2.9", "X-Forwarded-Proto=http", "X-Forwarded-Host=example.org:8080"]);
    }

    #[test]
    fn the_last_address_outside_of_trust_is_the_client() {
        let through = |value: &str| client(Style::XForwarded, "10.0.0.1:1", &[("X-Forwarded-For", value)]);
        assert_eq!(through("1.1.1.1, 192.0.2.7, 10.2.2.2"), "192.0.2.7");
        assert_eq!(through("192.0.2.7:5511"), "192.0.2.7");
        assert_eq!(through("[2001:db8::1]:99 ,10.9.9.9"), "2001:db8::1");
        assert_eq!(through("10.3.3.3,10.2.2.2"), "10.3.3.3");
        assert_eq!(through("1.1.1.1, unknown, 10.2.2.2"), "10.2.2.2");
        assert_eq!(through(""), "10.0.0.1");
        let two = &[("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "192.0.2.7")];
        assert_eq!(client(Style::Both, "10.0.0.1:1", two), "192.0.2.7");
    }

    #[test]
    fn forwarded_is_read_with_quotes() {
        let through = |value: &str| client(Style::Forwarded, "10.0.0.1:1", &[("Forwarded", value)]);
        assert_eq!(through("for=1.1.1.1, For=\"[2001:db8::7]:4711\";proto=https, for=10.2.2.2"), "2001:db8::7");
        assert_eq!(through("for=192.0.2.7;by=\"x,y;for=6.6.6.6\""), "192.0.2.7");
        assert_eq!(through("for=1.1.1.1, for=_hidden"), "10.0.0.1");
        assert_eq!(through("for=1.1.1.1, nonsense"), "10.0.0.1");
        assert_eq!(through("for=\"1.1.1.1"), "10.0.0.1");
        // Those who use Forwarded do not look at the other field, which their proxy may pass from anybody.
        assert_eq!(client(Style::Forwarded, "10.0.0.1:1", &[("X-Forwarded-For", "6.6.6.6")]), "10.0.0.1");
    }

    #[test]
    fn trusted_chains_grow() {
        let mut told =
            headers(&[("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=192.0.2.7")]);
        forwarding(Style::Both).apply(&mut told, "10.0.0.1".parse().unwrap(), false, "[::1]:80");
        assert_eq!(told.get("x-forwarded-for"), Some(&b"192.0.2.7, 10.0.0.1"[..]));
        assert_eq!(told.get("x-forwarded-proto"), Some(&b"https"[..]));
        assert_eq!(told.get("forwarded"), Some(&b"for=192.0.2.7, for=10.0.0.1;host=\"[::1]:80\";proto=http"[..]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(v6: bool, bits: u128, host in "[a-z0-9.:\\[\\]\"\\\\,;=-]{0,20}", tls: bool) {
            let ip = if v6 { IpAddr::from(bits.to_be_bytes()) } else { IpAddr::from((bits as u32).to_be_bytes()) }.to_canonical();
            let mut told = Headers::new();
            forwarding(Style::Forwarded).apply(&mut told, ip, tls, &host);
            let read = parse(told.get("forwarded").unwrap());
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(read[0].node.as_deref().and_then(node_address).map(|a| a.ip()), Some(ip));
            prop_assert_eq!(read[0].proto.as_deref(), Some(if tls { "https" } else { "http" }));
        }
    }
}

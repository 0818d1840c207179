//! PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): who the client is, told
//! by a proxy in front of us and to servers behind us.
//!
//! The reader takes bytes of anybody who may connect, so it is strict: whatever is not exactly a header is an error, and
//! whether to believe a header is the caller's decision by the address of the peer.

pub mod accept;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::config::pool::ProxyVersion;

/// Every header of version 2 begins so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, its CR LF included.
const V1_MAX: usize = 107;
const V2_FIXED: usize = 16;
/// What a header of version 2 may carry beside addresses. The format allows 65,535 bytes; nobody needs them.
const V2_MAX: usize = V2_FIXED + 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Client and where it connected to; None = the proxy speaks for itself (health checks), or does not know.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Bytes that it takes up; what follows is the client's.
    pub len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// More bytes are needed to tell.
    #[error("the PROXY protocol header is not whole yet")]
    Incomplete,
    #[error("no PROXY protocol header, where the peer must send one")]
    Missing,
    #[error("malformed PROXY protocol header: {0}")]
    Malformed(&'static str),
}

/// Reads the header that a connection begins with.
pub fn parse(bytes: &[u8]) -> Result<Header, ProxyError> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(a, b)| a == b);
    if begins(&SIGNATURE) {
        if bytes.len() < SIGNATURE.len() { Err(ProxyError::Incomplete) } else { parse_v2(bytes) }
    } else if begins(b"PROXY ") {
        if bytes.len() < 6 { Err(ProxyError::Incomplete) } else { parse_v1(bytes) }
    } else {
        Err(ProxyError::Missing)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Header, ProxyError> {
    const BAD: fn(&'static str) -> ProxyError = ProxyError::Malformed;
    let window = bytes.get(..bytes.len().min(V1_MAX)).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return Err(if bytes.len() >= V1_MAX { BAD("the line does not end") } else { ProxyError::Incomplete });
    };
    let line = window.get(..end).and_then(|l| l.strip_suffix(b"\r")).ok_or(BAD("the line ends without CR"))?;
    let line = std::str::from_utf8(line).map_err(|_| BAD("not ASCII"))?;
    let len = end + 1;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(BAD("no protocol"))?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Ok(Header { addresses: None, len });
    }
    let (Some(source), Some(target), Some(source_port), Some(target_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD("not two addresses and two ports"));
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    // No sign, no leading zeros: what two parsers read differently is refused.
    let port = |text: &str| -> Option<u16> {
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse().ok().filter(|_| plain)
    };
    let source = address(source).zip(port(source_port)).ok_or(BAD("the client's address"))?;
    let target = address(target).zip(port(target_port)).ok_or(BAD("the destination's address"))?;
    Ok(Header { addresses: Some((source.into(), target.into())), len })
}

fn parse_v2(bytes: &[u8]) -> Result<Header, ProxyError> {
    const BAD: fn(&'static str) -> ProxyError = ProxyError::Malformed;
    let Some([version_command, family, high, low]) = bytes.get(12..V2_FIXED) else { return Err(ProxyError::Incomplete) };
    if version_command >> 4 != 2 {
        return Err(BAD("another version"));
    }
    let len = V2_FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if len > V2_MAX {
        return Err(BAD("too long"));
    }
    let local = match version_command & 0x0f {
        0 => true,
        1 => false,
        _ => return Err(BAD("unknown command")),
    };
    let payload = bytes.get(V2_FIXED..len).ok_or(ProxyError::Incomplete)?;
    let addresses = match family >> 4 {
        _ if local => None,
        1 => {
            let Some((block, _)) = payload.split_first_chunk::<12>() else { return Err(BAD("too short for IPv4")) };
            let [a, b, c, d, e, f, g, h, sp1, sp2, dp1, dp2] = *block;
            let source = SocketAddr::from(([a, b, c, d], u16::from_be_bytes([sp1, sp2])));
            Some((source, SocketAddr::from(([e, f, g, h], u16::from_be_bytes([dp1, dp2])))))
        }
        2 => {
            let Some((block, _)) = payload.split_first_chunk::<36>() else { return Err(BAD("too short for IPv6")) };
            let (source, rest) = block.split_at(16);
            let (target, ports) = rest.split_at(16);
            let (Ok(source), Ok(target), [sp1, sp2, dp1, dp2]) =
                (<[u8; 16]>::try_from(source), <[u8; 16]>::try_from(target), ports)
            else {
                return Err(BAD("too short for IPv6"));
            };
            let source = SocketAddr::from((source, u16::from_be_bytes([*sp1, *sp2])));
            Some((source, SocketAddr::from((target, u16::from_be_bytes([*dp1, *dp2])))))
        }
        // Unspecified, unix sockets: nothing that we could say about the client.
        0 | 3 => None,
        _ => return Err(BAD("unknown address family")),
    };
    Ok(Header { addresses, len })
}

/// The header for a server. Without both addresses it says that the client is unknown. Two addresses of different families
/// are written as IPv6, IPv4 ones mapped.
pub fn write(version: ProxyVersion, client: Option<SocketAddr>, local: Option<SocketAddr>, udp: bool) -> Vec<u8> {
    let pair = client.zip(local).map(|(c, l)| (canonical(c), canonical(l)));
    match version {
        ProxyVersion::V1 => match pair {
            None => b"PROXY UNKNOWN\r\n".to_vec(),
            Some((c, l)) if c.is_ipv4() && l.is_ipv4() => {
                format!("PROXY TCP4 {} {} {} {}\r\n", c.ip(), l.ip(), c.port(), l.port()).into_bytes()
            }
            Some((c, l)) => format!("PROXY TCP6 {} {} {} {}\r\n", v6(c.ip()), v6(l.ip()), c.port(), l.port()).into_bytes(),
        },
        ProxyVersion::V2 => write_v2(pair, udp),
    }
}

fn write_v2(pair: Option<(SocketAddr, SocketAddr)>, udp: bool) -> Vec<u8> {
    let mut header = Vec::with_capacity(V2_FIXED + 36);
    header.extend_from_slice(&SIGNATURE);
    let transport = if udp { 2 } else { 1 };
    match pair {
        // LOCAL: the server is to take the connection for what it is.
        None => header.extend_from_slice(&[0x20, 0, 0, 0]),
        Some((c, l)) => {
            match (c.ip(), l.ip()) {
                (IpAddr::V4(client), IpAddr::V4(local)) => {
                    header.extend_from_slice(&[0x21, 0x10 | transport, 0, 12]);
                    header.extend_from_slice(&client.octets());
                    header.extend_from_slice(&local.octets());
                }
                (client, local) => {
                    header.extend_from_slice(&[0x21, 0x20 | transport, 0, 36]);
                    header.extend_from_slice(&v6(client).octets());
                    header.extend_from_slice(&v6(local).octets());
                }
            }
            header.extend_from_slice(&c.port().to_be_bytes());
            header.extend_from_slice(&l.port().to_be_bytes());
        }
    }
    header
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

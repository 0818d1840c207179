//! What a node carries and listens on: `ip -j addr` and /proc/net/tcp.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Deserialize;

use crate::model::{InterfaceAddress, sanitize};

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    local: Option<IpAddr>,
    #[serde(default)]
    prefixlen: u8,
}

/// The addresses of all interfaces.
///
/// # Errors
/// It is no JSON (an `ip` before iproute2 4.14, or none at all); its words are in the error.
pub fn addresses(text: &str) -> Result<Vec<InterfaceAddress>, String> {
    let links: Vec<Link> = serde_json::from_str(text.trim()).map_err(|e| {
        let first = text.trim().lines().next().unwrap_or("no output");
        format!("`ip -j addr`: {} ({e})", sanitize(first))
    })?;
    let mut all = Vec::new();
    for link in links {
        let interface = sanitize(&link.ifname).into_owned();
        all.extend(
            link.addr_info
                .into_iter()
                .filter_map(|a| Some(InterfaceAddress { interface: interface.clone(), address: a.local?, prefix: a.prefixlen })),
        );
    }
    Ok(all)
}

/// Sockets of /proc/net/tcp and tcp6; lines that are none are left out.
pub fn listening(text: &str) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = text.lines().filter_map(|l| socket(l.split_whitespace().nth(1)?)).collect();
    all.sort();
    all.dedup();
    all
}

/// `0100007F:1F90`: words of the machine's byte order (little endian on all that we know), the port as it is.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |n: usize| u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok().map(u32::swap_bytes);
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (n, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(n)?.to_be_bytes());
            }
            // A socket of both families shows mapped addresses.
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_all_interfaces() {
        let text = r#"[{"ifname":"eth0","addr_info":[{"family":"inet","local":"10.77.0.11","prefixlen":24},
            {"family":"inet6","local":"fe80::1","prefixlen":64}]},{},{"ifname":"tun0","addr_info":[{"address":"x"}]}]"#;
        let shown: Vec<String> =
            addresses(text).unwrap().iter().map(|a| format!("{} {}/{}", a.interface, a.address, a.prefix)).collect();
        assert_eq!(shown, ["eth0 10.77.0.11/24", "eth0 fe80::1/64"]);
        assert!(addresses("sh: ip: not found").unwrap_err().contains("ip: not found"));
    }

    #[test]
    fn listening_sockets() {
        let text = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   1: 644D4D0A:0050 00000000:0000 0A\n\
            \x20  0: 00000000000000000000000001000000:0016 0000:0 0A\n  2: 0000000000000000FFFF00000100007F:0051 0 0A\nnonsense\n  3: zz:1\n";
        let shown: Vec<String> = listening(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.77.77.100:80", "127.0.0.1:81", "127.0.0.1:8080", "[::1]:22"]);
    }
}

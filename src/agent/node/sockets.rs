//! Tables of TCP and UDP sockets (/proc/net/tcp and its kin, proc_net_tcp.rst of the kernel).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::{ListeningSocket, TcpStates};

/// Listening sockets that are told at most.
const MOST: usize = 1_000;

/// The texts of the four tables.
pub struct Tables {
    pub tcp: String,
    pub tcp6: String,
    pub udp: String,
    pub udp6: String,
}

pub fn read(tables: &Tables) -> (TcpStates, Vec<ListeningSocket>) {
    let mut states = TcpStates::default();
    let mut listening = Vec::new();
    for row in tables.tcp.lines().chain(tables.tcp6.lines()).filter_map(Row::of) {
        let counter = match row.state {
            0x01 => &mut states.established,
            0x02 => &mut states.syn_sent,
            0x03 | 0x0c => &mut states.syn_recv,
            0x04 | 0x05 => &mut states.fin_wait,
            0x06 => &mut states.time_wait,
            0x08 => &mut states.close_wait,
            0x09 => &mut states.last_ack,
            0x0a => &mut states.listen,
            0x0b => &mut states.closing,
            _ => continue,
        };
        *counter += 1;
        if row.state == 0x0a {
            add(&mut listening, "tcp", &row);
        }
    }
    for row in tables.udp.lines().chain(tables.udp6.lines()).filter_map(Row::of) {
        // 7 is a socket that is connected to nobody: a server's.
        if row.state == 0x07 {
            add(&mut listening, "udp", &row);
        }
    }
    (states, listening)
}

/// Sockets that share an address (SO_REUSEPORT) are one line; what waits on them is summed.
fn add(listening: &mut Vec<ListeningSocket>, protocol: &str, row: &Row) {
    let address = row.local.to_string();
    if let Some(known) = listening.iter_mut().find(|l| l.protocol == protocol && l.address == address) {
        known.waiting += row.waiting;
    } else if listening.len() < MOST {
        listening.push(ListeningSocket { protocol: protocol.to_owned(), address, waiting: row.waiting, process: None });
    }
}

struct Row {
    local: SocketAddr,
    state: u8,
    /// Of a listening TCP socket: connections; of a UDP socket: bytes.
    waiting: u64,
}

impl Row {
    /// None for the header and for whatever else is no row.
    fn of(line: &str) -> Option<Row> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state, queues) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let (ip, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let state = u8::from_str_radix(state, 16).ok()?;
        let waiting = u64::from_str_radix(queues.split_once(':')?.1, 16).ok()?;
        Some(Row { local: SocketAddr::new(address(ip)?, port), state, waiting })
    }
}

/// 32-bit words as the kernel holds them: network order in memory, printed as numbers of this machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(i * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn tables_of_a_kernel() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr\n   \
                   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000\n   \
                   1: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000\n   \
                   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000\n   \
                   3: 0100007F:9C40 0100007F:1F90 06 00000000:00000000 03:00000000\n";
        let tcp6 = "   0: 00000000000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000\n";
        let udp = "  99: 00000000:0035 00000000:0000 07 00000000:00000100 00:00000000\nnonsense\n 1: x:y z\n";
        let tables = Tables { tcp: tcp.into(), tcp6: tcp6.into(), udp: udp.into(), udp6: "é: é é é é:é".into() };
        let (states, listening) = read(&tables);
        assert_eq!((states.listen, states.established, states.time_wait), (3, 1, 1));
        let told: Vec<_> = listening.iter().map(|l| (l.protocol.as_str(), l.address.as_str(), l.waiting)).collect();
        assert_eq!(told, [("tcp", "127.0.0.1:8080", 5), ("tcp", "[::1]:443", 0), ("udp", "0.0.0.0:53", 256)]);
    }
}

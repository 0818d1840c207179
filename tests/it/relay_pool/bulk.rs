//! Much data over sessions of layer 4: it arrives whole and in order, whichever way it takes through the relay.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{address_of, echo, shown, start, tcp, until};
use lbdeck::agent::relay::running::Relay;

const BYTES: usize = 48 << 20;

/// Bytes that differ from place to place, so that a piece in the wrong place is seen.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn spliced(relay: &Relay) -> u64 {
    let text = relay.metrics();
    let line = text.lines().find(|l| l.starts_with("haproxy_process_spliced_bytes_out_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn connect(to: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(to).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut name = [0];
    client.read_exact(&mut name).unwrap();
    client
}

#[test]
fn bulk_is_spliced_and_arrives_whole_both_ways() {
    let relay = start(&tcp(echo("a"), echo("b")));
    let before = spliced(&relay);
    let mut client = connect(address_of(&relay, "t"));
    // Little by little at first, then all at once, then little again: every change between the ways.
    let mut out = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let mut sent = 0;
        for piece in std::iter::repeat_n(100, 50).chain([BYTES]).chain(std::iter::repeat_n(3000, 50)).chain([BYTES / 4]) {
            for chunk in pattern(sent, piece).chunks(1 << 20) {
                out.write_all(chunk).unwrap();
            }
            sent += piece;
        }
        out.shutdown(Shutdown::Write).unwrap();
        sent
    });
    let (mut heard, mut buffer) = (0, vec![0; 1 << 18]);
    loop {
        let count = client.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count] == pattern(heard, count), "after {heard} bytes");
        heard += count;
    }
    assert_eq!(heard, sending.join().unwrap());
    assert!(spliced(&relay) > before + BYTES as u64 / 2, "{}", spliced(&relay));
    let counted = || {
        let servers = ["a", "b"].map(|name| shown(&relay, "p", name).traffic);
        (servers.iter().map(|t| t.bytes_in).sum::<u64>(), servers.iter().map(|t| t.bytes_out).sum::<u64>())
    };
    until("the end", || counted() == (heard as u64, heard as u64 + 1));
}

#[test]
fn a_receiver_that_stops_holds_the_sender_back_and_a_reset_ends_both() {
    let relay = start(&tcp(echo("a"), echo("a")));
    let mut client = connect(address_of(&relay, "t"));
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Nothing of the echo is read: at some point nothing more is taken.
    let piece = pattern(0, 1 << 20);
    let taken = std::iter::from_fn(|| client.write(&piece).ok()).take(4096).sum::<usize>();
    assert!(taken < 4096 << 20, "somebody takes everything into memory");
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    until("the end of the session", || ["a", "b"].iter().all(|name| shown(&relay, "p", name).in_use == 0));
}

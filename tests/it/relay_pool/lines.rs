//! Lines of the access log for sessions of TCP and UDP.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::{address_of, echo, set, shown, start, until};
use lbdeck::agent::relay::running::Relay;
use lbdeck::engine::relay::wire::Admin;

fn config(log: &Path, more: &str) -> String {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!(
        "global: {{threads: 1, access_log: {{to: {}{more}}}}}
listeners:
  - {{name: t, mode: tcp, bind: 127.0.0.1:0, pool: p}}
  - {{name: quiet, mode: tcp, bind: 127.0.0.1:0, pool: p, timeouts: {{tunnel: 100ms}}}}
  - {{name: gone, mode: tcp, bind: 127.0.0.1:0, pool: dead}}
  - {{name: u, mode: udp, bind: 127.0.0.1:0, pool: dns, timeouts: {{client: 200ms}}}}
  - {{name: silent, mode: tcp, bind: 127.0.0.1:0, pool: p, access_log: false}}
pools:
  - {{name: p, mode: tcp, servers: [{{name: a, address: {}}}]}}
  - {{name: dead, mode: tcp, retries: {{connect: 1}}, timeouts: {{connect: 100ms}}, servers: [{{name: d, address: {dead}}}]}}
  - {{name: dns, mode: udp, servers: [{{name: n, address: {}}}]}}
",
        log.display(),
        echo("a"),
        answering(),
    )
}

/// A server of UDP that says `hi` to everything.
fn answering() -> std::net::SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(b"hi", from);
        }
    });
    address
}

/// A session that hears its server's name, says five bytes and hears them again.
fn talk(relay: &Relay, listener: &str) {
    let mut client = TcpStream::connect(address_of(relay, listener)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "ahello");
}

/// Ends when the far side has closed, however it does.
fn wait_for_the_end(mut client: TcpStream) {
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = client.read_to_end(&mut Vec::new());
}

/// All kinds of ends, one after the other; the lines that were written of them.
fn lines(more: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let relay = start(&config(&log, more));
    talk(&relay, "t");
    talk(&relay, "silent");
    wait_for_the_end(TcpStream::connect(address_of(&relay, "quiet")).unwrap());
    wait_for_the_end(TcpStream::connect(address_of(&relay, "gone")).unwrap());
    let mut killed = TcpStream::connect(address_of(&relay, "t")).unwrap();
    killed.read_exact(&mut [0]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(relay.kill_at("p/a".into())), 1);
    wait_for_the_end(killed);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.send_to(b"question", address_of(&relay, "u")).unwrap();
    client.recv(&mut [0; 8]).unwrap();
    until("the end of the session of UDP", || shown(&relay, "dns", "n").in_use == 0);
    set(&relay, "p", "a", Admin::Maint);
    wait_for_the_end(TcpStream::connect(address_of(&relay, "t")).unwrap());
    let bytes = shown(&relay, "p", "a").traffic;
    // Four names, and twice five bytes: those of the session that was killed are not lost.
    assert_eq!((bytes.bytes_in, bytes.bytes_out), (10, 4 + 10));
    until("all lines", || std::fs::read_to_string(&log).unwrap_or_default().lines().count() >= 6);
    drop(relay);
    std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn sessions_have_the_fields_of_tcplog() {
    let lines = lines("");
    let when = r"^127\.0\.0\.1:\d+ \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\]";
    let expected = [
        r" t p/a \d+/\d+/\d+ 6 -- \d+/1/0/0/0 0/0$",
        r" quiet p/a \d+/\d+/\d{3,} 1 cD \d+/1/0/0/0 0/0$",
        r" gone dead/d \d+/-1/\d+ 0 SC \d+/1/0/0/1 0/0$",
        r" t p/a \d+/\d+/\d+ 1 KD \d+/1/0/0/0 0/0$",
        r" u dns/n 0/0/\d{3,} 2 -- \d+/\d+/0/0/0 0/0$",
        r" t p/<NOSRV> \d+/-1/\d+ 0 SC \d+/1/0/0/0 0/0$",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        let pattern = regex::Regex::new(&format!("{when}{expected}")).unwrap();
        assert!(pattern.is_match(line), "{pattern}: {lines:#?}");
    }
}

#[test]
fn sessions_are_objects_too() {
    let lines = lines(", format: json");
    let read = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let all: Vec<serde_json::Value> = lines.iter().map(read).collect();
    let ends: Vec<&str> = all.iter().map(|line| &line["termination"].as_str().unwrap()[..2]).collect();
    assert_eq!(ends, ["--", "cD", "SC", "KD", "--", "SC"]);
    let first = &all[0];
    assert_eq!((&first["pool"], &first["server"], &first["bytes"]), (&"p".into(), &"a".into(), &6.into()));
    assert!(first["request"].is_null() && first["status"].is_null() && first["times_ms"]["connect"].is_number(), "{first}");
    assert_eq!((&all[2]["retries"], all[2]["times_ms"]["connect"].is_null()), (&1.into(), true));
}

#[test]
fn sessions_are_sampled_and_what_failed_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let relay = start(&config(&log, ", sample: {above: 1, keep_one_of: 1000}"));
    (0..40).for_each(|_| talk(&relay, "t"));
    wait_for_the_end(TcpStream::connect(address_of(&relay, "gone")).unwrap());
    until("the failed one", || std::fs::read_to_string(&log).unwrap_or_default().contains(" SC "));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() < 20, "{text}");
    assert!(relay.metrics().contains("lbdeck_access_log_lines_total{result=\"sampled_out\"}"), "{}", relay.metrics());
}

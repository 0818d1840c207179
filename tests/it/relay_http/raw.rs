//! HTTP/1.1 byte by byte: what must be refused, framing, servers that fail, clients that dawdle.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::servers::{Nginx, Scripted, read_head};
use crate::support::relay::{Relay, Setting};
use crate::support::wait;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn connect(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect(relay.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends bytes and reads until the relay closes.
fn talk(relay: &Relay, bytes: &[u8]) -> String {
    let mut stream = connect(relay);
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until so many bytes of a text have come.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(end.as_bytes()) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "ended after {:?}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn what_could_smuggle_a_request_is_refused_and_reaches_no_server() {
    let server = Scripted::answering(OK, false);
    let relay = Setting::to(vec![server.target()]).start();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for (status, head) in [
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\r\n X: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"),
        (400, "GET / HTTP/1.1\nHost: h\n\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (505, "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET /\r\n\r\n"),
        (405, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
        (505, "GET / HTTP/3.0\r\nHost: h\r\n\r\n"),
    ] {
        let answer = talk(&relay, format!("{head}{smuggled}").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer:?}");
        assert!(answer.contains("Connection: close"), "{head:?}: {answer:?}");
    }
    assert_eq!(server.seen(), "");
}

#[test]
fn bad_chunks_end_the_connection_and_never_reach_a_server_as_a_whole_body() {
    let server = Scripted::start(|stream, seen| {
        if read_head(stream, seen) {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            seen.lock().unwrap().extend(rest);
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    for body in
        ["5\nhello\r\n0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "x\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\n"]
    {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
        );
        let answer = talk(&relay, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.matches("HTTP/1.1 ").count() == 1, "{body:?}: {answer:?}");
    }
    let seen = server.seen();
    assert!(!seen.contains("\r\n0\r\n\r\n") && !seen.contains("smuggled"), "{seen:?}");
}

#[test]
fn chunks_are_written_anew_with_trailers_and_without_extensions() {
    let server = Scripted::start(|stream, seen| {
        while read_head(stream, seen) {
            // The chunks with their trailers end with an empty line too.
            assert!(read_head(stream, seen));
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   5;evil=\"x\"\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\n\r\n";
    let answer = talk(&relay, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer:?}");
    let seen = server.seen();
    assert!(seen.ends_with("\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"), "{seen:?}");
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection_to_the_server() {
    let nginx = Nginx::start("", "");
    let relay = Setting::to(vec![nginx.target()]).start();
    let one = |x: &str, more: &str| format!("GET /echo HTTP/1.1\r\nHost: h\r\nX: {x}\r\n{more}\r\n");
    let requests = format!(
        "\r\n{}HEAD /small HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\n\r\n{}",
        one("1", ""),
        one("2", "Connection: close\r\n")
    );
    let answer = talk(&relay, requests.as_bytes());
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|a| &a[..3]).collect();
    assert_eq!(statuses, ["200", "200", "204", "200"], "{answer}");
    assert!(answer.contains("GET:127.0.0.1:1HTTP/1.1 200 OK") && answer.ends_with("GET:127.0.0.1:2"), "{answer}");
    assert!(answer.contains("Content-Length: 1024\r\n"), "HEAD says the length of the body that it does not have: {answer}");
}

#[test]
fn http_1_0_clients_get_what_they_understand() {
    let server = Scripted::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false);
    let relay = Setting::to(vec![server.target()]).start();
    let answer = talk(&relay, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nok") && answer.contains("Connection: close") && !answer.contains("chunked"), "{answer:?}");
    let plain = Scripted::answering(OK, false);
    let relay = Setting::to(vec![plain.target()]).start();
    let two = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    let answer = talk(&relay, two.as_bytes());
    assert!(answer.matches("\r\n\r\nok").count() == 2 && answer.contains("Connection: keep-alive"), "{answer:?}");
}

#[test]
fn fields_of_the_connection_stay_on_it() {
    let server = Scripted::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=1\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\nok",
        false,
    );
    let relay = Setting::to(vec![server.target()]).start();
    let answer = talk(
        &relay,
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nTE: gzip\r\nProxy-Connection: x\r\n\r\n",
    );
    assert!(!answer.contains("X-Hop") && !answer.contains("Keep-Alive"), "{answer:?}");
    let seen = server.seen();
    for name in ["X-Mine", "TE:", "Proxy-Connection", "Connection:"] {
        assert!(!seen.contains(name), "{name}: {seen:?}");
    }
}

#[test]
fn a_100_comes_from_the_server() {
    let server = Scripted::start(|stream, seen| {
        while read_head(stream, seen) {
            assert!(seen.lock().unwrap().windows(12).any(|w| w == b"100-continue"));
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let mut body = [0; 5];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    let mut client = connect(&relay);
    client.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").unwrap();
    assert!(read_until(&mut client, "\r\n\r\nok").starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn an_early_answer_reaches_the_client_and_ends_its_connection() {
    let server = Scripted::start(|stream, seen| {
        if read_head(stream, seen) {
            stream.write_all(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    let mut client = connect(&relay);
    client.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("big") && answer.contains("Connection: close"), "{answer:?}");
}

#[test]
fn a_body_that_the_server_cut_off_never_looks_whole() {
    for head in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let server = Scripted::answering(format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nhello\r\n"), true);
        let relay = Setting::to(vec![server.target()]).start();
        let answer = talk(&relay, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(answer.contains("hello") && !answer.contains("\r\n0\r\n"), "{answer:?}");
    }
    // A client of HTTP/1.0 takes the end of the connection for the end of the body: it must see an error.
    let server = Scripted::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true);
    let relay = Setting::to(vec![server.target()]).start();
    let mut client = connect(&relay);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn only_what_may_be_repeated_is_tried_on_another_server() {
    let dying = || Scripted::start(|stream, seen| _ = read_head(stream, seen));
    let (bad, good) = (dying(), Scripted::answering(OK, false));
    let relay = Setting::to(vec![bad.target(), good.target()]).start();
    assert!(talk(&relay, b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 200"));
    let post = talk(&relay, b"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    assert!(post.starts_with("HTTP/1.1 502"), "{post:?}");
    assert!(bad.seen().contains("/1") && bad.seen().contains("/2") && !good.seen().contains("/2"));
    // Where nobody listens nothing was sent, and anything may be tried elsewhere.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = crate::support::relay::target(lbdeck::agent::relay::http::upstream::ServerAddress::Tcp(nobody));
    let relay = Setting::to(vec![nobody.clone(), good.target()]).start();
    let post = talk(&relay, b"POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    assert!(post.starts_with("HTTP/1.1 200"), "{post:?}");
    let relay = Setting::to(vec![nobody]).start();
    assert!(talk(&relay, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 503"));
}

#[test]
fn nonsense_of_a_server_is_a_502() {
    for answer in [
        "220 smtp ready\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    ] {
        let server = Scripted::answering(answer, true);
        let relay = Setting { retries: 0, ..Setting::to(vec![server.target()]) }.start();
        let got = talk(&relay, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert!(got.starts_with("HTTP/1.1 502 "), "{answer:?}: {got:?}");
    }
}

#[test]
fn who_dawdles_is_cut_off() {
    let short = Duration::from_millis(150);
    let server = Scripted::start(|stream, seen| while read_head(stream, seen) {});
    let mut setting = Setting { server_timeout: short, retries: 0, ..Setting::to(vec![server.target()]) };
    setting.timeouts.request = short;
    setting.timeouts.client = short;
    setting.timeouts.keepalive = short;
    let relay = setting.start();
    let started = Instant::now();
    // A head that drips: the time is for the whole head, not between bytes.
    let mut client = connect(&relay);
    let mut answer = Vec::new();
    client.set_nonblocking(true).unwrap();
    loop {
        let _ = client.write(b"G");
        match client.read_to_end(&mut answer) {
            Ok(_) => break,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => break,
        }
        assert!(started.elapsed() < Duration::from_secs(8), "never cut off");
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    // A body that stops, a server that says nothing, and a connection that is idle.
    let body = talk(&relay, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    assert!(body.starts_with("HTTP/1.1 408 "), "{body:?}");
    let silent = talk(&relay, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(silent.starts_with("HTTP/1.1 504 "), "{silent:?}");
    assert_eq!(talk(&relay, b""), "");
}

#[test]
fn limits_of_heads_and_bodies() {
    let server = Scripted::answering(OK, false);
    let relay = Setting { body_limit: 10, ..Setting::to(vec![server.target()]) }.start();
    let large = talk(&relay, format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(17_000)).as_bytes());
    assert!(large.starts_with("HTTP/1.1 431 "), "{large:?}");
    let many = talk(&relay, format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(101)).as_bytes());
    assert!(many.starts_with("HTTP/1.1 431 "), "{many:?}");
    let body = talk(&relay, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world");
    assert!(body.starts_with("HTTP/1.1 413 "), "{body:?}");
    let chunked = talk(&relay, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n");
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked:?}");
}

#[test]
fn an_upgraded_connection_is_copied_both_ways_until_both_ends_close() {
    let server = Scripted::start(|stream, seen| {
        if read_head(stream, seen) {
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Accept: 1\r\n\r\nhello ",
                )
                .unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    let mut client = connect(&relay);
    client.write_all(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst ").unwrap();
    let head = read_until(&mut client, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: websocket") && head.contains("X-Accept: 1"), "{head:?}");
    assert!(server.seen().contains("Upgrade: websocket"));
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello first last");
}

#[test]
fn a_client_that_has_closed_its_half_still_gets_its_answer() {
    let server = Scripted::answering(OK, false);
    let relay = Setting { abort_on_close: false, ..Setting::to(vec![server.target()]) }.start();
    let mut client = connect(&relay);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer:?}");
}

/// A server that says what it saw when its client went away before the answer, or after its beginning.
fn watching(begin: &'static str) -> (Scripted, mpsc::Receiver<bool>) {
    let (tell, told) = mpsc::channel();
    let server = Scripted::start(move |stream, seen| {
        if read_head(stream, seen) {
            stream.write_all(begin.as_bytes()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut byte = [0];
            // Nothing, or a reset.
            let gone = match stream.read(&mut byte) {
                Ok(n) => n == 0,
                Err(e) => !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
            };
            let _ = tell.send(gone);
        }
    });
    (server, told)
}

#[test]
fn a_client_that_vanishes_ends_its_request_at_the_server() {
    for begin in ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n"] {
        let (server, told) = watching(begin);
        let relay = Setting { server_timeout: Duration::from_secs(60), ..Setting::to(vec![server.target()]) }.start();
        let mut client = connect(&relay);
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        wait::until("the request", Duration::from_secs(20), || server.seen().contains("GET /").then_some(()));
        if !begin.is_empty() {
            read_until(&mut client, ".\r\n");
        }
        drop(client);
        assert!(told.recv_timeout(Duration::from_secs(30)).unwrap(), "the server was left alone after {begin:?}");
    }
}

#[test]
fn what_must_not_be_done_twice_is_not_cut_short_and_what_is_pipelined_is_no_end() {
    let server = Scripted::start(|stream, seen| {
        while read_head(stream, seen) {
            if stream.write_all(OK.as_bytes()).is_err() {
                return;
            }
            seen.lock().unwrap().extend(b"[answered]");
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    let mut client = connect(&relay);
    client.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok"), "{answer:?}");
    let answers = talk(&relay, b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers:?}");
}

#[test]
fn a_thousand_connections_at_once() {
    let nginx = Nginx::start("", "");
    let relay = Setting { threads: 2, ..Setting::to(vec![nginx.target()]) }.start();
    let mut clients: Vec<TcpStream> = (0..1000).map(|_| connect(&relay)).collect();
    for round in 0..2 {
        for (i, client) in clients.iter_mut().enumerate() {
            write!(client, "GET /echo HTTP/1.1\r\nHost: h\r\nX: <{i}.{round}>\r\n\r\n").unwrap();
        }
        for (i, client) in clients.iter_mut().enumerate() {
            let answer = read_until(client, ">");
            assert!(answer.ends_with(&format!(":<{i}.{round}>")), "{answer:?}");
        }
    }
}

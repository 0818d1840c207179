//! The relay as its operators see it: real connections through real listeners to small servers that say who they are.

mod bulk;
mod failing;
mod idle;
mod lines;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lbdeck::agent::relay::config::{self, RelayConfig};
use lbdeck::agent::relay::running::Relay;
use lbdeck::engine::relay::wire::{Admin, Health, Server, ServerChange};
use lbdeck::model::ServerRef;

use crate::support::wait;

/// A server of HTTP/1.1 with kept connections that answers its name.
fn web(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || answer(client, name));
        }
    });
    address
}

fn answer(client: TcpStream, name: &str) {
    let Ok(mut out) = client.try_clone() else { return };
    let mut lines = BufReader::new(client).lines();
    while let Some(Ok(line)) = lines.next() {
        // In one go: a server that is killed leaves a whole response or none.
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        if line.is_empty() && out.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

/// A server of TCP that says its name and then what it hears, until its client has closed.
fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut from = client.try_clone().unwrap();
                let _ends = client.write_all(name.as_bytes()).and_then(|()| std::io::copy(&mut from, &mut client));
            });
        }
    });
    address
}

fn parse(text: &str) -> RelayConfig {
    config::parse(text, Path::new("relay.yaml")).unwrap_or_else(|e| panic!("{e}"))
}

fn start(text: &str) -> Relay {
    Relay::start(parse(text), [], Default::default(), Vec::new(), Arc::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn address_of(relay: &Relay, listener: &str) -> SocketAddr {
    let all = relay.listeners();
    all.iter().find(|l| l.name == listener).unwrap().addresses[0].parse().unwrap()
}

fn shown(relay: &Relay, pool: &str, server: &str) -> Server {
    let pools = relay.roster.picture(Some(pool));
    pools[0].servers.iter().find(|s| s.name == server).unwrap().clone()
}

fn set(relay: &Relay, pool: &str, server: &str, admin: Admin) {
    let change = ServerChange { admin: Some(admin), ..ServerChange::default() };
    relay.roster.change(&ServerRef::new(pool, server), &change).unwrap();
}

fn until(what: &str, condition: impl Fn() -> bool) {
    wait::until(what, Duration::from_secs(20), || condition().then_some(()));
}

/// A client with a kept connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Status and body of one request.
    fn get(&mut self, headers: &str) -> std::io::Result<(u16, String, String)> {
        write!(self.0.get_mut(), "GET /x HTTP/1.1\r\nHost: app\r\n{headers}\r\n")?;
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Ok((status, head, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn two(balance: &str, a: SocketAddr, b: SocketAddr, more: &str) -> String {
    format!(
        "global: {{threads: 2}}
listeners: [{{name: web, bind: 127.0.0.1:0, pool: app}}]
pools:
  - name: app
    balance: {balance}
    servers: [{{name: a, address: {a}}}, {{name: b, address: {b}}}]
    {more}
"
    )
}

#[test]
fn requests_go_round_and_a_drained_server_gets_none() {
    let relay = start(&two("roundrobin", web("a"), web("b"), ""));
    let mut client = Client::new(address_of(&relay, "web"));
    let names: Vec<String> = (0..20).map(|_| client.get("").unwrap().2).collect();
    assert_eq!(names.iter().filter(|n| *n == "a").count(), 10, "{names:?}");
    set(&relay, "app", "a", Admin::Drain);
    assert!((0..20).all(|_| client.get("").unwrap().2 == "b"));
    until("a is empty", || shown(&relay, "app", "a").in_use == 0);
    set(&relay, "app", "b", Admin::Maint);
    assert_eq!(client.get("").unwrap().0, 503);
    set(&relay, "app", "a", Admin::Ready);
    assert_eq!(client.get("").unwrap().2, "a");
}

#[test]
fn a_cookie_brings_the_client_back() {
    let relay = start(&two("roundrobin", web("a"), web("b"), "persistence: {cookie: {name: srv}}"));
    let mut client = Client::new(address_of(&relay, "web"));
    let (_, head, name) = client.get("").unwrap();
    assert!(head.contains(&format!("srv={name}")), "{head}");
    let cookie = format!("Cookie: srv={name}\r\n");
    for _ in 0..10 {
        let (_, head, again) = client.get(&cookie).unwrap();
        assert!(again == name && !head.to_lowercase().contains("set-cookie"), "{head}");
    }
}

#[test]
fn a_dead_server_costs_no_request_and_checks_take_it_out() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = dead.local_addr().unwrap();
    drop(dead);
    let relay = start(&two("roundrobin", web("a"), gone, "check: {inter: 20ms, fall: 1}"));
    let mut client = Client::new(address_of(&relay, "web"));
    assert!((0..10).all(|_| client.get("").unwrap().2 == "a"), "retries are for idempotent requests that were not sent");
    until("b is down", || shown(&relay, "app", "b").health == Health::Down);
    until("a is up", || shown(&relay, "app", "a").health == Health::Up);
}

fn tcp(a: SocketAddr, b: SocketAddr) -> String {
    format!(
        "global: {{threads: 2}}
listeners: [{{name: t, mode: tcp, bind: 127.0.0.1:0, pool: p}}]
pools: [{{name: p, mode: tcp, servers: [{{name: a, address: {a}}}, {{name: b, address: {b}}}]}}]
"
    )
}

#[test]
fn a_drained_server_keeps_its_sessions_until_they_end_or_are_killed() {
    let relay = start(&tcp(echo("a"), echo("b")));
    let to = address_of(&relay, "t");
    let mut clients: Vec<(TcpStream, u8)> = (0..10)
        .map(|_| {
            let mut client = TcpStream::connect(to).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut name = [0];
            client.read_exact(&mut name).unwrap();
            (client, name[0])
        })
        .collect();
    let at = |name: u8| clients.iter().filter(|(_, n)| *n == name).count() as u64;
    let (with_a, with_b) = (at(b'a'), at(b'b'));
    assert_eq!((shown(&relay, "p", "a").in_use, shown(&relay, "p", "b").in_use), (with_a, with_b));
    assert!(with_a > 0 && with_b > 0);
    set(&relay, "p", "a", Admin::Drain);
    // What is established goes on, and half-closing is passed on.
    let (first, _) = clients.iter_mut().find(|(_, n)| *n == b'a').unwrap();
    first.write_all(b"hello").unwrap();
    first.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    first.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello");
    until("one less", || shown(&relay, "p", "a").in_use == with_a - 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sessions = runtime.block_on(relay.sessions(Some("p/a".into()), 100));
    assert_eq!(sessions.len() as u64, with_a - 1);
    assert_eq!(runtime.block_on(relay.kill_at("p/a".into())) as u64, with_a - 1);
    until("all are gone", || shown(&relay, "p", "a").in_use == 0);
    assert_eq!(shown(&relay, "p", "b").in_use, with_b, "the others go on");
    let mut name = [0];
    TcpStream::connect(to).unwrap().read_exact(&mut name).unwrap();
    assert_eq!(&name, b"b");
}

#[test]
fn a_proxy_header_is_told_to_servers_and_believed_of_trusted_peers_only() {
    let relay = start(&format!(
        "listeners: [{{name: t, mode: tcp, bind: 127.0.0.1:0, pool: p, proxy_protocol_from: [127.0.0.0/8]}}]
pools: [{{name: p, mode: tcp, proxy_protocol: v1, servers: [{{name: a, address: {}}}]}}]
",
        echo("")
    ));
    let mut client = TcpStream::connect(address_of(&relay, "t")).unwrap();
    client.write_all(b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 443\r\nbody").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "PROXY TCP4 192.0.2.9 198.51.100.1 4711 443\r\nbody");
    let mut liar = TcpStream::connect(address_of(&relay, "t")).unwrap();
    liar.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let ended = liar.read_to_end(&mut heard);
    assert!(heard.is_empty(), "{ended:?}");
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let relay = start(&two("roundrobin", web("a"), web("b"), ""));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let text = two("leastconn", web("c"), web("d"), "")
        .replace("pool: app}]", &format!("pool: app}}, {{name: x, bind: {port}, pool: app}}]"));
    let error = relay.apply(parse(&text)).unwrap_err().to_string();
    assert!(error.contains("listener x") && error.contains("another process listens there"), "{error}");
    let mut client = Client::new(address_of(&relay, "web"));
    assert_eq!(client.get("").unwrap().0, 200);
    assert_eq!((relay.listeners().len(), relay.roster.picture(None)[0].algorithm.as_str()), (1, "roundrobin"));
}

/// Hundreds of configurations, drains and weights under load: not one request fails.
#[test]
fn configurations_change_under_load_without_a_failed_request() {
    let (a, b, c) = (web("a"), web("b"), web("c"));
    let relay = Arc::new(start(&two("roundrobin", a, b, "")));
    let to = address_of(&relay, "web");
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served) = (stop.clone(), served.clone());
            std::thread::spawn(move || {
                let mut client = Client::new(to);
                while !stop.load(Ordering::Relaxed) {
                    let (status, _, name) = client.get("").unwrap_or_else(|e| panic!("a request failed: {e}"));
                    assert!(status == 200 && ["a", "b", "c"].contains(&name.as_str()), "{status} {name}");
                    if served.fetch_add(1, Ordering::Relaxed) % 50 == 49 {
                        client = Client::new(to);
                    }
                }
            })
        })
        .collect();
    for round in 0..200u64 {
        let (first, second) = if round % 2 == 0 { (a, b) } else { (b, c) };
        let balance = ["roundrobin", "leastconn", "power_of_two", "source"][round as usize % 4];
        relay.apply(parse(&two(balance, first, second, &format!("slowstart: {}s", round + 1)))).unwrap();
        set(&relay, "app", "a", if round % 3 == 0 { Admin::Drain } else { Admin::Ready });
        let before = served.load(Ordering::Relaxed);
        until("requests go on", || served.load(Ordering::Relaxed) > before + 3);
    }
    stop.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|t| t.join().unwrap());
    until("nothing is in use", || relay.roster.picture(None)[0].traffic.sessions == 0);
}

#[test]
fn datagrams_of_a_client_are_one_session_until_it_is_silent() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let relay = start(&format!(
        "global: {{threads: 2}}
listeners: [{{name: u, mode: udp, bind: 127.0.0.1:0, pool: p, maxconn: 2, timeouts: {{client: 300ms}}}}]
pools: [{{name: p, mode: udp, servers: [{{name: a, address: {}}}]}}]
",
        server.local_addr().unwrap()
    ));
    let to = address_of(&relay, "u");
    let client = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    };
    let mut buffer = [0; 64];
    let clients = [client(), client()];
    let mut froms = Vec::new();
    for (i, client) in clients.iter().enumerate() {
        for round in 0..3u8 {
            client.send(&[i as u8, round]).unwrap();
            let (n, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], [i as u8, round]);
            froms.push(from);
            server.send_to(b"answer", from).unwrap();
            assert_eq!(client.recv(&mut buffer).unwrap(), 6);
        }
    }
    froms.dedup();
    assert_eq!(froms.len(), 2, "one address of the relay for each client");
    assert_eq!(shown(&relay, "p", "a").in_use, 2);
    // There is room for two: a third client is not heard, and nobody else is disturbed.
    client().send(b"third").unwrap();
    clients[0].send(b"again").unwrap();
    let (n, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..n], from), (&b"again"[..], froms[0]));
    until("both are silent", || shown(&relay, "p", "a").in_use == 0);
}

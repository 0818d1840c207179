//! Servers that die, refuse and come back.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Client, address_of, answer, shown, start, two, until, web};

/// A server that can be killed in the middle of everything: nobody listens any more, and what was connected is cut.
struct Mortal {
    listener: TcpListener,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

impl Mortal {
    fn start(name: &'static str) -> Mortal {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let clients = Arc::<Mutex<Vec<TcpStream>>>::default();
        let (accepting, known) = (listener.try_clone().unwrap(), clients.clone());
        std::thread::spawn(move || {
            while let Ok((client, _)) = accepting.accept() {
                known.lock().unwrap().push(client.try_clone().unwrap());
                std::thread::spawn(move || answer(client, name));
            }
        });
        Mortal { listener, clients }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn kill(&self) {
        nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
        for client in self.clients.lock().unwrap().drain(..) {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// One request with a body on a connection of its own; the first line of the answer.
fn post(to: SocketAddr) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_server_that_dies_under_load_costs_no_request_by_the_defaults() {
    for balance in ["leastconn", "roundrobin", "power_of_two"] {
        let dying = Mortal::start("a");
        let relay = start(&two(balance, dying.address(), web("b"), "check: {type: tcp}"));
        let to = address_of(&relay, "web");
        let (stop, good) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (stop, good) = (stop.clone(), good.clone());
                std::thread::spawn(move || -> Vec<String> {
                    let (mut client, mut bad) = (Client::new(to), Vec::new());
                    while !stop.load(Ordering::SeqCst) {
                        match client.get("") {
                            Ok((200, ..)) => _ = good.fetch_add(1, Ordering::SeqCst),
                            Ok((status, ..)) => bad.push(format!("status {status}")),
                            Err(e) => {
                                bad.push(e.to_string());
                                client = Client::new(to);
                            }
                        }
                    }
                    bad
                })
            })
            .collect();
        until("both to serve", || shown(&relay, "app", "a").traffic.sessions_total > 100 && good.load(Ordering::SeqCst) > 500);
        dying.kill();
        let before = good.load(Ordering::SeqCst);
        until("thousands of requests without it", || good.load(Ordering::SeqCst) > before + 3000);
        stop.store(true, Ordering::SeqCst);
        let bad: Vec<String> = clients.into_iter().flat_map(|c| c.join().unwrap()).collect();
        let dead = shown(&relay, "app", "a");
        assert!(bad.is_empty(), "{balance}: {bad:?} of {}", good.load(Ordering::SeqCst));
        assert!(dead.traffic.connect_errors > 0, "{balance}: {dead:?}");
        assert!(dead.traffic.connect_errors < 200, "{balance}: it is looked at by traffic, at once: {dead:?}");
    }
}

#[test]
fn nothing_was_sent_so_any_method_goes_elsewhere_whatever_the_budget_says() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = start(&two("leastconn", dead, web("b"), "retries: {attempts: 0, budget: 0%, floor: 0}"));
    let to = address_of(&relay, "web");
    for _ in 0..20 {
        assert!(post(to).starts_with("HTTP/1.1 200"));
    }
    let refused = start(&two("roundrobin", dead, dead, "retries: {connect: 0}"));
    assert!(post(address_of(&refused, "web")).starts_with("HTTP/1.1 503"));
}

#[test]
fn a_server_that_is_just_starting_again_is_waited_for() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = start(&format!(
        "listeners: [{{name: web, bind: 127.0.0.1:0, pool: app}}]\npools: [{{name: app, servers: [{{name: a, address: {dead}}}]}}]\n"
    ));
    let to = address_of(&relay, "web");
    let asking = std::thread::spawn(move || post(to));
    until("the refused connection", || shown(&relay, "app", "a").traffic.connect_errors > 0);
    let listener = TcpListener::bind(dead).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            answer(client, "a");
        }
    });
    assert!(asking.join().unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(shown(&relay, "app", "a").traffic.retries, 1);
}

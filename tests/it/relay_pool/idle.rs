//! Connections to servers that wait for another request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Barrier};

use super::{Client, address_of, shown, start, until};

/// Answers only when so many requests are there at once, so that so many connections are made.
fn together(count: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let barrier = Arc::new(Barrier::new(count));
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let barrier = barrier.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while matches!(client.read(&mut bytes), Ok(n) if n > 0) {
                    barrier.wait();
                    if client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// So many requests at once, each answered.
fn at_once(to: SocketAddr, count: usize) {
    let clients: Vec<_> = (0..count).map(|_| std::thread::spawn(move || Client::new(to).get("").unwrap().0)).collect();
    assert!(clients.into_iter().all(|c| c.join().unwrap() == 200));
}

fn config(server: SocketAddr, more: &str) -> String {
    format!(
        "global: {{threads: 2}}
listeners: [{{name: web, bind: 127.0.0.1:0, pool: app}}]
pools: [{{name: app, servers: [{{name: a, address: {server}}}], {more}}}]
"
    )
}

#[test]
fn no_more_than_the_limit_are_kept_over_all_threads() {
    for (limit, kept) in [("max: 3", 3), ("max: 0", 0), ("purge_delay: 1m", 8)] {
        let relay = start(&config(together(8), &format!("idle_connections: {{{limit}}}")));
        at_once(address_of(&relay, "web"), 8);
        until(limit, || shown(&relay, "app", "a").in_use == 0 && shown(&relay, "app", "a").idle == kept);
    }
}

#[test]
fn what_nobody_needs_is_closed_little_by_little() {
    let relay = start(&config(together(8), "idle_connections: {purge_delay: 1s}, timeouts: {idle: 1h}"));
    at_once(address_of(&relay, "web"), 8);
    // One a thread stays.
    until("the purge", || shown(&relay, "app", "a").idle <= 2);
    assert!(shown(&relay, "app", "a").idle >= 1);
}

//! Checks against small servers, and the arithmetic of rise and fall.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::*;
use crate::agent::relay::config::check::{CheckConfig, CheckKind, HttpCheck};
use crate::agent::relay::config::listener::Mode;
use crate::agent::relay::config::pool::{PoolConfig, ServerConfig};
use crate::agent::relay::pool::{ServerSet, Slot};

fn config(kind: CheckKind) -> CheckConfig {
    let ms = Duration::from_millis;
    CheckConfig {
        kind,
        tls: false,
        sni: None,
        inter: ms(30),
        fastinter: Some(ms(10)),
        downinter: None,
        rise: 2,
        fall: 3,
        timeout: ms(500),
    }
}

fn http(body: Option<&str>) -> CheckKind {
    let body = body.map(Into::into);
    CheckKind::Http(HttpCheck {
        method: "GET".into(),
        path: "/health".into(),
        host: Some("app".into()),
        status: vec![(200, 299)],
        body,
    })
}

#[test]
fn rise_and_fall() {
    let mut s = Standing::default();
    let see = |s: &mut Standing, results: &[bool]| results.iter().map(|ok| s.observe(*ok, 2, 3)).collect::<Vec<_>>();
    assert_eq!(see(&mut s, &[true, false, false]), [false, false, false]);
    assert_eq!((s.up, s.progress(2, 3)), (true, Some((2, 3))));
    assert_eq!(see(&mut s, &[true, false, false, false]), [false, false, false, true], "a good one in between begins anew");
    assert_eq!((s.up, s.progress(2, 3)), (false, None));
    assert_eq!(see(&mut s, &[true, false, true, true]), [false, false, false, true]);
    let mut fresh = Standing::default();
    assert!(fresh.observe(false, 2, 3) && !fresh.up, "the first check alone takes a new server down");
}

#[test]
fn intervals() {
    let config = CheckConfig { downinter: Some(Duration::from_secs(5)), ..config(CheckKind::Tcp) };
    let mut s = Standing::default();
    s.observe(true, 2, 3);
    assert_eq!(s.interval(&config), config.inter);
    s.observe(false, 2, 3);
    assert_eq!(Some(s.interval(&config)), config.fastinter);
    s.observe(false, 2, 3);
    s.observe(false, 2, 3);
    assert_eq!(Some(s.interval(&config)), config.downinter);
}

fn pool(address: SocketAddr, check: CheckConfig) -> Arc<Pool> {
    let mut config = PoolConfig::new("app", Mode::Http);
    config.check = Some(check);
    config.servers.push(ServerConfig::new("a", address));
    let config = Arc::new(config);
    let pool = Pool::new(config.clone(), 0);
    let server = config.servers[0].clone();
    let slot =
        Slot { server: pool.new_server(&server.name, Admin::Ready, 0, 1), address, weight: 1, added: false, config: server };
    pool.replace(ServerSet::new(config, vec![slot]));
    pool
}

/// Checks until the server has that health; what the last check said.
fn until(pool: &Arc<Pool>, health: Health) -> crate::engine::relay::wire::Check {
    let _thread = HealthThread::start(Arc::new(Pools::from_pointee(vec![pool.clone()])), Arc::default()).unwrap();
    wait_for(pool, health)
}

fn wait_for(pool: &Pool, health: Health) -> crate::engine::relay::wire::Check {
    let server = pool.set().slots[0].server.clone();
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.health() != health {
        assert!(Instant::now() < deadline, "still {:?}: {:?}", server.health(), server.check_state());
        std::thread::yield_now();
    }
    server.check_state().last.unwrap()
}

/// A server that gives every connection this answer, until the test ends.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let n = client.read(&mut request).unwrap_or(0);
            let good = request[..n].starts_with(b"GET /health HTTP/1.0\r\nHost: app\r\n");
            let _hung_up = client.write_all(if good { answer.as_bytes() } else { b"HTTP/1.0 400 Bad\r\n\r\n" });
        }
    });
    address
}

#[test]
fn a_connection_is_all_that_tcp_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(until(&pool(address, config(CheckKind::Tcp)), Health::Up).status, "L4OK");
    drop(listener);
    let check = until(&pool(address, config(CheckKind::Tcp)), Health::Down);
    assert!(check.status == "L4CON" && check.text.contains("refused"), "{check:?}");
}

#[test]
fn status_and_body_of_http() {
    let ok = answering("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall fine");
    let check = until(&pool(ok, config(http(None))), Health::Up);
    assert_eq!((check.status.as_str(), check.code), ("L7OK", Some(200)));
    assert_eq!(until(&pool(ok, config(http(Some("fine")))), Health::Up).status, "L7OK");
    assert_eq!(until(&pool(ok, config(http(Some("better")))), Health::Down).status, "L7RSP");
    let check = until(&pool(answering("HTTP/1.1 503 No\r\n\r\n"), config(http(None))), Health::Down);
    assert_eq!((check.status.as_str(), check.code), ("L7STS", Some(503)));
    assert_eq!(until(&pool(answering("SSH-2.0-x\r\n\r\n"), config(http(None))), Health::Down).status, "L7RSP");
}

#[test]
fn a_server_that_says_nothing_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let check = CheckConfig { timeout: Duration::from_millis(20), ..config(http(None)) };
    assert_eq!(until(&pool(listener.local_addr().unwrap(), check), Health::Down).status, "L7TOUT");
}

#[test]
fn checks_are_switched_off_and_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = pool(listener.local_addr().unwrap(), config(CheckKind::Tcp));
    let _thread = HealthThread::start(Arc::new(Pools::from_pointee(vec![pool.clone()])), Arc::default()).unwrap();
    wait_for(&pool, Health::Up);
    let server = pool.set().slots[0].server.clone();
    pool.set_checks_on(&server, false);
    wait_for(&pool, Health::Unchecked);
    drop(listener);
    pool.set_checks_on(&server, true);
    wait_for(&pool, Health::Down);
}

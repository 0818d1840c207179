//! What is right and wrong in the relay's file.

use std::path::Path;
use std::time::Duration;

use super::pool::{Balance, PersistBy};
use super::*;

fn parse(text: &str) -> Result<RelayConfig, String> {
    super::parse(text, Path::new("relay.yaml")).map_err(|e| e.to_string())
}

fn error(text: &str) -> String {
    parse(text).expect_err("a wrong configuration")
}

const WHOLE: &str = "
version: 1
global: {threads: 2}
listeners:
  - name: web
    bind: [127.0.0.1:8080, \"[::1]:8080\", unix:/run/web.sock]
    pool: app
    proxy_protocol_from: [10.0.0.0/8, 2001:db8::1]
    timeouts: {client: 5s, tunnel: 2h}
  - {name: dns, mode: udp, bind: 127.0.0.1:8080, pool: dns}
pools:
  - name: app
    balance: leastconn
    slowstart: 30s
    check: {path: /health, host: app.example, inter: 1s, fall: 2, status: [200-299, 404], body: ok}
    outliers: {consecutive: 3, max_ejected: 30%}
    persistence: {cookie: {name: srv, secure: true}, drain: move}
    queue: {timeout: 500ms, length: 10}
    retries: {attempts: 1, budget: 10%}
    proxy_protocol: v2
    servers:
      - {name: a1, address: 10.0.0.1:80, weight: 3, maxconn: 100, cookie: x}
      - {name: a2, address: \"[2001:db8::2]:80\", backup: true, check: false}
  - {name: dns, mode: udp, balance: source, servers: [{name: d1, address: 10.0.0.3:53}]}
";

#[test]
fn a_whole_file() {
    let config = parse(WHOLE).unwrap_or_else(|e| panic!("{e}"));
    let app = config.pool("app").unwrap();
    assert_eq!((app.balance, app.servers.len(), app.slowstart), (Balance::LeastConn, 2, Some(Duration::from_secs(30))));
    assert_eq!((app.servers[0].weight, app.servers[0].maxconn, &*app.servers[0].cookie), (3, Some(100), "x"));
    assert!(app.servers[1].backup && !app.servers[1].check && &*app.servers[1].cookie == "a2");
    assert_eq!(app.queue.length, 10);
    assert!(matches!(&app.persistence.as_ref().unwrap().by, PersistBy::Cookie { name, .. } if &**name == "srv"));
    let check = app.check.as_ref().unwrap();
    assert_eq!((check.inter, check.timeout, check.rise, check.fall), (Duration::from_secs(1), Duration::from_secs(1), 2, 2));
    let web = config.listener("web").unwrap();
    assert_eq!((web.bind.len(), web.timeouts.client, web.timeouts.request), (3, Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!(config.listener("dns").unwrap().maxconn, Some(10_000));
    assert_eq!(parse("").unwrap(), RelayConfig::default());
}

#[test]
fn errors_say_where_what_and_how_to_mend_it() {
    insta::assert_snapshot!(error("listeners:\n  - name: web\n    bind: 0.0.0.0:80\n    pool: ap\npools:\n  - {name: app, servers: [{name: a, address: 10.0.0.1:80}]}\n"), @"
    relay.yaml:4:11: 'pool': there is no pool 'ap'
      |
    4 |     pool: ap
      |           ^^
      = hint: did you mean 'app'?
    ");
}

/// Each wrong file with a part of its error, which also names line and column.
#[test]
fn what_is_wrong() {
    let server = "servers: [{name: a, address: 10.0.0.1:80}]";
    let pool = |extra: &str| format!("pools:\n  - name: app\n    {server}\n    {extra}\n");
    let one = |server: &str| format!("pools:\n  - name: app\n    servers:\n      - {server}\n");
    let listeners = |text: &str| format!("listeners:\n{text}\npools:\n  - {{name: app, {server}}}\n");
    let cases: &[(String, &str)] = &[
        ("lisenters: []".into(), "1:1: unknown key 'lisenters' in the relay's configuration"),
        ("version: 2".into(), "1:10: this relay reads version 1"),
        ("pools:\n  - {name: app, servers: []}".into(), "2:26: pool 'app' has no servers"),
        ("pools:\n  - name: app".into(), "2:5: pool 'app' has no servers"),
        (one("{name: a, address: 10.0.0.1:80, weight: 257}"), "4:49: 'weight' is a whole number from 0 to 256, not '257'"),
        (one("{name: a, address: 10.0.0.1:80, wieght: 2}"), "did you mean 'weight'?"),
        (one("{name: a, address: app.example:80}"), "names are not resolved"),
        (one("{name: a, address: 10.0.0.1:80, check: true}"), "'check': the pool has no checks"),
        (one("{name: a, address: 10.0.0.1:0}"), "port 0"),
        (one("{name: a, address: 10.0.0.1:80, cookie: 'a;b'}"), "what a cookie's value cannot"),
        (
            one("{name: a, address: 10.0.0.1:80}\n      - {name: a, address: 10.0.0.2:80}"),
            "stands in this pool twice, first in line 4",
        ),
        (pool("balance: lestconn"), "did you mean 'leastconn'?"),
        (pool("mode: tcp\n    balance: uri"), "uri needs mode: http"),
        (pool("slowstart: 30"), "'30' has no unit"),
        (pool("check: {inter: 1s, timeout: 2s}"), "'timeout' is longer than 'inter'"),
        (pool("check: {type: tcp, path: /x}"), "'path' needs type: http"),
        (pool("check: {status: 99}"), "'99' is no status code"),
        (pool("check: {path: 'x y'}"), "cannot stand in a request"),
        (pool("check: {method: HEAD, body: ok}"), "an answer to HEAD has none"),
        (pool("persistence: {cookie: {name: s}, source: {expire: 1m}}"), "not both"),
        (pool("mode: tcp\n    persistence: {cookie: {name: s}}"), "needs mode: http"),
        (pool("retries: {budget: 120%}"), "from 0% to 100%"),
        (pool("mode: udp\n    proxy_protocol: v1"), "'proxy_protocol' has no meaning for mode: udp"),
        (listeners("  - {name: w, bind: 0.0.0.0:80}"), "listener 'w' has no pool"),
        (listeners("  - {name: w, pool: app}"), "needs 'bind'"),
        (listeners("  - {name: w, mode: tcp, bind: 0.0.0.0:80, pool: app}"), "pool 'app' is for mode http, not tcp"),
        (
            listeners("  - {name: w, bind: 0.0.0.0:80, pool: app}\n  - {name: v, bind: 127.0.0.1:80, pool: app}"),
            "taken already, by listener 'w' in line 2",
        ),
        (listeners("  - {name: w, bind: [unix:/a, unix:/a], pool: app}"), "taken already"),
        (listeners("  - {name: w, bind: '*:80', pool: app}"), "write 0.0.0.0:80 instead"),
        (listeners("  - {name: w, bind: 0.0.0.0:80, pool: app, proxy_protocol_from: [10/8]}"), "'10/8' is no network"),
        (
            listeners("  - {name: w, bind: 0.0.0.0:80, pool: app}\n  - {name: w, bind: 0.0.0.0:81, pool: app}"),
            "stands here twice",
        ),
    ];
    for (text, part) in cases {
        let said = error(text);
        assert!(said.contains(part), "{text}\n-- wanted: {part}\n-- said: {said}");
    }
}

#[test]
fn a_port_may_be_used_by_tcp_and_udp_and_by_different_addresses() {
    let text = "listeners:
  - {name: a, mode: tcp, bind: 10.0.0.1:53, pool: t}
  - {name: b, mode: udp, bind: 10.0.0.1:53, pool: u}
  - {name: c, mode: tcp, bind: [10.0.0.2:53, '[::]:53'], pool: t}
pools:
  - {name: t, mode: tcp, servers: [{name: a, address: 10.0.0.1:80}]}
  - {name: u, mode: udp, servers: [{name: a, address: 10.0.0.1:80}]}
";
    parse(text).unwrap_or_else(|e| panic!("{e}"));
}

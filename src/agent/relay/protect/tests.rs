//! What is let through and what is not.

use super::*;
use crate::agent::relay::http::head::RequestHead;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn protection(config: ProtectConfig, now: Instant) -> Protection {
    Protection::new(config, None, now)
}

fn ask(p: &Protection, client: &str, target: &str, now: Instant) -> Result<Guard, Denied> {
    let head = RequestHead { target: target.into(), ..RequestHead::default() };
    p.request(&Asked::new(&head, ip(client), false), now)
}

fn reason(result: Result<Guard, Denied>) -> Option<Reason> {
    result.err().map(|d| d.reason)
}

fn limit(by: LimitBy, rate: Option<(u32, u32)>, concurrency: Option<u32>) -> ProtectConfig {
    let rate = rate.map(|(count, burst)| Rate { count, per: Duration::from_secs(1), burst });
    ProtectConfig { limits: vec![LimitConfig { by, rate, concurrency }], ..ProtectConfig::default() }
}

#[test]
fn networks_are_checked_on_connect_and_behind_proxies() {
    let nets = |n: &[&str]| Networks::new(n.iter().map(|n| n.parse().unwrap()).collect());
    let now = Instant::now();
    let p =
        protection(ProtectConfig { allow: nets(&["10.0.0.0/8"]), deny: nets(&["10.6.6.0/24"]), ..ProtectConfig::default() }, now);
    assert!(p.connect(ip("10.1.1.1")).is_ok() && p.connect(ip("::ffff:10.1.1.1")).is_ok());
    assert_eq!(reason(p.connect(ip("192.0.2.1"))), Some(Reason::Network));
    assert_eq!(reason(p.connect(ip("10.6.6.6"))), Some(Reason::Network));
    assert_eq!(reason(ask(&p, "10.6.6.6", "/", now)), Some(Reason::Network));
    assert!(p.denied().any(|d| d == (Reason::Network, 3)));
}

#[test]
fn methods_paths_and_agents() {
    let now = Instant::now();
    let config = ProtectConfig {
        deny_methods: vec![Method::TRACE],
        deny_paths: vec![Pattern::new("^/admin(/|$)").unwrap()],
        deny_user_agents: vec![Pattern::new("(?i)badbot").unwrap(), Pattern::new("^$").unwrap()],
        ..ProtectConfig::default()
    };
    let p = protection(config, now);
    let mut head = RequestHead { target: "/ok".into(), ..RequestHead::default() };
    let check =
        |head: &RequestHead| p.request(&Asked::new(head, ip("::1"), false), now).err().map(|d| (d.reason, d.reason.status()));
    assert_eq!(check(&head), Some((Reason::UserAgent, 403)), "no user agent at all");
    head.headers.add("User-Agent", "curl/8");
    assert_eq!(check(&head), None);
    for hidden in ["/admin", "//admin/x", "/%61dmin", "/x/..%2fadmin", "/./admin?x"] {
        head.target = hidden.into();
        assert_eq!(check(&head), Some((Reason::Path, 403)), "{hidden}");
    }
    head.target = "/administrator".into();
    assert_eq!(check(&head), None);
    head.headers.set("user-agent", "Mozilla BadBot/1");
    assert_eq!(check(&head), Some((Reason::UserAgent, 403)));
    head.method = Method::TRACE;
    assert_eq!(check(&head), Some((Reason::Method, 405)));
}

#[test]
fn rates_are_per_client_and_say_when_to_come_back() {
    let now = Instant::now();
    let p = protection(limit(LimitBy::Client, Some((2, 2)), None), now);
    assert!(ask(&p, "192.0.2.1", "/a", now).is_ok() && ask(&p, "192.0.2.1", "/b", now).is_ok());
    let denied = ask(&p, "192.0.2.1", "/", now).unwrap_err();
    assert_eq!((denied.reason, denied.retry_after(), denied.wait), (Reason::Rate, Some(1), Some(Duration::from_millis(500))));
    assert!(ask(&p, "192.0.2.2", "/", now).is_ok());
    assert!(ask(&p, "192.0.2.1", "/", now + Duration::from_millis(500)).is_ok());
    let slow = ProtectConfig {
        limits: vec![LimitConfig {
            by: LimitBy::Client,
            rate: Some(Rate { count: 1, per: Duration::from_secs(90), burst: 1 }),
            concurrency: None,
        }],
        ..ProtectConfig::default()
    };
    let p = protection(slow, now);
    assert!(ask(&p, "::1", "/", now).is_ok());
    assert_eq!(ask(&p, "::1", "/", now + Duration::from_millis(500)).unwrap_err().retry_after(), Some(90));
}

#[test]
fn a_prefix_of_ipv6_is_one_client() {
    let now = Instant::now();
    let p = protection(limit(LimitBy::Client, Some((1, 1)), None), now);
    assert!(ask(&p, "2001:db8:0:1::1", "/", now).is_ok());
    assert_eq!(reason(ask(&p, "2001:db8:0:1:ffff::2", "/", now)), Some(Reason::Rate));
    assert!(ask(&p, "2001:db8:0:2::1", "/", now).is_ok());
}

#[test]
fn uris_are_counted_in_their_normal_form_without_the_query() {
    let now = Instant::now();
    for (by, other_client) in [(LimitBy::Uri, Some(Reason::Rate)), (LimitBy::ClientAndUri, None)] {
        let p = protection(limit(by, Some((1, 1)), None), now);
        assert!(ask(&p, "192.0.2.1", "/login?a", now).is_ok());
        assert_eq!(reason(ask(&p, "192.0.2.1", "/%6Cogin?b", now)), Some(Reason::Rate));
        assert_eq!(reason(ask(&p, "192.0.2.2", "/login", now)), other_client);
        assert!(ask(&p, "192.0.2.1", "/other", now).is_ok());
    }
    let p = protection(limit(LimitBy::All, Some((1, 1)), None), now);
    assert!(ask(&p, "192.0.2.1", "/a", now).is_ok());
    assert_eq!(reason(ask(&p, "192.0.2.2", "/b", now)), Some(Reason::Rate));
}

#[test]
fn concurrency_comes_back_with_the_guard() {
    let now = Instant::now();
    let p = protection(limit(LimitBy::Client, None, Some(2)), now);
    let (a, b) = (ask(&p, "192.0.2.1", "/", now).unwrap(), ask(&p, "192.0.2.1", "/", now).unwrap());
    let denied = ask(&p, "192.0.2.1", "/", now).unwrap_err();
    assert_eq!((denied.reason, denied.retry_after()), (Reason::Concurrency, Some(1)));
    drop(a);
    let c = ask(&p, "192.0.2.1", "/", now).unwrap();
    assert!(ask(&p, "192.0.2.1", "/", now).is_err());
    drop((b, c));
    assert!(ask(&p, "192.0.2.1", "/", now).is_ok());
}

#[test]
fn a_request_denied_by_a_later_limit_holds_nothing() {
    let now = Instant::now();
    let mut config = limit(LimitBy::Client, None, Some(1));
    config.limits.push(LimitConfig {
        by: LimitBy::All,
        rate: Some(Rate { count: 1, per: Duration::from_secs(1), burst: 1 }),
        concurrency: None,
    });
    let p = protection(config, now);
    drop(ask(&p, "192.0.2.1", "/", now).unwrap());
    assert_eq!(reason(ask(&p, "192.0.2.1", "/", now)), Some(Reason::Rate));
    assert_eq!(reason(ask(&p, "192.0.2.1", "/", now)), Some(Reason::Rate), "not concurrency");
}

#[test]
fn connections_are_counted_over_configurations() {
    let now = Instant::now();
    let config = ProtectConfig { connections: Some(1), ..ProtectConfig::default() };
    let p = protection(config.clone(), now);
    let held = p.connect(ip("192.0.2.1")).unwrap();
    assert_eq!(reason(p.connect(ip("192.0.2.1"))), Some(Reason::Connections));
    let next = Protection::new(config, Some(&p), now);
    assert_eq!(reason(next.connect(ip("192.0.2.1"))), Some(Reason::Connections));
    drop(held);
    assert!(next.connect(ip("192.0.2.1")).is_ok());
    assert!(next.denied().any(|d| d == (Reason::Connections, 2)));
}

#[test]
fn limits_keep_their_clients_while_they_are_unchanged() {
    let now = Instant::now();
    let config = limit(LimitBy::Client, Some((1, 1)), None);
    let p = protection(config.clone(), now);
    assert!(ask(&p, "192.0.2.1", "/", now).is_ok());
    assert!(ask(&Protection::new(config, Some(&p), now), "192.0.2.1", "/", now).is_err());
    let changed = limit(LimitBy::Client, Some((2, 2)), None);
    assert!(ask(&Protection::new(changed, Some(&p), now), "192.0.2.1", "/", now).is_ok());
}

//! What is right and wrong in the rules of a listener: routes, protection, content, log.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::agent::relay::log::sink::Target;
use crate::agent::relay::route::Action;
use crate::agent::relay::route::forwarded::Style;

fn parse(text: &str) -> Result<RelayConfig, String> {
    super::parse(text, Path::new("relay.yaml")).map_err(|e| e.to_string())
}

const POOLS: &str = "
pools:
  - {name: app, servers: [{name: a, address: 10.0.0.1:80}]}
  - {name: green, servers: [{name: a, address: 10.0.0.2:80}]}
";

fn rules(lines: &str) -> Result<RelayConfig, String> {
    let indented: String = lines.lines().map(|l| format!("    {l}\n")).collect();
    parse(&format!("listeners:\n  - name: web\n    bind: 127.0.0.1:80\n    pool: app\n{indented}{POOLS}"))
}

const WHOLE: &str = "
trusted_proxies: [10.0.0.0/8, \"::1\"]
forwarded: both
request_id: true
access_log: false
compression: {encodings: [br, gzip], types: [text/*], min_size: 2KiB}
protect:
  deny: 192.0.2.0/24
  deny_methods: [TRACE]
  deny_paths: ['^/\\.git']
  connections_per_client: 50
  ipv6_prefix: 56
  limits:
    - {by: client, rate: 100/s, burst: 20}
    - {by: client+uri, rate: 30/1m, concurrency: 2}
routes:
  - name: https
    match: {tls: false, host: [example.org, '*.example.org']}
    redirect: {scheme: https, status: 301}
  - name: health
    match: {path: /health, method: GET}
    respond: {status: 200, body: \"ok {request_id}\\n\"}
  - name: api
    match: {path_prefix: /api//v1, headers: {X-Key: {present: true}, X-V: {regex: '^2'}}, query: {debug: '1'}, clients: 10.0.0.0/8}
    split: {pools: {app: 90, green: 10}, sticky: {cookie: canary}}
    rewrite: {prefix: /api, to: /}
    request_headers: {remove: [X-Debug], set: {X-Route: '{route}'}, add: {Via: '1.1 {host}'}}
    mirror: {pool: green, share: 2.5%}
    protect: {limits: [{rate: 5/s}]}
    compression: false
    cache: {max_size: 16MiB, stale_if_error: 1h}
";

#[test]
fn a_whole_set_of_rules() {
    let config = rules(WHOLE).unwrap_or_else(|e| panic!("{e}"));
    let web = config.listener("web").unwrap();
    assert_eq!((web.routes.forwarding.style, web.routes.routes.len(), web.log.enabled), (Style::Both, 3, false));
    assert_eq!(web.log.request_id.as_deref(), Some("X-Request-Id"));
    let protect = web.protect.0.as_ref().unwrap();
    assert_eq!((protect.connections, protect.v6_prefix, protect.limits.len()), (Some(50), 56, 2));
    let rate = protect.limits[1].rate.unwrap();
    assert_eq!((rate.count, rate.per, rate.burst), (30, Duration::from_secs(60), 30));
    let router =
        web.routes.router(web.pool.as_deref(), &web.content, |name| config.pools.iter().position(|p| &*p.name == name)).unwrap();
    let [https, health, api, rest] = router.routes() else { panic!("{:?}", router.routes()) };
    assert!(matches!(&https.action, Action::Redirect(r) if r.status == 301) && matches!(&health.action, Action::Respond(_)));
    assert!(matches!(&api.action, Action::Split(s) if s.pools().map(|p| p.index).eq([0, 1])));
    assert_eq!(api.mirror.as_ref().unwrap().per_10_000, 250);
    assert_eq!(api.cache.as_ref().unwrap().stale_if_error, Duration::from_secs(3600));
    assert!(api.compression.is_none() && https.compression.is_some() && rest.compression.as_ref().unwrap().min_size == 2048);
    assert_eq!((&*rest.name, rest.conditions.is_empty(), rest.cache.is_none()), ("default", true, true));
}

#[test]
fn the_log_of_the_relay() {
    let access = |text: &str| parse(&format!("global: {{access_log: {text}}}")).map(|c| c.global.log.access);
    let log = access("{to: /var/log/lbdeck/access.log, format: json, sample: {above: 500}, buffer: 1MiB}").unwrap().unwrap();
    assert_eq!((log.sample.unwrap().above, log.sample.unwrap().keep_one_of, log.buffer), (500, 10, 1 << 20));
    assert_eq!(access("{to: 'syslog:/dev/log'}").unwrap().unwrap().target, Target::SyslogUnix("/dev/log".into()));
    assert_eq!(
        access("{to: 'syslog:127.0.0.1:514'}").unwrap().unwrap().target,
        Target::SyslogUdp("127.0.0.1:514".parse().unwrap())
    );
    assert!(access("{to: access.log}").unwrap_err().contains("'to': 'access.log' is no place for a log"));
    assert!(access("{format: json}").unwrap_err().contains("access_log needs 'to'"));
}

#[test]
fn errors_point_at_what_is_wrong() {
    let text = "routes:\n  - name: a\n    match: {path_prefx: /x}\n    pool: gren\n    request_headers: {set: {X: '{clent}'}}";
    let error = rules(text).unwrap_err();
    for part in [
        "relay.yaml:7:17: unknown key 'path_prefx' in match",
        "= hint: did you mean 'path_prefix'?",
        "relay.yaml:8:15: 'pool': there is no pool 'gren'",
        "= hint: did you mean 'green'?",
        "relay.yaml:9:36: 'X': there is no variable '{clent}'",
        "= hint: did you mean '{client}'?",
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
}

/// Each wrong set of rules with a part of its error.
#[test]
fn what_is_wrong() {
    let route = |keys: &str| format!("routes:\n  - {{name: a, {keys}}}");
    for (text, part) in [
        (route(""), "a route does nothing"),
        (route("pool: app, respond: {}"), "cannot do all of pool, respond"),
        (route("redirect: {}"), "leads to where it came from"),
        (route("redirect: {scheme: https, status: 300}"), "'status' is 301, 302, 303, 307 or 308, not '300'"),
        (route("redirect: {path: /x, strip_prefix: y}"), "'strip_prefix': 'y' is no path"),
        (route("respond: {file: /no/such/file}"), "cannot read the file"),
        (route("respond: {status: 204, body: x}"), "a response of status 204 has no body"),
        (route("respond: {}, mirror: {pool: app}"), "'mirror' needs a pool"),
        (route("pool: app, match: {host: 'a:80'}"), "without a port"),
        (route("pool: app, match: {path_regex: '(' }"), "is no regular expression: unclosed group"),
        (route("pool: app, match: {method: get}"), "write GET"),
        (route("pool: app, match: {headers: {X: {}}}"), "write either 'regex' or 'present'"),
        (route("split: {pools: {app: 0}}"), "no pool of the split has a weight above 0"),
        (route("split: {pools: {apd: 1}}"), "did you mean 'app'?"),
        (route("pool: app, rewrite: {prefix: /x}"), "two keys that belong together"),
        (route("pool: app, request_headers: {set: {Content-Length: 1}}"), "frames messages"),
        (route("pool: app, mirror: {pool: app, share: 200%}"), "'share'"),
        (route("pool: app, error_pages: {200: x}"), "'200' is no status of an error"),
        (route("pool: app}\n  - {name: b, pool: app"), "nothing reaches this route: 'a' above takes everything"),
        (route("pool: app, match: {tls: true}}\n  - {name: a, pool: app"), "route 'a' stands here twice"),
        ("protect: {limits: [{by: client}]}".into(), "a limit needs 'rate' or 'concurrency'"),
        ("protect: {limits: [{rate: 100}]}".into(), "'100' is no rate"),
        ("protect: {limits: [{rate: 0/s}]}".into(), "'0/s' is no rate"),
        ("protect: {limits: [{burst: 5, concurrency: 1}]}".into(), "'burst' needs 'rate'"),
        ("protect: {deny: lan}".into(), "'lan' is no network"),
        ("compression: {encodings: [lzma]}".into(), "'lzma' is not known"),
        ("compression: {types: [html]}".into(), "'html' is no media type"),
        ("cache: {max_size: 1MiB, max_object: 1MiB}".into(), "too large for 'max_size'"),
        ("request_id: 'a b'".into(), "no name of a header"),
        ("forwarded: xff".into(), "'forwarded'"),
    ] {
        match rules(&text) {
            Ok(_) => panic!("taken: {text}"),
            Err(error) => assert!(error.contains(part), "{text}\n{error}"),
        }
    }
}

//! Which route a request takes.

use std::net::IpAddr;

use http::Method;
use proptest::prelude::*;

use super::matching::{HostPattern, PathPattern, ValuePattern};
use super::pattern::Pattern;
use super::*;
use crate::agent::relay::protect::networks::Networks;

fn route(name: &str, conditions: Conditions) -> Route {
    Route { conditions, ..Route::to_pool(name, "p") }
}

fn router(routes: Vec<Route>) -> Router {
    Router::new(routes, |_| Some(0)).unwrap()
}

fn hosts(hosts: &[&str]) -> Vec<HostPattern> {
    hosts.iter().map(|h| HostPattern::parse(h).unwrap()).collect()
}

fn request(authority: &str, target: &str) -> RequestHead {
    RequestHead { authority: authority.into(), target: target.into(), ..RequestHead::default() }
}

fn found(router: &Router, head: &RequestHead) -> String {
    found_as(router, head, "192.0.2.1", false)
}

fn found_as(router: &Router, head: &RequestHead, client: &str, tls: bool) -> String {
    let asked = Asked::new(head, client.parse::<IpAddr>().unwrap(), tls);
    router.find(&asked).map_or("-".to_owned(), |(_, r)| r.name.to_string())
}

#[test]
fn hosts_exact_wildcard_port_and_case() {
    let router = router(vec![
        route("exact", Conditions { hosts: hosts(&["example.org"]), ..Conditions::default() }),
        route("wild", Conditions { hosts: hosts(&["*.example.org"]), ..Conditions::default() }),
        route("v6", Conditions { hosts: hosts(&["[::1]"]), ..Conditions::default() }),
    ]);
    for (authority, name) in [
        ("example.org", "exact"),
        ("EXAMPLE.org:8080", "exact"),
        ("example.org.", "exact"),
        ("a.example.org", "wild"),
        ("A.B.Example.Org:1", "wild"),
        (".example.org", "-"),
        ("badexample.org", "-"),
        ("[::1]:80", "v6"),
        ("", "-"),
    ] {
        assert_eq!(found(&router, &request(authority, "/")), name, "{authority}");
    }
    for bad in ["", "*", "a*.b", "a:80", "*.", "a/b"] {
        assert!(HostPattern::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_first_that_fits_is_taken() {
    let prefix = |p: &str| vec![PathPattern::Prefix(p.into())];
    let router = router(vec![
        route(
            "admin",
            Conditions {
                paths: prefix("/admin"),
                clients: Networks::new(vec!["10.0.0.0/8".parse().unwrap()]),
                ..Conditions::default()
            },
        ),
        route("api-host", Conditions { hosts: hosts(&["api.example.org"]), ..Conditions::default() }),
        route("api", Conditions { paths: prefix("/api"), ..Conditions::default() }),
        route("ping", Conditions { paths: vec![PathPattern::Exact("/ping".into())], ..Conditions::default() }),
        route(
            "regex",
            Conditions { paths: vec![PathPattern::Regex(Pattern::new("^/v[0-9]+/").unwrap())], ..Conditions::default() },
        ),
        route("rest", Conditions::default()),
    ]);
    let to = |authority: &str, target: &str| found(&router, &request(authority, target));
    assert_eq!(found_as(&router, &request("x", "/%61dmin/x"), "10.1.1.1", false), "admin");
    assert_eq!(found_as(&router, &request("x", "/admin"), "::ffff:10.1.1.1", false), "admin");
    assert_eq!(to("x", "/admin"), "rest");
    assert_eq!(to("api.example.org", "/api"), "api-host");
    assert_eq!(to("x", "//api/y?z"), "api");
    assert_eq!(to("x", "/apix"), "rest");
    assert_eq!((to("x", "/ping?x"), to("x", "/ping/")), ("ping".into(), "rest".into()));
    assert_eq!(to("x", "/v2/x"), "regex");
}

#[test]
fn methods_headers_query_and_tls() {
    let conditions = Conditions {
        methods: vec![Method::GET, Method::HEAD],
        headers: vec![
            ("X-Canary".into(), ValuePattern::Present),
            ("x-version".into(), ValuePattern::Regex(Pattern::new("^2\\.").unwrap())),
            ("x-no".into(), ValuePattern::Absent),
        ],
        query: vec![("debug".into(), ValuePattern::Exact("1".into()))],
        tls: Some(true),
        ..Conditions::default()
    };
    let router = router(vec![route("yes", conditions)]);
    let mut head = request("x", "/?a=b&debug=1");
    head.headers.add("x-canary", "");
    head.headers.add("X-Version", "1.0");
    head.headers.add("X-Version", "2.1");
    assert_eq!(found_as(&router, &head, "::1", true), "yes");
    assert_eq!(found_as(&router, &head, "::1", false), "-");
    let not = |change: &dyn Fn(&mut RequestHead)| {
        let mut other = head.clone();
        change(&mut other);
        found_as(&router, &other, "::1", true)
    };
    assert_eq!(not(&|h| h.method = Method::POST), "-");
    assert_eq!(not(&|h| _ = h.headers.remove("x-canary")), "-");
    assert_eq!(not(&|h| h.headers.set("x-version", "3.1")), "-");
    assert_eq!(not(&|h| h.headers.add("X-No", "")), "-");
    assert_eq!(not(&|h| h.target = "/?debug=10".into()), "-");
    assert_eq!(not(&|h| h.target = "/?debug".into()), "-");
}

#[test]
fn pools_get_their_place() {
    let split = Split::new(vec![(PoolRef::new("a"), 1), (PoolRef::new("b"), 1)], split::Sticky::None).unwrap();
    let mirror = Some(Mirror { pool: PoolRef::new("c"), per_10_000: 1 });
    let routes = vec![Route { action: Action::Split(split), mirror, ..Route::to_pool("r", "") }];
    let place = |name: &str| ["a", "b", "c"].iter().position(|n| *n == name);
    let router = Router::new(routes.clone(), place).unwrap();
    let route = &router.routes()[0];
    let Action::Split(split) = &route.action else { panic!() };
    assert_eq!(split.pools().map(|p| p.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(route.mirror.as_ref().unwrap().pool.index, 2);
    assert_eq!(&*Router::new(routes, |name| (name != "b").then_some(0)).unwrap_err().0, "b");
}

proptest! {
    /// The index by host finds what trying all routes in order finds.
    #[test]
    fn the_index_changes_nothing(
        rules in proptest::collection::vec((proptest::collection::vec("(\\*\\.)?[ab]\\.[cd]", 0..3), "/[xy]?"), 1..8),
        host in "([abA]\\.)?[abA]\\.[cdC](:1)?",
        path in "/[xy]?",
    ) {
        let routes: Vec<Route> = rules.iter().enumerate().map(|(i, (hosts_of, prefix))| {
            let names: Vec<&str> = hosts_of.iter().map(String::as_str).collect();
            route(&i.to_string(), Conditions { hosts: hosts(&names), paths: vec![PathPattern::Prefix(prefix.as_str().into())], ..Conditions::default() })
        }).collect();
        let head = request(&host, &path);
        let asked = Asked::new(&head, IpAddr::from([127, 0, 0, 1]), false);
        let plain = routes.iter().position(|r| r.conditions.matches(&asked));
        let router = router(routes);
        prop_assert_eq!(router.find(&asked).map(|(i, _)| i), plain);
    }
}

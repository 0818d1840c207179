//! Routes, header edits, forwarding fields and limits.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lbdeck::agent::relay::protect::networks::Networks;
use lbdeck::agent::relay::protect::rate::Rate;
use lbdeck::agent::relay::protect::{LimitBy, LimitConfig, ProtectConfig};
use lbdeck::agent::relay::route::edit::{Edit, Edits};
use lbdeck::agent::relay::route::forwarded::{Forwarding, Style};
use lbdeck::agent::relay::route::matching::{Conditions, HostPattern, PathPattern};
use lbdeck::agent::relay::route::pattern::Pattern;
use lbdeck::agent::relay::route::redirect::{Redirect, Rewrite};
use lbdeck::agent::relay::route::respond::{Body, ErrorPages, Respond};
use lbdeck::agent::relay::route::split::Mirror;
use lbdeck::agent::relay::route::template::Template;
use lbdeck::agent::relay::route::{Action, PoolRef, Route};

use super::echo::Echo;
use crate::support::relay::Setting;
use crate::support::wait::until;

fn below(prefix: &str) -> Conditions {
    Conditions { paths: vec![PathPattern::Prefix(prefix.into())], ..Conditions::default() }
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn requests_go_where_the_routes_say() {
    let (web, api) = (Echo::start("web", |_| None), Echo::start("api", |_| None));
    let host = Conditions { hosts: vec![HostPattern::parse("*.api.test").unwrap()], ..Conditions::default() };
    let answer = Respond { status: 418, content_type: "text/plain".into(), body: Body::Text(template("{path} {client}")) };
    let page = Respond { status: 503, content_type: "text/html".into(), body: Body::Fixed((*b"<p>sorry").into()) };
    let gone = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let relay = Setting::routed(
        &[("web", web.address), ("api", api.address), ("gone", gone)],
        vec![
            Route { conditions: host, ..Route::to_pool("api-host", "api") },
            Route {
                conditions: below("/api"),
                rewrite: Some(Rewrite::Prefix { from: "/api".into(), to: "/v2".into() }),
                ..Route::to_pool("api", "api")
            },
            Route {
                conditions: below("/old"),
                action: Action::Redirect(Redirect { status: 308, tls: Some(true), ..Redirect::default() }),
                ..Route::to_pool("old", "web")
            },
            Route { conditions: below("/tea"), action: Action::Respond(answer), ..Route::to_pool("tea", "web") },
            Route { conditions: below("/gone"), error_pages: ErrorPages::new(vec![page]), ..Route::to_pool("gone", "gone") },
            Route { conditions: below("/web"), ..Route::to_pool("web", "web") },
        ],
    )
    .start();
    assert!(relay.curl("/web", &[]).text().starts_with("web\nGET /web HTTP/1.1"));
    assert!(relay.curl("/x", &["-H", "Host: A.Api.Test:81"]).text().starts_with("api\nGET /x "));
    assert!(relay.curl("/%61pi/y?z=1", &[]).text().starts_with("api\nGET /v2/y?z=1 "));
    let moved = relay.curl("/old/x?y", &["-H", "Host: shop.test:8080"]);
    assert_eq!((moved.status, moved.header("location")), (308, "https://shop.test/old/x?y"));
    let tea = relay.curl("/tea/pot", &[]);
    assert_eq!((tea.status, tea.text()), (418, "/tea/pot 127.0.0.1".to_owned()));
    let gone = relay.curl("/gone", &[]);
    assert_eq!((gone.status, gone.text(), gone.header("content-type")), (503, "<p>sorry".to_owned(), "text/html"));
    assert_eq!(relay.curl("/nowhere", &[]).status, 404);
}

#[test]
fn headers_are_edited_and_strangers_not_believed() {
    let web = Echo::start("web", |_| None);
    let set = |name: &str, value: &str| Edit::Set(name.into(), template(value));
    let route = Route {
        request_headers: Edits(vec![
            Edit::Remove("user-agent".into()),
            set("X-Route", "{route} {server}"),
            set("X-Id", "{request_id}"),
        ]),
        response_headers: Edits(vec![set("X-Served-By", "{pool}/{server}"), Edit::Remove("content-type".into())]),
        ..Route::to_pool("all", "web")
    };
    let setting = Setting { request_id: Some("X-Request-Id".into()), ..Setting::routed(&[("web", web.address)], vec![route]) };
    let lie = ["-H", "X-Forwarded-For: 6.6.6.6", "-H", "Forwarded: for=6.6.6.6", "-H", "X-Request-Id: theirs"];
    let stranger = setting.clone().start().curl("/", &lie);
    let seen = stranger.text().to_ascii_lowercase();
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n") && !seen.contains("6.6.6.6"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http\r\n") && !seen.contains("user-agent") && !seen.contains("theirs"), "{seen}");
    let id = stranger.header("x-request-id");
    assert!(id.len() == 36 && seen.contains(&format!("x-id: {id}\r\n")), "{id} {seen}");
    assert_eq!((stranger.header("x-served-by"), stranger.header("content-type")), ("web/s1", ""));

    let trusted = Networks::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let setting = Setting { forwarding: Forwarding { style: Style::Both, trusted }, ..setting };
    let seen = setting.start().curl("/", &lie).text().to_ascii_lowercase();
    assert!(seen.contains("x-forwarded-for: 6.6.6.6, 127.0.0.1\r\n"), "{seen}");
    assert!(seen.contains("forwarded: for=6.6.6.6, for=127.0.0.1;host=") && seen.contains("x-request-id: theirs\r\n"), "{seen}");
}

#[test]
fn limits_and_denials_are_answered() {
    let web = Echo::start("web", |_| None);
    let rate = Rate { count: 2, per: Duration::from_secs(3600), burst: 2 };
    let protect = ProtectConfig {
        deny_paths: vec![Pattern::new("^/admin").unwrap()],
        deny_methods: vec![http::Method::DELETE],
        deny_user_agents: vec![Pattern::new("(?i)badbot").unwrap()],
        ..ProtectConfig::default()
    };
    let limited = ProtectConfig {
        limits: vec![LimitConfig { by: LimitBy::Client, rate: Some(rate), concurrency: None }],
        ..ProtectConfig::default()
    };
    let routes = vec![
        Route { conditions: below("/limited"), protect: Some(limited), ..Route::to_pool("limited", "web") },
        Route::to_pool("all", "web"),
    ];
    let setting = Setting { protect: Some(protect), ..Setting::routed(&[("web", web.address)], routes) };
    let registry = setting.registry.clone();
    let relay = setting.start();
    for hidden in ["/admin", "//admin", "/x/../admin", "/%61dmin", "/x/%2e%2e/admin"] {
        assert_eq!(relay.curl(hidden, &[]).status, 403, "{hidden}");
    }
    assert_eq!(relay.curl("/", &["-X", "DELETE"]).status, 405);
    assert_eq!(relay.curl("/", &["-A", "BadBot/1.0"]).status, 403);
    assert_eq!(web.hits.load(Ordering::SeqCst), 0);
    assert_eq!([relay.curl("/limited", &[]).status, relay.curl("/limited/x", &[]).status], [200, 200]);
    let refused = relay.curl("/limited", &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1800"));
    assert_eq!(relay.curl("/", &[]).status, 200);
    drop(relay);
    let counted = registry.route(&"main".into(), &"limited".into()).traffic();
    assert_eq!((counted.requests_total, counted.answers), (3, Some([0, 2, 0, 1, 0])));
}

#[test]
fn a_mirror_gets_copies_and_nobody_waits_for_it() {
    let (web, shadow) = (Echo::start("web", |_| None), Echo::start("shadow", |_| None));
    let route =
        Route { mirror: Some(Mirror { pool: PoolRef::new("shadow"), per_10_000: 10_000 }), ..Route::to_pool("all", "web") };
    let relay = Setting::routed(&[("web", web.address), ("shadow", shadow.address)], vec![route]).start();
    assert!(relay.curl("/seen?by=both", &[]).text().starts_with("web\n"));
    let copied = || shadow.heads.lock().unwrap().iter().any(|h| h.starts_with("GET /seen?by=both ")).then_some(());
    until("the copy of the mirror", Duration::from_secs(20), copied);
    drop(shadow);
    assert!(relay.curl("/alone", &[]).text().starts_with("web\n"));
}

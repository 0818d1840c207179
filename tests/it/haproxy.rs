//! The HAProxy engine against the real haproxy: every observation, every action, every fault.

mod acting;
mod hostile;
mod http;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lbdeck::config::{HaproxyAccess, HaproxySpec, Settings};
use lbdeck::engine::haproxy::Haproxy as Observed;
use lbdeck::engine::{Engine, Want};
use lbdeck::model::{
    AddServer, AdminState, Change, CheckKind, NodeObs, ServerObs, ServerRef, SocketLevel, StatusWord, Target, Weight,
};
use lbdeck::transport::LocalTransport;

use crate::support::app::{App, HeldRequest, get};
use crate::support::haproxy::{Haproxy, Pool, ask};
use crate::support::wait;

#[test]
fn the_test_haproxy_serves_reloads_and_ends() {
    let (one, two) = (App::start("one"), App::start("two"));
    let pool = Pool::new("web").server("web1", one.addr, "check inter 50ms").server("web2", two.addr, "");
    let mut haproxy = Haproxy::builder().pool(pool).master_worker().stats_page(true).tls(&["a.example"], (2030, 1, 2)).start();
    assert!(get(haproxy.frontend("web"), "/").ends_with("one\n"));
    assert_eq!(haproxy.stat("web", "web2", "type"), "2");
    assert!(ask(&haproxy.master_socket(), "show proc").unwrap().contains("worker"));
    assert!(ask(&haproxy.user_socket(), "show info").unwrap().contains("Version: 2"));

    let mut held = HeldRequest::open(haproxy.frontend("web"));
    assert_eq!(one.holding() + two.holding(), 1);
    let before = haproxy.worker_pid();
    haproxy.reload();
    assert_ne!(before, haproxy.worker_pid());
    assert!(!held.is_over(), "a reload keeps sessions");
    one.release();
    two.release();
    wait::until("the response to end", Duration::from_secs(5), || (one.holding() + two.holding() == 0).then_some(()));
}

fn engine_at(path: &Path, edit: impl FnOnce(&mut HaproxySpec)) -> Observed {
    let mut spec =
        HaproxySpec { access: HaproxyAccess::Socket(path.into()), metrics_url: None, master_socket: None, config_file: None };
    edit(&mut spec);
    Observed::new("lb1".into(), &spec, Some(Arc::new(LocalTransport)), &Settings::default()).unwrap()
}

const SOON: Duration = Duration::from_secs(5);

async fn seen(engine: &Observed) -> NodeObs {
    engine.observe(Want::All, SOON).await.unwrap()
}

/// Plans a change as the operations layer does, and sends it.
async fn act(engine: &Observed, target: &Target, change: Change) -> Result<Vec<String>, String> {
    let obs = seen(engine).await;
    let admin = engine.admin().unwrap();
    let commands = admin.encode(target, &change, &obs)?;
    admin.send(&commands, SOON).await.map_err(|e| format!("{e} ({})", e.hint().unwrap_or("no hint")))
}

fn server(pool: &str, server: &str) -> Target {
    Target::Server(ServerRef::new(pool, server))
}

#[tokio::test]
async fn observes_everything_with_exact_admin_state() {
    let (one, two) = (App::start("one"), App::start("two"));
    let haproxy = Haproxy::builder()
        .pool(
            Pool::new("web")
                .line("option httpchk GET /health")
                .line("cookie SRV insert indirect nocache")
                .server("web1", one.addr, "check inter 300ms weight 10 maxconn 77 cookie c1")
                .server("web2", two.addr, "disabled backup"),
        )
        .pool(Pool::new("api").balance("static-rr").idle_servers("api", 3))
        .start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    wait::until("the first health check", SOON, || (haproxy.stat("web", "web1", "check_status") == "L7OK").then_some(()));
    let _held = HeldRequest::open(haproxy.frontend("web"));
    let obs = seen(&engine).await;

    assert_eq!(obs.engine.release, Some((2, 6)));
    assert_eq!(obs.engine.level, SocketLevel::Admin);
    assert_eq!(obs.engine.pid, haproxy.worker_pid());
    assert!(obs.engine.info.get("Name") == Some("HAProxy"));
    assert!(obs.notes.is_empty(), "{:?}", obs.notes);
    assert_eq!(obs.frontends.iter().map(|f| &*f.name).collect::<Vec<_>>(), ["fe_web", "fe_api"]);
    let web = obs.pool("web").unwrap();
    assert_eq!((&*web.algorithm, &*web.mode, web.active, web.servers.len()), ("roundrobin", "http", 1, 2));
    let web1 = web.server("web1").unwrap();
    assert_eq!(web1.status.word, StatusWord::Up);
    assert!(web1.admin.is_ready() && web1.admin_exact && web1.is_serving());
    assert_eq!((web1.weight, web1.user_weight, web1.initial_weight, web1.maxconn), (10, Some(10), Some(10), Some(77)));
    assert_eq!((web1.address.as_deref(), web1.port), (Some("127.0.0.1"), Some(one.addr.port())));
    assert_eq!((web1.gauges.sessions, web1.left(), web1.cookie.as_deref()), (1, 1, Some("c1")));
    assert_eq!(web1.used_conns, Some(1));
    let check = web1.check.as_ref().unwrap();
    assert_eq!((&*check.status, check.code), ("L7OK", Some(200)));
    let web2 = web.server("web2").unwrap();
    assert_eq!(web2.admin, AdminState(AdminState::FMAINT | AdminState::CMAINT));
    assert!(web2.backup && !web2.is_serving());
    // Every column by name, also those that no type of the model has.
    let row = obs.fields.as_ref().unwrap().row(web1.row);
    let field = |name: &str| row.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(field("svname").as_deref(), Some("web1"));
    for column in ["h1_open_connections", "lastsess", "check_fall", "need_conn_est"] {
        let real = haproxy.stat("web", "web1", column);
        assert_eq!(field(column).unwrap_or_default().is_empty(), real.is_empty(), "{column}");
    }

    let part = engine.observe(Want::Pool("api"), SOON).await.unwrap();
    assert_eq!(part.pools.len(), 1);
    assert_eq!(part.pools[0].servers.len(), 3);
    assert!(part.pools[0].servers.iter().all(|s| s.admin_exact));
    let none = engine.observe(Want::Pool("nope"), SOON).await.unwrap();
    assert!(none.pools.is_empty());
}

#[tokio::test]
async fn drains_readies_and_weighs_and_brings_back_what_was() {
    let (one, two) = (App::start("one"), App::start("two"));
    let pool = Pool::new("web")
        .server("web1", one.addr, "check inter 50ms weight 10 maxconn 5 agent-check agent-port 1 agent-inter 1h")
        .server("web2", two.addr, "");
    let haproxy = Haproxy::builder().pool(pool).start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    let web1 = server("web", "web1");
    let look = async || seen(&engine).await.server("web", "web1").unwrap().clone();
    for (change, holds) in [
        (Change::Drain, Box::new(|s: &ServerObs| s.admin.word() == "drain") as Box<dyn Fn(&ServerObs) -> bool>),
        (Change::Maint, Box::new(|s: &ServerObs| s.admin.word() == "maint" && s.status.word == StatusWord::Maint)),
        (Change::Ready, Box::new(|s: &ServerObs| s.admin.is_ready())),
        (Change::Weight(Weight::Absolute(3)), Box::new(|s: &ServerObs| s.weight == 3 && s.user_weight == Some(3))),
        (Change::Weight(Weight::Percent(50)), Box::new(|s: &ServerObs| s.weight == 5)),
        (Change::MaxConn(9), Box::new(|s: &ServerObs| s.maxconn == Some(9))),
        (
            Change::Address { address: "127.0.0.9".into(), port: Some(81) },
            Box::new(|s: &ServerObs| s.address.as_deref() == Some("127.0.0.9") && s.port == Some(81)),
        ),
        (
            Change::Checks { kind: CheckKind::Health, on: false },
            Box::new(|s: &ServerObs| s.health_checks == Some(false) && s.check.is_none()),
        ),
        (Change::Checks { kind: CheckKind::Agent, on: false }, Box::new(|s: &ServerObs| s.agent_checks == Some(false))),
    ] {
        let before = seen(&engine).await;
        let was = before.server("web", "web1").unwrap().clone();
        act(&engine, &web1, change.clone()).await.unwrap();
        let now = look().await;
        assert!(holds(&now), "{change}: {now:?}");
        for back in engine.admin().unwrap().inverse(&web1, &change, &before) {
            act(&engine, &web1, back).await.unwrap();
        }
        let back = look().await;
        let key = |s: &ServerObs| (s.admin, s.user_weight, s.maxconn, s.address.clone(), s.port, s.health_checks, s.agent_checks);
        assert_eq!(key(&back), key(&was), "after the inverse of {change}");
    }
    let checks = Change::Checks { kind: CheckKind::Health, on: true };
    act(&engine, &server("web", "web2"), checks).await.unwrap_err();
    let gone = act(&engine, &server("web", "web9"), Change::Drain).await.unwrap_err();
    assert!(gone.contains("No such server") && gone.contains("read the node again"), "{gone}");
}

#[tokio::test]
async fn what_the_next_reload_would_undo() {
    let (one, two) = (App::start("one"), App::start("two"));
    let pool = Pool::new("web")
        .line("default-server maxconn 50")
        .server("web1", one.addr, "weight 10")
        .server("web2", two.addr, "")
        .server("web3", two.addr, "disabled")
        .server("web4", two.addr, "");
    let mut haproxy = Haproxy::builder().pool(pool).pool(Pool::new("api").idle_servers("api", 2)).master_worker().start();
    let config = haproxy.config_file();
    let engine = engine_at(&haproxy.socket(), |spec| spec.config_file = Some(config.clone()));
    let drifts = |obs: &NodeObs, name: &str| -> Option<Vec<String>> {
        let drift = obs.server("web", name).unwrap().drift.as_ref()?;
        Some(drift.iter().map(|d| format!("{}: {} -> {}", d.what, d.runtime, d.file)).collect())
    };
    let fresh = seen(&engine).await;
    for name in ["web1", "web2", "web3", "web4"] {
        assert_eq!(drifts(&fresh, name), Some(Vec::new()), "{name}: {:?}", fresh.notes);
    }
    assert_eq!(fresh.pool("api").unwrap().server("api1").unwrap().drift.as_deref().map(<[_]>::len), Some(0));
    assert!(fresh.notes.is_empty(), "{:?}", fresh.notes);

    for (name, change) in [
        ("web1", Change::Drain),
        ("web1", Change::Weight(Weight::Absolute(3))),
        ("web2", Change::Address { address: "127.0.0.77".into(), port: Some(81) }),
        ("web2", Change::MaxConn(0)),
        ("web3", Change::Ready),
    ] {
        act(&engine, &server("web", name), change).await.unwrap();
    }
    act(&engine, &server("web", "web4"), Change::RemoveServer).await.unwrap();
    let add = AddServer { address: "127.0.0.1".into(), port: one.addr.port(), ..AddServer::default() };
    act(&engine, &server("web", "web5"), Change::AddServer(add)).await.unwrap();

    let now = seen(&engine).await;
    assert_eq!(drifts(&now, "web1").unwrap(), ["admin: drain -> ready", "weight: 3 -> 10"]);
    let port = two.addr.port();
    assert_eq!(
        drifts(&now, "web2").unwrap(),
        ["maxconn: none -> 50", "address: 127.0.0.77 -> 127.0.0.1", &format!("port: 81 -> {port}")]
    );
    assert_eq!(drifts(&now, "web3").unwrap(), ["admin: ready -> maint"]);
    assert_eq!(drifts(&now, "web5").unwrap(), ["server: added at run time -> not there"]);
    assert!(now.notes.iter().any(|n| n.contains("web/web4 was deleted at run time")), "{:?}", now.notes);
    assert!(now.server("web", "web3").unwrap().is_serving(), "CMAINT alone does not keep it out");

    // The reload does what was said, and another file is seen at once because another process answers.
    haproxy.edit_config(|text| text.replace("weight 10", "weight 20"));
    haproxy.reload();
    let after = seen(&engine).await;
    assert_eq!(drifts(&after, "web1"), Some(Vec::new()));
    let web1 = after.server("web", "web1").unwrap();
    assert_eq!((web1.weight, web1.admin.word()), (20, "ready"), "the drain was lost in the reload");
    assert!(after.server("web", "web5").is_none() && after.server("web", "web4").is_some());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_drift_unknown() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("web", 1)).start();
    let engine = engine_at(&haproxy.socket(), |spec| spec.config_file = Some("/nonexistent/haproxy.cfg".into()));
    for _ in 0..2 {
        let obs = seen(&engine).await;
        assert!(obs.server("web", "web1").unwrap().drift.is_none());
        assert_eq!(obs.notes.iter().filter(|n| n.contains("/nonexistent/haproxy.cfg")).count(), 1, "{:?}", obs.notes);
    }
}

//! The statistics page and the metrics endpoint of a real haproxy.

use lbdeck::config::{HaproxyAccess, HaproxySpec, SecretRef, Settings};
use lbdeck::engine::haproxy::Haproxy as Observed;
use lbdeck::engine::{Engine, EngineError, Want};
use lbdeck::model::{Change, CheckKind, SocketLevel, StatusWord, Target, Weight};
use lbdeck::transport::TransportError;

use super::{SOON, act, seen, server};
use crate::support::app::{App, HeldRequest};
use crate::support::haproxy::{Haproxy, Pool, STATS_PASSWORD, STATS_USER};
use crate::support::wait;

fn page_at(url: &str, password: &str) -> Observed {
    let secret = SecretRef::Command(vec!["echo".into(), password.into()]);
    let access = HaproxyAccess::Stats { url: url.into(), user: Some(STATS_USER.into()), password: Some(secret), ca_file: None };
    let spec = HaproxySpec { access, metrics_url: None, master_socket: None, config_file: None };
    Observed::new("lb1".into(), &spec, None, &Settings::default()).unwrap()
}

#[tokio::test]
async fn the_page_shows_and_changes_what_it_can() {
    let one = App::start("one");
    let pool = Pool::new("web").server("web1", one.addr, "check inter 50ms weight 10").server("web2", one.addr, "");
    let haproxy = Haproxy::builder().pool(pool).pool(Pool::new("web-2").idle_servers("x", 2)).stats_page(true).start();
    // The address of the CSV export is what people copy.
    let engine = page_at(&format!("{};csv", haproxy.stats_url()), STATS_PASSWORD);
    let obs = seen(&engine).await;
    assert_eq!((obs.engine.release, obs.engine.level), (Some((2, 6)), SocketLevel::StatsAdmin));
    assert_eq!(obs.engine.pid, haproxy.worker_pid());
    assert!(obs.engine.uptime.is_some() && obs.notes.iter().any(|n| n.contains("derived")), "{:?}", obs.notes);
    let web1 = obs.server("web", "web1").unwrap();
    assert!(!web1.admin_exact && web1.admin.is_ready() && web1.weight == 10);
    assert!(obs.fields.as_ref().unwrap().row(web1.row).iter().any(|(n, v)| n == "svname" && v == "web1"));
    let part = engine.observe(Want::Pool("web"), SOON).await.unwrap();
    assert_eq!(part.pools.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["web"], "web-2 has the same beginning");

    let web1 = server("web", "web1");
    for (change, word) in [(Change::Drain, "drain"), (Change::Maint, "maint"), (Change::Ready, "ready")] {
        let before = seen(&engine).await;
        assert_eq!(act(&engine, &web1, change.clone()).await, Ok(vec!["done".into()]));
        assert_eq!(seen(&engine).await.server("web", "web1").unwrap().admin.word(), word);
        assert_eq!(haproxy.cli("show servers state web").contains(" web1 127.0.0.1 2 8 "), word == "drain");
        assert_eq!(engine.admin().unwrap().inverse(&web1, &change, &before).len(), 1);
    }
    act(&engine, &web1, Change::Checks { kind: CheckKind::Health, on: false }).await.unwrap();
    assert_eq!(seen(&engine).await.server("web", "web1").unwrap().status.word, StatusWord::NoCheck);

    act(&engine, &server("web", "web2"), Change::Maint).await.unwrap();
    let mut held = HeldRequest::open(haproxy.frontend("web"));
    act(&engine, &web1, Change::KillSessions).await.unwrap();
    wait::until("the session to be killed", SOON, || held.is_over().then_some(()));

    let why = act(&engine, &web1, Change::Weight(Weight::Absolute(3))).await.unwrap_err();
    assert!(why.contains("cannot do 'weight 3'") && why.contains("socket"), "{why}");
    let gone = act(&engine, &server("web", "web9"), Change::Drain).await.unwrap_err();
    assert!(gone.contains("ERRP"), "{gone}");
    assert!(engine.sessions().is_none() && engine.tables().is_none() && engine.certificates().is_none());
    assert_eq!(engine.identity(), format!("haproxy:{}", haproxy.stats_url()));
}

#[tokio::test]
async fn a_page_that_only_shows_and_one_that_keeps_us_out() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("web", 2)).stats_page(false).start();
    let engine = page_at(&haproxy.stats_url(), STATS_PASSWORD);
    assert_eq!(seen(&engine).await.engine.level, SocketLevel::StatsReadOnly);
    let why = act(&engine, &server("web", "web1"), Change::Drain).await.unwrap_err();
    assert!(why.contains("only shows") && why.contains("stats admin"), "{why}");

    let stranger = page_at(&haproxy.stats_url(), "wrong");
    let error = stranger.observe(Want::All, SOON).await.unwrap_err();
    assert!(matches!(error, EngineError::Transport(TransportError::Auth { .. })), "{error:?}");
    assert!(!error.is_transient() && !format!("{error:?} {stranger:?}").contains("wrong\""), "{error:?}");

    let elsewhere = page_at(&haproxy.metrics_url().replace("/metrics", "/nothing"), STATS_PASSWORD);
    assert!(elsewhere.observe(Want::All, SOON).await.is_err());
}

#[tokio::test]
async fn metrics_beside_the_socket_and_metrics_alone() {
    let haproxy = Haproxy::builder()
        .pool(Pool::new("web").idle_servers("web", 3))
        .pool(Pool::new("api").balance("leastconn").idle_servers("api", 1))
        .stats_page(true)
        .start();
    let beside = super::engine_at(&haproxy.socket(), |spec| spec.metrics_url = Some(haproxy.metrics_url()));
    let obs = seen(&beside).await;
    assert!(obs.engine.info.iter().any(|(n, _)| n == "haproxy_process_start_time_seconds"), "{:?}", obs.notes);
    assert!(obs.server("web", "web1").unwrap().admin_exact);

    let lost = super::engine_at(&haproxy.socket(), |spec| spec.metrics_url = Some("http://127.0.0.1:1/metrics".into()));
    let obs = seen(&lost).await;
    assert!(obs.notes.iter().any(|n| n.starts_with("metrics: ")), "a source beside that fails is a note: {:?}", obs.notes);

    act(&beside, &server("web", "web2"), Change::Maint).await.unwrap();
    act(&beside, &server("web", "web3"), Change::Drain).await.unwrap();
    let access = HaproxyAccess::Stats { url: haproxy.metrics_url(), user: None, password: None, ca_file: None };
    let spec = HaproxySpec { access, metrics_url: None, master_socket: None, config_file: None };
    let alone = Observed::new("lb1".into(), &spec, None, &Settings::default()).unwrap();
    let obs = seen(&alone).await;
    let words: Vec<_> = ["web1", "web2", "web3"].map(|s| obs.server("web", s).unwrap().admin.word()).to_vec();
    assert_eq!(words, ["ready", "maint", "drain"]);
    assert_eq!(obs.pools.len(), 2);
    assert_eq!(obs.engine.release, Some((2, 6)));
    assert!(alone.admin().is_none() && obs.notes.iter().any(|n| n.contains("metrics only")));
    assert!(!obs.fields.as_ref().unwrap().row(obs.server("web", "web1").unwrap().row).is_empty());
}

#[tokio::test]
async fn a_table_on_tcp_without_any_transport() {
    let pool = Pool::new("web").line("stick-table type string len 32 size 1k store gpc0").idle_servers("web", 2);
    let haproxy = Haproxy::builder().pool(pool).tcp_socket().start();
    let access = HaproxyAccess::Tcp(haproxy.tcp_socket().to_string());
    let spec = HaproxySpec { access, metrics_url: None, master_socket: None, config_file: None };
    let engine = Observed::new("lb1".into(), &spec, None, &Settings::default()).unwrap();
    assert_eq!(engine.identity(), format!("haproxy:tcp:{}", haproxy.tcp_socket()));
    act(&engine, &server("web", "web1"), Change::Drain).await.unwrap();
    assert_eq!(seen(&engine).await.server("web", "web1").unwrap().admin.word(), "drain");

    haproxy.cli("set table web key a.b data.gpc0 7; set table web key c data.gpc0 8");
    let tables = engine.tables().unwrap();
    let all = tables.tables(SOON).await.unwrap();
    assert_eq!(all.iter().map(|t| (t.name.as_str(), t.kind.as_str(), t.used)).collect::<Vec<_>>(), [("web", "string", 2)]);
    let entries = tables.entries("web", 10, SOON).await.unwrap();
    let ab = entries.iter().find(|e| e.key == "a.b").unwrap();
    assert!(ab.fields.contains(&("gpc0".into(), "7".into())), "{ab:?}");
    assert!(tables.entries("nope", 10, SOON).await.unwrap_err().to_string().contains("No such table"));
    act(&engine, &Target::Table("web".into()), Change::ClearTable { key: Some("a.b".into()) }).await.unwrap();
    assert_eq!(tables.entries("web", 10, SOON).await.unwrap().len(), 1);
    act(&engine, &Target::Table("web".into()), Change::ClearTable { key: None }).await.unwrap();
    assert!(tables.entries("web", 10, SOON).await.unwrap().is_empty());
    let smuggled = Change::ClearTable { key: Some("x;show sess".into()) };
    assert!(act(&engine, &Target::Table("web".into()), smuggled).await.is_err());
}

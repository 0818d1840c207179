//! Every change on a real haproxy, and what it refuses.

use std::time::Duration;

use lbdeck::engine::{Command, Engine, EngineError, Want};
use lbdeck::model::{AddServer, Change, CheckKind, SocketLevel, StatusWord, Target, Weight};

use super::{SOON, act, engine_at, seen, server};
use crate::support::app::{App, HeldRequest, get};
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::wait;

#[tokio::test]
async fn sessions_are_listed_killed_and_left_alone() {
    let (one, two) = (App::start("one"), App::start("two"));
    let haproxy = Haproxy::builder()
        .pool(Pool::new("web").balance("roundrobin").server("web1", one.addr, "").server("web2", two.addr, ""))
        .start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    let mut held: Vec<HeldRequest> = (0..4).map(|_| HeldRequest::open(haproxy.frontend("web"))).collect();
    assert_eq!((one.holding(), two.holding()), (2, 2));
    let sessions = engine.sessions().unwrap();
    assert_eq!(sessions.sessions(None, 100, SOON).await.unwrap().len(), 4, "the console's own is no session");
    assert_eq!(sessions.sessions(None, 3, SOON).await.unwrap().len(), 3);
    let web1 = lbdeck::model::ServerRef::new("web", "web1");
    let of_web1 = sessions.sessions(Some(&web1), 100, SOON).await.unwrap();
    assert_eq!(of_web1.len(), 2);
    assert!(of_web1.iter().all(|s| s.server == "web1" && s.backend == "web" && s.frontend == "fe_web" && s.age.is_some()));
    assert_eq!(seen(&engine).await.server("web", "web1").unwrap().left(), 2);

    let first = of_web1[0].id.clone();
    act(&engine, &server("web", "web1"), Change::KillSession { id: first.clone() }).await.unwrap();
    wait::until("one of the two to be gone", SOON, || {
        (one.holding() == 1 && !haproxy.cli("show sess").contains(&first)).then_some(())
    });
    let again = act(&engine, &server("web", "web1"), Change::KillSession { id: first }).await.unwrap_err();
    assert!(again.contains("No such session"), "{again}");
    assert!(act(&engine, &server("web", "web1"), Change::KillSession { id: "all".into() }).await.is_err());

    act(&engine, &server("web", "web1"), Change::KillSessions).await.unwrap();
    wait::until("all of web1 to be gone", SOON, || (one.holding() == 0).then_some(()));
    assert_eq!(held.iter_mut().map(HeldRequest::is_over).filter(|over| !over).count(), 2, "sessions of the other server live on");
    assert_eq!(two.holding(), 2);
}

#[tokio::test]
async fn servers_come_and_go_at_run_time() {
    let (one, two) = (App::start("one"), App::start("two"));
    let pool = Pool::new("web").line("option httpchk GET /health").server("web1", one.addr, "check inter 50ms");
    let haproxy = Haproxy::builder().pool(pool).pool(Pool::new("fixed").balance("static-rr").idle_servers("f", 2)).start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    let add = AddServer {
        address: "127.0.0.1".into(),
        port: two.addr.port(),
        weight: Some(7),
        maxconn: Some(33),
        check: true,
        extra: vec!["inter".into(), "50ms".into()],
        ..AddServer::default()
    };
    let web2 = server("web", "web2");
    let obs = seen(&engine).await;
    let admin = engine.admin().unwrap();
    let commands = admin.encode(&web2, &Change::AddServer(add.clone()), &obs).unwrap();
    let shown: Vec<String> = commands.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            format!("add server web/web2 127.0.0.1:{} check weight 7 maxconn 33 inter 50ms", two.addr.port()).as_str(),
            "enable health web/web2",
            "enable server web/web2"
        ]
    );
    assert_eq!(admin.inverse(&web2, &Change::AddServer(add.clone()), &obs), [Change::RemoveServer]);
    admin.send(&commands, SOON).await.unwrap();
    wait::until("the new server to be checked", SOON, || (haproxy.stat("web", "web2", "check_status") == "L7OK").then_some(()));
    let now = seen(&engine).await;
    let new = now.server("web", "web2").unwrap();
    assert_eq!((new.weight, new.maxconn, new.status.word, new.is_serving()), (7, Some(33), StatusWord::Up, true));
    assert!((0..9).any(|_| get(haproxy.frontend("web"), "/").ends_with("two\n")) && two.served() > 0, "it takes traffic");

    for (pool, name, why) in [("web", "web2", "there already"), ("fixed", "f9", "static"), ("nope", "x", "no pool")] {
        let error = act(&engine, &server(pool, name), Change::AddServer(add.clone())).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    for extra in ["a;b", "x\ny", "<<"] {
        let bad = AddServer { extra: vec![extra.into()], ..add.clone() };
        assert!(act(&engine, &server("web", "bad"), Change::AddServer(bad)).await.is_err());
    }
    let unknown = AddServer { extra: vec!["nosuchword".into()], ..add.clone() };
    let error = act(&engine, &server("web", "bad"), Change::AddServer(unknown)).await.unwrap_err();
    assert!(error.contains("unknown keyword 'nosuchword'"), "{error}");

    // A server with a session cannot be removed: it is waited for, and the deadline says what is left.
    haproxy.cli("set server web/web1 state drain");
    let held = HeldRequest::open(haproxy.frontend("web"));
    let commands = admin.encode(&web2, &Change::RemoveServer, &now).unwrap();
    assert!(matches!(commands.get(1), Some(Command::AwaitRemovable(_))));
    let late = admin.send(&commands, Duration::from_millis(400)).await.unwrap_err();
    assert!(late.to_string().contains("1 connections") || late.to_string().contains("no answer within"), "{late}");
    assert_eq!(seen(&engine).await.server("web", "web2").unwrap().admin.word(), "maint");
    let (removed, ()) = tokio::join!(admin.send(&commands, SOON), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        two.release();
    });
    removed.unwrap();
    drop(held);
    assert!(seen(&engine).await.server("web", "web2").is_none());
}

#[tokio::test]
async fn frontends_and_static_algorithms() {
    let one = App::start("one");
    let haproxy = Haproxy::builder().pool(Pool::new("web").balance("static-rr").server("web1", one.addr, "weight 10")).start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    let web1 = server("web", "web1");
    for weight in [Weight::Absolute(5), Weight::Percent(50)] {
        assert!(act(&engine, &web1, Change::Weight(weight)).await.unwrap_err().contains("static"));
    }
    let before = seen(&engine).await;
    act(&engine, &web1, Change::Weight(Weight::Absolute(0))).await.unwrap();
    assert_eq!(seen(&engine).await.server("web", "web1").unwrap().weight, 0);
    let back = engine.admin().unwrap().inverse(&web1, &Change::Weight(Weight::Absolute(0)), &before);
    assert_eq!(back, [Change::Weight(Weight::Percent(100))], "the only way back for a static algorithm");
    act(&engine, &web1, back[0].clone()).await.unwrap();
    assert_eq!(seen(&engine).await.server("web", "web1").unwrap().weight, 10);

    let frontend = Target::Frontend("fe_web".into());
    let status = async || seen(&engine).await.frontends[0].status.to_string();
    assert_eq!(engine.admin().unwrap().inverse(&frontend, &Change::DisableFrontend, &before), [Change::EnableFrontend]);
    act(&engine, &frontend, Change::DisableFrontend).await.unwrap();
    assert_eq!(status().await, "STOP (paused)");
    act(&engine, &frontend, Change::DisableFrontend).await.unwrap();
    act(&engine, &frontend, Change::EnableFrontend).await.unwrap();
    assert_eq!(status().await, "OPEN");
    assert!(
        act(&engine, &Target::Frontend("nope".into()), Change::EnableFrontend).await.unwrap_err().contains("No such frontend")
    );
    assert!(act(&engine, &frontend, Change::Drain).await.is_err());
}

#[tokio::test]
async fn a_percentage_that_would_round_to_nothing_is_refused() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("web", 2)).start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    let why = act(&engine, &server("web", "web1"), Change::Weight(Weight::Percent(50))).await.unwrap_err();
    assert!(why.contains("rounds down to 0"), "{why}");
    assert!(act(&engine, &server("web", "web1"), Change::Weight(Weight::Absolute(257))).await.is_err());
    act(&engine, &server("web", "web1"), Change::Weight(Weight::Percent(0))).await.unwrap();
}

#[tokio::test]
async fn sockets_of_lower_levels_watch_and_say_why_they_cannot_act() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("web", 2)).start();
    haproxy.cli("set server web/web1 state drain");
    for (path, level) in [(haproxy.user_socket(), SocketLevel::User), (haproxy.operator_socket(), SocketLevel::Operator)] {
        let engine = engine_at(&path, |_| {});
        let obs = seen(&engine).await;
        assert_eq!(obs.engine.level, level);
        assert!(obs.notes.iter().any(|n| n.contains("only be watched")), "{:?}", obs.notes);
        let web1 = obs.server("web", "web1").unwrap();
        assert!(web1.admin_exact, "2.6 shows the servers state at every level");
        assert_eq!((web1.admin.word(), web1.address.as_deref()), ("drain", Some("127.0.0.1")));
        let why = act(&engine, &server("web", "web1"), Change::Ready).await.unwrap_err();
        assert!(why.contains("level") && why.contains("level admin"), "{why}");
        // Whoever planned on another socket still reads the reply.
        let sent = engine.admin().unwrap().send(&[Command::Socket("set server web/web1 state ready".into())], SOON).await;
        assert!(matches!(sent, Err(EngineError::NotAllowed { .. })), "{sent:?}");
    }
    assert!(haproxy.cli("show servers state web").contains(" 8 "));
    let user = engine_at(&haproxy.user_socket(), |_| {});
    let certificates = user.certificates().unwrap().certificates(SOON).await;
    assert!(matches!(certificates, Err(EngineError::NotAllowed { .. })), "{certificates:?}");
}

#[tokio::test]
async fn names_cannot_smuggle_commands() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("web", 1)).start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    let obs = seen(&engine).await;
    let admin = engine.admin().unwrap();
    for bad in ["web1;disable frontend fe_web", "web1\nshow info", "web1 state ready", "web1\\", "", "web\u{202e}1"] {
        for change in
            [Change::Drain, Change::KillSessions, Change::RemoveServer, Change::Checks { kind: CheckKind::Agent, on: true }]
        {
            assert!(admin.encode(&server("web", bad), &change, &obs).is_err(), "{bad:?} {change}");
        }
        assert!(admin.encode(&Target::Frontend(bad.into()), &Change::DisableFrontend, &obs).is_err());
        assert!(admin.encode(&Target::Table(bad.into()), &Change::ClearTable { key: None }, &obs).is_err());
        // A pool that has such a name is read with all others, never asked for by it.
        assert!(engine.observe(Want::Pool(bad), SOON).await.unwrap().pools.is_empty());
    }
    let address = Change::Address { address: "127.0.0.1 port 1;x".into(), port: None };
    assert!(admin.encode(&server("web", "web1"), &address, &obs).is_err());
}

#[tokio::test]
async fn certificates_and_old_workers() {
    let one = App::start("one");
    let pool = Pool::new("web").server("web1", one.addr, "");
    let mut haproxy = Haproxy::builder().pool(pool).master_worker().tls(&["a.example", "b.example"], (2031, 5, 6)).start();
    let engine = engine_at(&haproxy.socket(), |spec| spec.master_socket = Some(haproxy.master_socket()));
    let all = engine.certificates().unwrap().certificates(SOON).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].names, ["a.example", "b.example"]);
    assert!(all[0].subject.contains("a.example") && all[0].file.ends_with("site.pem"));
    assert_eq!(all[0].not_after.unwrap().to_string(), "2031-05-06T00:00:00Z");

    let old = |obs: &lbdeck::model::NodeObs| obs.workers.as_ref().unwrap().iter().filter(|w| w.old).count();
    assert_eq!(old(&seen(&engine).await), 0);
    let before = seen(&engine).await.engine.pid;
    let held = HeldRequest::open(haproxy.frontend("web"));
    haproxy.reload();
    let obs = seen(&engine).await;
    assert_eq!(old(&obs), 1, "the old worker still holds a connection");
    assert_ne!(obs.engine.pid, before);
    let workers = engine.workers().unwrap().workers(SOON).await.unwrap();
    assert!(workers.iter().any(|w| w.old && Some(w.pid) == before && w.kind == "worker"));
    drop(held);
    one.release();
    wait::until_async("the old worker to end", SOON, || async { (old(&seen(&engine).await) == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_server_that_is_down_in_drain_and_a_reload_that_loses_it() {
    let one = App::start("one");
    let pool = Pool::new("web").line("option httpchk GET /health").server("web1", one.addr, "check inter 30ms fall 1 rise 1");
    let mut haproxy = Haproxy::builder().pool(pool).master_worker().start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    one.set_healthy(false);
    wait::until("the check to fail", SOON, || (haproxy.stat("web", "web1", "status") == "DOWN").then_some(()));
    act(&engine, &server("web", "web1"), Change::Drain).await.unwrap();
    let down = engine.observe(Want::Pool("web"), SOON).await.unwrap();
    let web1 = down.server("web", "web1").unwrap();
    assert_eq!((web1.status.word, web1.admin.word()), (StatusWord::Down, "drain"));
    assert_eq!(web1.summary(), "DRAIN (DOWN)");
    assert_eq!(web1.check.as_ref().unwrap().code, Some(503));

    // The same number may mean another proxy after a reload with another file: the pool is found all the same.
    haproxy.edit_config(|text| text.replace("\nfrontend fe_web", "\nbackend first\n    server x 127.0.0.1:9\nfrontend fe_web"));
    haproxy.reload();
    let after = engine.observe(Want::Pool("web"), SOON).await.unwrap();
    let web1 = after.server("web", "web1").unwrap();
    assert_eq!(web1.admin.word(), "ready", "the drain is lost, and seen to be");
    assert_ne!(after.engine.pid, down.engine.pid);
    assert_eq!(after.pools.len(), 1);
    assert!(haproxy.log().contains("worker"));
    assert!(haproxy.pid() > 0 && haproxy.dir().exists());
}

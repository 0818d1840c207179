//! What is sent to which version, without an engine.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::observe::{Known, Picture};
use super::parse::info::release;
use super::parse::stats_csv::StatTable;
use super::*;
use crate::model::{EngineInfo, SocketLevel, Weight};

/// Two pools as the statistics of `version` would show them.
pub(super) fn seen(version: &str, level: SocketLevel) -> NodeObs {
    let rows = "# pxname,svname,status,weight,type,slim,algo,\n\
                web,w1,UP,10,2,50,,\nweb,BACKEND,UP,10,1,,roundrobin,\n\
                hash,h1,UP,1,2,,,\nhash,BACKEND,UP,1,1,,uri,\n";
    let table = StatTable::parse(rows.into()).unwrap();
    let picture = Picture::of(&table, None, &Known::default());
    NodeObs {
        node: "lb1".into(),
        at: Timestamp::UNIX_EPOCH,
        seen: Instant::now(),
        took: Duration::ZERO,
        source: "test".into(),
        engine: EngineInfo {
            kind: EngineKind::Haproxy,
            version: version.into(),
            release: release(version),
            level,
            pid: None,
            uptime: None,
            info: Default::default(),
        },
        frontends: picture.frontends,
        pools: picture.pools,
        workers: None,
        certificates: None,
        events: Vec::new(),
        notes: Vec::new(),
        fields: None,
    }
}

fn lines(pool: &str, server: &str, change: Change, version: &str) -> Result<Vec<String>, String> {
    let target = Target::Server(ServerRef::new(pool, server));
    let commands = command::encode(&target, &change, &seen(version, SocketLevel::Admin))?;
    Ok(commands.iter().map(ToString::to_string).collect())
}

fn addition() -> Change {
    Change::AddServer(AddServer { address: "2001:db8::7".into(), port: 443, check: true, backup: true, ..AddServer::default() })
}

#[test]
fn servers_at_run_time_by_version() {
    let add = "add server web/new [2001:db8::7]:443 check backup";
    let (health, enable) = ("enable health web/new", "enable server web/new");
    assert_eq!(lines("web", "new", addition(), "2.6.12").unwrap(), [add, health, enable]);
    assert_eq!(lines("web", "new", addition(), "2.4.0").unwrap(), ["experimental-mode on", add, health, enable]);
    assert_eq!(lines("web", "new", addition(), "unknown").unwrap(), [add, health, enable]);
    assert!(lines("web", "new", addition(), "2.2.9").unwrap_err().contains("cannot add"));
    assert_eq!(lines("hash", "new", addition(), "3.0.1").unwrap().len(), 3, "a hash may be consistent: the engine decides");

    let remove = |version: &str| lines("web", "w1", Change::RemoveServer, version);
    let (maint, del) = ("set server web/w1 state maint", "del server web/w1");
    assert_eq!(remove("3.1-dev2").unwrap(), [maint, "wait 5s srv-removable web/w1", del]);
    assert_eq!(remove("2.8.5").unwrap(), [maint, "(wait until web/w1 is removable)", del]);
    assert_eq!(remove("2.4.5").unwrap(), ["experimental-mode on", maint, "(wait until web/w1 is removable)", del]);
    assert!(remove("1.8").is_err());
}

#[test]
fn every_other_change_is_one_line() {
    for (change, line) in [
        (Change::Weight(Weight::Absolute(256)), "set server web/w1 weight 256"),
        (Change::Weight(Weight::Percent(30)), "set server web/w1 weight 30%"),
        (Change::Address { address: "::1".into(), port: None }, "set server web/w1 addr ::1"),
        (Change::Address { address: "10.0.0.1".into(), port: Some(8) }, "set server web/w1 addr 10.0.0.1 port 8"),
        (Change::MaxConn(0), "set maxconn server web/w1 0"),
        (Change::KillSessions, "shutdown sessions server web/w1"),
        (Change::KillSession { id: "0x7f47f403a2b0".into() }, "shutdown session 0x7f47f403a2b0"),
    ] {
        assert_eq!(lines("web", "w1", change, "2.6").unwrap(), [line]);
    }
    for change in [
        Change::Address { address: "app.example".into(), port: None },
        Change::Address { address: "10.0.0.1".into(), port: Some(0) },
        Change::KillSession { id: "0x".into() },
        Change::EnableFrontend,
        Change::ClearTable { key: None },
    ] {
        assert!(lines("web", "w1", change.clone(), "2.6").is_err(), "{change}");
    }
}

#[test]
fn the_level_is_asked_first_and_what_was_is_brought_back() {
    let target = Target::Server(ServerRef::new("web", "w1"));
    for level in [SocketLevel::User, SocketLevel::Operator, SocketLevel::StatsReadOnly] {
        assert!(command::encode(&target, &Change::Drain, &seen("2.6", level)).is_err());
    }
    let obs = seen("2.6", SocketLevel::Unknown);
    assert!(command::encode(&target, &Change::Drain, &obs).is_ok(), "who does not know tries, and reads the reply");
    let back = |change: Change| inverse::inverse(&target, &change, &obs);
    assert_eq!(back(Change::Drain), [Change::Ready]);
    assert_eq!(back(Change::MaxConn(1)), [Change::MaxConn(50)]);
    assert_eq!(back(Change::Weight(Weight::Absolute(0))), [Change::Weight(Weight::Absolute(10))]);
    assert_eq!(back(addition()), [Change::RemoveServer]);
    assert_eq!(back(Change::KillSessions), [], "nothing brings these back");
    let gone = Target::Server(ServerRef::new("web", "w9"));
    assert_eq!(inverse::inverse(&gone, &Change::Drain, &obs), []);
}

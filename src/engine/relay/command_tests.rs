//! What is sent for which change, without an agent.

use std::time::Instant;

use super::*;
use crate::model::{CheckKind, Weight};

fn seen() -> NodeObs {
    let text = r#"{"at":"2026-11-23T18:00:00Z","agent":"0.1.0","pid":7,"uptime_ms":5,"phase":"serving",
        "listeners":[{"name":"front","mode":"http"}],
        "pools":[{"name":"web app","mode":"http","servers":[
          {"name":"w/1","address":"10.0.0.1","port":80,"health":"up","weight":50,"user_weight":50,"configured_weight":100},
          {"name":"light","address":"10.0.0.2","port":80,"health":"up","weight":1,"user_weight":1,"configured_weight":1}]}]}"#;
    let reading = observe::Reading { node: "lb1".into(), began: Instant::now(), source: "test".into() };
    observe::observation(serde_json::from_str(text).unwrap(), None, reading)
}

fn server(name: &str) -> Target {
    Target::Server(ServerRef::new("web app", name))
}

fn lines(target: &Target, change: &Change) -> Result<Vec<String>, String> {
    command::encode(target, change, &seen()).map(|commands| commands.iter().map(ToString::to_string).collect())
}

#[test]
fn plans_show_the_exact_requests() {
    let at = "/v1/servers/web%20app/w%2F1";
    let add = AddServer { address: "::1".into(), port: 81, check: true, ..AddServer::default() };
    for (change, expected) in [
        (Change::Drain, vec![format!(r#"PATCH {at} {{"admin":"drain"}}"#)]),
        (Change::Weight(Weight::Percent(25)), vec![format!(r#"PATCH {at} {{"weight":25}}"#)]),
        (Change::Weight(Weight::Percent(900)), vec![format!(r#"PATCH {at} {{"weight":256}}"#)]),
        (
            Change::Address { address: "10.0.0.9".into(), port: Some(99) },
            vec![format!(r#"PATCH {at} {{"address":"10.0.0.9","port":99}}"#)],
        ),
        (Change::MaxConn(5), vec![format!(r#"PATCH {at} {{"maxconn":5}}"#)]),
        (Change::Checks { kind: CheckKind::Health, on: false }, vec![format!(r#"PATCH {at} {{"checks_on":false}}"#)]),
        (Change::KillSessions, vec![format!("DELETE {at}/sessions")]),
        (Change::KillSession { id: "1-2?".into() }, vec!["DELETE /v1/sessions/1-2%3F".to_owned()]),
        (
            Change::RemoveServer,
            vec![
                format!(r#"PATCH {at} {{"admin":"maint"}}"#),
                "(wait until web app/w/1 is removable)".to_owned(),
                format!("DELETE {at}"),
            ],
        ),
    ] {
        assert_eq!(lines(&server("w/1"), &change).unwrap(), expected);
    }
    let new = lines(&server("new"), &Change::AddServer(add)).unwrap();
    assert_eq!(new, [r#"POST /v1/servers/web%20app/new {"address":"::1","port":81,"check":true,"backup":false}"#]);
    let listener = lines(&Target::Frontend("front".into()), &Change::DisableFrontend).unwrap();
    assert_eq!(listener, [r#"PATCH /v1/listeners/front {"enabled":false}"#]);
}

#[test]
fn what_cannot_be_is_refused_in_the_plan() {
    let add = |address: &str, port, extra: &[&str]| {
        let extra = extra.iter().map(|w| (*w).to_owned()).collect();
        Change::AddServer(AddServer { address: address.into(), port, extra, ..AddServer::default() })
    };
    for (target, change, words) in [
        (server("w/1"), Change::Weight(Weight::Absolute(257)), "above 256"),
        (server("light"), Change::Weight(Weight::Percent(50)), "rounds down to 0"),
        (server("w/1"), Change::Address { address: "web.example".into(), port: None }, "no IP address"),
        (server("w/1"), add("10.0.0.9", 80, &[]), "there already"),
        (server("new"), add("10.0.0.9", 0, &[]), "port 0"),
        (server("new"), add("10.0.0.9", 80, &["ssl"]), "no further words"),
        (server("w/1"), Change::Checks { kind: CheckKind::Agent, on: true }, "no agent checks"),
        (Target::Table("t".into()), Change::ClearTable { key: None }, "no stick tables"),
        (Target::Frontend("front".into()), Change::Drain, "cannot be changed"),
    ] {
        let refused = lines(&target, &change).unwrap_err();
        assert!(refused.contains(words), "{change}: {refused}");
    }
}

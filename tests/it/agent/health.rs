//! What a process knows of servers' health is not lost with it.

use nix::sys::signal::Signal;

use crate::support::agent::Agent;
use crate::support::app::{App, get};
use crate::support::wait;

use super::leases::LONG;
use super::relay::{front, server};

const REQUESTS: usize = 40;

/// Checks are so far apart that a process which knew nothing would send clients to a server that is down.
fn config(apps: &[App; 2]) -> String {
    format!(
        "listeners: [{{name: front, bind: '127.0.0.1:0', pool: web}}]
pools:
  - name: web
    check: {{path: /health, inter: 3s, fastinter: 100ms, downinter: 300ms, fall: 1, rise: 2}}
    servers: [{{name: web1, address: '{}'}}, {{name: web2, address: '{}'}}]
",
        apps[0].addr, apps[1].addr
    )
}

fn is(agent: &Agent, name: &str, health: &str) {
    wait::until(&format!("{name} to be {health}"), LONG, || (server(agent, name)["health"] == health).then_some(()));
}

/// The server that is down gets nothing from the first moment on; what it answered before.
fn nothing_reaches(agent: &Agent, app: &App, before: usize) {
    let at = front(agent);
    for _ in 0..REQUESTS {
        assert!(get(at, "/").starts_with("HTTP/1.1 200"));
    }
    assert_eq!(app.served(), before, "requests to a server that is known as down\n{}", agent.log());
    assert_eq!(server(agent, &app.name)["health"], "down");
}

#[test]
fn a_server_known_as_down_gets_nothing_after_upgrade_restart_and_sigkill() {
    let apps = ["web1", "web2"].map(App::start);
    let mut agent = Agent::with_config(&config(&apps));
    for app in &apps {
        is(&agent, &app.name, "up");
    }
    apps[0].set_healthy(false);
    is(&agent, "web1", "down");
    let before = apps[0].served();
    nothing_reaches(&agent, &apps[0], before);

    agent.upgrade();
    nothing_reaches(&agent, &apps[0], before);
    let shown = server(&agent, "web1");
    assert!(shown["check"]["status"].as_str().is_some_and(|s| s.starts_with("L7")), "why it is down: {shown}");
    agent.stop();
    agent.restart();
    nothing_reaches(&agent, &apps[0], before);
    // Within a second of a change it survives SIGKILL.
    let file = agent.state_dir().join("health.json");
    wait::until("the file", LONG, || std::fs::read_to_string(&file).unwrap().contains("\"up\":false").then_some(()));
    agent.crash();
    nothing_reaches(&agent, &apps[0], before);

    // It is no prison: checks go on at once, and as many good ones as ever bring it back.
    apps[0].set_healthy(true);
    is(&agent, "web1", "up");
    agent.upgrade();
    assert_eq!(server(&agent, "web1")["health"], "up", "known, not only believed");
}

#[test]
fn knowledge_that_is_not_true_any_more_costs_one_check() {
    let apps = ["web1", "web2"].map(App::start);
    let mut agent = Agent::with_config(&config(&apps).replace("downinter: 300ms", "downinter: 1h"));
    apps[0].set_healthy(false);
    is(&agent, "web1", "down");
    agent.stop();
    apps[0].set_healthy(true);
    // As if it had been off for half an hour: the first check alone decides, and it is made at once.
    let file = agent.state_dir().join("health.json");
    let mut known: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let at: jiff::Timestamp = known["at"].as_str().unwrap().parse().unwrap();
    known["at"] = (at - jiff::SignedDuration::from_mins(30)).to_string().into();
    std::fs::write(&file, known.to_string()).unwrap();
    agent.restart();
    is(&agent, "web1", "up");
    // What is no knowledge at all is said and done without.
    agent.signal(Signal::SIGKILL);
    let pid = agent.pid();
    agent.gone(pid);
    std::fs::write(&file, "{\"servers\":").unwrap();
    agent.restart();
    assert!(agent.log().contains("servers are found out anew"), "{}", agent.log());
    is(&agent, "web1", "up");
}

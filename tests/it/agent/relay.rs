//! The agent with its relay under traffic, driven by the console over a real sshd as an operator would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::app::{App, HeldRequest, get};
use crate::support::fleet::Fleet;
use crate::support::sshd::Sshd;
use crate::support::wait;

use super::leases::LONG;

fn apps() -> Vec<App> {
    ["web1", "web2", "web3"].iter().map(|name| App::start(name)).collect()
}

fn config(apps: &[App]) -> String {
    let mut text =
        "listeners:\n  - name: front\n    bind: 127.0.0.1:0\n    pool: web\npools:\n  - name: web\n    servers:\n".to_owned();
    for app in apps {
        text.push_str(&format!("      - {{name: {}, address: \"{}\", weight: 10}}\n", app.name, app.addr));
    }
    text
}

pub(super) fn front(agent: &Agent) -> SocketAddr {
    agent.get("/v1/snapshot")["listeners"][0]["addresses"][0].as_str().unwrap().parse().unwrap()
}

pub(super) fn server(agent: &Agent, name: &str) -> serde_json::Value {
    let pools = agent.get("/v1/snapshot?pool=web");
    let servers = pools["pools"][0]["servers"].as_array().unwrap().clone();
    servers.into_iter().find(|s| s["name"] == name).unwrap_or_default()
}

/// Which servers answer a number of requests.
fn answers(at: SocketAddr, n: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..n).filter_map(|_| get(at, "/").lines().last().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_console_drives_it_over_ssh_and_what_it_set_survives_sigkill() {
    let apps = apps();
    let mut agent = Agent::with_config(&config(&apps));
    assert_eq!(answers(front(&agent), 12), ["web1", "web2", "web3"]);
    let sshd = Sshd::start();
    let fleet = Fleet::new().ssh_agent("lb1", &sshd, &agent);

    // Each data thread takes turns by itself: of so many requests every server gets some, whichever threads they came to.
    let held: Vec<HeldRequest> = (0..12).map(|_| HeldRequest::open(front(&agent))).collect();
    let drain = fleet.spawn(&["server", "drain", "web/web1", "--deadline", "60s", "--yes", "--reason", "kernel"]);
    wait::until("the drain", LONG, || (server(&agent, "web1")["admin"] == "drain").then_some(()));
    assert!(server(&agent, "web1")["in_use"].as_u64() >= Some(1), "the requests that are held: {}", server(&agent, "web1"));
    apps[0].release();
    drain.finish().exits(0).says("drain");
    assert_eq!(answers(front(&agent), 12), ["web2", "web3"]);
    fleet.run(&["server", "weight", "web/web2", "7", "--yes", "--reason", "test"]).exits(0);
    let dry = fleet.run(&["server", "maint", "web/web2", "--dry-run"]).exits(0);
    assert!(dry.said().contains(r#"PATCH /v1/servers/web/web2 {"admin":"maint"}"#), "{}", dry.said());
    fleet.run(&["server", "list"]).exits(0).says("web1");
    fleet.run(&["node", "show", "lb1"]).exits(0).says("memory").says("relay");
    fleet.run(&["fleet", "check"]).exits(0).says("nothing to mend").says("agent, version");

    agent.crash();
    let (web1, web2) = (server(&agent, "web1"), server(&agent, "web2"));
    assert_eq!((&web1["admin"], &web2["user_weight"], &web2["configured_weight"]), (&"drain".into(), &7.into(), &10.into()));
    assert_eq!(answers(front(&agent), 12), ["web2", "web3"]);
    fleet.run(&["server", "ready", "web/web1", "--yes", "--reason", "done"]).exits(0);
    assert_eq!(answers(front(&agent), 12), ["web1", "web2", "web3"]);
    drop(held);
}

#[test]
fn a_lease_on_the_relay_comes_back_without_a_console_even_after_a_reboot() {
    let apps = apps();
    let mut agent = Agent::with_config(&config(&apps));
    let fleet = Fleet::new().local_agent("lb1", &agent);
    fleet.run(&["server", "drain", "web/web1", "--for", "2s", "--yes", "--reason", "kernel"]).exits(0);
    fleet.run(&["server", "drain", "web/web2", "--for", "5s", "--yes", "--reason", "kernel"]).exits(0);
    wait::until("web1 to come back", LONG, || (server(&agent, "web1")["admin"] == "ready").then_some(()));

    // Power cut and boot: the lock folder is empty, the boot is another, the state is on disk.
    agent.signal(nix::sys::signal::Signal::SIGKILL);
    let pid = agent.pid();
    agent.gone(pid);
    std::fs::remove_dir_all(agent.lock_dir()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (state, said) = lbdeck::agent::state::State::open(&agent.state_dir()).unwrap();
        assert!(said.is_empty(), "{said:?}");
        let change = state.change().await.unwrap();
        let mut kept = change.before.clone();
        assert!(kept.leases.values().any(|l| l.contains("web2")), "the lease is written down with the change: {kept:?}");
        kept.boot = "another".into();
        change.write(kept).await.unwrap();
    });
    agent.restart();
    let web2 = server(&agent, "web2");
    assert!(web2["admin"] == "drain" || !agent.get("/v1/leases").as_array().unwrap().is_empty(), "{web2}");
    wait::until("web2 to come back", LONG, || (server(&agent, "web2")["admin"] == "ready").then_some(()));
    wait::until("no lease to be left", LONG, || agent.get("/v1/leases").as_array().unwrap().is_empty().then_some(()));
}

#[test]
fn configurations_are_taken_as_a_whole_and_leave_operators_states_alone() {
    let apps = apps();
    let mut agent = Agent::with_config(&config(&apps[..2]));
    agent.json("PATCH", "/v1/servers/web/web1", r#"{"admin":"drain"}"#);
    let put = |agent: &Agent, text: &str| agent.ask("PUT", "/v1/config", &serde_json::json!({ "text": text }).to_string());
    let generation = agent.get("/hello")["generation"].as_u64().unwrap();
    let (status, said) = put(&agent, &config(&apps).replace("weight: 10", "wieght: 10"));
    assert!(status == 422 && said.contains("wieght") && said.contains("agent.yaml:8:"), "{status} {said}");
    assert_eq!(agent.get("/hello")["generation"], generation);
    let (status, said) = put(&agent, &config(&apps));
    assert!(status == 200 && said.contains("server web/web3: added"), "{status} {said}");
    assert_eq!(answers(front(&agent), 12), ["web2", "web3"]);
    // It came by the API: it holds on although the file is another, until that changes.
    agent.crash();
    assert_eq!(answers(front(&agent), 12), ["web2", "web3"]);
    assert_eq!(agent.get("/v1/config")["file_differs"], true);
    std::fs::write(agent.config_file(), "listeners: nonsense\n").unwrap();
    agent.crash();
    assert_eq!(answers(front(&agent), 12), ["web2", "web3"]);
    let notes = agent.get("/v1/status")["notes"].to_string();
    assert!(notes.contains("was not taken over"), "{notes}");
    // The file as it was when the API's came is no change; another one is.
    std::fs::write(agent.config_file(), config(&apps[..2]) + "# two again\n").unwrap();
    agent.crash();
    assert_eq!(answers(front(&agent), 12), ["web2"]);
    let stale = serde_json::json!({ "text": config(&apps), "on_top_of": 1 }).to_string();
    assert_eq!(agent.ask("PUT", "/v1/config", &stale).0, 409);
}

/// Requests on kept connections until told to stop; how many were answered and how many failed.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    bad: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn on(at: SocketAddr, clients: usize) -> Load {
        let (stop, good, bad) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (stop, good, bad) = (stop.clone(), good.clone(), bad.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    if connection(at, &stop, &good).is_none() {
                        bad.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Load { stop, good, bad, clients }
    }
    fn good(&self) -> usize {
        self.good.load(Ordering::SeqCst)
    }
    /// How many failed.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().unwrap();
        }
        self.bad.load(Ordering::SeqCst)
    }
}

/// Some requests on one connection; None where one was not answered in full.
fn connection(at: SocketAddr, stop: &AtomicBool, good: &AtomicUsize) -> Option<()> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    for _ in 0..20 {
        if stop.load(Ordering::SeqCst) {
            return Some(());
        }
        stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").ok()?;
        let (mut length, mut close, mut line) = (0, false, String::new());
        reader.read_line(&mut line).ok().filter(|_| line.starts_with("HTTP/1.1 200"))?;
        loop {
            line.clear();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            length = lower.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
            close |= lower == "connection: close";
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        good.fetch_add(1, Ordering::SeqCst);
        if close {
            return Some(());
        }
    }
    Some(())
}

#[test]
fn upgrades_under_load_fail_no_request() {
    let apps = apps();
    let mut agent = Agent::with_config(&config(&apps));
    agent.json("PATCH", "/v1/servers/web/web3", r#"{"admin":"drain"}"#);
    let at = front(&agent);
    let load = Load::on(at, 4);
    for _ in 0..3 {
        let (before, pid) = (load.good(), agent.pid());
        agent.upgrade();
        assert_eq!(front(&agent), at, "the same socket");
        wait::until("requests after the upgrade", LONG, || (load.good() > before + 50).then_some(()));
        agent.gone(pid);
    }
    let good = load.good();
    let bad = load.end();
    assert_eq!(bad, 0, "of {good} requests\n{}", agent.log());
    assert_eq!(server(&agent, "web3")["admin"], "drain");
}

#[test]
fn a_request_that_is_under_way_ends_in_the_old_process() {
    let apps = apps();
    let mut agent = Agent::with_config(&config(&apps));
    let mut held = HeldRequest::open(front(&agent));
    let old = agent.pid();
    agent.upgrade();
    assert_eq!(answers(front(&agent), 6).len(), 3, "the new process serves");
    assert!(!held.is_over(), "the old one still streams");
    for app in &apps {
        app.release();
    }
    agent.gone(old);
}

/// What was cached is forgotten by the way of every change.
#[test]
fn cached_responses_are_purged_by_the_console() {
    let app = App::start("web1");
    let text = format!(
        "listeners: [{{name: front, bind: '127.0.0.1:0', routes: [{{name: all, pool: web, cache: true}}]}}]
pools: [{{name: web, servers: [{{name: web1, address: '{}'}}]}}]
",
        app.addr
    );
    let agent = Agent::with_config(&text);
    let fleet = Fleet::new().local_agent("lb1", &agent);
    let at = front(&agent);
    let served = |path: &str| {
        let before = app.served();
        assert!(get(at, path).starts_with("HTTP/1.1 200"));
        app.served() - before
    };
    let paths = ["/cached/a", "/cached/b", "/other/cached"];
    assert_eq!(paths.map(served), [1, 1, 1]);
    assert_eq!(paths.map(served), [0, 0, 0], "{}", agent.get("/v1/snapshot"));
    let dry = fleet.run(&["cache", "purge", "/cached", "--dry-run"]).exits(0);
    assert!(dry.said().contains(r#"POST /v1/cache/purge {"path":"/cached"}"#), "{}", dry.said());
    fleet.run(&["cache", "purge", "/cached", "--host", "other.org", "--yes", "--reason", "test"]).exits(0);
    assert_eq!(paths.map(served), [0, 0, 0]);
    // Without a terminal and without --yes nothing is done.
    fleet.run(&["cache", "purge", "/cached", "--reason", "test"]).exits(5);
    assert_eq!(paths.map(served), [0, 0, 0]);
    fleet.run(&["cache", "purge", "/cached", "--host", "test", "--yes", "--reason", "wrong release"]).exits(0);
    assert_eq!(paths.map(served), [1, 1, 0]);
    // Everything of all hosts wants the word typed.
    fleet.run(&["cache", "purge", "/", "--yes", "--reason", "test"]).exits(5);
    fleet.run(&["cache", "purge", "/", "--confirm", "*/", "--reason", "test"]).exits(0);
    assert_eq!(paths.map(served), [1, 1, 1]);
    fleet.run(&["cache", "purge", "cached", "--yes"]).exits(2).says("does not begin with /");
    fleet.run(&["audit"]).exits(0).says("wrong release");
    let events = agent.get("/v1/events").to_string();
    assert!(events.contains("2 cached responses forgotten"), "{events}");
}

#[test]
fn two_consoles_see_each_other() {
    let apps = apps();
    let agent = Agent::with_config(&config(&apps));
    let fleet = Fleet::new().local_agent("lb1", &agent);
    let other = agent.dir().join("bob");
    let alice = fleet.spawn(&["server", "weight", "web/web1", "5", "--yes", "--reason", "alice"]);
    let bob = fleet.command_as(&other, &["server", "weight", "web/web2", "6", "--yes", "--reason", "bob"]).output().unwrap();
    let alice = alice.finish();
    // Whoever comes second while the first holds the pool's lock is told so (75) and changes nothing.
    for (code, name, weight) in [(alice.code, "web1", 5), (bob.status.code(), "web2", 6)] {
        let has = server(&agent, name)["user_weight"].as_u64();
        match code {
            Some(0) => assert_eq!(has, Some(weight)),
            Some(75) => assert_eq!(has, Some(10)),
            other => panic!("{name}: {other:?} {}", String::from_utf8_lossy(&bob.stderr)),
        }
    }
    fleet.run(&["server", "drain", "web/web3", "--for", "1h", "--yes", "--reason", "alice"]).exits(0);
    let seen = fleet.command_as(&other, &["lease", "list", "-o", "json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout).contains("web3"), "{seen:?}");
}

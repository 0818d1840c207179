//! From process to process: the control socket never refuses, a new process that cannot serve changes nothing.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::support::agent::Agent;
use crate::support::wait;

use super::leases::LONG;

#[test]
fn upgrades_are_not_noticed_on_the_control_socket() {
    let mut agent = Agent::idle();
    let (stop, refused, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (socket, s, r, a) = (agent.socket(), stop.clone(), refused.clone(), asked.clone());
    let client = std::thread::spawn(move || {
        while !s.load(Ordering::SeqCst) {
            a.fetch_add(1, Ordering::SeqCst);
            if UnixStream::connect(&socket).is_err() {
                r.fetch_add(1, Ordering::SeqCst);
            }
            std::thread::yield_now();
        }
    });
    let first = agent.pid();
    for _ in 0..3 {
        let before = agent.pid();
        let now = agent.upgrade();
        assert_ne!(before, now);
        agent.gone(before);
        assert_eq!(agent.get("/hello")["pid"].as_u64(), Some(now.into()));
    }
    // SIGHUP does the same.
    let before = agent.pid();
    agent.signal(Signal::SIGHUP);
    let now = wait::until("a new process", LONG, || {
        let pid = agent.get("/hello")["pid"].as_u64().unwrap();
        (pid != u64::from(before)).then_some(pid)
    });
    agent.adopt(&serde_json::json!({ "new_pid": now }));
    agent.gone(before);
    assert_ne!(first, agent.pid());
    stop.store(true, Ordering::SeqCst);
    client.join().unwrap();
    assert!(asked.load(Ordering::SeqCst) > 0);
    assert_eq!(refused.load(Ordering::SeqCst), 0, "of {}", asked.load(Ordering::SeqCst));
}

#[test]
fn a_binary_that_cannot_serve_changes_nothing() {
    let agent = Agent::idle();
    for (binary, words) in [("/bin/false", "did not get ready"), ("/nonexistent/lbdeck", "starting /nonexistent/lbdeck")] {
        let (status, text) = agent.ask("POST", "/v1/upgrade", &format!("{{\"binary\":\"{binary}\"}}"));
        assert!(status == 502 && text.contains(words), "{status} {text}");
        assert_eq!(agent.get("/hello")["pid"].as_u64(), Some(agent.pid().into()));
    }
    // One that hangs is ended when its time is over.
    let body = r#"{"binary":"/bin/cat","ready_within_s":1}"#;
    let (status, text) = agent.ask("POST", "/v1/upgrade", body);
    assert!(status == 502 && text.contains("did not get ready"), "{status} {text}");
    assert_eq!(agent.get("/v1/status")["ready"], true);
}

//! The control API as curl would see it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::agent::Agent;

#[test]
fn only_the_owner_may_come_in_and_everything_has_an_answer() {
    let mut agent = Agent::idle();
    let mode = std::fs::metadata(agent.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let hello = agent.get("/hello");
    assert_eq!((hello["api"]["oldest"].as_u64(), hello["pid"].as_u64()), (Some(1), Some(agent.pid().into())));
    assert_eq!((&hello["phase"], &hello["supervisor"]), (&"idle".into(), &"nobody".into()));
    assert_eq!(agent.get("/v1/status")["version"], env!("CARGO_PKG_VERSION"));
    assert!(agent.get("/v1/snapshot")["pools"].as_array().unwrap().is_empty());

    let node = agent.get("/v1/node");
    assert!(node["memory"]["total"].as_u64().unwrap() > 1 << 20 && node["cores"].as_u64().unwrap() > 0, "{node}");

    for (method, path, body, status, words) in [
        ("GET", "/v9/snapshot", "", 501, "speaks v1, not v9"),
        ("GET", "/v1/nonsense", "", 404, "there is no /v1/nonsense"),
        ("DELETE", "/v1/snapshot", "", 405, "does not take"),
        ("PATCH", "/v1/servers/a/b", "{", 400, "error"),
        ("PATCH", "/v1/servers/a/b", r#"{"wieght":3}"#, 422, "wieght"),
        ("PATCH", "/v1/servers/a/b", r#"{"weight":300}"#, 400, "above 256"),
        ("PATCH", "/v1/servers/a/b", "{}", 400, "nothing is asked for"),
        ("PATCH", "/v1/servers/a/b", r#"{"admin":"drain"}"#, 409, "no configuration is active"),
        ("POST", "/v1/servers/a/b", r#"{"address":"x","port":1}"#, 400, "no IP address"),
        ("POST", "/v1/leases/deadbeef/return", "", 404, "no open lease"),
        ("POST", "/v1/upgrade", r#"{"binary":"relative"}"#, 400, "no absolute path"),
        ("GET", "/v1/sessions?pool=a", "", 400, "both pool and server"),
        ("GET", "/v1/sessions?limit=-1", "", 400, "error"),
    ] {
        let (got, text) = agent.ask(method, path, body);
        assert!(got == status && text.contains(words), "{method} {path} {body}: {got} {text}");
        let failure: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(failure["error"].is_string(), "{text}");
    }
    assert!(agent.stop().unwrap().success(), "{}", agent.log());
    assert!(!agent.socket().exists());
}

#[test]
fn nonsense_and_silence_harm_nobody() {
    let agent = Agent::idle();
    for bytes in [&b"\0\xff\xfe"[..], b"GET", b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01\x02\x00", &vec![b'a'; 1 << 20]] {
        let mut stream = UnixStream::connect(agent.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink);
    }
    let silent: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(agent.socket()).unwrap()).collect();
    agent.get("/hello");
    drop(silent);
}

#[test]
fn two_agents_on_one_socket_are_refused() {
    let agent = Agent::idle();
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_lbdeck"))
        .args(["agent", "run", "--config", "/nonexistent", "--state"])
        .arg(agent.dir().join("other"))
        .arg("--socket")
        .arg(agent.socket())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("another agent answers here"), "{said}");
    agent.get("/hello");
}

#[test]
fn a_stream_has_snapshots_at_the_rate_asked_for_and_events_at_once() {
    let agent = Agent::idle();
    let mut stream = UnixStream::connect(agent.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /v1/stream?interval_ms=50&after=0 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap).filter(|l| l.starts_with('{'));
    let mut snapshots = 0;
    let mut started = false;
    while snapshots < 5 || !started {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        snapshots += u32::from(line["snapshot"].is_object());
        started |= line["event"]["kind"] == "started";
    }
    agent.signal(Signal::SIGTERM);
    let bye = lines.any(|line| line.starts_with("{\"bye\""));
    assert!(bye, "the stream says why it ends");
}

#[test]
fn a_damaged_state_file_is_set_aside_and_said() {
    let mut agent = Agent::idle();
    agent.signal(Signal::SIGKILL);
    let pid = agent.pid();
    agent.gone(pid);
    let path = agent.state_dir().join("state.json");
    std::fs::write(&path, b"\0\0\0\0\0\0").unwrap();
    agent.restart();
    let events = agent.get("/v1/events");
    let told = events.as_array().unwrap().iter().any(|e| e["text"].as_str().unwrap().contains("set aside as"));
    assert!(told, "{events}");
    let aside = std::fs::read_dir(agent.state_dir()).unwrap();
    assert!(aside.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("broken")).count() == 1);
}

#[test]
fn it_comes_back_after_sigkill_on_the_same_socket() {
    let mut agent = Agent::idle();
    let before = agent.pid();
    agent.crash();
    assert_ne!(before, agent.pid());
    assert_eq!(agent.get("/hello")["pid"].as_u64(), Some(agent.pid().into()));
}

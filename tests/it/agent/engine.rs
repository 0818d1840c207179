//! The console's engine against an agent that is another version, broken, or not an agent at all.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lbdeck::config::{RelaySpec, Settings};
use lbdeck::engine::relay::Relay;
use lbdeck::engine::{Engine, EngineError, Want};
use lbdeck::model::{EngineKind, NodeObs};
use lbdeck::transport::{LocalTransport, TransportError};

use crate::support::agent::Agent;
use crate::support::fake_socket::{Answer, FakeSocket};

const DEADLINE: Duration = Duration::from_millis(1500);

fn relay(socket: &Path) -> Relay {
    let settings = Settings { max_reply: 1 << 20, ..Settings::default() };
    Relay::new("lb1".into(), &RelaySpec { socket: socket.into(), tcp: None }, Some(Arc::new(LocalTransport)), &settings).unwrap()
}

async fn look(socket: &Path) -> Result<NodeObs, EngineError> {
    relay(socket).observe(Want::All, DEADLINE).await
}

fn answer(body: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

fn hello(oldest: u32, newest: u32) -> String {
    format!(
        r#"{{"api":{{"oldest":{oldest},"newest":{newest}}},"agent":"9.9.9\u001b[2J","pid":1,"host":"h","now":"2026-01-01T00:00:00Z","started":"2026-01-01T00:00:00Z"}}"#
    )
}

const SNAPSHOT: &str = r#"{"at":"2026-01-01T00:00:00Z","agent":"9.9.9","pid":1,"uptime_ms":1,"phase":"serving","future":{"x":[1]},
    "pools":[{"name":"web","mode":"http","servers":[{"name":"\u001b]0;pwned\u0007w1","health":"up"}]}]}"#;

#[tokio::test]
async fn a_real_agent_is_read() {
    let agent = Agent::idle();
    let obs = look(&agent.socket()).await.unwrap();
    assert_eq!((obs.engine.kind, obs.engine.pid), (EngineKind::Relay, Some(agent.pid())));
    assert!(obs.notes.iter().any(|n| n.contains("no configuration")), "{:?}", obs.notes);
    let engine = relay(&agent.socket());
    let reading = engine.node_readings().unwrap().reading(DEADLINE).await.unwrap();
    assert!(reading.memory.total > 0);
    assert!(engine.sessions().unwrap().sessions(None, 10, DEADLINE).await.unwrap().is_empty());
    assert!(engine.certificates().unwrap().certificates(DEADLINE).await.unwrap().is_empty());
}

#[tokio::test]
async fn neighbours_work_together_and_strangers_say_why_not() {
    // The fake answers one request a connection, as a server that keeps none alive.
    let newer = FakeSocket::start(|line| answer(if line.contains("/hello") { hello(1, 2) } else { SNAPSHOT.into() }.as_str()));
    let engine = relay(&newer.path());
    let obs = retry_closed(&engine).await;
    if let Ok(obs) = obs {
        assert!(obs.notes.iter().any(|n| n.contains("v1 to v2")), "{:?}", obs.notes);
        assert!(!format!("{obs:?}").contains('\u{1b}'));
    }
    for (oldest, newest, hint) in [(2, 3, "upgrade this console"), (0, 0, "upgrade the agent")] {
        let other = FakeSocket::start(move |_| answer(&hello(oldest, newest)));
        match look(&other.path()).await {
            Err(EngineError::NotAllowed { what, hint: told, .. }) => {
                assert!(told.contains(hint), "{told}");
                assert!(!what.contains('\u{1b}'), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A connection that the far side closes after each answer is opened anew.
async fn retry_closed(engine: &Relay) -> Result<NodeObs, EngineError> {
    let first = engine.observe(Want::All, DEADLINE).await;
    if first.is_ok() { first } else { engine.observe(Want::All, DEADLINE).await }
}

#[tokio::test]
async fn hostile_bytes_end_in_an_error_within_the_deadline() {
    let deep = "[".repeat(200_000);
    let huge = r#"{"api":{"oldest":1,"newest":99999999999999999999}}"#.to_owned();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("no http", b"\0\xff\x16\x03SSH-2.0-x\r\n".to_vec()),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
        ("bad chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
        ("deep json", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{deep}", deep.len()).into_bytes()),
        ("huge numbers", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{huge}", huge.len()).into_bytes()),
        ("not utf-8", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc".to_vec()),
        ("an error without words", b"HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\n\x1b[2Jx".to_vec()),
        ("a large body", [b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n".to_vec(), vec![b' '; 4_000_000]].concat()),
    ];
    for (name, bytes) in cases {
        let fake = FakeSocket::start(move |_| Answer::Bytes(bytes.clone()));
        let began = Instant::now();
        let error = look(&fake.path()).await.expect_err(name);
        assert!(began.elapsed() < DEADLINE * 2, "{name}: {:?}", began.elapsed());
        assert!(!error.to_string().contains('\u{1b}'), "{name}: {error}");
    }
    let endless = FakeSocket::start(|_| Answer::Endless(b"HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyyyyy\r\n".to_vec()));
    assert!(look(&endless.path()).await.is_err());
    let silent = FakeSocket::start(|_| Answer::Silence);
    let late = look(&silent.path()).await;
    assert!(matches!(late, Err(EngineError::Transport(TransportError::Timeout { .. }))), "{late:?}");
    let missing = look(Path::new("/nonexistent/agent.sock")).await;
    assert!(matches!(missing, Err(EngineError::Transport(TransportError::NotFound { .. }))), "{missing:?}");
}

//! A node can answer with anything: each of these must be an error in words, or a reading that is worth what it says.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lbdeck::config::{HaproxyAccess, HaproxySpec, Settings};
use lbdeck::engine::haproxy::Haproxy as Observed;
use lbdeck::engine::{Command, Engine, EngineError, Want};
use lbdeck::model::{Change, NodeObs, StatusWord, Target};
use lbdeck::transport::{LocalTransport, TransportError};

use super::{SOON, engine_at, seen, server};
use crate::support::fake_socket::{Answer, FakeSocket};
use crate::support::haproxy::{Haproxy, Pool};

const INFO: &str = include_str!("../../../src/engine/haproxy/fixtures/2.6-show-info.txt");
const STAT: &str = include_str!("../../../src/engine/haproxy/fixtures/2.6-show-stat.txt");
const STATE: &str = include_str!("../../../src/engine/haproxy/fixtures/2.6-show-servers-state.txt");

/// What the engine expects to one reading.
fn reply(info: &str, stat: &str, state: &str) -> Vec<u8> {
    format!("{}\n\n{}\n\n{}\n\nadmin\n\n", info.trim_end(), stat.trim_end(), state.trim_end()).into_bytes()
}

async fn read(bytes: Vec<u8>) -> Result<NodeObs, EngineError> {
    let fake = FakeSocket::start(move |_| Answer::Bytes(bytes.clone()));
    engine_at(&fake.path(), |_| {}).observe(Want::All, SOON).await
}

#[tokio::test]
async fn a_reply_that_is_cut_anywhere_is_an_error() {
    let whole = reply(INFO, STAT, STATE);
    let obs = read(whole.clone()).await.unwrap();
    assert_eq!(obs.pools.len(), 2);
    let end = whole.len() - "admin\n\n".len();
    let mut cuts: Vec<usize> = (0..end).step_by(97).collect();
    cuts.extend([1, INFO.len() - 1, INFO.len() + 5, end - 1]);
    for cut in cuts {
        match read(whole[..cut].to_vec()).await {
            Err(e) => assert!(e.is_transient(), "cut at {cut}: {e}"),
            Ok(obs) => panic!("cut at {cut} of {end} was believed: {:?}", obs.pools.len()),
        }
    }
}

#[tokio::test]
async fn escape_sequences_stay_text() {
    let stat =
        STAT.replace("web,web1,", "w\x1b[2Jeb,\u{202e}web1\u{9b}31m,").replace("L4OK,", "\"\x1b]0;owned\x07, \"\"q\"\"\",");
    let stat = stat.replace("web,", "w\x1b[2Jeb,");
    let obs = read(reply(&INFO.replace("node: vm", "node: \x1b[31mvm\r"), &stat, STATE)).await.unwrap();
    let shown = format!("{}{obs:?}", serde_json::to_string(&obs).unwrap());
    for c in ['\x1b', '\x07', '\u{9b}', '\u{202e}', '\r'] {
        assert!(!shown.contains(c), "{c:?} got through");
    }
    let pool = obs.pools.iter().find(|p| p.name.as_str() == "w\\x1b[2Jeb").unwrap();
    assert_eq!(pool.servers[0].name.as_str(), "\\u{202e}web1\\x9b31m");
    let fields = obs.fields.as_ref().unwrap().row(pool.servers[0].row);
    assert!(fields.iter().all(|(n, v)| !n.contains('\x1b') && !v.contains('\x1b')));
    // What is shown is no name, so nothing can be sent to it.
    let engine = engine_at(Path::new("/nonexistent"), |_| {});
    let target = server(pool.name.as_str(), pool.servers[0].name.as_str());
    assert!(engine.admin().unwrap().encode(&target, &Change::Drain, &obs).is_err());
}

#[tokio::test]
async fn columns_of_versions_to_come_are_kept() {
    let header = STAT.lines().next().unwrap();
    let newer: String = STAT
        .trim_end()
        .lines()
        .map(|line| if line == header { format!("{line}srid,reqbin,h3_tomorrow,\n") } else { format!("{line}42,7,\"a,b\",\n") })
        .collect();
    let obs = read(reply(&INFO.replace("2.6.12-1+deb12u4", "3.9-dev1"), &newer, STATE)).await.unwrap();
    assert_eq!(obs.engine.release, Some((3, 9)));
    let web1 = obs.server("web", "web1").unwrap();
    assert_eq!(web1.weight, 10);
    let row = obs.fields.as_ref().unwrap().row(web1.row);
    assert!(row.contains(&("h3_tomorrow".into(), "a,b".into())) && row.contains(&("srid".into(), "42".into())), "{row:?}");
    let remove =
        engine_at(Path::new("/nonexistent"), |_| {}).admin().unwrap().encode(&server("web", "web1"), &Change::RemoveServer, &obs);
    let shown: Vec<String> = remove.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["set server web/web1 state maint", "wait 5s srv-removable web/web1", "del server web/web1"]);
}

#[tokio::test]
async fn without_the_servers_state_the_reading_says_that_it_is_worth_less() {
    for state in ["Permission denied", "Unknown command. Please enter one of the following commands only:", "2\n# new format"] {
        let obs = read(reply(INFO, STAT, state)).await.unwrap();
        let web1 = obs.server("web", "web1").unwrap();
        assert!(!web1.admin_exact && obs.notes.iter().any(|n| n.contains("derived from 'status'")), "{:?}", obs.notes);
    }
}

#[tokio::test]
async fn what_is_no_haproxy_is_an_error_in_words() {
    for (bytes, words) in [
        (&b""[..], "without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "show info"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "show info"),
        (b"\0\0\0\0\0\0", "show info"),
        (b"\n\n\n\n\n\n", "show info"),
    ] {
        let error = read(bytes.to_vec()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_hundred_megabytes_and_a_reply_without_end() {
    let fake = FakeSocket::start(|_| Answer::Endless(b"web,web1,0,0,0,0,,0,0,0,\n".repeat(4096)));
    let spec =
        HaproxySpec { access: HaproxyAccess::Socket(fake.path()), metrics_url: None, master_socket: None, config_file: None };
    let settings = Settings { max_reply: 3 << 20, ..Settings::default() };
    let engine = Observed::new("lb1".into(), &spec, Some(Arc::new(LocalTransport)), &settings).unwrap();
    let error = engine.observe(Want::All, SOON).await.unwrap_err();
    assert!(matches!(error, EngineError::Transport(TransportError::TooLarge { limit, .. }) if limit == 3 << 20), "{error:?}");
    assert!(engine.sessions().unwrap().sessions(None, 10, SOON).await.is_err());
    let sent = engine.admin().unwrap().send(&[Command::Socket("set server a/b state drain".into())], SOON).await;
    assert!(matches!(sent, Err(EngineError::Transport(TransportError::TooLarge { .. }))), "{sent:?}");
    // Also where the commands depend on each other.
    let two = [Command::Socket("a".into()), Command::Socket("b".into())];
    assert!(engine.admin().unwrap().send(&two, SOON).await.is_err());

    let info = INFO.trim_end().to_owned() + "\n\n" + STAT.lines().next().unwrap() + "\n";
    let huge = info.into_bytes().into_iter().chain(std::iter::repeat_n(b'x', 100 << 20)).collect::<Vec<u8>>();
    let error = read(huge).await.unwrap_err();
    assert!(matches!(error, EngineError::Transport(TransportError::TooLarge { .. })), "{error:?}");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let fake = FakeSocket::start(|_| Answer::Silence);
    let engine = engine_at(&fake.path(), |spec| spec.master_socket = Some(fake.path()));
    let short = Duration::from_millis(150);
    let begin = Instant::now();
    for want in [Want::All, Want::Pool("web")] {
        let error = engine.observe(want, short).await.unwrap_err();
        assert!(matches!(error, EngineError::Transport(TransportError::Timeout { .. })) && error.is_transient(), "{error:?}");
    }
    assert!(engine.admin().unwrap().send(&[Command::Socket("x".into())], short).await.is_err());
    assert!(engine.admin().unwrap().send(&[Command::Socket("x".into()), Command::Socket("y".into())], short).await.is_err());
    assert!(engine.sessions().unwrap().sessions(None, 1, short).await.is_err());
    assert!(engine.tables().unwrap().tables(short).await.is_err());
    assert!(engine.certificates().unwrap().certificates(short).await.is_err());
    assert!(engine.workers().unwrap().workers(short).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_master_that_hangs_costs_the_workers_and_not_the_reading() {
    let haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("web", 1)).start();
    let hung = FakeSocket::start(|_| Answer::Silence);
    let engine = engine_at(&haproxy.socket(), |spec| spec.master_socket = Some(hung.path()));
    let obs = engine.observe(Want::All, Duration::from_millis(400)).await.unwrap();
    assert!(obs.workers.is_none() && obs.server("web", "web1").is_some());
    assert!(obs.notes.iter().any(|n| n.contains("old workers are unknown")), "{:?}", obs.notes);
}

#[tokio::test]
async fn a_haproxy_that_is_frozen_and_one_that_is_gone() {
    let mut haproxy = Haproxy::builder().pool(Pool::new("web").idle_servers("web", 1)).start();
    let engine = engine_at(&haproxy.socket(), |_| {});
    assert_eq!(seen(&engine).await.server("web", "web1").unwrap().status.word, StatusWord::NoCheck);
    haproxy.freeze();
    let error = engine.observe(Want::All, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, EngineError::Transport(TransportError::Timeout { .. })), "{error:?}");
    haproxy.thaw();
    seen(&engine).await;
    haproxy.crash();
    let error = engine.observe(Want::All, SOON).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("admin.sock"), "{error:?}");
    let sent = engine.admin().unwrap().send(&[Command::Socket("set server web/web1 state drain".into())], SOON).await;
    assert!(sent.is_err());
}

#[tokio::test]
async fn replies_to_changes_are_read_whatever_they_are() {
    for (bytes, good) in [("\n", true), ("garbage\n\n", false), ("\x1b[31mno\n\n", false), ("Permission denied\n\n", false)] {
        let fake = FakeSocket::start(move |_| Answer::Bytes(bytes.into()));
        let engine = engine_at(&fake.path(), |_| {});
        let sent = engine.admin().unwrap().send(&[Command::Socket("set server a/b state drain".into())], SOON).await;
        assert_eq!(sent.is_ok(), good, "{bytes:?}: {sent:?}");
        assert!(!format!("{sent:?}").contains("\x1b["), "{sent:?}");
    }
    // A connection that closes in the middle of several commands: the first is not taken for done.
    let fake = FakeSocket::start(|_| Answer::Bytes(b"\n> \n".to_vec()));
    let engine = engine_at(&fake.path(), |_| {});
    let two = [Command::Socket("set server a/b state maint".into()), Command::Socket("del server a/b".into())];
    let error = engine.admin().unwrap().send(&two, SOON).await.unwrap_err();
    assert!(matches!(error, EngineError::Transport(TransportError::Unreachable { .. })), "{error:?}");
    assert!(fake.dir().exists() && Target::Table("t".into()).pool().is_none());
}

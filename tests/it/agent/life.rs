//! What the relay's clients and operators notice of its life: handovers with quiet connections, certificates that are renewed, caches
//! that are emptied, counters that never fall.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::app::{App, get};
use crate::support::wait;

use super::leases::LONG;

fn front(agent: &Agent) -> SocketAddr {
    agent.get("/v1/snapshot")["listeners"][0]["addresses"][0].as_str().unwrap().parse().unwrap()
}

fn config(apps: &[&App], more_of_listener: &str) -> String {
    let servers: Vec<String> = apps.iter().map(|a| format!("{{name: {}, address: \"{}\"}}", a.name, a.addr)).collect();
    format!(
        "listeners: [{{name: front, bind: '127.0.0.1:0', pool: web{more_of_listener}}}]\npools: [{{name: web, servers: [{}]}}]\n",
        servers.join(", ")
    )
}

/// One request on a connection that is kept; the head of the answer.
fn ask(stream: &mut BufReader<TcpStream>) -> String {
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "closed after '{head}'");
    }
    let length = head.to_ascii_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap();
    stream.read_exact(&mut vec![0; length]).unwrap();
    head
}

/// A client that is quiet while the relay changes processes sends its next request on the connection that it has, and is answered.
#[test]
fn a_second_agent_on_the_same_state_is_refused() {
    let mut agent = Agent::idle();
    let refused = |agent: &Agent| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbdeck"));
        command.args(["agent", "run", "--config", "/nonexistent", "--state"]).arg(agent.state_dir());
        command.arg("--socket").arg(agent.dir().join("other.sock")).arg("--lock-dir").arg(agent.dir().join("other"));
        let ran = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && said.contains("another agent keeps its state here (process "), "{said}");
    };
    refused(&agent);
    // The lock goes along, and is free once the process that has it is killed, whoever still drains.
    agent.upgrade();
    refused(&agent);
    agent.crash();
    refused(&agent);
}

#[test]
fn quiet_connections_are_let_go_by_an_answer() {
    let app = App::start("web1");
    let mut agent = Agent::with_config(&config(&[&app], ""));
    let old = agent.pid();
    let mut clients: Vec<_> = (0..8).map(|_| BufReader::new(TcpStream::connect(front(&agent)).unwrap())).collect();
    for client in &mut clients {
        client.get_ref().set_read_timeout(Some(LONG)).unwrap();
        assert!(ask(client).starts_with("HTTP/1.1 200"));
    }
    agent.upgrade();
    for client in &mut clients {
        let head = ask(client).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "and closed then");
    }
    agent.gone(old);
}

/// A certificate for `localhost` whose subject is `name`, made into `pem` with its key.
fn certificate(folder: &Path, name: &str) -> Vec<u8> {
    let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .args([&key, Path::new("-out"), &certificate])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl is installed").success());
    [std::fs::read(certificate).unwrap(), std::fs::read(key).unwrap()].concat()
}

fn subject_shown(at: SocketAddr) -> String {
    let out = Command::new("openssl").args(["s_client", "-connect", &at.to_string()]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find_map(|l| l.strip_prefix("subject=")).unwrap_or_default().replace(' ', "")
}

#[test]
fn renewed_certificates_are_shown_by_themselves_and_bad_ones_are_not() {
    let app = App::start("web1");
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("front.pem");
    std::fs::write(&pem, certificate(folder.path(), "first")).unwrap();
    let agent = Agent::with_config(&config(&[&app], &format!(", tls: {{certificates: ['{}']}}", pem.display())));
    let at = front(&agent);
    assert_eq!(subject_shown(at), "CN=first");
    let listed = agent.get("/v1/certificates");
    assert_eq!((&listed[0]["subject"], &listed[0]["names"][0]), (&"first".into(), &"localhost".into()));
    assert!(listed[0]["not_after"].is_string());

    std::fs::write(&pem, certificate(folder.path(), "second")).unwrap();
    wait::until("the second certificate", LONG, || (subject_shown(at) == "CN=second").then_some(()));
    // A key without its certificate: what was shown goes on, and it is said once.
    std::fs::copy(folder.path().join("first.key"), &pem).unwrap();
    let notes = || agent.get("/v1/status")["notes"].to_string();
    wait::until("a note", LONG, || notes().contains("front.pem: holds no certificate").then_some(()));
    assert_eq!(subject_shown(at), "CN=second");
    let said = |words: &str| {
        agent.get("/v1/events").as_array().unwrap().iter().filter(|e| e["text"].to_string().contains(words)).count()
    };
    assert_eq!((said("cannot be used"), said("are used from now on")), (1, 1));
    // Put right: renewed as certbot does it, by a rename.
    std::fs::write(folder.path().join("new"), certificate(folder.path(), "third")).unwrap();
    std::fs::rename(folder.path().join("new"), &pem).unwrap();
    wait::until("the third certificate", LONG, || (subject_shown(at) == "CN=third").then_some(()));
    assert_eq!(notes(), "[]");
}

#[test]
fn what_a_pool_has_counted_never_falls() {
    let apps: Vec<App> = ["web1", "web2"].iter().map(|name| App::start(name)).collect();
    let agent = Agent::with_config(&config(&[&apps[0], &apps[1]], ""));
    for _ in 0..20 {
        get(front(&agent), "/");
    }
    let total = |agent: &Agent| agent.get("/v1/snapshot")["pools"][0]["traffic"]["requests_total"].as_u64().unwrap();
    let before = total(&agent);
    assert_eq!(before, 20);
    agent.json("PUT", "/v1/config", &serde_json::json!({ "text": config(&[&apps[0]], "") }).to_string());
    assert_eq!(total(&agent), 20);
    get(front(&agent), "/");
    assert_eq!(total(&agent), 21);
    let rate = || agent.get("/v1/snapshot")["listeners"][0]["traffic"]["sessions_rate"].as_u64().unwrap();
    wait::until("a rate of the listener", LONG, || {
        get(front(&agent), "/");
        (rate() > 0).then_some(())
    });
}

#[test]
fn health_is_an_event_and_caches_are_emptied() {
    let app = App::start("web1");
    let text = config(&[&app], ", cache: true").replace("servers:", "check: {path: /health, inter: 100ms}, servers:");
    let agent = Agent::with_config(&text);
    let (status, said) = agent.ask("POST", "/v1/cache/purge", r#"{"path":"img"}"#);
    assert!(status == 400 && said.contains("is no path"), "{status} {said}");
    assert_eq!(agent.json("POST", "/v1/cache/purge", r#"{"path":"/"}"#)["forgotten"], 0);

    let mut stream = std::os::unix::net::UnixStream::connect(agent.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /v1/stream?interval_ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.any(|l| l.unwrap().contains("\"snapshot\"")), "the stream is open");
    app.set_healthy(false);
    let event = lines.map(Result::unwrap).find(|l| l.contains("\"health\"")).unwrap();
    assert!(event.contains("web/web1") && event.contains("down: "), "{event}");
}

/// Clients that take all there is leave those that are served their servers, and operators their agent.
#[test]
fn too_many_clients_wait_and_nobody_else_notices() {
    let app = App::start("web1");
    let agent = Agent::with_files(&config(&[&app], ""), 200);
    let connect = |_| {
        let mut stream = TcpStream::connect(front(&agent)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut waiting: Vec<TcpStream> = (0..300).map(connect).collect();
    // Those whose answer has come.
    let mut answered = || -> Vec<TcpStream> {
        let has_answer = |client: &mut TcpStream| {
            let mut answer = [0; 512];
            match client.read(&mut answer) {
                Ok(_) => assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer)),
                Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock, "{e}"),
            }
            answer[0] != 0
        };
        waiting.extract_if(.., has_answer).collect()
    };
    let notes = || agent.get("/v1/status")["notes"].to_string();
    let mut served = Vec::new();
    wait::until("served clients and a note", LONG, || {
        served.extend(answered());
        (served.len() >= 20 && notes().contains("raise LimitNOFILE")).then_some(())
    });
    assert!(served.len() < 100, "a quarter of the descriptors is nobody's: {}", served.len());
    drop(served);
    let mut all = 0;
    wait::until("the others", LONG, || {
        let more = answered().len();
        all += more;
        (all > 200 && more == 0).then_some(())
    });
    wait::until("no note", LONG, || (notes() == "[]").then_some(()));
}

//! The control API over TCP: both sides show certificates, and there is nothing without.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::app::{App, get};
use crate::support::fleet::Fleet;
use crate::support::wait;

use super::leases::LONG;

/// Certificates of an authority of their own.
fn pki(folder: &Path) -> PathBuf {
    let pki = folder.join("pki");
    for words in [&["ca"][..], &["server", "localhost", "127.0.0.1"], &["client", "alice"]] {
        let ran = Command::new(env!("CARGO_BIN_EXE_lbdeck")).args(["agent", "cert"]).args(words).arg("--dir").arg(&pki).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    pki
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

fn address(agent: &Agent) -> SocketAddr {
    wait::until("the address in the log", LONG, || {
        let log = agent.log();
        let (_, rest) = log.split_once("control API over TLS at ")?;
        rest.split_whitespace().next()?.parse().ok()
    })
}

/// What curl got of `/hello`, or nothing.
fn curl(at: SocketAddr, ca: &Path, shown: Option<&Path>) -> Option<String> {
    let mut command = Command::new("curl");
    command.args(["-s", "--max-time", "10", "--cacert", &path(ca, "ca.pem")]);
    if let Some(pki) = shown {
        command.args(["--cert", &path(pki, "client-alice.pem"), "--key", &path(pki, "client-alice.key")]);
    }
    let out = command.arg(format!("https://localhost:{}/hello", at.port())).output().expect("curl is installed");
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn only_who_shows_a_certificate_of_the_authority_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, other) = (pki(&dir.path().join("mine")), pki(&dir.path().join("other")));
    let (certificate, key) = (path(&mine, "server-localhost.pem"), path(&mine, "server-localhost.key"));
    let ca = path(&mine, "ca.pem");
    let words = ["--listen", "127.0.0.1:0", "--tls-certificate", &certificate, "--tls-key", &key, "--client-ca", &ca];
    let config = "listeners: [{name: front, bind: '127.0.0.1:0', pool: web}]\npools: [{name: web, servers: [{name: web1, address: '127.0.0.1:9'}, {name: web2, address: '127.0.0.1:9'}]}]\n";
    let mut agent = Agent::launch(Some(config), &words);
    let at = address(&agent);

    assert!(curl(at, &mine, Some(&mine)).unwrap().contains("\"phase\":\"serving\""));
    assert_eq!(curl(at, &mine, None), None, "no certificate");
    assert_eq!(curl(at, &mine, Some(&other)), None, "another authority's certificate");
    assert_eq!(curl(at, &other, Some(&mine)), None, "an agent that is not the one that is meant");
    let mut plain = TcpStream::connect(at).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    plain.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));

    // The console.
    let fleet = |shown: &Path| Fleet::new().tls_agent("lb1", &format!("localhost:{}", at.port()), &mine.join("ca.pem"), shown);
    let good = fleet(&mine);
    good.run(&["node", "show", "lb1"]).exits(0).says("memory").says("tls localhost:");
    good.run(&["server", "drain", "web/web1", "--yes", "--reason", "kernel"]).exits(0);
    assert_eq!(agent.get("/v1/snapshot?pool=web")["pools"][0]["servers"][0]["admin"], "drain");
    let refused = fleet(&other).run(&["server", "list"]);
    assert!(refused.code != Some(0) && refused.said().contains("tls localhost:"), "{}", refused.said());

    // A renewed certificate is shown by itself, and the door is handed over.
    let renewed = Command::new(env!("CARGO_BIN_EXE_lbdeck"))
        .args(["agent", "cert", "renew", "localhost", "--dir"])
        .arg(&mine)
        .output()
        .unwrap();
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    wait::until("the renewed certificate", LONG, || {
        agent.log().contains("has been read again").then_some(()).or_else(|| {
            curl(at, &mine, Some(&mine));
            None
        })
    });
    agent.upgrade();
    assert!(curl(at, &mine, Some(&mine)).unwrap().contains(&format!("\"pid\":{}", agent.pid())));
}

/// A new process that fails late, when it has read the state and been given the sockets, takes nothing with it.
#[test]
fn an_upgrade_that_fails_late_leaves_the_old_process_and_its_state_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mine = pki(&dir.path().join("mine"));
    let (certificate, key, ca) =
        (path(&mine, "server-localhost.pem"), path(&mine, "server-localhost.key"), path(&mine, "ca.pem"));
    let words = ["--listen", "127.0.0.1:0", "--tls-certificate", &certificate, "--tls-key", &key, "--client-ca", &ca];
    let apps = ["web1", "web2"].map(App::start);
    let config = format!(
        "listeners: [{{name: front, bind: '127.0.0.1:0', pool: web}}]\npools: [{{name: web, servers: [{{name: web1, address: '{}'}}, {{name: web2, address: '{}'}}]}}]\n",
        apps[0].addr, apps[1].addr
    );
    let mut agent = Agent::launch(Some(&config), &words);
    agent.json("PATCH", "/v1/servers/web/web1", r#"{"admin":"drain"}"#);
    let front = super::relay::front(&agent);
    let state = || std::fs::read(agent.state_dir().join("state.json")).unwrap();
    let before = state();
    std::fs::rename(&key, format!("{key}.away")).unwrap();
    for _ in 0..3 {
        let (status, said) = agent.ask("POST", "/v1/upgrade", "{}");
        assert!(status == 502 && said.contains("server-localhost.key"), "{status} {said}");
        assert_eq!(agent.get("/hello")["pid"].as_u64(), Some(agent.pid().into()));
        for _ in 0..20 {
            assert!(get(front, "/").ends_with("web2\n"));
        }
    }
    assert_eq!(state(), before);
    assert_eq!(agent.get("/v1/status")["phase"], "serving");
    // Changes are taken as before, and what was asked for survives.
    agent.json("PATCH", "/v1/servers/web/web2", r#"{"weight":7}"#);
    std::fs::rename(format!("{key}.away"), &key).unwrap();
    agent.crash();
    let (web1, web2) = (super::relay::server(&agent, "web1"), super::relay::server(&agent, "web2"));
    assert_eq!((&web1["admin"], &web2["user_weight"]), (&"drain".into(), &7.into()));
    agent.upgrade();
}

/// The file's mode keeps others out, and so does the agent itself where that has been changed.
#[test]
fn another_user_is_turned_away_from_the_control_socket() {
    const TEST: &str = "agent::door::another_user_is_turned_away_from_the_control_socket";
    if !nix::unistd::Uid::effective().is_root() {
        return crate::support::skip(TEST, "becoming another user takes root");
    }
    let agent = Agent::idle();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let ask = |user: &str| {
        let out = Command::new("setpriv")
            .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"])
            .args(["curl", "-s", "--max-time", "10", "--unix-socket"])
            .arg(agent.socket())
            .arg("http://agent/hello")
            .output()
            .expect("setpriv and curl are installed");
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    assert_eq!(std::fs::metadata(agent.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    mode(agent.dir(), 0o755);
    assert_eq!(ask("65534"), (false, String::new()), "by the file's mode");
    mode(&agent.socket(), 0o666);
    assert_eq!(ask("65534"), (false, String::new()), "by SO_PEERCRED");
    assert!(agent.log().contains("user 65534 was turned away"), "{}", agent.log());
    assert!(ask("0").1.contains("\"phase\""));
}

#[test]
fn there_is_no_plain_tcp() {
    for (words, said) in [(&["--listen", "127.0.0.1:0"][..], "--tls-certificate"), (&["--client-ca", "x"], "--listen")] {
        let ran = Command::new(env!("CARGO_BIN_EXE_lbdeck")).args(["agent", "run"]).args(words).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && text.contains(said), "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lbdeck.yaml"), "nodes: [{name: lb1, engines: {relay: {tcp: 'lb1:8741'}}}]\n").unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_lbdeck"))
        .args(["fleet", "show", "--fleet"])
        .arg(dir.path().join("lbdeck.yaml"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && text.contains("needs certificates") && text.contains("lbdeck agent cert"), "{text}");
}

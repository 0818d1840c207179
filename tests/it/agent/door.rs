//! The control API over TCP: both sides show certificates, and there is nothing without.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::agent::Agent;
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

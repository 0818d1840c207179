//! Certificates of mutual TLS, as OpenSSL judges them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use super::double::LBDECK;

fn cert(dir: &Path, words: &[&str]) -> Output {
    Command::new(LBDECK).args(["agent", "cert"]).args(words).arg("--dir").arg(dir).output().unwrap()
}

fn openssl(dir: &Path, words: &[&str]) -> String {
    let ran = Command::new("openssl").args(words).current_dir(dir).output().unwrap();
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn certificates_are_made_renewed_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    assert_eq!(cert(&pki, &["client", "alice"]).status.code(), Some(1), "there is no authority yet");
    for words in [&["ca"][..], &["server", "lb1.example.net", "10.0.0.1"], &["client", "alice", "--days", "5"]] {
        let ran = cert(&pki, words);
        assert_eq!(ran.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    for entry in std::fs::read_dir(&pki).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    let server = ["verify", "-CAfile", "ca.pem", "-purpose", "sslserver", "-verify_hostname", "lb1.example.net"];
    openssl(&pki, &[&server[..], &["server-lb1.example.net.pem"]].concat());
    openssl(&pki, &["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", "client-alice.pem"]);
    let text = openssl(&pki, &["x509", "-in", "server-lb1.example.net.pem", "-noout", "-text"]);
    assert!(text.contains("IP Address:10.0.0.1") && text.contains("TLS Web Server Authentication"), "{text}");

    // Only what ends soon is renewed, with its own key.
    let public = |file: &str| openssl(&pki, &["x509", "-in", file, "-noout", "-pubkey"]);
    let (key, server) = (public("client-alice.pem"), std::fs::read(pki.join("server-lb1.example.net.pem")).unwrap());
    assert_eq!(cert(&pki, &["renew"]).status.code(), Some(0));
    assert_eq!(public("client-alice.pem"), key);
    assert_eq!(std::fs::read(pki.join("server-lb1.example.net.pem")).unwrap(), server);
    openssl(&pki, &["x509", "-in", "client-alice.pem", "-noout", "-checkend", "30000000"]);
    openssl(&pki, &["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", "client-alice.pem"]);

    let listed = cert(&pki, &["list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let kinds: Vec<_> = listed["items"].as_array().unwrap().iter().map(|i| i["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 3);
    assert!(listed["items"][0]["left_days"].as_i64().unwrap() > 390, "{listed}");

    for (words, said) in [(&["ca"][..], "already"), (&["client", "../x"], "begins with a dot"), (&["renew", "bob"], "alice")] {
        let ran = cert(&pki, words);
        assert_eq!(ran.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&ran.stderr).contains(said), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

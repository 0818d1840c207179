//! The HTTP client against real haproxy, with and without TLS.

use std::net::TcpListener;
use std::time::Duration;

use lbdeck::config::SecretRef;
use lbdeck::transport::{HttpClient, TransportError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::haproxy::Haproxy;

const SECONDS: Duration = Duration::from_secs(20);
const LIMIT: usize = 1 << 20;

fn password(text: &str) -> Option<SecretRef> {
    Some(SecretRef::Command(vec!["echo".into(), text.into()]))
}

/// The page, and the certificate of the authority that vouches for it.
struct Https {
    haproxy: Haproxy,
    url: String,
    ca_file: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

fn https() -> Https {
    let dir = tempfile::tempdir().unwrap();
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&ca_key).unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, ca_key)).unwrap();
    let (ca_file, pem) = (dir.path().join("ca.pem"), dir.path().join("site.pem"));
    std::fs::write(&ca_file, root.pem()).unwrap();
    std::fs::write(&pem, format!("{}{}", leaf.pem(), key.serialize_pem())).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let section = format!(
        "frontend https\n    bind 127.0.0.1:{port} ssl crt {}\n    stats enable\n    stats uri /stats\n    stats auth ops:hunter2\n    stats admin if TRUE",
        pem.display()
    );
    let haproxy = Haproxy::builder().section(&section).start();
    Https { haproxy, url: format!("https://127.0.0.1:{port}/stats"), ca_file, _dir: dir }
}

#[tokio::test]
async fn https_with_an_authority_of_ones_own() {
    let site = https();
    let ca_file = Some(site.ca_file.clone());
    let client = HttpClient::new(&site.url, Some("ops".into()), password("hunter2"), ca_file.clone()).unwrap();
    let page = client.get(";csv", LIMIT, SECONDS).await.unwrap();
    assert!(page.body.starts_with(b"# pxname,svname,"), "{}", site.haproxy.log());
    let fields = [("s", "x"), ("action", "drain"), ("b", "#9")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let reply = client.post_form(&fields, LIMIT, SECONDS).await.unwrap();
    assert!(reply.status == 303 && reply.location.is_some_and(|l| l.contains(";st=")));

    let wrong = HttpClient::new(&site.url, Some("ops".into()), password("wrong1"), ca_file).unwrap();
    let error = wrong.get(";csv", LIMIT, SECONDS).await.unwrap_err();
    assert!(matches!(error, TransportError::Auth { .. }) && !format!("{error:?}").contains("wrong1"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (site, other) = (https(), https());
    for ca_file in [None, Some(other.ca_file.clone())] {
        let client = HttpClient::new(&site.url, Some("ops".into()), password("hunter2"), ca_file).unwrap();
        let error = client.get(";csv", LIMIT, SECONDS).await.unwrap_err();
        assert!(matches!(error, TransportError::HostKey { .. }) && error.hint().unwrap().contains("ca_file"), "{error}");
    }
    let text = site.ca_file.with_file_name("note.txt");
    std::fs::write(&text, "no certificate").unwrap();
    let client = HttpClient::new(&site.url, None, None, Some(text)).unwrap();
    assert!(client.get("", LIMIT, SECONDS).await.unwrap_err().to_string().contains("holds no certificate"));
}

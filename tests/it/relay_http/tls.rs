//! TLS with curl and openssl as clients, and nginx as a server that speaks it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lbdeck::agent::relay::tls::MinVersion;
use lbdeck::agent::relay::tls::connect::{ConnectConfig, TlsToServer};
use lbdeck::agent::relay::tls::files::CertificateFiles;
use lbdeck::agent::relay::tls::terminate::{ClientCertificates, TerminateConfig, Terminator, TicketKeys};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::servers::Nginx;
use crate::support::relay::{Relay, Setting};

/// An authority with a folder for what it signs.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }
    /// Key and certificate in one file.
    fn sign(&self, file: &str, names: &[&str]) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        // Issuer and subject of the same name would make it look self-signed.
        params.distinguished_name.push(rcgen::DnType::CommonName, file);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(file), format!("{}{}", certificate.pem(), key.serialize_pem())).unwrap();
        CertificateFiles { certificate: self.path(file), key: None, ocsp: None }
    }
}

fn config(certificates: Vec<CertificateFiles>) -> TerminateConfig {
    TerminateConfig {
        certificates,
        min_version: MinVersion::Tls12,
        http2: true,
        http: true,
        clients: ClientCertificates::No,
        strict_sni: false,
    }
}

fn terminator(config: &TerminateConfig) -> Terminator {
    Terminator::new(config, &TicketKeys::new().unwrap()).unwrap()
}

fn relay(nginx: &Nginx, tls: &Terminator) -> Relay {
    Setting { tls: Some(tls.clone()), threads: 2, ..Setting::to(vec![nginx.target()]) }.start()
}

/// curl to a name that it takes for the relay's address; what it wrote, and on failure its error.
fn curl(relay: &Relay, name: &str, ca: &Path, args: &[&str]) -> Result<String, String> {
    let port = relay.address.port();
    let done = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--resolve", &format!("{name}:{port}:127.0.0.1"), "--cacert"])
        .arg(ca)
        .args(args)
        .arg(format!("https://{name}:{port}/host"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// `openssl s_client` with one request; everything it says.
fn openssl(relay: &Relay, args: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &relay.address.to_string()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have given up already, where the relay refuses its hello.
    let _ = child.stdin.take().unwrap().write_all(b"GET /host HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let done = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[test]
fn names_versions_and_protocols() {
    let (nginx, authority) = (Nginx::start("", ""), Authority::new());
    let tls = terminator(&config(vec![authority.sign("a.pem", &["a.test"]), authority.sign("w.pem", &["*.w.test"])]));
    let relay = relay(&nginx, &tls);
    for name in ["a.test", "x.w.test"] {
        for (args, version) in [(&["--http2"][..], "2"), (&["--http1.1"], "1.1"), (&["--http1.1", "--tls-max", "1.2"], "1.1")] {
            let mut args = args.to_vec();
            args.extend(["-w", " %{http_version}"]);
            let got = curl(&relay, name, &authority.ca(), &args);
            assert_eq!(got, Ok(format!("{name}:{} {version}", relay.address.port())), "{args:?}");
        }
    }
    assert!(
        curl(&relay, "b.test", &authority.ca(), &[]).unwrap_err().contains("SSL"),
        "the default certificate has another name"
    );
    let new = openssl(&relay, &["-tls1_3", "-servername", "a.test"]);
    assert!(new.contains("TLSv1.3") && new.contains("HTTP/1.1 200"), "{new}");
    let old = openssl(&relay, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!old.contains("HTTP/1.1 200") && old.contains("alert"), "{old}");
    let strict = Terminator::new(
        &TerminateConfig {
            min_version: MinVersion::Tls13,
            strict_sni: true,
            ..config(vec![authority.sign("s.pem", &["s.test"])])
        },
        &TicketKeys::new().unwrap(),
    );
    let relay = self::relay(&nginx, &strict.unwrap());
    assert!(!openssl(&relay, &["-tls1_2", "-servername", "s.test"]).contains("HTTP/1.1 200"));
    assert!(!openssl(&relay, &["-servername", "nobody.test"]).contains("HTTP/1.1 200"));
    assert!(openssl(&relay, &["-servername", "s.test"]).contains("HTTP/1.1 200"));
}

#[test]
fn sessions_are_resumed_on_any_thread() {
    let (nginx, authority) = (Nginx::start("", ""), Authority::new());
    let tls = terminator(&config(vec![authority.sign("a.pem", &["a.test"])]));
    let relay = relay(&nginx, &tls);
    for version in ["-tls1_2", "-tls1_3"] {
        let file = authority.path(version);
        let file = file.to_str().unwrap();
        let first = openssl(&relay, &[version, "-sess_out", file]);
        assert!(first.contains("New, TLS"), "{first}");
        for _ in 0..6 {
            let again = openssl(&relay, &[version, "-sess_in", file]);
            assert!(again.contains("Reused, TLS") && again.contains("HTTP/1.1 200"), "{again}");
        }
    }
}

#[test]
fn certificates_are_exchanged_while_it_runs() {
    let (nginx, authority, other) = (Nginx::start("", ""), Authority::new(), Authority::new());
    let tls = terminator(&config(vec![authority.sign("a.pem", &["a.test"])]));
    let relay = relay(&nginx, &tls);
    assert!(curl(&relay, "a.test", &authority.ca(), &[]).is_ok());
    std::fs::write(authority.path("a.pem"), "nonsense").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("a.pem"));
    assert!(curl(&relay, "a.test", &authority.ca(), &[]).is_ok());
    std::fs::copy(other.sign("a.pem", &["a.test"]).certificate, authority.path("a.pem")).unwrap();
    tls.reload().unwrap();
    assert!(curl(&relay, "a.test", &authority.ca(), &[]).is_err());
    assert!(curl(&relay, "a.test", &other.ca(), &[]).is_ok());
}

#[test]
fn staples_and_client_certificates() {
    let (nginx, authority, other) = (Nginx::start("", ""), Authority::new(), Authority::new());
    let mut certificate = authority.sign("a.pem", &["a.test"]);
    // tryLater, the shortest response there is (RFC 6960, 4.2.1).
    std::fs::write(authority.path("staple"), [0x30, 3, 0x0a, 1, 3]).unwrap();
    certificate.ocsp = Some(authority.path("staple"));
    let plain = relay(&nginx, &terminator(&config(vec![certificate.clone()])));
    let shown = openssl(&plain, &["-status"]);
    assert!(shown.contains("OCSP Response Status: trylater"), "{shown}");
    let (mine, foreign) = (authority.sign("client.pem", &["ops"]), other.sign("client.pem", &["ops"]));
    let (mine, foreign) = (mine.certificate.to_str().unwrap().to_owned(), foreign.certificate.to_str().unwrap().to_owned());
    for (clients, without) in
        [(ClientCertificates::Required(authority.ca()), false), (ClientCertificates::Optional(authority.ca()), true)]
    {
        let relay = relay(&nginx, &terminator(&TerminateConfig { clients, ..config(vec![certificate.clone()]) }));
        assert_eq!(curl(&relay, "a.test", &authority.ca(), &[]).is_ok(), without);
        assert!(curl(&relay, "a.test", &authority.ca(), &["--cert", &mine]).is_ok());
        assert!(curl(&relay, "a.test", &authority.ca(), &["--cert", &foreign]).is_err());
    }
}

#[test]
fn servers_are_verified() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pem = authority.sign("s.pem", &["s.test"]).certificate;
    let lines = format!("ssl_certificate {0}; ssl_certificate_key {0};", pem.display());
    let nginx = Nginx::start("ssl http2", &lines);
    let connect = |ca_file: Option<PathBuf>, name: &str, http2: bool| {
        let config =
            ConnectConfig { ca_file, server_name: name.into(), min_version: MinVersion::Tls12, http2, http: true, client: None };
        let mut target = nginx.target();
        target.tls = Some(std::sync::Arc::new(TlsToServer::new(&config).unwrap()));
        target.http2 = http2;
        let relay = Setting { retries: 0, ..Setting::to(vec![target]) }.start();
        let done = Command::new("curl")
            .args(["-sS", "-w", " %{http_code}"])
            .arg(format!("http://{}/none", relay.address))
            .output()
            .unwrap();
        String::from_utf8(done.stdout).unwrap().trim().rsplit(' ').next().unwrap().to_owned()
    };
    for http2 in [false, true] {
        assert_eq!(connect(Some(authority.ca()), "s.test", http2), "204");
        assert_eq!(connect(None, "x.test", http2), "204");
        assert_eq!(connect(Some(authority.ca()), "x.test", http2), "503");
        assert_eq!(connect(Some(other.ca()), "s.test", http2), "503");
    }
    let log = nginx.read("access.log");
    assert!(log.contains("HTTP/2.0\" 204") && log.contains("HTTP/1.1\" 204"), "{log}");
}

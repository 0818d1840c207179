//! How a listener terminates TLS, and how a pool speaks it to its servers.

use crate::agent::relay::tls::MinVersion;
use crate::agent::relay::tls::connect::ConnectConfig;
use crate::agent::relay::tls::files::CertificateFiles;
use crate::agent::relay::tls::terminate::{ClientCertificates, TerminateConfig};
use crate::config::reader::{Reader, Section};
use crate::config::yaml::{Node, Value};

use super::Mode;

/// Keys of a listener that are read here.
pub const LISTENER_KEYS: &[&str] = &["tls"];
/// Keys of a pool that are read here.
pub const POOL_KEYS: &[&str] = &["tls"];

const FILES: &[&str] = &["certificate", "key", "ocsp"];

/// Reads the keys of a listener; None = plain text.
pub fn read_listener(reader: &mut Reader<'_>, listener: Section<'_>, mode: Mode) -> Option<TerminateConfig> {
    let node = listener.get("tls")?;
    let keys = &["certificates", "min_version", "http2", "client_ca", "client_certificate", "strict_sni"];
    let section = reader.keys(node, "tls", &[keys])?;
    let certificates = match section.get("certificates") {
        Some(Node { value: Value::List(items), .. }) => items.iter().filter_map(|n| read_files(reader, n)).collect(),
        Some(one) => read_files(reader, one).into_iter().collect(),
        None => Vec::new(),
    };
    if certificates.is_empty() && section.get("certificates").is_none_or(|n| matches!(&n.value, Value::List(l) if l.is_empty())) {
        let hint = "write certificates: [{certificate: web.pem, key: web.key}]".to_owned();
        reader.error(section.place(), "TLS needs at least one certificate", hint);
    }
    let flag = |reader: &mut Reader<'_>, key: &str| section.get(key).and_then(|n| reader.boolean(n, key));
    let required = [("optional", false), ("required", true)];
    let required = section.get("client_certificate").and_then(|n| reader.word(n, "client_certificate", &required));
    let clients = match (section.get("client_ca").and_then(|n| reader.local_path(n, "client_ca")), required) {
        (Some(ca), Some(false)) => ClientCertificates::Optional(ca),
        (Some(ca), _) => ClientCertificates::Required(ca),
        (None, None) => ClientCertificates::No,
        (None, Some(_)) => {
            let hint = "write client_ca: FILE, the authorities that sign them".to_owned();
            reader.error(section.key_place("client_certificate"), "'client_certificate' needs 'client_ca'", hint);
            return None;
        }
    };
    Some(TerminateConfig {
        certificates,
        min_version: read_version(reader, section),
        http2: flag(reader, "http2").unwrap_or(true) && mode == Mode::Http,
        http: mode == Mode::Http,
        clients,
        strict_sni: flag(reader, "strict_sni").unwrap_or(false),
    })
}

/// Reads the keys of a pool; None = plain text.
pub fn read_pool(reader: &mut Reader<'_>, pool: Section<'_>, mode: Mode, http2: bool) -> Option<ConnectConfig> {
    let node = pool.get("tls")?;
    let section = reader.keys(node, "tls", &[&["ca", "verify", "server_name", "min_version"], FILES])?;
    let verify = section.get("verify").and_then(|n| reader.boolean(n, "verify")).unwrap_or(true);
    let ca_file = section.get("ca").and_then(|n| reader.local_path(n, "ca"));
    if verify && section.get("ca").is_none() {
        let hint = "write ca: FILE; or verify: false to take any certificate".to_owned();
        reader.error(section.place(), "nothing says which authorities sign the servers' certificates", hint);
    }
    let Some(name) = section.get("server_name") else {
        let hint = "write server_name: NAME, as it stands in the servers' certificates".to_owned();
        reader.error(section.place(), "TLS to servers needs 'server_name'", hint);
        return None;
    };
    Some(ConnectConfig {
        ca_file: ca_file.filter(|_| verify),
        server_name: reader.text(name, "server_name")?,
        min_version: read_version(reader, section),
        http2,
        http: mode == Mode::Http,
        client: section.get("certificate").and_then(|_| files_of(reader, section)),
    })
}

fn read_version(reader: &mut Reader<'_>, section: Section<'_>) -> MinVersion {
    let versions = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
    section.get("min_version").and_then(|n| reader.word(n, "min_version", &versions)).unwrap_or_default()
}

/// A path alone (key and certificate in one file), or a mapping.
fn read_files(reader: &mut Reader<'_>, node: &Node) -> Option<CertificateFiles> {
    if let Value::Text(_) = node.value {
        let certificate = reader.local_path(node, "certificates")?;
        return Some(CertificateFiles { certificate, key: None, ocsp: None });
    }
    let section = reader.keys(node, "a certificate", &[FILES])?;
    files_of(reader, section)
}

fn files_of(reader: &mut Reader<'_>, section: Section<'_>) -> Option<CertificateFiles> {
    let path = |reader: &mut Reader<'_>, key: &str| section.get(key).and_then(|n| reader.local_path(n, key));
    let Some(node) = section.get("certificate") else {
        reader.error(section.place(), "a certificate needs 'certificate'", "a PEM file".to_owned());
        return None;
    };
    let certificate = reader.local_path(node, "certificate")?;
    Some(CertificateFiles { certificate, key: path(reader, "key"), ocsp: path(reader, "ocsp") })
}

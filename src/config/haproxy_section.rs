//! The `haproxy` section of a node or of the defaults: where its run-time API or statistics page answers.

use std::path::PathBuf;

use super::fleet::{HaproxyAccess, HaproxySpec, Reach};
use super::reader::Reader;
use super::secret::SecretRef;
use super::ssh_section::read_secret;
use super::yaml::{Node, Value};

/// Debian's and RHEL's place of the statistics socket.
pub const DEFAULT_SOCKET: &str = "/run/haproxy/admin.sock";
/// The file that a reload reads, where nothing else is said.
pub const DEFAULT_CONFIG: &str = "/etc/haproxy/haproxy.cfg";

/// What one `haproxy` section says; nothing is filled in yet.
#[derive(Clone, Default)]
pub(super) struct HaproxyPart {
    access: Option<AccessPart>,
    metrics_url: Option<String>,
    master_socket: Option<PathBuf>,
    config_file: Option<PathBuf>,
}

#[derive(Clone)]
enum AccessPart {
    Socket(PathBuf),
    Tcp(String),
    Stats(StatsPart),
}

#[derive(Clone, Default)]
struct StatsPart {
    url: Option<String>,
    user: Option<String>,
    password: Option<SecretRef>,
    ca_file: Option<PathBuf>,
}

/// None where anything in it was wrong, so that nothing follows from half a section.
pub(super) fn read_haproxy(reader: &mut Reader<'_>, node: &Node) -> Option<HaproxyPart> {
    let before = reader.errors.len();
    let s = reader.section(node, "haproxy")?;
    let given: Vec<&str> = ["socket", "tcp", "stats"].into_iter().filter(|k| s.get(k).is_some()).collect();
    if let [first, second, ..] = given.as_slice() {
        let what = format!("'{first}' and '{second}' both say where haproxy answers");
        reader.error(s.key_place(second), what, "keep one of socket, tcp and stats".to_owned());
    }
    let access = match given.first().copied() {
        Some(key @ "socket") => s.get(key).and_then(|n| reader.socket_path(n, key)).map(AccessPart::Socket),
        Some(key @ "tcp") => s.get(key).and_then(|n| reader.host_port(n, key)).map(AccessPart::Tcp),
        Some(key) => s.get(key).and_then(|n| read_stats(reader, n)).map(AccessPart::Stats),
        None => None,
    };
    let part = HaproxyPart {
        access,
        metrics_url: s.get("metrics").and_then(|n| reader.http_url(n, "metrics")),
        master_socket: s.get("master_socket").and_then(|n| reader.socket_path(n, "master_socket")),
        config_file: s.get("config").and_then(|n| reader.remote_path(n, "config")),
    };
    (reader.errors.len() == before).then_some(part)
}

/// A URL alone, or a mapping with credentials.
fn read_stats(reader: &mut Reader<'_>, node: &Node) -> Option<StatsPart> {
    if let Value::Text(_) = node.value {
        return Some(StatsPart { url: reader.http_url(node, "stats"), ..StatsPart::default() });
    }
    let s = reader.section(node, "stats")?;
    let part = StatsPart {
        url: s.get("url").and_then(|n| reader.http_url(n, "url")),
        user: s.get("user").and_then(|n| reader.text(n, "user")),
        password: read_secret(reader, s, "password"),
        ca_file: s.get("ca_file").and_then(|n| reader.local_path(n, "ca_file")),
    };
    if part.user.as_ref().is_some_and(|u| u.contains(':')) {
        reader.error(s.key_place("user"), "'user' holds a ':', which basic authentication cannot carry", None);
    }
    Some(part)
}

impl HaproxyPart {
    /// This part where it says something, else the other. Credentials of a statistics page are taken over one by one.
    pub fn over(self, other: Option<&HaproxyPart>) -> HaproxyPart {
        let Some(other) = other.cloned() else { return self };
        let access = match (self.access, other.access) {
            (Some(AccessPart::Stats(own)), Some(AccessPart::Stats(shared))) => Some(AccessPart::Stats(StatsPart {
                url: own.url.or(shared.url),
                user: own.user.or(shared.user),
                password: own.password.or(shared.password),
                ca_file: own.ca_file.or(shared.ca_file),
            })),
            (own, shared) => own.or(shared),
        };
        HaproxyPart {
            access,
            metrics_url: self.metrics_url.or(other.metrics_url),
            master_socket: self.master_socket.or(other.master_socket),
            config_file: self.config_file.or(other.config_file),
        }
    }

    /// Fills in what is not said; the error is what is wrong and how to mend it.
    pub fn complete(self, reach: &Reach) -> Result<HaproxySpec, (String, String)> {
        let has_files = !matches!(reach, Reach::None);
        let access = match self.access {
            Some(AccessPart::Stats(stats)) => {
                let Some(url) = stats.url else {
                    let hint = "write engines: {haproxy: {stats: {url: http://HOST:8404/stats}}}";
                    return Err(("the statistics page of this node has no url".to_owned(), hint.to_owned()));
                };
                if stats.password.is_some() && stats.user.is_none() {
                    let hint = "write user: NAME beside the password";
                    return Err(("the statistics page of this node has a password and no user".to_owned(), hint.to_owned()));
                }
                HaproxyAccess::Stats { url, user: stats.user, password: stats.password, ca_file: stats.ca_file }
            }
            Some(AccessPart::Tcp(address)) => HaproxyAccess::Tcp(address),
            Some(AccessPart::Socket(path)) if has_files => HaproxyAccess::Socket(path),
            None if has_files => HaproxyAccess::Socket(PathBuf::from(DEFAULT_SOCKET)),
            Some(AccessPart::Socket(_)) | None => {
                let hint = "write ssh: true or local: true; or engines: {haproxy: {stats: URL}} or {tcp: HOST:PORT}";
                return Err(("nothing says how this node is reached".to_owned(), hint.to_owned()));
            }
        };
        let config_file = self.config_file.or_else(|| has_files.then(|| PathBuf::from(DEFAULT_CONFIG)));
        Ok(HaproxySpec { access, metrics_url: self.metrics_url, master_socket: self.master_socket, config_file })
    }
}

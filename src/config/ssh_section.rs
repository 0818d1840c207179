//! The `ssh` section: overrides of what `~/.ssh/config` says, given by a node or by the defaults.

use std::path::PathBuf;
use std::time::Duration;

use super::fleet::SshSpec;
use super::reader::{Reader, Section};
use super::secret::SecretRef;
use super::yaml::{Node, Value};

/// What one `ssh` section says; nothing is filled in yet.
#[derive(Clone, Default)]
pub(super) struct SshPart {
    host: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    identity_files: Option<Vec<PathBuf>>,
    proxy_jump: Option<String>,
    known_hosts: Option<PathBuf>,
    config_file: Option<PathBuf>,
    password: Option<SecretRef>,
    passphrase: Option<SecretRef>,
    connect_timeout: Option<Duration>,
}

pub(super) fn read_ssh(reader: &mut Reader<'_>, node: &Node) -> Option<SshPart> {
    let s = reader.section(node, "ssh")?;
    Some(SshPart {
        host: s.get("host").and_then(|n| read_host(reader, n, "host")),
        user: s.get("user").and_then(|n| read_host(reader, n, "user")),
        port: s.get("port").and_then(|n| reader.port(n, "port")),
        identity_files: s.get("identity_file").map(|n| reader.local_paths(n, "identity_file")),
        proxy_jump: s.get("proxy_jump").and_then(|n| read_host(reader, n, "proxy_jump")),
        known_hosts: s.get("known_hosts").and_then(|n| reader.local_path(n, "known_hosts")),
        config_file: s.get("config_file").and_then(|n| reader.local_path(n, "config_file")),
        password: read_secret(reader, s, "password"),
        passphrase: read_secret(reader, s, "passphrase"),
        connect_timeout: s.get("connect_timeout").and_then(|n| reader.duration(n, "connect_timeout", Duration::from_millis(100))),
    })
}

/// A host, user or list of hops: no white space, and nothing that could be taken for an option.
fn read_host(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<String> {
    let text = reader.text(node, key)?;
    if text.starts_with('-') || text.contains(char::is_whitespace) {
        reader.error(node.place, format!("'{key}': '{text}' begins with '-' or holds white space"), None);
        return None;
    }
    Some(text)
}

impl SshPart {
    /// This part where it says something, else the other.
    pub fn over(self, other: Option<&SshPart>) -> SshPart {
        let Some(other) = other.cloned() else { return self };
        SshPart {
            host: self.host.or(other.host),
            user: self.user.or(other.user),
            port: self.port.or(other.port),
            identity_files: self.identity_files.or(other.identity_files),
            proxy_jump: self.proxy_jump.or(other.proxy_jump),
            known_hosts: self.known_hosts.or(other.known_hosts),
            config_file: self.config_file.or(other.config_file),
            password: self.password.or(other.password),
            passphrase: self.passphrase.or(other.passphrase),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
        }
    }

    pub fn complete(self, address: &str) -> SshSpec {
        SshSpec {
            host: self.host.unwrap_or_else(|| address.to_owned()),
            user: self.user,
            port: self.port,
            identity_files: self.identity_files.unwrap_or_default(),
            proxy_jump: self.proxy_jump,
            known_hosts: self.known_hosts,
            config_file: self.config_file,
            password: self.password,
            passphrase: self.passphrase,
            connect_timeout: self.connect_timeout,
        }
    }
}

/// `NAME_file`, `NAME_env` or `NAME_command`; more than one is an error.
pub(super) fn read_secret(reader: &mut Reader<'_>, section: Section<'_>, name: &str) -> Option<SecretRef> {
    let [file, variable, command] = ["file", "env", "command"].map(|kind| format!("{name}_{kind}"));
    let given: Vec<&str> =
        [&file, &variable, &command].into_iter().map(String::as_str).filter(|k| section.get(k).is_some()).collect();
    if let [first, second, ..] = given.as_slice() {
        let what = format!("'{first}' and '{second}' both name the {name}");
        reader.error(section.key_place(second), what, "keep one of them".to_owned());
        return None;
    }
    if let Some(node) = section.get(&file) {
        return reader.local_path(node, &file).map(SecretRef::File);
    }
    if let Some(node) = section.get(&variable) {
        let text = reader.text(node, &variable)?;
        if text.contains(['=', '$']) {
            let hint = format!("write the name alone, for instance {}", text.trim_matches(['$', '{', '}', '=']));
            reader.error(node.place, format!("'{variable}' is the name of an environment variable"), hint);
            return None;
        }
        return Some(SecretRef::Env(text));
    }
    let node = section.get(&command)?;
    let Value::List(_) = node.value else {
        let hint = "write a list: [pass, show, lb/stats]; no shell reads it".to_owned();
        reader.error(node.place, format!("'{command}' is argv, not {}", node.kind()), hint);
        return None;
    };
    let argv: Vec<String> = reader.texts(node, &command).into_iter().map(|(word, _)| word).collect();
    if argv.is_empty() {
        reader.error(node.place, format!("'{command}' is empty"), None);
        return None;
    }
    Some(SecretRef::Command(argv))
}

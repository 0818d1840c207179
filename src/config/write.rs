//! Writes a fleet file for people: comments, stable order, what all nodes share said once. What is written reads back as the
//! same fleet (tested), and a file that is there is never replaced by accident.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::model::NodeName;

use super::diagnostic::ConfigError;
use super::duration::write_duration;
use super::fleet::{
    ConfirmLevel, Fleet, HaproxyAccess, HaproxySpec, KeepalivedSpec, MinHealthy, NodeSpec, Reach, RelaySpec, Settings, SshSpec,
};
use super::haproxy_section::DEFAULT_CONFIG;
use super::nodes::DEFAULT_LOCK_DIR;
use super::secret::SecretRef;
use super::size::show_size;

/// Members of a group that still stand in one line.
const IN_ONE_LINE: usize = 8;

/// Key and value of a flow mapping, the value written as YAML.
type Pair = (&'static str, String);

/// The text of a fleet file. `head` are lines of comment above it; `note` is a comment behind a node's name; paths under
/// `home` are written with `~`.
pub fn to_yaml(fleet: &Fleet, head: &[String], note: impl Fn(&NodeName) -> Option<String>, home: Option<&Path>) -> String {
    let shared = Shared::of(&fleet.nodes, home);
    let mut out = String::new();
    for line in head {
        out.push_str(&comment(line));
        out.push('\n');
    }
    out.push_str("version: 1\n");
    settings(&mut out, &fleet.settings);
    if let Some(defaults) = shared.defaults() {
        let _ = write!(out, "\n# What every node takes that says nothing else itself.\ndefaults:\n{defaults}");
    }
    out.push_str("\nnodes:\n");
    for spec in &fleet.nodes {
        node(&mut out, spec, &shared, note(&spec.meta.name), home);
    }
    if !fleet.groups.is_empty() {
        out.push_str("\ngroups:\n");
    }
    for group in &fleet.groups {
        let members = fleet.nodes.iter().filter(|n| n.meta.groups.contains(group)).map(|n| scalar(n.meta.name.as_str()));
        let members: Vec<String> = members.collect();
        if members.len() <= IN_ONE_LINE {
            let _ = writeln!(out, "  {}: [{}]", scalar(group), members.join(", "));
        } else {
            let _ = writeln!(out, "  {}:\n    - {}", scalar(group), members.join("\n    - "));
        }
    }
    policies(&mut out, fleet);
    out
}

/// What all nodes say alike, and so is said once.
struct Shared {
    /// Keys of `ssh`, where every node is reached by it.
    ssh: Option<Vec<Pair>>,
    haproxy: Option<Vec<Pair>>,
    lock_dir: Option<String>,
}

impl Shared {
    fn of(nodes: &[NodeSpec], home: Option<&Path>) -> Self {
        let many = nodes.len() > 1;
        let of_ssh = |n: &NodeSpec| match &n.reach {
            Reach::Ssh(spec) => Some(ssh_pairs(spec, home)),
            Reach::Local | Reach::None => None,
        };
        let ssh: Option<Vec<Vec<Pair>>> = nodes.iter().map(of_ssh).collect();
        let ssh = ssh.filter(|_| many).map(|all| {
            let first = all.first().cloned().unwrap_or_default();
            first.into_iter().filter(|pair| all.iter().all(|pairs| pairs.contains(pair))).collect()
        });
        let haproxy = nodes
            .first()
            .and_then(|n| n.haproxy.as_ref())
            .filter(|first| many && nodes.iter().all(|n| n.haproxy.as_ref() == Some(first) && n.reach != Reach::None));
        let lock_dir = nodes.first().map(|n| &n.lock_dir).filter(|d| many && nodes.iter().all(|n| n.lock_dir == **d));
        Self {
            ssh,
            haproxy: haproxy.map(|spec| haproxy_pairs(spec, home)),
            lock_dir: lock_dir.filter(|d| **d != Path::new(DEFAULT_LOCK_DIR)).map(|d| path(d, None)),
        }
    }

    fn defaults(&self) -> Option<String> {
        let mut out = String::new();
        if let Some(pairs) = &self.ssh {
            let _ = writeln!(out, "  ssh: {}", flow_or_true(pairs));
        }
        if let Some(pairs) = &self.haproxy {
            let _ = writeln!(out, "  haproxy: {}", flow(pairs));
        }
        if let Some(dir) = &self.lock_dir {
            let _ = writeln!(out, "  lock_dir: {dir}");
        }
        (!out.is_empty()).then_some(out)
    }
}

fn settings(out: &mut String, settings: &Settings) {
    let usual = Settings::default();
    let mut lines = Vec::new();
    for (key, value, usual) in [
        ("refresh", settings.refresh, usual.refresh),
        ("timeout", settings.timeout, usual.timeout),
        ("dead_after", settings.dead_after, usual.dead_after),
    ] {
        if value != usual {
            lines.push(format!("  {key}: {}\n", write_duration(value)));
        }
    }
    if settings.read_only {
        lines.push("  read_only: true\n".to_owned());
    }
    if settings.max_reply != usual.max_reply {
        lines.push(format!("  max_reply: {}\n", exact_size(settings.max_reply)));
    }
    if !lines.is_empty() {
        let _ = write!(out, "\nsettings:\n{}", lines.concat());
    }
}

fn node(out: &mut String, spec: &NodeSpec, shared: &Shared, note: Option<String>, home: Option<&Path>) {
    let meta = &spec.meta;
    let _ = write!(out, "  - name: {}", scalar(meta.name.as_str()));
    if let Some(note) = note {
        let _ = write!(out, "  {}", comment(&note));
    }
    out.push('\n');
    let mut line = |key: &str, value: String| {
        let _ = writeln!(out, "    {key}: {value}");
    };
    if meta.address != meta.name.as_str() {
        line("address", scalar(&meta.address));
    }
    if let Some(zone) = &meta.zone {
        line("zone", scalar(zone));
    }
    if let Some(role) = &meta.role {
        line("role", scalar(role));
    }
    if !meta.tags.is_empty() {
        line("tags", list(meta.tags.iter().map(|t| scalar(t))));
    }
    match &spec.reach {
        Reach::Local => line("local", "true".to_owned()),
        Reach::None => {}
        Reach::Ssh(ssh) => {
            let mut pairs = ssh_pairs(ssh, home);
            if ssh.host != meta.address {
                pairs.insert(0, ("host", scalar(&ssh.host)));
            }
            match &shared.ssh {
                Some(common) => {
                    pairs.retain(|pair| !common.contains(pair));
                    if !pairs.is_empty() {
                        line("ssh", flow(&pairs));
                    }
                }
                None => line("ssh", flow_or_true(&pairs)),
            }
        }
    }
    let mut engines: Vec<Pair> = Vec::new();
    match (&spec.haproxy, &spec.relay) {
        (None, Some(relay)) => engines.push(("relay", flow_or_true(&relay_pairs(relay, home)))),
        (None, None) => {}
        (Some(_), _) if shared.haproxy.is_some() && spec.keepalived.is_none() => {}
        (Some(haproxy), _) => engines.push(("haproxy", flow(&haproxy_pairs(haproxy, home)))),
    }
    engines.extend(spec.keepalived.as_ref().map(|k| ("keepalived", flow_or_true(&keepalived_pairs(k)))));
    if !engines.is_empty() || (spec.haproxy.is_none() && spec.relay.is_none()) {
        line("engines", flow(&engines));
    }
    if shared.lock_dir.is_none() && spec.lock_dir != Path::new(DEFAULT_LOCK_DIR) {
        line("lock_dir", path(&spec.lock_dir, None));
    }
}

fn policies(out: &mut String, fleet: &Fleet) {
    if fleet.policies.is_empty() {
        out.push_str(
            "\n# Floors and confirmation for pools; the first policy that matches holds.\n\
             # policies:\n#   - {pool: \"web*\", min_healthy: 50%, confirm: typed}\n",
        );
        return;
    }
    out.push_str("\npolicies:\n");
    for policy in &fleet.policies {
        let mut pairs = vec![("pool", scalar(&policy.pool))];
        match policy.min_healthy {
            Some(MinHealthy::Count(n)) => pairs.push(("min_healthy", n.to_string())),
            Some(MinHealthy::Percent(p)) => pairs.push(("min_healthy", format!("{p}%"))),
            None => {}
        }
        if policy.read_only {
            pairs.push(("read_only", "true".to_owned()));
        }
        if let Some(level) = policy.confirm {
            pairs.push(("confirm", confirm_word(level).to_owned()));
        }
        let _ = writeln!(out, "  - {}", flow(&pairs));
    }
}

pub(super) fn confirm_word(level: ConfirmLevel) -> &'static str {
    match level {
        ConfirmLevel::None => "none",
        ConfirmLevel::Ask => "ask",
        ConfirmLevel::Typed => "typed",
    }
}

/// Everything of an `ssh` section but the host, which is told apart by the address.
fn ssh_pairs(ssh: &SshSpec, home: Option<&Path>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    pairs.extend(ssh.user.as_ref().map(|user| ("user", scalar(user))));
    pairs.extend(ssh.port.map(|port| ("port", port.to_string())));
    match ssh.identity_files.as_slice() {
        [] => {}
        [one] => pairs.push(("identity_file", path(one, home))),
        many => pairs.push(("identity_file", list(many.iter().map(|p| path(p, home))))),
    }
    pairs.extend(ssh.proxy_jump.as_ref().map(|jump| ("proxy_jump", scalar(jump))));
    pairs.extend(ssh.known_hosts.as_ref().map(|p| ("known_hosts", path(p, home))));
    pairs.extend(ssh.config_file.as_ref().map(|p| ("config_file", path(p, home))));
    pairs.extend(ssh.connect_timeout.map(|d| ("connect_timeout", write_duration(d))));
    pairs.extend(ssh.password.as_ref().map(|s| secret(s, ["password_file", "password_env", "password_command"], home)));
    pairs.extend(ssh.passphrase.as_ref().map(|s| secret(s, ["passphrase_file", "passphrase_env", "passphrase_command"], home)));
    pairs
}

fn haproxy_pairs(haproxy: &HaproxySpec, home: Option<&Path>) -> Vec<Pair> {
    let mut pairs = vec![match &haproxy.access {
        HaproxyAccess::Socket(socket) => ("socket", path(socket, None)),
        HaproxyAccess::Tcp(address) => ("tcp", scalar(address)),
        HaproxyAccess::Stats { url, user, password, ca_file } => {
            let mut stats = vec![("url", scalar(url))];
            stats.extend(user.as_ref().map(|user| ("user", scalar(user))));
            stats.extend(password.as_ref().map(|s| secret(s, ["password_file", "password_env", "password_command"], home)));
            stats.extend(ca_file.as_ref().map(|p| ("ca_file", path(p, home))));
            ("stats", flow(&stats))
        }
    }];
    pairs.extend(haproxy.metrics_url.as_ref().map(|url| ("metrics", scalar(url))));
    pairs.extend(haproxy.master_socket.as_ref().map(|p| ("master_socket", path(p, None))));
    let config = haproxy.config_file.as_ref().filter(|p| *p != Path::new(DEFAULT_CONFIG));
    pairs.extend(config.map(|p| ("config", path(p, None))));
    pairs
}

fn relay_pairs(relay: &RelaySpec, home: Option<&Path>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    if relay.socket != RelaySpec::default().socket {
        pairs.push(("socket", path(&relay.socket, None)));
    }
    if let Some(tcp) = &relay.tcp {
        pairs.push(("tcp", scalar(&tcp.address)));
        pairs.extend(tcp.server_name.as_ref().map(|name| ("server_name", scalar(name))));
        pairs.extend([("ca", &tcp.ca), ("certificate", &tcp.certificate), ("key", &tcp.key)].map(|(k, p)| (k, path(p, home))));
    }
    pairs
}

fn keepalived_pairs(keepalived: &KeepalivedSpec) -> Vec<Pair> {
    let default = KeepalivedSpec::default();
    let mut pairs = Vec::new();
    pairs.extend(keepalived.config.as_ref().map(|p| ("config", path(p, None))));
    pairs.extend(keepalived.sudo.then(|| ("sudo", "true".to_owned())));
    pairs.extend((keepalived.ask_every != default.ask_every).then(|| ("ask_every", write_duration(keepalived.ask_every))));
    pairs
}

fn secret(secret: &SecretRef, [file, env, command]: [&'static str; 3], home: Option<&Path>) -> Pair {
    match secret {
        SecretRef::File(p) => (file, path(p, home)),
        SecretRef::Env(name) => (env, scalar(name)),
        SecretRef::Command(argv) => (command, list(argv.iter().map(|word| scalar(word)))),
    }
}

fn path(path: &Path, home: Option<&Path>) -> String {
    match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => scalar(&format!("~/{}", rest.display())),
        None => scalar(&path.display().to_string()),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn flow(pairs: &[Pair]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn flow_or_true(pairs: &[Pair]) -> String {
    if pairs.is_empty() { "true".to_owned() } else { flow(pairs) }
}

fn exact_size(bytes: usize) -> String {
    let shown = show_size(bytes);
    if shown.contains('.') { bytes.to_string() } else { shown }
}

fn comment(text: &str) -> String {
    format!("# {}", crate::model::sanitize(text)).trim_end().to_owned()
}

/// A scalar that every YAML reader takes for this text, quoted only where it must be.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"];
    let plain_char = |c: char| c.is_ascii_alphanumeric() || "_./@+-:".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_/".contains(c)) || text.starts_with("~/");
    let plain = starts
        && text.strip_prefix('~').unwrap_or(text).chars().all(plain_char)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !text.starts_with(|c: char| c.is_ascii_digit());
    if plain || is_address(text) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || (c as u32) > 0x7e => {
                let _ = write!(quoted, "\\U{:08X}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// IPv4 addresses look like numbers only to a prefix test; no reader takes them for one.
fn is_address(text: &str) -> bool {
    text.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Writes a new file beside its place and puts it there in one step, so that a full disk or a crash leaves no half of one.
/// Without `replace` a file that is there stays, and the error is [`ConfigError::Exists`].
pub fn write_file(path: &Path, text: &str, replace: bool) -> Result<(), ConfigError> {
    let unwritable = |e: std::io::Error| ConfigError::Unwritable { path: path.to_owned(), why: e.to_string() };
    let name = path.file_name().ok_or_else(|| unwritable(std::io::Error::other("it names no file")))?;
    if !replace && path.symlink_metadata().is_ok() {
        return Err(ConfigError::Exists { path: path.to_owned() });
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let beside = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = std::fs::File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| {
        if replace {
            return std::fs::rename(&beside, path);
        }
        // A link fails where the name is taken, which a rename would not.
        std::fs::hard_link(&beside, path)?;
        std::fs::remove_file(&beside)
    });
    placed.map_err(|e| {
        // What is left of the attempt is ours; that it cannot be removed adds nothing to the error.
        let _ = std::fs::remove_file(&beside);
        if e.kind() == std::io::ErrorKind::AlreadyExists { ConfigError::Exists { path: path.to_owned() } } else { unwritable(e) }
    })
}

//! The fleet as it holds after defaults, for people and programs to look at. Secrets are named, never shown.

use std::path::Path;

use serde::Serialize;

use super::duration::write_duration;
use super::fleet::{Fleet, HaproxyAccess, HaproxySpec, MinHealthy, NodeSpec, PoolPolicy, Reach, SshSpec};
use super::secret::SecretRef;
use super::size::show_size;
use super::write::confirm_word;

#[derive(Clone, Debug, Serialize)]
pub struct EffectiveFleet {
    pub path: String,
    pub settings: EffectiveSettings,
    pub nodes: Vec<EffectiveNode>,
    pub groups: Vec<EffectiveGroup>,
    pub policies: Vec<EffectivePolicy>,
}

#[derive(Clone, Debug, Serialize)]
pub struct EffectiveSettings {
    pub refresh: String,
    pub timeout: String,
    pub dead_after: String,
    pub read_only: bool,
    pub max_reply: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct EffectiveNode {
    pub name: String,
    pub address: String,
    pub zone: Option<String>,
    pub role: Option<String>,
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    /// `ssh`, `local` or `none`.
    pub reach: &'static str,
    pub ssh: Option<EffectiveSsh>,
    pub haproxy: Option<EffectiveHaproxy>,
    /// The control socket of lbdeck's own agent, or `tls HOST:PORT`.
    pub relay: Option<String>,
    pub keepalived: Option<EffectiveKeepalived>,
    pub lock_dir: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct EffectiveKeepalived {
    /// Null: what the running daemon was started with.
    pub config: Option<String>,
    pub sudo: bool,
    pub ask_every: String,
}

/// What overrides the ssh configuration; what is null comes from there.
#[derive(Clone, Debug, Serialize)]
pub struct EffectiveSsh {
    pub host: String,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<String>,
    pub proxy_jump: Option<String>,
    pub known_hosts: Option<String>,
    pub config_file: Option<String>,
    /// Where it comes from (`file …`, `env …`, `command …`).
    pub password: Option<String>,
    pub passphrase: Option<String>,
    pub connect_timeout: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct EffectiveHaproxy {
    /// `socket`, `tcp` or `stats`.
    pub access: &'static str,
    pub at: String,
    pub user: Option<String>,
    pub password: Option<String>,
    pub ca_file: Option<String>,
    pub metrics: Option<String>,
    pub master_socket: Option<String>,
    pub config: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct EffectiveGroup {
    pub name: String,
    pub nodes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct EffectivePolicy {
    pub pool: String,
    /// A count, or a percentage with its sign.
    pub min_healthy: Option<String>,
    pub read_only: bool,
    /// None where the kind of change decides.
    pub confirm: Option<&'static str>,
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The kind of reference and its name. Of a command only the program: its arguments may be what should not be seen.
fn secret(secret: &SecretRef) -> String {
    format!("{secret:?}")
}

impl EffectiveFleet {
    pub fn of(fleet: &Fleet) -> Self {
        let groups = fleet.groups.iter().map(|name| EffectiveGroup {
            name: name.clone(),
            nodes: fleet.nodes.iter().filter(|n| n.meta.groups.contains(name)).map(|n| n.meta.name.to_string()).collect(),
        });
        let s = &fleet.settings;
        Self {
            path: shown(&fleet.path),
            settings: EffectiveSettings {
                refresh: write_duration(s.refresh),
                timeout: write_duration(s.timeout),
                dead_after: write_duration(s.dead_after),
                read_only: s.read_only,
                max_reply: show_size(s.max_reply),
            },
            nodes: fleet.nodes.iter().map(EffectiveNode::of).collect(),
            groups: groups.collect(),
            policies: fleet.policies.iter().map(EffectivePolicy::of).collect(),
        }
    }
}

impl EffectiveNode {
    fn of(spec: &NodeSpec) -> Self {
        let (reach, ssh) = match &spec.reach {
            Reach::Ssh(ssh) => ("ssh", Some(EffectiveSsh::of(ssh))),
            Reach::Local => ("local", None),
            Reach::None => ("none", None),
        };
        let meta = spec.meta.clone();
        Self {
            name: meta.name.to_string(),
            address: meta.address,
            zone: meta.zone,
            role: meta.role,
            tags: meta.tags,
            groups: meta.groups,
            reach,
            ssh,
            haproxy: spec.haproxy.as_ref().map(EffectiveHaproxy::of),
            relay: spec.relay.as_ref().map(|relay| match &relay.tcp {
                Some(tcp) => format!("tls {}", tcp.address),
                None => shown(&relay.socket),
            }),
            keepalived: spec.keepalived.as_ref().map(|k| EffectiveKeepalived {
                config: k.config.as_deref().map(shown),
                sudo: k.sudo,
                ask_every: write_duration(k.ask_every),
            }),
            lock_dir: shown(&spec.lock_dir),
        }
    }
}

impl EffectiveSsh {
    fn of(ssh: &SshSpec) -> Self {
        Self {
            host: ssh.host.clone(),
            user: ssh.user.clone(),
            port: ssh.port,
            identity_files: ssh.identity_files.iter().map(|p| shown(p)).collect(),
            proxy_jump: ssh.proxy_jump.clone(),
            known_hosts: ssh.known_hosts.as_deref().map(shown),
            config_file: ssh.config_file.as_deref().map(shown),
            password: ssh.password.as_ref().map(secret),
            passphrase: ssh.passphrase.as_ref().map(secret),
            connect_timeout: ssh.connect_timeout.map(write_duration),
        }
    }
}

impl EffectiveHaproxy {
    fn of(spec: &HaproxySpec) -> Self {
        let (access, at, user, password, ca_file) = match &spec.access {
            HaproxyAccess::Socket(path) => ("socket", shown(path), None, None, None),
            HaproxyAccess::Tcp(address) => ("tcp", address.clone(), None, None, None),
            HaproxyAccess::Stats { url, user, password, ca_file } => {
                ("stats", url.clone(), user.clone(), password.as_ref().map(secret), ca_file.as_deref().map(shown))
            }
        };
        Self {
            access,
            at,
            user,
            password,
            ca_file,
            metrics: spec.metrics_url.clone(),
            master_socket: spec.master_socket.as_deref().map(shown),
            config: spec.config_file.as_deref().map(shown),
        }
    }
}

impl EffectivePolicy {
    fn of(policy: &PoolPolicy) -> Self {
        Self {
            pool: policy.pool.clone(),
            min_healthy: policy.min_healthy.map(|floor| match floor {
                MinHealthy::Count(n) => n.to_string(),
                MinHealthy::Percent(p) => format!("{p}%"),
            }),
            read_only: policy.read_only,
            confirm: policy.confirm.map(confirm_word),
        }
    }
}

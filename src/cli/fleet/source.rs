//! Where the hosts of a new fleet come from: an ssh configuration, an Ansible inventory, or names given by hand.

use std::path::{Path, PathBuf};

use crate::app::survey;
use crate::cli::failure::{Failure, Result};
use crate::config::{self, NodeSpec, Reach, SshSpec, ansible, env};
use crate::model::NodeMeta;

/// Hosts that may become nodes; nothing has been looked at yet.
#[derive(Debug, Default)]
pub struct Hosts {
    pub nodes: Vec<NodeSpec>,
    /// Groups, each after those it was made of.
    pub groups: Vec<String>,
    /// What could not be taken over.
    pub notes: Vec<String>,
    /// For the comment at the top of the file.
    pub origin: String,
}

/// The hosts that an ssh configuration names; None is the user's own.
pub fn from_ssh_config(file: Option<&Path>) -> Result<Hosts> {
    let file = file.map(absolute).transpose()?;
    let names = survey::ssh_hosts(file.as_deref()).map_err(|p| match p.hint {
        Some(hint) => Failure::invalid(p.what).hint(hint),
        None => Failure::invalid(p.what),
    })?;
    let shown = file.as_ref().map_or_else(|| "~/.ssh/config".to_owned(), |f| f.display().to_string());
    if names.is_empty() {
        return Err(Failure::invalid(format!("{shown} names no host without wildcards")).hint("--host NAME names one"));
    }
    let mut hosts = Hosts { origin: shown, ..Hosts::default() };
    for name in names {
        match config::name_is_good(&name) {
            Ok(()) => {
                hosts.nodes.push(node(&name, SshSpec { host: name.clone(), config_file: file.clone(), ..SshSpec::default() }))
            }
            Err(why) => hosts.notes.push(format!("'{name}' {why}; left out")),
        }
    }
    Ok(hosts)
}

pub fn from_ansible(path: &Path) -> Result<Hosts> {
    let (inventory, mut notes) = ansible::load(path)?;
    if inventory.hosts().is_empty() {
        return Err(Failure::invalid(format!("{}: the inventory has no hosts", path.display())));
    }
    let base = absolute(path)?;
    let base = base.parent().unwrap_or(Path::new("/"));
    let (nodes, more) = ansible::to_nodes(&inventory, base, env::home().as_deref());
    notes.extend(more);
    let groups = inventory.groups().into_iter().map(|(name, _)| name.to_owned());
    let groups = groups.filter(|g| nodes.iter().any(|n| n.meta.groups.contains(g))).collect();
    Ok(Hosts { nodes, groups, notes, origin: format!("the Ansible inventory {}", path.display()) })
}

/// `[user@]host[:port]`, `local` for this machine.
pub fn by_hand(given: &[String]) -> Result<Hosts> {
    let mut hosts = Hosts { origin: "hosts given by hand".to_owned(), ..Hosts::default() };
    for text in given {
        let bad = |why: &str| {
            Failure::invalid(format!("'{text}' {why}")).hint("write [user@]host[:port], for instance ops@lb1:2222, or local")
        };
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text.as_str()),
        };
        let (host, port) = split_port(rest).ok_or_else(|| bad("has a port that is none"))?;
        config::name_is_good(host).map_err(bad)?;
        if host.is_empty() || user.as_ref().is_some_and(|u| u.is_empty() || u.contains(char::is_whitespace)) {
            return Err(bad("names no host"));
        }
        let mut spec = node(host, SshSpec { host: host.to_owned(), user, port, ..SshSpec::default() });
        if text == "local" {
            spec.reach = Reach::Local;
            spec.meta.address = "127.0.0.1".to_owned();
        }
        hosts.nodes.push(spec);
    }
    Ok(hosts)
}

/// Host without brackets, and the port; None where the port is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => port.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        // More than one colon: an IPv6 address alone.
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}

fn node(name: &str, ssh: SshSpec) -> NodeSpec {
    NodeSpec {
        meta: NodeMeta {
            name: name.into(),
            address: name.to_owned(),
            zone: None,
            role: None,
            tags: Vec::new(),
            groups: Vec::new(),
        },
        reach: Reach::Ssh(Box::new(ssh)),
        haproxy: None,
        relay: None,
        keepalived: None,
        lock_dir: config::DEFAULT_LOCK_DIR.into(),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())))
}

impl Hosts {
    /// Leaves those whose name or group matches one of the globs.
    pub fn keep(&mut self, globs: &[String]) -> Result<()> {
        if globs.is_empty() {
            return Ok(());
        }
        let mut set = globset::GlobSetBuilder::new();
        for glob in globs {
            set.add(
                globset::Glob::new(glob).map_err(|e| Failure::invalid(format!("--only '{glob}' is not a glob: {}", e.kind())))?,
            );
        }
        let set = set.build().map_err(|e| Failure::invalid(format!("--only: {e}")))?;
        self.nodes.retain(|n| set.is_match(n.meta.name.as_str()) || n.meta.groups.iter().any(|g| set.is_match(g)));
        self.tidy_groups();
        if self.nodes.is_empty() {
            return Err(Failure::invalid(format!("no host matches --only {}", globs.join(" "))));
        }
        Ok(())
    }

    /// Drops groups that hold nobody any more.
    pub fn tidy_groups(&mut self) {
        let nodes = &self.nodes;
        self.groups.retain(|g| nodes.iter().any(|n| n.meta.groups.contains(g)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_by_hand() {
        let given = ["ops@lb1:2222", "lb2", "[2001:db8::1]:22", "2001:db8::2", "local"].map(str::to_owned);
        let hosts = by_hand(&given).unwrap();
        let shown: Vec<String> = hosts
            .nodes
            .iter()
            .map(|n| match &n.reach {
                Reach::Ssh(s) => format!("{} {:?} {:?}", s.host, s.user, s.port),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(
            shown,
            ["lb1 Some(\"ops\") Some(2222)", "lb2 None None", "2001:db8::1 None Some(22)", "2001:db8::2 None None", "Local"]
        );
        for bad in ["", "@lb1", "lb1:x", "lb 1", "-oProxyCommand=x", "a/b", "[::1", "[::1]x"] {
            assert!(by_hand(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}

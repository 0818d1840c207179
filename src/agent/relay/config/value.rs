//! Kinds of values that several parts of the relay's file share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::name_is_good;
use crate::config::reader::{Reader, Section, show};
use crate::config::yaml::Node;

/// Puts a duration into its place where the key is given and right.
pub(super) fn duration(reader: &mut Reader<'_>, section: Section<'_>, key: &str, least: Duration, into: &mut Duration) {
    if let Some(duration) = section.get(key).and_then(|n| reader.duration(n, key, least)) {
        *into = duration;
    }
}

/// A name that may stand in selectors, file names and metrics.
pub(super) fn name(reader: &mut Reader<'_>, section: Section<'_>, what: &str) -> Option<String> {
    let Some(node) = section.get("name") else {
        reader.error(section.place(), format!("{what} needs 'name'"), None);
        return None;
    };
    let text = reader.text(node, "name")?;
    if let Err(why) = name_is_good(&text) {
        reader.error(node.place, format!("'name': '{text}' {why}"), None);
        return None;
    }
    Some(text)
}

/// `10.0.0.5:80`, `[2001:db8::5]:80`. The relay resolves no names: what it connects to must not depend on DNS being up.
pub(super) fn socket_address(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<SocketAddr> {
    let text = reader.text(node, key)?;
    let address: Option<SocketAddr> = text.parse().ok();
    if address.is_none() {
        let hint = "write IP:port, for instance 10.0.0.5:80 or \"[2001:db8::5]:80\"; names are not resolved";
        reader.error(node.place, format!("'{key}': '{text}' is no IP address with a port"), hint.to_owned());
    }
    address
}

/// Networks in CIDR form; an address alone is itself.
pub fn networks(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for (text, place) in reader.texts(node, key) {
        match text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from)) {
            Some(net) => nets.push(net.trunc()),
            None => {
                let hint = "write for instance 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7".to_owned();
                reader.error(place, format!("'{key}': '{text}' is no network"), hint);
            }
        }
    }
    nets
}

/// `unix:/path`: the path, where the text is one.
pub(super) fn unix_path(reader: &mut Reader<'_>, node: &Node, key: &str, text: &str) -> Option<Option<PathBuf>> {
    /// What fits the kernel's address of a unix socket.
    const SUN_PATH: usize = 107;
    let Some(path) = text.strip_prefix("unix:") else { return Some(None) };
    if !path.starts_with('/') || path.len() > SUN_PATH {
        let hint = format!("write unix:/absolute/path of at most {SUN_PATH} bytes");
        reader.error(node.place, format!("'{key}': {} is no unix socket", show(node)), hint);
        return None;
    }
    Some(Some(PathBuf::from(path)))
}

/// `20%` as 0.2.
pub(super) fn percent(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<f64> {
    let text = node.scalar().and_then(|t| t.trim().strip_suffix('%'));
    let share = text.and_then(|t| t.trim().parse::<f64>().ok()).filter(|p| (0.0..=100.0).contains(p));
    if share.is_none() {
        let what = format!("'{key}' is a percentage from 0% to 100%, not {}", show(node));
        reader.error(node.place, what, None);
    }
    share.map(|p| p / 100.0)
}

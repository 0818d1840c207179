//! What clients may ask for, and how much of it.

use std::time::Duration;

use http::Method;

use crate::agent::relay::protect::networks::Networks;
use crate::agent::relay::protect::rate::Rate;
use crate::agent::relay::protect::{LimitBy, LimitConfig, ProtectConfig};
use crate::agent::relay::route::pattern::Pattern;
use crate::config::reader::{Reader, Section};
use crate::config::yaml::{Node, Value};

use super::value;

/// What a listener says about it; None = nothing is refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Protect(pub Option<ProtectConfig>);

/// Keys of a listener that are read here.
pub const KEYS: &[&str] = &["protect"];

/// Reads the keys of a listener.
pub fn read(reader: &mut Reader<'_>, listener: Section<'_>) -> Protect {
    Protect(listener.get("protect").and_then(|n| read_protect(reader, n)))
}

const PROTECT_KEYS: &[&str] = &[
    "allow",
    "deny",
    "deny_methods",
    "deny_user_agents",
    "deny_paths",
    "connections_per_client",
    "limits",
    "ipv6_prefix",
    "table_size",
];

/// The `protect` section of a listener or route.
pub(super) fn read_protect(reader: &mut Reader<'_>, node: &Node) -> Option<ProtectConfig> {
    let s = reader.keys(node, "protect", &[PROTECT_KEYS])?;
    let mut config = ProtectConfig::default();
    let mut networks = |key: &str| Networks::new(s.get(key).map_or_else(Vec::new, |n| value::networks(reader, n, key)));
    (config.allow, config.deny) = (networks("allow"), networks("deny"));
    config.deny_methods = s.get("deny_methods").map_or_else(Vec::new, |n| methods(reader, n, "deny_methods"));
    config.deny_user_agents = s.get("deny_user_agents").map_or_else(Vec::new, |n| patterns(reader, n, "deny_user_agents"));
    config.deny_paths = s.get("deny_paths").map_or_else(Vec::new, |n| patterns(reader, n, "deny_paths"));
    config.connections = s.get("connections_per_client").and_then(|n| number(reader, n, "connections_per_client"));
    if let Some(node) = s.get("limits") {
        match &node.value {
            Value::List(items) => config.limits = items.iter().filter_map(|i| read_limit(reader, i)).collect(),
            _ => reader.error(node.place, format!("'limits' is a list, not {}", node.kind()), "write `- by: client`".to_owned()),
        }
    }
    if let Some(bits) = s.get("ipv6_prefix").and_then(|n| reader.number(n, "ipv6_prefix", 16..=128)) {
        config.v6_prefix = u8::try_from(bits).unwrap_or(config.v6_prefix);
    }
    if let Some(entries) = s.get("table_size").and_then(|n| reader.number(n, "table_size", 100..=10_000_000)) {
        config.table_size = usize::try_from(entries).unwrap_or(config.table_size);
    }
    Some(config)
}

fn read_limit(reader: &mut Reader<'_>, node: &Node) -> Option<LimitConfig> {
    const BY: [(&str, LimitBy); 4] =
        [("client", LimitBy::Client), ("uri", LimitBy::Uri), ("client+uri", LimitBy::ClientAndUri), ("all", LimitBy::All)];
    let s = reader.keys(node, "a limit", &[&["by", "rate", "burst", "concurrency"]])?;
    let by = s.get("by").map_or(Some(LimitBy::Client), |n| reader.word(n, "by", &BY));
    let rate = s.get("rate").map(|n| read_rate(reader, n));
    let burst = s.get("burst").map(|n| (n.place, number(reader, n, "burst")));
    let concurrency = s.get("concurrency").map(|n| number(reader, n, "concurrency"));
    if rate.is_none() && concurrency.is_none() {
        reader.error(s.place(), "a limit needs 'rate' or 'concurrency'", None);
    }
    if let (None, Some((place, _))) = (&rate, &burst) {
        reader.error(*place, "'burst' needs 'rate'", None);
    }
    // What was wrong has been reported; what is missing here only keeps the value from being used.
    let rate = rate.map_or(Some(None), |r| r.map(Some))?;
    let burst = burst.and_then(|(_, b)| b);
    Some(LimitConfig {
        by: by?,
        rate: rate.map(|r| Rate { burst: burst.unwrap_or(r.burst), ..r }),
        concurrency: concurrency.map_or(Some(None), |c| c.map(Some))?,
    })
}

/// `100/s`, `600/1m`, `1000/10s`. Without a burst, all of one period may come at once.
fn read_rate(reader: &mut Reader<'_>, node: &Node) -> Option<Rate> {
    let text = reader.text(node, "rate")?;
    let rate = text.split_once('/').and_then(|(count, per)| {
        let count = count.trim().parse::<u32>().ok().filter(|c| *c > 0)?;
        let per = per.trim();
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
        let per = crate::config::duration::parse_duration(&per).ok().filter(|p| *p >= Duration::from_millis(1))?;
        Some(Rate { count, per, burst: count })
    });
    if rate.is_none() {
        let hint = "write for instance 100/s, 600/1m or 1000/10s".to_owned();
        reader.error(node.place, format!("'rate': '{text}' is no rate"), hint);
    }
    rate
}

fn number(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<u32> {
    reader.number(node, key, 1..=10_000_000).and_then(|n| u32::try_from(n).ok())
}

/// Methods (RFC 9110, 9): in capitals, or they would never match.
pub(super) fn methods(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<Method> {
    let mut found = Vec::new();
    for (text, place) in reader.texts(node, key) {
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if text.bytes().all(|b| !b.is_ascii_lowercase()) => found.push(method),
            Ok(_) => {
                let hint = format!("methods are case-sensitive; write {}", text.to_ascii_uppercase());
                reader.error(place, format!("'{key}': '{text}' is in small letters"), hint);
            }
            Err(_) => reader.error(place, format!("'{key}': '{text}' is no method"), "for instance GET or POST".to_owned()),
        }
    }
    found
}

/// Regular expressions.
pub(super) fn patterns(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<Pattern> {
    let mut found = Vec::new();
    for (text, place) in reader.texts(node, key) {
        match Pattern::new(&text) {
            Ok(pattern) => found.push(pattern),
            Err(why) => reader.error(place, format!("'{key}': '{text}' is no regular expression: {why}"), None),
        }
    }
    found
}

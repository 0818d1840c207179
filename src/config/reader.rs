//! Takes typed values out of the tree and collects every error on the way, instead of stopping at the first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostic, Place};
use super::duration::parse_duration;
use super::size::{parse_size, show_size};
use super::yaml::{Node, Value};

/// What reading one file needs and yields: the errors so far, and what paths are relative to.
pub struct Reader<'a> {
    pub errors: Vec<Diagnostic>,
    /// Folder of the file being read.
    pub base: &'a Path,
    pub home: Option<&'a Path>,
}

/// A mapping whose keys were checked against those that are known.
#[derive(Clone, Copy)]
pub struct Section<'n> {
    node: &'n Node,
}

impl<'n> Section<'n> {
    /// The value of a key; a key without a value counts as not given.
    pub fn get(self, key: &str) -> Option<&'n Node> {
        self.node.get(key).filter(|n| n.value != Value::Null)
    }
    pub fn place(self) -> Place {
        self.node.place
    }
    /// Where the key itself stands.
    pub fn key_place(self, key: &str) -> Place {
        self.node.entries().iter().find(|e| e.key == key).map_or(self.node.place, |e| e.place)
    }
}

/// Keys of every section, to tell somebody who wrote a key into the wrong one where it belongs.
pub const SECTIONS: &[(&str, &[&str])] = &[
    ("the fleet file", &["version", "settings", "defaults", "nodes", "groups", "policies"]),
    ("settings", &["refresh", "timeout", "dead_after", "read_only", "max_reply"]),
    ("defaults", &["zone", "role", "tags", "lock_dir", "ssh", "haproxy", "relay", "keepalived"]),
    ("a node", &["name", "address", "zone", "role", "tags", "lock_dir", "ssh", "local", "engines"]),
    ("engines", &["haproxy", "relay", "keepalived"]),
    ("keepalived", &["config", "sudo", "ask_every"]),
    ("relay", &["socket", "tcp", "server_name", "ca", "certificate", "key"]),
    (
        "ssh",
        &[
            "host",
            "user",
            "port",
            "identity_file",
            "proxy_jump",
            "known_hosts",
            "config_file",
            "connect_timeout",
            "password_file",
            "password_env",
            "password_command",
            "passphrase_file",
            "passphrase_env",
            "passphrase_command",
        ],
    ),
    ("haproxy", &["socket", "tcp", "stats", "metrics", "master_socket", "config"]),
    ("stats", &["url", "user", "password_file", "password_env", "password_command", "ca_file"]),
    ("a policy", &["pool", "min_healthy", "read_only", "confirm"]),
];

impl<'a> Reader<'a> {
    pub fn new(base: &'a Path, home: Option<&'a Path>) -> Self {
        Self { errors: Vec::new(), base, home }
    }

    pub fn error(&mut self, place: Place, what: impl Into<String>, hint: impl Into<Option<String>>) {
        self.errors.push(Diagnostic { place, what: what.into(), hint: hint.into() });
    }

    /// A mapping of a known section (see [`SECTIONS`]); every duplicate, unknown or secret key is an error.
    pub fn section<'n>(&mut self, node: &'n Node, name: &'static str) -> Option<Section<'n>> {
        let known = SECTIONS.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, keys)| keys);
        self.keys(node, name, &[known])
    }

    /// A mapping whose keys are given: one group of them a feature, so that files other than the fleet file are read with
    /// the same care. `name` is how errors call the mapping.
    pub fn keys<'n>(&mut self, node: &'n Node, name: &str, known: &[&[&str]]) -> Option<Section<'n>> {
        let known = known.concat();
        let Value::Map(_) = &node.value else {
            self.error(
                node.place,
                format!("{name} is a mapping of keys, not {}", node.kind()),
                Some(format!("keys: {}", known.join(", "))),
            );
            return None;
        };
        self.duplicates(node);
        for entry in node.entries().iter().filter(|e| !known.contains(&e.key.as_str())) {
            let (what, hint) = unknown_key(&entry.key, name, &known);
            self.error(entry.place, what, hint);
        }
        Some(Section { node })
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, node: &Node, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all = || words.iter().map(|(word, _)| *word);
            let hint = match nearest(&text, all()) {
                Some(word) => format!("did you mean '{word}'?"),
                None => format!("one of {}", all().collect::<Vec<_>>().join(", ")),
            };
            self.error(node.place, format!("'{key}': '{text}' is not known"), hint);
        }
        found
    }

    /// A whole number within a range.
    pub fn number(&mut self, node: &Node, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = node.scalar().and_then(|t| t.parse().ok()).filter(|n| range.contains(n));
        if number.is_none() {
            let what = format!("'{key}' is a whole number from {} to {}, not {}", range.start(), range.end(), show(node));
            self.error(node.place, what, None);
        }
        number
    }

    /// Bytes, with a unit where more than a few (`64KiB`).
    pub fn size(&mut self, node: &Node, key: &str, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let text = self.text(node, key)?;
        let what = match parse_size(&text) {
            Ok(size) if range.contains(&size) => return Some(size),
            Ok(_) => format!("'{text}' is outside {} to {}", show_size(*range.start()), show_size(*range.end())),
            Err(why) => why,
        };
        self.error(node.place, format!("'{key}': {what}"), None);
        None
    }

    /// Reports keys that stand twice in one mapping.
    pub fn duplicates(&mut self, node: &Node) {
        let mut first = std::collections::HashMap::new();
        for entry in node.entries() {
            if let Some(line) = first.get(entry.key.as_str()) {
                let hint = "keep one of them".to_owned();
                self.error(entry.place, format!("'{}' stands here twice, first in line {line}", entry.key), hint);
            } else {
                first.insert(entry.key.as_str(), entry.place.line);
            }
        }
    }

    /// Text as written; numbers are taken as their text. Empty text is an error.
    pub fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) | Value::Number(text) => {
                if text.trim().is_empty() {
                    self.error(node.place, format!("'{key}' is empty"), "give it a value, or leave the key out".to_owned());
                    return None;
                }
                if text.chars().any(char::is_control) {
                    self.error(node.place, format!("'{key}' holds control characters"), None);
                    return None;
                }
                Some(text.clone())
            }
            Value::Bool(_) => {
                self.error(node.place, format!("'{key}' is text, not a boolean"), "quote it".to_owned());
                None
            }
            _ => {
                self.error(node.place, format!("'{key}' is text, not {}", node.kind()), flow_hint(node));
                None
            }
        }
    }

    pub fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        self.error(node.place, format!("'{key}' is true or false, not {}", show(node)), None);
        None
    }

    pub fn port(&mut self, node: &Node, key: &str) -> Option<u16> {
        let port = node.scalar().and_then(|t| t.parse().ok()).filter(|p| *p > 0);
        if port.is_none() {
            self.error(node.place, format!("'{key}' is a port from 1 to 65535, not {}", show(node)), None);
        }
        port
    }

    pub fn duration(&mut self, node: &Node, key: &str, least: Duration) -> Option<Duration> {
        let Some(text) = node.scalar() else {
            self.error(
                node.place,
                format!("'{key}' is a duration, not {}", node.kind()),
                "write for instance 5s or 2m".to_owned(),
            );
            return None;
        };
        match parse_duration(text) {
            Ok(duration) if duration < least => {
                self.error(node.place, format!("'{key}': {text} is too short"), format!("at least {}", short(least)));
                None
            }
            Ok(duration) => Some(duration),
            Err(why) => {
                let (what, hint) = match why.split_once("; ") {
                    Some((what, hint)) => (what.to_owned(), Some(hint.to_owned())),
                    None => (why, None),
                };
                self.error(node.place, format!("'{key}': {what}"), hint);
                None
            }
        }
    }

    /// A list of text; one text alone counts as a list of one.
    pub fn texts(&mut self, node: &Node, key: &str) -> Vec<(String, Place)> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|i| self.text(i, key).map(|t| (t, i.place))).collect(),
            Value::Null => Vec::new(),
            _ => self.text(node, key).map(|t| (t, node.place)).into_iter().collect(),
        }
    }

    /// A path on this machine: `~` is the home folder, relative paths start at the file being read.
    pub fn local_path(&mut self, node: &Node, key: &str) -> Option<PathBuf> {
        let text = self.text(node, key)?;
        self.expand(node, key, &text)
    }

    pub fn local_paths(&mut self, node: &Node, key: &str) -> Vec<PathBuf> {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        items.iter().filter_map(|item| self.local_path(item, key)).collect()
    }

    fn expand(&mut self, node: &Node, key: &str, text: &str) -> Option<PathBuf> {
        if text == "~" || text.starts_with("~/") {
            let Some(home) = self.home else {
                self.error(node.place, format!("'{key}': ~ means the home folder, and HOME is not set"), None);
                return None;
            };
            return Some(home.join(text.trim_start_matches('~').trim_start_matches('/')));
        }
        if text.starts_with('~') {
            let hint = "write the path out".to_owned();
            self.error(node.place, format!("'{key}': only ~/ is expanded, not the home folder of others"), hint);
            return None;
        }
        Some(self.base.join(text))
    }

    /// A path on the node, which has no folder to be relative to.
    pub fn remote_path(&mut self, node: &Node, key: &str) -> Option<PathBuf> {
        let text = self.text(node, key)?;
        if !text.starts_with('/') {
            let hint = "paths on nodes are absolute".to_owned();
            self.error(node.place, format!("'{key}': {text} does not begin with /"), hint);
            return None;
        }
        Some(PathBuf::from(text))
    }

    /// A unix socket on the node: its path must fit the kernel's address.
    pub fn socket_path(&mut self, node: &Node, key: &str) -> Option<PathBuf> {
        const SUN_PATH: usize = 107;
        let path = self.remote_path(node, key)?;
        let length = path.as_os_str().len();
        if length > SUN_PATH {
            let what = format!("'{key}': {length} bytes are too long for a unix socket (at most {SUN_PATH})");
            self.error(node.place, what, None);
            return None;
        }
        Some(path)
    }

    /// `host:port`, `[::1]:port`.
    pub fn host_port(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = self.text(node, key)?;
        let split = text.rsplit_once(':').filter(|(host, port)| {
            let ipv6 = host.starts_with('[') && host.ends_with(']');
            !host.is_empty() && (ipv6 || !host.contains(':')) && port.parse::<u16>().is_ok_and(|p| p > 0)
        });
        if split.is_none() {
            let hint = "write host:port, for instance 10.0.0.5:9999 or [2001:db8::5]:9999".to_owned();
            self.error(node.place, format!("'{key}': '{text}' has no host and port"), hint);
            return None;
        }
        Some(text)
    }

    pub fn http_url(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = self.text(node, key)?;
        let (what, hint) = match reqwest::Url::parse(&text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                (format!("'{key}': only http:// and https:// are spoken"), None)
            }
            Ok(url) if url.password().is_some() || !url.username().is_empty() => (
                format!("'{key}': credentials must not stand in the URL"),
                Some("write user: NAME and password_file: PATH (or password_env, password_command) beside it".to_owned()),
            ),
            Ok(url) if url.has_host() => return Some(text),
            Ok(_) => (format!("'{key}': the URL has no host"), None),
            Err(why) => (format!("'{key}': not a URL: {why}"), Some("for instance http://10.0.0.5:8404/stats".to_owned())),
        };
        self.error(node.place, what, hint);
        None
    }
}

/// The value as written where that is short, else its kind.
pub fn show(node: &Node) -> String {
    match &node.value {
        Value::Text(text) | Value::Number(text) if text.chars().count() <= 40 => format!("'{text}'"),
        _ => node.kind().to_owned(),
    }
}

fn short(d: Duration) -> String {
    super::duration::show_duration(d)
}

/// `[::1]` without quotes is a list to YAML.
fn flow_hint(node: &Node) -> Option<String> {
    matches!(node.value, Value::List(_) | Value::Map(_)).then(|| "text that begins with [ or { needs quotes".to_owned())
}

fn unknown_key(key: &str, section: &str, known: &[&str]) -> (String, Option<String>) {
    if let Some(secret @ ("password" | "passphrase")) = Some(key.to_ascii_lowercase().as_str()) {
        return (
            format!("a {secret} must not stand in this file: it is shared, backed up and shown"),
            Some(format!("name where it is: {secret}_file: PATH, {secret}_env: NAME or {secret}_command: [argv, ...]")),
        );
    }
    let hint = nearest(key, known.iter().copied()).map(|k| format!("did you mean '{k}'?")).or_else(|| {
        SECTIONS
            .iter()
            .find(|(name, keys)| *name != section && keys.contains(&key))
            .map(|(name, _)| format!("'{key}' belongs under {name}"))
    });
    (format!("unknown key '{key}' in {section}"), hint.or_else(|| Some(format!("keys: {}", known.join(", ")))))
}

/// The candidate that somebody who wrote `word` may have meant: it begins alike, or a letter or two are wrong or swapped.
pub fn nearest<'w>(word: &str, candidates: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase();
    candidates
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            let slips = strsim::damerau_levenshtein(&word, &lower);
            (strsim::jaro_winkler(&word, &lower), slips * 3 <= word.chars().count(), candidate)
        })
        .filter(|(alike, few_slips, _)| *alike > 0.8 || *few_slips)
        .max_by(|a, b| a.1.cmp(&b.1).then(a.0.total_cmp(&b.0)))
        .map(|(.., candidate)| candidate)
}

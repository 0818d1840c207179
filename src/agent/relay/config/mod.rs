//! What the relay's YAML file says, typed: one file a feature, read as a whole, so that a bad file changes nothing.
//!
//! The text goes through `crate::config::yaml` (a tree with places) and `crate::config::reader` (typed values, all errors
//! collected). Features that stand in a listener or in `global` have three things each: a struct with its `Default`, the
//! keys that it adds, and a function that reads them from the section. The reference for people is `docs/relay.md`.

pub mod check;
pub mod content;
pub mod listener;
pub mod log;
pub mod names;
pub mod pool;
pub mod protect;
pub mod route;
pub mod tls;
mod value;

#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::reader::Reader;
use crate::config::size::show_size;
use crate::config::yaml::{self, Node, Value};

pub use listener::{BindAddress, ListenerConfig, Mode};
pub use names::PoolNames;
pub use pool::{PoolConfig, ServerConfig};

/// A relay's file may be so long: ten thousand servers with all their keys.
const MAX_FILE: usize = 16 << 20;

/// The whole configuration of one relay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelayConfig {
    pub global: Global,
    /// In the order of the file; names are unique.
    pub listeners: Vec<Arc<ListenerConfig>>,
    /// In the order of the file; names are unique.
    pub pools: Vec<Arc<PoolConfig>>,
}

impl RelayConfig {
    pub fn pool(&self, name: &str) -> Option<&Arc<PoolConfig>> {
        self.pools.iter().find(|p| &*p.name == name)
    }
    pub fn listener(&self, name: &str) -> Option<&Arc<ListenerConfig>> {
        self.listeners.iter().find(|l| &*l.name == name)
    }
}

/// What holds for the whole relay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Global {
    /// Data threads; None = one a core.
    pub threads: Option<usize>,
    pub log: log::GlobalLog,
}

const GLOBAL_KEYS: &[&str] = &["threads"];

/// Why a configuration was not taken. Nothing has changed then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RelayConfigError {
    #[error("{}: cannot read the relay's configuration: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{}: larger than {limit}, which no relay's configuration needs to be", path.display())]
    TooLarge { path: PathBuf, limit: String },
    /// All that is wrong, in the order of the file: place, line, hint.
    #[error("{0}")]
    Invalid(Box<Diagnostics>),
}

/// Reads and validates a file.
pub fn load(path: &Path) -> Result<RelayConfig, RelayConfigError> {
    let unreadable = |why: String| RelayConfigError::Unreadable { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|e| unreadable(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))?;
    parse(&text, path)
}

/// Validates the text of a file. `path` is for errors, and relative paths in the text start at its folder.
pub fn parse(text: &str, path: &Path) -> Result<RelayConfig, RelayConfigError> {
    if text.len() > MAX_FILE {
        return Err(RelayConfigError::TooLarge { path: path.to_owned(), limit: show_size(MAX_FILE) });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let invalid = |errors: Vec<Diagnostic>| RelayConfigError::Invalid(Box::new(Diagnostics::new(path, text, errors)));
    let tree = yaml::parse(text).map_err(|e| invalid(vec![e]))?;
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut reader = Reader::new(base, None);
    match read(&mut reader, &tree) {
        Some(config) if reader.errors.is_empty() => Ok(config),
        _ => Err(invalid(reader.errors)),
    }
}

fn read(reader: &mut Reader<'_>, tree: &Node) -> Option<RelayConfig> {
    if tree.value == Value::Null {
        // A relay that is to serve nothing yet is legal: the agent runs without a configuration.
        return Some(RelayConfig::default());
    }
    let top = reader.keys(tree, "the relay's configuration", &[&["version", "global", "listeners", "pools"]])?;
    if let Some(version) = top.get("version").filter(|v| v.scalar() != Some("1")) {
        reader.error(version.place, "this relay reads version 1", None);
    }
    let global = top.get("global").map_or_else(Global::default, |node| read_global(reader, node));
    let pools = top.get("pools").map_or_else(Vec::new, |node| pool::read_pools(reader, node));
    let names = PoolNames::new(top.get("pools"), &pools);
    let listeners = top.get("listeners").map_or_else(Vec::new, |node| listener::read_listeners(reader, node, &names));
    Some(RelayConfig {
        global,
        listeners: listeners.into_iter().map(Arc::new).collect(),
        pools: pools.into_iter().map(Arc::new).collect(),
    })
}

fn read_global(reader: &mut Reader<'_>, node: &Node) -> Global {
    let mut global = Global::default();
    let Some(section) = reader.keys(node, "global", &[GLOBAL_KEYS, log::GLOBAL_KEYS]) else { return global };
    global.threads = section.get("threads").and_then(|n| reader.number(n, "threads", 1..=256)).map(|n| n as usize);
    global.log = log::read_global(reader, section);
    global
}

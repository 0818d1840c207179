//! Compression and the cache.

use std::time::Duration;

use crate::agent::relay::content::compress::Encoding;
use crate::agent::relay::content::{CacheConfig, CompressionConfig};
use crate::config::reader::{Reader, Section};
use crate::config::yaml::{Node, Value};

use super::value;

/// What a listener says about it, and its routes unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    pub compression: Option<CompressionConfig>,
    pub cache: Option<CacheConfig>,
}

/// Keys of a listener that are read here; a route has them too.
pub const KEYS: &[&str] = &["compression", "cache"];

/// Reads the keys of a listener.
pub fn read(reader: &mut Reader<'_>, listener: Section<'_>) -> Content {
    read_over(reader, listener, &Content::default())
}

/// Reads the keys of a route: what it does not say is the listener's.
pub(super) fn read_over(reader: &mut Reader<'_>, section: Section<'_>, listener: &Content) -> Content {
    Content {
        compression: switch(reader, section, "compression", &listener.compression, read_compression),
        cache: switch(reader, section, "cache", &listener.cache, read_cache),
    }
}

/// A section that may also be `true` (as it is by default) or `false`.
fn switch<T: Clone + Default>(
    reader: &mut Reader<'_>,
    section: Section<'_>,
    key: &str,
    otherwise: &Option<T>,
    read: impl Fn(&mut Reader<'_>, &Node) -> Option<T>,
) -> Option<T> {
    match section.get(key) {
        None => otherwise.clone(),
        Some(Node { value: Value::Bool(on), .. }) => on.then(|| otherwise.clone().unwrap_or_default()),
        Some(node) => read(reader, node),
    }
}

fn read_compression(reader: &mut Reader<'_>, node: &Node) -> Option<CompressionConfig> {
    let s = reader.keys(node, "compression", &[&["encodings", "types", "min_size"]])?;
    let mut config = CompressionConfig::default();
    if let Some(node) = s.get("encodings") {
        let words = Encoding::ALL.map(|e| (e.word(), e));
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        config.encodings = items.iter().filter_map(|i| reader.word(i, "encodings", &words)).collect();
        if items.is_empty() {
            reader.error(node.place, "'encodings' is empty", "write compression: false to switch it off".to_owned());
        }
    }
    if let Some(node) = s.get("types") {
        config.types.clear();
        for (text, place) in reader.texts(node, "types") {
            let lower = text.to_ascii_lowercase();
            let good = lower
                .split_once('/')
                .is_some_and(|(kind, sub)| !kind.contains('*') && (sub == "*" || !sub.contains(['*', ';', ' '])));
            if good {
                config.types.push(lower.into());
            } else {
                let hint = "write for instance text/html or text/*".to_owned();
                reader.error(place, format!("'types': '{text}' is no media type"), hint);
            }
        }
    }
    if let Some(size) = s.get("min_size").and_then(|n| reader.size(n, "min_size", 0..=1 << 30)) {
        config.min_size = size as u64;
    }
    Some(config)
}

fn read_cache(reader: &mut Reader<'_>, node: &Node) -> Option<CacheConfig> {
    let s = reader.keys(node, "cache", &[&["max_size", "max_object", "stale_if_error", "wait"]])?;
    let mut config = CacheConfig::default();
    if let Some(size) = s.get("max_size").and_then(|n| reader.size(n, "max_size", 64 << 10..=64 << 30)) {
        config.max_size = size;
    }
    config.max_object = config.max_object.min(config.max_size / 2);
    if let Some(node) = s.get("max_object")
        && let Some(size) = reader.size(node, "max_object", 1..=1 << 30)
    {
        if size > config.max_size / 2 {
            let hint = "one object may take half of the cache at most".to_owned();
            reader.error(node.place, "'max_object' is too large for 'max_size'", hint);
        }
        config.max_object = size;
    }
    value::duration(reader, s, "stale_if_error", Duration::ZERO, &mut config.stale_if_error);
    value::duration(reader, s, "wait", Duration::ZERO, &mut config.wait);
    Some(config)
}

//! Which pools there are, for every part of the file that refers to one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::nearest;
use crate::config::reader::Reader;
use crate::config::yaml::{Node, Value};

use super::listener::Mode;
use super::pool::PoolConfig;

/// The names of all pools that the file defines, half-wrong ones included, so that one error does not bring others.
#[derive(Debug, Default)]
pub struct PoolNames {
    modes: HashMap<Arc<str>, Option<Mode>>,
}

impl PoolNames {
    pub(super) fn new(written: Option<&Node>, read: &[PoolConfig]) -> Self {
        let mut modes: HashMap<Arc<str>, Option<Mode>> = HashMap::new();
        if let Some(Node { value: Value::List(items), .. }) = written {
            modes.extend(items.iter().filter_map(|i| Some((Arc::from(i.get("name")?.scalar()?), None))));
        }
        modes.extend(read.iter().map(|p| (p.name.clone(), Some(p.mode))));
        Self { modes }
    }

    /// The pool that a value names; an error at its place where there is none, or where it is not for this mode.
    pub fn read(&self, reader: &mut Reader<'_>, node: &Node, key: &str, mode: Mode) -> Option<Arc<str>> {
        let text = reader.text(node, key)?;
        let Some((name, pool_mode)) = self.modes.get_key_value(text.as_str()) else {
            let hint = match nearest(&text, self.modes.keys().map(|n| &**n)) {
                Some(name) => format!("did you mean '{name}'?"),
                None if self.modes.is_empty() => "the file defines no pools".to_owned(),
                None => {
                    let mut all: Vec<&str> = self.modes.keys().map(|n| &**n).collect();
                    all.sort_unstable();
                    all.truncate(20);
                    format!("pools: {}", all.join(", "))
                }
            };
            reader.error(node.place, format!("'{key}': there is no pool '{text}'"), hint);
            return None;
        };
        if let Some(pool_mode) = pool_mode.filter(|m| *m != mode) {
            let what = format!("'{key}': pool '{text}' is for mode {}, not {}", pool_mode.word(), mode.word());
            reader.error(node.place, what, format!("write mode: {} in the pool", mode.word()));
        }
        Some(name.clone())
    }
}

//! The `keepalived` section of a node or of the defaults: what moves the node's VIPs, beside its engine.

use std::path::PathBuf;
use std::time::Duration;

use super::fleet::{KeepalivedSpec, Reach};
use super::reader::Reader;
use super::yaml::{Node, Value};

/// What one `keepalived` section says.
#[derive(Clone, Default)]
pub(super) struct KeepalivedPart {
    config: Option<PathBuf>,
    sudo: Option<bool>,
    ask_every: Option<Duration>,
}

/// `keepalived: true`, a mapping, or `false`: outer None where it was wrong, inner None where it is off.
pub(super) fn read_keepalived(reader: &mut Reader<'_>, node: &Node) -> Option<Option<KeepalivedPart>> {
    match node.value {
        Value::Bool(true) => Some(Some(KeepalivedPart::default())),
        Value::Bool(false) => Some(None),
        _ => {
            let before = reader.errors.len();
            let section = reader.section(node, "keepalived")?;
            let part = KeepalivedPart {
                config: section.get("config").and_then(|n| reader.remote_path(n, "config")),
                sudo: section.get("sudo").and_then(|n| reader.boolean(n, "sudo")),
                ask_every: section.get("ask_every").and_then(|n| reader.duration(n, "ask_every", Duration::from_secs(1))),
            };
            (reader.errors.len() == before).then_some(Some(part))
        }
    }
}

impl KeepalivedPart {
    /// This part where it says something, else the other.
    pub fn over(self, other: Option<&KeepalivedPart>) -> KeepalivedPart {
        let Some(other) = other.cloned() else { return self };
        KeepalivedPart {
            config: self.config.or(other.config),
            sudo: self.sudo.or(other.sudo),
            ask_every: self.ask_every.or(other.ask_every),
        }
    }

    /// Fills in what is not said; the error is what is wrong and how to mend it.
    pub fn complete(self, reach: &Reach) -> Result<KeepalivedSpec, (String, String)> {
        if matches!(reach, Reach::None) {
            let hint = "write ssh: true or local: true; keepalived is asked by commands on the node";
            return Err(("nothing says how keepalived of this node is reached".to_owned(), hint.to_owned()));
        }
        let default = KeepalivedSpec::default();
        Ok(KeepalivedSpec {
            config: self.config,
            sudo: self.sudo.unwrap_or(default.sudo),
            ask_every: self.ask_every.unwrap_or(default.ask_every),
        })
    }
}

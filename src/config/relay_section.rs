//! The `relay` section of a node or of the defaults: where lbdeck's own agent answers.

use std::path::PathBuf;

use super::fleet::{Reach, RelaySpec};
use super::reader::Reader;
use super::yaml::{Node, Value};

/// What one `relay` section says.
#[derive(Clone, Default)]
pub(super) struct RelayPart {
    socket: Option<PathBuf>,
}

/// `relay: true`, `relay: {socket: PATH}` or `false`: outer None where it was wrong, inner None where it is off.
pub(super) fn read_relay(reader: &mut Reader<'_>, node: &Node) -> Option<Option<RelayPart>> {
    match node.value {
        Value::Bool(true) => Some(Some(RelayPart::default())),
        Value::Bool(false) => Some(None),
        _ => {
            let before = reader.errors.len();
            let section = reader.section(node, "relay")?;
            let socket = section.get("socket").and_then(|n| reader.socket_path(n, "socket"));
            (reader.errors.len() == before).then_some(Some(RelayPart { socket }))
        }
    }
}

impl RelayPart {
    pub fn over(self, other: Option<&RelayPart>) -> RelayPart {
        RelayPart { socket: self.socket.or_else(|| other.and_then(|o| o.socket.clone())) }
    }

    /// Fills in what is not said; the error is what is wrong and how to mend it.
    pub fn complete(self, reach: &Reach) -> Result<RelaySpec, (String, String)> {
        if matches!(reach, Reach::None) {
            let hint = "write ssh: true or local: true";
            return Err(("nothing says how the agent of this node is reached".to_owned(), hint.to_owned()));
        }
        Ok(self.socket.map_or_else(RelaySpec::default, |socket| RelaySpec { socket }))
    }
}

//! The `relay` section of a node or of the defaults: where lbdeck's own agent answers.

use std::path::PathBuf;

use super::fleet::{Reach, RelaySpec, RelayTcp};
use super::reader::Reader;
use super::yaml::{Node, Value};

/// What one `relay` section says.
#[derive(Clone, Default)]
pub(super) struct RelayPart {
    socket: Option<PathBuf>,
    tcp: Option<String>,
    server_name: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// `relay: true`, a mapping, or `false`: outer None where it was wrong, inner None where it is off.
pub(super) fn read_relay(reader: &mut Reader<'_>, node: &Node) -> Option<Option<RelayPart>> {
    match node.value {
        Value::Bool(true) => Some(Some(RelayPart::default())),
        Value::Bool(false) => Some(None),
        _ => {
            let before = reader.errors.len();
            let section = reader.section(node, "relay")?;
            let part = RelayPart {
                socket: section.get("socket").and_then(|n| reader.socket_path(n, "socket")),
                tcp: section.get("tcp").and_then(|n| reader.host_port(n, "tcp")),
                server_name: section.get("server_name").and_then(|n| reader.text(n, "server_name")),
                ca: section.get("ca").and_then(|n| reader.local_path(n, "ca")),
                certificate: section.get("certificate").and_then(|n| reader.local_path(n, "certificate")),
                key: section.get("key").and_then(|n| reader.local_path(n, "key")),
            };
            (reader.errors.len() == before).then_some(Some(part))
        }
    }
}

impl RelayPart {
    /// This part where it says something, else the other. An address is one node's: it is never taken over.
    pub fn over(self, other: Option<&RelayPart>) -> RelayPart {
        let Some(other) = other.cloned() else { return self };
        RelayPart {
            socket: self.socket.or(other.socket),
            tcp: self.tcp,
            server_name: self.server_name,
            ca: self.ca.or(other.ca),
            certificate: self.certificate.or(other.certificate),
            key: self.key.or(other.key),
        }
    }

    /// Fills in what is not said; the error is what is wrong and how to mend it.
    pub fn complete(self, reach: &Reach) -> Result<RelaySpec, (String, String)> {
        let socket = self.socket.unwrap_or_else(|| RelaySpec::default().socket);
        let tcp = match self.tcp {
            None => None,
            Some(address) => {
                let (Some(ca), Some(certificate), Some(key)) = (self.ca, self.certificate, self.key) else {
                    let hint = "write ca: FILE, certificate: FILE and key: FILE beside it; lbdeck agent cert makes them. There is no plain TCP";
                    return Err(("the agent's 'tcp' needs certificates".to_owned(), hint.to_owned()));
                };
                Some(RelayTcp { address, server_name: self.server_name, ca, certificate, key })
            }
        };
        if tcp.is_none() && matches!(reach, Reach::None) {
            let hint = "write ssh: true or local: true, or engines: {relay: {tcp: HOST:PORT, ...}}";
            return Err(("nothing says how the agent of this node is reached".to_owned(), hint.to_owned()));
        }
        Ok(RelaySpec { socket, tcp })
    }
}

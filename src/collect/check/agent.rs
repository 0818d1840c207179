//! lbdeck's own agent on a node: does it answer, does it speak our version, can what it is asked survive?

use crate::config::{RelaySpec, Settings};
use crate::engine::{EngineError, NodeHandle, Want};
use crate::model::NodeObs;
use crate::transport::{Endpoint, TransportError};

use super::Findings;

pub(super) async fn observe(handle: &NodeHandle, spec: &RelaySpec, settings: &Settings, found: &mut Findings) -> Option<NodeObs> {
    let Some(engine) = &handle.engine else {
        found.fail("agent", "nothing says how the agent is reached", "see engines: of this node in the fleet file");
        return None;
    };
    let late = |_| {
        EngineError::Transport(TransportError::Timeout {
            at: engine.source(),
            doing: "reading a snapshot".to_owned(),
            after: settings.timeout,
        })
    };
    // The engine keeps the deadline itself; twice as long is for one that does not.
    let read = tokio::time::timeout(settings.timeout * 2, engine.observe(Want::All, settings.timeout)).await;
    match read.map_err(late).and_then(|r| r) {
        Ok(obs) => {
            let servers: usize = obs.pools.iter().map(|p| p.servers.len()).sum();
            found.ok("agent", format!("{} pools and {servers} servers read by {}", obs.pools.len(), obs.source));
            found.ok("version", obs.engine.version.clone());
            for note in &obs.notes {
                found.warn("agent", note.clone(), "see docs/agent.md");
            }
            if let Some(transport) = &handle.transport {
                found.ok("forwarding", transport.way(&Endpoint::Unix(spec.socket.clone())));
            }
            Some(obs)
        }
        Err(error) => {
            let shown = spec.socket.display();
            let remedy = match &error {
                EngineError::Transport(TransportError::NotFound { .. }) => {
                    format!("no agent has its socket at {shown}: `lbdeck agent install {}`", handle.name())
                }
                EngineError::Transport(TransportError::Denied { .. }) => {
                    format!(
                        "{shown} is for root and the agent's own user: log on as one of them, or start the agent with --group"
                    )
                }
                other => other.hint().unwrap_or("`lbdeck agent status` and `lbdeck agent logs` tell more").to_owned(),
            };
            found.fail("agent", error.to_string(), remedy);
            None
        }
    }
}

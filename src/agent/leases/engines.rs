//! The layer of mutation over the engines of this node, as a console on the node would have it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Fleet, HaproxyAccess, HaproxySpec, RelaySpec, Settings};
use crate::engine::haproxy::Haproxy;
use crate::engine::relay::{self, Relay};
use crate::engine::unusable::Unusable;
use crate::engine::{Engine, EngineError, NodeHandle};
use crate::model::{NodeMeta, NodeName};
use crate::ops::Ops;
use crate::store::{Store, Who};
use crate::transport::LocalTransport;

use super::Places;

/// Over the engines of these identities; one that is not known here answers with why.
pub fn ops(identities: &[String], places: &Places) -> Ops {
    let settings = Settings::default();
    let handles = identities.iter().map(|identity| handle(identity, places, &settings)).collect();
    let fleet = Fleet { path: PathBuf::new(), nodes: Vec::new(), groups: Vec::new(), policies: Vec::new(), settings };
    let who = Who { from: "agent".to_owned(), ..Who::here() };
    Ops::new(handles, Arc::new(fleet), Store::at(&*places.store), who)
}

fn handle(identity: &str, places: &Places, settings: &Settings) -> NodeHandle {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    // One name an engine: a host may have several.
    let name: NodeName = format!("{host} {identity}").into();
    let engine: Arc<dyn Engine> = match engine(&name, identity, places, settings) {
        Ok(engine) => engine,
        Err(why) => Arc::new(Unusable::new(name.clone(), why)),
    };
    let meta = NodeMeta { name, address: host, zone: None, role: None, tags: Vec::new(), groups: Vec::new() };
    NodeHandle {
        meta: Arc::new(meta),
        transport: Some(Arc::new(LocalTransport)),
        engine: Some(engine),
        vrrp: None,
        lock_dir: places.lock_dir.clone(),
    }
}

fn engine(name: &NodeName, identity: &str, places: &Places, settings: &Settings) -> Result<Arc<dyn Engine>, EngineError> {
    if identity == relay::identity(&places.socket) {
        let spec = RelaySpec { socket: places.socket.clone(), tcp: None };
        return Ok(Arc::new(Relay::new(name.clone(), &spec, Some(Arc::new(LocalTransport)), settings)?));
    }
    let access = match identity.strip_prefix("haproxy:") {
        Some(at) if at.starts_with('/') => HaproxyAccess::Socket(at.into()),
        Some(at) if at.starts_with("tcp:") => HaproxyAccess::Tcp(at.trim_start_matches("tcp:").to_owned()),
        _ => {
            return Err(EngineError::NotAllowed {
                at: name.to_string(),
                what: format!("the agent cannot change '{identity}'"),
                hint: "a console gives this lease back".to_owned(),
            });
        }
    };
    let spec = HaproxySpec { access, metrics_url: None, master_socket: None, config_file: None };
    Ok(Arc::new(Haproxy::new(name.clone(), &spec, Some(Arc::new(LocalTransport)), settings)?))
}

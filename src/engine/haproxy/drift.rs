//! What the next reload would undo: run time beside the file. Pure.

use std::sync::Arc;

use crate::model::{AdminState, Drift, PoolObs, ServerObs};

use super::parse::config::{Backend, Config, Server, Value};

/// Fills in `drift` of every server whose pool the file has, and says in `notes` what belongs to no server.
pub(super) fn compare(config: &Config, pools: &mut [PoolObs], notes: &mut Vec<String>) {
    let same: Arc<[Drift]> = Arc::from([]);
    for pool in pools {
        // A pool that the file lacks comes from another file: nothing is known of it.
        let Some(backend) = config.backends.get(pool.name.as_str()) else { continue };
        for server in &mut pool.servers {
            server.drift = match backend.servers.get(server.name.as_str()) {
                Some(file) => Some(of_server(server, file).map_or_else(|| same.clone(), Into::into)),
                None if backend.conditional => None,
                None => Some(Arc::from([difference("server", "added at run time", "not there")])),
            };
        }
        deleted(backend, pool, notes);
    }
}

fn deleted(backend: &Backend, pool: &PoolObs, notes: &mut Vec<String>) {
    if backend.conditional
        || backend.servers.len() <= pool.servers.iter().filter(|s| backend.servers.contains_key(s.name.as_str())).count()
    {
        return;
    }
    let mut gone: Vec<&str> = backend.servers.keys().map(String::as_str).filter(|name| pool.server(name).is_none()).collect();
    gone.sort_unstable();
    for name in gone {
        notes.push(format!(
            "{}/{} was deleted at run time; the next reload brings it back",
            pool.name,
            crate::model::sanitize(name)
        ));
    }
}

/// None where nothing differs.
fn of_server(server: &ServerObs, file: &Server) -> Option<Vec<Drift>> {
    let mut found = Vec::new();
    // What is inherited from a tracked server, or from a name that does not resolve, is nobody's change.
    let runtime = match server.admin {
        admin if admin.has(AdminState::FMAINT) => "maint",
        admin if admin.has(AdminState::FDRAIN) => "drain",
        _ => "ready",
    };
    let wanted = if file.disabled { "maint" } else { "ready" };
    if runtime != wanted {
        found.push(difference("admin", runtime, wanted));
    }
    if let (Some(weight), Value::Is(wanted)) = (server.user_weight, file.weight)
        && weight != wanted
    {
        found.push(difference("weight", &weight.to_string(), &wanted.to_string()));
    }
    if let Value::Is(wanted) = file.maxconn
        && server.maxconn.filter(|n| *n > 0) != wanted
    {
        let show = |n: Option<u32>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
        found.push(difference("maxconn", &show(server.maxconn.filter(|n| *n > 0)), &show(wanted)));
    }
    address(server, file, &mut found);
    (!found.is_empty()).then_some(found)
}

fn address(server: &ServerObs, file: &Server, found: &mut Vec<Drift>) {
    let Some(address) = server.address.as_deref() else { return };
    if let (Value::Is(wanted), Ok(runtime)) = (file.address, address.parse::<std::net::IpAddr>())
        && wanted != runtime
    {
        found.push(difference("address", address, &wanted.to_string()));
    }
    if let Value::Is(wanted) = file.port
        && server.port != wanted.filter(|p| *p != 0)
    {
        let show = |port: Option<u16>| port.map_or_else(|| "none".to_owned(), |p| p.to_string());
        found.push(difference("port", &show(server.port), &show(wanted)));
    }
}

fn difference(what: &str, runtime: &str, file: &str) -> Drift {
    Drift { what: what.into(), runtime: runtime.into(), file: file.into() }
}

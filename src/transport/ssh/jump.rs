//! ProxyJump: each jump host has a session of its own, shared by all nodes behind it.

use std::path::Path;
use std::sync::Arc;

use super::auth::Secrets;
use super::config::load::invalid;
use super::config::{Hop, HostConfig};
use super::connection::Recipe;
use super::env::SshEnv;
use super::session::Session;
use crate::config::SshSpec;
use crate::transport::Result;

/// Jumps through jumps: more is a loop.
const MAX_DEPTH: usize = 8;

/// The session through which `config`'s host is reached; None where it is reached directly.
///
/// # Errors
/// Jump hosts that lead back to themselves; configuration that cannot be used.
pub(super) fn chain(config: &HostConfig, spec: &SshSpec, env: &Arc<SshEnv>) -> Result<Option<Arc<Session>>> {
    via(&config.alias, &config.jumps, spec, env, 0).map(|found| found.map(|(session, _)| session))
}

/// The last jump's session, and its name among all sessions.
fn via(alias: &str, jumps: &[Hop], node: &SshSpec, env: &Arc<SshEnv>, depth: usize) -> Result<Option<(Arc<Session>, String)>> {
    let Some((last, before)) = jumps.split_last() else { return Ok(None) };
    if depth >= MAX_DEPTH {
        return Err(invalid(format!("host {alias}"), format!("ProxyJump goes round in a circle (at {})", last.host)));
    }
    let spec = SshSpec {
        host: last.host.clone(),
        user: last.user.clone(),
        port: last.port,
        config_file: node.config_file.clone(),
        ..SshSpec::default()
    };
    let files = env.files(node.config_file.as_deref())?;
    let config = HostConfig::new(&spec, &files, &env.local)?;
    // `a,b` says how b is reached; a single jump is reached as its own configuration says.
    let inner = if before.is_empty() { config.jumps.clone() } else { before.to_vec() };
    let through = via(&last.host, &inner, node, env, depth + 1)?;
    let key = match &through {
        Some((_, before)) => format!("{before} > {}", config.target()),
        None => format!("{}: {}", node.config_file.as_deref().unwrap_or(Path::new("~/.ssh/config")).display(), config.target()),
    };
    let recipe = Recipe {
        env: Arc::clone(env),
        config: Arc::new(config),
        // The same key as for the node, more likely than not; the node's password is nobody else's.
        secrets: Secrets { passphrase: node.passphrase.clone(), password: None },
        via: through.map(|(session, _)| session),
    };
    Ok(Some((env.jump(&key, || Session::new(recipe)), key)))
}

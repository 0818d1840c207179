//! The lab's own SSH server: one a node, in this process, on loopback, so that the lab needs no sshd and no root.
//!
//! It gives what lbdeck uses of a node and no more: one user with one key, streams to unix sockets of the node's folder, SFTP
//! within that folder, a few commands, and the programs that were installed there. No shell, no other forwarding.

mod exec;
mod sftp;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Server, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet};
use tokio::net::{TcpListener, UnixStream};

use super::LabError;
use super::layout::{USER, write_private};

/// A key made for this lab.
pub(super) fn new_key() -> Result<PrivateKey, LabError> {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(|e| LabError::Key(e.to_string()))
}

/// `ssh-ed25519 AAAA…`
pub(super) fn public_text(key: &PrivateKey) -> Result<String, LabError> {
    key.public_key().to_openssh().map_err(|e| LabError::Key(e.to_string()))
}

/// Writes the operator's key of the lab where the fleet file says it is.
pub(super) fn write_key(path: &Path, key: &PrivateKey) -> Result<(), LabError> {
    let text = key.to_openssh(LineEnding::LF).map_err(|e| LabError::Key(e.to_string()))?;
    write_private(path, &text).map_err(LabError::io(format!("writing {}", path.display())))
}

/// A node as SSH shows it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    /// All that can be reached of this machine.
    pub(super) folder: PathBuf,
    /// Where the lab runs on it.
    pub(super) haproxy: Option<PathBuf>,
    /// Who may log on.
    pub(super) client: PublicKey,
}

/// Serves one node until dropped.
pub(super) async fn serve(host: Arc<Host>, host_key: PrivateKey, listener: TcpListener) {
    let config = Arc::new(Config {
        keys: vec![host_key],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_secs(1),
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    });
    let name = host.name.clone();
    if let Err(error) = (Hosts { host }).run_on_socket(config, &listener).await {
        tracing::warn!(node = name, %error, "the lab's SSH server ended");
    }
}

struct Hosts {
    host: Arc<Host>,
}

impl Server for Hosts {
    type Handler = Connection;

    fn new_client(&mut self, _: Option<SocketAddr>) -> Connection {
        Connection { host: self.host.clone(), sessions: HashMap::new() }
    }
}

struct Connection {
    host: Arc<Host>,
    /// Session channels that nothing was asked of yet.
    sessions: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let known = user == USER && key.public_key.key_data() == self.host.client.key_data();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.sessions.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(path) = confined(&self.host.folder, socket_path) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let Ok(mut socket) = UnixStream::connect(path).await else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(async move {
            // Either side may go away at any time: the other one is closed, which is all there is to do.
            let _ = tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut socket).await;
        });
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some(channel) = self.sessions.remove(&id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        tokio::spawn(exec::run(self.host.clone(), String::from_utf8_lossy(command).into_owned(), channel));
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Self::Error> {
        let channel = (name == "sftp").then(|| self.sessions.remove(&id)).flatten();
        let Some(channel) = channel else { return session.channel_failure(id) };
        session.channel_success(id)?;
        russh_sftp::server::run(channel.into_stream(), sftp::NodeFiles::new(self.host.folder.clone())).await;
        Ok(())
    }
}

/// The path where it lies within the node's folder, with `..` and symbolic links resolved; its last parts need not exist.
fn confined(folder: &Path, path: &str) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let path = folder.join(path);
    let (there, resolved) = path.ancestors().find_map(|a| Some((a, a.canonicalize().ok()?)))?;
    let missing = path.strip_prefix(there).ok()?;
    let plain = missing.components().all(|c| matches!(c, Component::Normal(_)));
    // Joining an empty rest would make a file a folder.
    let resolved = if missing.as_os_str().is_empty() { resolved } else { resolved.join(missing) };
    (plain && resolved.starts_with(&folder)).then_some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_nodes_folder_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().canonicalize().unwrap().join("lb1");
        std::fs::create_dir(&node).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), node.join("link")).unwrap();
        let inside = node.join("new").display().to_string();
        assert_eq!(confined(&node, &inside), Some(node.join("new")));
        assert_eq!(confined(&node, "new"), Some(node.join("new")));
        assert_eq!(confined(&node, "missing/new"), Some(node.join("missing/new")));
        for outside in ["/etc/passwd", "../secret", "link", "/", "..", "missing/../../secret"] {
            assert_eq!(confined(&node, outside), None, "{outside}");
        }
        assert_eq!(confined(&node, &format!("{}/../secret", node.display())), None);
    }
}

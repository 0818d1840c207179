//! Starts the parts of the lab in order and ends them in reverse.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::apps::Apps;
use super::keeper::Keeper;
use super::layout::{self, LabNode, Layout, POOLS};
use super::load::Load;
use super::ssh::{self, Host};
use super::{Engine, LabArgs, LabError, agents, haproxy};

/// Nodes listen on 127.0.0.11 and up: each looks like a host of its own.
const FIRST_NODE: u8 = 11;

/// A running lab. Whatever way it is dropped, its processes and its folder go; [`Lab::end`] waits until they are gone.
pub(super) struct Lab {
    pub(super) layout: Layout,
    pub(super) apps: Apps,
    pub(super) load: Load,
    _ssh: JoinSet<()>,
    keeper: Keeper,
}

/// Removes the folder until the keeper has taken that over.
struct FolderGuard<'a>(Option<&'a Path>);

impl Drop for FolderGuard<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.0 {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Lab {
    /// Starts all that needs no console: haproxy runs then; `agent`, the build that becomes the agent of each node, is installed over
    /// SSH afterwards. No load yet.
    pub(super) async fn start(args: &LabArgs, engine: Engine, agent: Option<&Path>) -> Result<Self, LabError> {
        let haproxy = match engine {
            Engine::Haproxy => Some(haproxy::find(args.haproxy.as_deref())?),
            Engine::Relay => None,
        };
        let load = Load::new(args.rate)?;
        let folder = layout::make_folder()?;
        let mut guard = FolderGuard(Some(&folder));
        if let Some(agent) = agent {
            layout::check_room(&folder, agent, args.nodes(engine))?;
        }
        let apps = Apps::start(args.servers, args.errors)?;
        let client = ssh::new_key()?;
        let mut layout = Layout { folder: folder.clone(), nodes: Vec::new() };
        let (mut host_keys, mut ssh, mut held) = (Vec::new(), JoinSet::new(), Vec::new());
        for i in 0..args.nodes(engine) {
            let name = format!("lb{}", i + 1);
            let address = layout::loopback(FIRST_NODE + i);
            let ports = layout::free_ports(address, 1 + POOLS.len()).map_err(LabError::io(format!("listening on {address}")))?;
            let mut addresses = Vec::with_capacity(ports.len());
            for port in &ports {
                addresses.push(port.local_addr().map_err(LabError::io("asking for a listener's address"))?);
            }
            let [ssh_address, frontends @ ..] = addresses.as_slice() else { continue };
            let node = LabNode { folder: folder.join(&name), name, address, ssh: *ssh_address, frontends: frontends.to_vec() };
            layout::make_node(&node)?;
            match engine {
                Engine::Haproxy => haproxy::write_config(&node, &apps)?,
                Engine::Relay => agents::write_config(&layout.relay_config(&node), &node, &apps)?,
            }

            let host_key = ssh::new_key()?;
            host_keys.push(ssh::public_text(&host_key)?);
            let host = Host {
                name: node.name.clone(),
                folder: node.folder.clone(),
                haproxy: haproxy.clone(),
                client: client.public_key().clone(),
            };
            let mut ports = ports.into_iter();
            if let Some(listener) = ports.next() {
                ssh.spawn(ssh::serve(Arc::new(host), host_key, layout::into_tokio(listener)?));
            }
            // The engine binds these itself: they are let go right before it starts.
            held.extend(ports);
            layout.nodes.push(node);
        }
        ssh::write_key(&layout.client_key(), &client)?;
        layout::write_fleet(&layout, engine, &host_keys, args.servers)?;

        drop(held);
        let keeper = Keeper::start(haproxy.as_deref(), &layout, args.keep).await?;
        guard.0 = None;
        Ok(Self { layout, apps, load, _ssh: ssh, keeper })
    }

    pub(super) fn begin_load(&self) {
        let targets: Vec<SocketAddr> = self.layout.nodes.iter().flat_map(|n| n.frontends.iter().copied()).collect();
        self.load.begin(&targets);
    }

    /// Names of a pool's servers.
    pub(super) fn servers_of(&self, pool: &str) -> impl Iterator<Item = &str> {
        self.apps.servers().filter(move |a| a.pool == pool).map(|a| a.name.as_str())
    }

    /// A command line of lbdeck on this lab.
    pub(super) fn command(&self, words: &[&str]) -> Vec<OsString> {
        let mut command: Vec<OsString> = words.iter().map(OsString::from).collect();
        command.extend(["--fleet".into(), self.layout.fleet_file().into(), "--state".into(), self.layout.folder.clone().into()]);
        command
    }

    /// Ends everything and returns when it is gone.
    pub(super) async fn end(self) -> Result<(), LabError> {
        let Self { load, apps, _ssh: ssh, keeper, .. } = self;
        drop(load);
        keeper.end().await?;
        drop((ssh, apps));
        Ok(())
    }
}

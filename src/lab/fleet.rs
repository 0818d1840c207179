//! Starts the parts of the lab in order and ends them in reverse.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::apps::{self, AppSpec};
use super::keeper::Keeper;
use super::layout::{self, LabNode, Layout, POOLS};
use super::load::{Counts, Load};
use super::ssh::{self, Host};
use super::{LabArgs, LabError};

/// Nodes listen on 127.0.0.11 and up, applications on 127.0.0.101 and up: each looks like a host of its own.
const FIRST_NODE: u8 = 11;
const FIRST_SERVER: u8 = 101;

/// A running lab. Whatever way it is dropped, its processes and its folder go; [`Lab::end`] waits until they are gone.
pub(super) struct Lab {
    pub(super) layout: Layout,
    apps: Vec<AppSpec>,
    load: Load,
    _servers: JoinSet<()>,
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
    pub(super) async fn start(args: &LabArgs) -> Result<Self, LabError> {
        let haproxy = find_haproxy(args.haproxy.as_deref())?;
        let folder = layout::make_folder()?;
        let mut guard = FolderGuard(Some(&folder));
        let mut servers = JoinSet::new();

        let apps = start_apps(args.servers, &mut servers)?;
        let client = ssh::new_key()?;
        let (mut nodes, mut host_keys, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..args.nodes {
            let name = format!("lb{}", i + 1);
            let address = layout::loopback(FIRST_NODE + i);
            let ports = layout::free_ports(address, 1 + POOLS.len()).map_err(LabError::io(format!("listening on {address}")))?;
            let mut addresses = Vec::with_capacity(ports.len());
            for port in &ports {
                addresses.push(port.local_addr().map_err(LabError::io("asking for a listener's address"))?);
            }
            let [ssh_address, frontends @ ..] = addresses.as_slice() else { continue };
            let node = LabNode { folder: folder.join(&name), name, address, ssh: *ssh_address, frontends: frontends.to_vec() };
            layout::write_node(&node, &apps)?;

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
                servers.spawn(ssh::serve(Arc::new(host), host_key, into_tokio(listener)?));
            }
            // haproxy binds these itself: they are let go right before it starts.
            held.extend(ports);
            nodes.push(node);
        }
        let layout = Layout { folder: folder.clone(), nodes };
        ssh::write_key(&layout.client_key(), &client)?;
        layout::write_fleet(&layout, &host_keys, args.servers)?;

        drop(held);
        let keeper = Keeper::start(&haproxy, &layout, args.keep).await?;
        guard.0 = None;
        let targets: Vec<_> = layout.nodes.iter().flat_map(|n| n.frontends.iter().copied()).collect();
        let load = Load::start(&targets, args.rate).map_err(|e| LabError::Proof(format!("counting latency: {e}")))?;
        Ok(Self { layout, apps, load, _servers: servers, keeper })
    }

    /// Names of a pool's servers.
    pub(super) fn servers_of(&self, pool: &str) -> impl Iterator<Item = &str> {
        self.apps.iter().filter(move |a| a.pool == pool).map(|a| a.name.as_str())
    }

    /// A command line of lbdeck on this lab.
    pub(super) fn command(&self, words: &[&str]) -> Vec<OsString> {
        let mut command: Vec<OsString> = words.iter().map(OsString::from).collect();
        command.extend(["--fleet".into(), self.layout.fleet_file().into(), "--state".into(), self.layout.folder.clone().into()]);
        command
    }

    pub(super) fn counts(&self) -> Counts {
        self.load.counts()
    }

    /// Ends everything and returns when it is gone, with the final count.
    pub(super) async fn end(self) -> Result<Counts, LabError> {
        let Self { load, _servers: servers, keeper, .. } = self;
        let counts = load.counts();
        drop(load);
        keeper.end().await?;
        drop(servers);
        Ok(counts)
    }
}

fn start_apps(servers: u8, tasks: &mut JoinSet<()>) -> Result<Vec<AppSpec>, LabError> {
    let mut apps = Vec::new();
    for i in 0..servers {
        let host = layout::loopback(FIRST_SERVER.saturating_add(i));
        for (pool, slower) in POOLS.into_iter().zip(1u64..) {
            let listener = TcpListener::from_std(bind(host)?).map_err(LabError::io("registering a listener"))?;
            let address = listener.local_addr().map_err(LabError::io("asking for a listener's address"))?;
            let latency = Duration::from_millis((2 + 3 * u64::from(i % 8)) * slower);
            let app = AppSpec { pool, name: format!("{pool}{}", i + 1), address, latency };
            tasks.spawn(apps::serve(app.clone(), listener));
            apps.push(app);
        }
    }
    Ok(apps)
}

fn bind(host: std::net::IpAddr) -> Result<std::net::TcpListener, LabError> {
    let bound = layout::free_ports(host, 1).map_err(LabError::io(format!("listening on {host}")))?;
    let listener = bound.into_iter().next().ok_or_else(|| LabError::Proof("no listener".to_owned()))?;
    listener.set_nonblocking(true).map_err(LabError::io("registering a listener"))?;
    Ok(listener)
}

fn into_tokio(listener: std::net::TcpListener) -> Result<TcpListener, LabError> {
    listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)).map_err(LabError::io("registering a listener"))
}

/// haproxy as given, else in PATH, else where Debian puts it (which is not in the PATH of ordinary users).
fn find_haproxy(given: Option<&Path>) -> Result<PathBuf, LabError> {
    if let Some(given) = given {
        return if given.is_file() { Ok(given.to_owned()) } else { Err(LabError::NoHaproxy { tried: Some(given.to_owned()) }) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join("haproxy"))
        .find(|candidate| candidate.is_file())
        .ok_or(LabError::NoHaproxy { tried: None })
}

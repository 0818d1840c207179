//! What the lab consists of and where it is: addresses, folders, the fleet file, known_hosts.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::net::TcpListener as TokioListener;

use super::{Engine, LabError, haproxy};
use crate::config::AgentPaths;
use crate::ops::agent::program::mib;
use crate::store::Store;

pub(super) const POOLS: [&str; 2] = ["web", "api"];
/// The only user of the lab's SSH servers.
pub(super) const USER: &str = "lab";
/// Unix sockets are bound by paths of at most 107 bytes: `lb40/agent/run/notify.sock` and the lab's own folder come behind it.
const LONGEST_FOLDER: usize = 60;

pub(super) struct LabNode {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) address: IpAddr,
    pub(super) ssh: SocketAddr,
    /// Where each pool of [`POOLS`] is served, in that order.
    pub(super) frontends: Vec<SocketAddr>,
}

impl LabNode {
    /// Where the agent is installed.
    pub(super) fn agent(&self) -> AgentPaths {
        AgentPaths::below(self.folder.join("agent"))
    }
}

pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) nodes: Vec<LabNode>,
}

impl Layout {
    pub(super) fn fleet_file(&self) -> PathBuf {
        self.folder.join("lbdeck.yaml")
    }
    pub(super) fn client_key(&self) -> PathBuf {
        self.folder.join("id_ed25519")
    }
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }
    /// What the relay of a node is to do, as the operator gives it to `agent install`.
    pub(super) fn relay_config(&self, node: &LabNode) -> PathBuf {
        self.folder.join(format!("{}.relay.yaml", node.name))
    }
    /// Another build of the agent, for upgrades.
    pub(super) fn next_build(&self) -> PathBuf {
        self.folder.join("lbdeck-next")
    }
    pub(super) fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }
    /// Where lbdeck keeps its record of what was done to the lab, apart from the operator's own.
    pub(super) fn store(&self) -> PathBuf {
        Store::file_in(&self.folder)
    }
}

/// A private folder of the lab below `$TMPDIR`.
pub(super) fn make_folder() -> Result<PathBuf, LabError> {
    let parent = std::env::temp_dir();
    let wrong = |why: String| LabError::Folder { folder: parent.clone(), why };
    let length = parent.as_os_str().len();
    if length > LONGEST_FOLDER {
        return Err(wrong(format!("its path has {length} bytes; unix sockets below it need a path of at most {LONGEST_FOLDER}")));
    }
    // The path stands in the engines' configuration and in ssh's.
    if !parent.is_absolute() || parent.to_str().is_none_or(|p| p.contains(['\'', '"', '\n', ' ', '%', '\\', '$'])) {
        return Err(wrong("its path must be absolute, without spaces, quotes, backslashes, $ and %".to_owned()));
    }
    nix::unistd::mkdtemp(&parent.join("lbdeck-lab-XXXXXX")).map_err(|e| wrong(e.to_string()))
}

/// Refuses a folder in which the agents would not fit: each node's build, and four that are on their way (of nodes that are installed
/// side by side; an upgrade takes less).
pub(super) fn check_room(folder: &Path, build: &Path, nodes: u8) -> Result<(), LabError> {
    let size = fs::metadata(build).map_err(LabError::io(format!("reading {}", build.display())))?.len();
    let needed = size.saturating_mul(u64::from(nodes) + 4);
    // Where it cannot be told, whoever fills it tells.
    let Ok(stat) = nix::sys::statvfs::statvfs(folder) else { return Ok(()) };
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    if free >= needed {
        return Ok(());
    }
    let why = format!("{} are free there, and the lab needs {}", mib(free), mib(needed));
    Err(LabError::Folder { folder: folder.to_owned(), why })
}

/// 127.0.0.`host`, or 127.0.0.1 on systems where only that one is loopback.
pub(super) fn loopback(host: u8) -> IpAddr {
    let own = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
    if TcpListener::bind((own, 0)).is_ok() { own } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// Free ports of an address. They are held until the listeners are dropped, so that none is given twice.
pub(super) fn free_ports(address: IpAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    (0..count).map(|_| TcpListener::bind((address, 0))).collect()
}

/// A listener of this runtime.
pub(super) fn into_tokio(listener: TcpListener) -> Result<TokioListener, LabError> {
    listener
        .set_nonblocking(true)
        .and_then(|()| TokioListener::from_std(listener))
        .map_err(LabError::io("registering a listener"))
}

/// Makes a node's folder.
pub(super) fn make_node(node: &LabNode) -> Result<(), LabError> {
    let doing = format!("making {}", node.folder.display());
    fs::DirBuilder::new().mode(0o700).create(&node.folder).map_err(LabError::io(doing))
}

/// Writes what an operator has of a fleet: fleet file, known_hosts, an SSH configuration that keeps the operator's own out.
pub(super) fn write_fleet(layout: &Layout, engine: Engine, host_keys: &[String], servers: u8) -> Result<(), LabError> {
    let mut known_hosts = String::new();
    let mut fleet = format!(
        "# The fleet of `lbdeck lab`, removed when the lab ends.\n\
         version: 1\n\
         defaults:\n  \
           role: edge\n  \
           tags: [lab]\n  \
           ssh:\n    \
             user: {USER}\n    \
             identity_file: {key}\n    \
             known_hosts: {known}\n    \
             config_file: {config}\n\
         nodes:\n",
        key = layout.client_key().display(),
        known = layout.known_hosts().display(),
        config = layout.ssh_config().display(),
    );
    for (i, (node, key)) in layout.nodes.iter().zip(host_keys).enumerate() {
        let _ = writeln!(known_hosts, "[{}]:{} {key}", node.ssh.ip(), node.ssh.port());
        let folder = node.folder.display();
        let _ = write!(
            fleet,
            "  - name: {name}\n    \
                 address: {address}\n    \
                 zone: {zone}\n    \
                 lock_dir: {folder}/lock\n    \
                 ssh: {{ port: {port} }}\n    \
                 engines:\n      \
                   {engine}\n",
            name = node.name,
            address = node.address,
            zone = if i % 2 == 0 { "a" } else { "b" },
            port = node.ssh.port(),
            engine = match engine {
                Engine::Haproxy => haproxy::fleet_entry(node),
                Engine::Relay => format!("relay: {{ socket: {} }}", node.agent().socket().display()),
            },
        );
    }
    let half = servers.div_ceil(2);
    let _ = write!(
        fleet,
        "policies:\n  - {{ pool: web, min_healthy: {half} }}\n  - {{ pool: api, min_healthy: \"50%\", confirm: ask }}\n"
    );
    let ssh_config = format!("# Stands in for ~/.ssh/config.\nHost *\n    User {USER}\n    IdentitiesOnly yes\n");
    for (path, text) in [(layout.known_hosts(), known_hosts), (layout.ssh_config(), ssh_config), (layout.fleet_file(), fleet)] {
        let doing = format!("writing {}", path.display());
        write_private(&path, &text).map_err(LabError::io(doing))?;
    }
    Ok(())
}

/// Writes a new file that only its owner may read.
pub(super) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

//! SSH by russh: one connection a node, shared by all calls, made and verified the way that OpenSSH's own client would.

mod auth;
mod channel;
pub mod config;
mod connection;
mod env;
mod host_key;
mod jump;
mod keys;
mod known_hosts;
mod prompt_acks;
mod proxy_command;
mod quote;
mod session;
mod sftp;
mod socket;

pub use config::host_aliases;
pub use env::SshEnv;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{BoxStream, Endpoint, FileStat, Files, Limits, Result, RunOutput, Transport, TransportError};
use crate::config::SshSpec;
use auth::Secrets;
use config::HostConfig;
use connection::{Connection, OpenError, Recipe};
use session::Session;
use sftp::Sftp;
use socket::{Failure, Remembered, Way};

/// Deadline of one operation on a file.
const FILES: Duration = Duration::from_secs(10);

/// A node behind sshd.
pub struct SshTransport {
    session: Arc<Session>,
    config: Arc<HostConfig>,
    env: Arc<SshEnv>,
    at: String,
    way: Remembered,
    /// Questions asked of a person up to the last look.
    turns: AtomicU64,
}

impl std::fmt::Debug for SshTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshTransport").field("at", &self.at).finish_non_exhaustive()
    }
}

impl SshTransport {
    /// Reads what the ssh configuration says for the host. Connects to nothing yet.
    ///
    /// # Errors
    /// Configuration that cannot be read or used, with file and line.
    pub fn new(spec: &SshSpec, env: Arc<SshEnv>) -> Result<Self> {
        let files = env.files(spec.config_file.as_deref())?;
        let config = Arc::new(HostConfig::new(spec, &files, &env.local)?);
        let secrets = Secrets { password: spec.password.clone(), passphrase: spec.passphrase.clone() };
        let via = jump::chain(&config, spec, &env)?;
        let recipe = Recipe { env: Arc::clone(&env), config: Arc::clone(&config), secrets, via };
        let at = recipe.at();
        let session = Arc::new(Session::new(recipe));
        Ok(Self { session, config, env, at, way: Remembered::default(), turns: AtomicU64::new(0) })
    }

    /// What of the ssh configuration was left out on purpose, for `fleet check`.
    pub fn notes(&self) -> &[String] {
        &self.config.notes
    }

    fn timeout(&self, doing: &str, after: Duration) -> TransportError {
        TransportError::Timeout { at: self.at.clone(), doing: doing.to_owned(), after }
    }

    /// Runs `work` on the connection within the deadline. A connection that turns out to be dead before `work` has done
    /// anything is replaced once.
    async fn on_connection<T, W, F>(&self, doing: &str, deadline: Duration, work: W) -> Result<T>
    where
        W: Fn(Arc<Connection>) -> F,
        F: Future<Output = Result<T, Failure>>,
    {
        let mut until = Instant::now() + deadline;
        let mut replaced = false;
        loop {
            let turns = self.env.patience.turns();
            let connection = self.session.connection(until.saturating_duration_since(Instant::now())).await?;
            if self.env.patience.turns() != turns {
                // A person was asked, whose time does not count.
                until = Instant::now() + deadline;
            }
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, work(Arc::clone(&connection))).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(Failure::Lost(_))) if !replaced => replaced = true,
                Ok(Err(Failure::Lost(e) | Failure::Final(e))) => return Err(e),
                Err(_) => {
                    connection.suspect();
                    return Err(self.timeout(doing, deadline));
                }
            }
        }
    }

    async fn on_files<T, W, F>(&self, doing: &str, path: &Path, work: W) -> Result<T>
    where
        W: Fn(Arc<Sftp>, String) -> F,
        F: Future<Output = Result<T>>,
    {
        let Some(path) = path.to_str() else {
            return Err(TransportError::Unsupported { at: self.at.clone(), what: format!("{}: not UTF-8", path.display()) });
        };
        let work = &work;
        self.on_connection(&format!("{doing} {path}"), FILES, |connection| async move {
            let sftp = sftp_of(&connection).await.map_err(Failure::Final)?;
            work(sftp, path.to_owned()).await.map_err(Failure::Final)
        })
        .await
    }
}

/// The connection's sftp session: opened once, and again if it has ended.
async fn sftp_of(connection: &Arc<Connection>) -> Result<Arc<Sftp>> {
    let mut slot = connection.sftp.lock().await;
    if let Some(sftp) = slot.as_ref().filter(|s| !s.is_broken()) {
        return Ok(Arc::clone(sftp));
    }
    let sftp = Arc::new(Sftp::open(connection).await?);
    Ok(Arc::clone(slot.insert(sftp)))
}

#[async_trait]
impl Transport for SshTransport {
    fn describe(&self) -> String {
        self.at.clone()
    }

    async fn answered(&self) -> bool {
        let turns = self.env.patience.quiet().await;
        self.turns.swap(turns, Ordering::AcqRel) != turns
    }

    async fn open(&self, endpoint: &Endpoint, deadline: Duration) -> Result<BoxStream> {
        self.on_connection(&format!("opening {endpoint}"), deadline, |connection| async move {
            match endpoint {
                Endpoint::Tcp(address) => open_tcp(&connection, address).await,
                Endpoint::Unix(path) => {
                    // Only asked when something is wrong, or when commands carry the stream.
                    socket::open(&connection, || sftp_of(&connection), path, &self.way).await
                }
            }
        })
        .await
    }

    fn way(&self, endpoint: &Endpoint) -> String {
        match (endpoint, self.way.get()) {
            (Endpoint::Tcp(_), _) => "direct-tcpip".into(),
            (_, Way::Unknown) => String::new(),
            (_, Way::Streamlocal) => "streamlocal".into(),
            (_, Way::Socat) => "exec socat (sshd forbids streamlocal)".into(),
            (_, Way::Nc) => "exec nc (sshd forbids streamlocal)".into(),
        }
    }

    async fn run(&self, argv: &[&str], stdin: &[u8], limits: Limits) -> Result<RunOutput> {
        let command = quote::quote(argv);
        let name = argv.first().copied().unwrap_or_default();
        let command = &command;
        self.on_connection(&format!("running {name}"), limits.deadline, |connection| async move {
            let session = connection.session().await.map_err(|e| match e {
                OpenError::Lost(e) => Failure::Lost(e),
                refused => Failure::Final(refused.into_transport(&connection.at, "opening a channel")),
            })?;
            channel::run(session, &connection.at, command.clone(), stdin, limits.output).await.map_err(Failure::Final)
        })
        .await
    }

    fn files(&self) -> Option<&dyn Files> {
        Some(self)
    }
}

async fn open_tcp(connection: &Arc<Connection>, address: &str) -> Result<BoxStream, Failure> {
    let at = connection.at.clone();
    let Some((host, port)) = super::split_address(address) else {
        return Err(Failure::Final(TransportError::Unsupported { at, what: format!("'{address}' is not host:port") }));
    };
    match connection.tcp(host, port).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(OpenError::Lost(e)) => Err(Failure::Lost(e)),
        Err(OpenError::Refused(russh::ChannelOpenFailure::AdministrativelyProhibited, _)) => {
            Err(Failure::Final(TransportError::Denied {
                at,
                what: format!("sshd forbids forwarding to {address}"),
                hint: "set AllowTcpForwarding yes (or PermitOpen) in the node's sshd_config".into(),
            }))
        }
        Err(OpenError::Refused(_, words)) => {
            Err(Failure::Final(TransportError::Unreachable { at, what: format!("{address}, from the node: {words}") }))
        }
    }
}

#[async_trait]
impl Files for SshTransport {
    async fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        self.on_files("reading", path, |sftp, path| async move { sftp.read(&path, limit).await }).await
    }
    async fn write_atomic(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        self.on_files("writing", path, |sftp, path| async move { sftp.write_atomic(&path, bytes, mode).await }).await
    }
    async fn create_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
        self.on_files("creating", path, |sftp, path| async move { sftp.create_new(&path, bytes, mode).await }).await
    }
    async fn write_at(&self, path: &Path, offset: u64, bytes: &[u8], mode: u32) -> Result<()> {
        self.on_files("writing", path, |sftp, path| async move { sftp.write_at(&path, offset, bytes, mode).await }).await
    }
    async fn stat(&self, path: &Path) -> Result<Option<FileStat>> {
        self.on_files("looking at", path, |sftp, path| async move { sftp.stat(&path).await }).await
    }
    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.on_files("listing", dir, |sftp, path| async move { sftp.list(&path).await }).await
    }
    async fn ensure_dir(&self, dir: &Path, mode: u32) -> Result<()> {
        self.on_files("making", dir, |sftp, path| async move { sftp.ensure_dir(&path, mode).await }).await
    }
    async fn remove(&self, path: &Path) -> Result<bool> {
        self.on_files("removing", path, |sftp, path| async move { sftp.remove(&path).await }).await
    }
}

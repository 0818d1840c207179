//! One ssh connection that is up: how it comes about, and the channels on it.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use russh::client::{self, DisconnectReason, Handle, Msg};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Preferred, cipher, compression, mac};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::{LogOn, Secrets};
use super::channel::ChannelIo;
use super::config::HostConfig;
use super::env::SshEnv;
use super::host_key::{HostKeyCheck, NewKey, Outcome};
use super::prompt_acks::PromptAcks;
use super::proxy_command::ProxyCommand;
use super::session::Session;
use super::sftp::Sftp;
use crate::model::sanitize;
use crate::transport::{Result, TransportError};

/// AES-GCM first: with the processor's own instructions it costs least.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];
/// Commands at once on one connection. OpenSSH's MaxSessions is 10 by default, of which sftp takes one; the rest is for
/// commands that were given up and have not ended yet.
const SESSIONS: usize = 7;
/// How often and when to ask again for a session that the server had none left for.
const SESSION_RETRY: (u32, Duration) = (10, Duration::from_millis(100));
/// A server that answers nothing for so long, asked directly, is gone.
const PING: Duration = Duration::from_secs(5);

/// Why a handshake ended.
#[derive(Debug)]
pub(super) enum HandshakeError {
    Ssh(russh::Error),
    Ask(NewKey),
    Refused(TransportError),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> Self {
        HandshakeError::Ssh(error)
    }
}

/// What russh tells us, for those who wait on the connection.
#[derive(Debug, Default)]
struct Said {
    /// Why the connection ended.
    ended: Mutex<Option<String>>,
    /// The server's words for the last channel that it did not open.
    open_failure: Mutex<String>,
}

/// russh's handler: checks the host key and keeps the server's words.
pub(super) struct Client {
    host_key: Arc<HostKeyCheck>,
    said: Arc<Said>,
}

impl client::Handler for Client {
    type Error = HandshakeError;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, HandshakeError> {
        let outcome = match key.certificate() {
            Some(certificate) => self.host_key.check_certificate(certificate, SystemTime::now()),
            None => self.host_key.check(&key.public_key()),
        };
        match outcome {
            Outcome::Accept => Ok(true),
            Outcome::Ask(new) => Err(HandshakeError::Ask(new)),
            Outcome::Refuse(error) => Err(HandshakeError::Refused(error)),
        }
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        _: ChannelOpenFailure,
        description: &str,
        _: &str,
        _: &mut client::Session,
    ) -> Result<(), HandshakeError> {
        *self.said.open_failure.lock().unwrap_or_else(PoisonError::into_inner) = sanitize(description).into_owned();
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<HandshakeError>) -> Result<(), HandshakeError> {
        let (words, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (sanitize(&info.message).into_owned(), Ok(())),
            DisconnectReason::Error(HandshakeError::Ssh(e)) => (e.to_string(), Err(HandshakeError::Ssh(e))),
            DisconnectReason::Error(e) => ("the handshake failed".into(), Err(e)),
        };
        *self.said.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
        result
    }
}

/// Why a channel could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The connection is gone: another may work.
    Lost(TransportError),
    /// The server said no, and its words.
    Refused(ChannelOpenFailure, String),
}

impl OpenError {
    pub(super) fn into_transport(self, at: &str, what: &str) -> TransportError {
        match self {
            OpenError::Lost(e) => e,
            OpenError::Refused(reason, words) => {
                TransportError::Other { at: at.into(), what: format!("{what}: {words} ({reason:?})") }
            }
        }
    }
}

/// A channel on which a command can be run, and its place among those that the server allows.
pub(super) struct SessionChannel {
    pub(super) channel: Channel<Msg>,
    pub(super) permit: OwnedSemaphorePermit,
}

pub(super) struct Connection {
    handle: Handle<Client>,
    said: Arc<Said>,
    /// `ssh ops@lb1:22`.
    pub(super) at: String,
    pub(super) since: Instant,
    given_up: AtomicBool,
    pinging: AtomicBool,
    sessions: Arc<Semaphore>,
    pub(super) sftp: tokio::sync::Mutex<Option<Arc<Sftp>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("at", &self.at).field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What a connection is made from.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) env: Arc<SshEnv>,
    pub(super) config: Arc<HostConfig>,
    pub(super) secrets: Secrets,
    /// The session through which the host is reached.
    pub(super) via: Option<Arc<Session>>,
}

impl Recipe {
    pub(super) fn at(&self) -> String {
        format!("ssh {}", self.config.target())
    }

    /// Connects, checks the host key and logs on. Time that a person takes to answer does not count.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let (config, limit) = (&self.config, self.config.connect_timeout);
        let host_key = Arc::new(HostKeyCheck::new(Arc::clone(&self.env), Arc::clone(config)));
        let via = match &self.via {
            // Its own limits hold; a person may be asked for its key too.
            Some(via) => Some(via.connection(limit).await.map_err(|e| self.jump_down(e))?),
            None => None,
        };
        let mut asked = false;
        let (mut handle, said) = loop {
            let ssh = Arc::new(ssh_config(config, &host_key)?);
            let said = Arc::new(Said::default());
            let client = Client { host_key: Arc::clone(&host_key), said: Arc::clone(&said) };
            let result = match tokio::time::timeout(limit, self.handshake(ssh, client, via.as_deref())).await {
                Ok(result) => result,
                Err(_) => return Err(TransportError::Timeout { at: self.at(), doing: "connecting".into(), after: limit }),
            };
            match result {
                Ok(handle) => break (handle, said),
                // Asked with no connection open: a person may take longer than the server waits.
                Err(HandshakeError::Ask(new)) if !asked => {
                    host_key.ask(&new).await?;
                    asked = true;
                }
                Err(HandshakeError::Ask(new)) => {
                    return Err(
                        self.unreachable(format!("the host key changes from one connection to the next ({})", new.fingerprint))
                    );
                }
                Err(HandshakeError::Refused(error)) => return Err(error),
                Err(HandshakeError::Ssh(error)) => return Err(self.handshake_failed(error)),
            }
        };
        let log_on = LogOn { env: &self.env, config, secrets: &self.secrets };
        match self.env.patience.within(limit, log_on.run(&mut handle)).await {
            Some(result) => result?,
            None => return Err(TransportError::Timeout { at: self.at(), doing: "logging on".into(), after: limit }),
        }
        Ok(Connection {
            handle,
            said,
            at: self.at(),
            since: Instant::now(),
            given_up: AtomicBool::new(false),
            pinging: AtomicBool::new(false),
            sessions: Arc::new(Semaphore::new(SESSIONS)),
            sftp: tokio::sync::Mutex::default(),
        })
    }

    async fn handshake(
        &self,
        ssh: Arc<client::Config>,
        client: Client,
        jump: Option<&Connection>,
    ) -> Result<Handle<Client>, HandshakeError> {
        let (host, port) = (self.config.host_name.as_str(), self.config.port);
        if let Some(command) = &self.config.proxy_command {
            let failed = |e| HandshakeError::Refused(self.unreachable(format!("ProxyCommand '{command}': {e}")));
            return client::connect_stream(ssh, ProxyCommand::start(command).map_err(failed)?, client).await;
        }
        let Some(jump) = jump else {
            let stream =
                TcpStream::connect((host, port)).await.map_err(|e| HandshakeError::Refused(self.unreachable(e.to_string())))?;
            return client::connect_stream(ssh, PromptAcks::new(stream), client).await;
        };
        let stream = jump.tcp(host, port).await.map_err(|e| {
            HandshakeError::Refused(match e {
                OpenError::Lost(e) => self.jump_down(e),
                OpenError::Refused(ChannelOpenFailure::AdministrativelyProhibited, _) => TransportError::Denied {
                    at: jump.at.clone(),
                    what: format!("ProxyJump: the jump host forbids forwarding to {host}:{port}"),
                    hint: "set AllowTcpForwarding yes (or PermitOpen) in the jump host's sshd_config".into(),
                },
                OpenError::Refused(_, words) => self.unreachable(format!("{words} (as seen from the jump host, {})", jump.at)),
            })
        })?;
        client::connect_stream(ssh, stream, client).await
    }

    fn unreachable(&self, what: String) -> TransportError {
        TransportError::Unreachable { at: self.at(), what }
    }

    /// The same kind of failure, but the words name the jump host.
    fn jump_down(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::Unreachable { at, what } => self.unreachable(format!("ProxyJump {at} is down: {what}")),
            TransportError::Timeout { at, doing, after } => {
                TransportError::Timeout { at: self.at(), doing: format!("{doing} to ProxyJump {at}"), after }
            }
            other => other,
        }
    }

    fn handshake_failed(&self, error: russh::Error) -> TransportError {
        match error {
            russh::Error::NoCommonAlgo { kind, ours, theirs } => TransportError::Unsupported {
                at: self.at(),
                what: format!(
                    "no common {kind:?} algorithm: the server has {}, we have {}",
                    sanitize(&theirs.join(",")),
                    ours.join(",")
                ),
            },
            // Which of these it is depends on whether the command ended before or after our greeting was written to it.
            russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) if self.config.proxy_command.is_some() => {
                self.unreachable("ProxyCommand ended during the handshake".into())
            }
            russh::Error::Disconnect | russh::Error::HUP => self.unreachable("the server hung up during the handshake".into()),
            other => self.unreachable(format!("handshake: {other}")),
        }
    }
}

fn ssh_config(config: &HostConfig, host_key: &HostKeyCheck) -> Result<client::Config> {
    Ok(client::Config {
        preferred: Preferred {
            key: Cow::Owned(host_key.preferred()?),
            host_key_certificates: Cow::Owned(host_key.preferred_certificates()?),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: config.alive.map(|(interval, _)| interval),
        keepalive_max: config.alive.map_or(0, |(_, count)| count),
        nodelay: true,
        ..client::Config::default()
    })
}

impl Connection {
    pub(super) fn is_closed(&self) -> bool {
        self.given_up.load(Ordering::Acquire) || self.handle.is_closed()
    }

    /// The error of a call that found the connection gone.
    pub(super) fn lost(&self) -> TransportError {
        let ended = self.said.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = ended.unwrap_or_else(|| "no answer".into());
        TransportError::Unreachable { at: self.at.clone(), what: format!("the connection was lost: {why}") }
    }

    /// Something took too long: asks the server directly, and gives the connection up if it does not answer.
    pub(super) fn suspect(self: &Arc<Self>) {
        if self.is_closed() || self.pinging.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let answered = matches!(tokio::time::timeout(PING, this.handle.send_ping()).await, Ok(Ok(())));
            if !answered {
                this.given_up.store(true, Ordering::Release);
                let bye = this.handle.disconnect(Disconnect::ConnectionLost, "no answer", "");
                let _ = tokio::time::timeout(PING, bye).await;
            }
            this.pinging.store(false, Ordering::Release);
        });
    }

    /// A channel for one command. Waits while there are as many as the server allows.
    pub(super) async fn session(&self) -> Result<SessionChannel, OpenError> {
        let permit = Arc::clone(&self.sessions).acquire_owned().await.map_err(|_| OpenError::Lost(self.lost()))?;
        let mut tries = SESSION_RETRY.0;
        loop {
            match self.opened(self.handle.channel_open_session().await) {
                Ok(channel) => return Ok(SessionChannel { channel, permit }),
                Err(OpenError::Refused(..)) if tries > 0 => {
                    tries -= 1;
                    tokio::time::sleep(SESSION_RETRY.1).await;
                }
                Err(OpenError::Refused(reason, words)) => {
                    let words = format!("{words}; sshd opens no more sessions, see MaxSessions in its sshd_config");
                    return Err(OpenError::Refused(reason, words));
                }
                Err(lost) => return Err(lost),
            }
        }
    }

    /// The channel that sftp keeps as long as the connection lasts.
    pub(super) async fn lasting_session(&self) -> Result<Channel<Msg>, OpenError> {
        self.opened(self.handle.channel_open_session().await)
    }

    pub(super) async fn unix(&self, path: &str) -> Result<ChannelIo, OpenError> {
        let channel = self.opened(self.handle.channel_open_direct_streamlocal(path).await)?;
        Ok(ChannelIo::new(channel, &self.at))
    }

    pub(super) async fn tcp(&self, host: &str, port: u16) -> Result<ChannelIo, OpenError> {
        let channel = self.opened(self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0).await)?;
        Ok(ChannelIo::new(channel, &self.at))
    }

    fn opened(&self, result: Result<Channel<Msg>, russh::Error>) -> Result<Channel<Msg>, OpenError> {
        result.map_err(|e| match e {
            russh::Error::ChannelOpenFailure(reason) => {
                OpenError::Refused(reason, self.said.open_failure.lock().unwrap_or_else(PoisonError::into_inner).clone())
            }
            _ => {
                self.given_up.store(true, Ordering::Release);
                OpenError::Lost(self.lost())
            }
        })
    }
}

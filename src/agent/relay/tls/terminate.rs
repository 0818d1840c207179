//! TLS from clients: one configuration shared by all data threads, so that a session begun on one is resumed on any other.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificates;
use super::files::{self, CertificateFiles};
use super::{H2, HTTP_11, MinVersion, TlsError};
use crate::agent::relay::stream::Socket;
use crate::agent::watched_files::{Looked, WatchedFiles};

/// Sessions of TLS 1.2 clients without tickets that are remembered.
const SESSIONS: usize = 10_000;

/// Whether clients show certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    #[default]
    No,
    /// Those that a CA of the file has signed may be shown.
    Optional(PathBuf),
    /// One must be shown.
    Required(PathBuf),
}

/// What a listener's TLS is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct TerminateConfig {
    /// At least one; the first is the default.
    pub certificates: Vec<CertificateFiles>,
    pub min_version: MinVersion,
    /// Offer HTTP/2.
    pub http2: bool,
    /// Offer anything at all by ALPN: true for listeners of mode http.
    pub http: bool,
    pub clients: ClientCertificates,
    /// Refuse names that no certificate has.
    pub strict_sni: bool,
}

impl TerminateConfig {
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.certificates.iter().flat_map(CertificateFiles::paths).collect();
        if let ClientCertificates::Optional(path) | ClientCertificates::Required(path) = &self.clients {
            files.push(path.clone());
        }
        files
    }
}

/// Terminates TLS; clones share what was read of the files.
#[derive(Clone)]
pub struct Terminator(Arc<Inner>);

struct Inner {
    config: TerminateConfig,
    tickets: TicketKeys,
    server: ArcSwap<ServerConfig>,
    files: WatchedFiles,
}

impl std::fmt::Debug for Terminator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminator").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Keys of session tickets, shared by all listeners and outliving their configurations.
#[derive(Clone, Debug)]
pub struct TicketKeys(Arc<dyn ProducesTickets>);

impl TicketKeys {
    /// Fresh ones; they rotate by themselves.
    ///
    /// # Errors
    /// The system's random numbers'.
    pub fn new() -> Result<Self, TlsError> {
        Ok(Self(rustls::crypto::ring::Ticketer::new()?))
    }
}

impl Terminator {
    /// # Errors
    /// [`TlsError`] where files cannot be read or do not fit together.
    pub fn new(config: &TerminateConfig, tickets: &TicketKeys) -> Result<Self, TlsError> {
        let files = WatchedFiles::new(config.files());
        let server = ArcSwap::from_pointee(server_config(config, tickets)?);
        Ok(Self(Arc::new(Inner { config: config.clone(), tickets: tickets.clone(), server, files })))
    }

    pub fn config(&self) -> &TerminateConfig {
        &self.0.config
    }

    /// Reads the files again and uses what is in them for every handshake from now on.
    ///
    /// # Errors
    /// [`TlsError`]; nothing has changed then.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.server.store(Arc::new(server_config(&self.0.config, &self.0.tickets)?));
        Ok(())
    }

    /// Reads the files again if they have changed.
    pub fn look(&self) -> Looked {
        self.0.files.look(|| self.reload().map_err(|e| e.to_string()))
    }

    /// Why the files as they are now are not used.
    pub fn refused(&self) -> Option<String> {
        self.0.files.refused()
    }

    /// The handshake. The caller limits its time.
    ///
    /// # Errors
    /// What the client did wrong, or the connection's.
    pub async fn accept(&self, socket: Socket) -> std::io::Result<tokio_rustls::server::TlsStream<Socket>> {
        TlsAcceptor::from(self.0.server.load_full()).accept(socket).await
    }
}

fn server_config(config: &TerminateConfig, tickets: &TicketKeys) -> Result<ServerConfig, TlsError> {
    let certificates = Arc::new(Certificates::load(&config.certificates, config.strict_sni)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(config.min_version.versions())?;
    let builder = match &config.clients {
        ClientCertificates::No => builder.with_no_client_auth(),
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(files::authorities(path)?), provider);
            let verifier = if matches!(config.clients, ClientCertificates::Optional(_)) {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier =
                verifier.build().map_err(|e| TlsError::File { path: path.display().to_string(), why: e.to_string() })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder.with_cert_resolver(certificates);
    server.ticketer = Arc::clone(&tickets.0);
    server.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    // One ticket is enough: a client that wants to resume twice at once does a handshake more.
    server.send_tls13_tickets = 1;
    if config.http {
        server.alpn_protocols = if config.http2 { vec![H2.to_vec(), HTTP_11.to_vec()] } else { vec![HTTP_11.to_vec()] };
    }
    Ok(server)
}

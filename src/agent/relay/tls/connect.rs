//! TLS to servers: verified unless the configuration says otherwise.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::files::{self, CertificateFiles};
use super::unverified::Unverified;
use super::{H2, HTTP_11, MinVersion, TlsError};
use crate::agent::relay::stream::Socket;
use crate::agent::watched_files::{Looked, WatchedFiles};

/// What TLS to a pool's servers is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectConfig {
    /// PEM of the CAs that sign servers' certificates; `None`: nothing is verified.
    pub ca_file: Option<PathBuf>,
    /// Name to ask for (SNI) and to find in the certificate.
    pub server_name: String,
    pub min_version: MinVersion,
    /// Offer HTTP/2.
    pub http2: bool,
    /// Offer anything at all by ALPN: true for pools of mode http.
    pub http: bool,
    /// What the relay shows to servers that ask for a certificate.
    pub client: Option<CertificateFiles>,
}

impl ConnectConfig {
    fn files(&self) -> Vec<PathBuf> {
        self.ca_file.iter().cloned().chain(self.client.iter().flat_map(CertificateFiles::paths)).collect()
    }
}

/// Numbers all settings that there ever were.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Makes TLS connections to the servers of a pool.
pub struct TlsToServer {
    config: ConnectConfig,
    client: ArcSwap<ClientConfig>,
    name: ServerName<'static>,
    files: WatchedFiles,
    /// See [`TlsToServer::id`].
    id: AtomicU64,
}

impl std::fmt::Debug for TlsToServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsToServer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TlsToServer {
    /// # Errors
    /// [`TlsError`] where files cannot be read or the name is none.
    pub fn new(config: &ConnectConfig) -> Result<Self, TlsError> {
        let name = ServerName::try_from(config.server_name.clone()).map_err(|_| TlsError::Name(config.server_name.clone()))?;
        let files = WatchedFiles::new(config.files());
        let client = ArcSwap::from_pointee(client_config(config)?);
        Ok(Self { config: config.clone(), client, name, files, id: AtomicU64::new(NEXT.fetch_add(1, Ordering::Relaxed)) })
    }

    pub fn config(&self) -> &ConnectConfig {
        &self.config
    }

    /// Names the settings that new connections are made with: connections of other ones are not used again.
    pub fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    /// Reads the files again if they have changed.
    pub fn look(&self) -> Looked {
        self.files.look(|| {
            self.client.store(Arc::new(client_config(&self.config).map_err(|e| e.to_string())?));
            self.id.store(NEXT.fetch_add(1, Ordering::Relaxed), Ordering::Release);
            Ok(())
        })
    }

    /// Why the files as they are now are not used.
    pub fn refused(&self) -> Option<String> {
        self.files.refused()
    }

    /// The handshake. The caller limits its time.
    ///
    /// # Errors
    /// Those of the connection and of verification.
    pub async fn connect(&self, socket: Socket) -> std::io::Result<tokio_rustls::client::TlsStream<Socket>> {
        TlsConnector::from(self.client.load_full()).connect(self.name.clone(), socket).await
    }
}

fn client_config(config: &ConnectConfig) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(config.min_version.versions())?;
    let builder = match &config.ca_file {
        Some(path) => builder.with_root_certificates(files::authorities(path)?),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
    };
    let mut client = match &config.client {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let chain = files::chain(&file.certificate)?;
            let key = files::key(file.key.as_ref().unwrap_or(&file.certificate))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| TlsError::Certificate { path: file.certificate.display().to_string(), source })?
        }
    };
    if config.http {
        client.alpn_protocols = if config.http2 { vec![H2.to_vec(), HTTP_11.to_vec()] } else { vec![HTTP_11.to_vec()] };
    }
    Ok(client)
}

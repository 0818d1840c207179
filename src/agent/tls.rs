//! TLS of the control API over TCP: both sides show a certificate of the same authority. There is no plain TCP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::watched_files::{Looked, WatchedFiles};

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Consoles must show a certificate of one of these authorities.
    pub client_ca: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct TlsError {
    path: PathBuf,
    what: String,
}

fn wrong<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> TlsError + '_ {
    move |e| TlsError { path: path.to_owned(), what: e.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(wrong(path))?.collect::<Result<_, _>>().map_err(wrong(path))?;
    if found.is_empty() { Err(wrong(path)("it holds no certificate")) } else { Ok(found) }
}

/// What the control API shows and asks for, made anew when its files change.
#[derive(Debug)]
pub struct Identity {
    files: TlsFiles,
    server: Arc<ServerConfig>,
    watched: WatchedFiles,
}

impl Identity {
    pub fn read(files: &TlsFiles) -> Result<Identity, TlsError> {
        let watched = WatchedFiles::new(vec![files.certificate.clone(), files.key.clone(), files.client_ca.clone()]);
        Ok(Identity { files: files.clone(), server: server(files)?, watched })
    }

    /// For the next connection.
    pub fn current(&mut self) -> Arc<ServerConfig> {
        let (files, server_config) = (&self.files, &mut self.server);
        let renew = || {
            *server_config = server(files).map_err(|e| e.to_string())?;
            Ok(())
        };
        match self.watched.look(renew) {
            Looked::Same => {}
            Looked::Taken => tracing::info!("the control API's certificate has been read again"),
            Looked::Refused(why) => {
                tracing::error!("the control API's certificate has changed and cannot be used, the old one stays: {why}")
            }
        }
        self.server.clone()
    }
}

fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in certificates(&files.client_ca)? {
        roots.add(ca).map_err(wrong(&files.client_ca))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(wrong(&files.client_ca))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(wrong(&files.key))?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong(&files.certificate))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&files.certificate)?, key)
        .map_err(wrong(&files.certificate))?;
    Ok(Arc::new(config))
}

//! One TLS address of a node where both sides show a certificate: lbdeck's own agent with `--listen`. Nothing else of the node is reached this way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{BoxStream, Endpoint, Files, Limits, Result, RunOutput, Transport, TransportError};

/// Files in PEM, of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that sign the far side's certificate.
    pub ca: PathBuf,
    /// What this side shows.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug)]
pub struct TlsTransport {
    /// `host:port`.
    address: String,
    name: ServerName<'static>,
    files: TlsFiles,
}

impl TlsTransport {
    /// Connects to nothing yet. `name` stands in the far side's certificate (default: the host of the address).
    ///
    /// # Errors
    /// A name that no certificate can have; files that cannot be used.
    pub fn new(address: &str, name: Option<&str>, files: TlsFiles) -> Result<TlsTransport> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let name = name.unwrap_or(host);
        let wrong =
            |e| TransportError::Other { at: address.to_owned(), what: format!("'{name}' is no name of a certificate: {e}") };
        let name = ServerName::try_from(name.to_owned()).map_err(wrong)?;
        let transport = TlsTransport { address: address.to_owned(), name, files };
        // Said at the start and not at the first change.
        transport.config()?;
        Ok(transport)
    }

    /// Read for each connection, so that a renewed certificate is used by itself.
    fn config(&self) -> Result<ClientConfig> {
        let TlsFiles { ca, certificate, key } = &self.files;
        let mut roots = RootCertStore::empty();
        for authority in self.certificates(ca)? {
            roots.add(authority).map_err(|e| self.denied(ca, e))?;
        }
        let shown = self.certificates(certificate)?;
        let key_read = PrivateKeyDer::from_pem_file(key).map_err(|e| self.denied(key, e))?;
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| self.denied(ca, e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(shown, key_read)
            .map_err(|e| self.denied(certificate, e))
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(self.denied(path, "it holds no certificate")),
            Err(e) => Err(self.denied(path, e)),
        }
    }

    fn denied(&self, path: &Path, why: impl std::fmt::Display) -> TransportError {
        TransportError::Auth {
            at: self.describe(),
            what: format!("{}: {why}", path.display()),
            hint: "lbdeck agent cert makes authority and certificates".to_owned(),
        }
    }

    fn unsupported(&self, what: &str) -> TransportError {
        TransportError::Unsupported {
            at: self.describe(),
            what: format!("{what}: only the agent's control API is reached over TLS"),
        }
    }
}

#[async_trait]
impl Transport for TlsTransport {
    fn describe(&self) -> String {
        format!("tls {}", self.address)
    }

    async fn open(&self, endpoint: &Endpoint, deadline: Duration) -> Result<BoxStream> {
        let Endpoint::Tcp(address) = endpoint else { return Err(self.unsupported(&endpoint.to_string())) };
        let connector = TlsConnector::from(Arc::new(self.config()?));
        let connect = async {
            let unreachable = |e: std::io::Error| TransportError::Unreachable { at: self.describe(), what: e.to_string() };
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            match connector.connect(self.name.clone(), stream).await {
                Ok(tls) => Ok(Box::new(tls) as BoxStream),
                // rustls' own words, wrapped in an error of input and output: a certificate that does not fit, no TLS at all.
                Err(e) if e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => Err(TransportError::Auth {
                    at: self.describe(),
                    what: format!("no TLS: {e}"),
                    hint: "both sides need certificates of one authority, and the far one the name that is asked for".to_owned(),
                }),
                Err(e) => Err(unreachable(e)),
            }
        };
        let late = |_| TransportError::Timeout { at: self.describe(), doing: "opening TLS".to_owned(), after: deadline };
        tokio::time::timeout(deadline, connect).await.map_err(late)?
    }

    fn way(&self, _: &Endpoint) -> String {
        self.describe()
    }

    async fn run(&self, argv: &[&str], _: &[u8], _: Limits) -> Result<RunOutput> {
        Err(self.unsupported(argv.first().copied().unwrap_or_default()))
    }

    fn files(&self) -> Option<&dyn Files> {
        None
    }
}

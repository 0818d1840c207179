//! Certificates, keys and staples as files.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// No certificate chain, key or staple is larger.
const MAX_FILE: u64 = 1 << 20;
/// A bundle of CAs may hold all public ones.
const MAX_BUNDLE: u64 = 16 << 20;

/// Where one certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate and its chain, the leaf first.
    pub certificate: PathBuf,
    /// PEM; `None`: the key stands in the certificate's file (as HAProxy has it).
    pub key: Option<PathBuf>,
    /// DER of an OCSP response, sent with the certificate.
    pub ocsp: Option<PathBuf>,
}

impl CertificateFiles {
    /// All files that it is made of.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        [Some(&self.certificate), self.key.as_ref(), self.ocsp.as_ref()].into_iter().flatten().cloned()
    }
}

fn failed(path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { path: path.display().to_string(), why: why.to_string() }
}

/// Reads a file of at most `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, TlsError> {
    let file = std::fs::File::open(path).map_err(|e| failed(path, e))?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| failed(path, e))?;
    if bytes.len() as u64 > most {
        return Err(failed(path, format!("larger than {most} bytes, which no such file is")));
    }
    Ok(bytes)
}

/// The certificates of a PEM file, at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path, MAX_FILE)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|e| failed(path, format!("not PEM: {e}")))?;
    if certificates.is_empty() {
        return Err(failed(path, "holds no certificate (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(certificates)
}

/// The first private key of a PEM file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let mut pem = read(path, MAX_FILE)?;
    let key = PrivateKeyDer::from_pem_slice(&pem);
    zeroize::Zeroize::zeroize(&mut pem);
    // The error's text could quote the file.
    key.map_err(|_| failed(path, "holds no private key that can be read (-----BEGIN PRIVATE KEY-----; not encrypted)"))
}

pub(super) fn staple(path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = read(path, MAX_FILE)?;
    // A response is a sequence (RFC 6960, 4.2.1); PEM or an error page is not.
    if bytes.first() != Some(&0x30) {
        return Err(failed(path, "is not an OCSP response in DER"));
    }
    Ok(bytes)
}

/// The CAs of a PEM file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let pem = read(path, MAX_BUNDLE)?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| failed(path, format!("not PEM: {e}")))?;
        store.add(certificate).map_err(|source| TlsError::Certificate { path: path.display().to_string(), source })?;
    }
    if store.is_empty() {
        return Err(failed(path, "holds no certificate (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(store)
}

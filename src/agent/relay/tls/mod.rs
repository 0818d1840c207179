//! TLS of the relay on rustls: to clients with certificates that can be exchanged while it runs, and to servers with verification.

pub mod certificates;
pub mod connect;
pub mod files;
pub mod terminate;
pub mod unverified;

/// Protocol names of ALPN (RFC 7301).
pub const H2: &[u8] = b"h2";
pub const HTTP_11: &[u8] = b"http/1.1";

/// Why TLS cannot be set up as configured. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {why}")]
    File { path: String, why: String },
    /// The key does not belong to the certificate, or rustls does not take them.
    #[error("{path}: {source}")]
    Certificate { path: String, source: rustls::Error },
    #[error("TLS settings: {0}")]
    Settings(#[from] rustls::Error),
    #[error("'{0}' is no host name or address that a certificate could have")]
    Name(String),
}

/// Versions that may be spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

impl MinVersion {
    pub(super) fn versions(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static ONLY_13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Tls12 => rustls::DEFAULT_VERSIONS,
            Self::Tls13 => ONLY_13,
        }
    }
}

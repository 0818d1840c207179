//! TLS of health checks. A check asks whether a server works, not who it is, so its certificate is not verified; nothing
//! secret is sent in a check.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::agent::relay::tls::unverified::Unverified;

/// One configuration for all checks, made when the first one needs it.
#[derive(Debug, Default)]
pub(super) struct Clients {
    config: Option<Arc<ClientConfig>>,
}

impl Clients {
    pub fn connect(&mut self, name: ServerName<'static>) -> Result<ClientConnection, rustls::Error> {
        if self.config.is_none() {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
                .with_no_client_auth();
            self.config = Some(Arc::new(config));
        }
        match &self.config {
            Some(config) => ClientConnection::new(config.clone(), name),
            None => Err(rustls::Error::General("no TLS configuration".to_owned())),
        }
    }
}

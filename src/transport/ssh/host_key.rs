//! Whether a server is who it says: its host key against known_hosts, and the words for each way that this can go wrong.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyBase64};
use sha2::{Digest, Sha256};

use super::config::{HostConfig, Strict, pattern};
use super::env::SshEnv;
use super::known_hosts::{Place, Verdict, entry_name};
use crate::model::sanitize;
use crate::transport::TransportError;

/// Host key algorithms, best first: what is known of the host moves to the front. `ssh-rsa` with SHA-1 is not among them.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// A key that nobody has seen before.
#[derive(Debug)]
pub(super) struct NewKey {
    key_type: String,
    base64: String,
    pub(super) fingerprint: String,
}

/// What becomes of a connection whose server has presented its key.
#[derive(Debug)]
pub(super) enum Outcome {
    Accept,
    /// A person decides; the connection is not kept waiting meanwhile.
    Ask(NewKey),
    Refuse(TransportError),
}

#[derive(Debug)]
pub(super) struct HostKeyCheck {
    env: Arc<SshEnv>,
    config: Arc<HostConfig>,
}

impl HostKeyCheck {
    pub(super) fn new(env: Arc<SshEnv>, config: Arc<HostConfig>) -> Self {
        Self { env, config }
    }

    fn at(&self) -> String {
        format!("ssh {}", self.config.target())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.config.known_hosts.iter().chain(&self.config.global_known_hosts).cloned().collect()
    }

    /// The name to look for, and the one without port that OpenSSH accepts as well.
    fn names(&self) -> (String, Option<String>) {
        match &self.config.host_key_alias {
            Some(alias) => (alias.to_ascii_lowercase(), None),
            None => {
                let without = (self.config.port != 22).then(|| entry_name(&self.config.host_name, 22));
                (entry_name(&self.config.host_name, self.config.port), without)
            }
        }
    }

    /// Asks the server first for the types of keys that are known, so that a node with several keys is recognised.
    pub(super) fn preferred(&self) -> Result<Vec<Algorithm>, TransportError> {
        let (name, without) = self.names();
        let names: Vec<_> = std::iter::once(name).chain(without).collect();
        let known = self.env.known_hosts.types(&self.files(), &names).map_err(|e| self.unreadable(&e))?;
        let mut algorithms = ALGORITHMS.to_vec();
        let is_known = |a: &Algorithm| match a {
            Algorithm::Rsa { .. } => known.iter().any(|k| k == "ssh-rsa"),
            other => known.iter().any(|k| k == other.as_str()),
        };
        // Stable: within both groups the best comes first.
        algorithms.sort_by_key(|a| !is_known(a));
        Ok(algorithms)
    }

    /// Certificates are asked for where known_hosts names an authority for the host, and nowhere else.
    pub(super) fn preferred_certificates(&self) -> Result<Vec<Algorithm>, TransportError> {
        Ok(if self.authorities()?.is_empty() { Vec::new() } else { ALGORITHMS.to_vec() })
    }

    fn authorities(&self) -> Result<Vec<String>, TransportError> {
        let (name, without) = self.names();
        let names: Vec<_> = std::iter::once(name).chain(without).collect();
        self.env.known_hosts.authorities(&self.files(), &names).map_err(|e| self.unreadable(&e))
    }

    /// A certificate of an authority that is named for the host; another one counts for no more than the key that is in it.
    pub(super) fn check_certificate(&self, certificate: &Certificate, now: SystemTime) -> Outcome {
        let authority = PublicKey::new(certificate.signature_key().clone(), "");
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let authorities = match self.authorities() {
            Ok(authorities) => authorities,
            Err(e) => return Outcome::Refuse(e),
        };
        if !authorities.contains(&authority.public_key_base64()) {
            return self.check(&key);
        }
        // What is revoked stays so, whoever vouches for it.
        let (name, files) = (self.names().0, self.files());
        for revocable in [&authority, &key] {
            let key_type = plain_type(&revocable.algorithm());
            match self.env.known_hosts.check(&files, &name, &key_type, &revocable.public_key_base64()) {
                Err(e) => return Outcome::Refuse(self.unreadable(&e)),
                Ok(Verdict::Revoked(_)) => return self.check(revocable),
                Ok(_) => {}
            }
        }
        let host = self.config.host_key_alias.as_ref().unwrap_or(&self.config.host_name).to_ascii_lowercase();
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let wrong = if certificate.cert_type() != CertType::Host {
            "is not one of a host".to_owned()
        } else if !certificate.valid_principals().iter().any(|p| pattern::matches(&p.to_ascii_lowercase(), &host)) {
            format!("is for {}, not for {host}", sanitize(&certificate.valid_principals().join(", ")))
        } else if certificate.critical_options().iter().next().is_some() {
            "has critical options, of which a host's has none".to_owned()
        } else if certificate.validate_at(seconds, [&authority.fingerprint(HashAlg::Sha256)]).is_err() {
            "has ended, is not valid yet, or its signature is wrong".to_owned()
        } else {
            return Outcome::Accept;
        };
        let authority = authority.fingerprint(HashAlg::Sha256);
        Outcome::Refuse(TransportError::HostKey {
            at: self.at(),
            what: format!("the host's certificate '{}' of the authority {authority} {wrong}", sanitize(certificate.key_id())),
            hint: "have the authority sign the node's key anew (ssh-keygen -h -s), with its name as principal (-n)".into(),
        })
    }

    pub(super) fn check(&self, key: &PublicKey) -> Outcome {
        let (key_type, base64) = (plain_type(&key.algorithm()), key.public_key_base64());
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let (name, without_port) = self.names();
        let files = self.files();
        let verdict =
            self.env.known_hosts.check(&files, &name, &key_type, &base64).and_then(|verdict| match (verdict, &without_port) {
                (Verdict::Unknown, Some(plain)) => match self.env.known_hosts.check(&files, plain, &key_type, &base64)? {
                    found @ (Verdict::Known | Verdict::Revoked(_)) => Ok(found),
                    _ => Ok(Verdict::Unknown),
                },
                (verdict, _) => Ok(verdict),
            });
        let refuse = |what: String, hint: String| Outcome::Refuse(TransportError::HostKey { at: self.at(), what, hint });
        match verdict {
            Err(e) => Outcome::Refuse(self.unreadable(&e)),
            Ok(Verdict::Known) => Outcome::Accept,
            Ok(Verdict::Unknown) => {
                let new = NewKey { key_type, base64, fingerprint };
                match self.config.strict {
                    Strict::AcceptNew => match self.remember(&new) {
                        Ok(()) => Outcome::Accept,
                        Err(e) => Outcome::Refuse(e),
                    },
                    Strict::Ask => Outcome::Ask(new),
                    Strict::Yes => Outcome::Refuse(self.refused(&new)),
                }
            }
            Ok(Verdict::Changed(old)) => refuse(
                format!(
                    "the host key has changed: {key_type} {fingerprint} was presented, {} is known from {}:{}. Somebody may be \
                     listening in, or the node was reinstalled",
                    fingerprint_of(&old),
                    old.file.display(),
                    old.line
                ),
                format!(
                    "ask whoever runs the node; if its key is new: ssh-keygen -R '{name}' -f {}, then {}",
                    old.file.display(),
                    self.add_command()
                ),
            ),
            Ok(Verdict::OtherType(places)) => {
                let known: Vec<_> = places
                    .iter()
                    .map(|p| format!("{} {} ({}:{})", p.key_type, fingerprint_of(p), p.file.display(), p.line))
                    .collect();
                refuse(
                    format!(
                        "the host presented a {key_type} key ({fingerprint}), but only other types are known of it: {}. Somebody may \
                         be listening in, or the node's keys were replaced",
                        known.join(", ")
                    ),
                    format!("ask whoever runs the node; if the key is right: {}", self.add_command()),
                )
            }
            Ok(Verdict::Revoked(place)) => refuse(
                format!("the host key {fingerprint} is revoked ({}:{})", place.file.display(), place.line),
                "do not connect before the node has a new host key".into(),
            ),
        }
    }

    /// Asks a person; a yes is remembered.
    pub(super) async fn ask(&self, new: &NewKey) -> Result<(), TransportError> {
        if self.env.ask_host_key(&self.names().0, &new.key_type, &new.fingerprint).await {
            return self.remember(new);
        }
        Err(self.refused(new))
    }

    fn remember(&self, new: &NewKey) -> Result<(), TransportError> {
        let Some(file) = self.config.known_hosts.first() else { return Ok(()) };
        let (name, _) = self.names();
        self.env.known_hosts.add(file, self.config.hash_known_hosts, &name, &new.key_type, &new.base64).map_err(|e| {
            TransportError::HostKey {
                at: self.at(),
                what: format!("the new host key cannot be written to {}: {e}", file.display()),
                hint: "let your user write the file, or name another as UserKnownHostsFile".into(),
            }
        })
    }

    fn refused(&self, new: &NewKey) -> TransportError {
        TransportError::HostKey {
            at: self.at(),
            what: format!("the host key is not known: {} {}", new.key_type, new.fingerprint),
            hint: format!("compare the fingerprint with the node's own, then: {}", self.add_command()),
        }
    }

    /// The command by which a person makes the key known.
    fn add_command(&self) -> String {
        let c = &self.config;
        let file = c.known_hosts.first().map_or_else(|| "~/.ssh/known_hosts".into(), |f| f.display().to_string());
        if !c.jumps.is_empty() || c.host_key_alias.is_some() {
            return format!("ssh {} true", c.alias);
        }
        let port = if c.port == 22 { String::new() } else { format!("-p {} ", c.port) };
        format!("ssh-keyscan {port}{} >> {file}", c.host_name)
    }

    fn unreadable(&self, error: &io::Error) -> TransportError {
        TransportError::HostKey {
            at: self.at(),
            what: format!("known_hosts cannot be read: {error}"),
            hint: "let your user read the files that UserKnownHostsFile and GlobalKnownHostsFile name".into(),
        }
    }
}

/// The type as known_hosts writes it: RSA keys are `ssh-rsa` whatever hash they sign with.
fn plain_type(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa".to_owned(),
        other => other.as_str().to_owned(),
    }
}

fn fingerprint_of(place: &Place) -> String {
    match BASE64.decode(&place.key) {
        Ok(bytes) => format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(bytes))),
        Err(_) => "(an unreadable key)".into(),
    }
}

//! Logging on: the agent's keys, key files, and as a last resort a password. A refusal says all that was tried.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, HashAlg, PublicKey};
use russh::{AgentAuthError, MethodKind, MethodSet, SendError, Signer};
use tokio::net::UnixStream;

use super::config::HostConfig;
use super::connection::Client;
use super::env::SshEnv;
use super::keys::{KeyFile, sign};
use crate::config::SecretRef;
use crate::model::sanitize;
use crate::transport::TransportError;

/// An agent on this machine answers at once, or a person is confirming.
const AGENT: Duration = Duration::from_secs(5);
/// How long a person may take to confirm a signature to the agent.
const CONFIRM: Duration = Duration::from_secs(60);
/// Rounds of keyboard-interactive questions before giving up on a server that never ends.
const ROUNDS: usize = 8;

/// What the fleet file gives for one node.
#[derive(Clone, Default, Debug)]
pub(super) struct Secrets {
    pub(super) password: Option<SecretRef>,
    pub(super) passphrase: Option<SecretRef>,
}

pub(super) struct LogOn<'a> {
    pub(super) env: &'a SshEnv,
    pub(super) config: &'a HostConfig,
    pub(super) secrets: &'a Secrets,
}

/// One key to offer, and who signs with it.
enum Offer {
    Agent(Box<AgentIdentity>),
    File(Arc<KeyFile>),
}

impl Offer {
    fn public(&self) -> PublicKey {
        match self {
            Offer::Agent(identity) => identity.public_key().into_owned(),
            Offer::File(file) => file.public.clone(),
        }
    }
    fn certificate(&self) -> Option<Certificate> {
        match self {
            Offer::Agent(identity) => match identity.as_ref() {
                AgentIdentity::Certificate { certificate, .. } => Some(certificate.clone()),
                AgentIdentity::PublicKey { .. } => None,
            },
            Offer::File(file) => file.certificate.clone(),
        }
    }
    fn words(&self) -> String {
        match self {
            Offer::Agent(identity) => format!("agent's key '{}'", sanitize(identity.comment())),
            Offer::File(file) => file.path.display().to_string(),
        }
    }
}

/// How far we got.
enum Step {
    Done,
    /// The methods that the server still takes, where it said so.
    Refused(Option<MethodSet>),
    /// No use in going on: the server has hung up.
    Gone,
    /// No use in going on: nobody answers.
    Stop,
}

impl From<AuthResult> for Step {
    fn from(result: AuthResult) -> Self {
        match result {
            AuthResult::Success => Step::Done,
            AuthResult::Failure { remaining_methods, .. } => Step::Refused(Some(remaining_methods)),
        }
    }
}

impl LogOn<'_> {
    pub(super) async fn run(&self, handle: &mut Handle<Client>) -> Result<(), TransportError> {
        let mut tried = Vec::new();
        // What the server takes is known from its first refusal; a key is worth a try before that.
        let mut takes = None;
        let mut agent = self.agent(&mut tried).await;
        let offers = self.offers(agent.as_mut(), &mut tried).await;
        for offer in offers {
            if takes.as_ref().is_some_and(|t: &MethodSet| !t.contains(&MethodKind::PublicKey)) {
                break;
            }
            match self.offer(handle, &offer, agent.as_mut(), &mut tried).await {
                Step::Done => return Ok(()),
                Step::Refused(methods) => takes = methods.or(takes),
                Step::Gone | Step::Stop => return Err(self.refused(takes.as_ref(), &tried, true)),
            }
        }
        if takes.is_none() {
            match handle.authenticate_none(&self.config.user).await.map(Step::from) {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Refused(methods)) => takes = methods,
                Ok(Step::Gone | Step::Stop) | Err(_) => return Err(self.refused(None, &tried, true)),
            }
        }
        let takes = takes.unwrap_or_else(MethodSet::empty);
        self.last_resort(handle, takes, tried).await
    }

    async fn agent(&self, tried: &mut Vec<String>) -> Option<AgentClient<UnixStream>> {
        let socket = self.config.agent.as_ref()?;
        match tokio::time::timeout(AGENT, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => Some(AgentClient::connect(stream)),
            Ok(Err(e)) => {
                tried.push(format!("ssh-agent at {}: {e}", socket.display()));
                None
            }
            Err(_) => {
                tried.push(format!("ssh-agent at {}: no answer", socket.display()));
                None
            }
        }
    }

    /// In OpenSSH's order: keys of the agent that are configured, other keys of the agent, key files.
    async fn offers(&self, agent: Option<&mut AgentClient<UnixStream>>, tried: &mut Vec<String>) -> Vec<Offer> {
        let mut files = Vec::new();
        for path in &self.config.identities {
            match self.env.keys.get(path) {
                Ok(file) => files.push(file),
                // Nobody has asked for the default files, so nobody misses them.
                Err(what) if self.config.identities_named || path.exists() => tried.push(format!("{}: {what}", path.display())),
                Err(_) => {}
            }
        }
        let mut held = Vec::new();
        if let Some(agent) = agent {
            match tokio::time::timeout(AGENT, agent.request_identities()).await {
                Ok(Ok(identities)) => held = identities,
                Ok(Err(e)) => tried.push(format!("ssh-agent: {e}")),
                Err(_) => tried.push("ssh-agent: no answer".into()),
            }
        }
        let same = |identity: &AgentIdentity, file: &KeyFile| identity.public_key().key_data() == file.public.key_data();
        let (configured, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|i| files.iter().any(|f| same(i, f)));
        files.retain(|f| f.can_sign() && !configured.iter().any(|i| same(i, f)));
        let others = if self.config.identities_only { Vec::new() } else { others };
        let held = configured.into_iter().chain(others).map(|i| Offer::Agent(Box::new(i)));
        held.chain(files.into_iter().map(Offer::File)).collect()
    }

    async fn offer(
        &self,
        handle: &mut Handle<Client>,
        offer: &Offer,
        agent: Option<&mut AgentClient<UnixStream>>,
        tried: &mut Vec<String>,
    ) -> Step {
        let public = offer.public();
        let hash = if public.algorithm().is_rsa() {
            // None where the server does not tell: SHA-512 is what any server of the last ten years takes.
            handle.best_supported_rsa_hash().await.ok().flatten().unwrap_or(Some(HashAlg::Sha512))
        } else {
            None
        };
        let user = &self.config.user;
        let mut signer = match (offer, agent) {
            (Offer::Agent(_), Some(agent)) => KeySigner::Agent(agent, self.env),
            (Offer::Agent(_), None) => return Step::Refused(None),
            (Offer::File(file), _) => KeySigner::File(self, file),
        };
        if let Some(certificate) = offer.certificate() {
            match handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await {
                Ok(AuthResult::Success) => return Step::Done,
                Ok(AuthResult::Failure { remaining_methods, .. }) => {
                    tried.push(format!("{}'s certificate: not accepted", offer.words()));
                    if handle.is_closed() {
                        return Step::Gone;
                    }
                    if matches!(offer, Offer::Agent(_)) {
                        return Step::Refused(Some(remaining_methods));
                    }
                }
                Err(e) => {
                    tried.push(format!("{}'s certificate: {e}", offer.words()));
                    if matches!(offer, Offer::Agent(_)) {
                        return Step::Refused(None);
                    }
                }
            }
        }
        match handle.authenticate_publickey_with(user, public, hash, &mut signer).await {
            Ok(AuthResult::Success) => Step::Done,
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                let how = if partial_success { "accepted, but not enough" } else { "not accepted" };
                tried.push(format!("{}: {how}", offer.words()));
                if handle.is_closed() { Step::Gone } else { Step::Refused(Some(remaining_methods)) }
            }
            Err(SignError::Gone) => Step::Gone,
            Err(e) => {
                tried.push(format!("{}: {e}", offer.words()));
                Step::Refused(None)
            }
        }
    }

    /// Password and keyboard-interactive: by the fleet file's secret, else by asking.
    async fn last_resort(
        &self,
        handle: &mut Handle<Client>,
        mut takes: MethodSet,
        mut tried: Vec<String>,
    ) -> Result<(), TransportError> {
        let secret = match &self.secrets.password {
            Some(reference) => Some(self.env.secret(reference).await?),
            None => None,
        };
        let asks = takes.contains(&MethodKind::KeyboardInteractive);
        if asks {
            match self.keyboard_interactive(handle, secret.as_ref().map(|s| s.expose()), &mut tried).await {
                Step::Done => return Ok(()),
                Step::Refused(methods) => takes = methods.unwrap_or(takes),
                Step::Gone => return Err(self.refused(Some(&takes), &tried, true)),
                Step::Stop => return Err(self.refused(Some(&takes), &tried, false)),
            }
        }
        // A secret that was wrong as an answer is wrong as a password: a second try would only help to lock the account.
        if takes.contains(&MethodKind::Password) && !(asks && secret.is_some()) {
            let question = format!("Password of {}", self.config.target());
            let password = match secret {
                Some(secret) => Some(secret),
                None => self.env.ask_secret(&question).await,
            };
            match password {
                None => tried.push("password: none was given".into()),
                Some(password) => match handle.authenticate_password(&self.config.user, password.expose()).await {
                    Ok(AuthResult::Success) => return Ok(()),
                    Ok(AuthResult::Failure { .. }) => tried.push("password: not accepted".into()),
                    Err(_) => return Err(self.refused(Some(&takes), &tried, true)),
                },
            }
        }
        Err(self.refused(Some(&takes), &tried, handle.is_closed()))
    }

    async fn keyboard_interactive(&self, handle: &mut Handle<Client>, password: Option<&str>, tried: &mut Vec<String>) -> Step {
        let mut password = password;
        let mut reply = handle.authenticate_keyboard_interactive_start(&self.config.user, None).await;
        for _ in 0..ROUNDS {
            let prompts = match reply {
                Ok(KeyboardInteractiveAuthResponse::Success) => return Step::Done,
                Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. }) => {
                    tried.push("keyboard-interactive: not accepted".into());
                    return if handle.is_closed() { Step::Gone } else { Step::Refused(Some(remaining_methods)) };
                }
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => prompts,
                Err(_) => return Step::Gone,
            };
            let mut answers = Vec::with_capacity(prompts.len());
            let mut unanswered = false;
            for prompt in &prompts {
                let question = format!("{}: {}", self.config.target(), sanitize(prompt.prompt.trim()));
                let answer = match (prompt.echo, password.take()) {
                    (false, Some(password)) => Some(password.to_owned()),
                    (false, None) => self.env.ask_secret(&question).await.map(|s| s.expose().to_owned()),
                    (true, _) => self.env.ask_text(&question).await,
                };
                unanswered |= answer.is_none();
                answers.push(answer.unwrap_or_default());
            }
            if unanswered {
                // Unanswered, the attempt is dropped with the connection: an empty answer would count as a wrong password.
                tried.push("keyboard-interactive: nobody answered".into());
                return Step::Stop;
            }
            reply = handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        tried.push("keyboard-interactive: the server asks without end".into());
        Step::Stop
    }

    fn refused(&self, takes: Option<&MethodSet>, tried: &[String], gone: bool) -> TransportError {
        let config = self.config;
        let takes = match takes {
            Some(methods) if !methods.is_empty() => {
                let names: Vec<&str> = methods.iter().map(Into::into).collect();
                format!("the server takes {}", names.join(", "))
            }
            _ => "the server did not say what it takes".into(),
        };
        let tried = if tried.is_empty() { "there was nothing to try".into() } else { format!("tried: {}", tried.join("; ")) };
        let key = config.identities.first().map_or_else(|| PathBuf::from("~/.ssh/id_ed25519"), Clone::clone);
        let hint = if gone {
            "the server hung up, perhaps after too many keys: set IdentitiesOnly yes and name the right IdentityFile".to_owned()
        } else {
            format!(
                "start an agent and ssh-add the key, or put your public key on the node: ssh-copy-id -i {} -p {} {}@{}",
                key.display(),
                config.port,
                config.user,
                config.host_name
            )
        };
        let gone = if gone { "; then the connection ended" } else { "" };
        TransportError::Auth {
            at: format!("ssh {}", config.target()),
            what: format!("log-on as {} failed ({takes}); {tried}{gone}", config.user),
            hint,
        }
    }
}

enum KeySigner<'a> {
    Agent(&'a mut AgentClient<UnixStream>, &'a SshEnv),
    File(&'a LogOn<'a>, &'a KeyFile),
}

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("the connection ended")]
    Gone,
    #[error("{0}")]
    Agent(#[from] AgentAuthError),
    #[error("{0}")]
    Key(String),
}

impl From<SendError> for SignError {
    fn from(_: SendError) -> Self {
        SignError::Gone
    }
}

impl Signer for KeySigner<'_> {
    type Error = SignError;

    async fn auth_sign(&mut self, key: &AgentIdentity, hash: Option<HashAlg>, data: Vec<u8>) -> Result<Vec<u8>, SignError> {
        match self {
            KeySigner::Agent(agent, env) => {
                // The agent may have a person confirm.
                let _asked = env.patience.asking();
                match tokio::time::timeout(CONFIRM, agent.auth_sign(key, hash, data)).await {
                    Ok(signed) => Ok(signed?),
                    Err(_) => Err(SignError::Key("the agent did not sign in time".into())),
                }
            }
            KeySigner::File(log_on, file) => {
                let unlocked = file.unlock(log_on.env, log_on.secrets.passphrase.as_ref());
                let private = unlocked.await.map_err(SignError::Key)?;
                sign(&private, hash, data).map_err(|e| SignError::Key(e.to_string()))
            }
        }
    }
}

//! Private keys in files: each is read once for the whole fleet, and decrypted only when a server would take it.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::Uid;
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, decode_secret_key, signature, ssh_key};
use zeroize::Zeroizing;

use super::env::SshEnv;
use crate::config::SecretRef;

/// Wrong passphrases before giving up, as OpenSSH counts.
const TRIES: usize = 3;

#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    pub(super) public: PublicKey,
    /// From `PATH-cert.pub`, where there is one.
    pub(super) certificate: Option<Certificate>,
    private: Private,
}

enum Private {
    /// Only the public half is here: the agent may have the other.
    Elsewhere,
    Plain(Arc<PrivateKey>),
    Encrypted(tokio::sync::Mutex<Locked>),
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Private::Elsewhere => "Elsewhere",
            Private::Plain(_) => "Plain(…)",
            Private::Encrypted(_) => "Encrypted(…)",
        })
    }
}

struct Locked {
    text: Zeroizing<String>,
    open: Option<Arc<PrivateKey>>,
    /// Nobody gave the passphrase: nobody is asked again by the next node.
    given_up: bool,
}

/// Key files that were read, by path.
#[derive(Debug, Default)]
pub(super) struct Keys {
    files: Mutex<HashMap<PathBuf, Arc<KeyFile>>>,
}

impl Keys {
    /// # Errors
    /// Why the file gives no key, in words.
    pub(super) fn get(&self, path: &Path) -> Result<Arc<KeyFile>, String> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(path) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(KeyFile::read(path)?);
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl KeyFile {
    fn read(path: &Path) -> Result<Self, String> {
        let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
        let public_beside = || read_public(&beside(".pub"));
        let (public, private) = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                (public_beside().ok_or_else(|| "no such file".to_owned())?, Private::Elsewhere)
            }
            Err(e) => return Err(e.to_string()),
            Ok(text) => {
                let text = Zeroizing::new(text);
                if let Ok(public) = PublicKey::from_openssh(text.trim()) {
                    (public, Private::Elsewhere)
                } else {
                    check_mode(path)?;
                    parse_private(text, public_beside)?
                }
            }
        };
        let certificate =
            std::fs::read_to_string(beside("-cert.pub")).ok().and_then(|t| Certificate::from_openssh(t.trim()).ok());
        Ok(Self { path: path.to_owned(), public, certificate, private })
    }

    /// Whether the private half is in the file.
    pub(super) fn can_sign(&self) -> bool {
        !matches!(self.private, Private::Elsewhere)
    }

    /// The private key, decrypted if need be.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) async fn unlock(&self, env: &SshEnv, passphrase: Option<&SecretRef>) -> Result<Arc<PrivateKey>, String> {
        let locked = match &self.private {
            Private::Elsewhere => return Err("only its public half is here".into()),
            Private::Plain(key) => return Ok(Arc::clone(key)),
            Private::Encrypted(locked) => locked,
        };
        let mut locked = locked.lock().await;
        if let Some(key) = &locked.open {
            return Ok(Arc::clone(key));
        }
        let mut named = "";
        if let Some(secret) = passphrase {
            let secret = env.secret(secret).await.map_err(|e| format!("passphrase: {e}"))?;
            if let Some(key) = decrypt(&locked.text, secret.expose()).await {
                return Ok(Arc::clone(locked.open.insert(key)));
            }
            named = ", the passphrase that the fleet file names is wrong";
        }
        for _ in 0..TRIES {
            let question = format!("Passphrase of {}", self.path.display());
            let answer = if locked.given_up { None } else { env.ask_secret(&question).await };
            let Some(answer) = answer else { break };
            if let Some(key) = decrypt(&locked.text, answer.expose()).await {
                return Ok(Arc::clone(locked.open.insert(key)));
            }
        }
        locked.given_up = true;
        Err(format!(
            "encrypted{named}, and its passphrase was not given (ssh-add it to an agent, or name the passphrase in the fleet file)"
        ))
    }
}

/// Half a second of work by design, so not on a thread that serves connections.
async fn decrypt(text: &Zeroizing<String>, passphrase: &str) -> Option<Arc<PrivateKey>> {
    let (text, passphrase) = (text.clone(), Zeroizing::new(passphrase.to_owned()));
    let work = tokio::task::spawn_blocking(move || decode_secret_key(&text, Some(&passphrase)).ok());
    work.await.ok().flatten().map(Arc::new)
}

fn parse_private(text: Zeroizing<String>, public_beside: impl Fn() -> Option<PublicKey>) -> Result<(PublicKey, Private), String> {
    let locked = |text| Private::Encrypted(tokio::sync::Mutex::new(Locked { text, open: None, given_up: false }));
    // OpenSSH's own format shows the public half even where the private one is encrypted.
    if let Ok(key) = PrivateKey::from_openssh(text.as_bytes()) {
        let public = key.public_key().clone();
        return Ok((public, if key.is_encrypted() { locked(text) } else { Private::Plain(Arc::new(key)) }));
    }
    match decode_secret_key(&text, None) {
        Ok(key) => Ok((key.public_key().clone(), Private::Plain(Arc::new(key)))),
        Err(_) if text.contains("ENCRYPTED") => match public_beside() {
            Some(public) => Ok((public, locked(text))),
            None => Err("encrypted in a format that hides the public key (ssh-keygen -p rewrites it)".into()),
        },
        Err(e) => Err(format!("not a private key that can be read: {e}")),
    }
}

fn read_public(path: &Path) -> Option<PublicKey> {
    PublicKey::from_openssh(std::fs::read_to_string(path).ok()?.trim()).ok()
}

/// Like OpenSSH, no key that others can read.
fn check_mode(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if metadata.uid() == Uid::effective().as_raw() && metadata.mode() & 0o077 != 0 {
        return Err(format!("ignored, because others may read it (chmod 600 {})", path.display()));
    }
    Ok(())
}

/// `data` with the key's signature over it appended, as the authentication protocol wants it.
pub(super) fn sign(key: &PrivateKey, hash: Option<HashAlg>, mut data: Vec<u8>) -> Result<Vec<u8>, ssh_key::Error> {
    use signature::Signer;
    let signature = match key.key_data() {
        ssh_key::private::KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&data)?,
        _ => key.try_sign(&data)?,
    };
    let (name, bytes) = (signature.algorithm().as_str().to_owned(), signature.as_bytes());
    let length = |n: usize| u32::try_from(n).map(u32::to_be_bytes).map_err(|_| ssh_key::Error::FormatEncoding);
    data.extend(length(name.len() + bytes.len() + 8)?);
    data.extend(length(name.len())?);
    data.extend(name.as_bytes());
    data.extend(length(bytes.len())?);
    data.extend(bytes);
    Ok(data)
}

//! What all ssh connections of a process share: who asks, where files are, and what was read from them once.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::sync::Notify;

use super::config::{self, File, Local};
use super::keys::Keys;
use super::known_hosts::KnownHosts;
use super::session::Session;
use crate::config::SecretRef;
use crate::transport::secret::{self, Secret};
use crate::transport::{Prompt, Result};

/// Shared by the transports of a fleet: files are parsed once, keys are decrypted once, jump hosts are reached once.
pub struct SshEnv {
    pub(super) local: Local,
    pub(super) known_hosts: KnownHosts,
    pub(super) keys: Keys,
    prompt: Arc<dyn Prompt>,
    system_config: PathBuf,
    configs: Mutex<HashMap<Option<PathBuf>, Arc<Vec<File>>>>,
    /// Sessions to jump hosts by whom they reach: they live as long as a node needs them.
    jumps: Mutex<HashMap<String, Weak<Session>>>,
    /// One question at a time, however many nodes connect side by side.
    asking: tokio::sync::Mutex<()>,
    /// Questions that were answered with no: nobody is asked the same at every attempt to reconnect.
    declined: Mutex<HashSet<String>>,
    pub(super) patience: Patience,
}

impl fmt::Debug for SshEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshEnv").field("local", &self.local).finish_non_exhaustive()
    }
}

impl SshEnv {
    /// The operator's own: home folder, user and `SSH_AUTH_SOCK` of this process.
    pub fn new(prompt: Arc<dyn Prompt>) -> Self {
        let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|s| !s.is_empty()).map(PathBuf::from);
        Self::with(prompt, home, agent, PathBuf::from("/etc/ssh/ssh_config"))
    }

    /// Another home folder, agent and system configuration than the process's own.
    pub fn with(prompt: Arc<dyn Prompt>, home: PathBuf, agent: Option<PathBuf>, system_config: PathBuf) -> Self {
        let uid = Uid::effective();
        let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name);
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Self {
            local: Local { home, user, uid: uid.as_raw(), host, agent },
            known_hosts: KnownHosts::default(),
            keys: Keys::default(),
            prompt,
            system_config,
            configs: Mutex::default(),
            jumps: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            declined: Mutex::default(),
            patience: Patience::default(),
        }
    }

    /// The configuration files, parsed at most once.
    pub(super) fn files(&self, given: Option<&Path>) -> Result<Arc<Vec<File>>> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = given.map(Path::to_owned);
        if let Some(files) = configs.get(&key) {
            return Ok(Arc::clone(files));
        }
        let files = Arc::new(config::load_files(given, &self.system_config, &self.local.home)?);
        configs.insert(key, Arc::clone(&files));
        Ok(files)
    }

    /// The session to a jump host, shared by all that go through it.
    pub(super) fn jump(&self, key: &str, make: impl FnOnce() -> Session) -> Arc<Session> {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = jumps.get(key).and_then(Weak::upgrade) {
            return session;
        }
        let session = Arc::new(make());
        jumps.insert(key.to_owned(), Arc::downgrade(&session));
        session
    }

    pub(super) async fn ask_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool {
        let question = format!("{host} {fingerprint}");
        let ask = async { self.prompt.new_host_key(host, key_type, fingerprint).await.then_some(()) };
        self.ask(&question, ask).await.is_some()
    }

    pub(super) async fn ask_secret(&self, question: &str) -> Option<Secret> {
        self.ask(question, self.prompt.secret(question)).await.map(Secret::new)
    }

    pub(super) async fn ask_text(&self, question: &str) -> Option<String> {
        self.ask(question, self.prompt.text(question)).await
    }

    async fn ask<T>(&self, question: &str, asking: impl Future<Output = Option<T>>) -> Option<T> {
        let _asked = self.patience.asking();
        let _turn = self.asking.lock().await;
        let declined = || self.declined.lock().unwrap_or_else(PoisonError::into_inner);
        if declined().contains(question) {
            return None;
        }
        let answer = asking.await;
        if answer.is_none() {
            declined().insert(question.to_owned());
        }
        answer
    }

    pub(super) async fn secret(&self, of: &SecretRef) -> Result<Secret> {
        let _asked = self.patience.asking();
        secret::resolve(of).await
    }
}

/// Lets time limits stand still while a person is asked: all of them, because questions wait for each other.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Questions that are open now.
    open: AtomicUsize,
    /// Grows with each question and each answer.
    turns: AtomicU64,
    answer: Notify,
}

pub(super) struct Asking<'a>(&'a Patience);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, Ordering::AcqRel);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.answer.notify_waiters();
    }
}

impl Patience {
    pub(super) fn asking(&self) -> Asking<'_> {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.turns.fetch_add(1, Ordering::AcqRel);
        Asking(self)
    }

    /// A number that grows with each question and each answer.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// Waits until no question is open; gives [`Self::turns`].
    pub(super) async fn quiet(&self) -> u64 {
        loop {
            let answer = self.answer.notified();
            tokio::pin!(answer);
            // From here on no answer is missed.
            answer.as_mut().enable();
            if self.open.load(Ordering::Acquire) == 0 {
                return self.turns();
            }
            answer.await;
        }
    }

    /// What `work` gives, unless it takes longer than `limit` with nobody being asked.
    pub(super) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        let mut seen = self.turns();
        loop {
            if let Ok(done) = tokio::time::timeout(limit, &mut work).await {
                return Some(done);
            }
            let turns = self.turns();
            if turns == seen && self.open.load(Ordering::Acquire) == 0 {
                return None;
            }
            seen = turns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn limits_stand_still_while_a_person_is_asked() {
        let patience = Patience::default();
        let limit = Duration::from_millis(100);
        assert_eq!(patience.within(limit, std::future::pending::<()>()).await, None);
        let asked = async {
            {
                let _asking = patience.asking();
                tokio::time::sleep(4 * limit).await;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(patience.within(limit, asked).await, Some(()));
    }
}

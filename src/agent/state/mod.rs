//! What the agent must not forget: the active configuration, what operators asked of servers and listeners, leases. One file,
//! replaced as a whole, so that restart, SIGKILL and reboot find the last state that was confirmed to anybody.

mod file;
mod lock;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::plane::Memories;

pub use file::{StateError, hex as sha256};
pub use lock::StateLock;

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Counts applied configurations.
    pub generation: u64,
    /// The configuration that is active; None until there was one.
    pub config: Option<KeptConfig>,
    pub servers: Memories,
    /// Listeners that an operator disabled.
    pub disabled_listeners: BTreeSet<String>,
    /// Lease files of this agent's own relay by file name, as they were found on the node: a reboot empties their folder.
    pub leases: BTreeMap<String, String>,
    /// The boot in which `leases` were last compared with their folder.
    pub boot: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptConfig {
    pub text: String,
    /// SHA-256 of the configuration file when it was last taken over. A file that still has it says nothing new, so that a
    /// configuration which came by the API holds on over restarts.
    pub file_sha256: String,
}

/// The state of a running agent: in memory, and on disk whenever it has changed.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    kept: Mutex<Kept>,
    /// Held while a change is written, so that changes reach the disk in their order. True once a new process has taken over.
    turn: Arc<tokio::sync::Mutex<bool>>,
}

impl State {
    /// Reads what was kept. What was found broken on the way is in the second part, in words.
    ///
    /// # Errors
    /// The folder cannot be made or read, or a newer agent wrote what is there.
    pub fn open(folder: &Path) -> Result<(State, Vec<String>), StateError> {
        let (kept, said) = file::read(folder)?;
        let state = State { folder: folder.to_owned(), kept: Mutex::new(kept), turn: Arc::default() };
        Ok((state, said))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn kept(&self) -> Kept {
        self.lock().clone()
    }

    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Begins a change; the next one waits until it is confirmed or dropped.
    ///
    /// # Errors
    /// A new process has taken over: this one may not write any more.
    pub async fn change(&self) -> Result<Changing<'_>, StateError> {
        let turn = self.turn.lock().await;
        if *turn {
            return Err(StateError::HandedOver);
        }
        Ok(Changing { state: self, before: self.kept(), _turn: turn })
    }

    /// Changes wait from here on, until the value returned is dropped or a new process has taken over for good.
    pub async fn freeze(&self) -> Frozen {
        Frozen { turn: self.turn.clone().lock_owned().await }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is written meanwhile.
#[derive(Debug)]
pub struct Frozen {
    turn: tokio::sync::OwnedMutexGuard<bool>,
}

impl Frozen {
    /// The new process writes from here on: changes that waited are told to ask it.
    pub fn hand_over(mut self) {
        *self.turn = true;
    }
}

/// A change under way.
#[derive(Debug)]
pub struct Changing<'s> {
    state: &'s State,
    pub before: Kept,
    _turn: tokio::sync::MutexGuard<'s, bool>,
}

impl Changing<'_> {
    /// Makes it durable; after this returns it survives a power cut.
    pub async fn write(&self, kept: Kept) -> Result<(), StateError> {
        if *self.state.lock() == kept {
            return Ok(());
        }
        let folder = self.state.folder.clone();
        let bytes = kept.clone();
        tokio::task::spawn_blocking(move || file::write(&folder, &bytes))
            .await
            .map_err(|e| StateError::Failed { path: self.state.folder.clone(), what: format!("writing was cut short: {e}") })??;
        *self.state.lock() = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_there_after_a_restart_and_not_after_a_handover() {
        let dir = tempfile::tempdir().unwrap();
        let (state, said) = State::open(dir.path()).unwrap();
        assert!(said.is_empty());
        let change = state.change().await.unwrap();
        let mut kept = change.before.clone();
        kept.generation = 7;
        kept.disabled_listeners.insert("web".into());
        change.write(kept.clone()).await.unwrap();
        drop(change);
        assert_eq!(State::open(dir.path()).unwrap().0.kept(), kept);
        drop(state.freeze().await);
        assert!(state.change().await.is_ok(), "the new process did not get ready");
        state.freeze().await.hand_over();
        assert!(matches!(state.change().await, Err(StateError::HandedOver)));
    }
}

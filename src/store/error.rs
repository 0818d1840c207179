//! Why the store could not do its part: what failed where, whether to retry, how to mend it.

use std::path::PathBuf;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The folder or file cannot be made, read or written.
    #[error("state store {}: {what}", path.display())]
    Unusable { path: PathBuf, what: String, hint: String },
    /// No space is left where the store lives: nothing that must be recorded can be done.
    #[error("state store {}: the disk is full", path.display())]
    Full { path: PathBuf },
    /// Not a database, or a damaged one.
    #[error("state store {}: damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    /// Made by a newer lbdeck.
    #[error("state store {}: schema {found} is newer than this lbdeck knows ({known})", path.display())]
    TooNew { path: PathBuf, found: i64, known: i64 },
    /// Other processes kept it locked for too long.
    #[error("state store {}: busy for too long", path.display())]
    Busy { path: PathBuf },
    #[error("state store {}: {what}", path.display())]
    Other { path: PathBuf, what: String },
}

impl StoreError {
    /// How to mend it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unusable { hint, .. } => hint.clone(),
            Self::Full { .. } => "free some space, or point $LBDECK_STATE at a folder with room".into(),
            Self::Damaged { path, .. } => {
                format!("move {} away (it holds the audit and the leases: keep it) and run again", path.display())
            }
            Self::TooNew { .. } => "use the newer lbdeck, or point $LBDECK_STATE at another folder".into(),
            Self::Busy { .. } => "try again; another lbdeck is writing".into(),
            Self::Other { .. } => "point $LBDECK_STATE at another folder to go on".into(),
        }
    }
    /// A later attempt may succeed without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

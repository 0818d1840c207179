//! Secrets are named, not written: a file, an environment variable or a command yields them when needed.

use std::fmt;
use std::path::PathBuf;

/// Where a secret comes from. It is read when it is needed, never stored, never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretRef {
    File(PathBuf),
    Env(String),
    /// argv whose first line of output is the secret.
    Command(Vec<String>),
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "file {}", path.display()),
            SecretRef::Env(name) => write!(f, "env {name}"),
            SecretRef::Command(argv) => write!(f, "command {}", argv.first().map_or("", String::as_str)),
        }
    }
}

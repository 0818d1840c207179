//! Why a verb did not do what was asked: one line, hints below it, and the exit code.

use std::io;

use crate::config::ConfigError;
use crate::model::Exit;
use crate::ops::{PlanError, Refusal};
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{what}")]
    Said { exit: Exit, what: String, hints: Vec<String> },
    /// Whoever read stdout has gone (`| head -1`). Nothing is said: the reader has what it wanted.
    #[error("stdout was closed")]
    OutputClosed,
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Failure::Said { exit, what: what.into(), hints: Vec::new() }
    }
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }
    /// The operator wrote something that cannot be meant.
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::new(Exit::InvalidInput, what)
    }
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(Exit::GuardRefused, what)
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Failure::Said { exit, what, mut hints } => {
                hints.push(hint.into());
                Failure::Said { exit, what, hints }
            }
            other @ Failure::OutputClosed => other,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Failure::Said { exit, .. } => *exit,
            Failure::OutputClosed => Exit::Ok,
        }
    }
}

impl From<io::Error> for Failure {
    /// Errors of stdout; every other kind is put into words where it happens.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::failed(format!("cannot write to stdout: {error}")),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::invalid(error.to_string())
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let failure = Failure::new(error.exit(), error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Failure::new(refusal.exit, refusal.what);
        match refusal.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::failed(error.to_string()).hint(error.hint())
    }
}

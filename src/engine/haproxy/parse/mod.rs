//! Readers of what HAProxy answers: pure, bounded, and total. Bytes from a node can be anything, so nothing in here
//! panics, trusts a length or drops a column that it does not know.

pub mod config;
pub mod endpoints;
pub mod info;
pub mod metrics;
pub mod process;
pub mod ps;
pub mod servers_conn;
pub mod servers_state;
pub mod sessions;
pub mod ssl_cert;
pub mod stats_csv;
pub mod stats_page;
pub mod status;
pub mod tables;
pub mod text;

/// Where a reply stops making sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reply}, line {line}: {what}")]
pub struct ParseError {
    /// The command whose reply it is.
    pub reply: &'static str,
    /// Counted from 1.
    pub line: usize,
    pub what: String,
}

impl ParseError {
    pub(crate) fn new(reply: &'static str, line: usize, what: impl Into<String>) -> Self {
        Self { reply, line, what: what.into() }
    }
}

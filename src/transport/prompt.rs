//! Questions that a connection may have to ask a person. Scripts answer all of them with no.

use async_trait::async_trait;

/// Asks whoever sits in front. Each front end (terminal, TUI, none) has its own.
#[async_trait]
pub trait Prompt: Send + Sync {
    /// A host key that nobody has seen before: accept and remember it?
    async fn new_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool;
    /// A passphrase, password or keyboard-interactive answer; None when nobody answers.
    async fn secret(&self, question: &str) -> Option<String>;
    /// An answer that may be echoed (keyboard-interactive).
    async fn text(&self, question: &str) -> Option<String>;
}

/// For scripts and cron: nobody is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

#[async_trait]
impl Prompt for NoPrompt {
    async fn new_host_key(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }
    async fn secret(&self, _: &str) -> Option<String> {
        None
    }
    async fn text(&self, _: &str) -> Option<String> {
        None
    }
}

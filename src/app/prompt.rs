//! The two front ends that can answer a connection's questions: the terminal (dialoguer, on stderr) and the TUI (a channel).

use std::io::IsTerminal;
use std::sync::Arc;

use async_trait::async_trait;
use dialoguer::console::Term;
use dialoguer::{Confirm, Input, Password};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::model::sanitize;
use crate::transport::{NoPrompt, Prompt};

use super::TerminalGuard;

/// Who answers when a connection has to ask.
#[derive(Debug, Clone)]
pub enum Prompting {
    /// The terminal where there is one, else nobody.
    Terminal,
    /// The TUI, which receives [`PromptRequest`]s.
    Channel(mpsc::Sender<PromptRequest>),
    /// Nobody: scripts, cron.
    Nobody,
}

/// A question for the TUI. Dropping it is a no.
#[derive(Debug)]
pub enum PromptRequest {
    NewHostKey { host: String, key_type: String, fingerprint: String, answer: oneshot::Sender<bool> },
    Secret { question: String, answer: oneshot::Sender<String> },
    Text { question: String, answer: oneshot::Sender<String> },
}

impl Prompting {
    pub(super) fn build(self) -> Arc<dyn Prompt> {
        match self {
            Prompting::Terminal if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
                Arc::new(TerminalPrompt::default())
            }
            Prompting::Terminal | Prompting::Nobody => Arc::new(NoPrompt),
            Prompting::Channel(sender) => Arc::new(ChannelPrompt { sender }),
        }
    }
}

/// Asks on the terminal, one question at a time however many nodes connect side by side.
#[derive(Debug, Default)]
struct TerminalPrompt {
    turn: Mutex<()>,
}

impl TerminalPrompt {
    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
        let _turn = self.turn.lock().await;
        let _guard = TerminalGuard::new();
        tokio::task::spawn_blocking(ask).await.ok().flatten()
    }
}

#[async_trait]
impl Prompt for TerminalPrompt {
    async fn new_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool {
        // Only the question itself is the prompt: it is drawn anew with every key, and only its last line is taken back.
        let lines = format!("The host key of {} is not known.\n{} {}", sanitize(host), sanitize(key_type), sanitize(fingerprint));
        let ask = move || {
            Term::stderr().write_line(&lines).ok()?;
            Confirm::new().with_prompt("Accept and remember it?").default(false).interact_opt().ok().flatten()
        };
        self.ask(ask).await.unwrap_or(false)
    }
    async fn secret(&self, question: &str) -> Option<String> {
        let question = sanitize(question).into_owned();
        self.ask(move || Password::new().with_prompt(question).allow_empty_password(true).interact().ok()).await
    }
    async fn text(&self, question: &str) -> Option<String> {
        let question = sanitize(question).into_owned();
        self.ask(move || Input::<String>::new().with_prompt(question).allow_empty(true).interact_text().ok()).await
    }
}

#[derive(Debug)]
struct ChannelPrompt {
    sender: mpsc::Sender<PromptRequest>,
}

impl ChannelPrompt {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> PromptRequest) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(request(answer)).await.ok()?;
        answered.await.ok()
    }
}

#[async_trait]
impl Prompt for ChannelPrompt {
    async fn new_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool {
        let (host, key_type, fingerprint) = (sanitize(host).into_owned(), key_type.to_owned(), fingerprint.to_owned());
        self.ask(|answer| PromptRequest::NewHostKey { host, key_type, fingerprint, answer }).await.unwrap_or(false)
    }
    async fn secret(&self, question: &str) -> Option<String> {
        let question = sanitize(question).into_owned();
        self.ask(|answer| PromptRequest::Secret { question, answer }).await
    }
    async fn text(&self, question: &str) -> Option<String> {
        let question = sanitize(question).into_owned();
        self.ask(|answer| PromptRequest::Text { question, answer }).await
    }
}

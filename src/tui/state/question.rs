//! Questions that a connection asks (a new host key, a passphrase): one dialog at a time, in the order they came.

use std::collections::VecDeque;

use tui_input::Input;

use crate::app::PromptRequest;

#[derive(Debug, Default)]
pub struct Questions {
    waiting: VecDeque<PromptRequest>,
    /// What is typed for the first.
    pub input: Input,
}

/// How the first question is to be shown.
pub struct Shown {
    pub title: &'static str,
    pub lines: Vec<String>,
    /// The answer, with bullets for what is secret; None for yes or no.
    pub answer: Option<String>,
}

impl Questions {
    pub fn push(&mut self, request: PromptRequest) {
        self.waiting.push_back(request);
    }
    pub fn is_open(&self) -> bool {
        !self.waiting.is_empty()
    }
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn is_yes_or_no(&self) -> bool {
        matches!(self.waiting.front(), Some(PromptRequest::NewHostKey { .. }))
    }

    pub fn shown(&self) -> Option<Shown> {
        Some(match self.waiting.front()? {
            PromptRequest::NewHostKey { host, key_type, fingerprint, .. } => Shown {
                title: "New host key",
                lines: vec![
                    format!("The host key of {host} is not known."),
                    format!("{key_type}"),
                    fingerprint.clone(),
                    String::new(),
                    "Compare it with what the host's owner says.".into(),
                    "y  accept and remember     n  refuse".into(),
                ],
                answer: None,
            },
            PromptRequest::Secret { question, .. } => Shown {
                title: "Secret",
                lines: vec![question.clone()],
                answer: Some("•".repeat(self.input.value().chars().count())),
            },
            PromptRequest::Text { question, .. } => {
                Shown { title: "Question", lines: vec![question.clone()], answer: Some(self.input.value().to_owned()) }
            }
        })
    }

    /// Answers the first question with what was typed (or with yes); a receiver that is gone does not mind.
    pub fn accept(&mut self) {
        let typed = std::mem::take(&mut self.input).value().to_owned();
        match self.waiting.pop_front() {
            Some(PromptRequest::NewHostKey { answer, .. }) => {
                let _ = answer.send(true);
            }
            Some(PromptRequest::Secret { answer, .. } | PromptRequest::Text { answer, .. }) => {
                let _ = answer.send(typed);
            }
            None => {}
        }
    }

    /// Drops the first question, which is a no.
    pub fn refuse(&mut self) {
        self.input = Input::default();
        self.waiting.pop_front();
    }
}

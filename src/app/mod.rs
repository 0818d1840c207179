//! Composition root: builds the parts and hands them over. The only place that sees all layers.

mod prompt;

pub use prompt::{PromptRequest, Prompting};

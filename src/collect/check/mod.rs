//! Can lbdeck work with this fleet? Looks at every node side by side and says, for what is missing, how to mend it.
//!
//! Nothing is changed, but for a file of a moment in the lock folder: whether locks can be made shows only by making one.

mod agent;
mod engine;
mod fleet;
mod host;
mod node;

use serde::Serialize;

use crate::model::NodeName;

pub use fleet::check_fleet;
pub use node::{Checked, check_node};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Fail,
    /// Works, with less than could be had.
    Warn,
    Ok,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// None for the fleet file as a whole.
    pub node: Option<NodeName>,
    /// `reach`, `socket`, `level`, `locks` …
    pub check: &'static str,
    pub level: Level,
    pub text: String,
    /// How to mend it; always there where something is not ok.
    pub remedy: Option<String>,
}

/// Findings of one node or of the fleet, as they come.
#[derive(Debug)]
struct Findings {
    node: Option<NodeName>,
    found: Vec<Finding>,
}

impl Findings {
    fn new(node: Option<NodeName>) -> Self {
        Self { node, found: Vec::new() }
    }
    fn push(&mut self, check: &'static str, level: Level, text: impl Into<String>, remedy: Option<String>) {
        let text = crate::model::sanitize(&text.into()).into_owned();
        let remedy = remedy.map(|r| crate::model::sanitize(&r).into_owned());
        self.found.push(Finding { node: self.node.clone(), check, level, text, remedy });
    }
    fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.push(check, Level::Ok, text, None);
    }
    fn warn(&mut self, check: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Level::Warn, text, Some(remedy.into()));
    }
    fn fail(&mut self, check: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Level::Fail, text, Some(remedy.into()));
    }
}

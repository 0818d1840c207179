//! Composition root: builds the parts and hands them over. The only place that sees all layers.

mod connect;
mod prompt;
pub mod survey;
mod terminal;

use std::path::PathBuf;
use std::sync::Arc;

use crate::collect::Collector;
use crate::config::Fleet;
use crate::model::LoadPicture;
use crate::ops::Ops;
use crate::store::{Store, Who};

pub use prompt::{PromptRequest, Prompting};
pub use terminal::TerminalGuard;

/// Pictures of a load on the fleet, from whoever makes it to whoever shows it; the newest wins.
pub type LoadFeed = tokio::sync::watch::Receiver<Arc<LoadPicture>>;

/// What a front end needs to know before anything is opened.
#[derive(Debug, Clone)]
pub struct Options {
    pub prompting: Prompting,
    /// Where the store lives; None for [`Store::default_path`].
    pub state: Option<PathBuf>,
}

/// Everything that a front end works with. Nothing has been connected yet when it exists: nodes are reached when first asked.
#[derive(Debug, Clone)]
pub struct App {
    pub fleet: Arc<Fleet>,
    pub collector: Arc<Collector>,
    pub ops: Ops,
    pub store: Store,
}

impl App {
    /// Builds the parts for a fleet that was loaded and checked.
    pub fn compose(fleet: Fleet, options: Options) -> App {
        let fleet = Arc::new(fleet);
        let nodes = connect::handles(&fleet, options.prompting.build());
        let collector = Collector::new(nodes.clone(), &fleet.settings);
        let store = Store::at(options.state.unwrap_or_else(Store::default_path));
        let ops = Ops::new(nodes, fleet.clone(), store.clone(), Who::here());
        App { fleet, collector, ops, store }
    }
}

//! `7/20 lb3` on stderr while nodes are looked at side by side; nothing where nobody watches.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::context::Context;
use crate::model::NodeName;

pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(context: &Context, doing: &str, nodes: usize) -> Self {
        let watched = std::io::stderr().is_terminal() && !context.global.no_progress && !context.global.quiet;
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(nodes as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(doing.to_owned());
        bar.tick();
        Self(bar)
    }

    pub fn done(&self, node: &NodeName) {
        self.0.set_message(node.to_string());
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

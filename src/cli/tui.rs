//! `lbdeck tui`: opens the console on this terminal.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tokio::sync::mpsc;

use super::context::Context;
use super::failure::{Failure, Result};
use super::logging;
use crate::app::{LoadFeed, Prompting};
use crate::model::Exit;
use crate::tui::{self, theme::ThemeName};

#[derive(Args, Debug, Default)]
#[command(after_help = "The log goes to console.log in the state folder, never to the screen; -v says more there.

Examples:
  lbdeck
  lbdeck tui --theme light
  lbdeck --fleet prod.yaml tui --no-mouse")]
pub struct TuiArgs {
    /// Colours
    #[arg(long, value_name = "THEME", value_parser = themes())]
    theme: Option<ThemeName>,

    /// Leave the mouse to the terminal (for selecting text)
    #[arg(long)]
    no_mouse: bool,

    /// Draw with ASCII only (by itself where the locale or the terminal has no UTF-8)
    #[arg(long)]
    ascii: bool,
}

fn themes() -> impl TypedValueParser<Value = ThemeName> {
    PossibleValuesParser::new(ThemeName::ALL.map(ThemeName::label)).try_map(|name| ThemeName::parse(&name).ok_or("no such theme"))
}

/// The console can be opened here.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl TuiArgs {
    pub fn run(&self, context: &Context, load: Option<LoadFeed>) -> Result<Exit> {
        if !has_terminal() {
            return Err(Failure::invalid("the console needs a terminal on stdin and stdout")
                .hint("in a script use `lbdeck status`, `lbdeck watch` or another verb"));
        }
        let fleet = context.fleet()?;
        log_to_file(context)?;
        let (sender, prompts) = mpsc::channel(16);
        let app = context.compose(fleet, Prompting::Channel(sender));
        let options = tui::Options {
            theme: self.theme,
            no_color: context.printer.is_plain(),
            no_mouse: self.no_mouse,
            ascii: self.ascii || tui::wants_ascii(|name| std::env::var(name).ok()),
            prompts: Some(prompts),
            load,
        };
        let runtime = tui::runtime().map_err(|e| Failure::failed(format!("the asynchronous runtime cannot start: {e}")))?;
        let ended = runtime.block_on(tui::run(app, options));
        runtime.shutdown_background();
        ended.map_err(|error| Failure::failed(format!("{error:#}")))
    }
}

/// A console without a log is better than none: what stands in the way is said before the screen is taken.
fn log_to_file(context: &Context) -> Result<()> {
    let path = context.store_file().with_file_name("console.log");
    let opened =
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| OpenOptions::new().create(true).append(true).open(&path));
    match opened {
        Ok(file) => logging::to_file(file, context.global.verbose),
        Err(error) => {
            context.printer.warn(&format!("there will be no log: {}: {error}", path.display()));
            Ok(())
        }
    }
}

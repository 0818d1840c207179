//! `lbdeck lab`: hands the lab what it needs of the command line.

use std::ffi::OsString;
use std::sync::Arc;

use super::failure::{Failure, Result};
use super::printer::Printer;
use crate::lab::{Front, LabArgs, LabError};
use crate::model::Exit;

impl LabArgs {
    pub fn run(self, printer: &Printer) -> Result<Exit> {
        let (data, talk) = (printer.clone(), printer.clone());
        let front = Front {
            verb: Arc::new(|words| super::run(named(words), None)),
            console: Arc::new(|words, load| super::run(named(words), Some(load))),
            // Whoever read stdout has gone: the proof goes on, and its exit code tells how it ended.
            data: Arc::new(move |line| drop(data.raw(format!("{line}\n").as_bytes()))),
            talk: Arc::new(move |line| talk.talk(line)),
            terminal: super::tui::has_terminal(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::failed(format!("cannot start the runtime: {e}")))?;
        let result = runtime.block_on(crate::lab::run(self, front));
        // A verb that a signal cut short must not hold up the end.
        runtime.shutdown_background();
        result.map_err(failure)
    }
}

/// The words behind the program's name, as `run` takes them.
fn named(words: Vec<OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(super::NAME.into()).chain(words)
}

fn failure(error: LabError) -> Failure {
    let failure = Failure::new(error.exit(), error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

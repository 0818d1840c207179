//! The log: on stderr for verbs, in a file for the console, whose screen it must never reach.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;

use super::failure::{Failure, Result};
use crate::config::env;

fn filter(verbose: u8, quiet: bool) -> Result<EnvFilter> {
    match std::env::var(env::LOG) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            Failure::invalid(format!("${}: '{text}' is not a filter: {e}", env::LOG)).hint("write for instance lbdeck=debug")
        }),
        _ => Ok(EnvFilter::new(match (quiet, verbose) {
            (true, _) => "lbdeck=error",
            (_, 0) => "lbdeck=warn",
            (_, 1) => "lbdeck=info",
            (_, 2) => "lbdeck=debug,warn",
            _ => "lbdeck=trace,debug",
        })),
    }
}

/// Logs to stderr from here on.
pub fn to_stderr(verbose: u8, quiet: bool) -> Result<()> {
    let subscriber = fmt().with_env_filter(filter(verbose, quiet)?).with_writer(io::stderr).with_ansi(false).with_target(false);
    // Only a second call could fail, and then the first one's log stands.
    let _ = subscriber.try_init();
    Ok(())
}

/// Logs to a file from here on, at `info` where nothing else is asked for.
pub fn to_file(file: File, verbose: u8) -> Result<()> {
    let subscriber = fmt().with_env_filter(filter(verbose.max(1), false)?).with_writer(Mutex::new(file)).with_ansi(false);
    let _ = subscriber.try_init();
    Ok(())
}

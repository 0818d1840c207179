//! Flags that every verb takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::output::Output;
use crate::config::duration::parse_duration;
use crate::config::env;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    // The environment is read where the file is looked up, so that errors can say what named it.
    /// Fleet file (default: $LBDECK_FLEET, then ./lbdeck.yaml, then lbdeck/lbdeck.yaml in the XDG configuration folder)
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub fleet: Option<PathBuf>,

    /// Folder of lbdeck's own memory: operations, leases, audit (default: lbdeck in the XDG state folder)
    #[arg(long, global = true, value_name = "FOLDER", env = env::STATE, hide_env_values = true, value_hint = clap::ValueHint::DirPath)]
    pub state: Option<PathBuf>,

    /// Format of what goes to stdout
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t, env = env::OUTPUT, hide_env_values = true)]
    pub output: Output,

    /// No colour, as with NO_COLOR
    #[arg(long, global = true)]
    pub no_color: bool,

    /// No progress on stderr
    #[arg(long, global = true)]
    pub no_progress: bool,

    /// How long one reading of a node may take (default: the fleet file's, else 5s)
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration, env = env::TIMEOUT, hide_env_values = true)]
    pub timeout: Option<Duration>,

    /// Only data, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Log to stderr: -v what is done, -vv how, -vvv everything of all libraries
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

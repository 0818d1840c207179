//! `lbdeck drill`: failover drills whose result is a number.

mod check;
mod list;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::{Failure, Result};
use crate::config;
use crate::drill::find::{self, FindError};
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct DrillArgs {
    #[command(subcommand)]
    verb: DrillVerb,
}

#[derive(Subcommand, Debug)]
enum DrillVerb {
    /// List drills: those of playbooks/drills and those that are built in
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Check drill files and show what they mean
    Check(check::CheckArgs),
}

impl DrillArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            DrillVerb::List(args) => args.run(context),
            DrillVerb::Check(args) => args.run(context),
        }
    }
}

/// Folders of drills: beside the fleet file where there is one, and in the working folder.
fn folders(context: &Context) -> Vec<PathBuf> {
    // Drills are files of their own: without a fleet they can be listed and checked.
    let fleet = config::locate(context.global.fleet.as_deref(), |name| std::env::var_os(name)).ok();
    find::folders(fleet.as_deref())
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Failure {
        let failure = Failure::invalid(error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

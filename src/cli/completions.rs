//! `lbdeck completions`: scripts for shells, generated from the same definitions as the parser.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::failure::Result;
use super::printer::Printer;
use super::{Cli, NAME};
use crate::model::Exit;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck completions bash > /etc/bash_completion.d/lbdeck
  lbdeck completions zsh > ~/.zfunc/_lbdeck
  lbdeck completions fish > ~/.config/fish/completions/lbdeck.fish")]
pub struct CompletionsArgs {
    /// The shell that will read the script
    #[arg(value_enum)]
    shell: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

impl CompletionsArgs {
    pub fn run(&self, printer: &Printer) -> Result<Exit> {
        let shell = match self.shell {
            Target::Bash => Shell::Bash,
            Target::Zsh => Shell::Zsh,
            Target::Fish => Shell::Fish,
            Target::Elvish => Shell::Elvish,
            Target::Powershell => Shell::PowerShell,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
        printer.raw(&script)?;
        Ok(Exit::Ok)
    }
}

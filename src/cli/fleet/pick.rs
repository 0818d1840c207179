//! The questions of `fleet init` in a terminal. They go to stderr: stdout stays free for data.

use std::path::{Path, PathBuf};

use dialoguer::{Confirm, Input, MultiSelect, Select};

use super::found::shown_reach;
use super::source::{self, Hosts};
use crate::cli::failure::{Failure, Result};

/// Rows of a list that are shown at once.
const ROWS: usize = 15;

fn stopped() -> Failure {
    Failure::failed("stopped; nothing was written")
}

fn asked<T>(answer: dialoguer::Result<Option<T>>) -> Result<T> {
    match answer {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(stopped()),
        Err(e) => Err(Failure::failed(format!("the terminal cannot be asked: {e}"))
            .hint("give --from-ssh-config, --from-ansible or --host")),
    }
}

/// Where the hosts come from, and which of them.
pub fn hosts() -> Result<Hosts> {
    let sources = ["hosts of ~/.ssh/config", "an Ansible inventory", "names that I type"];
    let chosen = asked(Select::new().with_prompt("Where do the nodes come from?").items(sources).default(0).interact_opt())?;
    match chosen {
        0 => choose(source::from_ssh_config(None)?),
        1 => {
            let path: String = asked(Input::new().with_prompt("Inventory file").interact_text().map(Some))?;
            choose(source::from_ansible(Path::new(path.trim()))?)
        }
        _ => {
            let text: String = asked(
                Input::new()
                    .with_prompt("Hosts ([user@]host[:port], separated by blanks; local is this machine)")
                    .interact_text()
                    .map(Some),
            )?;
            source::by_hand(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        }
    }
}

fn choose(mut hosts: Hosts) -> Result<Hosts> {
    let items: Vec<String> = hosts
        .nodes
        .iter()
        .map(|n| match shown_reach(n) {
            reach if reach == n.meta.name.as_str() => reach,
            reach => format!("{} ({reach})", n.meta.name),
        })
        .collect();
    let prompt = "Which are load balancers? (space marks, a marks all, enter goes on)";
    let chosen = asked(MultiSelect::new().with_prompt(prompt).items(&items).max_length(ROWS).interact_opt())?;
    if chosen.is_empty() {
        return Err(Failure::failed("no host was chosen; nothing was written"));
    }
    let mut i = 0;
    hosts.nodes.retain(|_| {
        i += 1;
        chosen.contains(&(i - 1))
    });
    hosts.tidy_groups();
    Ok(hosts)
}

/// Hosts that could not be reached, or have no haproxy: shall they be nodes all the same?
pub fn keep(question: &str, default: bool) -> Result<bool> {
    asked(Confirm::new().with_prompt(question).default(default).interact_opt())
}

pub fn target(default: &Path) -> Result<PathBuf> {
    let text: String = asked(
        Input::new().with_prompt("Write the fleet file to").default(default.display().to_string()).interact_text().map(Some),
    )?;
    Ok(PathBuf::from(text.trim()))
}

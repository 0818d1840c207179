//! The questions of `fleet init` in a terminal. They go to stderr: stdout stays free for data.

use std::path::{Path, PathBuf};

use dialoguer::{Confirm, Input, MultiSelect, Select};

use super::found::shown_reach;
use super::source::{self, Hosts};
use crate::app::TerminalGuard;
use crate::cli::failure::{Failure, Result};

/// Rows of a list that are shown at once.
const ROWS: usize = 15;

fn stopped() -> Failure {
    Failure::failed("stopped; nothing was written")
}

/// Asks away from the runtime's thread, so that a signal is heard meanwhile; the terminal comes back as it was.
async fn ask<T: Send + 'static>(question: impl FnOnce() -> dialoguer::Result<Option<T>> + Send + 'static) -> Result<T> {
    let _guard = TerminalGuard::new();
    let failed = |why: String| {
        Failure::failed(format!("the terminal cannot be asked: {why}")).hint("give --from-ssh-config, --from-ansible or --host")
    };
    let answer = tokio::task::spawn_blocking(question).await.map_err(|e| failed(e.to_string()))?;
    answer.map_err(|e| failed(e.to_string()))?.ok_or_else(stopped)
}

async fn text(prompt: &'static str) -> Result<String> {
    let text: String = ask(move || Input::new().with_prompt(prompt).interact_text().map(Some)).await?;
    Ok(text.trim().to_owned())
}

/// Where the hosts come from, and which of them.
pub async fn hosts() -> Result<Hosts> {
    const SOURCES: [&str; 3] = ["hosts of ~/.ssh/config", "an Ansible inventory", "names that I type"];
    match ask(|| Select::new().with_prompt("Nodes come from").items(SOURCES).default(0).interact_opt()).await? {
        0 => choose(source::from_ssh_config(None)?).await,
        1 => choose(source::from_ansible(Path::new(&text("Inventory file").await?))?).await,
        _ => {
            let typed = text("Hosts ([user@]host[:port], separated by blanks; local is this machine)").await?;
            source::by_hand(&typed.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        }
    }
}

async fn choose(mut hosts: Hosts) -> Result<Hosts> {
    const PROMPT: &str = "Load balancers (space marks, a marks all, enter goes on)";
    let items: Vec<String> = hosts
        .nodes
        .iter()
        .map(|n| match shown_reach(n) {
            reach if reach == n.meta.name.as_str() => reach,
            reach => format!("{} ({reach})", n.meta.name),
        })
        .collect();
    let chosen = ask(move || MultiSelect::new().with_prompt(PROMPT).items(&items).max_length(ROWS).interact_opt()).await?;
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

/// A yes or no, with what enter alone means.
pub async fn agreed(question: String, default: bool) -> Result<bool> {
    ask(move || Confirm::new().with_prompt(question).default(default).interact_opt()).await
}

pub async fn target(default: &Path) -> Result<PathBuf> {
    let usual = default.display().to_string();
    let text: String =
        ask(move || Input::new().with_prompt("Write the fleet file to").default(usual).interact_text().map(Some)).await?;
    Ok(PathBuf::from(text.trim()))
}

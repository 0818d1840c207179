//! `lbdeck fleet init`: hosts become nodes of a fleet file, with what runs on each of them looked up.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use super::found::{Found, columns};
use super::pick;
use super::progress::Progress;
use super::source::{self, Hosts};
use crate::app::{Prompting, survey};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::config::{self, ConfigError, Fleet, Settings, env, write};
use crate::model::{Exit, NodeName};

#[derive(Args, Debug)]
#[command(
    after_help = "In a terminal and without a source, it asks. Hosts on which no haproxy runs are left out; hosts that cannot be
reached are kept, with a comment.

Examples:
  lbdeck fleet init
  lbdeck fleet init --from-ssh-config --only 'lb*'
  lbdeck fleet init --from-ansible inventory.ini --only edge --write ~/.config/lbdeck/lbdeck.yaml
  lbdeck fleet init --host lb1 ops@lb2:2222 --no-probe --write -"
)]
pub struct InitArgs {
    /// Hosts that an ssh configuration names [default: ~/.ssh/config]
    #[arg(long, value_name = "FILE", num_args = 0..=1, value_hint = clap::ValueHint::FilePath)]
    #[expect(clippy::option_option, reason = "clap: not given, given without a file, given with one")]
    from_ssh_config: Option<Option<PathBuf>>,

    /// Hosts and groups of an Ansible inventory (INI, YAML, or what ansible-inventory --list prints)
    #[arg(long, value_name = "INVENTORY", conflicts_with = "from_ssh_config", value_hint = clap::ValueHint::FilePath)]
    from_ansible: Option<PathBuf>,

    /// These hosts: [user@]host[:port], or local for this machine
    #[arg(long = "host", value_name = "HOST", num_args = 1.., conflicts_with_all = ["from_ssh_config", "from_ansible"])]
    hosts: Vec<String>,

    /// Only hosts whose name or group matches (globs; may be repeated)
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,

    /// Write what is usual, without looking at the hosts
    #[arg(long)]
    no_probe: bool,

    /// The file to write, - for stdout [default: lbdeck.yaml]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write: Option<PathBuf>,

    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

impl InitArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let given = self.from_ssh_config.is_some() || self.from_ansible.is_some() || !self.hosts.is_empty();
        let asks = !given && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !given && !asks {
            return Err(Failure::invalid("nothing says where the hosts come from, and there is no terminal to ask in")
                .hint("--from-ssh-config, --from-ansible INVENTORY or --host NAME..."));
        }
        let usual = self.write.clone().unwrap_or_else(|| PathBuf::from(config::locate::FILE_NAME));
        // Known before hosts are looked at: nobody should wait for a file that cannot be written.
        if !asks && !self.force && !is_stdout(&usual) && usual.exists() {
            return Err(ConfigError::Exists { path: usual }.into());
        }
        let mut hosts = if asks { pick::hosts().await? } else { self.hosts()? };
        hosts.keep(&self.only)?;
        for note in &hosts.notes {
            context.printer.warn(note);
        }
        let found = self.look(context, &mut hosts).await;
        self.leave_out(context, &mut hosts, &found, asks).await?;
        let target = if asks && self.write.is_none() { pick::target(&usual).await? } else { usual };
        self.put(context, hosts, &found, &target, asks).await
    }

    fn hosts(&self) -> Result<Hosts> {
        match (&self.from_ssh_config, &self.from_ansible) {
            (Some(file), _) => source::from_ssh_config(file.as_deref()),
            (None, Some(inventory)) => source::from_ansible(inventory),
            (None, None) => source::by_hand(&self.hosts),
        }
    }

    /// Looks at every host and writes what it found into the nodes.
    async fn look(&self, context: &Context, hosts: &mut Hosts) -> Vec<Found> {
        if self.no_probe {
            return hosts.nodes.iter_mut().map(Found::assumed).collect();
        }
        let settings = Settings { timeout: context.global.timeout.unwrap_or(Settings::default().timeout), ..Settings::default() };
        let fleet = fleet_of(hosts, PathBuf::new(), settings);
        let progress = Progress::new(context, "looked at", fleet.nodes.len());
        let reports = survey::probe(fleet, Prompting::Terminal, |node| progress.done(node)).await;
        let looked = |name: &NodeName| reports.iter().find(|(n, _)| n == name).map(|(_, report)| report);
        let mut all = Vec::new();
        for mut spec in std::mem::take(&mut hosts.nodes) {
            match looked(&spec.meta.name) {
                Some(report) => {
                    for (node, found) in Found::of(&spec, report) {
                        hosts.nodes.push(node);
                        all.push(found);
                    }
                }
                None => {
                    all.push(Found::assumed(&mut spec));
                    hosts.nodes.push(spec);
                }
            }
        }
        all
    }

    /// Shows what was found, and takes hosts without haproxy out.
    async fn leave_out(&self, context: &Context, hosts: &mut Hosts, found: &[Found], asks: bool) -> Result<()> {
        if !self.no_probe {
            // The table is for people unless the file itself goes to stdout.
            if !self.write.as_deref().is_some_and(is_stdout) {
                context.printer.list("hosts", found, &columns(), &[])?;
            }
            for host in found {
                for missing in &host.missing {
                    context.printer.warn(&format!("{}: {missing}", host.node));
                }
            }
        }
        let without: Vec<&str> = found.iter().filter(|f| !f.haproxy).map(|f| f.node.as_str()).collect();
        let unreachable: Vec<&str> =
            found.iter().filter(|f| !f.reached && !f.missing.is_empty()).map(|f| f.node.as_str()).collect();
        let mut drop: Vec<&str> = Vec::new();
        if !without.is_empty() {
            let names = without.join(", ");
            if !asks || !pick::agreed(format!("No haproxy runs on {names}. Keep them?"), false).await? {
                context.printer.talk(&format!("left out, because no haproxy runs there: {names}"));
                drop.extend(without);
            }
        }
        if asks && !unreachable.is_empty() {
            let names = unreachable.join(", ");
            if !pick::agreed(format!("{names} could not be looked at. Keep them?"), true).await? {
                drop.extend(unreachable);
            }
        }
        hosts.nodes.retain(|n| !drop.contains(&n.meta.name.as_str()));
        hosts.tidy_groups();
        if hosts.nodes.is_empty() {
            return Err(Failure::failed("no host is left; nothing was written").hint("--no-probe writes them all the same"));
        }
        Ok(())
    }

    async fn put(&self, context: &Context, hosts: Hosts, found: &[Found], target: &Path, asks: bool) -> Result<Exit> {
        let head = [
            format!("Fleet file of lbdeck, made by `lbdeck fleet init` from {}.", hosts.origin),
            "All keys are told in docs/fleet-file.md; `lbdeck fleet check` verifies what stands here.".to_owned(),
        ];
        let path = if is_stdout(target) { PathBuf::from(config::locate::FILE_NAME) } else { target.to_owned() };
        let fleet = fleet_of(&hosts, path.clone(), Settings::default());
        let note = |name: &NodeName| found.iter().find(|f| f.node == *name).and_then(Found::note);
        let text = write::to_yaml(&fleet, &head, note, env::home().as_deref());
        // Two hosts that are one engine, say: nobody is left with a file that the next verb refuses.
        config::parse(&text, &path)?;
        if is_stdout(target) {
            context.printer.raw(text.as_bytes())?;
            return Ok(Exit::Ok);
        }
        let mut replace = self.force;
        if asks && !replace && target.exists() {
            replace = pick::agreed(format!("{} is there already. Replace it?", target.display()), false).await?;
        }
        write::write_file(target, &text, replace)?;
        context.printer.talk(&format!("wrote {} with {} nodes", target.display(), fleet.nodes.len()));
        let flag = if is_found(target) { String::new() } else { format!(" --fleet {}", target.display()) };
        context.printer.talk(&format!("next: lbdeck{flag} fleet check   what is missing, and how to mend it"));
        context.printer.talk(&format!("      lbdeck{flag} status        problems first"));
        context.printer.talk(&format!("      lbdeck{flag}               the console"));
        Ok(Exit::Ok)
    }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// The next verb finds it without being told.
fn is_found(path: &Path) -> bool {
    config::locate(None, |name| std::env::var_os(name))
        .is_ok_and(|found| matches!((std::path::absolute(found), std::path::absolute(path)), (Ok(a), Ok(b)) if a == b))
}

fn fleet_of(hosts: &Hosts, path: PathBuf, settings: Settings) -> Fleet {
    Fleet { path, nodes: hosts.nodes.clone(), groups: hosts.groups.clone(), policies: Vec::new(), settings }
}

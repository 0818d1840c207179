//! The command line: one file a verb, one printer, one table of exit codes. Never touches `engine` or `transport`.

mod act;
mod agent;
mod agent_text;
mod ask;
mod audit;
mod cache;
mod cert;
mod completions;
mod confirm;
mod context;
mod drill;
mod failure;
mod fleet;
mod frontend;
mod global;
mod lab;
mod lease;
mod logging;
mod man;
mod node;
mod output;
mod plan_text;
mod pool;
mod printer;
mod progress;
mod report;
mod select;
mod server;
mod session;
mod signals;
mod status;
mod table;
mod tui;
mod undo;
mod vip;
mod vip_text;
mod watch;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

use crate::app::LoadFeed;
use crate::model::Exit;
use context::Context;
use failure::{Failure, Result};
use global::Global;
use printer::Printer;
use signals::{OwnSignals, interruptible};

pub const NAME: &str = "lbdeck";

const EXIT_CODES: &str = "Exit codes:
  0   done, or nothing to do; for verbs that look: every node was read
  1   failed; for verbs that look: a node could not be read (what was read is printed)
  2   invalid input
  3   failed and rolled back
  4   failed, and rolling back failed too
  5   a guard refused, or a change was not confirmed (a yes or --yes, a word or --confirm)
  6   recovered
  75  locked by another operator

Examples:
  lbdeck                               open the console
  lbdeck status                        problems first
  lbdeck server drain web/web1 --deadline 5m --then kill --for 2h --reason 'kernel update'
  lbdeck server list --zone eu-1 -o json";

/// Operations console and automation for fleets of load balancers
#[derive(Parser, Debug)]
#[command(name = NAME, version, after_help = EXIT_CODES, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Open the console (the same as no verb at all in a terminal)
    Tui(tui::TuiArgs),
    /// Show what is wrong, gravest first, and the fleet in a few lines
    Status(status::StatusArgs),
    /// Look at nodes, run commands on them, take them out of service
    Node(node::NodeArgs),
    /// Look at pools over all nodes
    Pool(pool::PoolArgs),
    /// Look at servers and change them
    Server(server::ServerArgs),
    /// Look at frontends, enable and disable them
    Frontend(frontend::FrontendArgs),
    /// Look at sessions and end them
    Session(session::SessionArgs),
    /// Look at stick tables and clear them
    Table(table::TableArgs),
    /// Forget cached responses
    Cache(cache::CacheArgs),
    /// Look at certificates
    Cert(cert::CertArgs),
    /// Look at virtual addresses and move them
    Vip(vip::VipArgs),
    /// Follow what changes: one JSON object a line
    Watch(watch::WatchArgs),
    /// Look at changes that are to be given back, and give them back
    Lease(lease::LeaseVerbs),
    /// Show who did what, when, why, and how it ended
    Audit(audit::AuditArgs),
    /// Give back what an operation changed
    Undo(undo::UndoArgs),
    /// Break something on purpose, measure what clients feel, and put it back
    Drill(drill::DrillArgs),
    /// Install, upgrade and look after lbdeck's own agent on nodes
    Agent(agent::AgentArgs),
    /// Make, check and show the fleet file
    Fleet(fleet::FleetArgs),
    /// Start a small real fleet on loopback and open the console on it
    Lab(crate::lab::LabArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print or write the manual pages
    Man(man::ManArgs),
}

/// Parses the command line, does what it says and tells how it ended.
pub fn main() -> Exit {
    run(std::env::args_os(), None)
}

/// The same for a command line from elsewhere; the program's name comes first. `load` is for the console to show.
fn run(words: impl IntoIterator<Item = OsString>, load: Option<LoadFeed>) -> Exit {
    let words: Vec<OsString> = words.into_iter().collect();
    let parsed = match agent::read_run(&words) {
        Some((global, args)) => Ok(Cli { global, verb: Some(Verb::Agent(args)) }),
        None => Cli::try_parse_from(words),
    };
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Nobody can be told that stdout or stderr is closed.
            let _ = error.print();
            return if error.use_stderr() { Exit::InvalidInput } else { Exit::Ok };
        }
    };
    let printer = Printer::new(cli.global.output, cli.global.no_color, cli.global.quiet);
    match cli.run(&printer, load) {
        Ok(exit) => exit,
        Err(failure) => {
            printer.failure(&failure);
            failure.exit()
        }
    }
}

impl Cli {
    fn run(self, printer: &Printer, load: Option<LoadFeed>) -> Result<Exit> {
        let global = self.global;
        let context = Context { printer: printer.clone(), global, own_signals: OwnSignals::default() };
        let verb = match self.verb {
            Some(verb) => verb,
            None if tui::has_terminal() => Verb::Tui(tui::TuiArgs::default()),
            None => {
                printer.aside(&Cli::command().render_help().to_string());
                return Ok(Exit::InvalidInput);
            }
        };
        // The console logs to a file: its screen is no place for a log.
        let console = match &verb {
            Verb::Tui(_) => true,
            Verb::Lab(args) => args.opens_console(tui::has_terminal()),
            _ => false,
        };
        if !console {
            let verbose = match &verb {
                Verb::Agent(args) => args.verbosity(context.global.verbose),
                _ => context.global.verbose,
            };
            logging::to_stderr(verbose, context.global.quiet)?;
        }
        match verb {
            Verb::Tui(args) => args.run(&context, load),
            Verb::Status(args) => wait(&context, args.run(&context)),
            Verb::Node(args) => wait(&context, args.run(&context)),
            Verb::Pool(args) => wait(&context, args.run(&context)),
            Verb::Server(args) => wait(&context, args.run(&context)),
            Verb::Frontend(args) => wait(&context, args.run(&context)),
            Verb::Session(args) => wait(&context, args.run(&context)),
            Verb::Table(args) => wait(&context, args.run(&context)),
            Verb::Cache(args) => wait(&context, args.run(&context)),
            Verb::Cert(args) => wait(&context, args.run(&context)),
            Verb::Vip(args) => wait(&context, args.run(&context)),
            Verb::Watch(args) => wait(&context, args.run(&context)),
            Verb::Lease(args) => wait(&context, args.run(&context)),
            Verb::Audit(args) => args.run(&context),
            Verb::Undo(args) => wait(&context, args.run(&context)),
            Verb::Drill(args) => wait(&context, args.run(&context)),
            Verb::Agent(args) => wait(&context, args.run(&context)),
            Verb::Fleet(args) => wait(&context, args.run(&context)),
            Verb::Lab(args) => args.run(printer),
            Verb::Completions(args) => args.run(printer),
            Verb::Man(args) => args.run(printer),
        }
    }
}

/// Runs a verb to its end. One thread is enough: what takes time is the network, and starting threads takes time too.
fn wait(context: &Context, verb: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format!("the asynchronous runtime cannot start: {e}")))?;
    let result = runtime.block_on(interruptible(verb, &context.own_signals));
    // A name lookup or a question that nobody answers must not hold up the end.
    runtime.shutdown_background();
    result
}

//! The way of every change: plan, show, ask, approve, apply, report. Verbs only make the request.

use clap::Args;
use serde::Serialize;

use super::confirm::approval;
use super::context::Context;
use super::failure::{Failure, Result};
use super::plan_text;
use super::printer::Block;
use super::progress::Progress;
use super::report::{Outputs, Report};
use super::signals::Signals;
use crate::config::ConfirmLevel;
use crate::config::duration::parse_duration;
use crate::model::{Exit, FleetView};
use crate::ops::{EventKind, Judgement, Ops, Plan, Request, Running, Selector, SweepReport, Verb};
use crate::store::Lease;

/// Flags of every verb that changes something.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Change")]
pub struct ActArgs {
    /// Show the exact commands for each node and what the guards say; send nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Why: kept in the audit and shown to whoever finds the change
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Answer the question with yes (scripts)
    #[arg(short, long)]
    pub yes: bool,

    /// Answer a question that wants a word typed
    #[arg(long, value_name = "WORD")]
    pub confirm: Option<String>,

    /// Override a guard that may be overridden; wants a word typed, and is recorded
    #[arg(long)]
    pub force: bool,

    /// Every event as a line of JSON on stderr, instead of progress
    #[arg(long)]
    pub events: bool,
}

/// The flag of changes that can be given back by themselves.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Change")]
pub struct LeaseArgs {
    /// Give the change back after this time, whoever runs lbdeck then (30m, 2h)
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub lease: Option<std::time::Duration>,
}

/// A plan as it is shown before anything is sent.
#[derive(Serialize)]
struct PlanItem<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    judgement: Judgement,
    /// What `--yes` and `--confirm` are needed for: none, ask, typed.
    confirm: &'static str,
}

impl ActArgs {
    pub fn request(&self, verb: Verb, selector: Selector, lease: Option<&LeaseArgs>) -> Request {
        Request { verb, selector, reason: self.reason.clone(), lease: lease.and_then(|l| l.lease), force: self.force }
    }

    /// Does it, on the whole fleet: guards count servers on all nodes, not only on those that are selected.
    pub async fn act(&self, context: &Context, request: Request) -> Result<Exit> {
        let app = context.app(context.fleet()?);
        if !self.dry_run {
            let _held = context.own_signals.hold();
            tell_sweep(context, &app.ops.sweep_if_due().await);
            tell_unfinished(context, &app.ops, &request);
        }
        // Leases of others are found on the nodes: the plan has to know them, to respect them or to give one back.
        let (view, _) = tokio::join!(app.collector.observe_once(), app.ops.leases());
        let exit = self.act_on(context, &app.ops, request, &view).await;
        app.ops.settle().await;
        exit
    }

    /// The same on what was read already.
    pub async fn act_on(&self, context: &Context, ops: &Ops, request: Request, view: &FleetView) -> Result<Exit> {
        let plan = match ops.plan(request, view) {
            Ok(plan) => plan,
            // Nothing to do is no failure; but it is said.
            Err(error) if error.exit() == Exit::Ok => {
                context.printer.talk(&error.to_string());
                return Ok(Exit::Ok);
            }
            Err(error) => return Err(error.into()),
        };
        self.act_plan(context, ops, plan).await
    }

    /// The same with a plan that is made already.
    pub async fn act_plan(&self, context: &Context, ops: &Ops, plan: Plan) -> Result<Exit> {
        if self.dry_run {
            return self.show_plan(context, &plan);
        }
        for verdict in plan.verdicts.iter().filter(|v| v.judgement == Judgement::Warn) {
            context.printer.warn(&format!("{}: {}", verdict.guard, verdict.text));
        }
        let approval = approval(&context.printer, self, &plan).await?;
        let approved = ops.approve(plan, approval)?;
        // From here on a signal must not cut us short: it asks the operation to stop.
        let _held = context.own_signals.hold();
        let progress = Progress::new(context, self.events, approved.plan());
        let report = follow(ops.apply(approved), progress).await?;
        report.print(&context.printer)?;
        Ok(report.outcome.exit)
    }

    fn show_plan(&self, context: &Context, plan: &Plan) -> Result<Exit> {
        let confirm = match plan.confirm {
            ConfirmLevel::None => "none",
            ConfirmLevel::Ask => "ask",
            ConfirmLevel::Typed => "typed",
        };
        let item = PlanItem { plan, judgement: plan.judgement(), confirm };
        let blocks: Vec<Block> = plan_text::blocks(plan);
        context.printer.show("plan", &[item], &blocks, &[])?;
        context.printer.talk("dry run: nothing was sent");
        Ok(if refused(plan) { Exit::GuardRefused } else { Exit::Ok })
    }
}

/// A guard stands against the plan, and `--force` does not override it.
pub fn refused(plan: &Plan) -> bool {
    plan.judgement() > if plan.request.force { Judgement::Refuse } else { Judgement::Warn }
}

/// Reads events to the end. The first signal asks the operation to stop; the second ends us at once.
async fn follow(mut running: Running, mut progress: Progress) -> Result<Report> {
    let mut signals = Signals::new()?;
    let (mut operation, mut asked, mut closed) = (0, false, None);
    let mut outputs = Outputs::default();
    let mut outcome = None;
    loop {
        tokio::select! {
            event = running.events.recv() => {
                let Some(event) = event else { break };
                operation = event.operation.max(operation);
                outputs.gather(&event);
                if closed.is_none() && let Err(failure) = progress.event(&event) {
                    // Whoever read our output has gone: nothing further is begun, and what was begun is seen through.
                    running.stop();
                    closed = Some(failure);
                }
                if let EventKind::Finished { outcome: last } = event.kind {
                    outcome = Some(last);
                }
            }
            name = signals.next() => {
                if asked {
                    progress.finish();
                    return Err(Failure::failed(format!("ended by a second {name}: what was under way is not known to have finished"))
                        .hint("`lbdeck status` shows what holds, and how to give it back"));
                }
                asked = true;
                progress.say(&format!("{name}: stopping; what was changed holds until it is given back (once more to end at once)"));
                running.stop();
            }
        }
    }
    progress.finish();
    match (outcome, closed) {
        (_, Some(failure)) => Err(failure),
        (Some(outcome), None) => Ok(Report::new(operation, outcome, outputs)),
        (None, None) => Err(Failure::failed("the operation ended without telling how").hint(match operation {
            0 => "`lbdeck status` shows what holds".to_owned(),
            operation => format!("`lbdeck undo {operation}` gives back what it changed; `lbdeck status` shows what holds"),
        })),
    }
}

/// Says what a killed run may have left behind, and how to give it back; not to whoever is doing just that.
fn tell_unfinished(context: &Context, ops: &Ops, request: &Request) {
    // Where the store cannot be read, the plan says so.
    for left in ops.unfinished().unwrap_or_default() {
        if matches!(request.verb, Verb::Undo { operation } if operation == left.operation) {
            continue;
        }
        context.printer.warn(&format!(
            "operation {} ('{}' by {}) was killed before its end; its changes may still hold",
            left.operation, left.summary, left.who
        ));
        context.printer.hint(&format!("`lbdeck undo {}` gives them back", left.operation));
    }
}

/// Says what leases were given back on the way.
pub fn tell_sweep(context: &Context, report: &SweepReport) {
    let what = |lease: &Lease| format!("{} of {} by {}", lease.change, lease.target, lease.who);
    for lease in &report.returned {
        context.printer.talk(&format!("lease {} has ended and was given back: {}", lease.id, what(lease)));
    }
    for lease in &report.overtaken {
        context.printer.talk(&format!(
            "lease {} has ended; somebody changed the server since, it was left as it is: {}",
            lease.id,
            what(lease)
        ));
    }
    for (lease, why) in &report.failed {
        context.printer.warn(&format!("lease {} has ended and could not be given back: {}: {why}", lease.id, what(lease)));
    }
}

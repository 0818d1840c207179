//! `lbdeck undo`.

use clap::Args;

use super::act::ActArgs;
use super::context::Context;
use super::failure::{Failure, Result};
use crate::model::Exit;
use crate::ops::{Ops, Selector, Verb};
use crate::store::AuditFilter;

/// Gives back what an operation changed, where nobody changed it since.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck undo last --dry-run
  lbdeck undo 17
  lbdeck audit                                       shows the numbers of operations")]
pub struct UndoArgs {
    /// The number of the operation, or `last` for your own last one
    #[arg(value_name = "OPERATION")]
    operation: String,
    #[command(flatten)]
    act: ActArgs,
}

impl UndoArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let operation = match self.operation.as_str() {
            "last" => last(&context.app(context.fleet()?).ops)?,
            number => number.parse().map_err(|_| {
                Failure::invalid(format!("'{number}' is not the number of an operation")).hint("`lbdeck audit` shows the numbers")
            })?,
        };
        self.act.act(context, self.act.request(Verb::Undo { operation }, Selector::default(), None)).await
    }
}

/// The newest operation of this user on this machine that is not itself an undo.
fn last(ops: &Ops) -> Result<i64> {
    let mine = ops.audit(&AuditFilter { who: Some(ops.who().to_string()), ..AuditFilter::default() })?;
    let is_undo = |request: &serde_json::Value| request.get("verb").is_some_and(|verb| verb.get("undo").is_some());
    mine.iter().find(|operation| !is_undo(&operation.request)).map(|operation| operation.id).ok_or_else(|| {
        Failure::invalid(format!("no operation of {} is known here", ops.who())).hint("`lbdeck audit` shows all operations")
    })
}

//! Questions before a change. Without a terminal nobody can answer: the flags do, or the change is refused.

use std::io::IsTerminal;

use dialoguer::{Confirm, Input};

use super::act::{ActArgs, refused};
use super::failure::{Failure, Result};
use super::plan_text;
use super::printer::Printer;
use crate::app::TerminalGuard;
use crate::config::ConfirmLevel;
use crate::ops::{Approval, Plan};

/// What whoever sits in front says to the plan.
pub async fn approval(printer: &Printer, args: &ActArgs, plan: &Plan) -> Result<Approval> {
    if let Some(word) = &args.confirm {
        return Ok(Approval::Typed(word.clone()));
    }
    // Whatever the answer, the gate refuses: asking would be a lie.
    if refused(plan) {
        return Ok(Approval::None);
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    match plan.confirm {
        _ if args.yes && plan.confirm < ConfirmLevel::Typed => Ok(Approval::Yes),
        ConfirmLevel::None => Ok(Approval::None),
        ConfirmLevel::Ask if terminal => {
            printer.say_blocks(&plan_text::blocks(plan));
            match ask(|| Confirm::new().with_prompt("Do it?").default(false).interact_opt()).await? {
                Some(true) => Ok(Approval::Yes),
                _ => Err(Failure::refused("not confirmed; nothing was sent")),
            }
        }
        ConfirmLevel::Typed if terminal => {
            printer.say_blocks(&plan_text::blocks(plan));
            let prompt = format!("Type {} to do it", plan.confirm_word);
            let typed = ask(move || Input::<String>::new().with_prompt(prompt).allow_empty(true).interact_text()).await?;
            if typed.trim() != plan.confirm_word {
                return Err(Failure::refused(format!("'{}' is not '{}'; nothing was sent", typed.trim(), plan.confirm_word)));
            }
            Ok(Approval::Typed(plan.confirm_word.clone()))
        }
        ConfirmLevel::Ask => {
            Err(Failure::refused(format!("{}: this asks for a yes, and there is no terminal to ask on", plan.summary))
                .hint("give --yes; --dry-run shows what would be sent"))
        }
        ConfirmLevel::Typed => Err(Failure::refused(format!(
            "{}: this asks for a word to be typed, and there is no terminal to ask on",
            plan.summary
        ))
        .hint(format!("give --confirm '{}'; --dry-run shows what would be sent", plan.confirm_word))),
    }
}

/// Asks away from the runtime's thread, so that connections are kept alive meanwhile.
async fn ask<T: Send + 'static>(question: impl FnOnce() -> Result<T, dialoguer::Error> + Send + 'static) -> Result<T> {
    let _guard = TerminalGuard::new();
    let answer = tokio::task::spawn_blocking(question).await;
    let failed = |why: String| Failure::refused(format!("not confirmed ({why}); nothing was sent"));
    answer.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
}

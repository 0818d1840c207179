//! A server that is leased to somebody else is theirs until the lease ends.

use std::collections::BTreeSet;

use crate::config::duration::show_duration;
use crate::model::Target;
use crate::ops::verify::{Aspect, aspect};
use crate::ops::{Judgement, Verb, Verdict};
use crate::store::LeaseState;

use super::{Context, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    if matches!(context.request.verb, Verb::ReturnLease { .. }) {
        return Vec::new();
    }
    let given_back: BTreeSet<&str> = context.known.give_back.iter().filter_map(|g| g.lease.as_deref()).collect();
    let mut verdicts = Vec::new();
    for lease in context.known.leases.iter().filter(|l| !given_back.contains(l.id.as_str())) {
        let touches = context.steps.iter().any(|s| {
            !s.already
                && s.target == lease.target
                && aspect(&s.change) != Aspect::Passing
                && lease.holds.iter().any(|h| h.node == s.node && h.state == LeaseState::Open)
        });
        if !touches {
            continue;
        }
        let mine = lease.who.user == context.known.who.user && lease.who.host == context.known.who.host;
        let ended = lease.has_ended(context.known.now);
        let until = match lease.left(context.known.now) {
            None => "until it is returned".to_owned(),
            Some(_) if ended => "and has ended".to_owned(),
            Some(left) => format!("for another {}", show_duration(left)),
        };
        let what = match &lease.target {
            Target::Server(at) => at.to_string(),
            other => other.to_string(),
        };
        let reason = lease.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
        let holder = if mine { "you hold".to_owned() } else { format!("{} holds", lease.who) };
        let text = format!("{holder} {what} in {} {until}{reason}: lease {}", lease.change, lease.id);
        verdicts.push(verdict("lease", if mine || ended { Judgement::Warn } else { Judgement::Refuse }, text));
    }
    verdicts
}

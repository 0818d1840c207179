//! The sections `abort`, `expect` and `restore` of a drill file.

use std::time::Duration;

use crate::config::duration::show_duration;
use crate::config::reader::{Reader, show};
use crate::config::yaml::{Node, Value};
use crate::drill::spec::{Abort, Availability, Expect, Restore};

/// A percentage with its sign: `99.5%`.
pub fn percent(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<f64> {
    let read = node.scalar().and_then(|t| t.trim().strip_suffix('%')).and_then(|n| n.trim().parse::<f64>().ok());
    let read = read.filter(|p| (0.0..=100.0).contains(p));
    if read.is_none() {
        reader.error(node.place, format!("'{key}' is a percentage, not {}", show(node)), "write for instance 99.9%".to_owned());
    }
    read
}

pub fn read_abort(reader: &mut Reader<'_>, node: Option<&Node>) -> Abort {
    const KEYS: &[&str] = &["outage_gt", "two_owners_gt", "no_owner_gt", "heartbeat_lost"];
    const HEARTBEAT: Duration = Duration::from_secs(10);
    const LEAST_HEARTBEAT: Duration = Duration::from_secs(3);
    let mut abort = Abort { outage_gt: None, two_owners_gt: None, no_owner_gt: None, heartbeat_lost: HEARTBEAT };
    let Some(node) = node else { return abort };
    // A list of single rules, as the documentation has it, or one mapping.
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        let Some(section) = reader.keys(item, "abort", &[KEYS]) else { continue };
        for (key, rule) in [
            ("outage_gt", &mut abort.outage_gt),
            ("two_owners_gt", &mut abort.two_owners_gt),
            ("no_owner_gt", &mut abort.no_owner_gt),
        ] {
            if let Some(n) = section.get(key) {
                *rule = reader.duration(n, key, Duration::from_millis(100)).or(*rule);
            }
        }
        if let Some(n) = section.get("heartbeat_lost") {
            abort.heartbeat_lost = reader.duration(n, "heartbeat_lost", LEAST_HEARTBEAT).unwrap_or(HEARTBEAT);
        }
    }
    abort
}

pub fn read_expect(reader: &mut Reader<'_>, node: &Node) -> Expect {
    let mut expect = Expect::default();
    let keys: &[&str] = &["outage_ms", "failed", "resets", "failback_outage_ms", "availability"];
    let Some(section) = reader.keys(node, "expect", &[keys]) else { return expect };
    for (key, most) in [
        ("outage_ms", &mut expect.outage_ms),
        ("failed", &mut expect.failed),
        ("resets", &mut expect.resets),
        ("failback_outage_ms", &mut expect.failback_outage_ms),
    ] {
        if let Some(node) = section.get(key)
            && let Some(limits) = reader.keys(node, key, &[&["max"]])
        {
            match limits.get("max") {
                Some(max) => *most = reader.number(max, "max", 0..=1_000_000_000),
                None => reader.error(node.place, format!("'{key}' needs 'max'"), format!("write {key}: {{max: 100}}")),
            }
        }
    }
    expect.availability = section.get("availability").and_then(|n| read_availability(reader, n));
    expect
}

fn read_availability(reader: &mut Reader<'_>, node: &Node) -> Option<Availability> {
    let section = reader.keys(node, "availability", &[&["target", "failovers_per_year"]])?;
    let (Some(target), Some(failovers)) = (section.get("target"), section.get("failovers_per_year")) else {
        let hint = "write availability: {target: 99.99%, failovers_per_year: 12}".to_owned();
        reader.error(section.place(), "'availability' needs 'target' and 'failovers_per_year'", hint);
        return None;
    };
    let target = percent(reader, target, "target");
    let failovers = reader.number(failovers, "failovers_per_year", 1..=100_000);
    Some(Availability { target: target?, failovers_per_year: u32::try_from(failovers?).ok()? })
}

pub fn read_restore(reader: &mut Reader<'_>, node: Option<&Node>, hold: Duration) -> Restore {
    /// What arming, injecting and restoring may take on a slow link.
    const MARGIN: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(3600);
    let mut restore = Restore { deadline: hold * 2 + 6 * MARGIN, verify: true, settle: Duration::from_secs(60) };
    let Some(node) = node else { return restore };
    let Some(section) = reader.keys(node, "restore", &[&["deadline", "verify", "settle"]]) else { return restore };
    if let Some(n) = section.get("deadline")
        && let Some(deadline) = reader.duration(n, "deadline", Duration::from_secs(5))
    {
        restore.deadline = deadline;
        if deadline < hold + MARGIN {
            let what = format!("'deadline': {} is too short for a fault of {}", show_duration(deadline), show_duration(hold));
            let hint = format!(
                "at least {}: the node restores by itself then, in the middle of the drill",
                show_duration(hold + MARGIN)
            );
            reader.error(n.place, what, hint);
        } else if deadline > LONGEST {
            reader.error(
                n.place,
                "'deadline': longer than an hour",
                "nobody leaves a fleet broken for so long on purpose".to_owned(),
            );
        }
    }
    if let Some(n) = section.get("verify") {
        restore.verify = reader.word(n, "verify", &[("steady_state", true), ("none", false)]).unwrap_or(true);
    }
    if let Some(n) = section.get("settle") {
        restore.settle = reader.duration(n, "settle", Duration::from_secs(1)).unwrap_or(restore.settle);
    }
    restore
}

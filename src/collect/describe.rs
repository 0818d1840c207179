//! A node's own reading in a few words, the same for the console and the command line.

use crate::config::duration::show_duration;
use crate::config::size::show_size;
use crate::model::{DiskUse, EngineEvent, NodeReading};

/// A file system is told from this share on, and the fullest always.
const FULL: u64 = 80;

/// `21:03:07Z health web/web1 down: L4CON`.
pub fn event(event: &EngineEvent) -> String {
    let subject = if event.subject.is_empty() { String::new() } else { format!("{} ", event.subject) };
    format!("{} {} {subject}{}", event.at.strftime("%TZ"), event.kind, event.text)
}

fn size(bytes: u64) -> String {
    show_size(usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn percent(part: u64, of: u64) -> u64 {
    part.saturating_mul(100).checked_div(of).unwrap_or(0)
}

/// Label and text, most telling first.
pub fn node_reading(r: &NodeReading) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let [one, five, fifteen] = r.load;
    let mut load = format!("{one:.2} {five:.2} {fifteen:.2} on {} cores", r.cores);
    if let Some(cpu) = r.cpu {
        load.push_str(&format!(
            ", user {:.0}% system {:.0}% wait {:.0}% steal {:.0}%",
            cpu.user, cpu.system, cpu.iowait, cpu.steal
        ));
    }
    out.push(("cpu", load));
    let m = &r.memory;
    let mut memory = format!("{} of {} available", size(m.available), size(m.total));
    if m.swap_total > 0 {
        memory.push_str(&format!(", swap {} of {} used", size(m.swap_total.saturating_sub(m.swap_free)), size(m.swap_total)));
    }
    out.push(("memory", memory));
    let used = |d: &DiskUse| percent(d.total.saturating_sub(d.available), d.total);
    let mut disks: Vec<&DiskUse> = r.disks.iter().collect();
    disks.sort_by_key(|d| std::cmp::Reverse(used(d)));
    let told = disks.iter().enumerate().filter(|(i, d)| *i == 0 || used(d) >= FULL);
    let told: Vec<String> = told.map(|(_, d)| format!("{} {}% of {}", d.mount, used(d), size(d.total))).collect();
    if !told.is_empty() {
        out.push(("disk", told.join(", ")));
    }
    for i in r.interfaces.iter().filter(|i| i.name != "lo" && (i.bytes_in > 0 || i.bytes_out > 0)) {
        let rate = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |b| format!("{}/s", size(b)));
        let state = if i.up { "" } else { ", down" };
        let text =
            format!("{} in {}, out {}, {} errors, {} drops{state}", i.name, rate(i.rate_in), rate(i.rate_out), i.errors, i.drops);
        out.push(("network", text));
    }
    let t = &r.tcp;
    let mut tcp = format!(
        "{} established, {} time-wait, {} close-wait, {} syn-recv, {} listen",
        t.established, t.time_wait, t.close_wait, t.syn_recv, t.listen
    );
    if let Some((used, most)) = r.conntrack {
        tcp.push_str(&format!("; conntrack {used} of {most} ({}%)", percent(used, most)));
    }
    out.push(("tcp", tcp));
    let waiting: Vec<String> = r
        .listening
        .iter()
        .filter(|l| l.waiting > 0)
        .map(|l| format!("{} {} ({} wait)", l.protocol, l.address, l.waiting))
        .collect();
    if !waiting.is_empty() {
        out.push(("backlog", waiting.join(", ")));
    }
    let a = &r.agent;
    let up = show_duration(std::time::Duration::from_secs(r.uptime_s));
    out.push((
        "agent",
        format!("{}, {} of {} files open, {} threads; node up {up}", size(a.memory), a.open_files, a.open_files_limit, a.threads),
    ));
    out.extend(r.notes.iter().map(|note| ("note", note.clone())));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MemoryUse, NetworkInterface};

    #[test]
    fn what_is_full_and_what_waits_is_told() {
        let disk = |mount: &str, available| DiskUse { mount: mount.into(), total: 100 << 30, available, ..DiskUse::default() };
        let mut reading = NodeReading {
            memory: MemoryUse { total: 4 << 30, available: 1 << 30, ..MemoryUse::default() },
            ..NodeReading::default()
        };
        reading.disks = vec![disk("/", 60 << 30), disk("/var", 5 << 30), disk("/srv", 15 << 30)];
        reading.interfaces =
            vec![NetworkInterface { name: "eth0".into(), bytes_in: 5, rate_in: Some(2048), ..NetworkInterface::default() }];
        reading.conntrack = Some((50, 200));
        let text: Vec<String> = node_reading(&reading).into_iter().map(|(label, text)| format!("{label}: {text}")).collect();
        let has = |words: &str| text.iter().any(|line| line.contains(words));
        assert!(has("memory: 1GiB of 4GiB available") && has("disk: /var 95% of 100GiB, /srv 85% of 100GiB"), "{text:#?}");
        assert!(has("eth0 in 2KiB/s, out ?") && has("down") && has("conntrack 50 of 200 (25%)"), "{text:#?}");
    }
}

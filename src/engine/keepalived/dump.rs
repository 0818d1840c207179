//! keepalived's data dump (SIGUSR1): lines of `Key = value` for people, in builds without JSON the only way to ask.

use crate::model::{VrrpAuth, VrrpInstance, VrrpState, sanitize};

use super::json::timestamp;
use super::settings::{blank, seconds, vip};

const TOPOLOGY: &str = "------< VRRP Topology >------";
const INSTANCE: &str = " VRRP Instance = ";

/// The instances of a dump.
///
/// # Errors
/// The text is no whole dump. There is no mark of its end: the interfaces, which come last, must be there and their last line whole.
pub fn parse(text: &str) -> Result<Vec<VrrpInstance>, String> {
    let interfaces = text.find("------< Interfaces >------");
    if interfaces.is_none() || !text.ends_with('\n') {
        return Err("the data dump is not whole: its list of interfaces is missing or cut".into());
    }
    let Some(at) = text.find(TOPOLOGY) else { return Ok(Vec::new()) };
    let topology = text.get(at + TOPOLOGY.len()..).unwrap_or_default();
    let topology = topology.find("\n------<").and_then(|end| topology.get(..end)).unwrap_or(topology);
    let mut all: Vec<VrrpInstance> = Vec::new();
    let mut excluded: Option<bool> = None;
    for line in topology.lines() {
        if let Some(name) = line.strip_prefix(INSTANCE) {
            all.push(blank(&sanitize(name.trim())));
            excluded = None;
            continue;
        }
        let Some(i) = all.last_mut() else { continue };
        if let (Some(excluded), true) = (excluded, line.starts_with("     ")) {
            i.vips.extend(vip(&line.split_whitespace().collect::<Vec<_>>(), excluded));
            continue;
        }
        excluded = None;
        let trimmed = line.trim();
        if trimmed.starts_with("Virtual IP") {
            excluded = Some(trimmed.contains("Excluded"));
            continue;
        }
        if let Some((key, value)) = trimmed.split_once(" = ") {
            set(i, key, value.trim());
        }
    }
    Ok(all)
}

fn set(i: &mut VrrpInstance, key: &str, value: &str) {
    let first = value.split_whitespace().next().unwrap_or_default();
    match key {
        "VRRP Version" => i.version = first.parse().unwrap_or(2),
        "State" => i.state = Some(VrrpState::of_word(first)),
        "Wantstate" => i.wanted = Some(VrrpState::of_word(first)),
        "Interface" => i.interface = sanitize(first).into_owned(),
        "Virtual Router ID" => i.vrid = first.parse().unwrap_or(0),
        "Priority" => i.base_priority = first.parse().unwrap_or(100),
        "Effective priority" => i.effective_priority = first.parse().ok(),
        "Master priority" => i.master_priority = first.parse().ok().filter(|p| *p > 0),
        "Advert interval" => {
            // `1 sec`, `100 milli-sec`.
            let milli = value.contains("milli");
            if let Some(told) = seconds(first) {
                i.advert_interval = if milli { told / 1000 } else { told };
            }
        }
        "Preempt" => i.nopreempt = first == "disabled",
        "Last transition" => i.last_transition = first.parse().ok().and_then(timestamp),
        "Authentication type" => {
            i.auth = match first {
                "SIMPLE_PASSWORD" => VrrpAuth::Pass(String::new()),
                "IPSEC_AH" => VrrpAuth::Ah(String::new()),
                _ => VrrpAuth::None,
            };
        }
        "Password" => match &mut i.auth {
            VrrpAuth::Pass(p) | VrrpAuth::Ah(p) => value.clone_into(p),
            VrrpAuth::None => {}
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = include_str!("fixtures/2.2.7-master.data");

    #[test]
    fn a_real_dump_says_what_the_json_says() {
        let [i] = &parse(DUMP).unwrap()[..] else { panic!() };
        let json = super::super::json::parse(include_str!("fixtures/2.2.7-master.json")).unwrap();
        let mut expected = json[0].clone();
        expected.counters = None;
        assert_eq!(*i, expected);
    }

    #[test]
    fn parts_are_told_from_the_whole() {
        let end = DUMP.find("------< Interfaces").unwrap();
        for cut in (0..=end).step_by(7) {
            assert!(parse(&DUMP[..cut]).is_err(), "cut at {cut}");
        }
        assert!(parse(&DUMP[..DUMP.len() - 1]).is_err());
    }
}

//! keepalived's JSON dump (SIGRTMIN+2), where the build has it: what the daemon says of its instances.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::{VrrpAuth, VrrpCounters, VrrpInstance, VrrpState, sanitize};

use super::settings::{blank, vip};

/// The instances of a dump.
///
/// # Errors
/// The text is no whole dump: it is written piece by piece, so a part of it may have been read.
pub fn parse(text: &str) -> Result<Vec<VrrpInstance>, String> {
    let value: Value = serde_json::from_str(text.trim()).map_err(|e| format!("the JSON dump is not whole: {e}"))?;
    // Versions before 2.2.8 write a list, later ones an object with the lists of each part.
    let list = value.as_array().or_else(|| value.get("vrrp").and_then(Value::as_array));
    let list = list.ok_or("the JSON dump has no list of instances")?;
    list.iter().map(|item| instance(item).ok_or_else(|| "an instance in the JSON dump has no name".to_owned())).collect()
}

fn instance(item: &Value) -> Option<VrrpInstance> {
    let data = item.get("data")?;
    let number = |key: &str| data.get(key).and_then(Value::as_i64);
    let text = |key: &str| data.get(key).and_then(Value::as_str).map(|t| sanitize(t).into_owned());
    let byte = |key: &str| number(key).and_then(|n| u8::try_from(n).ok());
    let mut i = blank(&text("iname")?);
    i.interface = text("ifp_ifname").unwrap_or_default();
    i.vrid = byte("vrid").unwrap_or(0);
    i.state = number("state").map(VrrpState::of_number);
    i.wanted = number("wantstate").map(VrrpState::of_number);
    i.base_priority = byte("base_priority").unwrap_or(100);
    i.effective_priority = byte("effective_priority");
    // A master keeps the priority of the one before it there.
    i.master_priority = byte("master_priority").filter(|p| *p > 0 && i.state != Some(VrrpState::Master));
    i.version = byte("version").unwrap_or(2);
    i.nopreempt = data.get("nopreempt").and_then(Value::as_bool).unwrap_or(false);
    let interval = data.get("adver_int").and_then(Value::as_f64).and_then(|s| Duration::try_from_secs_f64(s).ok());
    i.advert_interval = interval.unwrap_or(i.advert_interval);
    i.last_transition = data.get("last_transition").and_then(Value::as_f64).and_then(timestamp);
    let password = text("auth_data").unwrap_or_default();
    i.auth = match number("auth_type") {
        Some(1) => VrrpAuth::Pass(password),
        Some(2) => VrrpAuth::Ah(password),
        _ => VrrpAuth::None,
    };
    for (key, excluded) in [("vips", false), ("evips", true)] {
        let lines = data.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        i.vips.extend(lines.filter_map(|l| vip(&l.split_whitespace().collect::<Vec<_>>(), excluded)));
    }
    i.counters = item.get("stats").map(counters);
    Some(i)
}

fn counters(stats: &Value) -> VrrpCounters {
    let n = |key: &str| stats.get(key).and_then(Value::as_u64).unwrap_or(0);
    VrrpCounters {
        adverts_received: n("advert_rcvd"),
        adverts_sent: n("advert_sent"),
        became_master: n("become_master"),
        released_master: n("release_master"),
        priority_zero_received: n("pri_zero_rcvd"),
        priority_zero_sent: n("pri_zero_sent"),
        packet_errors: n("packet_len_err") + n("ip_ttl_err") + n("invalid_type_rcvd") + n("addr_list_err"),
        interval_errors: n("advert_interval_err"),
        auth_errors: n("invalid_authtype") + n("authtype_mismatch") + n("auth_failure"),
    }
}

/// Seconds since the epoch with a fraction; 0 is never.
pub fn timestamp(seconds: f64) -> Option<Timestamp> {
    if !seconds.is_finite() || seconds <= 0.0 || seconds > 1e11 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    let micros = (seconds * 1e6).round() as i64;
    Timestamp::from_microsecond(micros).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = include_str!("fixtures/2.2.7-master.json");

    #[test]
    fn a_real_dump() {
        let [i] = &parse(DUMP).unwrap()[..] else { panic!() };
        assert_eq!((i.name.as_str(), i.state, i.effective_priority, i.vrid), ("VI_1", Some(VrrpState::Master), Some(150), 51));
        assert_eq!(i.vips[1].interface.as_deref(), Some("eth0"));
        assert_eq!(i.counters.unwrap().became_master, 2);
        assert_eq!(i.last_transition.unwrap().to_string(), "2026-11-24T00:15:02.630081Z");
        assert_eq!(i.auth, VrrpAuth::Pass("s3cret".into()));
    }

    #[test]
    fn every_part_of_a_dump_is_told_from_the_whole() {
        let whole = DUMP.trim();
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(parse("{\"vrrp\": [], \"other\": 1}"), Ok(Vec::new()), "as later versions write it");
        assert!(parse("{}").is_err());
    }
}

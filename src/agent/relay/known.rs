//! What a process knew of its servers' health, and what of that the next one believes.
//!
//! A server that was down gets no clients before a check has said otherwise, and that check is made at once. What is old holds a server out for
//! no longer than that one check, and never all servers of a pool; what is very old, or was learned of another address or by another check,
//! is forgotten.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::agent::plane::{Healths, ServerHealth};
use crate::engine::relay::wire::Health;

use super::clock::{Millis, millis};
use super::health::standing::Standing;
use super::pool::{Pool, ServerSet, Slot};

/// So many intervals between checks long, and at least [`RECENT`], knowledge is as good as one's own.
const RECENT_CHECKS: u32 = 10;
const RECENT: Duration = Duration::from_secs(10);
/// After this it is worth nothing.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// An ejection is prolonged up to so many times.
const LONGEST_EJECTION: u32 = 10;

/// What is known of servers at a moment, by both clocks.
pub fn gather<'p>(pools: impl Iterator<Item = &'p Arc<Pool>>, wall: Timestamp, time: Millis) -> Healths {
    let mut found = Healths { at: wall, ..Healths::default() };
    for pool in pools {
        let set = pool.set();
        for slot in &set.slots {
            let server = &slot.server;
            let left = server.ejected_until().saturating_sub(time);
            let ejected_until = (left > 0).then(|| wall.checked_add(Duration::from_millis(left)).ok()).flatten();
            let known = ServerHealth {
                address: slot.address.to_string(),
                check: asks(&set, slot).unwrap_or_default(),
                up: match server.health() {
                    Health::Up => Some(true),
                    Health::Down => Some(false),
                    _ => None,
                },
                held_ms: server.held_for(time),
                last: server.check_state().last,
                // Whole seconds: it is worked out anew each time, and must not look like another one.
                ejected_until: ejected_until.and_then(|until| until.round(jiff::Unit::Second).ok()),
                ejections: server.ejections(),
            };
            if known.up.is_some() || known.ejected_until.is_some() {
                found.servers.insert(server.place.to_string(), known);
            }
        }
    }
    found
}

/// What is asked of a server by checks; None where it is not checked.
fn asks(set: &ServerSet, slot: &Slot) -> Option<String> {
    let check = set.config.check.as_ref().filter(|_| slot.config.check && slot.server.checks_on())?;
    let port = slot.config.check_port.map_or_else(String::new, |port| format!(" at port {port}"));
    Some(format!("{}{port}", check.about()))
}

/// Lays what was known over a pool whose servers are new.
pub fn begin_with(known: &Healths, pool: &Pool, wall: Timestamp, time: Millis) {
    let set = pool.set();
    let age = wall.duration_since(known.at);
    if age > SignedDuration::try_from(FORGOTTEN).unwrap_or(SignedDuration::MAX) {
        return;
    }
    let of = |slot: &Slot| known.servers.get(&*slot.server.place).filter(|k| k.address == slot.address.to_string());
    // A clock that was set back says nothing of the age.
    let age = Duration::try_from(age).ok();
    if let Some(check) = &set.config.check {
        let recent = age.is_some_and(|age| age <= RECENT.max(check.inter * RECENT_CHECKS));
        let down = |slot: &Slot| learned(&set, slot, of(slot)).is_some_and(|k| k.up == Some(false));
        let all_down = set.slots.iter().all(down);
        for slot in &set.slots {
            let Some(server) = learned(&set, slot, of(slot)) else { continue };
            let held = server.held_ms.saturating_add(age.map_or(0, millis));
            match server.up {
                Some(up) if recent => slot.server.begin_as(Standing::known(up, true), server.last.clone(), held, time),
                Some(false) if !all_down => {
                    slot.server.begin_as(Standing::known(false, false), server.last.clone(), held, time);
                }
                _ => {}
            }
        }
    }
    let Some(outliers) = &set.config.outliers else { return };
    let longest = outliers.eject * LONGEST_EJECTION;
    for slot in &set.slots {
        let Some((until, server)) = of(slot).and_then(|k| Some((k.ejected_until?, k))) else { continue };
        let Ok(left) = Duration::try_from(until.duration_since(wall)) else { continue };
        let others_serve = set.slots.iter().any(|s| s.server.id != slot.server.id && s.weight > 0 && s.server.is_serving(time));
        if !left.is_zero() && others_serve {
            slot.server.begin_ejected(time.saturating_add(millis(left.min(longest))), server.ejections);
        }
    }
}

/// What was learned of a server by the check that it has now.
fn learned<'k>(set: &ServerSet, slot: &Slot, known: Option<&'k ServerHealth>) -> Option<&'k ServerHealth> {
    known.filter(|k| asks(set, slot).is_some_and(|asks| asks == k.check))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::config;
    use super::super::roster::Roster;
    use super::*;

    const TEXT: &str = "pools: [{name: app, check: {path: /health}, outliers: {eject: 10s}, servers: [{name: a, address: 10.0.0.1:80}, {name: b, address: 10.0.0.2:80}, {name: c, address: 10.0.0.3:80}]}]";

    fn pool(text: &str) -> Arc<Pool> {
        let roster = Roster::default();
        roster.apply(&config::parse(text, Path::new("relay.yaml")).unwrap_or_else(|e| panic!("{e}")));
        roster.pool("app").unwrap()
    }

    fn set_health(pool: &Pool, name: &str, health: Health) {
        let set = pool.set();
        pool.set_health(&set.slots[set.index_of_name(name).unwrap()].server, health, 1000);
    }

    fn wall(s: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + s).unwrap()
    }

    /// Health and first standing of each server after a restart `age` seconds later.
    fn after(known: &Healths, text: &str, age: i64) -> Vec<(Health, Option<Standing>)> {
        let pool = pool(text);
        begin_with(known, &pool, wall(age), 5);
        let set = pool.set();
        set.slots.iter().map(|s| (s.server.health(), s.server.take_known())).collect()
    }

    fn two_of_three_checked() -> Healths {
        let before = pool(TEXT);
        set_health(&before, "a", Health::Down);
        set_health(&before, "b", Health::Up);
        set_health(&before, "c", Health::Starting);
        gather([&before].into_iter(), wall(0), 61_000)
    }

    #[test]
    fn what_is_recent_is_as_good_as_ones_own() {
        let known = two_of_three_checked();
        let text = serde_json::to_string(&known).unwrap();
        let known: Healths = serde_json::from_str(&text).unwrap();
        let unknown = (Health::Unchecked, None);
        let settled = |up| Some(Standing::known(up, true));
        assert_eq!(after(&known, TEXT, 5), [(Health::Down, settled(false)), (Health::Up, settled(true)), unknown]);
        let pool = pool(TEXT);
        begin_with(&known, &pool, wall(5), 5);
        assert_eq!(pool.set().slots[0].server.held_for(1005), 60_000 + 5_000 + 1_000, "down for as long as it was");
    }

    #[test]
    fn what_is_old_holds_until_the_first_check_and_what_is_very_old_or_of_others_not_at_all() {
        let known = two_of_three_checked();
        let unknown = (Health::Unchecked, None);
        let old = (Health::Down, Some(Standing::known(false, false)));
        for age in [600, -600] {
            assert_eq!(after(&known, TEXT, age), [old, unknown, unknown], "{age}");
        }
        let none = [unknown; 3];
        assert_eq!(after(&known, TEXT, 4000), none);
        for other in [
            TEXT.replace("10.0.0.1:80", "10.0.0.1:81").replace("10.0.0.2", "10.0.0.9"),
            TEXT.replace("/health", "/alive"),
            TEXT.replace("check: {path: /health},", "check: {},"),
            TEXT.replace("check: {path: /health},", ""),
        ] {
            assert_eq!(after(&known, &other, 5), none, "{other}");
        }
    }

    #[test]
    fn old_knowledge_never_takes_all_servers_out() {
        let before = pool(TEXT);
        for name in ["a", "b", "c"] {
            set_health(&before, name, Health::Down);
        }
        let known = gather([&before].into_iter(), wall(0), 2000);
        assert!(after(&known, TEXT, 5).iter().all(|(health, _)| *health == Health::Down), "what is recent is true");
        assert!(after(&known, TEXT, 600).iter().all(|(health, _)| *health == Health::Unchecked));
    }

    #[test]
    fn ejections_go_on_for_the_time_that_is_left_and_never_of_the_last() {
        let before = pool(TEXT);
        before.set().slots[0].server.begin_ejected(21_000, 2);
        let known = gather([&before].into_iter(), wall(0), 1000);
        let ejected = |text: &str, age: i64| {
            let pool = pool(text);
            begin_with(&known, &pool, wall(age), 5);
            let set = pool.set();
            (set.slots[0].server.ejected_until(), set.slots[0].server.ejections())
        };
        assert_eq!(ejected(TEXT, 5), (15_005, 2));
        assert_eq!(ejected(TEXT, 25), (0, 0));
        assert_eq!(ejected(&TEXT.replace("outliers: {eject: 10s},", ""), 5), (0, 0));
        let alone = TEXT.replace(", {name: b, address: 10.0.0.2:80}, {name: c, address: 10.0.0.3:80}", "");
        assert_eq!(ejected(&alone, 5), (0, 0), "the last one");
    }
}

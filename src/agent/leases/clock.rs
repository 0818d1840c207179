//! Time that nobody sets. The end of a lease is a moment of the wall clock, because consoles elsewhere must agree on it; how
//! long that still is, is worked out once, when the agent first sees the lease, and then counted on a clock that goes on during
//! suspend and that no administrator and no NTP step moves.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Since the node booted, suspend included.
pub fn since_boot() -> Duration {
    // Linux has this clock since 2.6.39; without it time would stand still and leases would be left to consoles.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Tells one boot from the next.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// How long it is until `ends` by a wall clock that shows `now`; nothing once it has passed.
pub fn until(ends: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(ends.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_the_past_is_over() {
        let before = since_boot();
        assert!(before > Duration::ZERO && since_boot() >= before);
        assert_eq!(boot_id().len(), 36);
        let now = Timestamp::constant(1_800_000_000, 0);
        assert_eq!(until(Timestamp::constant(1_800_000_060, 0), now), Duration::from_secs(60));
        assert_eq!(until(Timestamp::constant(1_700_000_000, 0), now), Duration::ZERO);
    }
}

//! Consistent hashing: a ring of points by the servers' names. A server that leaves gives up its own keys and no others.
//!
//! The number of points of a server depends on its own weight and on the class (next power of two) of the greatest weight in
//! the pool, so that neither coming nor going of others moves them. Names, not addresses, are hashed: all nodes of a fleet
//! agree, and a server that moves keeps its clients.

use std::net::IpAddr;

/// Points of a server with the greatest weight. The load of equal servers then differs by about 8 % (1/√160).
const POINTS: u32 = 160;

/// 64-bit FNV-1a with the finaliser of splitmix64: the same on every machine and in every version.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    mix(fnv)
}

/// The finaliser of splitmix64.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// An IPv4 address hashes the same where it arrives as an IPv4-mapped IPv6 one.
pub fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => hash(&v4.octets()),
        IpAddr::V6(v6) => hash(&v6.octets()),
    }
}

/// The path without its query: variants of one object go to the server that has it.
pub fn of_uri(target: &[u8]) -> u64 {
    hash(target.split(|b| *b == b'?').next().unwrap_or_default())
}

#[derive(Debug, Default)]
pub struct Ring {
    /// Sorted by hash: (hash, place in the set).
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// From each server's name, weight and place in the set.
    pub fn new<'a>(servers: impl Iterator<Item = (&'a str, u16)> + Clone) -> Self {
        let class = u32::from(servers.clone().map(|(_, w)| w).max().unwrap_or(1).max(1)).next_power_of_two();
        let mut points = Vec::new();
        for (index, (name, weight)) in servers.enumerate() {
            let own = if weight == 0 { 0 } else { (u32::from(weight) * POINTS / class).max(1) };
            let seed = hash(name.as_bytes());
            points.extend((0..own).map(|i| (mix(seed ^ mix(u64::from(i) + 1)), index as u32)));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The first server at or after the key's point that `accepts`. The draw is a second hash, of key and server, by which
    /// a server that warms up takes a part of its keys, always the same ones.
    pub fn pick(&self, key: u64, accepts: impl Fn(usize, u64) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(point, _)| *point < key);
        let (before, from) = self.points.split_at(start);
        let walk = || from.iter().chain(before).map(|(_, index)| *index as usize);
        let found = walk().find(|index| accepts(*index, mix(key ^ *index as u64)));
        // All that is there warms up and none drew this key: the nearest one that is eligible at all.
        found.or_else(|| walk().find(|index| accepts(*index, 0)))
    }
}

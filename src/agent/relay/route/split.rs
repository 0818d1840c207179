//! Weighted split over pools (blue/green, canary) and mirroring.

use std::net::IpAddr;

use super::PoolRef;
use crate::agent::relay::http::head::Headers;
use crate::agent::relay::protect::networks::client_prefix;

/// What keeps a client with the pool that it got first.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sticky {
    /// Every request is drawn anew.
    #[default]
    None,
    /// By a hash of the client's address (IPv6: its /64): no state, moves only as weights move.
    Client,
    /// By a hash of a header's value; requests without it are drawn.
    Header(Box<str>),
    /// By a cookie that the relay sets and that names the pool.
    Cookie(Box<str>),
}

/// Pools with weights. A pool of weight 0 gets only those who stick to it by cookie.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    arms: Box<[(PoolRef, u32)]>,
    total: u64,
    sticky: Sticky,
}

/// Which pool a request goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Picked<'a> {
    pub pool: &'a PoolRef,
    /// `Set-Cookie` for the response, where the client is to stick.
    pub set_cookie: Option<String>,
}

impl Split {
    /// `None` where no pool has a weight above 0.
    pub fn new(arms: Vec<(PoolRef, u32)>, sticky: Sticky) -> Option<Self> {
        let total = arms.iter().map(|(_, w)| u64::from(*w)).sum();
        (total > 0).then(|| Self { arms: arms.into(), total, sticky })
    }

    pub fn pools(&self) -> impl Iterator<Item = &PoolRef> {
        self.arms.iter().map(|(pool, _)| pool)
    }

    pub(super) fn pools_mut(&mut self) -> impl Iterator<Item = &mut PoolRef> {
        self.arms.iter_mut().map(|(pool, _)| pool)
    }

    /// `random`: any uniform number. `secure`: the client came over TLS, so that the cookie may be bound to it.
    pub fn pick(&self, headers: &Headers, client: IpAddr, secure: bool, random: u64) -> Option<Picked<'_>> {
        let mut set_cookie = None;
        let point = match &self.sticky {
            Sticky::None => random,
            Sticky::Client => match client_prefix(client, 64) {
                IpAddr::V4(v4) => stable_hash(&v4.octets()),
                IpAddr::V6(v6) => stable_hash(&v6.octets()),
            },
            Sticky::Header(name) => headers.get(&**name).map_or(random, stable_hash),
            Sticky::Cookie(name) => {
                let named = cookie(headers, name).and_then(|value| self.pools().find(|p| p.name.as_bytes() == value));
                if let Some(pool) = named {
                    return Some(Picked { pool, set_cookie: None });
                }
                set_cookie = Some(name);
                random
            }
        };
        let pool = self.at(point)?;
        let set_cookie = set_cookie.map(|name| {
            let secure = if secure { "; Secure" } else { "" };
            format!("{name}={}; Path=/; HttpOnly; SameSite=Lax{secure}", pool.name)
        });
        Some(Picked { pool, set_cookie })
    }

    /// The arm that a point of the whole range of numbers falls on.
    fn at(&self, point: u64) -> Option<&PoolRef> {
        // Scaled instead of taken modulo: the shares of a hash stay put when weights move a little.
        let mut left = u64::try_from((u128::from(point) * u128::from(self.total)) >> 64).unwrap_or(0);
        self.arms.iter().find_map(|(pool, weight)| {
            let weight = u64::from(*weight);
            if left < weight {
                return Some(pool);
            }
            left -= weight;
            None
        })
    }
}

/// FNV-1a with a final mix: the same on every node and after every restart, so that a fleet agrees on who goes where.
fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// The value of a cookie of the request (RFC 6265, 4.2).
pub fn cookie<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers.get_all("cookie").flat_map(|field| field.split(|b| *b == b';')).find_map(|pair| {
        let equals = pair.iter().position(|b| *b == b'=')?;
        let (key, value) = pair.split_at(equals);
        (key.trim_ascii() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

/// Sends a copy of some requests to another pool; its answers are thrown away.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    pub pool: PoolRef,
    /// Of 10,000 requests.
    pub per_10_000: u16,
}

impl Mirror {
    /// Whether this request is copied. `random`: any uniform number.
    pub fn wants(&self, random: u64) -> bool {
        (u128::from(random) * 10_000) >> 64 < u128::from(self.per_10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(weights: &[(&str, u32)], sticky: Sticky) -> Split {
        let arms = weights.iter().map(|(name, w)| (PoolRef::new(name), *w)).collect();
        Split::new(arms, sticky).unwrap()
    }

    fn share(split: &Split, of: &str, draws: impl Iterator<Item = (IpAddr, u64)>) -> f64 {
        let (mut hits, mut all) = (0, 0);
        for (client, random) in draws {
            all += 1;
            hits += u32::from(&*split.pick(&Headers::new(), client, false, random).unwrap().pool.name == of);
        }
        f64::from(hits) / f64::from(all)
    }

    fn clients() -> impl Iterator<Item = (IpAddr, u64)> {
        (0..20_000u32).map(|n| (IpAddr::from((0x0a00_0000 + n).to_be_bytes()), 0))
    }

    #[test]
    fn shares_follow_weights() {
        let drawn = split(&[("blue", 90), ("green", 10), ("off", 0)], Sticky::None);
        let spread = (0..10_000u64).map(|n| (IpAddr::from([127, 0, 0, 1]), n * (u64::MAX / 10_000)));
        let green = share(&drawn, "green", spread);
        assert!((green - 0.1).abs() < 0.001, "{green}");
        let hashed = share(&split(&[("blue", 90), ("green", 10)], Sticky::Client), "green", clients());
        assert!((hashed - 0.1).abs() < 0.01, "{hashed}");
        assert_eq!(Split::new(vec![], Sticky::None), None);
    }

    #[test]
    fn a_client_stays_and_few_move_with_weights() {
        let (a, b) =
            (split(&[("blue", 90), ("green", 10)], Sticky::Client), split(&[("blue", 80), ("green", 20)], Sticky::Client));
        let pool = |s: &Split, c: IpAddr, r: u64| s.pick(&Headers::new(), c, false, r).unwrap().pool.name.clone();
        let mut moved = 0;
        for (client, _) in clients() {
            assert_eq!(pool(&a, client, 0), pool(&a, client, u64::MAX));
            moved += u32::from(pool(&a, client, 0) != pool(&b, client, 0));
            if pool(&a, client, 0) == "green".into() {
                assert_eq!(&*pool(&b, client, 0), "green", "who was on the growing side stays");
            }
        }
        assert!((1800..2200).contains(&moved), "{moved} of 20000 for a tenth more");
    }

    #[test]
    fn cookies_name_the_pool() {
        let split = split(&[("blue", 1), ("green", 0)], Sticky::Cookie("lb".into()));
        let client = IpAddr::from([127, 0, 0, 1]);
        let first = split.pick(&Headers::new(), client, true, 7).unwrap();
        assert_eq!(first.set_cookie.as_deref(), Some("lb=blue; Path=/; HttpOnly; SameSite=Lax; Secure"));
        let mut headers = Headers::new();
        headers.add("Cookie", "a=b; lb=green;c");
        let again = split.pick(&headers, client, false, 7).unwrap();
        assert_eq!((&*again.pool.name, again.set_cookie), ("green", None));
        headers.set("Cookie", "lb=gone");
        assert!(split.pick(&headers, client, false, 7).unwrap().set_cookie.is_some());
    }

    #[test]
    fn mirrors_take_their_share() {
        let mirror = Mirror { pool: PoolRef::new("shadow"), per_10_000: 250 };
        let hits = (0..10_000u64).filter(|n| mirror.wants(n * (u64::MAX / 10_000))).count();
        assert!((249..=251).contains(&hits), "{hits}");
        assert!(!Mirror { per_10_000: 0, ..mirror.clone() }.wants(0) && Mirror { per_10_000: 10_000, ..mirror }.wants(u64::MAX));
    }
}

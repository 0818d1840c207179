//! Names of files in a node's lock folder. All that is needed to judge a folder is in the names, so that one listing tells it.
//!
//! `KEY.N.lock`: taken with fencing token N. `KEY.N.free`: token N was given back. `KEY.TARGET.ID.ENDS.lease`: a lease.

use jiff::Timestamp;

use crate::model::Target;

/// A lock file's place in the order of tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mark {
    pub token: u64,
    /// `free` sorts after `lock`: a token that has both was given back.
    pub free: bool,
}

impl Mark {
    pub fn name(self, key: &str) -> String {
        format!("{key}.{}.{}", self.token, if self.free { "free" } else { "lock" })
    }
}

/// The marks of one key, lowest first.
pub fn marks(names: &[String], key: &str) -> Vec<Mark> {
    let mut marks: Vec<Mark> = names
        .iter()
        .filter_map(|name| {
            let (token, kind) = name.strip_prefix(key)?.strip_prefix('.')?.split_once('.')?;
            let free = match kind {
                "lock" => false,
                "free" => true,
                _ => return None,
            };
            Some(Mark { token: token.parse().ok()?, free })
        })
        .collect();
    marks.sort();
    marks
}

/// A lease file: of which lock key, of which target, which lease.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LeaseName {
    pub key: String,
    /// Hash of the target's own name.
    pub target: String,
    pub id: String,
    /// Seconds since the epoch by the node's clock; None for a lease without an end.
    pub ends: Option<i64>,
}

impl LeaseName {
    /// The same lease on the same target; its end is told by two clocks.
    pub fn is_of(&self, other: &LeaseName) -> bool {
        self.key == other.key && self.target == other.target && self.id == other.id
    }
    pub fn file(&self) -> String {
        format!("{}.{}.{}.{}.lease", self.key, self.target, self.id, self.ends.unwrap_or(0))
    }
}

pub fn lease_name(key: &str, target: &Target, id: &str, ends: Option<Timestamp>) -> LeaseName {
    LeaseName {
        key: key.to_owned(),
        target: super::hash(&[&target.to_string()]),
        id: id.to_owned(),
        ends: ends.map(|t| t.as_second()),
    }
}

pub fn parse_lease_name(name: &str) -> Option<LeaseName> {
    let mut parts = name.strip_suffix(".lease")?.split('.');
    let (key, target, id, ends) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let ends: i64 = ends.parse().ok()?;
    let hex = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.next().is_none() && hex(key, 32) && hex(target, 32) && hex(id, 8)).then(|| LeaseName {
        key: key.to_owned(),
        target: target.to_owned(),
        id: id.to_owned(),
        ends: (ends != 0).then_some(ends),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerRef;

    #[test]
    fn marks_sort_by_token_and_strangers_are_left_out() {
        let names: Vec<String> =
            ["k.10.lock", "k.9.free", "k.9.lock", "k.x.lock", "other.11.lock", "k.12.lock.tmp", "k"].map(String::from).to_vec();
        let found = marks(&names, "k");
        let told: Vec<String> = found.iter().map(|m| m.name("k")).collect();
        assert_eq!(told, ["k.9.lock", "k.9.free", "k.10.lock"]);
    }

    #[test]
    fn lease_names_read_back() {
        let target = Target::Server(ServerRef::new("app", "web1"));
        for ends in [None, Some(Timestamp::constant(1_800_000_000, 0))] {
            let name = lease_name(&super::super::key("haproxy:/run/a.sock", &target), &target, "0badcafe", ends);
            assert_eq!(parse_lease_name(&name.file()), Some(name));
        }
        assert_eq!(parse_lease_name("../../etc/passwd.a.b.lease"), None);
    }
}

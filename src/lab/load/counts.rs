//! What became of the requests, in all.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Different failures whose words are kept.
const KEPT_FAILURES: usize = 10;

/// A request that did not get its whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) why: String,
    /// The server whose answer had begun when it was cut off: no load balancer can send the rest of it.
    pub(super) cut_from: Option<String>,
}

impl Failure {
    pub(super) fn unanswered(why: String) -> Self {
        Self { why, cut_from: None }
    }
    pub(super) fn cut(server: String, why: String) -> Self {
        Self { why, cut_from: Some(server) }
    }
    /// The same, naming what was asked for.
    pub(super) fn on(self, url: &str) -> Self {
        Self { why: crate::model::sanitize(&format!("{url}: {}", self.why)).into_owned(), ..self }
    }
}

#[derive(Clone, Debug)]
pub(in crate::lab) struct Counts {
    pub(in crate::lab) ok: u64,
    pub(in crate::lab) failed: u64,
    /// Words of the first failures.
    failures: Vec<Failure>,
    /// Answers by server.
    by_server: BTreeMap<String, u64>,
    /// Of `failed`: answers that broke off, by the server that was sending.
    cut: BTreeMap<String, u64>,
    /// Microseconds of answers that are not streams.
    pub(super) latency_us: Histogram<u64>,
}

impl Counts {
    pub(super) fn new(latency_us: Histogram<u64>) -> Self {
        Self { ok: 0, failed: 0, failures: Vec::new(), by_server: BTreeMap::new(), cut: BTreeMap::new(), latency_us }
    }

    pub(super) fn answered(&mut self, server: String) {
        self.ok += 1;
        *self.by_server.entry(server).or_default() += 1;
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        self.failed += 1;
        if let Some(server) = &failure.cut_from {
            *self.cut.entry(server.clone()).or_default() += 1;
        }
        if self.failures.len() < KEPT_FAILURES && !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    /// Latency in milliseconds that this share of the requests (0 to 1) stayed within.
    pub(in crate::lab) fn latency_ms(&self, share: f64) -> f64 {
        self.latency_us.value_at_quantile(share) as f64 / 1e3
    }

    pub(in crate::lab) fn of_servers<'a>(&self, servers: impl Iterator<Item = &'a str>) -> u64 {
        servers.map(|s| self.of(s)).sum()
    }

    pub(in crate::lab) fn of(&self, server: &str) -> u64 {
        self.by_server.get(server).copied().unwrap_or(0)
    }

    /// Answers of these servers that broke off.
    pub(in crate::lab) fn cut_from<'a>(&self, servers: impl Iterator<Item = &'a str>) -> u64 {
        servers.filter_map(|s| self.cut.get(s)).sum()
    }

    /// Words of the first failures, but for answers that broke off and came from one of these servers.
    pub(in crate::lab) fn failures(&self, but_from: &[&str]) -> String {
        let told = self.failures.iter().filter(|f| !f.cut_from.as_deref().is_some_and(|s| but_from.contains(&s)));
        told.map(|f| f.why.as_str()).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_broke_off_are_told_apart_from_what_was_never_answered() {
        let mut counts = Counts::new(Histogram::new(2).unwrap());
        counts.answered("web1".into());
        counts.failed(Failure::cut("web3".into(), "body: end".into()));
        counts.failed(Failure::cut("web2".into(), "body: reset".into()));
        counts.failed(Failure::unanswered("status 503".into()).on("http://x/"));
        let killed = ["web3", "api3"];
        assert_eq!((counts.ok, counts.failed, counts.cut_from(killed.into_iter())), (1, 3, 1));
        assert_eq!(counts.failures(&killed), "body: reset; http://x/: status 503");
    }
}

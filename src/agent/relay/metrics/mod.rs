//! Counters and latency histograms of routes, and the text that Prometheus reads.
//!
//! Each data thread has cells of its own that it alone writes; reading sums them. So nothing on the path of a request is shared.

pub mod histogram;
pub mod prometheus;
pub mod rate;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::histogram::{Counts, Histogram, add};
use self::rate::Rate;
use crate::engine::relay::wire::{Latency, Traffic};

/// What a request was, when it has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// `None` where no response was sent.
    pub status: Option<u16>,
    pub total: Duration,
    /// Of the request's body.
    pub bytes_in: u64,
    /// To the client.
    pub bytes_out: u64,
    pub retries: u32,
    /// The client's fault: nonsense, too slow, gone.
    pub request_error: bool,
    /// No connection to a server.
    pub connect_error: bool,
    /// A server that failed after that.
    pub response_error: bool,
}

/// One thread's counters of one route. Aligned so that threads do not share lines of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    requests: AtomicU64,
    /// 1xx to 5xx.
    answers: [AtomicU64; 5],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    retries: AtomicU64,
    request_errors: AtomicU64,
    connect_errors: AtomicU64,
    response_errors: AtomicU64,
    latency: Counts,
}

/// Counters of one route over all threads.
#[derive(Debug)]
pub struct RouteStats {
    shards: Box<[Shard]>,
    rate: Rate,
}

impl RouteStats {
    fn new(threads: usize) -> Self {
        Self { shards: (0..threads.max(1)).map(|_| Shard::default()).collect(), rate: Rate::default() }
    }

    /// Counts a request. `thread`: the number of the calling data thread, which no other thread uses.
    pub fn count(&self, thread: usize, ended: &Ended) {
        let Some(shard) = self.shards.get(thread) else { return };
        add(&shard.requests, 1);
        if let Some(class) = ended.status.and_then(|s| shard.answers.get(usize::from(s / 100).checked_sub(1)?)) {
            add(class, 1);
        }
        add(&shard.bytes_in, ended.bytes_in);
        add(&shard.bytes_out, ended.bytes_out);
        for (cell, by) in [
            (&shard.retries, u64::from(ended.retries)),
            (&shard.request_errors, u64::from(ended.request_error)),
            (&shard.connect_errors, u64::from(ended.connect_error)),
            (&shard.response_errors, u64::from(ended.response_error)),
        ] {
            if by > 0 {
                add(cell, by);
            }
        }
        shard.latency.record(ended.total);
    }

    /// Counters over all threads: what the API shows of a route.
    pub fn traffic(&self) -> Traffic {
        let sum = |cell: fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| cell(s).load(Ordering::Relaxed)).sum::<u64>();
        let mut answers = [0; 5];
        for shard in &self.shards {
            answers.iter_mut().zip(&shard.answers).for_each(|(all, one)| *all += one.load(Ordering::Relaxed));
        }
        let requests = sum(|s| &s.requests);
        Traffic {
            sessions_total: requests,
            sessions_rate: self.rate.get(),
            requests_total: requests,
            requests_rate: Some(self.rate.get()),
            bytes_in: sum(|s| &s.bytes_in),
            bytes_out: sum(|s| &s.bytes_out),
            connect_errors: sum(|s| &s.connect_errors),
            request_errors: sum(|s| &s.request_errors),
            response_errors: sum(|s| &s.response_errors),
            answers: Some(answers),
            retries: sum(|s| &s.retries),
            ..Traffic::default()
        }
    }

    pub fn histogram(&self) -> Histogram {
        let mut all = Histogram::default();
        self.shards.iter().for_each(|s| all.add(&s.latency));
        all
    }
}

/// The quantiles that the API shows.
pub fn latency(histogram: &Histogram) -> Latency {
    Latency {
        count: histogram.count(),
        p50_us: histogram.quantile_us(0.5),
        p90_us: histogram.quantile_us(0.9),
        p99_us: histogram.quantile_us(0.99),
        p999_us: histogram.quantile_us(0.999),
        max_us: histogram.max_us(),
    }
}

/// Name that requests count under which no route took.
pub const NO_ROUTE: &str = "-";

/// Listener and route.
type RouteName = (Arc<str>, Arc<str>);

/// The counters of all routes by listener and name. They outlive configurations: a route that comes back counts on.
#[derive(Debug)]
pub struct Registry {
    threads: usize,
    routes: Mutex<BTreeMap<RouteName, Arc<RouteStats>>>,
}

impl Registry {
    pub fn new(threads: usize) -> Self {
        Self { threads, routes: Mutex::default() }
    }

    /// The counters of a route, made where there are none. For when a configuration is applied, not for every request.
    pub fn route(&self, listener: &Arc<str>, route: &Arc<str>) -> Arc<RouteStats> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RouteStats::new(self.threads));
        Arc::clone(routes.entry((Arc::clone(listener), Arc::clone(route))).or_insert_with(new))
    }

    /// Forgets routes that are no longer configured.
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).retain(|(listener, route), _| keep(listener, route));
    }

    /// Once a second: rates.
    pub fn tick(&self) {
        for (.., stats) in self.all() {
            stats.rate.tick(stats.shards.iter().map(|s| s.requests.load(Ordering::Relaxed)).sum());
        }
    }

    /// Listener, route and counters of all routes.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<str>, Arc<RouteStats>)> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().map(|((l, r), s)| (Arc::clone(l), Arc::clone(r), Arc::clone(s))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed() {
        let registry = Registry::new(4);
        let (listener, route) = (Arc::from("web"), Arc::from("api"));
        let stats = registry.route(&listener, &route);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let stats = &stats;
                scope.spawn(move || {
                    for n in 0..1000u64 {
                        let status = if n % 10 == 0 { Some(503) } else { Some(200) };
                        let total = Duration::from_micros(n);
                        stats.count(thread, &Ended { status, total, bytes_out: 7, retries: 1, ..Ended::default() });
                    }
                });
            }
        });
        stats.count(99, &Ended::default());
        stats.count(0, &Ended { status: None, request_error: true, ..Ended::default() });
        let traffic = registry.route(&listener, &route).traffic();
        assert_eq!((traffic.requests_total, traffic.bytes_out, traffic.retries, traffic.request_errors), (4001, 28_000, 4000, 1));
        assert_eq!(traffic.answers, Some([0, 3600, 0, 0, 400]));
        let latency = latency(&stats.histogram());
        assert_eq!((latency.count, latency.max_us), (4001, 999));
        assert!((500..=570).contains(&latency.p50_us), "{latency:?}");
        registry.retain(|_, route| route != "api");
        assert!(registry.all().is_empty());
    }
}

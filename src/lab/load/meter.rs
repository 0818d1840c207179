//! Counts requests as they end, in all and by second, and hands each whole second to whoever looks on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use tokio::sync::watch;

use crate::app::LoadFeed;
use crate::model::{LOAD_SECONDS, LoadLatency, LoadPicture, LoadSecond};

use super::counts::{Counts, Failure};

pub(super) struct Meter {
    now: Mutex<Now>,
    picture: watch::Sender<Arc<LoadPicture>>,
}

struct Now {
    all: Counts,
    second: LoadSecond,
    /// Microseconds, of this second.
    latency_us: Histogram<u64>,
    last_failure: Option<String>,
}

impl Meter {
    /// `asked` requests a second, none of which takes longer than `longest`.
    pub(super) fn new(asked: u32, longest: Duration) -> Result<Self, CreationError> {
        let histogram = Histogram::new_with_bounds(1, longest.as_micros() as u64, 2)?;
        let all = Counts::new(histogram.clone());
        let now = Now { all, second: LoadSecond::default(), latency_us: histogram, last_failure: None };
        let picture = LoadPicture { asked, ..LoadPicture::default() };
        Ok(Self { now: Mutex::new(now), picture: watch::Sender::new(Arc::new(picture)) })
    }

    /// A whole answer; `took` where its latency counts.
    pub(super) fn answered(&self, server: String, took: Option<Duration>) {
        self.with(|now| {
            now.all.answered(server);
            now.second.ok += 1;
            if let Some(took) = took {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                now.all.latency_us.saturating_record(us);
                now.latency_us.saturating_record(us);
            }
        });
    }

    pub(super) fn failed(&self, failure: Failure) {
        self.with(|now| {
            now.last_failure = Some(failure.why.clone());
            now.all.failed(failure);
            now.second.failed += 1;
        });
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|now| now.all.clone())
    }

    pub(super) fn feed(&self) -> LoadFeed {
        self.picture.subscribe()
    }

    /// What was counted since the last call is a second of the picture.
    pub(super) fn end_second(&self) {
        let (second, ok, failed, last_failure) = self.with(|now| {
            let mut second = std::mem::take(&mut now.second);
            let latency = &mut now.latency_us;
            second.latency = (!latency.is_empty()).then(|| LoadLatency {
                p50_us: latency.value_at_quantile(0.5),
                p99_us: latency.value_at_quantile(0.99),
                max_us: latency.max(),
            });
            latency.reset();
            (second, now.all.ok, now.all.failed, now.last_failure.clone())
        });
        let before = self.picture.borrow().clone();
        let mut seconds = before.seconds.clone();
        let surplus = (seconds.len() + 1).saturating_sub(LOAD_SECONDS);
        seconds.drain(..surplus);
        seconds.push(second);
        self.picture.send_replace(Arc::new(LoadPicture { asked: before.asked, ok, failed, seconds, last_failure }));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Now) -> T) -> T {
        look(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_stands_for_itself() {
        let meter = Meter::new(10, Duration::from_secs(15)).unwrap();
        let feed = meter.feed();
        meter.answered("web1".into(), Some(Duration::from_millis(4)));
        meter.answered("web1".into(), Some(Duration::from_millis(400)));
        meter.answered("web1".into(), None);
        meter.end_second();
        meter.failed(Failure::unanswered("status 503".into()));
        meter.end_second();
        let picture = feed.borrow().clone();
        assert_eq!((picture.asked, picture.ok, picture.failed), (10, 3, 1));
        assert_eq!(picture.last_failure.as_deref(), Some("status 503"));
        let [first, second] = picture.seconds.as_slice() else { panic!("{picture:?}") };
        let latency = first.latency.unwrap();
        assert!((3_900..4_100).contains(&latency.p50_us) && (396_000..404_000).contains(&latency.max_us), "{latency:?}");
        assert_eq!((first.ok, first.failed), (3, 0));
        assert_eq!(*second, LoadSecond { ok: 0, failed: 1, latency: None });
    }

    #[test]
    fn the_picture_is_bounded() {
        let meter = Meter::new(1, Duration::from_secs(1)).unwrap();
        for _ in 0..LOAD_SECONDS + 5 {
            meter.end_second();
        }
        assert_eq!(meter.feed().borrow().seconds.len(), LOAD_SECONDS);
    }
}

//! The open loop: probes are begun when they are due, whether or not earlier ones have been answered.
//!
//! It runs on a thread and runtime of its own, so that whatever else this process does shifts no probe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange;
use super::streams::{self, StreamSpec};
use super::{ProbeSpec, Sample, StreamEvent};

/// Probes a second at most.
pub const MAX_HZ: u32 = 200;
/// Connections that are kept for later probes.
const KEPT: usize = 64;

/// What a prober tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    Sample(Sample),
    Stream(StreamEvent),
}

/// Probes that are under way. Ends when dropped.
#[derive(Debug)]
pub struct Prober {
    pub began: Instant,
    /// In the order in which probes ended. Closed once all have.
    pub items: mpsc::UnboundedReceiver<Item>,
    stop: CancellationToken,
}

impl Prober {
    /// Begins at once.
    ///
    /// # Errors
    /// No thread or runtime can be had.
    pub fn start(probes: Vec<ProbeSpec>, held: Option<StreamSpec>) -> std::io::Result<Prober> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, items) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let began = Instant::now();
        std::thread::Builder::new().name("prober".into()).spawn(move || {
            runtime.block_on(async move {
                let tasks = TaskTracker::new();
                for (index, spec) in probes.into_iter().enumerate() {
                    let index = u8::try_from(index).unwrap_or(u8::MAX);
                    tasks.spawn(each(index, Arc::new(spec), began, sender.clone(), stopping.clone(), tasks.clone()));
                }
                if let Some(held) = held {
                    streams::hold(&Arc::new(held), began, &sender, &stopping, &tasks);
                }
                drop(sender);
                tasks.close();
                tasks.wait().await;
            });
        })?;
        Ok(Prober { began, items, stop })
    }

    /// Begins no further probe; those that are under way are told of before `items` closes.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn each(
    probe: u8,
    spec: Arc<ProbeSpec>,
    began: Instant,
    items: mpsc::UnboundedSender<Item>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let step = spec.interval();
    let kept: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let (mut due, mut n) = (began, 0);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let (spec, kept, items) = (spec.clone(), kept.clone(), items.clone());
        let start = Instant::now();
        tasks.spawn(async move {
            let before = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (class, again) = exchange::once(&spec, before).await;
            if let Some(stream) = again {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < KEPT {
                    kept.push(stream);
                }
            }
            let sample = Sample { probe, n, start: start.saturating_duration_since(began), took: start.elapsed(), class };
            // Nobody listening any more is the end, which comes by `stop`.
            let _ = items.send(Item::Sample(sample));
        });
        n += 1;
        due = next(due, step, Instant::now());
    }
}

/// When the next probe is due. What was missed (a stopped process) is left out: a burst would measure itself.
fn next(due: Instant, step: Duration, now: Instant) -> Instant {
    let next = due + step;
    if next >= now {
        return next;
    }
    let missed = now.saturating_duration_since(next).as_nanos() / step.as_nanos().max(1);
    next + step.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Class, ProbeKind};

    #[test]
    fn what_was_missed_is_left_out() {
        let (begin, step) = (Instant::now(), Duration::from_millis(5));
        assert_eq!(next(begin, step, begin), begin + step);
        assert_eq!(next(begin, step, begin + step), begin + step);
        let late = next(begin, step, begin + Duration::from_millis(1_003));
        assert_eq!(late, begin + Duration::from_millis(1_000), "on the old beat, at once");
    }

    #[test]
    fn probes_come_at_their_rate_however_slow_the_answers() {
        // Accepts by the kernel's backlog and never answers.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let spec = ProbeSpec {
            to: listener.local_addr().unwrap().to_string(),
            kind: ProbeKind::Http { path: "/".into(), host: None },
            hz: 50,
            timeout: Duration::from_millis(400),
            new_conn: true,
        };
        let mut prober = Prober::start(vec![spec], None).unwrap();
        let mut samples = Vec::new();
        while samples.len() < 25 {
            match prober.items.blocking_recv() {
                Some(Item::Sample(sample)) => samples.push(sample),
                other => panic!("{other:?}"),
            }
        }
        prober.stop();
        while let Some(item) = prober.items.blocking_recv() {
            if let Item::Sample(sample) = item {
                samples.push(sample);
            }
        }
        samples.sort_by_key(|s| s.n);
        assert!(samples.iter().enumerate().all(|(i, s)| s.n == i as u64), "numbers have no gaps");
        assert!(samples.iter().all(|s| s.class == Class::Timeout), "{samples:?}");
        let (first, last) = (samples[0], samples[24]);
        let span = last.start - first.start;
        assert!(span >= Duration::from_millis(460), "24 intervals of 20 ms: {span:?}");
    }
}

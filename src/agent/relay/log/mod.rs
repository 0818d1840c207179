//! The access log. Data threads only append to a buffer of their own and never wait; one thread formats and writes.
//!
//! What does not fit (a target that hangs, a full disk) is lost, counted, and said in the agent's own log.

mod batch;
mod httplog;
mod json;
pub mod record;
pub mod request_id;
pub mod sample;
pub mod sink;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;

use self::batch::Batch;
use self::httplog::HttpLog;
pub use self::record::{Load, Record, RequestLine, Termination, Times};
use self::sample::{SampleConfig, Sampler};
use self::sink::{Sink, Target};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// HAProxy's `option httplog`, and `option tcplog` for TCP.
    #[default]
    Haproxy,
    Json,
}

/// What is logged, how and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    pub target: Target,
    pub format: Format,
    /// `None`: every line is kept.
    pub sample: Option<SampleConfig>,
    /// Bytes that a data thread may have waiting.
    pub buffer: usize,
}

/// Default of [`LogConfig::buffer`]: a second at 10,000 requests a second.
pub const DEFAULT_BUFFER: usize = 4 << 20;

/// How often the writing thread looks for lines.
const INTERVAL: Duration = Duration::from_millis(100);
/// The same while there are some: it shares the processor with a data thread, and many lines at once would be a pause for that.
const BUSY_INTERVAL: Duration = Duration::from_millis(10);
/// How often it looks whether a file was renamed, and tries again to open what failed.
const LOOK: Duration = Duration::from_secs(1);
/// How often at most it says that lines are lost.
const SAY: Duration = Duration::from_secs(10);
/// Bytes of formatted lines written at once.
const WRITE: usize = 64 << 10;

/// Lines since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    pub written: u64,
    /// Because a buffer was full or the target did not take them.
    pub lost: u64,
    /// Left out by sampling.
    pub sampled_out: u64,
}

#[derive(Debug)]
struct Shared {
    config: ArcSwap<LogConfig>,
    /// Two for each data thread: while one is being taken away, the other is free.
    buffers: Box<[[Mutex<Batch>; 2]]>,
    written: AtomicU64,
    lost: AtomicU64,
    sampled_out: AtomicU64,
    end: AtomicBool,
}

/// The log of a relay with its thread. Dropping it writes what is waiting.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// The log as one data thread has it.
#[derive(Debug)]
pub struct ThreadLog {
    shared: Arc<Shared>,
    index: usize,
    sampler: Sampler,
}

impl AccessLog {
    /// Opens the target and starts the thread that writes. `threads`: how many data threads there are.
    ///
    /// # Errors
    /// The system's, where the target cannot be opened; nothing has been started then.
    pub fn start(config: LogConfig, threads: usize) -> io::Result<Self> {
        let sink = Sink::open(&config.target)?;
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            buffers: (0..threads.max(1)).map(|_| Default::default()).collect(),
            written: AtomicU64::default(),
            lost: AtomicU64::default(),
            sampled_out: AtomicU64::default(),
            end: AtomicBool::default(),
        });
        let writer = Writer::new(Arc::clone(&shared), sink);
        let writer = std::thread::Builder::new().name("relay-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// The log for the data thread of this number, counted from 0.
    pub fn thread(&self, index: usize) -> ThreadLog {
        ThreadLog { shared: Arc::clone(&self.shared), index: index % self.shared.buffers.len(), sampler: Sampler::default() }
    }

    /// Takes another configuration. A target that cannot be opened is an error and changes nothing.
    ///
    /// # Errors
    /// The system's.
    pub fn change(&self, config: LogConfig) -> io::Result<()> {
        if config.target != self.shared.config.load().target {
            Sink::open(&config.target)?;
        }
        self.shared.config.store(Arc::new(config));
        Ok(())
    }

    pub fn counts(&self) -> LogCounts {
        LogCounts {
            written: self.shared.written.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            sampled_out: self.shared.sampled_out.load(Ordering::Relaxed),
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // A writer that panicked has nothing left to write.
            let _ = writer.join();
        }
    }
}

impl ThreadLog {
    /// Takes an entry. Never waits and never fails; does not allocate once its buffers have grown.
    pub fn log(&mut self, record: &Record<'_>) {
        let config = self.shared.config.load();
        if let Some(sample) = config.sample {
            let second =
                record.started.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(record.times.total).as_secs();
            if !self.sampler.keeps(sample, self.shared.buffers.len(), second, record.is_error()) {
                self.shared.sampled_out.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let buffers = self.shared.buffers.get(self.index).into_iter().flatten();
        match buffers.filter_map(|b| b.try_lock().ok()).find(|b| b.size() < config.buffer) {
            Some(mut batch) => batch.push(record),
            None => _ = self.shared.lost.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// The thread that formats and writes.
struct Writer {
    shared: Arc<Shared>,
    /// `None` while the target cannot be opened.
    sink: Option<Sink>,
    target: Target,
    httplog: HttpLog,
    taken: Batch,
    out: Vec<u8>,
    looked: Instant,
    said: Option<Instant>,
    said_lost: u64,
    why: String,
}

impl Writer {
    fn new(shared: Arc<Shared>, sink: Sink) -> Self {
        let target = shared.config.load().target.clone();
        Self {
            shared,
            sink: Some(sink),
            target,
            httplog: HttpLog::new(TimeZone::system()),
            taken: Batch::default(),
            out: Vec::with_capacity(WRITE + 4096),
            looked: Instant::now(),
            said: None,
            said_lost: 0,
            why: String::new(),
        }
    }

    fn run(mut self) {
        loop {
            // Looked at before the buffers: what came before the end is in them.
            let end = self.shared.end.load(Ordering::Acquire);
            self.look(Instant::now());
            let some = self.drain();
            self.say(Instant::now(), end);
            if end {
                return;
            }
            std::thread::park_timeout(if some { BUSY_INTERVAL } else { INTERVAL });
        }
    }

    /// Follows the configuration and a renamed file.
    fn look(&mut self, now: Instant) {
        let target = self.shared.config.load().target.clone();
        let due = now.saturating_duration_since(self.looked) >= LOOK;
        if target != self.target || (self.sink.is_none() && due) {
            self.looked = now;
            self.sink = self.note(Sink::open(&target));
            self.target = target;
        } else if due {
            self.looked = now;
            let followed = self.sink.as_mut().map_or(Ok(()), Sink::follow);
            if self.note(followed).is_none() {
                self.sink = None;
            }
        }
    }

    fn note<T>(&mut self, result: io::Result<T>) -> Option<T> {
        result.map_err(|e| self.why = e.to_string()).ok()
    }

    /// Writes what waits; whether there was something.
    fn drain(&mut self) -> bool {
        let mut some = false;
        let shared = Arc::clone(&self.shared);
        let config = shared.config.load_full();
        for buffer in shared.buffers.iter().flatten() {
            // Only for as long as it takes to swap: the data thread takes the other one meanwhile.
            std::mem::swap(&mut *locked(buffer), &mut self.taken);
            let mut taken = std::mem::take(&mut self.taken);
            some |= taken.size() > 0;
            taken.each(|record| {
                match config.format {
                    Format::Haproxy => self.httplog.write(record, &mut self.out),
                    Format::Json => json::write(record, &mut self.out),
                }
                self.out.push(b'\n');
                if self.out.len() >= WRITE {
                    self.write();
                }
            });
            self.write();
            taken.clear();
            self.taken = taken;
        }
        some
    }

    fn write(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let lines = self.out.iter().filter(|b| **b == b'\n').count();
        let (written, result) = self.sink.as_mut().map_or((0, Ok(())), |s| s.write(&self.out));
        if self.note(result).is_none() && !matches!(self.sink, Some(Sink::File { .. } | Sink::Stdout)) {
            // A syslog daemon that was started again has a new socket.
            self.sink = None;
        }
        self.shared.written.fetch_add(written as u64, Ordering::Relaxed);
        self.shared.lost.fetch_add(lines.saturating_sub(written) as u64, Ordering::Relaxed);
        self.out.clear();
    }

    fn say(&mut self, now: Instant, end: bool) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let due = end || self.said.is_none_or(|said| now.saturating_duration_since(said) >= SAY);
        if lost > self.said_lost && due {
            let why = if self.why.is_empty() { "more came than could be written" } else { &self.why };
            tracing::warn!(lines = lost - self.said_lost, why, "lines of the access log were lost");
            (self.said_lost, self.said) = (lost, Some(now));
            self.why.clear();
        }
    }
}

fn locked(buffer: &Mutex<Batch>) -> MutexGuard<'_, Batch> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

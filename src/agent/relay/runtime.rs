//! The data threads: one current-thread runtime each. A connection lives and dies on the thread that accepted it, so that nothing on the
//! path of a request is shared or locked.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

/// Work for one thread, run within its runtime: it may `tokio::task::spawn_local`.
type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct DataThread {
    jobs: mpsc::UnboundedSender<Job>,
    thread: std::thread::JoinHandle<()>,
}

/// The data threads of a relay. They run until [`Threads::end`] or until this is dropped.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<DataThread>,
}

impl Threads {
    /// Starts `count` threads (at least one).
    ///
    /// # Errors
    /// The system's, where it gives no more threads or descriptors.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut threads = Vec::new();
        for index in 0..count.max(1) {
            let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
            let (ready, started) = std::sync::mpsc::channel();
            let thread = std::thread::Builder::new().name(format!("relay-{index}")).spawn(move || {
                let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime,
                    Err(e) => return drop(ready.send(Err(e))),
                };
                // Nobody waits for the answer only if `start` has failed with another thread.
                let _ = ready.send(Ok(()));
                runtime.block_on(async move {
                    while let Some(job) = queue.recv().await {
                        job();
                    }
                });
                // What is left on a blocking thread (reading a file) must not keep the process.
                runtime.shutdown_timeout(Duration::from_millis(100));
            })?;
            started.recv().map_err(|_| io::Error::other("a data thread ended while it started"))??;
            threads.push(DataThread { jobs, thread });
        }
        Ok(Self { threads })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Runs something on the thread of that index (modulo their number); it may `spawn_local`. Nothing happens on a thread that has ended.
    pub fn run_on(&self, index: usize, job: impl FnOnce() + Send + 'static) {
        if let Some(thread) = self.threads.get(index % self.threads.len().max(1)) {
            // A thread ends only with `end`, which takes `self`.
            let _ = thread.jobs.send(Box::new(job));
        }
    }

    /// Runs something on every thread and collects what it gives, in the order of the threads.
    pub async fn ask_each<T: Send + 'static>(&self, job: impl Fn() -> T + Clone + Send + 'static) -> Vec<T> {
        let mut answers = Vec::new();
        for index in 0..self.count() {
            let (answer, receiver) = oneshot::channel();
            let job = job.clone();
            self.run_on(index, move || drop(answer.send(job())));
            answers.push(receiver);
        }
        let mut given = Vec::new();
        for answer in answers {
            given.extend(answer.await.ok());
        }
        given
    }

    /// Ends all threads with whatever they still do, and waits for that.
    pub fn end(self) {
        let threads: Vec<_> = self.threads.into_iter().map(|t| t.thread).collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a data thread has panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_thread_does_what_it_is_asked() {
        let threads = Threads::start(2).unwrap();
        let mut names = threads.ask_each(|| std::thread::current().name().map(str::to_owned)).await;
        names.dedup();
        assert_eq!(names, [Some("relay-0".to_owned()), Some("relay-1".to_owned())]);
        let (sender, receiver) = oneshot::channel();
        threads.run_on(7, move || {
            tokio::task::spawn_local(async move { sender.send(std::thread::current().name().map(str::to_owned)) });
        });
        assert_eq!(receiver.await.unwrap().as_deref(), Some("relay-1"));
        threads.end();
    }
}

//! An independent prober: a request on a new connection every few milliseconds, open loop, from inside a namespace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::netns::Netns;

/// One probe: when it began, and who answered (the body), or why nobody did.
#[derive(Clone, Debug)]
pub struct Probe {
    pub at: Instant,
    pub answer: Result<String, String>,
}

/// Probes until [`Prober::stop`].
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Probe>>,
}

impl Prober {
    pub fn start(from: &Netns, target: SocketAddr, every: Duration) -> Prober {
        let stop = Arc::new(AtomicBool::new(false));
        let (path, seen) = (from.path(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let ns = std::fs::File::open(path).unwrap();
            // Only this thread changes: its runtime stays on it.
            setns(ns, CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(probe(target, every, seen))
        });
        Prober { stop, thread }
    }

    /// All probes in the order of their beginnings; those under way are waited for.
    pub fn stop(self) -> Vec<Probe> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

async fn probe(target: SocketAddr, every: Duration, stop: Arc<AtomicBool>) -> Vec<Probe> {
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut running = Vec::new();
    while !stop.load(Ordering::Acquire) {
        turns.tick().await;
        let at = Instant::now();
        running.push(tokio::spawn(async move {
            let answer = match tokio::time::timeout(Duration::from_millis(900), one(target)).await {
                Ok(answer) => answer.map_err(|e| e.to_string()),
                Err(_) => Err("timeout".to_owned()),
            };
            Probe { at, answer }
        }));
    }
    let mut all = Vec::with_capacity(running.len());
    for probe in running {
        all.push(probe.await.unwrap());
    }
    all
}

async fn one(target: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n").await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    match reply.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(format!("no good answer: {reply:.40}"))),
    }
}

/// Longest time that lies between two good answers, by the beginnings of the probes.
pub fn longest_gap(probes: &[Probe]) -> Duration {
    let mut good = probes.iter().filter(|p| p.answer.is_ok()).map(|p| p.at);
    let Some(mut last) = good.next() else { return Duration::MAX };
    let mut longest = Duration::ZERO;
    for at in good {
        longest = longest.max(at - last);
        last = at;
    }
    longest
}

/// No time without an owner: a clean stop would cost 600 ms and more. What is under way in the very moment of the move is cut, which on a busy
/// machine may catch a probe or two.
#[track_caller]
pub fn cost_nothing(probes: &[Probe]) {
    let failed: Vec<&Probe> = probes.iter().filter(|p| p.answer.is_err()).collect();
    let gap = longest_gap(probes);
    assert!(
        gap < Duration::from_millis(300) && failed.len() <= 10,
        "{gap:?} without an answer, {} of {} failed: {failed:?}",
        failed.len(),
        probes.len()
    );
}

//! Clocks that are wrong: when a lease ends is told by the node's clock, whatever the operators' machines believe.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lbdeck::model::Change;
use lbdeck::ops::{Ops, Verb};
use lbdeck::store::Store;
use lbdeck::transport::local::LocalTransport;
use lbdeck::transport::{BoxStream, Endpoint, FileStat, Files, Limits, Result, RunOutput, Transport};

use super::bench::{Bench, assert_ok, drain, handle, request, three_servers, who};

/// This machine as a node whose clock is ahead of ours by so many seconds (behind, where negative).
#[derive(Debug)]
struct Shifted {
    local: LocalTransport,
    seconds: Arc<AtomicI64>,
}

#[async_trait]
impl Transport for Shifted {
    fn describe(&self) -> String {
        self.local.describe()
    }
    async fn open(&self, endpoint: &Endpoint, deadline: Duration) -> Result<BoxStream> {
        self.local.open(endpoint, deadline).await
    }
    fn way(&self, endpoint: &Endpoint) -> String {
        self.local.way(endpoint)
    }
    async fn run(&self, argv: &[&str], stdin: &[u8], limits: Limits) -> Result<RunOutput> {
        self.local.run(argv, stdin, limits).await
    }
    fn files(&self) -> Option<&dyn Files> {
        Some(self)
    }
}

#[async_trait]
impl Files for Shifted {
    async fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        self.local.read(path, limit).await
    }
    async fn write_atomic(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        self.local.write_atomic(path, bytes, mode).await
    }
    async fn create_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
        self.local.create_new(path, bytes, mode).await
    }
    async fn stat(&self, path: &Path) -> Result<Option<FileStat>> {
        let stat = self.local.stat(path).await?;
        Ok(stat.map(|s| FileStat { mtime: s.mtime + self.seconds.load(Ordering::SeqCst), ..s }))
    }
    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.local.list(dir).await
    }
    async fn ensure_dir(&self, dir: &Path, mode: u32) -> Result<()> {
        self.local.ensure_dir(dir, mode).await
    }
    async fn remove(&self, path: &Path) -> Result<bool> {
        self.local.remove(path).await
    }
}

const HOUR: i64 = 3600;

/// An operator whose clock is off from the nodes' by so much, the other way round.
fn operator(bench: &Bench, name: &str, seconds: &Arc<AtomicI64>) -> Ops {
    let handles = bench.nodes.iter().enumerate().map(|(i, haproxy)| {
        let transport = Shifted { local: LocalTransport, seconds: Arc::clone(seconds) };
        handle(i, haproxy, Arc::new(transport), bench.lock_dir(i), &bench.fleet.settings)
    });
    Ops::new(handles.collect(), Arc::clone(&bench.fleet), Store::at(bench.dir.path().join(name).join("lbdeck.db")), who(name))
}

async fn drained_for_an_hour(bench: &Bench, ops: &Ops) {
    let mut asked = drain("app/web1");
    asked.lease = Some(Duration::from_secs(3600));
    assert_ok(&super::bench::run(ops, asked, &bench.view().await).await.0);
    ops.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laptop_with_a_wrong_clock_makes_a_lease_that_lasts_as_long_as_was_asked() {
    for off in [-9 * HOUR, 9 * HOUR] {
        let bench = three_servers(2);
        let seconds = Arc::new(AtomicI64::new(off));
        let alice = operator(&bench, "alice-of-the-wrong-clock", &seconds);
        drained_for_an_hour(&bench, &alice).await;
        let left = alice.leases().await[0].left(jiff::Timestamp::now()).unwrap().as_secs();
        assert!((3500..=3603).contains(&left), "{left} s left by a clock that is off by {off} s");
        assert!(alice.sweep().await.is_empty());
        // By the node's clock 59 minutes pass, then another two. Bob's clock is off too; Alice's machine still believes her own.
        seconds.fetch_add(59 * 60, Ordering::SeqCst);
        assert!(operator(&bench, "bob", &seconds).sweep().await.is_empty(), "not yet, with a clock that is off by {off} s");
        assert_eq!(bench.admin(0, "web1"), "drain");
        seconds.fetch_add(2 * 60, Ordering::SeqCst);
        let report = operator(&bench, "bob", &seconds).sweep().await;
        assert_eq!((report.returned.len(), report.failed.len()), (1, 0), "{report:#?}");
        assert_eq!((bench.admin(0, "web1").as_str(), bench.admin(1, "web1").as_str()), ("ready", "ready"));
        assert!(bench.lock_files(0, ".lease").is_empty() && bench.lock_files(0, "clock").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ahead_here_ends_no_lease() {
    let bench = three_servers(1);
    let seconds = Arc::new(AtomicI64::new(0));
    drained_for_an_hour(&bench, &operator(&bench, "alice", &seconds)).await;
    // The same as if this machine's clock had jumped two hours ahead: all that was written says it is over, the node does not.
    seconds.store(-2 * HOUR, Ordering::SeqCst);
    let again = operator(&bench, "alice", &seconds);
    assert!(again.sweep().await.is_empty() && bench.admin(0, "web1") == "drain");
    assert!(again.leases().await[0].left(jiff::Timestamp::now()).unwrap().as_secs() > 2 * 3600);
    // Returned by hand all the same, its file included.
    assert_ok(&super::bench::run(&again, request(Verb::Server(Change::Ready), &["app/web1"]), &bench.view().await).await.0);
    assert!(again.leases().await.is_empty() && bench.lock_files(0, ".lease").is_empty());
}

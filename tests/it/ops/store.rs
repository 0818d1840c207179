//! The store: recorded or not done; broken stores say what is wrong; reading works without one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use lbdeck::model::{Change, Exit};
use lbdeck::ops::{Ops, Verb};
use lbdeck::store::{AuditFilter, Store, StoreError};
use lbdeck::transport::local::LocalTransport;

use crate::support::disk::SmallDisk;

use super::bench::{Bench, handle, request, run, three_servers, who};

fn operator_at(bench: &Bench, path: &Path) -> Ops {
    let handles = bench
        .nodes
        .iter()
        .enumerate()
        .map(|(i, h)| handle(i, h, Arc::new(LocalTransport), bench.lock_dir(i), &bench.fleet.settings))
        .collect();
    Ops::new(handles, Arc::clone(&bench.fleet), Store::at(path), who("alice"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_and_sends_nothing() {
    let bench = three_servers(1);
    for full_from_the_start in [true, false] {
        let disk = SmallDisk::new("256k");
        let ops = operator_at(&bench, &disk.path().join("lbdeck.db"));
        if !full_from_the_start {
            let asked = request(Verb::Server(Change::Maint), &["app/web1"]);
            assert_eq!(run(&ops, asked, &bench.view().await).await.0.exit, Exit::Ok);
            bench.nodes[0].cli("set server app/web1 state ready");
        }
        disk.fill();
        let asked = request(Verb::Server(Change::Maint), &["app/web2"]);
        let (outcome, events) = run(&ops, asked, &bench.view().await).await;
        assert_eq!(outcome.exit, Exit::Failed, "{outcome:#?}");
        assert!(outcome.summary.contains("nothing") && outcome.summary.contains("full"), "{}", outcome.summary);
        assert!(outcome.next.iter().any(|n| n.contains("LBDECK_STATE")), "{:?}", outcome.next);
        assert!(events.iter().all(|e| !matches!(e.kind, lbdeck::ops::EventKind::Sent { .. })));
        assert_eq!(bench.admin(0, "web2"), "ready");
        assert!(bench.lock_files(0, ".lock").is_empty());
        assert!(ops.audit(&AuditFilter::default()).is_ok(), "reading the audit goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_and_newer_stores_are_named_and_refuse_changes() {
    let bench = three_servers(1);
    let dir = tempfile::tempdir().unwrap();
    let damaged = dir.path().join("damaged.db");
    std::fs::write(&damaged, vec![b'x'; 8192]).unwrap();
    let newer = dir.path().join("newer.db");
    rusqlite::Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99; CREATE TABLE t (x)").unwrap();
    for (path, word) in [(damaged, "damaged"), (newer, "newer")] {
        let ops = operator_at(&bench, &path);
        let error = ops.audit(&AuditFilter::default()).unwrap_err();
        assert!(error.to_string().contains(word) && error.to_string().contains("db"), "{error}");
        let plan = ops.plan(request(Verb::Server(Change::Maint), &["app/web1"]), &bench.view().await).unwrap();
        assert!(plan.verdicts.iter().any(|v| v.guard == "store" && v.text.contains(word)), "{:#?}", plan.verdicts);
        let refusal = ops.approve(plan, lbdeck::ops::Approval::Typed("app/web1".into())).unwrap_err();
        assert_eq!(refusal.exit, Exit::GuardRefused);
    }
    assert_eq!(bench.admin(0, "web1"), "ready");
}

#[test]
fn a_store_is_private_and_a_missing_one_reads_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/lbdeck.db");
    let store = Store::at(&path);
    assert!(store.audit(&AuditFilter::default()).unwrap().is_empty() && store.open_leases().unwrap().is_empty());
    assert!(!path.exists(), "reading makes nothing");
    store.lock("k", "{}", std::time::Duration::from_secs(1), |_| false).unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    for beside in ["lbdeck.db-wal", "lbdeck.db-shm"] {
        assert_eq!(mode(&path.with_file_name(beside)), 0o600, "{beside}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"").unwrap();
    let store = Store::at(dir.path().join("file/lbdeck.db"));
    let error = store.lock("k", "{}", std::time::Duration::from_secs(1), |_| false).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    assert!(error.hint().contains("LBDECK_STATE"), "{}", error.hint());
}

#[test]
fn many_processes_may_use_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbdeck.db");
    let threads: Vec<_> = (0..8)
        .map(|i| {
            // A connection each, as processes have.
            let store = Store::at(&path);
            std::thread::spawn(move || {
                for n in 0..20 {
                    store.lock(&format!("k{i}.{n}"), "{}", std::time::Duration::from_secs(1), |_| false).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

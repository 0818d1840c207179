//! From entries to lines.

use std::path::Path;
use std::time::SystemTime;

use http::Version;

use super::*;

/// The example of HAProxy's manual, in UTC.
pub(super) fn record() -> Record<'static> {
    let ms = Duration::from_millis;
    Record {
        client: "10.0.1.2:33317".parse().ok(),
        started: UNIX_EPOCH + Duration::from_millis(1_233_922_454_655),
        listener: "http-in",
        tls: false,
        pool: "static",
        server: "srv1",
        route: "",
        request_id: "",
        times: Times { request: Some(ms(10)), queue: Some(ms(0)), connect: Some(ms(30)), response: Some(ms(69)), total: ms(109) },
        status: Some(200),
        bytes: 2750,
        termination: Termination::NORMAL,
        load: Load { active: 1, listener: 1, pool: 1, server: 1, ..Load::default() },
        request: Some(RequestLine {
            method: "GET",
            target: "/index.html",
            version: Version::HTTP_11,
            host: "example.org",
            user_agent: b"curl/8",
        }),
    }
}

fn to_file(path: &Path) -> LogConfig {
    LogConfig { target: Target::File(path.to_owned()), format: Format::Haproxy, sample: None, buffer: DEFAULT_BUFFER }
}

#[test]
fn lines_of_all_threads_arrive_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(to_file(&path), 4).unwrap();
    std::thread::scope(|scope| {
        for index in 0..4 {
            let mut thread = log.thread(index);
            scope.spawn(move || {
                let target = format!("/{index}");
                let mut entry = record();
                entry.request = entry.request.map(|r| RequestLine { target: &target, ..r });
                (0..5000).for_each(|_| thread.log(&entry));
            });
        }
    });
    let shared = Arc::clone(&log.shared);
    drop(log);
    let text = std::fs::read_to_string(&path).unwrap();
    for index in 0..4 {
        let end = format!(" 0/0 \"GET /{index} HTTP/1.1\"");
        assert_eq!(text.lines().filter(|l| l.ends_with(&end)).count(), 5000);
    }
    assert_eq!(shared.written.load(Ordering::Relaxed), 20_000);
}

#[test]
fn what_does_not_fit_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(LogConfig { buffer: 2000, ..to_file(&path) }, 1).unwrap();
    let mut thread = log.thread(0);
    // Both buffers are held: nothing can be taken, and nobody waits.
    let held: Vec<_> = log.shared.buffers.iter().flatten().map(|b| b.lock().unwrap()).collect();
    (0..3).for_each(|_| thread.log(&record()));
    assert_eq!(log.counts().lost, 3);
    drop(held);
    let pushed = (0..100_000).take_while(|_| {
        thread.log(&record());
        log.counts().lost == 3
    });
    let _ = pushed.count();
    let shared = Arc::clone(&log.shared);
    drop(log);
    let lines = std::fs::read_to_string(&path).unwrap().lines().count() as u64;
    assert_eq!(shared.written.load(Ordering::Relaxed), lines);
    assert!(lines > 0);
}

#[test]
fn sampling_is_counted_and_keeps_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sample = Some(SampleConfig { above: 10, keep_one_of: 10 });
    let log = AccessLog::start(LogConfig { sample, ..to_file(&path) }, 1).unwrap();
    let mut thread = log.thread(0);
    (0..110).for_each(|_| thread.log(&record()));
    let error = Record { status: Some(503), ..record() };
    (0..5).for_each(|_| thread.log(&error));
    assert_eq!(log.counts().sampled_out, 90);
    drop(log);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 25);
    assert_eq!(text.lines().filter(|l| l.contains(" 503 ")).count(), 5);
}

#[test]
fn the_target_changes_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let log = AccessLog::start(to_file(&a), 1).unwrap();
    assert!(log.change(to_file(&folder.path().join("no/such"))).is_err());
    log.change(LogConfig { format: Format::Json, ..to_file(&b) }).unwrap();
    log.thread(0).log(&record());
    drop(log);
    assert_eq!(std::fs::read_to_string(&a).unwrap(), "");
    assert!(std::fs::read_to_string(&b).unwrap().starts_with("{\"v\":1,"));
}

#[test]
fn errors_are_told_from_the_rest() {
    let with = |status, termination| Record { status, termination, ..record() };
    assert!(with(Some(500), Termination::NORMAL).is_error() && with(None, Termination::NORMAL).is_error());
    assert!(with(Some(200), Termination::SERVER_ABORT).is_error() && with(Some(200), Termination::CLIENT_ABORT).is_error());
    assert!(!with(Some(404), Termination::NORMAL).is_error() && !with(Some(302), Termination::LOCAL).is_error());
    assert!(!with(Some(429), Termination::DENIED).is_error(), "a flood that is refused must not flood the log");
}

#[test]
fn a_batch_gives_back_what_it_took() {
    let mut batch = Batch::default();
    let long = "x".repeat(20_000);
    let mut entry = record();
    entry.request = entry.request.map(|r| RequestLine { target: &long, user_agent: b"\xff", ..r });
    batch.push(&entry);
    batch.push(&Record { request: None, started: SystemTime::UNIX_EPOCH, ..record() });
    let mut seen = Vec::new();
    batch.each(|r| seen.push((r.listener.to_owned(), r.request.map(|q| (q.target.len(), q.user_agent.to_vec(), q.version)))));
    assert_eq!(seen, [("http-in".to_owned(), Some((8192, vec![0xff], Version::HTTP_11))), ("http-in".to_owned(), None)]);
    assert!(batch.size() > 8192);
    batch.clear();
    assert_eq!(batch.size(), 0);
}

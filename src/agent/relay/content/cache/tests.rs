//! What is kept, for whom, and for how long.

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn get(target: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead { target: target.into(), authority: "Example.org".into(), ..RequestHead::default() };
    fields.iter().for_each(|(n, v)| head.headers.add(n, v));
    head
}

fn answer(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    fields.iter().for_each(|(n, v)| head.headers.add(n, v));
    head
}

fn fetch(cache: &Arc<Cache>, request: &RequestHead, now: u64) -> Fill {
    match cache.lookup(request, false, false, at(now)) {
        Lookup::Fetch(fill) => *fill,
        other => panic!("{other:?}"),
    }
}

/// Fetches and stores; whether it was kept.
fn fill(cache: &Arc<Cache>, request: &RequestHead, response: &ResponseHead, body: &str, now: u64) -> bool {
    match fetch(cache, request, now).respond(response, at(now)) {
        Filled::Store(mut recorder) => {
            body.as_bytes().chunks(3).for_each(|piece| recorder.write(piece));
            recorder.finish(at(now));
            true
        }
        _ => false,
    }
}

/// Body and age of what is answered from memory.
fn hit(cache: &Arc<Cache>, request: &RequestHead, now: u64) -> Option<(String, String)> {
    match cache.lookup(request, false, false, at(now)) {
        Lookup::Hit(stored) => {
            let (head, body) = stored.answer(request, at(now));
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            Some((text(&body), text(head.headers.get("age").unwrap())))
        }
        _ => None,
    }
}

const FRESH: &[(&str, &str)] = &[("Cache-Control", "Max-Age=60"), ("ETag", "\"v1\""), ("Content-Type", "text/css")];

fn some(body: &str, age: &str) -> Option<(String, String)> {
    Some((body.into(), age.into()))
}

#[test]
fn fresh_responses_are_answered_with_their_age() {
    let cache = Cache::new(CacheConfig::default());
    let request = get("/a?b", &[]);
    assert!(fill(&cache, &request, &answer(200, FRESH), "body", 0));
    assert_eq!(hit(&cache, &request, 10), some("body", "10"));
    assert_eq!(hit(&cache, &get("/a", &[]), 10), None);
    assert_eq!(hit(&cache, &request, 61), None);
    let c = cache.counts();
    assert_eq!((c.hits, c.misses, c.objects), (1, 3, 1));
}

#[test]
fn heads_ranges_and_conditions() {
    let cache = Cache::new(CacheConfig::default());
    assert!(fill(&cache, &get("/a", &[]), &answer(200, FRESH), "body", 0));
    let head = RequestHead { method: Method::HEAD, ..get("/a", &[]) };
    let Lookup::Hit(stored) = cache.lookup(&head, false, false, at(1)) else { panic!() };
    let (sent, body) = stored.answer(&head, at(1));
    assert_eq!((sent.headers.get("content-length"), body.len()), (Some(&b"4"[..]), 4));
    let (sent, body) = stored.answer(&get("/a", &[("If-None-Match", "\"x\", W/\"v1\"")]), at(1));
    assert_eq!((sent.status.as_u16(), body.len(), sent.headers.contains("content-type")), (304, 0, false));
    let (sent, _) = stored.answer(&get("/a", &[("If-None-Match", "\"x\"")]), at(1));
    assert_eq!(sent.status.as_u16(), 200);
    assert!(matches!(cache.lookup(&get("/a", &[("Range", "bytes=0-1")]), false, false, at(1)), Lookup::Pass));
    let miss = RequestHead { method: Method::HEAD, ..get("/other", &[]) };
    assert!(matches!(cache.lookup(&miss, false, false, at(1)), Lookup::Pass));
    assert!(matches!(cache.lookup(&RequestHead { method: Method::POST, ..miss }, false, false, at(1)), Lookup::Pass));
}

#[test]
fn what_may_not_be_kept_is_not() {
    for (request, response) in [
        (&[][..], &[("Cache-Control", "NO-STORE, max-age=60")][..]),
        (&[], &[("Cache-Control", "Private, max-age=60")]),
        (&[], &[("Cache-Control", "public, max-age=60"), ("Set-Cookie", "a=b")]),
        (&[], &[("Cache-Control", "max-age=60"), ("Vary", "*")]),
        (&[], &[]),
        (&[("Cache-Control", "no-store")], &[("Cache-Control", "max-age=60")]),
        (&[("Authorization", "Basic x")], &[("Cache-Control", "max-age=60")]),
        (&[("Cookie", "a=b")], &[("Last-Modified", "Mon, 01 Jan 2001 00:00:00 GMT")]),
    ] {
        let cache = Cache::new(CacheConfig::default());
        assert!(!fill(&cache, &get("/", request), &answer(200, response), "x", 0), "{request:?} {response:?}");
    }
    for status in [206, 302, 500, 503] {
        let cache = Cache::new(CacheConfig::default());
        assert!(!fill(&cache, &get("/", &[]), &answer(status, &[("ETag", "\"x\"")]), "x", 0), "{status}");
    }
}

#[test]
fn authorized_requests_share_only_what_is_public() {
    let cache = Cache::new(CacheConfig::default());
    let authorized = |target: &str| get(target, &[("Authorization", "Basic x")]);
    assert!(fill(&cache, &authorized("/p"), &answer(200, &[("Cache-Control", "public, max-age=60")]), "p", 0));
    assert_eq!(hit(&cache, &authorized("/p"), 1), some("p", "1"));
    assert!(fill(&cache, &get("/q", &[]), &answer(200, FRESH), "q", 0));
    assert_eq!(hit(&cache, &authorized("/q"), 1), None);
}

#[test]
fn variants_are_told_apart() {
    let cache = Cache::new(CacheConfig::default());
    let vary = answer(200, &[("Cache-Control", "max-age=60"), ("Vary", "Accept-Language")]);
    let lang = |l: &str| get("/", &[("Accept-Language", l)]);
    assert!(fill(&cache, &lang("de"), &vary, "hallo", 0) && fill(&cache, &lang("en"), &vary, "hello", 0));
    assert_eq!(hit(&cache, &lang("de"), 5), some("hallo", "5"));
    assert_eq!(hit(&cache, &lang("en"), 5), some("hello", "5"));
    assert_eq!(hit(&cache, &get("/", &[]), 5), None);
    let twice = get("/", &[("Accept-Language", "de"), ("Accept-Language", "en")]);
    assert_eq!(hit(&cache, &twice, 5), None, "two fields are not the first of them");
}

#[test]
fn stale_responses_are_renewed_by_the_server() {
    let cache = Cache::new(CacheConfig::default());
    let request = get("/a", &[("If-None-Match", "\"mine\"")]);
    assert!(fill(&cache, &request, &answer(200, FRESH), "body", 0));
    let fill_again = fetch(&cache, &request, 100);
    let mut sent = request.clone();
    fill_again.prepare(&mut sent);
    assert_eq!(sent.headers.get_all("if-none-match").collect::<Vec<_>>(), [b"\"v1\""]);
    let renewed =
        fill_again.respond(&answer(304, &[("ETag", "\"v1\""), ("Cache-Control", "max-age=600"), ("X-New", "1")]), at(100));
    let Filled::Renewed(stored) = renewed else { panic!("{renewed:?}") };
    let (head, body) = stored.answer(&get("/a", &[]), at(100));
    assert_eq!(
        (&*body, head.headers.get("x-new"), head.headers.get("content-type")),
        (&b"body"[..], Some(&b"1"[..]), Some(&b"text/css"[..]))
    );
    assert_eq!(hit(&cache, &get("/a", &[]), 400), some("body", "300"));
    assert_eq!(cache.counts().renewed, 1);
}

#[test]
fn a_304_for_something_else_is_not_believed() {
    let cache = Cache::new(CacheConfig::default());
    assert!(fill(&cache, &get("/a", &[]), &answer(200, FRESH), "body", 0));
    let other = fetch(&cache, &get("/a", &[]), 100).respond(&answer(304, &[("ETag", "\"v2\"")]), at(100));
    assert!(matches!(other, Filled::Pass), "{other:?}");
}

#[test]
fn stale_stands_in_for_a_server_that_fails() {
    let allowed = CacheConfig { stale_if_error: Duration::from_secs(100), ..CacheConfig::default() };
    for (config, control, stands) in [
        (&allowed, "max-age=60", true),
        (&CacheConfig::default(), "max-age=60, stale-if-error=100", true),
        (&CacheConfig::default(), "max-age=60", false),
        (&allowed, "max-age=60, must-revalidate", false),
        (&allowed, "max-age=60, stale-if-error=0", false),
    ] {
        let cache = Cache::new(config.clone());
        assert!(fill(&cache, &get("/a", &[]), &answer(200, &[("Cache-Control", control), ("ETag", "\"x\"")]), "old", 0));
        let answered = fetch(&cache, &get("/a", &[]), 100).respond(&answer(503, &[]), at(100));
        assert_eq!(matches!(answered, Filled::StandIn(_)), stands, "{control}");
        assert_eq!(fetch(&cache, &get("/a", &[]), 150).failed(at(150)).is_some(), stands, "{control}");
        assert!(fetch(&cache, &get("/a", &[]), 161).failed(at(161)).is_none(), "{control}");
    }
}

#[tokio::test]
async fn one_fetches_and_the_others_wait() {
    let cache = Cache::new(CacheConfig::default());
    let request = get("/a", &[]);
    let first = fetch(&cache, &request, 0);
    let waiting: Vec<Waiting> = (0..10)
        .map(|_| match cache.lookup(&request, false, false, at(0)) {
            Lookup::Wait(waiting) => waiting,
            other => panic!("{other:?}"),
        })
        .collect();
    let all = tokio::spawn(futures::future::join_all(waiting.into_iter().map(Waiting::done)));
    let Filled::Store(mut recorder) = first.respond(&answer(200, FRESH), at(0)) else { panic!() };
    recorder.write(b"body");
    assert!(!all.is_finished());
    recorder.finish(at(0));
    all.await.unwrap();
    assert_eq!(hit(&cache, &request, 0), some("body", "0"));
}

#[tokio::test]
async fn a_fetch_that_dies_lets_the_next_go() {
    let cache = Cache::new(CacheConfig { wait: Duration::from_secs(3600), ..CacheConfig::default() });
    let request = get("/a", &[]);
    let Filled::Store(recorder) = fetch(&cache, &request, 0).respond(&answer(200, FRESH), at(0)) else { panic!() };
    let Lookup::Wait(waiting) = cache.lookup(&request, false, false, at(0)) else { panic!() };
    drop(recorder);
    waiting.done().await;
    assert!(matches!(cache.lookup(&request, false, true, at(0)), Lookup::Fetch(_)));
    assert_eq!(cache.counts().objects, 0);
}

#[test]
fn what_cannot_be_kept_makes_nobody_wait() {
    let cache = Cache::new(CacheConfig::default());
    assert!(!fill(&cache, &get("/a", &[]), &answer(200, &[("Cache-Control", "no-store")]), "x", 0));
    assert!(matches!(cache.lookup(&get("/a", &[]), false, false, at(1)), Lookup::Pass));
    assert!(matches!(cache.lookup(&get("/a", &[]), false, false, at(31)), Lookup::Fetch(_)));
}

#[test]
fn memory_is_bounded_and_what_is_used_stays() {
    let config = CacheConfig { max_size: 100_000, max_object: 5000, ..CacheConfig::default() };
    let cache = Cache::new(config);
    let body = "x".repeat(4000);
    for n in 0..200 {
        assert!(fill(&cache, &get(&format!("/{n}"), &[]), &answer(200, FRESH), &body, 0));
        assert!(hit(&cache, &get("/0", &[]), 1).is_some(), "{n}");
        assert!(cache.counts().bytes <= 100_000);
    }
    assert!(cache.counts().objects > 10);
    let large = answer(200, FRESH);
    assert!(fill(&cache, &get("/large", &[]), &large, &"x".repeat(5001), 0), "its length was not known");
    assert!(matches!(cache.lookup(&get("/large", &[]), false, false, at(1)), Lookup::Pass));
    let mut known = answer(200, FRESH);
    known.headers.add("Content-Length", "5001");
    assert!(!fill(&cache, &get("/known", &[]), &known, "", 0));
}

#[test]
fn purging_and_changes_forget() {
    let cache = Cache::new(CacheConfig::default());
    for target in ["/a/1", "/a/2?x", "/ab", "/c"] {
        assert!(fill(&cache, &get(target, &[]), &answer(200, FRESH), "x", 0));
    }
    assert_eq!(cache.purge(Some("other.org"), "/"), 0);
    assert_eq!(cache.purge(Some("EXAMPLE.org"), "/a"), 2);
    let late = fetch(&cache, &get("/late", &[]), 0);
    let delete = RequestHead { method: Method::DELETE, ..get("/c", &[]) };
    cache.invalidate(&delete, false, StatusCode::NOT_FOUND);
    assert_eq!(hit(&cache, &get("/c", &[]), 1), some("x", "1"));
    cache.invalidate(&delete, false, StatusCode::NO_CONTENT);
    assert_eq!(hit(&cache, &get("/c", &[]), 1), None);
    let Filled::Store(recorder) = late.respond(&answer(200, FRESH), at(0)) else { panic!() };
    recorder.finish(at(0));
    assert_eq!(hit(&cache, &get("/late", &[]), 1), None, "asked for before the purge");
    assert_eq!((cache.purge(None, "/"), cache.counts().objects, cache.counts().bytes), (1, 0, 0));
}

#[test]
fn ages_beyond_all_sense_do_no_harm() {
    let cache = Cache::new(CacheConfig::default());
    let old =
        answer(200, &[("Cache-Control", "max-age=18446744073709551615"), ("Age", "18446744073709551615"), ("ETag", "\"x\"")]);
    assert!(fill(&cache, &get("/a", &[]), &old, "x", 0));
    let _ = hit(&cache, &get("/a", &[]), 10);
}

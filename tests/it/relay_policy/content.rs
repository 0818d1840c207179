//! Compression and the cache.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lbdeck::agent::relay::content::{CacheConfig, CompressionConfig};
use lbdeck::agent::relay::route::Route;

use super::echo::{Echo, response};
use crate::support::relay::{Relay, Setting};

const TEXT: &str = "all work and no play makes a dull relay\n";

fn site(head: &str) -> Option<Vec<u8>> {
    let path = head.split(' ').nth(1).unwrap_or_default();
    match path {
        "/text" => response("200 OK", "Content-Type: text/html\r\nETag: \"e1\"\r\n", TEXT.repeat(500).as_bytes()),
        "/png" => response("200 OK", "Content-Type: image/png\r\n", TEXT.repeat(500).as_bytes()),
        "/kept" if head.to_ascii_lowercase().contains("if-none-match: \"k\"") => {
            Some(b"HTTP/1.1 304 Not Modified\r\nETag: \"k\"\r\nCache-Control: max-age=0, stale-if-error=600\r\n\r\n".to_vec())
        }
        "/kept" => {
            let fields = "Content-Type: text/css\r\nETag: \"k\"\r\nCache-Control: max-age=0, stale-if-error=600\r\n";
            response("200 OK", fields, b"kept")
        }
        "/slow" => {
            // Long enough for the others to come meanwhile; they wait for this one whenever they come.
            std::thread::sleep(Duration::from_millis(200));
            response("200 OK", "Content-Type: text/css\r\nCache-Control: max-age=600\r\n", TEXT.repeat(500).as_bytes())
        }
        "/private" => response("200 OK", "Cache-Control: private\r\n", b"mine"),
        _ => None,
    }
}

fn relay(echo: &Echo, cache: bool) -> Relay {
    let route = Route {
        compression: Some(CompressionConfig::default()),
        cache: cache.then(CacheConfig::default),
        ..Route::to_pool("all", "web")
    };
    Setting::routed(&[("web", echo.address)], vec![route]).start()
}

fn plain(encoding: &str, body: &[u8]) -> String {
    let mut text = String::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap(),
        "br" => brotli::Decompressor::new(body, 4096).read_to_string(&mut text).unwrap(),
        "zstd" => zstd::stream::read::Decoder::new(body).unwrap().read_to_string(&mut text).unwrap(),
        _ => panic!("'{encoding}'"),
    };
    text
}

#[test]
fn bodies_are_compressed_as_the_client_likes() {
    let echo = Echo::start("web", site);
    let relay = relay(&echo, false);
    for (accept, chosen) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip;q=0.2, br;q=0.9", "br"), ("*", "zstd")] {
        let got = relay.curl("/text", &["-H", &format!("Accept-Encoding: {accept}")]);
        assert_eq!(got.header("content-encoding"), chosen);
        assert_eq!((got.header("vary"), got.header("etag")), ("Accept-Encoding", "W/\"e1\""));
        assert_eq!(plain(chosen, &got.body), TEXT.repeat(500));
    }
    let got = relay.curl("/text", &[]);
    assert_eq!((got.header("content-encoding"), got.header("vary"), got.text()), ("", "Accept-Encoding", TEXT.repeat(500)));
    let png = relay.curl("/png", &["-H", "Accept-Encoding: gzip"]);
    assert_eq!((png.header("content-encoding"), png.header("vary")), ("", ""));
}

#[test]
fn one_asks_the_server_for_all() {
    let echo = Echo::start("web", site);
    let relay = relay(&echo, true);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..10).map(|_| scope.spawn(|| relay.curl("/slow", &[]))).collect();
        assert!(all.into_iter().all(|got| got.join().unwrap().text() == TEXT.repeat(500)));
    });
    assert_eq!(echo.hits.load(Ordering::SeqCst), 1);
    let got = relay.curl("/slow", &["-H", "Accept-Encoding: gzip"]);
    assert_eq!((plain("gzip", &got.body), got.header("age").is_empty()), (TEXT.repeat(500), false));
    let head = relay.curl("/slow", &["-I"]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "20000", 0));
    assert_eq!(echo.hits.load(Ordering::SeqCst), 1);
}

#[test]
fn stale_is_renewed_and_stands_in_for_a_dead_server() {
    let echo = Echo::start("web", site);
    let relay = relay(&echo, true);
    for hits in 1..=3 {
        assert_eq!(relay.curl("/kept", &[]).text(), "kept");
        assert_eq!(echo.hits.load(Ordering::SeqCst), hits);
    }
    let asked = echo.heads.lock().unwrap().iter().filter(|h| h.to_ascii_lowercase().contains("if-none-match")).count();
    assert_eq!(asked, 2);
    let same = relay.curl("/kept", &["-H", "If-None-Match: \"k\""]);
    assert_eq!((same.status, same.body.len(), same.header("content-length")), (304, 0, ""));
    for _ in 0..2 {
        assert_eq!(relay.curl("/private", &[]).text(), "mine");
    }
    assert_eq!(echo.hits.load(Ordering::SeqCst), 6);
}

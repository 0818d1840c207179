//! curl and h2load as clients, nginx as the server.

use std::process::Command;

use super::servers::Nginx;
use crate::support::relay::{Relay, Setting};

fn curl(args: &[&str]) -> (bool, Vec<u8>) {
    let done = Command::new("curl").args(["-sS", "--max-time", "30"]).args(args).output().unwrap();
    assert!(done.status.success() || done.stdout.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    (done.status.success(), done.stdout)
}

fn url(relay: &Relay, path: &str) -> String {
    format!("http://{}{path}", relay.address)
}

#[test]
fn large_bodies_are_the_same_at_the_end_over_any_pair_of_versions() {
    let (one, two) = (Nginx::start("", ""), Nginx::start("http2", ""));
    let expected = std::fs::read(one.file("big")).unwrap();
    let mut second = two.target();
    second.http2 = true;
    for target in [one.target(), second] {
        let relay = Setting::to(vec![target]).start();
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let (ok, body) = curl(&[version, &url(&relay, "/big")]);
            assert!(ok && body == expected, "{version}: {} bytes", body.len());
            let (_, head) = curl(&[version, "-I", &url(&relay, "/big")]);
            assert!(String::from_utf8_lossy(&head).to_ascii_lowercase().contains("content-length: 10000000"), "{version}");
            let (_, none) = curl(&[version, "-o", "/dev/null", "-w", "%{http_code}", &url(&relay, "/none")]);
            assert_eq!(none, b"204", "{version}");
        }
    }
}

#[test]
fn uploads_arrive_whole_over_any_pair_of_versions() {
    let put = "dav_methods PUT; create_full_put_path on;";
    let (one, two) = (Nginx::start("", put), Nginx::start("http2", put));
    let source = one.file("big");
    let expected = std::fs::read(&source).unwrap();
    let mut second = two.target();
    second.http2 = true;
    for (nginx, target) in [(&one, one.target()), (&two, second)] {
        let relay = Setting::to(vec![target]).start();
        for (i, how) in [&["--http1.1"][..], &["--http1.1", "-H", "Transfer-Encoding: chunked"], &["--http2-prior-knowledge"]]
            .iter()
            .enumerate()
        {
            let to = url(&relay, &format!("/up{i}"));
            let mut args = how.to_vec();
            args.extend(["-o", "/dev/null", "-w", "%{http_code}", "-T", source.to_str().unwrap(), &to]);
            let (ok, status) = curl(&args);
            assert!(ok && status == b"201", "{how:?}: {}", String::from_utf8_lossy(&status));
            assert!(std::fs::read(nginx.file(&format!("up{i}"))).unwrap() == expected, "{how:?}");
        }
    }
}

#[test]
fn the_host_that_was_asked_for_reaches_the_server() {
    let (one, two) = (Nginx::start("", ""), Nginx::start("http2", ""));
    let mut second = two.target();
    second.http2 = true;
    for target in [one.target(), second] {
        let relay = Setting::to(vec![target]).start();
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            assert_eq!(curl(&[version, "-H", "Host: shop.test", &url(&relay, "/host")]).1, b"shop.test", "{version}");
        }
    }
}

#[test]
fn h2load_finds_no_failed_request() {
    let nginx = Nginx::start("", "");
    let relay = Setting { threads: 2, ..Setting::to(vec![nginx.target()]) }.start();
    let done = Command::new("h2load").args(["-n", "2000", "-c", "20", "-m", "10", &url(&relay, "/small")]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    assert!(text.contains("2000 2xx"), "{text}");
}

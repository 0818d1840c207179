//! What is written of requests.

use std::sync::Arc;

use lbdeck::agent::relay::log::sink::Target;
use lbdeck::agent::relay::log::{AccessLog, DEFAULT_BUFFER, Format, LogConfig};
use lbdeck::agent::relay::route::Route;
use lbdeck::agent::relay::route::redirect::Rewrite;

use super::echo::Echo;
use crate::support::relay::Setting;

fn lines(format: Format) -> Vec<String> {
    let web = Echo::start("web", |_| None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let config = LogConfig { target: Target::File(path.clone()), format, sample: None, buffer: DEFAULT_BUFFER };
    let log = Arc::new(AccessLog::start(config, 1).unwrap());
    let rewrite = Some(Rewrite::Prefix { from: "/a".into(), to: "/b".into() });
    let setting = Setting {
        log: Some(Arc::clone(&log)),
        request_id: Some("X-Request-Id".into()),
        ..Setting::routed(&[("app", web.address)], vec![Route { rewrite, ..Route::to_pool("all", "app") }])
    };
    let relay = setting.start();
    assert_eq!(relay.curl("/a/x?q=%22", &[]).status, 200);
    assert_eq!(relay.curl("/", &["-H", "Content-Length: nonsense"]).status, 400);
    drop(relay);
    drop(log);
    std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn lines_have_the_fields_of_haproxy() {
    let lines = lines(Format::Haproxy);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let line = regex::Regex::new(concat!(
        r"^127\.0\.0\.1:\d+ \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\] main app/s1 ",
        r#"\d+/\d+/\d+/\d+/\d+ 200 \d+ - - ---- \d+/\d+/\d+/\d+/0 0/0 "GET /a/x\?q=%22 HTTP/1\.1"$"#
    ));
    assert!(line.unwrap().is_match(&lines[0]), "{lines:?}");
    assert!(lines[1].contains(" main main/<NOSRV> ") && lines[1].contains(" 400 ") && lines[1].contains(" CR-- "), "{lines:?}");
}

#[test]
fn json_has_more() {
    let lines = lines(Format::Json);
    let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (first["route"].as_str(), first["server"].as_str(), first["status"].as_u64()),
        (Some("all"), Some("s1"), Some(200))
    );
    assert_eq!(first["request"]["target"], "/a/x?q=%22");
    assert_eq!(first["request_id"].as_str().map(str::len), Some(36));
    assert!(first["request"]["user_agent"].as_str().unwrap().starts_with("curl/"));
}

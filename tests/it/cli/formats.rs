//! Every listing in every format, and that the formats say the same.

use serde_json::Value;

use super::Pair;
use crate::support::app::{HeldRequest, get};
use crate::support::fleet::Fleet;
use crate::support::haproxy::Haproxy;

/// Verbs that list or show, with the kind of their document. Each finds something on `Pair` with one held request.
const LOOKING: &[(&[&str], &str)] = &[
    (&["status"], "status"),
    (&["node", "list"], "nodes"),
    (&["node", "show"], "node_details"),
    (&["pool", "list"], "pools"),
    (&["pool", "show", "web"], "pool_details"),
    (&["server", "list"], "servers"),
    (&["server", "show", "web/web1"], "server_details"),
    (&["frontend", "list"], "frontends"),
    (&["session", "list"], "sessions"),
    (&["table", "list"], "tables"),
    (&["table", "show", "web"], "table_entries"),
    (&["cert", "list"], "certificates"),
    (&["lease", "list"], "leases"),
    (&["audit"], "operations"),
];

fn words<'a>(verb: &[&'a str], format: &'a str) -> Vec<&'a str> {
    verb.iter().copied().chain(["-o", format]).collect()
}

fn csv_rows(text: &str) -> (csv::StringRecord, Vec<csv::StringRecord>) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    // The reader refuses rows of another length than the header.
    (header, reader.records().map(Result::unwrap).collect())
}

#[test]
fn every_listing_reads_back_in_every_format() {
    let pair = Pair::start();
    let _held = HeldRequest::open(pair.lb1.frontend("web"));
    get(pair.lb2.frontend("web"), "/");
    // So that leases and the audit have something to list.
    pair.fleet.run(&["server", "weight", "web/web3", "50", "--for", "1h", "--reason", "try, \"it\"", "--yes"]).exits(0);
    for (verb, kind) in LOOKING {
        let document = pair.fleet.run(&words(verb, "json")).exits(0).json();
        assert_eq!(document["version"], 1, "{verb:?}");
        assert_eq!(document["kind"], *kind, "{verb:?}");
        assert!(document["at"].as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()), "{verb:?}");
        let items = document["items"].as_array().unwrap();
        assert!(!items.is_empty(), "{verb:?} found nothing");
        assert_eq!(document.get("unread"), None, "{verb:?}");

        let yaml = pair.fleet.run(&words(verb, "yaml")).exits(0).stdout;
        let yaml: Value = serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{verb:?}: {e}\n{yaml}"));
        assert_eq!(yaml["kind"], *kind, "{verb:?}");
        assert_eq!(yaml["items"].as_array().unwrap().len(), items.len(), "{verb:?}");

        let csv = pair.fleet.run(&words(verb, "csv")).exits(0).stdout;
        let (header, rows) = csv_rows(&csv);
        let listing = !kind.ends_with("details") && *kind != "status";
        if listing {
            assert_eq!(rows.len(), items.len(), "{verb:?}\n{csv}");
            for name in items[0].as_object().unwrap().keys().filter(|k| items[0][*k].is_string() || items[0][*k].is_number()) {
                assert!(header.iter().any(|h| h == name), "{verb:?}: {name} is not in {header:?}");
            }
        }

        let table = pair.fleet.run(verb).exits(0).stdout;
        let wide = pair.fleet.run(&words(verb, "wide")).exits(0).stdout;
        // Ages differ from run to run, so it is lines and columns that are compared.
        let (lines, columns) =
            (|t: &str| t.lines().count(), |t: &str| t.lines().next().map_or(0, |l| l.split_whitespace().count()));
        assert!(!table.trim().is_empty() && lines(&wide) >= lines(&table), "{verb:?}\n{table}\n{wide}");
        assert!(columns(&wide) >= columns(&table), "{verb:?}\n{table}\n{wide}");
        if listing {
            assert_eq!(table.lines().count(), items.len() + 1, "{verb:?}\n{table}");
        }
        for text in [&table, &wide, &csv] {
            assert!(!text.contains('\u{1b}'), "{verb:?}: colour in a pipe");
        }
    }
}

#[test]
fn what_is_read_of_nodes_carries_age_and_source() {
    let pair = Pair::start();
    let _held = HeldRequest::open(pair.lb1.frontend("web"));
    get(pair.lb2.frontend("web"), "/");
    for verb in [
        &["node", "list"],
        &["server", "list"],
        &["frontend", "list"],
        &["session", "list"],
        &["table", "list"],
        &["cert", "list"],
    ] {
        let document = pair.fleet.run(&words(verb, "json")).exits(0).json();
        for item in document["items"].as_array().unwrap() {
            assert!(item["age_ms"].is_u64(), "{verb:?}: {item}");
            assert!(item["source"].as_str().is_some_and(|s| s.contains("admin.sock")), "{verb:?}: {item}");
        }
        let header = pair.fleet.run(verb).exits(0).stdout.lines().next().unwrap().to_owned();
        assert!(header.contains("AGE") && header.contains("SOURCE"), "{verb:?}: {header}");
    }
}

#[test]
fn server_show_has_every_field_of_the_engine() {
    let pair = Pair::start();
    get(pair.lb1.frontend("web"), "/");
    let stat = || {
        let text = pair.lb1.cli("show stat");
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.trim_start_matches("# ").as_bytes());
        let columns = reader.headers().unwrap().clone();
        (columns, reader.records().map(Result::unwrap).find(|r| &r[0] == "web" && &r[1] == "web1").unwrap())
    };
    let (columns, before) = stat();
    let seen = pair.fleet.run(&["server", "show", "web/web1", "--node", "lb1", "-o", "json"]).exits(0).json();
    let fields = seen["items"][0]["fields"].as_object().unwrap();
    let (_, after) = stat();
    let mut compared = 0;
    for ((name, was), is) in columns.iter().zip(&before).zip(&after).filter(|((name, was), _)| *name != "-" && !was.is_empty()) {
        // Counters of a request that is just ending, and times since something, may differ between two readings.
        if was == is {
            assert_eq!(fields[name], was, "{name}");
            compared += 1;
        } else {
            assert!(fields.contains_key(name), "{name}");
        }
    }
    assert!(compared > 30, "{compared} fields");
}

#[test]
fn a_node_that_cannot_be_read_is_never_silent() {
    let pair = Pair::start();
    let fleet = pair.fleet.local_socket("lb3", std::path::Path::new("/nowhere/haproxy.sock"), None);
    for verb in [&["server", "list"][..], &["node", "list"], &["pool", "show", "web"], &["cert", "list"], &["status"]] {
        let ran = fleet.run(verb).exits(1);
        assert!(ran.said().contains("lb3") && ran.said().contains("/nowhere/haproxy.sock"), "{verb:?}: {ran:?}");
        let document = fleet.run(&words(verb, "json")).exits(1).json();
        assert_eq!(document["unread"][0]["node"], "lb3", "{verb:?}");
        assert!(!document["items"].as_array().unwrap().is_empty(), "{verb:?}: the others are shown");
    }
}

#[test]
fn status_tells_problems_first() {
    let mut pair = Pair::with("policies: [{pool: web, min_healthy: 3}]");
    assert!(pair.fleet.run(&["status"]).exits(0).stdout.starts_with("no problems"));
    pair.lb1.cli("set server web/web1 state maint");
    let ran = pair.fleet.run(&["status"]).exits(0);
    let first = ran.stdout.lines().next().unwrap();
    assert!(first.contains("CRITICAL") && first.contains("below minimum") && first.contains("web"), "{}", ran.stdout);
    for words in ["disagreement: web/web1", "no lease says why", "lost on next reload", "2 nodes: 2 fresh"] {
        assert!(ran.stdout.contains(words), "{words} is missing in\n{}", ran.stdout);
    }
    let document = pair.fleet.run(&["status", "-o", "json"]).exits(0).json();
    assert_eq!(document["items"][0]["problems"][0]["kind"], "pool_below_minimum");
    assert_eq!(document["items"][0]["summary"]["cells_serving"], 9);
    pair.lb2.crash();
    let ran = pair.fleet.run(&["status"]).exits(1);
    assert!(ran.stdout.lines().next().unwrap().contains("node dead: lb2"), "{}", ran.stdout);
}

#[test]
fn certificates_are_among_the_problems_where_asked_for() {
    let pair = Pair::start();
    let document = pair.fleet.run(&["cert", "list", "-o", "json"]).exits(0).json();
    assert_eq!(document["items"][0]["not_after"].as_str().map(|t| &t[..4]), Some("2040"));
    assert!(document["items"][0]["left_s"].as_i64().unwrap() > 0);
    pair.fleet.run(&["cert", "list", "--ends-within", "21d"]).exits(0).says("no certificates");
    pair.fleet.run(&["status", "--certificates"]).exits(0).says("no problems");

    let end = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(10 * 24)).to_string();
    let (year, month, day) = (&end[..4], &end[5..7], &end[8..10]);
    let ends = (year.parse().unwrap(), month.parse().unwrap(), day.parse().unwrap());
    let soon = Haproxy::builder().tls(&["soon.test"], ends).start();
    let fleet = Fleet::new().local("lb1", &soon);
    fleet.run(&["cert", "list", "--ends-within", "21d"]).exits(0).says("soon.test");
    fleet.run(&["status", "--certificates"]).exits(0).says("WARNING").says("soon.test");
}

#[test]
fn tables_fit_the_width_and_wide_ones_are_never_cut() {
    let pair = Pair::start();
    let narrow = pair.fleet.command(&["server", "list"]).env("COLUMNS", "50").output().unwrap();
    let narrow = String::from_utf8(narrow.stdout).unwrap();
    assert!(narrow.lines().all(|l| l.chars().count() <= 50), "{narrow}");
    let wide = pair.fleet.command(&["server", "list", "-o", "wide"]).env("COLUMNS", "50").output().unwrap();
    let wide = String::from_utf8(wide.stdout).unwrap();
    assert!(wide.contains(&pair.apps[0].addr.to_string()) && !wide.contains('…'), "{wide}");
}

//! Selectors: nodes, groups, zones, tags, globs, addresses, and nonsense.

use super::Pair;

fn found(pair: &Pair, words: &[&str]) -> Vec<String> {
    let words: Vec<&str> = ["server", "list", "-o", "json"].iter().chain(words).copied().collect();
    let document = pair.fleet.run(&words).exits(0).json();
    let text = |item: &serde_json::Value, name: &str| item[name].as_str().unwrap().to_owned();
    let items = document["items"].as_array().unwrap();
    items.iter().map(|i| format!("{}/{}@{}", text(i, "pool"), text(i, "server"), text(i, "node"))).collect()
}

#[test]
fn servers_by_name_glob_and_address() {
    let pair = Pair::start();
    assert_eq!(found(&pair, &["web/web1"]), ["web/web1@lb1", "web/web1@lb2"]);
    assert_eq!(found(&pair, &["web1", "--node", "lb1"]), ["api/web1@lb1", "web/web1@lb1"]);
    assert_eq!(found(&pair, &["w*/web[23]", "--node", "lb2"]), ["web/web2@lb2", "web/web3@lb2"]);
    // The same application under two names in two pools.
    let address = pair.apps[1].addr.to_string();
    assert_eq!(found(&pair, &["--address", &address, "--node", "lb1"]), ["api/other@lb1", "web/web2@lb1"]);
    assert_eq!(found(&pair, &["--address", "127.0.0.9"]), Vec::<String>::new());
}

#[test]
fn nodes_by_zone_tag_group_and_glob() {
    let pair = Pair::start();
    assert_eq!(found(&pair, &["web/web1", "--zone", "b"]), ["web/web1@lb2"]);
    assert_eq!(found(&pair, &["web/web1", "--tag", "edge"]), ["web/web1@lb1"]);
    assert_eq!(found(&pair, &["web/web1", "--group", "first"]), ["web/web1@lb1"]);
    assert_eq!(found(&pair, &["web/web1", "--node", "lb?"]), ["web/web1@lb1", "web/web1@lb2"]);
    assert_eq!(found(&pair, &["web/web1", "--node", "lb1", "--node", "lb2"]).len(), 2);
}

#[test]
fn a_selected_part_of_the_fleet_does_not_touch_the_rest() {
    let pair = Pair::start();
    let fleet = pair.fleet.local_socket("dead", std::path::Path::new("/nowhere/haproxy.sock"), None);
    fleet.run(&["server", "list", "--node", "lb*"]).exits(0);
    fleet.run(&["status", "--zone", "a"]).exits(0);
}

#[test]
fn nonsense_is_refused_with_a_hint() {
    let pair = Pair::start();
    for (words, says) in [
        (&["server", "list", "a/b/c"][..], "one slash"),
        (&["server", "list", "web["], "web["),
        (&["server", "list", "--node", "lb9"], "no node is selected"),
        (&["server", "list", "--group", "nope"], "first"),
        (&["server", "list", "--address", "10.0.0.1:99999"], "99999"),
        (&["server", "show", "web/nope"], "no server matches"),
        (&["pool", "show", "nope"], "no pool"),
        (&["pool", "list", "web/web1"], "without a slash"),
        (&["server", "drain"], "no server is named"),
        (&["server", "drain", "web/nope", "--yes"], "nope"),
        (&["server", "weight", "web/web1", "--node", "lb1", "heavy"], "not a weight"),
        (&["server", "weight", "web/web1"], "not a weight"),
        (&["server", "address", "web/web1", "web.internal"], "not an IP address"),
        (&["server", "health", "web/web1", "maybe"], "neither on nor off"),
        (&["server", "add", "web/*", "10.0.0.9:80"], "does not name one server"),
        (&["server", "add", "web/new", "10.0.0.9"], "no port"),
        (&["server", "drain", "web/web1", "--deadline", "30"], "no unit"),
        (&["server", "drain", "web/web1", "--then", "kill"], "--deadline"),
        (&["server", "list", "--output", "xml"], "xml"),
        (&["session", "list", "--limit", "0"], "limit"),
        (&["session", "kill", "0xdeadbeef", "--confirm", "x"], "no session"),
        (&["table", "clear", "web"], "--all"),
        (&["undo", "first"], "not the number"),
        (&["undo", "4711"], "4711"),
        (&["lease", "return", "nope"], "nope"),
        (&["watch", "--interval", "1ms"], "100ms"),
        (&["audit", "--since", "yesterday"], "yesterday"),
        (&["audit", "4711"], "4711"),
        (&["nonsense"], "nonsense"),
        (&["node", "exec", "lb1"], "COMMAND"),
        (&["man", "server", "explode"], "explode"),
    ] {
        let ran = pair.fleet.run(words).exits(2);
        assert!(ran.stderr.contains(says), "{words:?}: '{says}' is missing in\n{}", ran.stderr);
        assert_eq!(ran.stdout, "", "{words:?}");
    }
}

#[test]
fn a_broken_fleet_file_says_where() {
    let pair = Pair::start();
    let path = pair.fleet.file().with_file_name("broken.yaml");
    std::fs::write(&path, "nodes:\n  - name: lb1\n    colour: blue\n").unwrap();
    let ran = pair.fleet.run(&["--fleet", path.to_str().unwrap(), "status"]).exits(2);
    assert!(ran.stderr.contains("broken.yaml:3:5"), "{}", ran.stderr);
    let ran = pair.fleet.run(&["--fleet", "/nowhere.yaml", "status"]).exits(2);
    assert!(ran.stderr.contains("/nowhere.yaml") && ran.stderr.contains("--fleet"), "{}", ran.stderr);
}

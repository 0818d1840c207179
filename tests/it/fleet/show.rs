//! `fleet show`: what holds after defaults, and no secret.

use std::fs;

use crate::support::fleet::Fleet;

#[test]
fn defaults_are_merged_and_secrets_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lbdeck.yaml");
    fs::write(
        &file,
        "defaults: {ssh: {user: ops, password_command: [echo, hunter2]}, zone: fra}
nodes:
- {name: lb1, address: 10.0.0.1}
- {name: lb2, zone: ams, tags: [blue], ssh: {port: 2222}}
groups: {edge: [lb1, lb2]}
policies: [{pool: 'web*', min_healthy: 50%, confirm: typed}]
",
    )
    .unwrap();
    let show = |words: &[&str]| {
        let words = [&["fleet", "show", "--fleet", file.to_str().unwrap()], words].concat();
        Fleet::new().run(&words).exits(0)
    };
    let shown = show(&[]).stdout.replace(dir.path().to_str().unwrap(), "");
    insta::assert_snapshot!(shown, @"
    /lbdeck.yaml
      refresh     1s
      timeout     5s
      dead_after  15s
      read_only   false
      max_reply   64MiB

    nodes
    NODE  ADDRESS   ZONE  ROLE  REACH                  HAPROXY                         TAGS  GROUPS
    lb1   10.0.0.1  fra   -     ssh ops@10.0.0.1       socket /run/haproxy/admin.sock  -     edge
    lb2   lb2       ams   -     ssh ops@lb2 port 2222  socket /run/haproxy/admin.sock  blue  edge

    groups
      edge  lb1 lb2

    policies (the first that matches holds)
    POOL  MIN_HEALTHY  READ_ONLY  CONFIRM
    web*  50%          false      typed
    ");
    let json = show(&["-o", "json"]);
    assert!(!json.stdout.contains("hunter2"), "{}", json.stdout);
    let fleet = &json.json()["items"][0];
    assert_eq!(fleet["nodes"][1]["ssh"]["user"], "ops");
    assert_eq!(fleet["nodes"][1]["ssh"]["password"], "command echo");
    assert_eq!(fleet["nodes"][0]["zone"], "fra");
    assert_eq!(show(&["--zone", "ams", "-o", "json"]).json()["items"][0]["nodes"].as_array().unwrap().len(), 1);
    let yaml = show(&["-o", "yaml"]).stdout;
    assert!(yaml.contains("name: lb2") && !yaml.contains("hunter2"), "{yaml}");
    let csv = show(&["-o", "csv"]).stdout;
    assert!(csv.lines().count() == 3 && !csv.contains("hunter2"), "{csv}");
}

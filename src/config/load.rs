//! From the text of a fleet file to the typed [`Fleet`]: defaults merged in, every reference checked, all errors at once.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::diagnostic::{ConfigError, Diagnostic, Diagnostics, Place};
use super::fleet::{ConfirmLevel, Fleet, MinHealthy, PoolPolicy, Settings};
use super::nodes::{Defaults, read_defaults, read_nodes};
use super::reader::{Reader, Section, show};
use super::size::show_size;
use super::yaml::{self, Node, Value};
use super::{env, groups};

/// A fleet file may be so long: ten thousand nodes with half a page each.
const MAX_FILE: usize = 8 << 20;

/// Reads and parses a fleet file. Errors say where and how to mend it.
pub fn load(path: &Path) -> Result<Fleet, ConfigError> {
    let unreadable = |why: String| ConfigError::Unreadable { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|e| unreadable(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', good).count() + 1;
        unreadable(format!("line {line} is not UTF-8 text"))
    })?;
    parse(&text, path)
}

/// The fleet of a file's text. `path` is for errors and for what relative paths start from; `~` is this process's HOME.
pub fn parse(text: &str, path: &Path) -> Result<Fleet, ConfigError> {
    parse_at(text, path, env::home().as_deref())
}

/// [`parse`] with the home folder given.
pub fn parse_at(text: &str, path: &Path, home: Option<&Path>) -> Result<Fleet, ConfigError> {
    if text.len() > MAX_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: show_size(MAX_FILE) });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let invalid = |errors: Vec<Diagnostic>| ConfigError::Invalid(Box::new(Diagnostics::new(path, text, errors)));
    let tree = yaml::parse(text).map_err(|e| invalid(vec![e]))?;
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut reader = Reader::new(base, home);
    let fleet = read_fleet(&mut reader, &tree, path);
    match fleet {
        Some(fleet) if reader.errors.is_empty() => Ok(fleet),
        _ => Err(invalid(reader.errors)),
    }
}

fn read_fleet(reader: &mut Reader<'_>, tree: &Node, path: &Path) -> Option<Fleet> {
    if tree.value == Value::Null {
        reader.error(tree.place, "the fleet file is empty", "`lbdeck fleet init` writes one".to_owned());
        return None;
    }
    let top = reader.section(tree, "the fleet file")?;
    if let Some(version) = top.get("version")
        && version.scalar() != Some("1")
    {
        let what = format!("'version' is {}; this lbdeck reads version 1", show(version));
        reader.error(version.place, what, None);
    }
    let settings = top.get("settings").map_or_else(Settings::default, |node| read_settings(reader, node));
    let defaults = top.get("defaults").map_or_else(Defaults::default, |node| read_defaults(reader, node));
    let mut nodes = match top.get("nodes") {
        Some(node) => read_nodes(reader, node, &defaults),
        None => {
            let hint = "write `nodes:` and below it `- name: lb1`, or let `lbdeck fleet init` write the file".to_owned();
            reader.error(top.key_place("nodes"), "the fleet has no nodes", hint);
            Vec::new()
        }
    };
    let groups = top.get("groups").map_or_else(Vec::new, |node| groups::read_groups(reader, node, &mut nodes));
    let policies = top.get("policies").map_or_else(Vec::new, |node| read_policies(reader, node));
    let nodes = nodes.into_iter().map(|(spec, _)| spec).collect();
    Some(Fleet { path: path.to_owned(), nodes, groups, policies, settings })
}

fn read_settings(reader: &mut Reader<'_>, node: &Node) -> Settings {
    const LEAST: Duration = Duration::from_millis(100);
    let mut settings = Settings::default();
    let Some(section) = reader.section(node, "settings") else { return settings };
    for (key, value) in
        [("refresh", &mut settings.refresh), ("timeout", &mut settings.timeout), ("dead_after", &mut settings.dead_after)]
    {
        if let Some(duration) = section.get(key).and_then(|n| reader.duration(n, key, LEAST)) {
            *value = duration;
        }
    }
    if let Some(read_only) = section.get("read_only").and_then(|n| reader.boolean(n, "read_only")) {
        settings.read_only = read_only;
    }
    if let Some(size) = section.get("max_reply").and_then(|n| read_max_reply(reader, n)) {
        settings.max_reply = size;
    }
    settings
}

fn read_max_reply(reader: &mut Reader<'_>, node: &Node) -> Option<usize> {
    const RANGE: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 30;
    reader.size(node, "max_reply", RANGE)
}

fn read_policies(reader: &mut Reader<'_>, node: &Node) -> Vec<PoolPolicy> {
    let Value::List(items) = &node.value else {
        let hint = "write `- pool: \"web*\"` and below it min_healthy, read_only, confirm".to_owned();
        reader.error(node.place, format!("policies are a list, not {}", node.kind()), hint);
        return Vec::new();
    };
    let mut policies = Vec::new();
    // The first policy that matches holds, so one after its like, or after one for all pools, never does.
    let mut earlier: HashMap<String, usize> = HashMap::new();
    for item in items {
        let Some(section) = reader.section(item, "a policy") else { continue };
        let Some((policy, place)) = read_policy(reader, section) else { continue };
        let before = [policy.pool.as_str(), "*"].into_iter().find_map(|pool| earlier.get_key_value(pool));
        if let Some((pool, line)) = before {
            let what = format!("this policy never holds: '{pool}' in line {line} matches first");
            reader.error(place, what, "put narrow policies before wide ones".to_owned());
        }
        earlier.entry(policy.pool.clone()).or_insert(place.line);
        policies.push(policy);
    }
    policies
}

fn read_policy(reader: &mut Reader<'_>, section: Section<'_>) -> Option<(PoolPolicy, Place)> {
    let min_healthy = section.get("min_healthy").and_then(|n| read_min_healthy(reader, n));
    let read_only = section.get("read_only").and_then(|n| reader.boolean(n, "read_only")).unwrap_or(false);
    let confirm = section.get("confirm").and_then(|n| read_confirm(reader, n));
    let Some(node) = section.get("pool") else {
        reader.error(section.place(), "a policy needs 'pool'", "the name of a pool, or a glob such as \"web*\"".to_owned());
        return None;
    };
    let pool = reader.text(node, "pool")?;
    if let Err(why) = globset::Glob::new(&pool) {
        reader.error(node.place, format!("'pool': '{pool}' is not a glob: {}", why.kind()), None);
        return None;
    }
    Some((PoolPolicy { pool, min_healthy, read_only, confirm }, node.place))
}

fn read_min_healthy(reader: &mut Reader<'_>, node: &Node) -> Option<MinHealthy> {
    let read = node.scalar().and_then(|text| match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse().ok().filter(|p| *p <= 100).map(MinHealthy::Percent),
        None => text.trim().parse().ok().map(MinHealthy::Count),
    });
    if read.is_none() {
        let what = format!("'min_healthy' is a number of servers or a percentage, not {}", show(node));
        reader.error(node.place, what, "write for instance 2 or 50%".to_owned());
    }
    read
}

fn read_confirm(reader: &mut Reader<'_>, node: &Node) -> Option<ConfirmLevel> {
    const LEVELS: [(&str, ConfirmLevel); 3] =
        [("none", ConfirmLevel::None), ("ask", ConfirmLevel::Ask), ("typed", ConfirmLevel::Typed)];
    reader.word(node, "confirm", &LEVELS)
}

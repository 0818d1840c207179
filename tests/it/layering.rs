//! Dependencies point one way (DESIGN.md): this reads the sources and keeps it so.

use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may name of the crate. `app` and `lab` compose and may see all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &["model"]),
    ("config", &["model", "config"]),
    ("transport", &["model", "config", "transport"]),
    ("store", &["model", "config", "store"]),
    // Probes know nothing of drills: the agent uses them too.
    ("probe", &["model", "probe"]),
    ("engine", &["model", "config", "transport", "engine"]),
    ("collect", &["model", "config", "store", "engine", "collect", "transport"]),
    ("ops", &["model", "config", "transport", "store", "engine", "probe", "ops"]),
    // The agent gives leases back by the way that every change takes, so it may see the layer of mutation.
    ("agent", &["model", "config", "transport", "store", "engine", "probe", "ops", "agent"]),
    ("drill", &["model", "config", "store", "probe", "collect", "ops", "drill"]),
    ("tui", &["model", "config", "store", "collect", "ops", "drill", "app", "tui"]),
    ("cli", &["model", "config", "store", "collect", "probe", "ops", "drill", "app", "tui", "lab", "agent", "cli"]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Names that follow `crate::` in code, with `use crate::{a::…, b}` groups taken apart at their first level.
fn crate_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line_part in text.split("crate::").skip(1) {
        if let Some(group) = line_part.strip_prefix('{') {
            let (mut depth, mut word, mut at_start) = (0usize, String::new(), true);
            for c in group.chars() {
                if depth == 0 && at_start && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                    continue;
                }
                if !word.is_empty() {
                    names.push(std::mem::take(&mut word));
                    at_start = false;
                }
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => at_start = true,
                    _ => {}
                }
            }
        } else {
            names.push(line_part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

#[test]
fn dependencies_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (layer, allowed) in ALLOWED {
        let mut files = Vec::new();
        sources(&root.join(layer), &mut files);
        assert!(!files.is_empty(), "layer {layer} has no sources");
        for file in files {
            let text: String = fs::read_to_string(&file)
                .unwrap()
                .lines()
                .filter(|l| !l.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            for name in crate_names(&text) {
                let is_layer = ["app", "lab"].contains(&name.as_str()) || ALLOWED.iter().any(|(l, _)| *l == name);
                if is_layer && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{} names crate::{name}", file.strip_prefix(&root).unwrap().display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "layering:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_groups() {
    assert_eq!(crate_names("use crate::{model::{A, B}, engine, ops::plan}; crate::tui::x()"), ["model", "engine", "ops", "tui"]);
}

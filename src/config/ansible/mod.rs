//! Ansible inventories (INI, YAML, and the JSON of `ansible-inventory --list`), as far as `fleet init` needs them: hosts,
//! groups, and the variables that say how a host is reached. Pure; compared with `ansible-inventory` in the tests.
//!
//! Templates (`{{ … }}`) and vaults are not evaluated: whoever asks for such a variable gets it as written and can tell.

mod ini;
mod load;
mod nodes;
mod range;
mod yaml_form;

pub use load::load;
pub use nodes::to_nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::diagnostic::{ConfigError, Diagnostic, Diagnostics, Place};
use super::yaml::{Node, Value};

/// Hosts at most, ranges expanded: far beyond every fleet, and a bound on `[1:999999999]`.
const MAX_HOSTS: usize = 100_000;

/// Variables with scalar values, as text.
pub type Vars = BTreeMap<String, String>;

#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// In the order of the file.
    hosts: Vec<String>,
    host_vars: BTreeMap<String, Vars>,
    groups: BTreeMap<String, Group>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    hosts: BTreeSet<String>,
    children: BTreeSet<String>,
    vars: Vars,
}

/// The text of an inventory. `path` is for errors, and its ending says which form is tried first, as Ansible does it.
///
/// # Errors
/// [`ConfigError::Invalid`] with every line that is wrong.
pub fn parse(text: &str, path: &Path) -> Result<Inventory, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let as_yaml = || yaml_form::parse(text);
    let read = match extension.as_str() {
        "yaml" | "yml" | "json" => as_yaml(),
        "" => as_yaml().or_else(|_| ini::parse(text)),
        _ => ini::parse(text),
    };
    read.map_err(|errors| ConfigError::Invalid(Box::new(Diagnostics::new(path, text, errors))))
}

impl Inventory {
    /// Hosts in the order of the file.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Groups but `all` and `ungrouped`; each after the groups it holds.
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut names: Vec<(usize, &str)> =
            self.groups.keys().filter(|n| !is_builtin(n)).map(|n| (self.depth(n), n.as_str())).collect();
        names.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        names.into_iter().map(|(_, name)| (name, self.members(name))).collect()
    }

    /// Hosts of a group and of the groups it holds, in the order of the file.
    pub fn members(&self, group: &str) -> Vec<&str> {
        let all = group == "all";
        let family = self.family(group);
        let holds = |host: &str| all || family.iter().any(|g| self.groups.get(*g).is_some_and(|g| g.hosts.contains(host)));
        self.hosts.iter().map(String::as_str).filter(|h| holds(h)).collect()
    }

    /// What holds for a host: the variables of its groups from the outermost to the innermost, then its own.
    pub fn vars(&self, host: &str) -> Vars {
        let mut of: Vec<(usize, i64, &str, &Group)> = self
            .groups
            .iter()
            .filter(|(name, _)| *name == "all" || self.family(name).iter().any(|g| self.directly(g, host)))
            .map(|(name, group)| {
                let priority = group.vars.get("ansible_group_priority").and_then(|p| p.parse().ok()).unwrap_or(1);
                (self.depth(name), priority, name.as_str(), group)
            })
            .collect();
        of.sort_by_key(|(depth, priority, name, _)| (*depth, *priority, *name));
        let mut vars = Vars::new();
        for (_, _, _, group) in of {
            vars.extend(group.vars.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        vars.remove("ansible_group_priority");
        vars.extend(self.host_vars.get(host).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        vars
    }

    /// Names of all groups, `all` too: those for which `group_vars/NAME` may exist.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str).filter(|n| *n != "all").chain(std::iter::once("all"))
    }

    /// Adds what a file of `group_vars` says; it wins over the inventory itself.
    pub fn add_group_vars(&mut self, group: &str, vars: Vars) {
        self.groups.entry(group.to_owned()).or_default().vars.extend(vars);
    }

    /// Adds what a file of `host_vars` says; it wins over the inventory itself.
    pub fn add_host_vars(&mut self, host: &str, vars: Vars) {
        self.host_vars.entry(host.to_owned()).or_default().extend(vars);
    }

    fn directly(&self, group: &str, host: &str) -> bool {
        if group == "ungrouped" {
            return !self.groups.iter().any(|(name, g)| !is_builtin(name) && g.hosts.contains(host));
        }
        self.groups.get(group).is_some_and(|g| g.hosts.contains(host))
    }

    /// The group and every group below it.
    fn family<'a>(&'a self, group: &'a str) -> BTreeSet<&'a str> {
        let (mut family, mut next) = (BTreeSet::new(), vec![group]);
        while let Some(name) = next.pop() {
            if family.insert(name) {
                next.extend(self.groups.get(name).into_iter().flat_map(|g| g.children.iter().map(String::as_str)));
            }
        }
        family
    }

    /// Steps from `all` by the longest way, as Ansible counts them. Loops were refused when the inventory was read.
    fn depth(&self, group: &str) -> usize {
        if group == "all" {
            return 0;
        }
        let mut depth = 1;
        let mut level = BTreeSet::from([group]);
        loop {
            let parents: BTreeSet<&str> = self
                .groups
                .iter()
                .filter(|(name, g)| *name != "all" && level.iter().any(|child| g.children.contains(*child)))
                .map(|(name, _)| name.as_str())
                .collect();
            if parents.is_empty() || depth > self.groups.len() {
                return depth;
            }
            level = parents;
            depth += 1;
        }
    }

    fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    fn add_host(&mut self, group: &str, name: &str) -> Result<(), String> {
        if !self.host_vars.contains_key(name) {
            if self.hosts.len() >= MAX_HOSTS {
                return Err(format!("more than {MAX_HOSTS} hosts"));
            }
            self.hosts.push(name.to_owned());
            self.host_vars.insert(name.to_owned(), Vars::new());
        }
        self.group(group).hosts.insert(name.to_owned());
        Ok(())
    }

    /// A group that holds itself, by name.
    fn holds_itself(&self) -> Option<&str> {
        self.groups.iter().find_map(|(name, group)| {
            let below = group.children.iter().flat_map(|c| self.family(c)).any(|g| g == name);
            below.then_some(name.as_str())
        })
    }
}

/// The scalar variables of one YAML mapping (a file of `group_vars`, `vars:` of a group, a host's own).
pub fn vars_of(node: &Node) -> Vars {
    node.entries()
        .iter()
        .filter_map(|entry| {
            let value = match &entry.value.value {
                Value::Text(text) | Value::Number(text) => text.clone(),
                Value::Bool(value) => value.to_string(),
                Value::Null | Value::List(_) | Value::Map(_) => return None,
            };
            Some((entry.key.clone(), value))
        })
        .collect()
}

/// The variables of a file of `group_vars` or `host_vars`; an encrypted one is an error in words.
pub fn parse_vars(text: &str, path: &Path) -> Result<Vars, ConfigError> {
    let invalid = |d: Diagnostic| ConfigError::Invalid(Box::new(Diagnostics::new(path, text, vec![d])));
    if text.starts_with("$ANSIBLE_VAULT") {
        let what = "the file is encrypted by ansible-vault, and lbdeck does not open it".to_owned();
        return Err(ConfigError::Unreadable { path: path.to_owned(), why: what });
    }
    super::yaml::parse(text).map(|node| vars_of(&node)).map_err(invalid)
}

fn is_builtin(group: &str) -> bool {
    matches!(group, "all" | "ungrouped")
}

fn diagnostic(line: usize, what: impl Into<String>, hint: impl Into<Option<String>>) -> Diagnostic {
    Diagnostic { place: Place { line, column: 1, width: usize::MAX }, what: what.into(), hint: hint.into() }
}

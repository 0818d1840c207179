//! The YAML form (`all: {hosts, vars, children}`), and the JSON that `ansible-inventory --list` and scripts print.

use super::super::yaml::{self, Node, Value};
use super::{Diagnostic, Inventory, MAX_HOSTS, range, vars_of};

/// Groups within groups; the YAML reader bounds the text, this bounds our own recursion.
const MAX_DEPTH: usize = 20;

pub(super) fn parse(text: &str) -> Result<Inventory, Vec<Diagnostic>> {
    let tree = yaml::parse(text).map_err(|e| vec![e])?;
    let mut form = Form { inventory: Inventory::default(), errors: Vec::new() };
    match &tree.value {
        Value::Map(entries) if tree.get("_meta").is_some() => {
            for entry in entries.iter().filter(|e| e.key != "_meta") {
                form.list_group(&entry.key, &entry.value);
            }
            form.hostvars(&tree);
        }
        Value::Map(entries) => {
            for entry in entries {
                form.group(&entry.key, &entry.value, 0);
            }
        }
        _ => form.error(&tree, "an inventory is a mapping of groups", "begin with `all:` and below it `hosts:`"),
    }
    if form.errors.is_empty()
        && let Some(name) = form.inventory.holds_itself()
    {
        let what = format!("the group '{name}' holds itself");
        form.error(&tree, &what, None);
    }
    if form.errors.is_empty() { Ok(form.inventory) } else { Err(form.errors) }
}

struct Form {
    inventory: Inventory,
    errors: Vec<Diagnostic>,
}

impl Form {
    fn error<'h>(&mut self, node: &Node, what: &str, hint: impl Into<Option<&'h str>>) {
        let hint = hint.into().map(str::to_owned);
        self.errors.push(Diagnostic { place: node.place, what: what.to_owned(), hint });
    }

    fn group(&mut self, name: &str, node: &Node, depth: usize) {
        if depth > MAX_DEPTH {
            return self.error(node, &format!("groups nest deeper than {MAX_DEPTH}"), None);
        }
        self.inventory.group(name);
        let entries = match &node.value {
            Value::Null => return,
            Value::Map(entries) => entries,
            _ => {
                return self.error(
                    node,
                    &format!("the group '{name}' is a mapping, not {}", node.kind()),
                    "keys: hosts, vars, children",
                );
            }
        };
        for entry in entries {
            let value = &entry.value;
            match (entry.key.as_str(), &value.value) {
                (_, Value::Null) => {}
                ("vars", Value::Map(_)) => self.inventory.add_group_vars(name, vars_of(value)),
                ("hosts", Value::Map(hosts)) => {
                    for host in hosts {
                        self.host(name, &host.key, &host.value);
                    }
                }
                ("hosts", Value::Text(host)) => self.host(name, host, value),
                ("children", Value::Map(children)) => {
                    for child in children {
                        self.inventory.group(name).children.insert(child.key.clone());
                        self.group(&child.key, &child.value, depth + 1);
                    }
                }
                ("children", Value::Text(child)) => {
                    self.inventory.group(name).children.insert(child.clone());
                    self.inventory.group(child);
                }
                (key @ ("vars" | "hosts" | "children"), _) => {
                    let what = format!("'{key}' of the group '{name}' is a mapping, not {}", value.kind());
                    let hint = if key == "hosts" { "write each host as `name:`" } else { "write `name: value`" };
                    self.error(value, &what, hint);
                }
                // Ansible ignores other keys with a warning; a fleet needs nothing of them.
                _ => {}
            }
        }
    }

    fn host(&mut self, group: &str, pattern: &str, node: &Node) {
        let added = range::expand(pattern, MAX_HOSTS).and_then(|(names, port)| {
            for name in names {
                self.inventory.add_host(group, &name)?;
                let mut vars = vars_of(node);
                if let Some(port) = port {
                    vars.entry("ansible_port".to_owned()).or_insert_with(|| port.to_string());
                }
                self.inventory.add_host_vars(&name, vars);
            }
            Ok(())
        });
        if let Err(what) = added {
            self.error(node, &what, None);
        }
    }

    /// A group of the `--list` form: lists of names.
    fn list_group(&mut self, name: &str, node: &Node) {
        self.inventory.group(name);
        let names = |key: &str| match node.get(key).map(|n| &n.value) {
            Some(Value::List(items)) => items.iter().filter_map(Node::scalar).collect(),
            _ => Vec::new(),
        };
        let hosts = match &node.value {
            Value::List(items) => items.iter().filter_map(Node::scalar).collect(),
            _ => names("hosts"),
        };
        for host in hosts {
            if let Err(what) = self.inventory.add_host(name, host) {
                self.error(node, &what, None);
            }
        }
        for child in names("children") {
            self.inventory.group(name).children.insert(child.to_owned());
        }
        if let Some(vars) = node.get("vars") {
            self.inventory.add_group_vars(name, vars_of(vars));
        }
    }

    fn hostvars(&mut self, tree: &Node) {
        let hostvars = tree.get("_meta").and_then(|meta| meta.get("hostvars"));
        for entry in hostvars.map(Node::entries).unwrap_or_default() {
            if self.inventory.host_vars.contains_key(&entry.key) {
                self.inventory.add_host_vars(&entry.key, vars_of(&entry.value));
            }
        }
    }
}

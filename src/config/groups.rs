//! The `groups` section: names for sets of nodes, given as nodes, globs over their names, or groups that stand above.

use std::collections::{BTreeSet, HashMap};

use super::diagnostic::Place;
use super::fleet::NodeSpec;
use super::nodes::name_is_good;
use super::reader::{Reader, nearest};
use super::yaml::{Entry, Node, Value};

/// Far more than people can keep apart; bounds the work of a hostile file.
const MAX_GROUPS: usize = 1000;

/// Reads the groups, writes their names into the nodes they hold, and yields the names.
pub(super) fn read_groups(reader: &mut Reader<'_>, node: &Node, nodes: &mut [(NodeSpec, Place)]) -> Vec<String> {
    let Value::Map(entries) = &node.value else {
        let hint = "write for instance `edge: [lb1, \"lb2*\"]`".to_owned();
        reader.error(node.place, format!("groups are a mapping of names to nodes, not {}", node.kind()), hint);
        return Vec::new();
    };
    if entries.len() > MAX_GROUPS {
        reader.error(node.place, format!("{} groups are too many (at most {MAX_GROUPS})", entries.len()), None);
        return Vec::new();
    }
    reader.duplicates(node);
    let names: Vec<String> = nodes.iter().map(|(n, _)| n.meta.name.to_string()).collect();
    let index: HashMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    // A group holds only groups above it: nothing can hold itself, and one pass is enough.
    let mut above: HashMap<&str, BTreeSet<usize>> = HashMap::new();
    for (i, entry) in entries.iter().enumerate() {
        if let Err(why) = name_is_good(&entry.key) {
            reader.error(entry.place, format!("group '{}' {why}", entry.key), None);
        } else if index.contains_key(entry.key.as_str()) {
            let hint = "selectors could not tell them apart; rename the group".to_owned();
            reader.error(entry.place, format!("group '{}' has the name of a node", entry.key), hint);
        }
        let below = entries.get(i..).unwrap_or_default();
        let members = read_members(reader, entry, &Known { names: &names, index: &index, above: &above, below });
        above.entry(&entry.key).or_insert(members);
    }
    for entry in entries {
        for i in above.remove(entry.key.as_str()).unwrap_or_default() {
            if let Some((spec, _)) = nodes.get_mut(i) {
                spec.meta.groups.push(entry.key.clone());
            }
        }
    }
    entries.iter().map(|e| e.key.clone()).collect()
}

/// What members of a group may name.
struct Known<'k> {
    names: &'k [String],
    index: &'k HashMap<&'k str, usize>,
    above: &'k HashMap<&'k str, BTreeSet<usize>>,
    below: &'k [Entry],
}

fn read_members(reader: &mut Reader<'_>, entry: &Entry, known: &Known<'_>) -> BTreeSet<usize> {
    let mut members = BTreeSet::new();
    for (text, place) in reader.texts(&entry.value, &entry.key) {
        if let Some(i) = known.index.get(text.as_str()) {
            members.insert(*i);
        } else if let Some(group) = known.above.get(text.as_str()) {
            members.extend(group);
        } else if known.below.iter().any(|e| e.key == text) {
            let what = format!("group '{}' holds '{text}', which does not stand above it", entry.key);
            reader.error(place, what, "groups hold only groups that stand above them; move it up".to_owned());
        } else if text.contains(['*', '?', '[', '{']) {
            match globset::Glob::new(&text) {
                Ok(glob) => {
                    let matcher = glob.compile_matcher();
                    members.extend(known.names.iter().enumerate().filter(|(_, n)| matcher.is_match(n.as_str())).map(|(i, _)| i));
                }
                Err(why) => reader.error(place, format!("'{text}' is not a glob: {}", why.kind()), None),
            }
        } else {
            let candidates = known.names.iter().map(String::as_str).chain(known.above.keys().copied());
            let hint = nearest(&text, candidates).map(|n| format!("did you mean '{n}'?"));
            let what = format!("group '{}' names '{text}', which is neither a node nor a group", entry.key);
            reader.error(place, what, hint);
        }
    }
    members
}

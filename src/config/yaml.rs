//! YAML as a tree whose every node knows its place, so that errors about meaning can point at what was written.
//!
//! The tree keeps scalars as they were written (`zone: 01` stays `01`), refuses alias bombs and deep nesting, and leaves
//! duplicate keys in, for the reader to report all of them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Options, Spanned};

use super::diagnostic::{Diagnostic, Place};

/// Events that aliases may replay in all. Ten thousand nodes that share one block of ten keys fit.
const MAX_REPLAYED: usize = 200_000;
const MAX_NODES: usize = 1_000_000;
const MAX_DEPTH: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// What it is, in words for errors.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "empty",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of the first key of that name.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// Text or number, as written.
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads one document. The only error is one of form (syntax, limits): meaning is the reader's business.
pub fn parse(text: &str) -> Result<Node, Diagnostic> {
    let raw: Option<RawNode> = serde_saphyr::from_str_with_options(text, options()).map_err(|e| diagnose(&e, text))?;
    Ok(match raw {
        Some(raw) => raw.build(text),
        None => Node { value: Value::Null, place: Place { line: 1, column: 1, width: 1 } },
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED, max_replay_stack_depth: 8 },
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            // One anchor that every node of a large fleet refers to is ordinary.
            enforce_alias_anchor_ratio: false,
        },
    }
}

fn diagnose(error: &serde_saphyr::Error, source: &str) -> Diagnostic {
    use serde_saphyr::Error as E;
    let error = error.without_snippet();
    let place = error.location().map_or(Place { line: 1, column: 1, width: 1 }, place);
    // What went wrong inside an alias is wrapped once for each alias on the way.
    let mut error = error;
    while let E::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let (what, hint) = match error {
        E::Budget { .. } | E::AliasReplayLimitExceeded { .. } | E::AliasReplayStackDepthExceeded { .. } => beyond_limits(),
        E::UnknownAnchor { .. } => ("the alias names an anchor that is not defined above".to_owned(), None),
        E::MultipleDocuments { .. } => {
            ("a second document begins here".to_owned(), Some("the file is to be one document; remove the '---'".to_owned()))
        }
        E::Eof { .. } => ("the file ends in the middle of a value".to_owned(), None),
        _ => {
            let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            let text = text.lines().next().unwrap_or_default().to_owned();
            if text.contains("recursion limit") {
                let (what, hint) = beyond_limits();
                return Diagnostic { place, what, hint };
            }
            if text.to_lowercase().contains("tab")
                && let Some(place) = tab_in_indentation(source, place.line)
            {
                let what = "a tab in the indentation, which YAML does not allow".to_owned();
                return Diagnostic { place, what, hint: Some("indent with spaces".to_owned()) };
            }
            (format!("not valid YAML: {}", without_position(&text)), syntax_hint(&text))
        }
    };
    Diagnostic { place, what, hint }
}

fn beyond_limits() -> (String, Option<String>) {
    (
        "the file grows beyond everything sensible (nesting, aliases or number of values)".to_owned(),
        Some(format!("at most {MAX_DEPTH} levels, {MAX_NODES} values, {MAX_REPLAYED} repeated by aliases")),
    )
}

/// The message without a position at its end or start: every diagnostic shows its own.
fn without_position(message: &str) -> &str {
    let message = message.split(" at line ").next().unwrap_or(message);
    message.strip_prefix("error: ").unwrap_or(message).trim_end_matches(':')
}

fn syntax_hint(message: &str) -> Option<String> {
    message
        .contains("mapping values are not allowed")
        .then(|| "quote values that hold ': ', and align the keys of one mapping".to_owned())
}

/// The first tab among the spaces that begin a line, from a line on: the parser reports where the value before it began.
fn tab_in_indentation(source: &str, from: usize) -> Option<Place> {
    source.lines().enumerate().skip(from - 1).find_map(|(i, line)| {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let tab = line.get(..indent)?.find('\t')?;
        Some(Place { line: i + 1, column: tab + 1, width: 1 })
    })
}

fn place(location: Location) -> Place {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
    Place { line: number(location.line()), column: number(location.column()), width: number(location.span().len()) }
}

/// The tree as serde yields it; numbers get their written form from the source afterwards.
struct RawNode(Spanned<RawValue>);

enum RawValue {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<RawNode>),
    Map(Vec<(Spanned<String>, RawNode)>),
}

impl RawNode {
    fn build(self, source: &str) -> Node {
        let location = self.0.defined;
        let value = match self.0.value {
            RawValue::Null => Value::Null,
            RawValue::Bool(b) => Value::Bool(b),
            RawValue::Number(read) => Value::Number(written(source, location).unwrap_or(read)),
            RawValue::Text(text) => Value::Text(text),
            RawValue::List(items) => Value::List(items.into_iter().map(|n| n.build(source)).collect()),
            RawValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry { place: place(key.defined), key: key.value, value: value.build(source) })
                    .collect(),
            ),
        };
        Node { value, place: place(location) }
    }
}

fn written(source: &str, location: Location) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let len = usize::try_from(location.span().byte_len()?).ok()?;
    let text = source.get(start..start.checked_add(len)?)?.trim();
    text.bytes().next().filter(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.'))?;
    Some(text.to_owned())
}

impl<'de> Deserialize<'de> for RawNode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Spanned::deserialize(d).map(RawNode)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<RawValue, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }
    fn visit_i128<E: de::Error>(self, value: i128) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }
    fn visit_u128<E: de::Error>(self, value: u128) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(node: &Node) -> &str {
        node.scalar().unwrap_or("-")
    }

    #[test]
    fn scalars_stay_as_written_and_know_their_place() {
        let tree = parse("zone: 01\nport: 0x10\nratio: 1.10\nname: yes\non: true\naddress: 10.0.0.1\nnothing:\n").unwrap();
        let values: Vec<&str> =
            ["zone", "port", "ratio", "name", "address"].iter().map(|k| text_of(tree.get(k).unwrap())).collect();
        assert_eq!(values, ["01", "0x10", "1.10", "yes", "10.0.0.1"]);
        assert_eq!(tree.get("on").unwrap().value, Value::Bool(true));
        assert_eq!(tree.get("nothing").unwrap().value, Value::Null);
        assert_eq!(tree.get("ratio").unwrap().place, Place { line: 3, column: 8, width: 4 });
        assert_eq!(tree.entries()[3].place, Place { line: 4, column: 1, width: 4 });
    }

    #[test]
    fn aliases_and_merges_are_followed_to_where_they_were_defined() {
        let tree = parse("a: &a {user: ops, port: 0022}\nb: *a\nc: {<<: *a, user: root}\n").unwrap();
        assert_eq!(text_of(tree.get("b").unwrap().get("port").unwrap()), "0022");
        assert_eq!(text_of(tree.get("c").unwrap().get("user").unwrap()), "root");
        assert_eq!(text_of(tree.get("c").unwrap().get("port").unwrap()), "0022");
        assert_eq!(tree.get("b").unwrap().get("port").unwrap().place.line, 1);
    }

    #[test]
    fn duplicate_keys_are_left_for_the_reader() {
        assert_eq!(parse("a: 1\na: 2\n").unwrap().entries().len(), 2);
    }
}

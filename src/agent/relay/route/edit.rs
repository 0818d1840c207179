//! Edits of header fields: set, add, remove, in the order written.

use super::template::{Template, Vars};
use crate::agent::relay::http::head::Headers;

/// One change of a header.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Replaces all fields of this name by one.
    Set(Box<str>, Template),
    /// Adds one field and leaves those that are there.
    Add(Box<str>, Template),
    Remove(Box<str>),
}

/// All changes of one direction: removals first, then what is set, then what is added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits(pub Vec<Edit>);

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn apply(&self, headers: &mut Headers, vars: &Vars<'_>) {
        let mut text = String::new();
        for edit in &self.0 {
            match edit {
                Edit::Remove(name) => {
                    headers.remove(&**name);
                }
                Edit::Set(name, value) => headers.set(&**name, rendered(value, vars, &mut text)),
                Edit::Add(name, value) => headers.add(&**name, rendered(value, vars, &mut text)),
            }
        }
    }
}

fn rendered<'t>(value: &'t Template, vars: &Vars<'_>, text: &'t mut String) -> &'t str {
    if let Some(literal) = value.as_literal() {
        return literal;
    }
    text.clear();
    value.write(vars, text);
    text
}

/// Names of fields that no edit may touch, because the relay frames messages by them (RFC 9110, 7.6.1; RFC 9112, 6).
const FRAMING: &[&str] =
    &["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// A name that a field may have (RFC 9110, 5.1: a token) and an edit may change.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("'{name}' is no name of a header"));
    }
    if FRAMING.iter().any(|f| f.eq_ignore_ascii_case(name)) {
        return Err(format!("'{name}' frames messages and is written by the relay itself"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::template::tests::vars;
    use super::*;

    #[test]
    fn edits_apply_in_order() {
        let mut headers = Headers::new();
        headers.add("X-Old", "1");
        headers.add("Server", "nginx");
        headers.add("server", "again");
        let edits = Edits(vec![
            Edit::Remove("x-old".into()),
            Edit::Set("Server".into(), Template::parse("lb {listener}").unwrap()),
            Edit::Add("Via".into(), Template::parse("1.1 {host}").unwrap()),
            Edit::Add("Via".into(), Template::parse("fixed").unwrap()),
        ]);
        edits.apply(&mut headers, &vars());
        let shown: Vec<String> =
            headers.iter().map(|(n, v)| format!("{}={}", String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect();
        assert_eq!(shown, ["Server=lb web", "Via=1.1 example.org", "Via=fixed"]);
    }

    #[test]
    fn names_that_frame_or_are_none_are_refused() {
        for bad in ["", "a b", "a:", "Content-Length", "transfer-encoding", "é", "a\r\n"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name("X-Frame-Options").is_ok());
    }
}

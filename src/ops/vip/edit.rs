//! Puts a weighted track file into a configuration of keepalived: lines are added, everything else stays byte for byte. Pure.

use crate::engine::keepalived::syntax::{self, Statement};

/// Name of the tracked file in the configuration.
pub const NAME: &str = "lbdeck_planned";

/// A configuration with what was put in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edited {
    pub text: String,
    /// The lines that are new, with a `+`.
    pub diff: Vec<String>,
}

/// `text` with a track file at `path` that the given instances watch.
///
/// # Errors
/// Why it cannot be done, in words (the text cannot be read, an instance is not in this file).
pub fn with_track_file(text: &str, instances: &[String], path: &str) -> Result<Edited, String> {
    let parsed = syntax::parse(text).map_err(|e| e.to_string())?;
    let eol = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut insertions: Vec<(usize, Vec<String>)> = Vec::new();
    let mut first = text.len();
    for name in instances {
        let Some(instance) = parsed.iter().find(|s| s.keyword() == "vrrp_instance" && s.word(1) == Some(name)) else {
            return Err(format!("vrrp_instance {name} is not in this file"));
        };
        let Some(block) = &instance.block else { return Err(format!("vrrp_instance {name} has no block")) };
        first = first.min(line_start(text, instance.words.first().map_or(block.open, |w| w.start)));
        let lists: Vec<&Statement> = block.statements.iter().filter(|s| s.keyword() == "track_file").collect();
        match lists.first().and_then(|s| s.block.as_ref()) {
            Some(list) => insertions.push((list.open, vec![format!("        {NAME} weight 1")])),
            None => insertions.push((
                before_brace(text, block.close),
                vec!["    track_file {".into(), format!("        {NAME} weight 1"), "    }".into()],
            )),
        }
    }
    insertions.push((
        first,
        vec![
            format!("# Added by lbdeck: a number in this file moves the priority (planned failover)."),
            format!("vrrp_track_file {NAME} {{"),
            format!("    file {path}"),
            "    weight 1".into(),
            "    init_file 0".into(),
            "}".into(),
        ],
    ));
    insertions.sort_by_key(|(at, _)| *at);
    let mut diff = Vec::new();
    let mut out = String::with_capacity(text.len() + 512);
    let mut done = 0;
    for (at, lines) in &insertions {
        out.push_str(text.get(done..*at).unwrap_or_default());
        // In the middle of a line: behind `track_file {`, or before a closing brace on the line of its block.
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str(eol);
        }
        for line in lines {
            out.push_str(line);
            out.push_str(eol);
            diff.push(format!("+ {line}"));
        }
        done = *at;
        let rest = text.get(done..).unwrap_or_default();
        // What was behind the insertion on its line goes on; an end of line is there already.
        if let Some(end) = rest.find('\n').filter(|end| rest.get(..*end).is_some_and(|r| r.trim().is_empty()))
            && *at != line_start(text, *at)
        {
            done += end + 1;
        }
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(Edited { text: out, diff })
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|head| head.rfind('\n')).map_or(0, |end| end + 1)
}

/// The start of the line of a closing brace where nothing stands before it, else the brace itself.
fn before_brace(text: &str, close: usize) -> usize {
    let start = line_start(text, close);
    if text.get(start..close).is_some_and(|head| head.trim().is_empty()) { start } else { close }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> String {
        with_track_file(text, &["V".into()], "/etc/keepalived/p").unwrap().text
    }

    #[test]
    fn only_lines_are_added() {
        let text = "! mine\n\nvrrp_instance V { # here\n\tpriority 10\n}\ninclude x\n";
        let new = added(text);
        let mut rest = new.lines();
        for line in text.lines() {
            assert!(rest.any(|l| l == line), "'{line}' is lost or moved in\n{new}");
        }
        assert!(new.contains("\tpriority 10\n    track_file {\n        lbdeck_planned weight 1\n    }\n}\ninclude x\n"), "{new}");
        assert!(new.contains("! mine\n\n# Added by lbdeck"), "{new}");
        let settings = crate::engine::keepalived::settings::read(
            &[crate::engine::keepalived::settings::File { path: "/x".into(), text: new }],
            "h",
        )
        .unwrap();
        assert_eq!(settings.instances[0].track_files[0].path, "/etc/keepalived/p");
        assert_eq!(settings.instances[0].track_files[0].weight, 1);
    }

    #[test]
    fn lists_that_are_there_crlf_and_one_line() {
        let new = added("vrrp_instance V {\r\n track_file {\r\n  mine\r\n }\r\n}\r\n");
        assert!(new.contains(" track_file {\r\n        lbdeck_planned weight 1\r\n  mine\r\n }\r\n}\r\n"), "{new:?}");
        assert_eq!(new.matches('\n').count(), new.matches("\r\n").count(), "{new:?}");
        for one_line in ["vrrp_instance V { priority 10 }\n", "vrrp_instance V { track_file { mine } }"] {
            let new = added(one_line);
            let parsed = syntax::parse(&new).unwrap();
            assert_eq!(parsed.len(), 2, "{new}");
            assert!(syntax::parse(&new).is_ok() && new.contains("lbdeck_planned weight 1"), "{new}");
        }
        assert!(with_track_file("vrrp_instance W { }", &["V".into()], "/p").unwrap_err().contains("not in this file"));
        assert!(with_track_file("vrrp_instance V {", &["V".into()], "/p").is_err());
    }
}

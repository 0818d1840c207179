//! The INI form: `[group]`, `[group:children]`, `[group:vars]`, hosts with variables behind them.

use std::collections::BTreeMap;

use super::{Diagnostic, Inventory, MAX_HOSTS, diagnostic, range};

enum Section {
    Hosts(String),
    Children(String),
    Vars(String),
}

pub(super) fn parse(text: &str) -> Result<Inventory, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut inventory = Inventory::default();
    // Groups that are only referred to must be defined somewhere; the line is for the error.
    let (mut defined, mut referred) = (BTreeMap::new(), BTreeMap::new());
    let mut section = Section::Hosts("ungrouped".to_owned());
    for (i, line) in text.lines().enumerate() {
        let number = i + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[')
            && !line.contains('=')
            && let Some(header) = header(line)
        {
            match header {
                Ok(next) => section = next,
                Err(what) => errors.push(diagnostic(number, what, None)),
            }
            match &section {
                Section::Hosts(name) | Section::Children(name) => {
                    defined.insert(name.clone(), number);
                    inventory.group(name);
                }
                Section::Vars(name) => {
                    referred.entry(name.clone()).or_insert(number);
                }
            }
            continue;
        }
        let done = match &section {
            Section::Hosts(group) => read_host(&mut inventory, group, line),
            Section::Children(group) => read_child(line).map(|child| {
                inventory.group(group).children.insert(child.clone());
                referred.entry(child).or_insert(number);
            }),
            Section::Vars(group) => read_variable(line).map(|(name, value)| {
                inventory.group(group).vars.insert(name, value);
            }),
        };
        if let Err(what) = done {
            errors.push(diagnostic(number, what, None));
        }
    }
    for (name, line) in referred {
        if !defined.contains_key(&name) && !super::is_builtin(&name) {
            let hint = format!("add a section [{name}]");
            errors.push(diagnostic(line, format!("the group '{name}' is not defined"), hint));
        }
    }
    if errors.is_empty()
        && let Some(name) = inventory.holds_itself()
    {
        errors.push(diagnostic(defined.get(name).copied().unwrap_or(1), format!("the group '{name}' holds itself"), None));
    }
    if errors.is_empty() { Ok(inventory) } else { Err(errors) }
}

/// A section's header; None where the line is a host such as `[2001:db8::1]:22` or `[a:c].example`.
fn header(line: &str) -> Option<Result<Section, String>> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    if !rest.is_empty() && !rest.starts_with('#') {
        return None;
    }
    let (group, kind) = name.split_once(':').unwrap_or((name, "hosts"));
    if group.is_empty() || group.contains(char::is_whitespace) {
        return Some(Err(format!("[{name}] is no name of a group")));
    }
    let group = group.to_owned();
    Some(match kind {
        "hosts" => Ok(Section::Hosts(group)),
        "children" => Ok(Section::Children(group)),
        "vars" => Ok(Section::Vars(group)),
        other => Err(format!("[{name}]: '{other}' is none of hosts, children and vars")),
    })
}

fn read_child(line: &str) -> Result<String, String> {
    let name = line.split('#').next().unwrap_or_default().trim();
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ':' || c == ']') {
        return Err(format!("'{line}' is no name of a group"));
    }
    Ok(name.to_owned())
}

fn read_variable(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once('=').ok_or_else(|| format!("'{line}' is not name = value"))?;
    Ok((name.trim().to_owned(), literal(value.trim())))
}

fn read_host(inventory: &mut Inventory, group: &str, line: &str) -> Result<(), String> {
    let words = split_words(line)?;
    let Some((pattern, assignments)) = words.split_first() else { return Ok(()) };
    let (names, port) = range::expand(pattern, MAX_HOSTS)?;
    let mut vars = Vec::with_capacity(assignments.len() + 1);
    vars.extend(port.map(|p| ("ansible_port".to_owned(), p.to_string())));
    for word in assignments {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is not name=value"))?;
        vars.push((name.to_owned(), literal(value)));
    }
    for name in names {
        inventory.add_host(group, &name)?;
        inventory.add_host_vars(&name, vars.iter().cloned().collect());
    }
    Ok(())
}

/// Values are Python literals where they can be: quotes come off, and what follows a literal and `#` is a comment.
fn literal(text: &str) -> String {
    if let Some(quote @ ('"' | '\'')) = text.chars().next() {
        if let Some((inner, rest)) = text.get(1..).and_then(|t| t.split_once(quote))
            && !inner.contains('\\')
            && (rest.trim().is_empty() || rest.trim_start().starts_with('#'))
        {
            return inner.to_owned();
        }
    } else if let Some((number, _)) = text.split_once('#')
        && !number.trim().is_empty()
        && number.trim().bytes().all(|b| b.is_ascii_digit())
    {
        return number.trim().to_owned();
    }
    text.to_owned()
}

/// Words as Python's shlex splits them: quotes, backslashes, and `#` that ends the line wherever it stands unquoted.
fn split_words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut open) = (Vec::new(), String::new(), false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' => break,
            c if c.is_whitespace() => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            '\\' => {
                word.extend(chars.next());
                open = true;
            }
            quote @ ('"' | '\'') => {
                open = true;
                loop {
                    match chars.next() {
                        None => return Err(format!("a {quote} is not closed")),
                        Some(c) if c == quote => break,
                        Some('\\') if quote == '"' => match chars.next() {
                            Some(c @ ('"' | '\\')) => word.push(c),
                            other => {
                                word.push('\\');
                                word.extend(other);
                            }
                        },
                        Some(c) => word.push(c),
                    }
                }
            }
            c => {
                word.push(c);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let split = |line| split_words(line).unwrap();
        assert_eq!(split(r#"lb1 a='x y' b="c \" d" e=f\ g # tail"#), ["lb1", "a=x y", "b=c \" d", "e=f g"]);
        assert_eq!(split("lb1 a=''#x"), ["lb1", "a="]);
        assert!(split_words("lb1 a='x").is_err());
    }

    #[test]
    fn wrong_lines_are_all_told() {
        let errors = parse("lb1 nonsense\n[x:what]\n[a:children]\nb\n[c:vars]\nnothing\nlb[1:\n").unwrap_err();
        let text: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.place.line, e.what)).collect();
        insta::assert_snapshot!(text.join("\n"), @"
        1: 'nonsense' is not name=value
        2: [x:what]: 'what' is none of hosts, children and vars
        6: 'nothing' is not name = value
        7: 'lb[1:' is not name = value
        4: the group 'b' is not defined
        5: the group 'c' is not defined
        ");
    }

    #[test]
    fn loops_are_refused() {
        let errors = parse("[a:children]\nb\n[b:children]\na\n").unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
}

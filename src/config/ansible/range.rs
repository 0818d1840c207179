//! Host names of an inventory: ranges (`web[01:10]`, `[a:f]`, `[1:9:2]`), and ports behind them.

/// The names that a pattern stands for (at most `limit`), and the port behind it.
pub(super) fn expand(pattern: &str, limit: usize) -> Result<(Vec<String>, Option<u16>), String> {
    let (pattern, port) = split_port(pattern);
    let mut names = Vec::new();
    expand_into(&pattern, limit, &mut names)?;
    Ok((names, port))
}

/// `host:port` and `[2001:db8::1]:port`; an address without brackets has no port.
fn split_port(pattern: &str) -> (String, Option<u16>) {
    let whole = || (pattern.to_owned(), None);
    let Some((host, port)) = pattern.rsplit_once(':') else { return whole() };
    let Ok(port) = port.parse::<u16>() else { return whole() };
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'))
        && address.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return (address.to_owned(), Some(port));
    }
    // Colons inside brackets belong to ranges; any other colon makes it an IPv6 address.
    let mut depth = 0i32;
    for c in host.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ':' if depth == 0 => return whole(),
            _ => {}
        }
    }
    if depth == 0 { (host.to_owned(), Some(port)) } else { whole() }
}

fn expand_into(pattern: &str, limit: usize, names: &mut Vec<String>) -> Result<(), String> {
    let Some((head, rest)) = pattern.split_once('[') else {
        if names.len() >= limit {
            return Err(format!("more than {limit} hosts"));
        }
        names.push(pattern.to_owned());
        return Ok(());
    };
    let (range, tail) = rest.split_once(']').ok_or_else(|| format!("'{pattern}' has a '[' without a ']'"))?;
    for item in sequence(range, limit)? {
        expand_into(&format!("{head}{item}{tail}"), limit, names)?;
    }
    Ok(())
}

fn sequence(range: &str, limit: usize) -> Result<Vec<String>, String> {
    let bad = |why: &str| format!("the host range [{range}] {why}");
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds.as_slice() {
        [begin, end] => (*begin, *end, 1),
        [begin, end, step] => {
            (*begin, *end, step.parse::<usize>().ok().filter(|s| *s > 0).ok_or_else(|| bad("has no number as its step"))?)
        }
        _ => return Err(bad("is not begin:end or begin:end:step")),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err(bad("has no end"));
    }
    if let (Some(from), Some(to)) = (letter(begin), letter(end)) {
        if from > to {
            return Err(bad("ends before it begins"));
        }
        return Ok((from..=to).step_by(step).filter_map(|i| LETTERS.get(i..=i).map(str::to_owned)).collect());
    }
    let width = if begin.starts_with('0') && begin.len() > 1 { begin.len() } else { 0 };
    if width > 0 && width != end.len() {
        return Err(bad("begins and ends with different numbers of digits"));
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| bad("is neither of numbers nor of letters"));
    let (from, to) = (number(begin)?, number(end)?);
    if to.saturating_sub(from) / step as u64 >= limit as u64 {
        return Err(bad(&format!("has more than {limit} hosts")));
    }
    Ok((from..=to).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    if text.len() == 1 { LETTERS.find(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> String {
        match expand(pattern, 50) {
            Ok((names, port)) => format!("{} {port:?}", names.join(",")),
            Err(why) => why,
        }
    }

    #[test]
    fn ranges_and_ports() {
        assert_eq!(names("web[01:03].eu"), "web01.eu,web02.eu,web03.eu None");
        assert_eq!(names("[a:c]-[1:5:2]"), "a-1,a-3,a-5,b-1,b-3,b-5,c-1,c-3,c-5 None");
        assert_eq!(names("db[8:10]:2222"), "db8,db9,db10 Some(2222)");
        assert_eq!(names("10.0.0.1:22"), "10.0.0.1 Some(22)");
        assert_eq!(names("2001:db8::1"), "2001:db8::1 None");
        assert_eq!(names("[2001:db8::1]:22"), "2001:db8::1 Some(22)");
        assert_eq!(names("x[:2]"), "x0,x1,x2 None");
    }

    #[test]
    fn ranges_that_are_wrong() {
        for pattern in
            ["a[1", "a[1:2", "a[c:a]", "a[01:100]", "a[1:]", "a[1:2:0]", "a[1:x]", "a[1]", "a[1:999999999999]", "a[1:9][1:9]"]
        {
            assert!(expand(pattern, 50).is_err(), "{pattern}");
        }
    }
}

//! The HTML statistics page: only what the CSV export lacks (version, process, whether changes are allowed) and what a
//! POST was answered with.

use std::time::Duration;

use super::text::clean;

/// What the head of the page says. All of it may be hidden (`stats hide-version`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageHead {
    pub version: Option<String>,
    pub pid: Option<u32>,
    pub uptime: Option<Duration>,
    /// The page offers the form for changes (`stats admin` lets us).
    pub admin: bool,
}

pub fn head(page: &[u8]) -> PageHead {
    let text = String::from_utf8_lossy(page);
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let version = after("HAProxy version ").map(|rest| rest.split([',', '<']).next().unwrap_or_default().trim());
    let digits = |rest: &str| rest.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>();
    PageHead {
        version: version.filter(|v| !v.is_empty() && v.len() < 100).map(|v| clean(v.as_bytes()).into_owned()),
        pid: after("pid = </b>").and_then(|rest| digits(rest).parse().ok()),
        uptime: after("uptime = </b>").and_then(|rest| uptime(rest.split('<').next().unwrap_or_default())),
        admin: text.contains("<select name=action>") || text.contains("<select name=\"action\">"),
    }
}

/// `0d 0h00m02s`.
fn uptime(text: &str) -> Option<Duration> {
    let mut seconds = 0u64;
    let mut count = String::new();
    for c in text.trim().chars() {
        let scale = match c {
            '0'..='9' => {
                count.push(c);
                continue;
            }
            ' ' => continue,
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(count.parse::<u64>().ok()?.checked_mul(scale)?)?;
        count.clear();
    }
    (count.is_empty() && !text.trim().is_empty()).then(|| Duration::from_secs(seconds))
}

/// The code that a POST is answered with, in the `Location` header: `/stats;st=DONE`.
pub fn post_code(location: &str) -> Option<&str> {
    let (_, rest) = location.split_once(";st=")?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    rest.get(..end).filter(|code| !code.is_empty())
}

/// What a code means; Ok where the change was made or held already.
pub fn post_result(code: &str) -> Result<&'static str, (&'static str, Option<&'static str>)> {
    match code {
        "DONE" => Ok("done"),
        "NONE" => Ok("nothing to change"),
        "PART" => Err(("only part of the change was made", Some("look at the servers, then do the rest one by one"))),
        "ERRP" => Err(("no such backend or server, or an action that it does not know", None)),
        "EXCD" => Err(("the request was too long for the node's buffer", Some("change fewer servers at once"))),
        "DENY" => Err(("denied", Some("'stats admin' in the node's configuration does not allow it"))),
        "UNKN" => Err(("the node could not tell what happened", None)),
        "IVAL" => Err(("the node does not accept the request (chunked, or no form)", None)),
        _ => Err(("an answer that no known version gives", None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_page() {
        let seen = head(include_bytes!("../fixtures/2.6-stats-page.html"));
        assert_eq!(seen.version.as_deref(), Some("2.6.12-1+deb12u4"));
        assert_eq!((seen.pid, seen.uptime), (Some(26489), Some(Duration::from_secs(2))));
        assert!(!seen.admin, "a page without pools has no form");
        assert_eq!(head(b"<html>401</html>"), PageHead::default());
        assert_eq!(uptime("3d 4h05m06s"), Some(Duration::from_secs(3 * 86_400 + 4 * 3600 + 306)));
        assert_eq!(uptime("99999999999999999999d"), None);
    }

    #[test]
    fn codes() {
        assert_eq!(post_code("/stats;st=DONE"), Some("DONE"));
        assert_eq!(post_code("http://h/stats;st=ERRP?scope=x"), Some("ERRP"));
        assert_eq!(post_code("/login"), None);
        assert!(post_result("DONE").is_ok() && post_result("NONE").is_ok());
        for code in ["PART", "ERRP", "EXCD", "DENY", "UNKN", "XXXX"] {
            assert!(post_result(code).is_err());
        }
    }
}

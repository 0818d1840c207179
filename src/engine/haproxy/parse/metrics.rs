//! The text format of Prometheus. `prometheus-parse` reads the numbers; names and labels are cut here, because it loses
//! label values with `,`, `=` or `}`, names with `:` and empty label sets, and leaves escapes in place.

use prometheus_parse::{Scrape, Value};

use super::ParseError;
use super::text::clean;

const REPLY: &str = "metrics";
/// Samples of one scrape; a thousand servers have about 90,000.
const MAX_SAMPLES: usize = 5_000_000;

/// One sample; names and label values as they were meant, sanitised.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Sample {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Every sample, in order. A line that is neither sample, comment nor blank is an error, so nothing is lost in silence.
pub fn parse(text: &[u8]) -> Result<Vec<Sample>, ParseError> {
    let mut samples = Vec::new();
    // What is left for the crate to read: a plain name with the sample's number, then value and timestamp as they came.
    let mut plain = Vec::new();
    for (i, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if samples.len() >= MAX_SAMPLES {
            return Err(ParseError::new(REPLY, i + 1, "more samples than any node has"));
        }
        let Some((name, labels, rest)) = cut(line) else {
            let start: String = clean(line.as_bytes()).chars().take(80).collect();
            return Err(ParseError::new(REPLY, i + 1, format!("not a sample: '{start}'")));
        };
        plain.push(Ok(format!("sample{{n=\"{}\"}} {rest}", samples.len())));
        samples.push(Sample { name, labels, value: f64::NAN });
    }
    let scrape = Scrape::parse(plain.into_iter()).map_err(|e| ParseError::new(REPLY, 1, e.to_string()))?;
    let mut read = 0;
    for found in scrape.samples {
        let at = found.labels.get("n").and_then(|n| n.parse::<usize>().ok());
        let value = match found.value {
            Value::Untyped(v) | Value::Counter(v) | Value::Gauge(v) => v,
            Value::Histogram(_) | Value::Summary(_) => continue,
        };
        if let Some(sample) = at.and_then(|at| samples.get_mut(at)) {
            sample.value = value;
            read += 1;
        }
    }
    if read != samples.len() {
        let what = format!("{} of {} samples have no number", samples.len() - read, samples.len());
        return Err(ParseError::new(REPLY, 1, what));
    }
    Ok(samples)
}

type Labels = Vec<(String, String)>;

/// `name{label="value",…} 1.5 [timestamp]` → name, labels, the rest.
fn cut(line: &str) -> Option<(String, Labels, &str)> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')) {
        return None;
    }
    let mut labels = Vec::new();
    let rest = match rest.strip_prefix('{') {
        None => rest,
        Some(mut inner) => loop {
            inner = inner.trim_start_matches([' ', '\t', ',']);
            if let Some(after) = inner.strip_prefix('}') {
                break after;
            }
            let (label, value) = inner.split_once('=')?;
            let (value, after) = quoted(value.trim_start())?;
            labels.push((clean(label.trim().as_bytes()).into_owned(), value));
            inner = after;
        },
    };
    let rest = rest.trim();
    (!rest.is_empty()).then(|| (name.to_owned(), labels, rest))
}

/// The text between quotes, with `\\`, `\"` and `\n` undone, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((clean(value.as_bytes()).into_owned(), inner.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_scrape_loses_nothing() {
        let text = include_bytes!("../fixtures/2.6-metrics.txt");
        let lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty() && !l.starts_with(b"#")).count();
        let samples = parse(text).unwrap();
        assert_eq!(samples.len(), lines);
        let weight = samples.iter().find(|s| s.name == "haproxy_server_weight" && s.label("server") == Some("web1")).unwrap();
        assert_eq!((weight.value, weight.label("proxy")), (10.0, Some("web")));
        assert!(samples.iter().any(|s| s.value.is_nan()), "NaN stands for an empty field");
    }

    #[test]
    fn what_the_crate_alone_would_lose() {
        let text = br#"a{x="1,2",y="b=c",z="}"} 1
job:a:rate5m 2.5 1395066363000
a{} 3
b{q="say \"hi\"\\ \n",} +Inf
c{e="\u{1b}"} 1e3
"#;
        let samples = parse(text).unwrap();
        let shown: Vec<(String, Vec<String>, f64)> = samples
            .into_iter()
            .map(|s| (s.name, s.labels.into_iter().map(|(n, v)| format!("{n}={v}")).collect(), s.value))
            .collect();
        assert_eq!(shown[0], ("a".into(), vec!["x=1,2".into(), "y=b=c".into(), "z=}".into()], 1.0));
        assert_eq!(shown[1], ("job:a:rate5m".into(), vec![], 2.5));
        assert_eq!(shown[2], ("a".into(), vec![], 3.0));
        assert_eq!(shown[3], ("b".into(), vec!["q=say \"hi\"\\ \\x0a".into()], f64::INFINITY));
        assert_eq!(shown[4].2, 1000.0);
    }

    #[test]
    fn nonsense_is_an_error_that_says_where() {
        for bad in ["a{x=\"1\" 1", "a", "{} 1", "a{x} 1", "<html>", "a{x=\"\\"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(parse(b"a 1\n<b>\n").unwrap_err().line, 2);
        assert!(parse(b"a notanumber\n").is_err());
    }
}

//! A small reader of haproxy.cfg: what it says of servers, to compare with run time. It understands sections, quotes,
//! escapes, comments, `default-server`, `server-template` and `defaults … from`; where the text depends on what it cannot
//! know (environment variables, `.if`), it says so instead of guessing.

use std::collections::HashMap;
use std::net::IpAddr;

/// Far more than any file that HAProxy loads in reasonable time.
const MAX_SERVERS: usize = 200_000;

/// Backends (and the backend half of `listen`) by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub backends: HashMap<String, Backend>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    pub servers: HashMap<String, Server>,
    /// Servers stand in `.if` blocks: which of them hold is not known from the text.
    pub conditional: bool,
}

/// A value in the file; `Unknown` where it comes from the environment or from a name that is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<T> {
    Is(T),
    Unknown,
}

/// One server as the next reload would make it.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub disabled: bool,
    pub weight: Value<u32>,
    /// None: no limit.
    pub maxconn: Value<Option<u32>>,
    pub address: Value<IpAddr>,
    pub port: Value<Option<u16>>,
    /// Counted from 1.
    pub line: usize,
    /// The words of `default-server` lines that hold, then those after the address.
    pub words: Vec<Value<String>>,
}

/// What `server` and `default-server` lines set.
#[derive(Clone)]
struct Settings {
    disabled: bool,
    weight: Value<u32>,
    maxconn: Value<Option<u32>>,
    words: Vec<Value<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { disabled: false, weight: Value::Is(1), maxconn: Value::Is(None), words: Vec::new() }
    }
}

enum Section {
    /// Settings of `default-server` lines go into the profile of this name.
    Defaults(String),
    Backend(String, Settings),
    Other,
}

/// Keywords that begin a section. A line that starts with any other word belongs to the section before it.
pub(super) const SECTIONS: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "cache",
    "program",
    "http-errors",
    "ring",
    "log-forward",
    "log-profile",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
    "healthcheck",
];

/// Server keywords that take one word, so that this word is not taken for a keyword.
const WITH_ARGUMENT: &[&str] = &[
    "addr",
    "agent-addr",
    "agent-inter",
    "agent-port",
    "agent-send",
    "alpn",
    "ca-file",
    "check-alpn",
    "check-proto",
    "check-sni",
    "check-via-socks4",
    "ciphers",
    "ciphersuites",
    "client-sigalgs",
    "cookie",
    "crl-file",
    "crt",
    "curves",
    "downinter",
    "error-limit",
    "fall",
    "fastinter",
    "guid",
    "hash-key",
    "healthcheck",
    "id",
    "idle-ping",
    "init-addr",
    "init-state",
    "inter",
    "interface",
    "log-bufsize",
    "log-proto",
    "max-reuse",
    "maxqueue",
    "minconn",
    "namespace",
    "npn",
    "observe",
    "on-error",
    "on-marked-down",
    "on-marked-up",
    "pool-conn-name",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "port",
    "proto",
    "proxy-v2-options",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "rise",
    "set-proxy-v2-tlv-fmt",
    "shard",
    "sigalgs",
    "slowstart",
    "sni",
    "socks4",
    "source",
    "ssl-max-ver",
    "ssl-min-ver",
    "track",
    "usesrc",
    "verify",
    "verifyhost",
    "ws",
];

/// Reads one file (or several, one after the other). Never fails: what is no server line is passed over, as HAProxy itself
/// has accepted the file.
pub fn parse(text: &str) -> Config {
    let mut config = Config::default();
    let mut profiles: HashMap<String, Settings> = HashMap::new();
    let mut section = Section::Other;
    let (mut depth, mut total) = (0usize, 0usize);
    for (number, line) in joined_lines(text) {
        let words = words(&line);
        let Some(first) = words.first() else { continue };
        match first.text.as_str() {
            ".if" => depth += 1,
            ".endif" => depth = depth.saturating_sub(1),
            directive if directive.starts_with('.') => {}
            keyword if SECTIONS.contains(&keyword) => section = begin(keyword, &words, &mut profiles, &mut config),
            "default-server" => {
                let settings = match &mut section {
                    Section::Defaults(name) => profiles.entry(name.clone()).or_default(),
                    Section::Backend(_, settings) => settings,
                    Section::Other => continue,
                };
                apply(settings, words.get(1..).unwrap_or_default());
            }
            "server" | "server-template" => {
                let Section::Backend(name, settings) = &section else { continue };
                let Some(backend) = config.backends.get_mut(name) else { continue };
                backend.conditional |= depth > 0;
                for (name, server) in servers(first.text == "server-template", number, &words, settings) {
                    total += 1;
                    if total <= MAX_SERVERS {
                        backend.servers.insert(name, server);
                    }
                }
            }
            _ => {}
        }
    }
    config
}

/// The unnamed `defaults` that holds for the sections after it.
const CURRENT: &str = "";

fn begin(keyword: &str, words: &[Word], profiles: &mut HashMap<String, Settings>, config: &mut Config) -> Section {
    let word = |at: usize| words.get(at).map_or("", |w| w.text.as_str());
    let named = if matches!(word(1), "" | "from") { "" } else { word(1) };
    let from_at = words.iter().position(|w| w.text == "from");
    let from = from_at.and_then(|at| words.get(at + 1)).map_or(CURRENT, |w| w.text.as_str());
    let inherited = profiles.get(from).cloned().unwrap_or_default();
    match keyword {
        "defaults" => {
            // `defaults` forgets the one before it unless it says `from`.
            let settings = if from_at.is_some() { inherited } else { Settings::default() };
            profiles.insert(named.to_owned(), settings.clone());
            if named != CURRENT {
                // A named one holds for what follows, too.
                profiles.insert(CURRENT.to_owned(), settings);
            }
            Section::Defaults(named.to_owned())
        }
        "backend" | "listen" if !named.is_empty() => {
            config.backends.entry(named.to_owned()).or_default();
            Section::Backend(named.to_owned(), inherited)
        }
        _ => Section::Other,
    }
}

/// True for a server keyword whose next word is its value.
pub fn takes_argument(keyword: &str) -> bool {
    matches!(keyword, "weight" | "maxconn") || WITH_ARGUMENT.contains(&keyword)
}

fn apply(settings: &mut Settings, words: &[Word]) {
    settings.words.extend(words.iter().map(|w| if w.variable { Value::Unknown } else { Value::Is(w.text.clone()) }));
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "disabled" => settings.disabled = true,
            "enabled" => settings.disabled = false,
            "weight" => settings.weight = words.next().map_or(Value::Unknown, number),
            "maxconn" => {
                settings.maxconn = match words.next().map_or(Value::Unknown, number::<u32>) {
                    Value::Is(0) => Value::Is(None),
                    Value::Is(n) => Value::Is(Some(n)),
                    Value::Unknown => Value::Unknown,
                };
            }
            keyword if WITH_ARGUMENT.contains(&keyword) => {
                words.next();
            }
            _ => {}
        }
    }
}

fn number<T: std::str::FromStr>(word: &Word) -> Value<T> {
    match word.text.parse() {
        Ok(n) if !word.variable => Value::Is(n),
        _ => Value::Unknown,
    }
}

/// `server NAME ADDRESS[:PORT] …`, or `server-template PREFIX NUM|FROM-TO FQDN[:PORT] …`.
fn servers(template: bool, line: usize, words: &[Word], defaults: &Settings) -> Vec<(String, Server)> {
    let address_at = if template { 3 } else { 2 };
    let (Some(name), Some(address)) = (words.get(1), words.get(address_at)) else { return Vec::new() };
    let parameters = words.get(address_at + 1..).unwrap_or_default();
    let mut settings = defaults.clone();
    apply(&mut settings, parameters);
    let (host, port) = if address.variable { (Value::Unknown, Value::Unknown) } else { split_address(&address.text) };
    let server = Server {
        disabled: settings.disabled,
        weight: settings.weight,
        maxconn: settings.maxconn,
        address: host,
        port,
        line,
        words: settings.words,
    };
    if !template {
        return vec![(name.text.clone(), server)];
    }
    let range = words.get(2).map_or("", |w| w.text.as_str());
    let (from, to) = range.split_once('-').unwrap_or(("1", range));
    let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) else { return Vec::new() };
    (from..=to).take(MAX_SERVERS).map(|n| (format!("{}{n}", name.text), server.clone())).collect()
}

/// The literal address and port of `10.0.0.1:80`, `ipv4@10.0.0.1:80`, `[::1]:80`, `::1:80`; a name is resolved and so unknown.
fn split_address(text: &str) -> (Value<IpAddr>, Value<Option<u16>>) {
    let text = text.strip_prefix("ipv4@").or_else(|| text.strip_prefix("ipv6@")).unwrap_or(text);
    if text.contains('@') || text.starts_with('/') {
        return (Value::Unknown, Value::Unknown); // unix, abns, fd …
    }
    if let Ok(ip) = text.parse::<std::net::Ipv4Addr>() {
        return (Value::Is(ip.into()), Value::Is(None));
    }
    let (host, port) = match text.rfind(':') {
        Some(colon) => (text.get(..colon).unwrap_or_default(), text.get(colon + 1..).unwrap_or_default()),
        None => (text, ""),
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = match port {
        "" => Value::Is(None),
        // `+100` and `-100` are relative to the port of the client.
        digits => digits.parse().ok().filter(|_| !digits.starts_with('+')).map_or(Value::Unknown, |p| Value::Is(Some(p))),
    };
    (host.parse().map_or(Value::Unknown, Value::Is), port)
}

pub(super) struct Word {
    pub(super) text: String,
    /// It holds an environment variable, so its value is the node's secret.
    variable: bool,
}

/// Lines with their number; a backslash at the end joins the next.
pub(super) fn joined_lines(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (number, line) = lines.next()?;
        let mut whole = line.to_owned();
        while whole.ends_with('\\') && !whole.ends_with("\\\\") {
            whole.pop();
            match lines.next() {
                Some((_, next)) => whole.push_str(next),
                None => break,
            }
        }
        Some((number + 1, whole))
    })
}

/// Words as HAProxy cuts them: strong quotes, weak quotes with variables, backslash escapes, `#` begins a comment.
pub(super) fn words(line: &str) -> Vec<Word> {
    let mut all = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert(Word { text: String::new(), variable: false });
            }
            (None, '#') => break,
            (None, ' ' | '\t' | '\r') => all.extend(word.take()),
            (None | Some('"'), '\\') => {
                if let Some(next) = chars.next() {
                    word.get_or_insert(Word { text: String::new(), variable: false }).text.push(next);
                }
            }
            _ => {
                let w = word.get_or_insert(Word { text: String::new(), variable: false });
                w.variable |= c == '$' && quote == Some('"');
                w.text.push(c);
            }
        }
    }
    all.extend(word);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
global
    maxconn 2000 # server evil 1.2.3.4:1
defaults
    default-server inter 2s maxconn 50
peers mine
    server lb1 10.9.9.9:1000
listen one
    bind :80
    default-server weight 7
    server a 10.0.0.1:80 check cookie weight
    server 'b' "10.0.0.2":8080 disabled weight 3 maxconn 0
    server c\ d [2001:db8::1]:81 # server e 10.0.0.9:1
    default-server disabled
    server late app.example:80 \
        enabled weight 9
backend two from base
    server x ipv4@10.0.0.3
defaults base
    default-server weight 99
backend three
    server y "$HOST:80" weight "${W}"
    server z 127.0.0.1:+100 track one/a
    server-template t 2-4 app.example:90 check weight 5
.if defined(X)
    server maybe 10.0.0.7:1
.endif
backend four from base
    server s unix@/run/x.sock
"#;

    fn server<'a>(config: &'a Config, backend: &str, name: &str) -> &'a Server {
        config.backends.get(backend).and_then(|b| b.servers.get(name)).unwrap_or_else(|| panic!("{backend}/{name}"))
    }

    #[test]
    fn sections_quotes_and_inheritance() {
        let config = parse(FILE);
        let ip = |s: &str| Value::Is(s.parse::<IpAddr>().unwrap());
        let a = server(&config, "one", "a");
        assert_eq!((a.weight, a.maxconn, a.disabled, a.line), (Value::Is(7), Value::Is(Some(50)), false, 11));
        assert_eq!((a.address, a.port), (ip("10.0.0.1"), Value::Is(Some(80))));
        let b = server(&config, "one", "b");
        assert_eq!((b.weight, b.maxconn, b.disabled, b.port), (Value::Is(3), Value::Is(None), true, Value::Is(Some(8080))));
        assert_eq!(server(&config, "one", "c d").address, ip("2001:db8::1"));
        let late = server(&config, "one", "late");
        assert_eq!((late.disabled, late.weight, late.address), (false, Value::Is(9), Value::Unknown));
        assert_eq!(server(&config, "two", "x").port, Value::Is(None));
        let y = server(&config, "three", "y");
        assert_eq!((y.weight, y.address, y.port), (Value::Unknown, Value::Unknown, Value::Unknown));
        assert_eq!(server(&config, "three", "z").port, Value::Unknown);
        for n in 2..=4 {
            assert_eq!(server(&config, "three", &format!("t{n}")).weight, Value::Is(5));
        }
        assert!(config.backends["three"].conditional && !config.backends["one"].conditional);
        assert_eq!(server(&config, "four", "s").weight, Value::Is(99));
        assert_eq!(server(&config, "four", "s").address, Value::Unknown);
        assert!(!config.backends.contains_key("mine"));
        assert_eq!(config.backends["one"].servers.len(), 4);
    }

    #[test]
    fn nonsense_is_passed_over() {
        for text in [
            "",
            "server a",
            "backend\nserver a 1.2.3.4:5",
            "backend b\nserver",
            "backend b\nserver-template t 1-x h:1",
            "\\",
            "\"",
            "backend b\nserver a 1.2.3.4:99999 weight",
            ".endif\n.endif",
        ] {
            parse(text);
        }
        assert!(
            parse("backend b\nserver-template t 1-99999999999 h:1\nserver a 1.2.3.4:1").backends["b"].servers.len()
                <= MAX_SERVERS
        );
    }
}

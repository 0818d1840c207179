//! What the configuration says for one host: the first value found holds, as in OpenSSH.

use std::path::Path;

use super::load::{File, Item, invalid};
use super::parse::Directive;
use super::pattern::{Listed, in_list};
use crate::transport::{Result, TransportError};

/// What to do about host keys that nobody has seen before. Changed keys are refused whatever this says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strict {
    /// Refuse.
    Yes,
    /// Ask a person.
    Ask,
    /// Accept and remember (`no` and `off` are read as this too).
    AcceptNew,
}

/// Values as written, before `%` tokens and `~` are expanded. None: nothing was said.
#[derive(Clone, Default, Debug)]
pub struct Options {
    pub host_name: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<String>,
    pub identities_only: Option<bool>,
    pub identity_agent: Option<String>,
    pub proxy_jump: Option<String>,
    pub proxy_command: Option<String>,
    pub user_known_hosts: Option<Vec<String>>,
    pub global_known_hosts: Option<Vec<String>>,
    pub strict: Option<Strict>,
    pub host_key_alias: Option<String>,
    pub hash_known_hosts: Option<bool>,
    /// Seconds; 0 is off.
    pub alive_interval: Option<u32>,
    pub alive_count_max: Option<u32>,
    /// Seconds.
    pub connect_timeout: Option<u32>,
    /// Where something was left out on purpose, and why.
    pub notes: Vec<String>,
}

/// Reads `files` in order for `host`, filling what `options` does not say yet.
///
/// # Errors
/// A value that OpenSSH would refuse, with file and line.
pub fn resolve(files: &[File], host: &str, local_user: &str, mut options: Options) -> Result<Options> {
    let mut reader = Reader { host, local_user, options: &mut options };
    for file in files {
        reader.file(file, true)?;
    }
    Ok(options)
}

/// Names of hosts that are written out (no wildcards, no negation), in order, each once.
pub fn aliases(files: &[File]) -> Vec<String> {
    fn collect(file: &File, found: &mut Vec<String>) {
        for item in &file.items {
            match item {
                Item::Include(files) => files.iter().for_each(|f| collect(f, found)),
                Item::Directive(d) if d.keyword == "host" => {
                    for name in d.args.iter().filter(|n| !n.contains(['*', '?', '!'])) {
                        if !found.contains(name) {
                            found.push(name.clone());
                        }
                    }
                }
                Item::Directive(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    files.iter().for_each(|f| collect(f, &mut found));
    found
}

struct Reader<'a> {
    host: &'a str,
    local_user: &'a str,
    options: &'a mut Options,
}

impl Reader<'_> {
    /// `reachable`: false inside a block that does not hold for this host, where no block of an included file can hold either.
    fn file(&mut self, file: &File, reachable: bool) -> Result<()> {
        let mut active = reachable;
        for item in &file.items {
            match item {
                Item::Include(files) => {
                    for included in files {
                        self.file(included, active)?;
                    }
                }
                Item::Directive(d) => match d.keyword.as_str() {
                    "host" => active = reachable && in_list(d.args.iter().map(String::as_str), self.host) == Listed::Yes,
                    "match" => active = reachable && self.match_block(&file.path, d)?,
                    _ if active => self.value(&file.path, d)?,
                    _ => {}
                },
            }
        }
        Ok(())
    }

    fn match_block(&mut self, path: &Path, d: &Directive) -> Result<bool> {
        let mut holds = true;
        let mut words = d.args.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (negated, word) = word.strip_prefix('!').map_or((false, word), |w| (true, w));
            let (name, given) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
            let name = name.to_ascii_lowercase();
            let found = match name.as_str() {
                "all" => true,
                // The second pass that these ask for is OpenSSH's, after canonicalisation of names.
                "canonical" | "final" => {
                    self.skipped(path, d, &name);
                    return Ok(false);
                }
                _ => {
                    let Some(patterns) = given.or_else(|| words.next()) else {
                        return Err(at(path, d, format!("Match {name} needs an argument")));
                    };
                    let against = match name.as_str() {
                        "host" => match &self.options.host_name {
                            Some(name) => name.replace("%h", self.host).replace("%n", self.host).replace("%%", "%"),
                            None => self.host.to_owned(),
                        },
                        "originalhost" => self.host.to_owned(),
                        "user" => self.options.user.clone().unwrap_or_else(|| self.local_user.to_owned()),
                        "localuser" => self.local_user.to_owned(),
                        _ => {
                            self.skipped(path, d, &name);
                            return Ok(false);
                        }
                    };
                    in_list(patterns.split(','), &against) == Listed::Yes
                }
            };
            holds &= found != negated;
        }
        Ok(holds)
    }

    fn skipped(&mut self, path: &Path, d: &Directive, what: &str) {
        self.options.notes.push(format!("{}:{}: 'Match {what}' is not supported: its block is left out", path.display(), d.line));
    }

    fn value(&mut self, path: &Path, d: &Directive) -> Result<()> {
        let Some(first) = d.args.first() else { return Ok(()) };
        let bad = |what: &str| at(path, d, format!("{} '{first}' {what}", d.keyword));
        let o = &mut *self.options;
        match d.keyword.as_str() {
            "hostname" => set(&mut o.host_name, first.clone()),
            "user" => set(&mut o.user, first.clone()),
            "port" => match first.parse() {
                Ok(port) if port > 0 => set(&mut o.port, port),
                _ => return Err(bad("is not a port")),
            },
            "identityfile" if o.identity_files.contains(first) => {}
            "identityfile" => o.identity_files.push(first.clone()),
            "identitiesonly" => set(&mut o.identities_only, flag(first).ok_or_else(|| bad("is neither yes nor no"))?),
            "identityagent" => set(&mut o.identity_agent, first.clone()),
            // Whichever of the two is written first keeps the other out.
            "proxyjump" if o.proxy_command.is_none() => set(&mut o.proxy_jump, first.clone()),
            "proxycommand" if o.proxy_jump.is_none() => set(&mut o.proxy_command, d.rest.clone()),
            "userknownhostsfile" => set(&mut o.user_known_hosts, d.args.clone()),
            "globalknownhostsfile" => set(&mut o.global_known_hosts, d.args.clone()),
            "stricthostkeychecking" => {
                let strict = match first.to_ascii_lowercase().as_str() {
                    "yes" | "true" => Strict::Yes,
                    "ask" => Strict::Ask,
                    "accept-new" | "no" | "false" | "off" => Strict::AcceptNew,
                    _ => return Err(bad("is none of yes, no, ask, accept-new, off")),
                };
                set(&mut o.strict, strict);
            }
            "hostkeyalias" => set(&mut o.host_key_alias, first.clone()),
            "hashknownhosts" => set(&mut o.hash_known_hosts, flag(first).ok_or_else(|| bad("is neither yes nor no"))?),
            "serveraliveinterval" => set(&mut o.alive_interval, seconds(first).ok_or_else(|| bad("is not a time"))?),
            "serveralivecountmax" => set(&mut o.alive_count_max, first.parse().map_err(|_| bad("is not a number"))?),
            "connecttimeout" if first.eq_ignore_ascii_case("none") => {}
            "connecttimeout" => set(&mut o.connect_timeout, seconds(first).ok_or_else(|| bad("is not a time"))?),
            "canonicalizehostname" | "bindaddress" | "bindinterface" | "addressfamily"
                if !["no", "none", "any"].contains(&first.to_ascii_lowercase().as_str()) =>
            {
                o.notes.push(format!("{}:{}: '{}' is not supported and has no effect", path.display(), d.line, d.keyword));
            }
            // Algorithms, forwardings, terminals …: nothing that lbdeck's connections depend on.
            _ => {}
        }
        Ok(())
    }
}

fn set<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn at(path: &Path, d: &Directive, what: String) -> TransportError {
    invalid(format!("{}:{}", path.display(), d.line), what)
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

/// OpenSSH's times: `90`, `90s`, `1m30s`, `2h`, `1d`, `1w`.
fn seconds(text: &str) -> Option<u32> {
    let (mut total, mut number) = (0u32, String::new());
    for c in text.chars() {
        let unit = match c.to_ascii_lowercase() {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u32>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    match number.is_empty() {
        true if text.is_empty() => None,
        true => Some(total),
        false => total.checked_add(number.parse().ok()?),
    }
}

//! `~/.ssh/config` as OpenSSH reads it: what it says for one host, with the fleet file's own words put before it.

pub mod expand;
pub mod load;
pub mod parse;
pub mod pattern;
pub mod resolve;

pub use load::{File, Origin};
pub use resolve::{Options, Strict};

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::SshSpec;
use crate::transport::{Result, TransportError};
use expand::Tokens;
use load::invalid;

/// Keys that OpenSSH looks for where no IdentityFile is named (those that a program can use with no hardware).
const DEFAULT_IDENTITIES: [&str; 3] = ["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"];
const DEFAULT_KNOWN_HOSTS: [&str; 2] = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"];
const DEFAULT_GLOBAL_KNOWN_HOSTS: [&str; 2] = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
/// OpenSSH leaves dead connections to TCP; a console must notice within a minute.
const DEFAULT_ALIVE: (Duration, usize) = (Duration::from_secs(15), 3);
const DEFAULT_CONNECT: Duration = Duration::from_secs(10);

/// Who and where we are, as far as the configuration can ask for it.
#[derive(Clone, Debug)]
pub struct Local {
    pub home: PathBuf,
    pub user: String,
    pub uid: u32,
    pub host: String,
    /// `SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
}

/// One jump of ProxyJump.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

/// Everything that a connection to one host needs to know.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The name that was looked up.
    pub alias: String,
    /// What is connected to.
    pub host_name: String,
    pub port: u16,
    pub user: String,
    pub identities: Vec<PathBuf>,
    /// Named by somebody: a missing file is worth a word.
    pub identities_named: bool,
    pub identities_only: bool,
    pub agent: Option<PathBuf>,
    /// From here to the node, nearest first.
    pub jumps: Vec<Hop>,
    /// A command line for the user's shell, whose input and output carry the connection.
    pub proxy_command: Option<String>,
    /// New keys go into the first.
    pub known_hosts: Vec<PathBuf>,
    pub global_known_hosts: Vec<PathBuf>,
    pub strict: Strict,
    pub host_key_alias: Option<String>,
    pub hash_known_hosts: bool,
    /// Interval, and how many may go unanswered. None: no keep-alive.
    pub alive: Option<(Duration, usize)>,
    pub connect_timeout: Duration,
    pub notes: Vec<String>,
}

impl HostConfig {
    /// `ops@lb1.example:22`, for people.
    pub fn target(&self) -> String {
        format!("{}@{}:{}", self.user, self.host_name, self.port)
    }

    /// Works out what holds for `spec`: its own values first, then the files.
    pub fn new(spec: &SshSpec, files: &[File], local: &Local) -> Result<Self> {
        let said = Options {
            user: spec.user.clone(),
            port: spec.port,
            identity_files: spec.identity_files.iter().map(|p| p.to_string_lossy().into_owned()).collect(),
            proxy_jump: spec.proxy_jump.clone(),
            user_known_hosts: spec.known_hosts.as_ref().map(|p| vec![p.to_string_lossy().into_owned()]),
            ..Options::default()
        };
        let options = resolve::resolve(files, &spec.host, &local.user, said)?;
        let mut config = Self::of(&spec.host, options, local)?;
        if let Some(timeout) = spec.connect_timeout {
            config.connect_timeout = timeout;
        }
        Ok(config)
    }

    fn of(alias: &str, o: Options, local: &Local) -> Result<Self> {
        let wrong = |what: String| invalid(format!("host {alias}"), what);
        let home = local.home.to_string_lossy();
        let user = o.user.unwrap_or_else(|| local.user.clone());
        let jump = o.proxy_jump.filter(|j| !j.eq_ignore_ascii_case("none"));
        let port = o.port.unwrap_or(22);
        let mut tokens = Tokens {
            home: &home,
            host: alias,
            alias,
            key_alias: alias,
            port,
            user: &user,
            local_user: &local.user,
            uid: local.uid,
            local_host: &local.host,
            jump: jump.as_deref().unwrap_or_default(),
        };
        let host_name = tokens.expand(o.host_name.as_deref().unwrap_or("%h")).map_err(&wrong)?;
        tokens.host = &host_name;
        tokens.key_alias = o.host_key_alias.as_deref().unwrap_or(&host_name);
        let paths = |texts: &[String]| -> Result<Vec<PathBuf>> {
            let named = texts.iter().filter(|t| !t.eq_ignore_ascii_case("none"));
            named.map(|t| tokens.path(t).map_err(&wrong)).collect()
        };
        let identities_named = !o.identity_files.is_empty();
        let identities = if identities_named { paths(&o.identity_files)? } else { paths(&owned(&DEFAULT_IDENTITIES))? };
        let agent = match o.identity_agent.as_deref() {
            Some(text) if text.eq_ignore_ascii_case("none") => None,
            None | Some("SSH_AUTH_SOCK") => local.agent.clone(),
            Some(text) => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => std::env::var_os(name).map(PathBuf::from),
                None => Some(tokens.path(text).map_err(&wrong)?),
            },
        };
        let proxy_command = match o.proxy_command.as_deref() {
            Some(command) if !command.eq_ignore_ascii_case("none") => Some(tokens.expand_percent(command).map_err(&wrong)?),
            _ => None,
        };
        let jumps = jump.as_deref().map_or(Ok(Vec::new()), parse_jumps).map_err(&wrong)?;
        let alive = match (o.alive_interval, o.alive_count_max) {
            (Some(0), _) => None,
            (None, None) => Some(DEFAULT_ALIVE),
            (interval, count) => Some((
                interval.map_or(DEFAULT_ALIVE.0, |s| Duration::from_secs(s.into())),
                count.map_or(DEFAULT_ALIVE.1, |n| n as usize),
            )),
        };
        Ok(Self {
            known_hosts: paths(&o.user_known_hosts.unwrap_or_else(|| owned(&DEFAULT_KNOWN_HOSTS)))?,
            global_known_hosts: paths(&o.global_known_hosts.unwrap_or_else(|| owned(&DEFAULT_GLOBAL_KNOWN_HOSTS)))?,
            alias: alias.to_owned(),
            port,
            proxy_command,
            identities,
            identities_named,
            identities_only: o.identities_only.unwrap_or(false),
            agent,
            jumps,
            strict: o.strict.unwrap_or(Strict::Ask),
            hash_known_hosts: o.hash_known_hosts.unwrap_or(false),
            alive,
            connect_timeout: match o.connect_timeout {
                None | Some(0) => DEFAULT_CONNECT,
                Some(s) => Duration::from_secs(s.into()),
            },
            notes: o.notes,
            host_key_alias: o.host_key_alias,
            host_name,
            user,
        })
    }
}

/// The files that hold for a fleet: the one that it names, or the user's and then the system's.
pub fn load_files(given: Option<&Path>, system: &Path, home: &Path) -> Result<Vec<File>> {
    match given {
        Some(path) => Ok(vec![load::load(path, home, Origin::Given)?]),
        None => Ok(vec![load::load(&home.join(".ssh/config"), home, Origin::User)?, load::load(system, home, Origin::System)?]),
    }
}

/// Hosts that the user's ssh configuration (or another file) names without wildcards, for `fleet init`.
///
/// # Errors
/// A file that cannot be read or parsed, with its line.
pub fn host_aliases(given: Option<&Path>, home: &Path) -> Result<Vec<String>, TransportError> {
    let (path, origin) = match given {
        Some(path) => (path.to_owned(), Origin::Given),
        None => (home.join(".ssh/config"), Origin::User),
    };
    Ok(resolve::aliases(&[load::load(&path, home, origin)?]))
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

/// `[user@]host[:port]`, comma-separated; also as `ssh://` URIs, and IPv6 addresses in brackets.
fn parse_jumps(text: &str) -> Result<Vec<Hop>, String> {
    text.split(',')
        .map(|hop| parse_hop(hop.trim()).ok_or_else(|| format!("ProxyJump '{hop}' is not [user@]host[:port]")))
        .collect()
}

fn parse_hop(text: &str) -> Option<Hop> {
    let text = text.strip_prefix("ssh://").map_or(text, |t| t.trim_end_matches('/'));
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) if !user.is_empty() => (Some(user.to_owned()), place),
        Some(_) => return None,
        None => (None, text),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']')?;
            (host, if tail.is_empty() { None } else { Some(tail.strip_prefix(':')?) })
        }
        None if place.matches(':').count() > 1 => (place, None),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|p| *p > 0)?),
        None => None,
    };
    (!host.is_empty() && !host.starts_with('-')).then(|| Hop { user, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests;

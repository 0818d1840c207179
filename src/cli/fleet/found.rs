//! What a look at a host comes to: a node of the fleet file, a row of the table, and what is missing.

use serde::Serialize;

use crate::cli::output::{Cell, Column, Tone};
use crate::collect::probe::{Instance, ProbeReport, SocketAt, StatsPage, reachable};
use crate::config::{DEFAULT_CONFIG, DEFAULT_SOCKET, HaproxyAccess, HaproxySpec, NodeSpec, Reach};
use crate::model::{NodeName, Problem, SocketLevel};

/// One host that was looked at, or was not to be.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    pub node: NodeName,
    /// False where it was reached and no haproxy is there.
    pub haproxy: bool,
    pub reached: bool,
    pub version: Option<String>,
    /// Where it answers, as the fleet file will say it.
    pub at: Option<String>,
    pub level: Option<SocketLevel>,
    pub master_socket: Option<String>,
    pub config: Option<String>,
    /// What is missing, and how to mend it.
    pub missing: Vec<String>,
}

impl Found {
    /// Nothing was looked at: the usual places are written down.
    pub fn assumed(spec: &mut NodeSpec) -> Self {
        spec.haproxy = Some(usual());
        Self {
            node: spec.meta.name.clone(),
            haproxy: true,
            reached: false,
            version: None,
            at: Some(DEFAULT_SOCKET.to_owned()),
            level: None,
            master_socket: None,
            config: None,
            missing: Vec::new(),
        }
    }

    /// One for each haproxy that was found on the host, with the node that it becomes: the first keeps the host's name, the
    /// others get a number behind it.
    pub fn of(spec: &NodeSpec, looked: &Result<ProbeReport, Problem>) -> Vec<(NodeSpec, Self)> {
        let mut first = spec.clone();
        let report = match looked {
            Ok(report) => report,
            Err(problem) => {
                let mut found = Self::assumed(&mut first);
                found.at = None;
                found.missing.push(match &problem.hint {
                    Some(hint) => format!("{}; {hint}", problem.what),
                    None => problem.what.clone(),
                });
                return vec![(first, found)];
            }
        };
        let nothing = [Instance::default()];
        let instances = if report.instances.is_empty() { &nothing[..] } else { &report.instances };
        let mut nodes: Vec<(NodeSpec, Self)> = Vec::new();
        for instance in instances {
            // A second haproxy counts only where it answers: half of one may be a leftover socket.
            if !nodes.is_empty() && instance.best().is_none() {
                continue;
            }
            let mut node = spec.clone();
            if !nodes.is_empty() {
                node.meta.name = format!("{}-{}", spec.meta.name, nodes.len() + 1).into();
            }
            let found = Self::one(&mut node, instance);
            nodes.push((node, found));
        }
        if let Some((_, found)) = nodes.first_mut() {
            found.missing.extend(report.notes.iter().cloned());
        }
        nodes
    }

    fn one(spec: &mut NodeSpec, instance: &Instance) -> Self {
        let mut missing = Vec::new();
        let (access, answer) = access(instance, &spec.meta.address, &mut missing);
        let haproxy = instance.runs || !instance.sockets.is_empty();
        spec.haproxy = Some(HaproxySpec {
            access: access.clone(),
            metrics_url: None,
            master_socket: instance.master_socket.clone(),
            config_file: Some(instance.configs.first().cloned().unwrap_or_else(|| DEFAULT_CONFIG.into())),
        });
        let at = match &access {
            HaproxyAccess::Socket(path) => path.display().to_string(),
            HaproxyAccess::Tcp(address) => address.clone(),
            HaproxyAccess::Stats { url, .. } => url.clone(),
        };
        Self {
            node: spec.meta.name.clone(),
            haproxy,
            reached: true,
            version: answer.as_ref().map(|(version, _)| version.clone()),
            at: haproxy.then_some(at),
            level: answer.map(|(_, level)| level),
            master_socket: instance.master_socket.as_ref().map(|p| p.display().to_string()),
            config: instance.configs.first().map(|p| p.display().to_string()),
            missing,
        }
    }

    /// The comment behind the node's name in the file.
    pub fn note(&self) -> Option<String> {
        match (&self.version, self.reached) {
            (Some(version), _) => Some(format!("haproxy {version}, level {}", self.level.map_or("?", level_word))),
            (None, true) => Some("haproxy did not answer when this was written".to_owned()),
            (None, false) if !self.missing.is_empty() => Some("could not be reached when this was written".to_owned()),
            (None, false) => None,
        }
    }
}

fn usual() -> HaproxySpec {
    HaproxySpec {
        access: HaproxyAccess::Socket(DEFAULT_SOCKET.into()),
        metrics_url: None,
        master_socket: None,
        config_file: Some(DEFAULT_CONFIG.into()),
    }
}

/// The way to haproxy that can do most, its version and level; what is less than could be had goes to `missing`.
fn access(report: &Instance, address: &str, missing: &mut Vec<String>) -> (HaproxyAccess, Option<(String, SocketLevel)>) {
    if let Some((at, answer)) = report.best() {
        if matches!(answer.level, SocketLevel::User | SocketLevel::Operator) {
            let word = level_word(answer.level);
            missing.push(format!("the socket has level {word}: put `level admin` on its line to make changes"));
        }
        let access = match at {
            SocketAt::Unix(path) => HaproxyAccess::Socket(path.clone()),
            SocketAt::Tcp(bind) => HaproxyAccess::Tcp(reachable(bind)),
        };
        return (access, Some((answer.version.clone(), answer.level)));
    }
    for socket in &report.sockets {
        if let Err(error) = &socket.answer {
            missing.push(error.to_string());
        }
    }
    // A socket that exists is worth mending; a page is what is left where there is none.
    if let Some(SocketAt::Unix(path)) = report.sockets.first().map(|s| &s.at) {
        return (HaproxyAccess::Socket(path.clone()), None);
    }
    if let Some((url, page)) = report.pages.iter().find_map(|p| Some((page_url(p, address)?, p))) {
        missing.push("no stats socket: the statistics page shows less and can do less".to_owned());
        if page.auth {
            missing.push("the page asks for a password: add user and password_file to stats".to_owned());
        }
        return (HaproxyAccess::Stats { url, user: None, password: None, ca_file: None }, None);
    }
    missing
        .push(format!("no stats socket: add `stats socket {DEFAULT_SOCKET} mode 660 level admin` to haproxy's global section"));
    (HaproxyAccess::Socket(DEFAULT_SOCKET.into()), None)
}

/// Where the page is from here: the host's address where it is bound to all of them.
fn page_url(page: &StatsPage, address: &str) -> Option<String> {
    let uri = page.uri.as_ref()?;
    let (host, port) = page.binds.first()?.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = match host {
        "" | "*" | "0.0.0.0" | "::" | "[::]" => address,
        host => host,
    };
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let scheme = if page.tls { "https" } else { "http" };
    Some(format!("{scheme}://{host}:{port}{uri}"))
}

pub fn level_word(level: SocketLevel) -> &'static str {
    match level {
        SocketLevel::Unknown => "unknown",
        SocketLevel::User => "user",
        SocketLevel::Operator => "operator",
        SocketLevel::Admin => "admin",
        SocketLevel::StatsReadOnly => "page that shows",
        SocketLevel::StatsAdmin => "page with stats admin",
    }
}

pub fn columns() -> Vec<Column<'static, Found>> {
    vec![
        Column::left("NODE", |f: &Found| Cell::plain(&f.node)),
        Column::left("HAPROXY", |f: &Found| match (&f.version, f.reached, f.haproxy) {
            (Some(version), ..) => Cell::new(version, Tone::Good),
            (None, false, _) => Cell::new(if f.missing.is_empty() { "not looked at" } else { "unreachable" }, Tone::Warn),
            (None, true, true) => Cell::new("no answer", Tone::Bad),
            (None, true, false) => Cell::new("none", Tone::Dim),
        }),
        Column::left("AT", |f: &Found| Cell::opt(f.at.as_ref())),
        Column::left("LEVEL", |f: &Found| match f.level {
            Some(SocketLevel::Admin) => Cell::new("admin", Tone::Good),
            Some(level) => Cell::new(level_word(level), Tone::Warn),
            None => Cell::opt(None::<&str>),
        }),
        Column::left("MASTER", |f: &Found| Cell::opt(f.master_socket.as_ref())),
        Column::left("CONFIG", |f: &Found| Cell::opt(f.config.as_ref())).wide(),
        Column::left("MISSING", |f: &Found| {
            Cell::new(f.missing.len(), if f.missing.is_empty() { Tone::Dim } else { Tone::Warn })
        }),
    ]
}

/// Local nodes are reached at no address of their own.
pub fn shown_reach(spec: &NodeSpec) -> String {
    match &spec.reach {
        Reach::Ssh(ssh) => ssh.host.clone(),
        Reach::Local => "this machine".to_owned(),
        Reach::None => "-".to_owned(),
    }
}

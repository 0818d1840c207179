//! What runs on a host that no fleet file describes yet: haproxy's processes, configuration, sockets and their levels.
//!
//! Looks only: commands that list, files that are read, `show` on sockets. Used by `fleet init`, and by `fleet check` to say
//! where a socket is that the fleet file has wrong.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::engine::haproxy::parse::endpoints;
use crate::engine::haproxy::parse::ps::{self, Process};
use crate::model::{SocketLevel, sanitize};
use crate::transport::{Endpoint, Limits, Transport, TransportError};

pub use crate::engine::haproxy::parse::endpoints::{SocketAt, StatsPage};

/// Places of statistics sockets that packages and manuals use.
const USUAL_SOCKETS: [&str; 5] = [
    "/run/haproxy/admin.sock",
    "/run/haproxy.sock",
    "/var/lib/haproxy/stats",
    "/run/haproxy/haproxy.sock",
    "/run/haproxy/stats.sock",
];
const USUAL_MASTERS: [&str; 2] = ["/run/haproxy-master.sock", "/run/haproxy/master.sock"];
const USUAL_CONFIG: &str = "/etc/haproxy/haproxy.cfg";
/// Configuration files of one host that are read at most, and their size.
const MAX_CONFIGS: usize = 32;
const MAX_CONFIG: usize = 4 << 20;
/// Sockets that are asked at most.
const MAX_SOCKETS: usize = 16;
/// `show info` is a few kilobytes.
const MAX_ANSWER: usize = 256 << 10;

/// What was found on one host.
#[derive(Clone, Debug, Default)]
pub struct ProbeReport {
    /// How the host was reached (`ssh ops@lb1:22`).
    pub way: String,
    /// Every haproxy by itself; those that answer come first.
    pub instances: Vec<Instance>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

/// One haproxy, master and workers together, or what stands where one usually is.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// A process was seen.
    pub runs: bool,
    /// Configuration files that could be read.
    pub configs: Vec<PathBuf>,
    /// Those that answer, most able first; then those that do not.
    pub sockets: Vec<FoundSocket>,
    pub master_socket: Option<PathBuf>,
    pub pages: Vec<StatsPage>,
}

#[derive(Clone, Debug)]
pub struct FoundSocket {
    pub at: SocketAt,
    pub answer: Result<SocketAnswer, TransportError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketAnswer {
    pub version: String,
    pub level: SocketLevel,
    pub pid: Option<u32>,
}

impl Instance {
    /// The socket to work with: the most able that answers.
    pub fn best(&self) -> Option<(&SocketAt, &SocketAnswer)> {
        self.sockets.iter().find_map(|s| s.answer.as_ref().ok().map(|a| (&s.at, a)))
    }
}

impl ProbeReport {
    pub fn best(&self) -> Option<(&SocketAt, &SocketAnswer)> {
        self.instances.iter().find_map(Instance::best)
    }
    /// A process was seen, whether it answers or not.
    pub fn runs(&self) -> bool {
        self.instances.iter().any(|i| i.runs)
    }
}

/// Looks at a host. The error is that it could not be reached at all; everything else is part of the report.
pub async fn probe(transport: &dyn Transport, step: Duration) -> Result<ProbeReport, TransportError> {
    let mut listed = transport.run(&["ps", "-eo", "pid=,args="], b"", limits(step)).await?;
    if listed.status != Some(0) {
        // BusyBox knows neither -e nor columns without a header.
        listed = transport.run(&["ps", "-o", "pid,args"], b"", limits(step)).await?;
    }
    let mut look = Look { transport, step, notes: Vec::new(), seen: HashSet::new() };
    if listed.status != Some(0) {
        look.notes.push("ps lists no processes here; only the usual places were looked at".to_owned());
    }
    let mut instances: Vec<Instance> = Vec::new();
    let mut known: HashSet<Vec<PathBuf>> = HashSet::new();
    for process in ps::parse(&sanitize_lines(&listed.stdout)) {
        let paths = look.absolute(&process).await;
        // Workers repeat their master's line: what was started with the same files is one haproxy.
        if known.insert(paths.clone()) {
            instances.push(look.instance(&paths, process.master_socket).await);
        }
    }
    look.usual_places(&mut instances).await;
    instances.sort_by_key(|i| i.best().is_none());
    Ok(ProbeReport { way: transport.describe(), instances, notes: look.notes })
}

fn limits(step: Duration) -> Limits {
    Limits { deadline: step, output: 1 << 20 }
}

/// A look at one host, under way.
struct Look<'t> {
    transport: &'t dyn Transport,
    step: Duration,
    notes: Vec<String>,
    /// Endpoints that were asked.
    seen: HashSet<String>,
}

impl Look<'_> {
    /// The paths of `-f`; those that are relative start where the process runs.
    async fn absolute(&mut self, process: &Process) -> Vec<PathBuf> {
        if process.configs.iter().all(|p| p.is_absolute()) {
            return process.configs.clone();
        }
        let link = format!("/proc/{}/cwd", process.pid);
        let folder = match self.transport.run(&["readlink", &link], b"", limits(self.step)).await {
            Ok(out) if out.status == Some(0) => PathBuf::from(String::from_utf8_lossy(&out.stdout).trim_end()),
            _ => {
                self.notes.push(format!("process {}: where it runs, and so its files, is not told", process.pid));
                return process.configs.iter().filter(|p| p.is_absolute()).cloned().collect();
            }
        };
        process.configs.iter().map(|p| folder.join(p)).collect()
    }

    async fn instance(&mut self, paths: &[PathBuf], master: Option<PathBuf>) -> Instance {
        let mut instance = Instance { runs: true, ..Instance::default() };
        let mut candidates = Vec::new();
        for path in self.config_files(paths).await {
            if let Some(text) = self.read_config(&path, true).await {
                let found = endpoints::find(&text);
                candidates.extend(found.sockets.into_iter().map(|s| s.at));
                instance.pages.extend(found.pages);
                instance.configs.push(path);
            }
        }
        instance.sockets = self.ask_all(candidates).await;
        if let Some(path) = master
            && self.transport.open(&Endpoint::Unix(path.clone()), self.step).await.is_ok()
        {
            instance.master_socket = Some(path);
        }
        instance
    }

    /// Where packages put things. What answers there belongs to the one haproxy that has shown no socket of its own (its
    /// files may not be read), or to one whose process is not seen.
    async fn usual_places(&mut self, instances: &mut Vec<Instance>) {
        let mut usual = Instance {
            sockets: self.ask_all(USUAL_SOCKETS.map(|p| SocketAt::Unix(p.into())).to_vec()).await,
            ..Instance::default()
        };
        let config = PathBuf::from(USUAL_CONFIG);
        if instances.is_empty()
            && let Some(text) = self.read_config(&config, false).await
        {
            usual.pages = endpoints::find(&text).pages;
            usual.configs.push(config);
        }
        if let [only] = instances.as_mut_slice()
            && only.sockets.is_empty()
        {
            only.sockets = std::mem::take(&mut usual.sockets);
        }
        let pids: Vec<u32> = instances.iter().filter_map(|i| i.best()?.1.pid).collect();
        usual.sockets.retain(|s| !s.answer.as_ref().is_ok_and(|a| a.pid.is_some_and(|p| pids.contains(&p))));
        if !usual.sockets.is_empty() {
            instances.push(usual);
        }
        if let [only] = instances.as_mut_slice()
            && only.master_socket.is_none()
        {
            for path in USUAL_MASTERS.map(PathBuf::from) {
                if self.transport.open(&Endpoint::Unix(path.clone()), self.step).await.is_ok() {
                    only.master_socket = Some(path);
                    break;
                }
            }
        }
    }

    /// Files as they are; folders are opened up as haproxy does it (`*.cfg`, sorted).
    async fn config_files(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let Some(access) = self.transport.files() else { return files };
        for path in paths {
            let stat = tokio::time::timeout(self.step, access.stat(path)).await;
            if !matches!(stat, Ok(Ok(Some(stat))) if stat.is_dir) {
                files.push(path.clone());
                continue;
            }
            if let Ok(Ok(mut names)) = tokio::time::timeout(self.step, access.list(path)).await {
                names.sort();
                files.extend(names.into_iter().filter(|n| n.ends_with(".cfg") && !n.starts_with('.')).map(|n| path.join(n)));
            }
        }
        files.truncate(MAX_CONFIGS);
        files
    }

    async fn read_config(&mut self, path: &Path, must_be_there: bool) -> Option<String> {
        let read = tokio::time::timeout(self.step, self.transport.files()?.read(path, MAX_CONFIG)).await;
        match read {
            Ok(Ok(bytes)) => return Some(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(Err(TransportError::NotFound { .. })) if !must_be_there => {}
            Ok(Err(error)) => self.notes.push(error.to_string()),
            Err(_) => self.notes.push(format!("{}: not read within {:?}", path.display(), self.step)),
        }
        None
    }

    /// Asks every candidate that exists; those that answer come first, the most able one at the top.
    async fn ask_all(&mut self, candidates: Vec<SocketAt>) -> Vec<FoundSocket> {
        let mut found: Vec<FoundSocket> = Vec::new();
        for at in candidates.into_iter().take(MAX_SOCKETS) {
            let endpoint = endpoint(&at);
            // /var/run is /run wherever these packages run.
            if !self.seen.insert(endpoint.to_string().replacen("/var/run/", "/run/", 1)) {
                continue;
            }
            match ask(self.transport, &endpoint, self.step).await {
                Err(TransportError::NotFound { .. }) => {}
                answer => found.push(FoundSocket { at, answer }),
            }
        }
        found.sort_by_key(|s| match &s.answer {
            Ok(answer) => 3 - rank(answer.level).min(3),
            Err(_) => 4,
        });
        found
    }
}

fn rank(level: SocketLevel) -> u8 {
    match level {
        SocketLevel::Admin | SocketLevel::StatsAdmin => 3,
        SocketLevel::Operator => 2,
        SocketLevel::User | SocketLevel::StatsReadOnly => 1,
        SocketLevel::Unknown => 0,
    }
}

fn endpoint(at: &SocketAt) -> Endpoint {
    match at {
        SocketAt::Unix(path) => Endpoint::Unix(path.clone()),
        SocketAt::Tcp(address) => Endpoint::Tcp(reachable(address)),
    }
}

/// The address under which the host itself reaches what is bound there: `*:99` and `:99` are everywhere.
pub fn reachable(bind: &str) -> String {
    match bind.rsplit_once(':') {
        Some(("" | "*" | "0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("::" | "[::]", port)) => format!("[::1]:{port}"),
        _ => bind.to_owned(),
    }
}

/// Asks a statistics socket who it is.
pub async fn ask(transport: &dyn Transport, endpoint: &Endpoint, step: Duration) -> Result<SocketAnswer, TransportError> {
    let talk = async {
        let mut stream = transport.open(endpoint, step).await?;
        let broken = |e: std::io::Error| TransportError::Unreachable { at: endpoint.to_string(), what: e.to_string() };
        stream.write_all(b"show info;show cli level\n").await.map_err(broken)?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER as u64).read_to_end(&mut answer).await.map_err(broken)?;
        parse_answer(&String::from_utf8_lossy(&answer)).ok_or_else(|| TransportError::Other {
            at: endpoint.to_string(),
            what: "what answers there is not haproxy".to_owned(),
        })
    };
    let late = |_| TransportError::Timeout { at: endpoint.to_string(), doing: "show info".to_owned(), after: step };
    tokio::time::timeout(step, talk).await.map_err(late)?
}

/// `show info` and, from 1.8 on, `show cli level` behind it.
fn parse_answer(text: &str) -> Option<SocketAnswer> {
    let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ").map(str::trim));
    if !value("Name")?.to_ascii_lowercase().starts_with("haproxy") {
        return None;
    }
    let level = match text.lines().rev().map(str::trim).find(|l| !l.is_empty()) {
        Some("admin") => SocketLevel::Admin,
        Some("operator") => SocketLevel::Operator,
        Some("user") => SocketLevel::User,
        _ => SocketLevel::Unknown,
    };
    let version = sanitize(value("Version")?).into_owned();
    Some(SocketAnswer { version, level, pid: value("Pid").and_then(|p| p.parse().ok()) })
}

fn sanitize_lines(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().map(|l| sanitize(l).into_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let answer = parse_answer("Name: HAProxy\nVersion: 2.6.12-1\nPid: 7\n\nadmin\n\n").unwrap();
        assert_eq!(answer, SocketAnswer { version: "2.6.12-1".into(), level: SocketLevel::Admin, pid: Some(7) });
        let old = parse_answer("Name: HAProxy\nVersion: 1.7.1\n\nUnknown command. Please enter one of …\n").unwrap();
        assert_eq!(old.level, SocketLevel::Unknown);
        for text in ["", "Name: HAProxy\n", "SSH-2.0-OpenSSH\r\n", "Name: nginx\nVersion: 1\n"] {
            assert_eq!(parse_answer(text), None, "{text}");
        }
    }

    #[test]
    fn binds_as_the_host_reaches_them() {
        for (bind, address) in
            [("*:9", "127.0.0.1:9"), (":9", "127.0.0.1:9"), ("[::]:9", "[::1]:9"), ("10.0.0.1:9", "10.0.0.1:9")]
        {
            assert_eq!(reachable(bind), address);
        }
    }
}

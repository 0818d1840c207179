//! What is there on a node before anything is done: processor, rights, systemd, files by their sums, the agent that runs.
//!
//! Everything is asked by argv that only look; sums are taken on the node, so that nothing is believed that was once sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use serde::Serialize;

use crate::config::{AGENT_UNIT, AGENT_USER, AgentPaths};
use crate::engine::relay::wire::Hello;
use crate::model::sanitize;
use crate::transport::Transport;

use super::far::{self, FarError, SHORT};

/// How commands get the rights that they take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    /// The ssh user is root.
    Root,
    /// By `sudo -n`.
    Sudo,
    /// None are taken: everything belongs to the ssh user.
    Own,
}

impl Privilege {
    /// argv with what gives it its rights in front.
    pub fn argv<const N: usize>(self, words: [&str; N]) -> Vec<String> {
        self.prefix().into_iter().chain(words).map(str::to_owned).collect()
    }
    pub fn words(self, words: Vec<String>) -> Vec<String> {
        self.prefix().into_iter().map(str::to_owned).chain(words).collect()
    }
    fn prefix(self) -> Vec<&'static str> {
        match self {
            Privilege::Root | Privilege::Own => Vec::new(),
            Privilege::Sudo => vec!["sudo", "-n", "--"],
        }
    }
}

/// The agent that answers on the control socket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    #[serde(flatten)]
    pub hello: Hello,
    /// Of the program that the process runs, whatever stands under its path by now.
    pub sha256: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnitState {
    pub enabled: bool,
    /// `active`, `inactive`, `failed` …
    pub active: String,
    /// `running`, `dead`, `auto-restart` …
    pub sub: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeFacts {
    #[serde(skip)]
    pub paths: AgentPaths,
    /// `uname -m`.
    pub machine: String,
    /// `uname -s`.
    pub system: String,
    /// Of the ssh user.
    pub uid: u32,
    /// Folder for what is on its way; None where the ssh user has no home.
    pub staging: Option<PathBuf>,
    pub privilege: Privilege,
    pub systemd: bool,
    /// `useradd` is there.
    pub can_add_user: bool,
    pub has_user: bool,
    pub haproxy_group: bool,
    /// sha256 of those files of the agent that are there.
    pub files: BTreeMap<PathBuf, String>,
    /// Those folders of the agent that are there.
    pub folders: Vec<PathBuf>,
    /// Text of the unit as it is.
    pub unit_text: Option<String>,
    pub unit: Option<UnitState>,
    pub running: Option<Running>,
    /// A supervisor is on record (no systemd).
    pub supervised: bool,
    /// Bytes that are free where binaries go.
    pub free: Option<u64>,
}

impl NodeFacts {
    pub fn has(&self, file: &Path) -> bool {
        self.files.contains_key(file)
    }
    pub fn sum(&self, file: &Path) -> Option<&str> {
        self.files.get(file).map(String::as_str)
    }
    /// A build is in its place.
    pub fn installed(&self) -> bool {
        self.has(&self.paths.binary())
    }
}

/// For an answer of an agent that is well (seconds).
const ANSWER_S: u64 = 5;

/// A binary that is on its way into its place, and the one that it displaces until the new one is known to serve.
pub fn incoming(paths: &AgentPaths) -> PathBuf {
    paths.library().join("lbdeck.new")
}
pub fn displaced(paths: &AgentPaths) -> PathBuf {
    paths.library().join("lbdeck.old")
}

/// The supervisor's argv for one of its verbs.
pub fn supervisor(paths: &AgentPaths, verb: &str) -> Vec<String> {
    let mut argv = vec![paths.binary().display().to_string(), "agent".into(), "supervise".into(), verb.into()];
    for (flag, folder) in [("--prefix", paths.prefix()), ("--lock-dir", paths.lock_dir())] {
        argv.extend(folder.iter().flat_map(|f| [flag.to_owned(), f.display().to_string()]));
    }
    argv
}

/// Asks the control socket, on the node itself; `within_s` seconds for the answer.
pub fn ask(paths: &AgentPaths, within_s: u64, words: &[&str]) -> Vec<String> {
    let (binary, socket) = (paths.binary().display().to_string(), paths.socket().display().to_string());
    let within = format!("{within_s}s");
    let start = [binary, "agent".into(), "ask".into(), "--socket".into(), socket, "--within".into(), within];
    start.into_iter().chain(words.iter().map(|w| (*w).to_owned())).collect()
}

/// Looks at a node.
pub async fn look(transport: &dyn Transport, paths: &AgentPaths) -> Result<NodeFacts, FarError> {
    let argv = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<String>>();
    let text = |words: &'static [&'static str]| async move { far::run(transport, &argv(words), b"", SHORT).await };
    let yes = |words: Vec<String>| async move { far::output(transport, &words, b"", SHORT).await.map(|o| o.status == Some(0)) };

    let (uname, uid, home) = futures::join!(text(&["uname", "-sm"]), text(&["id", "-u"]), text(&["printenv", "HOME"]));
    let uname = sanitize(uname?.trim()).into_owned();
    let (system, machine) = uname.split_once(' ').unwrap_or(("", &uname));
    let wrong = |what: &str| FarError::Wrong { what: format!("{}: {what}", transport.describe()) };
    let uid: u32 = uid?.trim().parse().map_err(|_| wrong("`id -u` gave no number"))?;
    let home = home.ok().map(|h| PathBuf::from(h.trim())).filter(|h| h.is_absolute());
    let privilege = match (paths.prefix(), uid) {
        (Some(_), _) => Privilege::Own,
        (None, 0) => Privilege::Root,
        (None, _) => {
            far::run(transport, &argv(&["sudo", "-n", "--", "true"]), b"", SHORT).await?;
            Privilege::Sudo
        }
    };

    let files =
        [paths.binary(), paths.previous(), incoming(paths), displaced(paths), paths.config(), paths.unit(), paths.pid_file()];
    let mut folders = vec![paths.library(), paths.config_dir(), paths.state(), paths.runtime()];
    folders.extend(paths.prefix().map(Path::to_owned));
    let system_wide = paths.prefix().is_none();
    let folders_there = join_all(folders.into_iter().map(|folder| async move {
        let there = yes(privilege.argv(["test", "-d", &folder.display().to_string()])).await?;
        Ok::<_, FarError>(there.then_some(folder))
    }));
    let (sums, folders, systemd, has_useradd, has_user, haproxy_group, free) = futures::join!(
        sums(transport, privilege, &files),
        folders_there,
        yes(argv(&["test", "-d", "/run/systemd/system"])),
        yes(argv(&["test", "-x", "/usr/sbin/useradd"])),
        yes(argv(&["id", "-u", AGENT_USER])),
        yes(argv(&["getent", "group", "haproxy"])),
        free_below(transport, paths),
    );
    let files = sums?;
    let systemd = system_wide && systemd?;
    let mut facts = NodeFacts {
        paths: paths.clone(),
        machine: machine.to_owned(),
        system: system.to_owned(),
        uid,
        staging: home.map(|home| home.join(".lbdeck-upload")),
        privilege,
        systemd,
        can_add_user: systemd && has_useradd?,
        has_user: system_wide && has_user?,
        haproxy_group: systemd && haproxy_group?,
        supervised: files.contains_key(&paths.pid_file()),
        files,
        folders: folders.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?,
        unit_text: None,
        unit: None,
        running: None,
        free,
    };
    if facts.systemd && facts.has(&paths.unit()) {
        let unit = paths.unit().display().to_string();
        let cat = privilege.argv(["cat", "--", &unit]);
        let show = privilege.argv(["systemctl", "show", "-p", "ActiveState,SubState,UnitFileState", AGENT_UNIT]);
        let (text, shown) = futures::join!(far::run(transport, &cat, b"", SHORT), far::run(transport, &show, b"", SHORT));
        facts.unit_text = Some(text?);
        facts.unit = Some(unit_state(&shown?));
    }
    if facts.installed() {
        facts.running = running(transport, privilege, paths).await?;
    }
    Ok(facts)
}

/// Sums of those files that are there.
async fn sums(transport: &dyn Transport, privilege: Privilege, files: &[PathBuf]) -> Result<BTreeMap<PathBuf, String>, FarError> {
    let mut words = vec!["sha256sum".to_owned(), "--".into()];
    words.extend(files.iter().map(|f| f.display().to_string()));
    // Files that are missing make its status 1, and are named on stderr.
    let ran = far::output(transport, &privilege.words(words), b"", SHORT * 3).await?;
    if ran.status.is_none_or(|s| s > 1) {
        return Err(FarError::Command { command: "sha256sum".into(), said: far::complaint(&ran) });
    }
    let text = String::from_utf8_lossy(&ran.stdout);
    Ok(text
        .lines()
        .filter_map(|line| {
            let sum = far::sum_in(line)?;
            let name = line.get(sum.len()..)?.trim_start_matches([' ', '*']);
            let file = files.iter().find(|f| f.as_os_str() == name)?;
            Some((file.clone(), sum.to_owned()))
        })
        .collect())
}

/// Bytes that are free where the library folder is or will be; None where the node does not tell.
async fn free_below(transport: &dyn Transport, paths: &AgentPaths) -> Option<u64> {
    let library = paths.library();
    for folder in library.ancestors().take(4) {
        let argv = ["df".to_owned(), "-Pk".into(), folder.display().to_string()];
        if let Ok(text) = far::run(transport, &argv, b"", SHORT).await {
            return free_in(&text);
        }
    }
    None
}

/// The `Available` column of `df -Pk`, in bytes.
fn free_in(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    // A device's name may hold blanks: columns are counted from the percentage.
    let at = words.iter().rposition(|w| w.ends_with('%'))?;
    words.get(at.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

fn unit_state(shown: &str) -> UnitState {
    let value = |key: &str| {
        let value = shown.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
        sanitize(value.trim()).into_owned()
    };
    UnitState { enabled: value("UnitFileState") == "enabled", active: value("ActiveState"), sub: value("SubState") }
}

/// Who answers on the control socket; None where nobody does.
pub async fn running(transport: &dyn Transport, privilege: Privilege, paths: &AgentPaths) -> Result<Option<Running>, FarError> {
    let ran = far::output(transport, &privilege.words(ask(paths, ANSWER_S, &["GET", "/hello"])), b"", SHORT).await?;
    if ran.status != Some(0) {
        return Ok(None);
    }
    let Ok(mut hello) = serde_json::from_slice::<Hello>(&ran.stdout) else { return Ok(None) };
    for text in [&mut hello.agent, &mut hello.host, &mut hello.supervisor] {
        *text = sanitize(text).into_owned();
    }
    let exe = format!("/proc/{}/exe", hello.pid);
    let ran = far::output(transport, &privilege.argv(["sha256sum", "--", &exe]), b"", SHORT * 3).await?;
    let sha256 = far::sum_in(&String::from_utf8_lossy(&ran.stdout)).map(str::to_owned);
    Ok(Some(Running { hello, sha256 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_df_are_counted_from_the_percentage() {
        let gnu = "Filesystem     1024-blocks      Used Available Capacity Mounted on\n/dev/sda1  100 40 60 40% /usr\n";
        let blanks = "Filesystem 1024-blocks Used Available Capacity Mounted on\nmy disk 100 40 7 94% /mnt/a b\n";
        assert_eq!((free_in(gnu), free_in(blanks), free_in("x"), free_in("a\n5%")), (Some(61_440), Some(7168), None, None));
    }

    #[test]
    fn the_state_of_a_unit_is_read() {
        let state = unit_state("ActiveState=active\nSubState=running\nUnitFileState=enabled\n");
        assert_eq!(state, UnitState { enabled: true, active: "active".into(), sub: "running".into() });
        assert_eq!(unit_state("nonsense"), UnitState::default());
    }

    #[test]
    fn rights_come_first() {
        assert_eq!(Privilege::Sudo.argv(["rm", "x"]), ["sudo", "-n", "--", "rm", "x"]);
        assert_eq!(Privilege::Own.argv(["rm", "x"]), ["rm", "x"]);
        assert!(supervisor(&AgentPaths::below("/p"), "stop").ends_with(&["--prefix".into(), "/p".into()]));
    }
}

//! The HTTP statistics page: the CSV that it exports, what only its HTML says, and its form for changes.

use std::sync::Mutex;

use crate::engine::{Command, EngineError, Result, Want};
use crate::model::{Change, CheckKind};
use crate::model::{EngineInfo, EngineKind, InfoLines, NodeObs, ServerRef, SocketLevel, Target};
use crate::transport::http::HttpClient;

use super::capability;
use super::observe::{Known, Picture};
use super::parse::info::release;
use super::parse::stats_csv::StatTable;
use super::parse::stats_page::{PageHead, head, post_code, post_result};
use super::reading::Reading;
use super::socket::Deadline;
use super::words;

/// The page's filter takes at most so many characters of a pool's name.
const SCOPE: usize = 20;
/// A filter that no pool's name contains: the page is then only its head.
const NO_POOL: &str = "?scope=--no-such-pool--";
/// Bytes of an answer to a POST.
const POST_LIMIT: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Page {
    client: HttpClient,
    max_reply: usize,
    known: Mutex<Known>,
    /// Whether the process with this number lets us change things. The page only tells where it shows a pool.
    admin: Mutex<Option<(Option<u32>, bool)>>,
}

impl Page {
    pub(super) fn new(client: HttpClient, max_reply: usize) -> Self {
        Self { client, max_reply, known: Mutex::default(), admin: Mutex::default() }
    }

    pub(super) fn describe(&self) -> String {
        self.client.at().to_owned()
    }

    pub(super) async fn read(&self, want: Want<'_>, deadline: Deadline) -> Result<Reading> {
        let scope = match want {
            Want::Pool(pool) if words::name(pool).is_ok() => {
                format!(";csv?scope={}", pool.chars().take(SCOPE).collect::<String>())
            }
            _ => ";csv".to_owned(),
        };
        let (csv, page) = tokio::try_join!(self.get(&scope, deadline), self.get(NO_POOL, deadline))?;
        let header = lock(&self.known).header().clone();
        let table = StatTable::parse_at(csv, 0, &header).map_err(|e| self.malformed(e.to_string()))?;
        let picture = Picture::of(&table, None, &lock(&self.known));
        let mut page = head(&page);
        page.admin = self.may_change(&page, &picture, deadline).await?;
        let level = if page.admin { SocketLevel::StatsAdmin } else { SocketLevel::StatsReadOnly };
        let mut notes = vec![
            "over HTTP the administrative state is derived from 'status': a DOWN server in drain looks like any DOWN server"
                .to_owned(),
        ];
        if let Some((why, hint)) = capability::refuses_changes(level) {
            notes.push(format!("{why}: {hint}"));
        }
        let mut reading = Reading { engine: engine(&page, level), picture, table: Some(table), notes, started_at: None };
        match want {
            Want::All => {
                if let Some(table) = &reading.table {
                    lock(&self.known).learn(table, &reading.picture.pools);
                }
            }
            Want::Pool(pool) => reading.keep_only(pool),
        }
        Ok(reading)
    }

    /// Asks once for each process: a page that shows a pool has the form or has it not.
    async fn may_change(&self, page: &PageHead, picture: &Picture, deadline: Deadline) -> Result<bool> {
        if let Some((pid, admin)) = *lock(&self.admin)
            && pid == page.pid
        {
            return Ok(admin);
        }
        // The smallest pool makes the smallest page.
        let Some(pool) = picture.pools.iter().filter(|p| !p.servers.is_empty()).min_by_key(|p| p.servers.len()) else {
            return Ok(false);
        };
        let scope: String = pool.name.as_str().chars().take(SCOPE).collect();
        let admin = head(&self.get(&format!("?scope={scope}"), deadline).await?).admin;
        *lock(&self.admin) = Some((page.pid, admin));
        Ok(admin)
    }

    async fn get(&self, suffix: &str, deadline: Deadline) -> Result<Vec<u8>> {
        Ok(self.client.get(suffix, self.max_reply, deadline.left()).await?.body)
    }

    fn malformed(&self, what: String) -> EngineError {
        EngineError::Malformed { at: self.describe(), what }
    }

    /// One POST for each command; the redirect that answers it says how it went.
    pub(super) async fn send(&self, commands: &[Command], deadline: Deadline) -> Result<Vec<String>> {
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            let Command::HttpForm(fields) = command else {
                let what = format!("'{command}' is for a statistics socket, and this is the statistics page");
                return Err(EngineError::NotAllowed { at: self.describe(), what, hint: "plan again".into() });
            };
            let reply = self.client.post_form(fields, POST_LIMIT, deadline.left()).await?;
            let Some(code) = reply.location.as_deref().and_then(post_code) else {
                let what = format!("HTTP {} instead of a result: the page takes no changes", reply.status);
                let hint = "add 'stats admin if …' to the node's configuration".into();
                return Err(EngineError::NotAllowed { at: self.describe(), what, hint });
            };
            match post_result(code) {
                Ok(said) => replies.push(said.to_owned()),
                Err((said, hint)) => {
                    let (command, reply) = (command.to_string(), format!("{code}: {said}"));
                    return Err(EngineError::Refused { at: self.describe(), command, reply, hint: hint.map(str::to_owned) });
                }
            }
        }
        Ok(replies)
    }
}

fn engine(page: &PageHead, level: SocketLevel) -> EngineInfo {
    let version = page.version.clone().unwrap_or_default();
    let mut info: InfoLines = [("Name", "HAProxy")].into_iter().collect();
    if !version.is_empty() {
        info.push("Version", &version);
    }
    info.extend(page.pid.map(|pid| ("Pid", pid.to_string())));
    info.extend(page.uptime.map(|up| ("Uptime_sec", up.as_secs().to_string())));
    EngineInfo { kind: EngineKind::Haproxy, release: release(&version), version, level, pid: page.pid, uptime: page.uptime, info }
}

/// The form fields for a change, or why the page cannot make it.
pub(super) fn encode(target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
    if let Some((why, hint)) = capability::refuses_changes(seen.engine.level) {
        return Err(format!("{why}: {hint}"));
    }
    let cannot = || Err(format!("the HTTP statistics page cannot do '{change}'; give lbdeck a statistics socket of level admin"));
    let Target::Server(ServerRef { pool, server }) = target else { return cannot() };
    let (pool, server) = (words::name(pool.as_str())?, words::name(server.as_str())?);
    let action = match change {
        Change::Ready => "ready",
        Change::Drain => "drain",
        Change::Maint => "maint",
        Change::KillSessions => "shutdown",
        Change::Checks { kind: CheckKind::Health, on: true } => "ehlth",
        Change::Checks { kind: CheckKind::Health, on: false } => "dhlth",
        Change::Checks { kind: CheckKind::Agent, on: true } => "eagent",
        Change::Checks { kind: CheckKind::Agent, on: false } => "dagent",
        _ => return cannot(),
    };
    let fields = [("s", server), ("b", pool), ("action", action)];
    Ok(vec![Command::HttpForm(fields.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec())])
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

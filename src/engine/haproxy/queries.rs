//! Questions that are asked when somebody looks: sessions, stick tables, certificates, workers.

use std::sync::Arc;

use crate::engine::{EngineError, Result};
use crate::model::{Certificate, ServerObs, ServerRef, Session, StickTable, StickTableEntry, Worker};

use super::capability::RAISE_LEVEL;
use super::observe::{Known, Picture};
use super::parse::stats_csv::StatTable;
use super::parse::{ParseError, process, sessions, ssl_cert, tables};
use super::replies;
use super::socket::{Deadline, Socket};
use super::words;

/// How the master says that a process has ended.
const NO_SUCH_PROCESS: &[u8] = b"Can't find the target PID";

/// Commands in one line: an engine takes 16 KB (`tune.bufsize`).
const KILLED_AT_ONCE: usize = 100;

/// `narrow`: the release can filter by server (3.2 and later).
pub(super) async fn sessions_of(
    socket: &Socket,
    of: Option<&ServerRef>,
    limit: usize,
    narrow: bool,
    deadline: Deadline,
) -> Result<Vec<Session>> {
    let line = match of {
        Some(server) if narrow => {
            format!("show sess server {}/{}", safe(socket, server.pool.as_str())?, safe(socket, server.server.as_str())?)
        }
        _ => "show sess".to_owned(),
    };
    let reply = socket.ask(&line, deadline).await?;
    let start = String::from_utf8_lossy(reply.get(..200).unwrap_or(&reply)).into_owned();
    if !start.trim().is_empty() && !start.trim_start().starts_with("0x") {
        return Err(refused(socket, &line, &start));
    }
    Ok(sessions::parse(&reply, limit, |session| {
        of.is_none_or(|of| session.backend == of.pool.as_str() && session.server == of.server.as_str())
    }))
}

pub(super) async fn stick_tables(socket: &Socket, deadline: Deadline) -> Result<Vec<StickTable>> {
    let reply = socket.ask("show table", deadline).await?;
    tables::parse(&reply).map_err(|e| wrong(socket, "show table", &reply, e))
}

pub(super) async fn table_entries(
    socket: &Socket,
    table: &str,
    limit: usize,
    deadline: Deadline,
) -> Result<Vec<StickTableEntry>> {
    let line = format!("show table {}", safe(socket, table)?);
    let reply = socket.ask(&line, deadline).await?;
    tables::entries(&reply, limit).map_err(|e| wrong(socket, &line, &reply, e))
}

/// All certificates in use. Their details come on one conversation; one that is replaced meanwhile is left out.
pub(super) async fn certificates(socket: &Socket, deadline: Deadline) -> Result<Vec<Certificate>> {
    let reply = socket.ask("show ssl cert", deadline).await?;
    let files = ssl_cert::list(&reply).map_err(|e| {
        let what = format!("certificates cannot be listed: {}", e.what);
        EngineError::NotAllowed { at: socket.describe(), what, hint: format!("it needs level operator; {RAISE_LEVEL}") }
    })?;
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut talk = socket.converse(deadline).await?;
    let mut all = Vec::with_capacity(files.len());
    for file in files {
        // HAProxy has no way to quote a path with spaces here: its details stay unknown, its name does not.
        let Ok(word) = words::word(&file) else {
            all.push(Certificate { file, subject: String::new(), not_after: None, names: Vec::new() });
            continue;
        };
        let reply = talk.ask(&format!("show ssl cert {word}")).await?;
        match ssl_cert::details(word, reply.as_bytes()) {
            Ok(certificate) => all.push(certificate),
            Err(_) if reply.contains("Not found") => {}
            Err(e) => return Err(EngineError::Malformed { at: socket.describe(), what: e.to_string() }),
        }
    }
    Ok(all)
}

/// From the master CLI, which waits for more commands unless it is told to go.
pub(super) async fn workers(master: &Socket, deadline: Deadline) -> Result<Vec<Worker>> {
    let reply = master.ask("show proc;quit", deadline).await?;
    process::parse(&reply).map_err(|e| wrong(master, "show proc", &reply, e))
}

/// What one process of the family still holds of a server; the master passes the question on (`@!PID`, management guide, 9.4).
pub(super) async fn left_in(master: &Socket, pid: u32, of: &ServerRef, deadline: Deadline) -> Result<u64> {
    let line = format!("@!{pid} show stat {} 4 -1", safe(master, of.pool.as_str())?);
    let reply = master.ask(&format!("{line};quit"), deadline).await?;
    if reply.trim_ascii_start().starts_with(NO_SUCH_PROCESS) {
        return Ok(0); // it ended since it was listed
    }
    if reply.trim_ascii_start().starts_with(b"No such proxy") {
        return Ok(0);
    }
    let table = StatTable::parse_at(reply, 0, &Arc::default()).map_err(|e| wrong(master, &line, b"", e))?;
    let picture = Picture::of(&table, None, &Known::default());
    let server = picture.pools.iter().find(|p| p.name == of.pool).and_then(|p| p.server(of.server.as_str()));
    Ok(server.map_or(0, ServerObs::left))
}

/// Ends what one process of the family holds of a server; gives the commands. Each session by its pointer, because an old
/// process has its proxies disabled and answers `shutdown sessions server` with `Proxy is disabled.`
pub(super) async fn kill_sessions_in(master: &Socket, pid: u32, of: &ServerRef, deadline: Deadline) -> Result<Vec<String>> {
    let line = format!("@!{pid} show sess");
    let reply = master.ask(&format!("{line};quit"), deadline).await?;
    let start = reply.trim_ascii_start();
    if start.is_empty() || start.starts_with(NO_SUCH_PROCESS) {
        return Ok(Vec::new());
    }
    if !start.starts_with(b"0x") {
        return Err(refused(master, &line, &String::from_utf8_lossy(start.get(..200).unwrap_or(start))));
    }
    let theirs = |s: &Session| s.backend == of.pool.as_str() && s.server == of.server.as_str();
    let lines: Vec<String> =
        sessions::parse(&reply, usize::MAX, theirs).into_iter().map(|s| format!("@!{pid} shutdown session {}", s.id)).collect();
    for some in lines.chunks(KILLED_AT_ONCE) {
        // One that has ended since is `No such session`, which is what was wanted.
        master.ask(&format!("{};quit", some.join(";")), deadline).await?;
    }
    Ok(lines)
}

fn safe<'a>(socket: &Socket, text: &'a str) -> Result<&'a str> {
    words::name(text).map_err(|what| EngineError::NotAllowed { at: socket.describe(), what, hint: "check the spelling".into() })
}

/// A refusal in words becomes one; anything else makes no sense.
fn wrong(socket: &Socket, line: &str, reply: &[u8], error: ParseError) -> EngineError {
    let text = String::from_utf8_lossy(reply.get(..400).unwrap_or(reply)).into_owned();
    let known = ["Permission denied", "No such", "Unknown command"].iter().any(|w| text.contains(w));
    if known { refused(socket, line, &text) } else { EngineError::Malformed { at: socket.describe(), what: error.to_string() } }
}

fn refused(socket: &Socket, line: &str, reply: &str) -> EngineError {
    let at = socket.describe();
    match replies::judge(line, reply) {
        Err(refusal) if refusal.denied => EngineError::NotAllowed {
            at,
            what: format!("permission denied for '{line}'"),
            hint: refusal.hint.unwrap_or_else(|| RAISE_LEVEL.into()),
        },
        Err(refusal) => EngineError::Refused { at, command: line.to_owned(), reply: refusal.reply, hint: refusal.hint },
        Ok(said) => EngineError::Malformed { at, what: format!("'{line}' was answered by '{said}'") },
    }
}

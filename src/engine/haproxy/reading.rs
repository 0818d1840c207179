//! One reading over the statistics socket: information, statistics and exact administrative state on one connection.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::engine::{EngineError, Result, Want};
use crate::model::{EngineInfo, EngineKind, SocketLevel, sanitize};

use super::capability;
use super::observe::{Known, Picture};
use super::parse::info::{Info, release};
use super::parse::stats_csv::StatTable;
use super::parse::{ParseError, servers_state};
use super::socket::{Deadline, Socket};
use super::words;

/// What one reading teaches the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: Mutex<Known>,
    /// Proxy numbers of pools: `show stat` finds a pool by number even where a frontend has the same name.
    numbers: Mutex<HashMap<String, String>>,
}

/// A reading before it is stamped with who, when and how long.
#[derive(Debug)]
pub(super) struct Reading {
    pub engine: EngineInfo,
    pub picture: Picture,
    pub table: Option<StatTable>,
    pub notes: Vec<String>,
    /// Start of the process, seconds since the epoch on the node's clock.
    pub started_at: Option<i64>,
}

impl Reading {
    pub(super) fn keep_only(&mut self, pool: &str) {
        self.picture.pools.retain(|p| p.name.as_str() == pool);
        self.picture.frontends.clear();
    }
}

pub(super) async fn read(socket: &Socket, memory: &Memory, want: Want<'_>, deadline: Deadline) -> Result<Reading> {
    if let Want::Pool(pool) = want
        && let Ok(name) = words::name(pool)
    {
        let number = lock(&memory.numbers).get(name).cloned();
        let which = number.as_deref().unwrap_or(name);
        let line = format!("show info;show stat {which} 6 -1;show servers state {name};show cli level");
        let reply = socket.ask(&line, deadline).await?;
        let mut reading = understand(socket, reply, memory, Some(name))?;
        let found = reading.picture.pools.iter().any(|p| p.name.as_str() == name && p.row != u32::MAX);
        if found || reading.table.is_none() {
            reading.keep_only(name);
            return Ok(reading);
        }
        // A reload has given the number to another proxy, or a frontend has the name: read all, once.
        lock(&memory.numbers).remove(name);
    }
    let reply = socket.ask("show info;show stat;show servers state;show cli level", deadline).await?;
    let mut reading = understand(socket, reply, memory, None)?;
    if let Want::Pool(pool) = want {
        reading.keep_only(pool);
    }
    Ok(reading)
}

/// Takes the four replies apart. `pool` is set where only that one was asked for.
fn understand(socket: &Socket, reply: Vec<u8>, memory: &Memory, pool: Option<&str>) -> Result<Reading> {
    let malformed = |e: ParseError| EngineError::Malformed { at: socket.describe(), what: e.to_string() };
    let skipped = reply.iter().take_while(|b| **b == b'\n').count();
    let info_text = reply.get(skipped..).unwrap_or_default();
    let info = Info::parse(info_text).map_err(malformed)?;
    let Some(info_end) = memchr::memmem::find(info_text, b"\n\n") else {
        return Err(malformed(ParseError::new("show info", info.0.len(), "the reply is cut")));
    };
    let start = skipped + info_end + 2;
    let mut notes = Vec::new();
    if pool.is_some() && reply.get(start..).is_some_and(|r| r.starts_with(b"No such proxy")) {
        let level = capability::level(last_line(&reply));
        return Ok(Reading {
            started_at: info.started_at(),
            engine: engine(info, level),
            picture: Picture::default(),
            table: None,
            notes,
        });
    }
    let header = lock(&memory.known).header().clone();
    let mut table = StatTable::parse_at(reply, start, &header).map_err(malformed)?;
    let (picture, level) = {
        let (states, rest) = match servers_state::parse(table.tail()) {
            Ok((states, rest)) => (Some(states), rest),
            Err(e) => {
                // Refused or another format: the reading is worth less, and says so. Cut: it is worth nothing.
                if !is_reply_text(table.tail()) {
                    return Err(malformed(e));
                }
                notes.push(format!("the administrative state is derived from 'status' ({e})"));
                (None, table.tail())
            }
        };
        let picture = Picture::of(&table, states.as_deref(), &lock(&memory.known));
        (picture, capability::level(last_line(rest)))
    };
    table.drop_tail();
    if let Some((why, hint)) = capability::refuses_changes(level) {
        notes.push(format!("{why}, so it can only be watched: {hint}"));
    }
    if pool.is_none() {
        remember(memory, &picture, &table);
    }
    Ok(Reading { started_at: info.started_at(), engine: engine(info, level), picture, table: Some(table), notes })
}

/// A complete reply that is no servers state of the known format: a refusal in words, or another format version.
fn is_reply_text(tail: &[u8]) -> bool {
    let tail = tail.trim_ascii_start();
    let line = tail.split(|b| *b == b'\n').next().unwrap_or_default();
    let other_version = line != b"1" && !line.is_empty() && line.iter().all(u8::is_ascii_digit) && line.len() < tail.len();
    other_version || [&b"Permission denied"[..], b"Unknown command", b"Can't find backend"].iter().any(|w| tail.starts_with(w))
}

fn last_line(text: &[u8]) -> &[u8] {
    text.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap_or_default()
}

fn engine(info: Info, level: SocketLevel) -> EngineInfo {
    EngineInfo {
        kind: EngineKind::Haproxy,
        version: sanitize(info.version()).into_owned(),
        release: release(info.version()),
        level,
        pid: info.pid(),
        uptime: info.uptime(),
        info: info.0,
    }
}

fn remember(memory: &Memory, picture: &Picture, table: &StatTable) {
    lock(&memory.known).learn(table, &picture.pools);
    let column = table.column("iid");
    let mut reader = table.reader(column);
    let mut numbers = lock(&memory.numbers);
    numbers.clear();
    for pool in &picture.pools {
        let number = reader.row(pool.row as usize).map(|row| row.text(column).into_owned());
        if let Some(number) = number.filter(|n| n.parse::<u32>().is_ok()) {
            numbers.insert(pool.name.to_string(), number);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is in there is only a shortcut; after a panic of another task it is still whole.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

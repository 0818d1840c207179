//! Replies become a `NodeObs`: pure, so that a reading can be replayed from its bytes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{AdminState, Check, Drift, FrontendObs, Gauges, PoolObs, ServerName, ServerObs, ServerStatus};

use super::parse::servers_state::ServerState;
use super::parse::stats_csv::{ABSENT, Column, Row, StatTable};
use super::parse::status;
use super::parse::text::{clean, narrow, number};

/// The `type` column.
const FRONTEND: u64 = 0;
const BACKEND: u64 = 1;
const SERVER: u64 = 2;

/// Columns that a reading looks at, resolved once for each table.
struct Columns {
    pxname: Column,
    svname: Column,
    kind: Column,
    qcur: Column,
    scur: Column,
    smax: Column,
    slim: Column,
    stot: Column,
    bin: Column,
    bout: Column,
    ereq: Column,
    econ: Column,
    eresp: Column,
    wretr: Column,
    wredis: Column,
    status: Column,
    weight: Column,
    act: Column,
    bck: Column,
    lastchg: Column,
    downtime: Column,
    rate: Column,
    req_rate: Column,
    check_status: Column,
    check_code: Column,
    check_duration: Column,
    last_chk: Column,
    check_desc: Column,
    hrsp: [Column; 4],
    times: [Column; 4],
    addr: Column,
    cookie: Column,
    mode: Column,
    algo: Column,
    used_conn_cur: Column,
    idle_conn_cur: Column,
    uweight: Column,
}

impl Columns {
    fn of(table: &StatTable) -> Columns {
        let c = |name: &str| table.column(name);
        Columns {
            pxname: c("pxname"),
            svname: c("svname"),
            kind: c("type"),
            qcur: c("qcur"),
            scur: c("scur"),
            smax: c("smax"),
            slim: c("slim"),
            stot: c("stot"),
            bin: c("bin"),
            bout: c("bout"),
            ereq: c("ereq"),
            econ: c("econ"),
            eresp: c("eresp"),
            wretr: c("wretr"),
            wredis: c("wredis"),
            status: c("status"),
            weight: c("weight"),
            act: c("act"),
            bck: c("bck"),
            lastchg: c("lastchg"),
            downtime: c("downtime"),
            rate: c("rate"),
            req_rate: c("req_rate"),
            check_status: c("check_status"),
            check_code: c("check_code"),
            check_duration: c("check_duration"),
            last_chk: c("last_chk"),
            check_desc: c("check_desc"),
            hrsp: ["hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"].map(c),
            times: ["qtime", "ctime", "rtime", "ttime"].map(c),
            addr: c("addr"),
            cookie: c("cookie"),
            mode: c("mode"),
            algo: c("algo"),
            used_conn_cur: c("used_conn_cur"),
            idle_conn_cur: c("idle_conn_cur"),
            uweight: c("uweight"),
        }
    }

    /// The rightmost column that is needed.
    fn last(&self) -> Column {
        let late = [self.uweight, self.idle_conn_cur, self.used_conn_cur, self.algo, self.mode, self.cookie, self.addr];
        let early = [self.check_desc, self.last_chk, self.check_duration, self.req_rate, self.kind, self.downtime, self.status];
        let all = late.into_iter().chain(early).chain(self.times).chain(self.hrsp);
        all.filter(|c| *c != ABSENT).max().unwrap_or(0)
    }
}

/// What the statistics say, without who was asked and when.
#[derive(Debug, Default)]
pub struct Picture {
    pub frontends: Vec<FrontendObs>,
    pub pools: Vec<PoolObs>,
}

/// Finds the state of a server. Both replies list servers in the engine's order, so the next one is nearly always right.
struct States<'a> {
    all: &'a [ServerState<'a>],
    next: usize,
    index: Option<HashMap<Key<'a>, usize>>,
}

/// Backend and server.
type Key<'a> = (&'a [u8], &'a [u8]);

impl<'a> States<'a> {
    fn find(&mut self, backend: &[u8], server: &[u8]) -> Option<&'a ServerState<'a>> {
        let is = |s: &ServerState<'_>| s.server == server && s.backend == backend;
        if let Some(state) = self.all.get(self.next).filter(|s| is(s)) {
            self.next += 1;
            return Some(state);
        }
        let all = self.all;
        let index = self.index.get_or_insert_with(|| all.iter().enumerate().map(|(i, s)| ((s.backend, s.server), i)).collect());
        let at = *index.get(&(backend, server))?;
        self.next = at + 1;
        all.get(at)
    }
}

impl Picture {
    /// `states` is None where they could not be had: the administrative state is then derived from `status`.
    /// `known` has servers' names of the last reading, shared so that a fleet's names exist once.
    pub fn of(table: &StatTable, states: Option<&[ServerState<'_>]>, known: &ServerNames) -> Picture {
        let columns = Columns::of(table);
        let mut states = states.map(|all| States { all, next: 0, index: None });
        let mut picture = Picture::default();
        let mut open: Option<PoolObs> = None;
        let mut names = known.names.iter();
        let mut reader = table.reader(columns.last());
        let mut index = 0usize;
        while let Some(row) = reader.row(index) {
            let at = index as u32;
            index += 1;
            let pool = row.raw(columns.pxname);
            match number(row.raw(columns.kind)) {
                Some(FRONTEND) => picture.frontends.push(frontend(&row, &columns, at)),
                Some(SERVER) => {
                    let name = row.raw(columns.svname);
                    let state = states.as_mut().and_then(|s| s.find(pool, name));
                    let shared = names.next().filter(|n| n.as_str().as_bytes() == name).cloned();
                    let server = server(&row, &columns, at, state, shared);
                    if open
                        .as_ref()
                        .is_none_or(|p| p.name.as_str().as_bytes() != pool && p.name.as_str() != row.text(columns.pxname))
                    {
                        picture.pools.extend(open.take());
                        let mut new = empty_pool(&row.text(columns.pxname), &row, &columns);
                        new.servers.reserve_exact(known.counts.get(picture.pools.len()).copied().unwrap_or(0));
                        open = Some(new);
                    }
                    if let Some(pool) = open.as_mut() {
                        pool.servers.push(server);
                    }
                }
                Some(BACKEND) => {
                    let text = row.text(columns.pxname);
                    let mut pool = match open.take() {
                        Some(pool) if pool.name.as_str() == text => pool,
                        other => {
                            picture.pools.extend(other);
                            empty_pool(&text, &row, &columns)
                        }
                    };
                    finish_pool(&mut pool, &row, &columns, at);
                    picture.pools.push(pool);
                }
                _ => {} // listeners (`option socket-stats`) and whatever comes after
            }
        }
        picture.pools.extend(open);
        picture
    }
}

/// Names of all servers in the order of the statistics, and how many each pool has: what one reading teaches the next.
#[derive(Debug, Default)]
pub struct ServerNames {
    names: Vec<ServerName>,
    counts: Vec<usize>,
}

impl ServerNames {
    pub fn of(pools: &[PoolObs]) -> ServerNames {
        ServerNames {
            names: pools.iter().flat_map(|p| p.servers.iter().map(|s| s.name.clone())).collect(),
            counts: pools.iter().map(|p| p.servers.len()).collect(),
        }
    }
}

fn frontend(row: &Row<'_, '_>, c: &Columns, at: u32) -> FrontendObs {
    FrontendObs {
        name: row.text(c.pxname).into(),
        mode: row.text(c.mode).into(),
        status: status::parse(row.raw(c.status)),
        gauges: gauges(row, c),
        row: at,
    }
}

fn empty_pool(name: &str, row: &Row<'_, '_>, c: &Columns) -> PoolObs {
    PoolObs {
        name: name.into(),
        mode: row.text(c.mode).into(),
        algorithm: "".into(),
        status: ServerStatus::default(),
        gauges: Gauges::default(),
        active: 0,
        backup: 0,
        servers: Vec::new(),
        row: u32::MAX,
    }
}

fn finish_pool(pool: &mut PoolObs, row: &Row<'_, '_>, c: &Columns, at: u32) {
    pool.mode = row.text(c.mode).into();
    pool.algorithm = row.text(c.algo).into();
    pool.status = status::parse(row.raw(c.status));
    pool.gauges = gauges(row, c);
    pool.active = narrow(row.raw(c.act)).unwrap_or(0);
    pool.backup = narrow(row.raw(c.bck)).unwrap_or(0);
    pool.row = at;
}

fn gauges(row: &Row<'_, '_>, c: &Columns) -> Gauges {
    let n = |column: Column| number(row.raw(column));
    let or0 = |column: Column| n(column).unwrap_or(0);
    let ms = |column: Column| narrow(row.raw(column));
    let [ok2, ok3, ok4, bad5] = c.hrsp.map(n);
    let [queue_ms, connect_ms, response_ms, total_ms] = c.times.map(ms);
    Gauges {
        sessions: or0(c.scur),
        sessions_max: or0(c.smax),
        sessions_limit: n(c.slim),
        sessions_total: or0(c.stot),
        queue: or0(c.qcur),
        rate: or0(c.rate),
        request_rate: n(c.req_rate),
        bytes_in: or0(c.bin),
        bytes_out: or0(c.bout),
        errors: or0(c.ereq).saturating_add(or0(c.econ)).saturating_add(or0(c.eresp)),
        http_5xx: bad5,
        http_ok: ok2.map(|two| two.saturating_add(ok3.unwrap_or(0)).saturating_add(ok4.unwrap_or(0))),
        retries: or0(c.wretr).saturating_add(or0(c.wredis)),
        queue_ms,
        connect_ms,
        response_ms,
        total_ms,
    }
}

fn server(row: &Row<'_, '_>, c: &Columns, at: u32, state: Option<&ServerState<'_>>, name: Option<ServerName>) -> ServerObs {
    let status = status::parse(row.raw(c.status));
    let gauges = gauges(row, c);
    let (address, port) = match state {
        Some(state) => (Some(state.address), state.port.filter(|p| *p != 0)),
        None => split_address(row.raw(c.addr)),
    };
    let check = match row.raw(c.check_status) {
        b"" => None,
        word => Some(check(row, c, word)),
    };
    let cookie = row.raw(c.cookie);
    ServerObs {
        name: name.unwrap_or_else(|| (&*row.text(c.svname)).into()),
        admin: state.map_or_else(|| status::admin_of(&status), |s| AdminState(s.admin)),
        admin_exact: state.is_some(),
        weight: narrow(row.raw(c.weight)).unwrap_or(0),
        user_weight: state.and_then(|s| s.user_weight).or_else(|| narrow(row.raw(c.uweight))),
        initial_weight: state.and_then(|s| s.initial_weight),
        address: address.filter(|a| !a.is_empty() && *a != b"-").map(|a| clean(a).into()),
        port,
        backup: row.raw(c.bck) == b"1",
        used_conns: number(row.raw(c.used_conn_cur)),
        idle_conns: number(row.raw(c.idle_conn_cur)),
        maxconn: gauges.sessions_limit,
        last_change_s: number(row.raw(c.lastchg)),
        downtime_s: number(row.raw(c.downtime)),
        check,
        health_checks: state.and_then(|s| s.health_checks),
        agent_checks: state.and_then(|s| s.agent_checks),
        cookie: (!cookie.is_empty()).then(|| row.text(c.cookie).into()),
        drift: None::<Arc<[Drift]>>,
        row: at,
        gauges,
        status,
    }
}

fn check(row: &Row<'_, '_>, c: &Columns, word: &[u8]) -> Check {
    // `* ` marks a check that runs now; the rest is the result of the one before.
    let word = word.strip_prefix(b"* ").unwrap_or(word);
    let text = match row.raw(c.last_chk) {
        b"" => row.text(c.check_desc),
        _ => row.text(c.last_chk),
    };
    Check {
        status: clean(word).into(),
        code: narrow(row.raw(c.check_code)),
        duration_ms: narrow(row.raw(c.check_duration)),
        text: text.into(),
    }
}

/// `127.0.0.1:80`, `[::1]:80`, `unix` …
fn split_address(addr: &[u8]) -> (Option<&[u8]>, Option<u16>) {
    if addr.is_empty() {
        return (None, None);
    }
    let Some(colon) = memchr::memrchr(b':', addr) else { return (Some(addr), None) };
    let (host, port) = addr.split_at(colon);
    let host = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host);
    match narrow(port.get(1..).unwrap_or_default()) {
        Some(port) => (Some(host), Some(port).filter(|p| *p != 0)),
        None => (Some(addr), None),
    }
}

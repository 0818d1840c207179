//! Replies become a `NodeObs`: pure, so that a reading can be replayed from its bytes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{AdminState, Check, Drift, FrontendObs, Gauges, PoolObs, ServerName, ServerObs, ServerStatus, saturate};

use super::parse::servers_state::ServerState;
use super::parse::stats_csv::{ABSENT, Column, Header, Row, StatTable};
use super::parse::status;
use super::parse::text::{clean, narrow, number};

/// The `type` column.
const FRONTEND: u64 = 0;
const BACKEND: u64 = 1;
const SERVER: u64 = 2;

/// Columns that a reading looks at, resolved once for each header.
#[derive(Debug)]
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
    /// The rightmost of them.
    last: Column,
}

impl Columns {
    fn of(header: &Header) -> Columns {
        let mut last = 0;
        let mut c = |name: &str| {
            let column = header.column(name);
            last = if column == ABSENT { last } else { last.max(column) };
            column
        };
        let mut columns = Columns {
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
            hrsp: ["hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"].map(&mut c),
            times: ["qtime", "ctime", "rtime", "ttime"].map(&mut c),
            addr: c("addr"),
            cookie: c("cookie"),
            mode: c("mode"),
            algo: c("algo"),
            used_conn_cur: c("used_conn_cur"),
            idle_conn_cur: c("idle_conn_cur"),
            uweight: c("uweight"),
            last: 0,
        };
        columns.last = last;
        columns
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
    /// `known` has servers' names and addresses of the last reading, shared so that a fleet's exist once.
    pub fn of(table: &StatTable, states: Option<&[ServerState<'_>]>, known: &Known) -> Picture {
        let columns = match &known.columns {
            Some(columns) if Arc::ptr_eq(&known.header, table.header()) => columns.clone(),
            _ => Arc::new(Columns::of(table.header())),
        };
        let columns = &*columns;
        let mut states = states.map(|all| States { all, next: 0, index: None });
        let mut picture = Picture::default();
        let mut open: Option<PoolObs> = None;
        let mut before = known.servers.iter();
        let mut reader = table.reader(columns.last);
        let mut index = 0usize;
        while let Some(row) = reader.row(index) {
            let at = index as u32;
            index += 1;
            let pool = row.raw(columns.pxname);
            match number(row.raw(columns.kind)) {
                Some(FRONTEND) => picture.frontends.push(frontend(&row, columns, at)),
                Some(SERVER) => {
                    let name = row.raw(columns.svname);
                    let state = states.as_mut().and_then(|s| s.find(pool, name));
                    let shared = before.next().filter(|s| s.name.as_str().as_bytes() == name);
                    if open
                        .as_ref()
                        .is_none_or(|p| p.name.as_str().as_bytes() != pool && p.name.as_str() != row.text(columns.pxname))
                    {
                        picture.pools.extend(open.take());
                        let mut new = empty_pool(&row.text(columns.pxname), &row, columns);
                        new.servers.reserve_exact(known.counts.get(picture.pools.len()).copied().unwrap_or(0));
                        open = Some(new);
                    }
                    if let Some(pool) = open.as_mut() {
                        pool.servers.push(server(&row, columns, at, state, shared));
                    }
                }
                Some(BACKEND) => {
                    let text = row.text(columns.pxname);
                    let mut pool = match open.take() {
                        Some(pool) if pool.name.as_str() == text => pool,
                        other => {
                            picture.pools.extend(other);
                            empty_pool(&text, &row, columns)
                        }
                    };
                    finish_pool(&mut pool, &row, columns, at);
                    picture.pools.push(pool);
                }
                _ => {} // listeners (`option socket-stats`) and whatever comes after
            }
        }
        picture.pools.extend(open);
        picture
    }
}

/// What one reading teaches the next: the header, all servers in the order of the statistics, and how many each pool has.
#[derive(Debug, Default)]
pub struct Known {
    header: Arc<Header>,
    /// Of that header.
    columns: Option<Arc<Columns>>,
    servers: Vec<KnownServer>,
    counts: Vec<usize>,
}

#[derive(Debug)]
struct KnownServer {
    name: ServerName,
    address: Option<Arc<str>>,
}

impl KnownServer {
    fn is_of(&self, server: &ServerObs) -> bool {
        // Texts that were shared are the same text.
        std::ptr::eq(self.name.as_str(), server.name.as_str())
            && match (&self.address, &server.address) {
                (Some(known), Some(seen)) => Arc::ptr_eq(known, seen),
                (known, seen) => known.is_none() && seen.is_none(),
            }
    }
}

impl Known {
    /// The header that the next table should share.
    pub fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// Learns from a reading; next to nothing to do where it shares all with the one before.
    pub fn learn(&mut self, table: &StatTable, pools: &[PoolObs]) {
        if self.columns.is_none() || !Arc::ptr_eq(&self.header, table.header()) {
            self.header = table.header().clone();
            self.columns = Some(Arc::new(Columns::of(&self.header)));
        }
        let servers = || pools.iter().flat_map(|p| &p.servers);
        let counts = || pools.iter().map(|p| p.servers.len());
        let same = self.counts.iter().copied().eq(counts()) && self.servers.iter().zip(servers()).all(|(k, s)| k.is_of(s));
        if !same {
            self.servers = servers().map(|s| KnownServer { name: s.name.clone(), address: s.address.clone() }).collect();
            self.counts = counts().collect();
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
    let small = |column: Column| n(column).map(saturate);
    let ms = |column: Column| narrow(row.raw(column));
    let [ok2, ok3, ok4, bad5] = c.hrsp.map(n);
    let [queue_ms, connect_ms, response_ms, total_ms] = c.times.map(ms);
    Gauges {
        sessions: small(c.scur).unwrap_or(0),
        sessions_max: small(c.smax).unwrap_or(0),
        sessions_limit: small(c.slim),
        sessions_total: or0(c.stot),
        queue: small(c.qcur).unwrap_or(0),
        rate: small(c.rate).unwrap_or(0),
        request_rate: small(c.req_rate),
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

fn server(row: &Row<'_, '_>, c: &Columns, at: u32, state: Option<&ServerState<'_>>, known: Option<&KnownServer>) -> ServerObs {
    let status = status::parse(row.raw(c.status));
    let gauges = gauges(row, c);
    let (address, port) = match state {
        Some(state) => (Some(state.address), state.port.filter(|p| *p != 0)),
        None => split_address(row.raw(c.addr)),
    };
    let check = match row.raw(c.check_status) {
        b"" => None,
        word => Some(Box::new(check(row, c, word))),
    };
    let cookie = row.raw(c.cookie);
    ServerObs {
        name: known.map_or_else(|| (&*row.text(c.svname)).into(), |k| k.name.clone()),
        admin: state.map_or_else(|| status::admin_of(&status), |s| AdminState(s.admin)),
        admin_exact: state.is_some(),
        weight: narrow(row.raw(c.weight)).unwrap_or(0),
        user_weight: state.and_then(|s| s.user_weight).or_else(|| narrow(row.raw(c.uweight))),
        initial_weight: state.and_then(|s| s.initial_weight),
        address: address.filter(|a| !a.is_empty() && *a != b"-").map(|a| match known.and_then(|k| k.address.as_ref()) {
            Some(known) if known.as_bytes() == a => known.clone(),
            _ => clean(a).into(),
        }),
        port,
        backup: row.raw(c.bck) == b"1",
        used_conns: number(row.raw(c.used_conn_cur)).map(saturate),
        idle_conns: number(row.raw(c.idle_conn_cur)).map(saturate),
        maxconn: gauges.sessions_limit,
        last_change_s: number(row.raw(c.lastchg)).map(saturate),
        downtime_s: number(row.raw(c.downtime)).map(saturate),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::haproxy::parse::servers_state;
    use crate::model::StatusWord;

    fn table(rows: &str) -> StatTable {
        StatTable::parse(format!("# pxname,svname,scur,status,weight,type,addr,bck,\n{rows}").into_bytes()).unwrap()
    }

    #[test]
    fn listen_sections_listeners_and_a_pool_without_its_own_row() {
        let table = table(concat!(
            "one,FRONTEND,1,OPEN,,0,,,\n",
            "one,sock-1,1,OPEN,,3,,,\n",
            "one,a,2,UP 1/3,5,2,10.0.0.1:80,0,\n",
            "one,b,0,MAINT (via one/a),0,2,[2001:db8::1]:81,1,\n",
            "one,BACKEND,2,UP,5,1,,0,\n",
            "two,c,0,no check,1,2,unix,0,\n",
            "three,BACKEND,0,DOWN,0,1,,0,\n",
        ));
        let picture = Picture::of(&table, None, &Known::default());
        assert_eq!(picture.frontends.iter().map(|f| &*f.name).collect::<Vec<_>>(), ["one"]);
        let sizes: Vec<_> = picture.pools.iter().map(|p| (p.name.as_str(), p.servers.len(), p.status.word)).collect();
        assert_eq!(sizes, [("one", 2, StatusWord::Up), ("two", 1, StatusWord::Unknown), ("three", 0, StatusWord::Down)]);
        let [a, b] = &picture.pools[0].servers[..] else { panic!("two servers") };
        assert_eq!((a.status.progress, a.address.as_deref(), a.port, a.row), (Some((1, 3)), Some("10.0.0.1"), Some(80), 2));
        assert_eq!((b.address.as_deref(), b.port, b.backup), (Some("2001:db8::1"), Some(81), true));
        assert_eq!(b.admin, AdminState(AdminState::IMAINT));
        let c = &picture.pools[1].servers[0];
        assert_eq!((c.address.as_deref(), c.port, c.admin_exact), (Some("unix"), None, false));
    }

    #[test]
    fn states_are_found_in_any_order_and_names_are_shared() {
        let table = table("web,a,0,DOWN,1,2,,0,\nweb,b,0,UP,1,2,,0,\nweb,new,0,UP,1,2,,0,\nweb,BACKEND,0,UP,2,1,,0,\n");
        let text =
            "1\n# be_name srv_name srv_addr srv_admin_state srv_port srv_uweight\nweb b 10.0.0.2 0 80 3\nweb a - 8 0 7\n\n";
        let (states, _) = servers_state::parse(text.as_bytes()).unwrap();
        let picture = Picture::of(&table, Some(&states), &Known::default());
        let web = &picture.pools[0];
        let (a, b, new) = (web.server("a").unwrap(), web.server("b").unwrap(), web.server("new").unwrap());
        assert_eq!((a.admin.word(), a.status.word, a.address.as_deref(), a.port), ("drain", StatusWord::Down, None, None));
        assert_eq!((b.user_weight, b.address.as_deref(), b.port), (Some(3), Some("10.0.0.2"), Some(80)));
        assert!(a.admin_exact && !new.admin_exact, "a server that came between the two replies");

        let mut known = Known::default();
        known.learn(&table, &picture.pools);
        let again = Picture::of(&table, Some(&states), &known);
        assert!(known.servers.iter().zip(&again.pools[0].servers).all(|(k, s)| k.is_of(s)), "names and addresses exist once");
        let pointer = |p: &Picture, i: usize| p.pools[0].servers[i].name.as_str().as_ptr();
        assert!((0..3).all(|i| pointer(&again, i) == pointer(&picture, i)));
    }
}

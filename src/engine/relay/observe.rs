//! A snapshot of the agent becomes a `NodeObs`: pure, and the place where remote text is made safe to show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::{
    AdminState, Certificate, Check, EngineEvent, EngineInfo, EngineKind, Fields, FrontendObs, Gauges, NodeName, NodeObs, PoolObs,
    ServerObs, ServerStatus, Session, SocketLevel, StatusWord, sanitize, saturate,
};

use super::wire::{self, Admin, Health, Hello, Latency, Phase, Snapshot, Traffic};

/// When and by which way a snapshot was read.
#[derive(Debug)]
pub struct Reading {
    pub node: NodeName,
    pub began: Instant,
    pub source: String,
}

pub fn observation(snapshot: Snapshot, hello: Option<&Hello>, reading: Reading) -> NodeObs {
    let mut row = 0;
    let mut next = || {
        let this = row;
        row += 1;
        this
    };
    let frontends = snapshot.listeners.iter().map(|l| frontend(l, next())).collect();
    let pools = snapshot.pools.iter().map(|p| pool(p, &mut next)).collect();
    let mut notes: Vec<String> = snapshot.notes.iter().map(|n| clean(n)).collect();
    notes.extend(phase_note(snapshot.phase));
    notes.extend(hello.and_then(version_note));
    NodeObs {
        node: reading.node,
        at: Timestamp::now(),
        seen: Instant::now(),
        took: reading.began.elapsed(),
        source: reading.source.into(),
        engine: engine(&snapshot, hello),
        frontends,
        pools,
        workers: None,
        certificates: None,
        events: Vec::new(),
        notes,
        fields: Some(Arc::new(Rows(snapshot))),
    }
}

/// An answer for people: of a server what the change was about, else as it came.
pub(super) fn in_words(answer: String) -> String {
    match serde_json::from_str::<wire::Server>(&answer) {
        Ok(server) => format!("{}, weight {}, {} in use", server.admin.word(), server.user_weight, server.in_use),
        Err(_) => match serde_json::from_str::<wire::Purged>(&answer) {
            Ok(purged) => format!("{} cached responses forgotten", purged.forgotten),
            Err(_) => answer,
        },
    }
}

fn clean(text: &str) -> String {
    sanitize(text).into_owned()
}

fn phase_note(phase: Phase) -> Option<String> {
    let text = match phase {
        Phase::Serving => return None,
        Phase::Idle => "the agent has no configuration: its relay serves nothing",
        Phase::HandingOver => "an upgrade is under way: changes are refused for a moment",
        Phase::Draining => "the agent is being stopped: it finishes what is established",
        Phase::Other => "the agent is in a state that this console does not know: it is newer",
    };
    Some(text.to_owned())
}

/// Neighbours work together; that one of them is older is said, because it may know less.
fn version_note(hello: &Hello) -> Option<String> {
    if hello.api == wire::API {
        return None;
    }
    let (theirs, ours) = (clean(&hello.agent), env!("CARGO_PKG_VERSION"));
    Some(format!(
        "the agent (lbdeck {theirs}) speaks {} of the control API, this console (lbdeck {ours}) {}",
        hello.api,
        wire::API
    ))
}

fn engine(snapshot: &Snapshot, hello: Option<&Hello>) -> EngineInfo {
    let mut numbers = snapshot.agent.split('.').map(|n| n.parse::<u16>().ok());
    let release = numbers.next().flatten().zip(numbers.next().flatten());
    let mut info = vec![
        ("Name".to_owned(), "lbdeck agent".to_owned()),
        ("Version".to_owned(), clean(&snapshot.agent)),
        ("Pid".to_owned(), snapshot.pid.to_string()),
        ("Generation".to_owned(), snapshot.generation.to_string()),
    ];
    if let Some(hello) = hello {
        info.push(("Supervisor".to_owned(), clean(&hello.supervisor)));
        info.push(("Api".to_owned(), hello.api.to_string()));
        info.push(("Host".to_owned(), clean(&hello.host)));
    }
    for route in &snapshot.routes {
        let name = format!("Route {}/{}", clean(&route.listener), clean(&route.name));
        info.push((name, route_text(route)));
    }
    EngineInfo {
        kind: EngineKind::Relay,
        version: clean(&snapshot.agent),
        release,
        level: SocketLevel::Admin,
        pid: Some(snapshot.pid),
        uptime: Some(Duration::from_millis(snapshot.uptime_ms)),
        info: info.into_iter().collect(),
    }
}

/// `-> web: 120 req/s, p50 1.2ms, p99 9.1ms, 3 5xx`.
fn route_text(route: &wire::Route) -> String {
    let to = clean(&route.pools.join(" "));
    let rate = route.traffic.requests_rate.unwrap_or(route.traffic.sessions_rate);
    let ms = |us: u64| us as f64 / 1000.0;
    let latency = match route.latency {
        Latency { count: 0, .. } => String::new(),
        l => format!(", p50 {:.1}ms, p99 {:.1}ms, max {:.1}ms", ms(l.p50_us), ms(l.p99_us), ms(l.max_us)),
    };
    let bad = route.traffic.answers.map_or(0, |a| a[4]);
    format!("-> {to}: {rate} req/s{latency}, {bad} 5xx of {}", route.traffic.requests_total)
}

fn gauges(t: &Traffic) -> Gauges {
    Gauges {
        sessions: saturate(t.sessions),
        sessions_max: saturate(t.sessions_max),
        sessions_limit: t.sessions_limit.map(saturate),
        sessions_total: t.sessions_total,
        queue: saturate(t.queue),
        rate: saturate(t.sessions_rate),
        request_rate: t.requests_rate.map(saturate),
        bytes_in: t.bytes_in,
        bytes_out: t.bytes_out,
        errors: t.connect_errors.saturating_add(t.request_errors).saturating_add(t.response_errors),
        http_5xx: t.answers.map(|a| a[4]),
        http_ok: t.answers.map(|a| a[1].saturating_add(a[2]).saturating_add(a[3])),
        retries: t.retries,
        queue_ms: t.times.map(|t| t.queue_ms),
        connect_ms: t.times.map(|t| t.connect_ms),
        response_ms: t.times.map(|t| t.response_ms),
        total_ms: t.times.map(|t| t.total_ms),
    }
}

fn frontend(listener: &wire::Listener, row: u32) -> FrontendObs {
    let word = if listener.enabled { StatusWord::Open } else { StatusWord::Stop };
    FrontendObs {
        name: clean(&listener.name).into(),
        mode: clean(&listener.mode).into(),
        status: ServerStatus::of(word),
        gauges: gauges(&listener.traffic),
        row,
    }
}

fn pool(pool: &wire::Pool, next: &mut impl FnMut() -> u32) -> PoolObs {
    let servers: Vec<ServerObs> = pool.servers.iter().map(|s| server(s, next())).collect();
    let up = |backup: bool| {
        let count = servers.iter().filter(|s| s.backup == backup && s.is_serving()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let (active, backup) = (up(false), up(true));
    let word = if active + backup > 0 { StatusWord::Up } else { StatusWord::Down };
    PoolObs {
        name: clean(&pool.name).into(),
        mode: clean(&pool.mode).into(),
        algorithm: clean(&pool.algorithm).into(),
        status: ServerStatus::of(word),
        gauges: gauges(&pool.traffic),
        active,
        backup,
        servers,
        row: next(),
    }
}

fn server(s: &wire::Server, row: u32) -> ServerObs {
    ServerObs {
        name: clean(&s.name).into(),
        status: status(s),
        admin: match s.admin {
            Admin::Ready => AdminState::READY,
            Admin::Drain => AdminState(AdminState::FDRAIN),
            Admin::Maint => AdminState(AdminState::FMAINT),
        },
        admin_exact: true,
        weight: s.weight,
        user_weight: Some(s.user_weight),
        initial_weight: Some(s.configured_weight),
        address: (!s.address.is_empty()).then(|| clean(&s.address).into()),
        port: (s.port != 0).then_some(s.port),
        backup: s.backup,
        gauges: gauges(&s.traffic),
        used_conns: Some(saturate(s.in_use)),
        idle_conns: Some(saturate(s.idle)),
        maxconn: s.maxconn.filter(|n| *n != 0),
        last_change_s: s.last_change_s.map(saturate),
        downtime_s: s.downtime_s.map(saturate),
        check: s.check.as_ref().map(|c| {
            Box::new(Check {
                status: clean(&c.status).into(),
                code: c.code,
                duration_ms: c.duration_ms,
                text: clean(&c.text).into(),
            })
        }),
        health_checks: s.checks_on,
        agent_checks: None,
        cookie: s.cookie.as_deref().map(|c| clean(c).into()),
        // What operators set outlives reloads, restarts and reboots: there is nothing that a reload would undo.
        drift: Some(Arc::from([])),
        row,
    }
}

fn status(s: &wire::Server) -> ServerStatus {
    let because = |word, cause: &str| ServerStatus { word, progress: s.progress, cause: Some(cause.into()) };
    let plain = |word| ServerStatus { word, progress: s.progress, cause: None };
    match (s.admin, s.health) {
        (Admin::Maint, _) => ServerStatus::of(StatusWord::Maint),
        (_, Health::Down) => plain(StatusWord::Down),
        (_, Health::Ejected) => because(StatusWord::Down, "ejected as an outlier"),
        (_, Health::Unknown) => plain(StatusWord::Unknown),
        (Admin::Drain, _) => plain(StatusWord::Drain),
        (_, Health::Up) => plain(StatusWord::Up),
        (_, Health::Starting) => because(StatusWord::Up, "not checked yet"),
        (_, Health::Unchecked) => plain(StatusWord::NoCheck),
    }
}

pub fn session(s: wire::Session) -> Session {
    let raw = clean(&serde_json::to_string(&s).unwrap_or_default());
    Session {
        id: clean(&s.id),
        protocol: clean(&s.protocol),
        source: clean(&s.source),
        frontend: clean(&s.listener),
        backend: clean(&s.pool),
        server: clean(&s.server),
        age: Some(Duration::from_millis(s.age_ms)),
        expires: s.expires_ms.map(Duration::from_millis),
        raw,
    }
}

pub fn event(e: wire::Event) -> EngineEvent {
    EngineEvent { at: e.at, kind: clean(&e.kind), subject: clean(&e.subject), text: clean(&e.text) }
}

pub fn certificate(c: wire::Certificate) -> Certificate {
    Certificate {
        file: clean(&c.file),
        subject: clean(&c.subject),
        not_after: c.not_after,
        names: c.names.iter().map(|n| clean(n)).collect(),
    }
}

/// Every field of the snapshot, on demand, in the order in which rows were numbered: listeners, then each pool's servers and
/// the pool itself.
#[derive(Debug)]
struct Rows(Snapshot);

impl Fields for Rows {
    fn row(&self, index: u32) -> Vec<(String, String)> {
        let mut index = index as usize;
        if let Some(listener) = self.0.listeners.get(index) {
            let mut fields = flat(listener);
            for route in self.0.routes.iter().filter(|r| r.listener == listener.name) {
                fields.push((format!("route {}", clean(&route.name)), route_text(route)));
            }
            return fields;
        }
        index -= self.0.listeners.len();
        for pool in &self.0.pools {
            if let Some(server) = pool.servers.get(index) {
                return flat(server);
            }
            if index == pool.servers.len() {
                return flat(&wire::Pool { servers: Vec::new(), ..pool.clone() });
            }
            index -= pool.servers.len() + 1;
        }
        Vec::new()
    }
}

/// `traffic.queue` = `3` and so on; what is null or empty is left out.
fn flat(value: &impl serde::Serialize) -> Vec<(String, String)> {
    fn walk(name: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
        use serde_json::Value;
        match value {
            Value::Null => {}
            Value::Object(map) => {
                for (key, value) in map {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                    walk(&name, value, out);
                }
            }
            Value::Array(items) if items.is_empty() => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => out.push((clean(name), clean(text))),
            other => out.push((clean(name), clean(&other.to_string()))),
        }
    }
    let mut out = Vec::new();
    walk("", &serde_json::to_value(value).unwrap_or_default(), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> NodeObs {
        let snapshot: Snapshot = serde_json::from_str(text).unwrap();
        observation(snapshot, None, Reading { node: "lb1".into(), began: Instant::now(), source: "test".into() })
    }

    #[test]
    fn states_weights_and_rows() {
        let obs = seen(
            r#"{"at":"2026-11-23T18:00:00Z","agent":"0.1.0","pid":7,"uptime_ms":5000,"phase":"serving",
            "listeners":[{"name":"front","mode":"http","enabled":false}],
            "routes":[{"listener":"front","name":"all","pools":["web"],"latency":{"count":9,"p99_us":2500}}],
            "pools":[{"name":"web","mode":"http","servers":[
              {"name":"w1","admin":"ready","health":"up","weight":10,"user_weight":10,"configured_weight":20,"in_use":3},
              {"name":"w2","admin":"drain","health":"down","weight":0},
              {"name":"w\u001b[2J3","admin":"maint","health":"up"},
              {"name":"w4","admin":"drain","health":"unchecked"}]}]}"#,
        );
        let states: Vec<_> = obs.pools[0].servers.iter().map(|s| (s.admin.word(), s.status.word)).collect();
        let expected =
            [("ready", StatusWord::Up), ("drain", StatusWord::Down), ("maint", StatusWord::Maint), ("drain", StatusWord::Drain)];
        assert_eq!(states, expected);
        let w1 = &obs.pools[0].servers[0];
        assert_eq!((w1.left(), w1.initial_weight, w1.drift.as_deref()), (3, Some(20), Some([].as_slice())));
        assert_eq!(obs.pools[0].servers[2].name.as_str(), "w\\x1b[2J3");
        assert_eq!((obs.frontends[0].status.word, obs.pools[0].active), (StatusWord::Stop, 1));
        let fields = obs.fields.as_ref().unwrap();
        let has = |row, name: &str, value: &str| fields.row(row).iter().any(|(n, v)| n == name && v.contains(value));
        assert!(has(0, "route all", "p99 2.5ms") && has(1, "name", "w1") && has(4, "name", "w4") && has(5, "name", "web"));
        assert!(fields.row(6).is_empty());
        assert!(obs.notes.is_empty(), "{:?}", obs.notes);
    }

    #[test]
    fn answers_in_words() {
        let answer = r#"{"name":"a","admin":"drain","weight":0,"user_weight":7,"in_use":3}"#;
        assert_eq!(in_words(answer.to_owned()), "drain, weight 7, 3 in use");
        assert_eq!(in_words(r#"{"forgotten":3}"#.to_owned()), "3 cached responses forgotten");
        assert_eq!(in_words("{}".to_owned()), "{}");
    }
}

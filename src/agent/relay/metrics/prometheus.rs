//! The exposition that Prometheus reads (text format 0.0.4): names and labels of HAProxy's exporter (`haproxy_…`, label `proxy` and
//! `server`) where the meaning is the same, `lbdeck_…` for the rest. One function makes it from a snapshot.

use std::fmt::{Display, Write as _};

use super::histogram::Histogram;
use crate::agent::relay::content::cache::CacheCounts;
use crate::agent::relay::log::LogCounts;
use crate::agent::relay::protect::Reason;
use crate::engine::relay::wire::{Admin, Health, Pool, Server, Snapshot, Traffic};

/// What the snapshot of the API does not hold.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Bytes of sessions of layer 4 that were passed on without a copy.
    pub spliced_bytes: u64,
    pub log: Option<LogCounts>,
    pub routes: Vec<RouteExtra>,
    /// Listener and counts, the relay's own of a listener before any route.
    pub denied: Vec<(String, Vec<(Reason, u64)>)>,
}

#[derive(Clone, Debug, Default)]
pub struct RouteExtra {
    pub listener: String,
    pub route: String,
    pub latency: Histogram,
    pub denied: Vec<(Reason, u64)>,
    pub cache: Option<CacheCounts>,
}

/// `Content-Type` of the exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the histogram's buckets in seconds: those of Prometheus' clients, and finer below.
const BOUNDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Label values of `haproxy_server_status` and `haproxy_backend_status` that the relay has.
const SERVER_STATES: &[&str] = &["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

/// Makes the whole text.
pub fn render(snapshot: &Snapshot, extra: &Extra) -> String {
    let mut out = Text::default();
    process(&mut out, snapshot, extra);
    frontends(&mut out, snapshot);
    backends(&mut out, snapshot);
    servers(&mut out, snapshot);
    own(&mut out, extra);
    out.0
}

/// Metrics one after the other: all samples of a name stand together, as the format wants it.
#[derive(Default)]
struct Text(String);

impl Text {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            self.0.push(if i == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        self.0.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = writeln!(self.0, "{value}");
    }
}

fn process(out: &mut Text, snapshot: &Snapshot, extra: &Extra) {
    out.metric("haproxy_process_build_info", "gauge", "Build info.");
    out.sample("haproxy_process_build_info", &[("version", &format!("lbdeck-{}", snapshot.agent))], 1);
    out.metric("haproxy_process_uptime_seconds", "gauge", "How long ago this worker process was started (seconds).");
    out.sample("haproxy_process_uptime_seconds", &[], snapshot.uptime_ms / 1000);
    out.metric("haproxy_process_spliced_bytes_out_total", "counter", "Total number of bytes emitted through splice(2).");
    out.sample("haproxy_process_spliced_bytes_out_total", &[], extra.spliced_bytes);
    out.metric("haproxy_process_current_connections", "gauge", "Current number of connections on this worker process.");
    out.sample("haproxy_process_current_connections", &[], snapshot.listeners.iter().map(|l| l.traffic.sessions).sum::<u64>());
    out.metric("lbdeck_config_generation", "gauge", "Configurations applied since the start.");
    out.sample("lbdeck_config_generation", &[], snapshot.generation);
}

type Field = fn(&Traffic) -> Option<u64>;

/// Metrics that frontends, backends and servers share: the end of their name, kind, help, value.
const SHARED: &[(&str, &str, &str, Field)] = &[
    ("current_sessions", "gauge", "Current number of sessions.", |t| Some(t.sessions)),
    ("max_sessions", "gauge", "Highest value of current sessions since the start.", |t| Some(t.sessions_max)),
    ("limit_sessions", "gauge", "Limit of sessions.", |t| t.sessions_limit),
    ("sessions_total", "counter", "Total number of sessions since the start.", |t| Some(t.sessions_total)),
    ("current_session_rate", "gauge", "Sessions over the last second.", |t| Some(t.sessions_rate)),
    ("bytes_in_total", "counter", "Total number of request bytes since the start.", |t| Some(t.bytes_in)),
    ("bytes_out_total", "counter", "Total number of response bytes since the start.", |t| Some(t.bytes_out)),
];

const FRONTEND: &[(&str, &str, &str, Field)] = &[
    ("http_requests_total", "counter", "Total number of HTTP requests since the start.", |t| t.answers.map(|_| t.requests_total)),
    ("request_errors_total", "counter", "Total number of invalid requests since the start.", |t| Some(t.request_errors)),
];

const BACKEND: &[(&str, &str, &str, Field)] = &[
    ("current_queue", "gauge", "Current number of queued requests.", |t| Some(t.queue)),
    ("connection_errors_total", "counter", "Total number of failed connections to servers since the start.", |t| {
        Some(t.connect_errors)
    }),
    ("response_errors_total", "counter", "Total number of invalid or interrupted responses since the start.", |t| {
        Some(t.response_errors)
    }),
    ("retry_warnings_total", "counter", "Total number of retries since the start.", |t| Some(t.retries)),
];

fn traffic(out: &mut Text, prefix: &str, metrics: &[(&str, &str, &str, Field)], all: &[(Vec<(&str, &str)>, &Traffic)]) {
    for (end, kind, help, value) in metrics {
        let name = format!("haproxy_{prefix}_{end}");
        let mut samples = all.iter().filter_map(|(labels, t)| Some((labels, value(t)?))).peekable();
        if samples.peek().is_some() {
            out.metric(&name, kind, help);
            samples.for_each(|(labels, value)| out.sample(&name, labels, value));
        }
    }
}

fn answers(out: &mut Text, prefix: &str, all: &[(Vec<(&str, &str)>, &Traffic)]) {
    let name = format!("haproxy_{prefix}_http_responses_total");
    let mut head = false;
    for (labels, t) in all {
        let Some(classes) = t.answers else { continue };
        if !head {
            out.metric(&name, "counter", "Total number of HTTP responses since the start, by class.");
            head = true;
        }
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(classes) {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("code", class)]).collect();
            out.sample(&name, &labels, count);
        }
    }
}

fn times(out: &mut Text, prefix: &str, all: &[(Vec<(&str, &str)>, &Traffic)]) {
    type Time = fn(&crate::engine::relay::wire::Times) -> u32;
    const TIMES: [(&str, Time); 4] =
        [("queue", |t| t.queue_ms), ("connect", |t| t.connect_ms), ("response", |t| t.response_ms), ("total", |t| t.total_ms)];
    for (word, of) in TIMES {
        let name = format!("haproxy_{prefix}_{word}_time_average_seconds");
        let mut samples = all.iter().filter_map(|(labels, t)| Some((labels, of(t.times.as_ref()?)))).peekable();
        if samples.peek().is_some() {
            out.metric(&name, "gauge", &format!("Average {word} time over the last 1024 requests."));
            samples.for_each(|(labels, ms)| out.sample(&name, labels, f64::from(ms) / 1000.0));
        }
    }
}

fn status(out: &mut Text, prefix: &str, all: &[(Vec<(&str, &str)>, &str)], states: &[&str]) {
    let name = format!("haproxy_{prefix}_status");
    out.metric(&name, "gauge", "Current status: 1 for the state that holds, 0 for the others.");
    for (labels, now) in all {
        for state in states {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("state", *state)]).collect();
            out.sample(&name, &labels, u8::from(state == now));
        }
    }
}

fn frontends(out: &mut Text, snapshot: &Snapshot) {
    let all: Vec<_> = snapshot.listeners.iter().map(|l| (vec![("proxy", l.name.as_str())], &l.traffic)).collect();
    if all.is_empty() {
        return;
    }
    let states: Vec<_> =
        snapshot.listeners.iter().map(|l| (vec![("proxy", l.name.as_str())], if l.enabled { "UP" } else { "DOWN" })).collect();
    status(out, "frontend", &states, &["DOWN", "UP"]);
    traffic(out, "frontend", SHARED, &all);
    traffic(out, "frontend", FRONTEND, &all);
    answers(out, "frontend", &all);
}

fn backends(out: &mut Text, snapshot: &Snapshot) {
    if snapshot.pools.is_empty() {
        return;
    }
    let borrowed: Vec<Vec<(&str, &str)>> = snapshot.pools.iter().map(|p| vec![("proxy", p.name.as_str())]).collect();
    let all: Vec<_> = borrowed.iter().cloned().zip(snapshot.pools.iter().map(|p| &p.traffic)).collect();
    let up = |p: &Pool| if p.servers.iter().any(takes_traffic) { "UP" } else { "DOWN" };
    let states: Vec<_> = borrowed.iter().cloned().zip(snapshot.pools.iter().map(up)).collect();
    status(out, "backend", &states, &["DOWN", "UP"]);
    let name = "haproxy_backend_active_servers";
    out.metric(name, "gauge", "Total number of active UP servers with a non-zero weight.");
    for (labels, pool) in borrowed.iter().zip(&snapshot.pools) {
        out.sample(name, labels, pool.servers.iter().filter(|s| takes_traffic(s) && !s.backup).count());
    }
    let name = "haproxy_backend_backup_servers";
    out.metric(name, "gauge", "Total number of backup UP servers with a non-zero weight.");
    for (labels, pool) in borrowed.iter().zip(&snapshot.pools) {
        out.sample(name, labels, pool.servers.iter().filter(|s| takes_traffic(s) && s.backup).count());
    }
    traffic(out, "backend", SHARED, &all);
    traffic(out, "backend", BACKEND, &all);
    answers(out, "backend", &all);
    times(out, "backend", &all);
}

fn takes_traffic(server: &Server) -> bool {
    server.admin == Admin::Ready && matches!(server.health, Health::Up | Health::Unchecked) && server.weight > 0
}

/// HAProxy's word for a server's state.
fn state_of(server: &Server) -> &'static str {
    match (server.admin, server.health) {
        (Admin::Maint, _) => "MAINT",
        (_, Health::Down | Health::Starting) => "DOWN",
        (Admin::Drain, _) => "DRAIN",
        (_, Health::Ejected) => "NOLB",
        _ => "UP",
    }
}

fn servers(out: &mut Text, snapshot: &Snapshot) {
    let each = || snapshot.pools.iter().flat_map(|p| p.servers.iter().map(move |s| (p, s)));
    if each().next().is_none() {
        return;
    }
    let all: Vec<(Vec<(&str, &str)>, &Traffic)> =
        each().map(|(p, s)| (vec![("proxy", p.name.as_str()), ("server", s.name.as_str())], &s.traffic)).collect();
    let states: Vec<_> = all.iter().map(|(l, _)| l.clone()).zip(each().map(|(_, s)| state_of(s))).collect();
    status(out, "server", &states, SERVER_STATES);
    type Gauge = fn(&Server) -> Option<u64>;
    const GAUGES: &[(&str, &str, &str, Gauge)] = &[
        ("weight", "gauge", "Server's effective weight.", |s| Some(u64::from(s.weight))),
        ("uweight", "gauge", "Server's user weight.", |s| Some(u64::from(s.user_weight))),
        ("used_connections_current", "gauge", "Current number of connections in use.", |s| Some(s.in_use)),
        ("idle_connections_current", "gauge", "Current number of idle connections available for reuse.", |s| Some(s.idle)),
        ("status_change_seconds", "gauge", "How long ago the last change of status was (seconds).", |s| s.last_change_s),
        ("downtime_seconds_total", "counter", "Total time spent in DOWN state (seconds).", |s| s.downtime_s),
        ("check_code", "gauge", "Status code of the last HTTP check.", |s| s.check.as_ref()?.code.map(u64::from)),
    ];
    for (end, kind, help, of) in GAUGES {
        let name = format!("haproxy_server_{end}");
        let mut samples = all.iter().zip(each()).filter_map(|((labels, _), (_, s))| Some((labels, of(s)?))).peekable();
        if samples.peek().is_some() {
            out.metric(&name, kind, help);
            samples.for_each(|(labels, value)| out.sample(&name, labels, value));
        }
    }
    let checked: Vec<_> = all.iter().zip(each()).filter_map(|((l, _), (_, s))| Some((l, s.check.as_ref()?))).collect();
    if !checked.is_empty() {
        let name = "haproxy_server_check_duration_seconds";
        out.metric(name, "gauge", "How long the last health check took (seconds).");
        for (labels, check) in &checked {
            if let Some(ms) = check.duration_ms {
                out.sample(name, labels, f64::from(ms) / 1000.0);
            }
        }
    }
    traffic(out, "server", SHARED, &all);
    traffic(out, "server", BACKEND, &all);
    answers(out, "server", &all);
    times(out, "server", &all);
}

fn own(out: &mut Text, extra: &Extra) {
    if let Some(log) = extra.log {
        let name = "lbdeck_access_log_lines_total";
        out.metric(name, "counter", "Lines of the access log since the start: written, lost, or left out by sampling.");
        for (result, count) in [("written", log.written), ("lost", log.lost), ("sampled_out", log.sampled_out)] {
            out.sample(name, &[("result", result)], count);
        }
    }
    denials(out, extra);
    let cached: Vec<_> = extra.routes.iter().filter_map(|r| Some((r, r.cache?))).collect();
    if !cached.is_empty() {
        let name = "lbdeck_cache_lookups_total";
        out.metric(name, "counter", "Requests by what the cache had for them.");
        for (r, c) in &cached {
            for (result, count) in [("hit", c.hits), ("miss", c.misses), ("renewed", c.renewed), ("stale", c.stale)] {
                out.sample(name, &[("listener", &r.listener), ("route", &r.route), ("result", result)], count);
            }
        }
        for (name, help, of) in [
            ("lbdeck_cache_objects", "Responses kept.", (|c| c.objects) as fn(&CacheCounts) -> u64),
            ("lbdeck_cache_bytes", "Memory that they take (bytes).", |c| c.bytes),
        ] {
            out.metric(name, "gauge", help);
            cached.iter().for_each(|(r, c)| out.sample(name, &[("listener", &r.listener), ("route", &r.route)], of(c)));
        }
    }
    if extra.routes.is_empty() {
        return;
    }
    let name = "lbdeck_route_request_duration_seconds";
    out.metric(name, "histogram", "Time from the first byte of a request to the last of its response.");
    for r in &extra.routes {
        let labels = [("listener", r.listener.as_str()), ("route", r.route.as_str())];
        let bucket = format!("{name}_bucket");
        for bound in BOUNDS {
            let le = bound.to_string();
            out.sample(&bucket, &[labels[0], labels[1], ("le", &le)], r.latency.at_most((bound * 1e6) as u64));
        }
        out.sample(&bucket, &[labels[0], labels[1], ("le", "+Inf")], r.latency.count());
        out.sample(&format!("{name}_sum"), &labels, r.latency.sum_us() as f64 / 1e6);
        out.sample(&format!("{name}_count"), &labels, r.latency.count());
    }
}

fn denials(out: &mut Text, extra: &Extra) {
    let of_listeners = extra.denied.iter().map(|(listener, counts)| (listener.as_str(), "", counts));
    let of_routes = extra.routes.iter().map(|r| (r.listener.as_str(), r.route.as_str(), &r.denied));
    let mut all = of_listeners.chain(of_routes).filter(|(.., counts)| !counts.is_empty()).peekable();
    if all.peek().is_none() {
        return;
    }
    let name = "lbdeck_denied_total";
    out.metric(name, "counter", "Requests and connections refused by protection, by reason; without a route: by the listener's.");
    for (listener, route, counts) in all {
        for (reason, count) in counts {
            out.sample(name, &[("listener", listener), ("route", route), ("reason", reason.word())], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::super::histogram::Counts;
    use super::*;
    use crate::engine::haproxy::parse::metrics::parse;

    fn snapshot() -> Snapshot {
        serde_json::from_str(
            r#"{"at":"2026-01-01T00:00:00Z","agent":"0.1.0","pid":1,"uptime_ms":61000,"generation":2,
            "listeners":[{"name":"web","mode":"http","traffic":{"sessions":3,"requests_total":10,"answers":[0,8,1,1,0]}}],
            "pools":[{"name":"app","mode":"http","traffic":{"queue":2,"times":{"queue_ms":1,"connect_ms":2,"response_ms":30,"total_ms":33}},
            "servers":[{"name":"a\"b","admin":"ready","health":"up","weight":10,"check":{"status":"L7OK","code":200,"duration_ms":3,"text":""}},
            {"name":"c","admin":"drain","health":"up","weight":0},{"name":"d","admin":"maint","health":"down"}]}]}"#,
        )
        .unwrap()
    }

    fn extra() -> Extra {
        let counts = Counts::default();
        for us in [300, 900, 40_000, 9_000_000_000] {
            counts.record(Duration::from_micros(us));
        }
        let mut latency = Histogram::default();
        latency.add(&counts);
        Extra {
            spliced_bytes: 7,
            log: Some(LogCounts { written: 9, lost: 1, sampled_out: 0 }),
            denied: vec![("web".into(), vec![(Reason::Rate, 5)])],
            routes: vec![RouteExtra {
                listener: "web".into(),
                route: "api".into(),
                latency,
                cache: Some(CacheCounts::default()),
                ..RouteExtra::default()
            }],
        }
    }

    fn value(text: &str, line: &str) -> Option<String> {
        text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ').map(str::to_owned))
    }

    #[test]
    fn names_of_the_exporter_hold_the_same() {
        let text = render(&snapshot(), &extra());
        for (line, expected) in [
            ("haproxy_process_uptime_seconds", "61"),
            (r#"haproxy_frontend_http_requests_total{proxy="web"}"#, "10"),
            (r#"haproxy_frontend_http_responses_total{proxy="web",code="2xx"}"#, "8"),
            (r#"haproxy_backend_current_queue{proxy="app"}"#, "2"),
            (r#"haproxy_backend_active_servers{proxy="app"}"#, "1"),
            (r#"haproxy_backend_response_time_average_seconds{proxy="app"}"#, "0.03"),
            (r#"haproxy_server_status{proxy="app",server="c",state="DRAIN"}"#, "1"),
            (r#"haproxy_server_status{proxy="app",server="d",state="MAINT"}"#, "1"),
            (r#"haproxy_server_status{proxy="app",server="d",state="UP"}"#, "0"),
            (r#"haproxy_server_weight{proxy="app",server="a\"b"}"#, "10"),
            (r#"lbdeck_denied_total{listener="web",route="",reason="rate"}"#, "5"),
            (r#"lbdeck_access_log_lines_total{result="lost"}"#, "1"),
            (r#"lbdeck_route_request_duration_seconds_bucket{listener="web",route="api",le="0.001"}"#, "2"),
            (r#"lbdeck_route_request_duration_seconds_bucket{listener="web",route="api",le="+Inf"}"#, "4"),
            (r#"lbdeck_route_request_duration_seconds_count{listener="web",route="api"}"#, "4"),
        ] {
            assert_eq!(value(&text, line).as_deref(), Some(expected), "{line}\n{text}");
        }
    }

    /// The format: every metric has its type once, before all its samples, and nothing comes twice. The console's own reader reads it.
    #[test]
    fn the_text_is_well_formed() {
        let text = render(&snapshot(), &extra());
        let (mut typed, mut seen, mut current) = (HashSet::new(), HashSet::new(), "");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap();
                assert!(typed.insert(current), "{current} twice");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(current), "{line} under {current}");
                let (series, number) = line.rsplit_once(' ').unwrap();
                assert!(number.parse::<f64>().is_ok() && seen.insert(series), "{line}");
            }
        }
        assert_eq!(parse(text.as_bytes()).unwrap().len(), seen.len());
        assert!(
            render(&Snapshot { listeners: Vec::new(), pools: Vec::new(), ..snapshot() }, &Extra::default()).contains("uptime")
        );
    }
}

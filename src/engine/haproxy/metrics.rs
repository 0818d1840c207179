//! The built-in Prometheus endpoint: it adds what `show info` lacks, and where a node gives nothing else it is the source,
//! to be watched only.

use std::collections::HashMap;
use std::time::Duration;

use crate::engine::{EngineError, Result, Want};
use crate::model::{
    EngineInfo, EngineKind, Fields, FrontendObs, Gauges, PoolObs, ServerObs, ServerStatus, SocketLevel, StatusWord, saturate,
};
use crate::transport::http::HttpClient;

use super::observe::Picture;
use super::parse::info::release;
use super::parse::metrics::{Sample, parse};
use super::parse::status;
use super::reading::Reading;
use super::socket::Deadline;

#[derive(Debug)]
pub(super) struct Metrics {
    client: HttpClient,
    max_reply: usize,
}

/// Every sample of a proxy or server, under the metric's own name.
#[derive(Debug, Default)]
pub(super) struct MetricRows(Vec<Vec<(String, String)>>);

impl Fields for MetricRows {
    fn row(&self, index: u32) -> Vec<(String, String)> {
        self.0.get(index as usize).cloned().unwrap_or_default()
    }
}

impl Metrics {
    pub(super) fn new(client: HttpClient, max_reply: usize) -> Self {
        Self { client, max_reply }
    }

    pub(super) fn describe(&self) -> String {
        self.client.at().to_owned()
    }

    /// The process's own metrics by name. Exporters that ignore the filter send more, which is left out.
    pub(super) async fn process(&self, deadline: Deadline) -> Result<Vec<(String, String)>> {
        let samples = self.scrape("?scope=global", deadline).await?;
        Ok(process(&samples))
    }

    pub(super) async fn read(&self, want: Want<'_>, deadline: Deadline) -> Result<(Reading, MetricRows)> {
        let samples = self.scrape("", deadline).await?;
        if !samples.iter().any(|s| s.name.starts_with("haproxy_")) {
            let what = "no metric of HAProxy in the answer".to_owned();
            return Err(EngineError::Malformed { at: self.describe(), what });
        }
        let (picture, rows) = picture(&samples);
        let notes =
            vec!["metrics only: it can only be watched, and the administrative state is derived from the status".to_owned()];
        let mut reading = Reading { engine: engine(&samples), picture, table: None, notes, started_at: None };
        if let Want::Pool(pool) = want {
            reading.keep_only(pool);
        }
        Ok((reading, rows))
    }

    async fn scrape(&self, suffix: &str, deadline: Deadline) -> Result<Vec<Sample>> {
        let reply = self.client.get(suffix, self.max_reply, deadline.left()).await?;
        parse(&reply.body).map_err(|e| EngineError::Malformed { at: self.describe(), what: e.to_string() })
    }
}

fn process(samples: &[Sample]) -> Vec<(String, String)> {
    let of_process = samples.iter().filter(|s| s.name.starts_with("haproxy_process_") && s.value.is_finite());
    of_process.map(|s| (labelled(&s.name, &s.labels), s.value.to_string())).collect()
}

/// `name`, or `name{label=value}`, as a field's name.
fn labelled<'a>(name: &str, labels: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let labels: Vec<String> = labels.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

fn engine(samples: &[Sample]) -> EngineInfo {
    let of = |name: &str| samples.iter().find(|s| s.name == name);
    let version = of("haproxy_process_build_info").and_then(|s| s.label("version")).unwrap_or_default().to_owned();
    let uptime = of("haproxy_process_uptime_seconds").and_then(|s| count(s.value)).map(Duration::from_secs);
    EngineInfo {
        kind: EngineKind::Haproxy,
        release: release(&version),
        version,
        level: SocketLevel::StatsReadOnly,
        pid: None,
        uptime,
        info: process(samples).into_iter().collect(),
    }
}

/// A whole number; None for NaN (which stands for an empty field) and what is negative.
fn count(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

/// What one proxy or server has gathered so far.
#[derive(Default)]
struct Row {
    gauges: Gauges,
    status: ServerStatus,
    weight: Option<u64>,
    active: u64,
    backup: u64,
    used: Option<u32>,
    idle: Option<u32>,
    last_change: Option<u32>,
    downtime: Option<u32>,
    fields: Vec<(String, String)>,
}

fn picture(samples: &[Sample]) -> (Picture, MetricRows) {
    // (kind, proxy, server) in order of first appearance.
    let mut order: Vec<(&str, &str, &str)> = Vec::new();
    let mut rows: HashMap<(&str, &str, &str), Row> = HashMap::new();
    for sample in samples {
        let Some((kind, metric)) = sample.name.strip_prefix("haproxy_").and_then(|n| n.split_once('_')) else { continue };
        let (Some(proxy), server) = (sample.label("proxy"), sample.label("server").unwrap_or("")) else { continue };
        let key = (kind, proxy, server);
        let row = rows.entry(key).or_insert_with(|| {
            order.push(key);
            Row::default()
        });
        row.take(metric, sample);
    }
    let mut picture = Picture::default();
    let mut fields = MetricRows::default();
    let mut pools: HashMap<&str, usize> = HashMap::new();
    // Servers come after their backends in the text; pools are made first.
    order.sort_by_key(|(kind, ..)| *kind == "server");
    for key @ (kind, proxy, server) in order {
        let Some(mut row) = rows.remove(&key) else { continue };
        let at = fields.0.len() as u32;
        fields.0.push(std::mem::take(&mut row.fields));
        match kind {
            "frontend" => picture.frontends.push(FrontendObs {
                name: proxy.into(),
                mode: "".into(),
                status: row.status,
                gauges: row.gauges,
                row: at,
            }),
            "backend" => {
                pools.insert(proxy, picture.pools.len());
                picture.pools.push(row.pool(proxy, at));
            }
            "server" => {
                if let Some(pool) = pools.get(proxy).and_then(|i| picture.pools.get_mut(*i)) {
                    pool.servers.push(row.server(server, at));
                }
            }
            _ => {} // listeners, resolvers, stick tables
        }
    }
    (picture, fields)
}

impl Row {
    fn take(&mut self, metric: &str, sample: &Sample) {
        let value = count(sample.value);
        let or0 = value.unwrap_or(0);
        let ms = (sample.value.is_finite() && sample.value >= 0.0).then_some((sample.value * 1000.0) as u32);
        let g = &mut self.gauges;
        match metric {
            "current_sessions" => g.sessions = saturate(or0),
            "max_sessions" => g.sessions_max = saturate(or0),
            "limit_sessions" => g.sessions_limit = value.map(saturate),
            "sessions_total" => g.sessions_total = or0,
            "current_queue" => g.queue = saturate(or0),
            "current_session_rate" => g.rate = saturate(or0),
            "http_requests_rate_current" => g.request_rate = value.map(saturate),
            "bytes_in_total" => g.bytes_in = or0,
            "bytes_out_total" => g.bytes_out = or0,
            "request_errors_total" | "connection_errors_total" | "response_errors_total" => {
                g.errors = g.errors.saturating_add(or0)
            }
            "retry_warnings_total" | "redispatch_warnings_total" => g.retries = g.retries.saturating_add(or0),
            "http_responses_total" => match sample.label("code") {
                Some("5xx") => g.http_5xx = value,
                Some("2xx" | "3xx" | "4xx") => g.http_ok = Some(g.http_ok.unwrap_or(0).saturating_add(or0)),
                _ => {}
            },
            "queue_time_average_seconds" => g.queue_ms = ms,
            "connect_time_average_seconds" => g.connect_ms = ms,
            "response_time_average_seconds" => g.response_ms = ms,
            "total_time_average_seconds" => g.total_ms = ms,
            "status" => match sample.label("state") {
                Some(state) if or0 == 1 => self.status = status::parse(state.as_bytes()),
                Some(_) => {}
                None => self.status = old_status(or0),
            },
            "weight" => self.weight = value,
            "active_servers" => self.active = or0,
            "backup_servers" => self.backup = or0,
            "used_connections_current" => self.used = value.map(saturate),
            "idle_connections_current" => self.idle = value.map(saturate),
            "check_last_change_seconds" => self.last_change = value.map(saturate),
            "downtime_seconds_total" => self.downtime = value.map(saturate),
            _ => {}
        }
        if sample.value.is_finite() && !(metric.ends_with("status") && or0 == 0) {
            let name = labelled(metric, sample.labels.iter().filter(|(n, _)| n != "proxy" && n != "server"));
            self.fields.push((name, sample.value.to_string()));
        }
    }

    fn pool(self, name: &str, at: u32) -> PoolObs {
        PoolObs {
            name: name.into(),
            mode: "".into(),
            algorithm: "".into(),
            status: self.status,
            gauges: self.gauges,
            active: self.active as u32,
            backup: self.backup as u32,
            servers: Vec::new(),
            row: at,
        }
    }

    fn server(self, name: &str, at: u32) -> ServerObs {
        ServerObs {
            name: name.into(),
            admin: status::admin_of(&self.status),
            admin_exact: false,
            status: self.status,
            weight: self.weight.and_then(|w| u32::try_from(w).ok()).unwrap_or(0),
            user_weight: None,
            initial_weight: None,
            address: None,
            port: None,
            backup: false,
            maxconn: self.gauges.sessions_limit,
            gauges: self.gauges,
            used_conns: self.used,
            idle_conns: self.idle,
            last_change_s: self.last_change,
            downtime_s: self.downtime,
            check: None,
            health_checks: None,
            agent_checks: None,
            cookie: None,
            drift: None,
            row: at,
        }
    }
}

/// Before 2.4 the state was a number.
fn old_status(value: u64) -> ServerStatus {
    ServerStatus::of(match value {
        0 => StatusWord::Down,
        1 => StatusWord::Up,
        2 => StatusWord::Maint,
        3 => StatusWord::Drain,
        4 => StatusWord::Nolb,
        _ => StatusWord::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_from_metrics_alone() {
        let samples = parse(include_bytes!("fixtures/2.6-metrics.txt")).unwrap();
        let (picture, rows) = picture(&samples);
        let web = picture.pools.iter().find(|p| p.name.as_str() == "web").unwrap();
        let web1 = web.server("web1").unwrap();
        assert_eq!((web1.weight, web1.status.word, web1.admin_exact), (10, StatusWord::Up, false));
        assert_eq!(web.server("web2").unwrap().admin.word(), "maint");
        assert!(rows.row(web1.row).contains(&("weight".into(), "10".into())));
        assert!(picture.frontends.iter().any(|f| &*f.name == "fe" && f.status.is_healthy()));
        let engine = engine(&samples);
        assert_eq!(engine.release, Some((2, 6)));
        assert!(engine.uptime.is_some());
    }
}

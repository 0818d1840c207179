//! One server on one node, flat: the fields of JSON, YAML and CSV.

use serde::Serialize;

use crate::cli::context::{Origin, SeenServer};
use crate::cli::output::{Cell, Tone};
use crate::model::{Drift, Gauges, PoolName, ServerName, StatusWord};

#[derive(Serialize)]
pub struct ServerItem<'a> {
    pub pool: &'a PoolName,
    pub server: &'a ServerName,
    #[serde(flatten)]
    pub origin: Origin<'a>,
    /// As the engine says it, with what an operator asked for where that differs.
    pub state: String,
    pub status: String,
    pub admin: &'static str,
    /// The engine's own bit mask; see `admin_exact`.
    pub admin_mask: u8,
    /// False where the admin state was derived from the status (HTTP page, socket level user).
    pub admin_exact: bool,
    /// Takes new traffic now.
    pub serving: bool,
    pub weight: u32,
    pub user_weight: Option<u32>,
    pub initial_weight: Option<u32>,
    pub address: Option<&'a str>,
    pub port: Option<u16>,
    pub backup: bool,
    #[serde(flatten)]
    pub gauges: &'a Gauges,
    pub used_conns: Option<u32>,
    pub idle_conns: Option<u32>,
    pub maxconn: Option<u32>,
    pub last_change_s: Option<u32>,
    pub downtime_s: Option<u32>,
    pub check_status: Option<&'a str>,
    pub check_code: Option<u16>,
    pub check_ms: Option<u32>,
    pub check_text: Option<&'a str>,
    pub health_checks: Option<bool>,
    pub agent_checks: Option<bool>,
    pub cookie: Option<&'a str>,
    /// What the next reload would undo; null where the file was not read.
    pub drift: Option<&'a [Drift]>,
}

impl<'a> ServerItem<'a> {
    pub fn new(SeenServer { node, obs, pool, server }: SeenServer<'a>) -> Self {
        let check = server.check.as_ref();
        Self {
            pool: &pool.name,
            server: &server.name,
            origin: Origin::new(node, obs),
            state: server.summary(),
            status: server.status.to_string(),
            admin: server.admin.word(),
            admin_mask: server.admin.0,
            admin_exact: server.admin_exact,
            serving: server.is_serving(),
            weight: server.weight,
            user_weight: server.user_weight,
            initial_weight: server.initial_weight,
            address: server.address.as_deref(),
            port: server.port,
            backup: server.backup,
            gauges: &server.gauges,
            used_conns: server.used_conns,
            idle_conns: server.idle_conns,
            maxconn: server.maxconn,
            last_change_s: server.last_change_s,
            downtime_s: server.downtime_s,
            check_status: check.map(|c| &*c.status),
            check_code: check.and_then(|c| c.code),
            check_ms: check.and_then(|c| c.duration_ms),
            check_text: check.map(|c| &*c.text),
            health_checks: server.health_checks,
            agent_checks: server.agent_checks,
            cookie: server.cookie.as_deref(),
            drift: server.drift.as_deref(),
        }
    }

    pub fn state_cell(&self) -> Cell {
        Cell::new(&self.state, self.tone())
    }

    fn tone(&self) -> Tone {
        match self.admin {
            "ready" if self.serving => Tone::Good,
            "ready" if self.status.starts_with(StatusWord::Down.label()) => Tone::Bad,
            _ => Tone::Warn,
        }
    }

    /// `10.0.0.5:80`.
    pub fn address_text(&self) -> Option<String> {
        let address = self.address?;
        Some(match self.port {
            Some(port) if address.contains(':') => format!("[{address}]:{port}"),
            Some(port) => format!("{address}:{port}"),
            None => address.to_owned(),
        })
    }

    /// The badge: what the next reload would undo.
    pub fn drift_cell(&self) -> Cell {
        match self.drift {
            Some(drift) if !drift.is_empty() => {
                let what: Vec<&str> = drift.iter().map(|d| &*d.what).collect();
                Cell::new(format!("lost on next reload: {}", what.join(", ")), Tone::Warn)
            }
            _ => Cell::default(),
        }
    }
}

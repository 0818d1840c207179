//! How a server that is about to be deleted can be added again. Pure.
//!
//! What the statistics show (address, weight, limit, checks) comes from there; the rest of its parameters from the file,
//! where it has the server and was read. What can be had from neither is named, so that nobody counts on it.

use std::net::IpAddr;

use crate::model::{AddServer, AdminState, NodeObs, ServerObs, ServerRef, Start, StatusWord};

use super::capability::{self, Balance};
use super::parse::config::{Config, Value, takes_argument};
use super::words::word;

/// Keywords that `add server` takes since 2.6; those that the statistics tell are not among them.
const DYNAMIC: &[&str] = &[
    "addr",
    "agent-addr",
    "agent-check",
    "agent-inter",
    "agent-port",
    "agent-send",
    "allow-0rtt",
    "alpn",
    "ca-file",
    "check-alpn",
    "check-proto",
    "check-send-proxy",
    "check-sni",
    "check-ssl",
    "check-via-socks4",
    "ciphers",
    "ciphersuites",
    "crl-file",
    "crt",
    "downinter",
    "error-limit",
    "fall",
    "fastinter",
    "force-sslv3",
    "force-tlsv10",
    "force-tlsv11",
    "force-tlsv12",
    "force-tlsv13",
    "inter",
    "maxqueue",
    "minconn",
    "no-ssl-reuse",
    "no-sslv3",
    "no-tlsv10",
    "no-tlsv11",
    "no-tlsv12",
    "no-tlsv13",
    "no-tls-tickets",
    "npn",
    "observe",
    "on-error",
    "on-marked-down",
    "on-marked-up",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "port",
    "proto",
    "proxy-v2-options",
    "rise",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "slowstart",
    "sni",
    "source",
    "ssl",
    "ssl-max-ver",
    "ssl-min-ver",
    "tfo",
    "tls-tickets",
    "track",
    "usesrc",
    "verify",
    "verifyhost",
    "ws",
];

/// Told by the statistics, or without a meaning at run time.
const TOLD: &[&str] =
    &["backup", "no-backup", "check", "no-check", "disabled", "enabled", "id", "init-addr", "init-state", "maxconn", "weight"];

/// What adds a server again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Again {
    pub add: AddServer,
    /// What it will lack, in words; None where nothing is known to be lost.
    pub lacks: Option<String>,
}

/// `file` is None where the configuration file was not read.
///
/// # Errors
/// Why it cannot be added again, in words.
pub(super) fn again(at: &ServerRef, seen: &NodeObs, file: Option<&Config>) -> Result<Again, String> {
    let pool = seen.pool(at.pool.as_str()).ok_or("its pool is not known")?;
    let server = pool.server(at.server.as_str()).ok_or("the server is not there")?;
    if capability::balance(Some(pool)) == Balance::Static {
        return Err(format!("the pool's algorithm '{}' is static and takes no servers at run time", pool.algorithm));
    }
    let address = server.address.as_deref().filter(|a| a.parse::<IpAddr>().is_ok()).ok_or("its IP address is not known")?;
    let port = server.port.filter(|p| *p > 0).ok_or("its port is not known")?;
    let mut lost: Vec<String> = Vec::new();
    if server.cookie.is_some() {
        lost.push("cookie".into());
    }
    let (extra, from_file) = match file.and_then(|f| f.backends.get(at.pool.as_str())?.servers.get(at.server.as_str())) {
        Some(written) => (parameters(&written.words, &mut lost), true),
        None => (observed(server, seen), false),
    };
    let checked = server.status.word != StatusWord::NoCheck && server.health_checks.is_some();
    let mut add = AddServer {
        address: address.to_owned(),
        port,
        weight: server.user_weight.or(Some(server.weight)).and_then(|w| u16::try_from(w).ok()),
        maxconn: server.maxconn.filter(|n| *n > 0),
        check: checked && server.health_checks == Some(true),
        backup: server.backup,
        start: match server.admin {
            admin if admin.has(AdminState::FMAINT) => Start::Maint,
            admin if admin.has(AdminState::FDRAIN) => Start::Drain,
            _ => Start::Ready,
        },
        extra,
    };
    if checked && !add.check {
        // Configured, and switched off now: so it comes back.
        add.extra.insert(0, "check".into());
    }
    lost.sort_unstable();
    lost.dedup();
    let mut lacks: Vec<String> = Vec::new();
    if !lost.is_empty() {
        lacks.push(format!("without {}", lost.join(", ")));
    }
    if !from_file {
        lacks
            .push("with what the statistics show only: TLS, intervals of checks and the like are not known from the file".into());
    }
    Ok(Again { add, lacks: (!lacks.is_empty()).then(|| lacks.join("; ")) })
}

/// What may be said again of the words of the file; the names of the others go to `lost`.
fn parameters(words: &[Value<String>], lost: &mut Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(keyword) = words.next() {
        let Value::Is(keyword) = keyword else {
            lost.push("what comes from environment variables".into());
            continue;
        };
        let argument = if takes_argument(keyword) { words.next() } else { None };
        if TOLD.contains(&keyword.as_str()) {
            continue;
        }
        let said = match argument {
            Some(Value::Unknown) => None,
            Some(Value::Is(text)) => word(text).ok().map(|text| vec![keyword.clone(), text.to_owned()]),
            None => Some(vec![keyword.clone()]),
        };
        match said {
            Some(said) if DYNAMIC.contains(&keyword.as_str()) => kept.extend(said),
            _ => lost.push(crate::model::sanitize(keyword).into_owned()),
        }
    }
    kept
}

/// What the statistics tell beyond the model: how many checks make a server up or down, and the limit of its queue.
fn observed(server: &ServerObs, seen: &NodeObs) -> Vec<String> {
    let row = seen.fields.as_ref().map(|f| f.row(server.row)).unwrap_or_default();
    [("check_rise", "rise"), ("check_fall", "fall"), ("qlimit", "maxqueue")]
        .into_iter()
        .filter_map(|(column, keyword)| {
            let (_, value) = row.iter().find(|(name, _)| name == column)?;
            let n: u32 = value.parse().ok().filter(|n| *n > 0)?;
            Some([keyword.to_owned(), n.to_string()])
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::haproxy::command_tests::seen;
    use crate::engine::haproxy::parse::config;
    use crate::model::{ServerStatus, SocketLevel};

    /// `web/w1` of the statistics (weight 10, maxconn 50), on 10.0.0.1:80.
    fn of(change: impl FnOnce(&mut ServerObs), algorithm: &str, file: Option<&str>) -> Result<Again, String> {
        let mut obs = seen("2.6.12", SocketLevel::Admin);
        let pool = obs.pools.iter_mut().find(|p| p.name.as_str() == "web").unwrap();
        pool.algorithm = algorithm.into();
        let w1 = pool.servers.first_mut().unwrap();
        (w1.address, w1.port) = (Some("10.0.0.1".into()), Some(80));
        change(w1);
        let file = file.map(config::parse);
        again(&ServerRef::new("web", "w1"), &obs, file.as_ref())
    }

    #[test]
    fn the_statistics_alone_bring_back_what_they_show_and_say_so() {
        let seen = of(
            |s| {
                s.user_weight = Some(7);
                s.backup = true;
                s.health_checks = Some(true);
                s.admin = AdminState(AdminState::FDRAIN);
            },
            "roundrobin",
            None,
        )
        .unwrap();
        let wanted = AddServer {
            address: "10.0.0.1".into(),
            port: 80,
            weight: Some(7),
            maxconn: Some(50),
            check: true,
            backup: true,
            start: Start::Drain,
            extra: Vec::new(),
        };
        assert_eq!(seen.add, wanted);
        assert!(seen.lacks.is_some_and(|l| l.contains("not known from the file")));
    }

    #[test]
    fn the_file_brings_back_its_parameters_and_names_what_no_command_can_say() {
        let file = "defaults\n default-server inter 2s\nbackend web\n balance roundrobin\n default-server fall 5\n \
                    server w1 10.0.0.9:1 check rise 3 weight 9 ssl verify none cookie c1 resolvers dns sni \"$X\"\n";
        let seen = of(|s| s.health_checks = Some(false), "roundrobin", Some(file)).unwrap();
        assert_eq!(seen.add.extra, ["check", "inter", "2s", "fall", "5", "rise", "3", "ssl", "verify", "none"]);
        assert_eq!((seen.add.check, seen.add.address.as_str(), seen.add.weight), (false, "10.0.0.1", Some(10)));
        assert_eq!(seen.lacks.as_deref(), Some("without cookie, resolvers, sni"));
        let plain = of(|_| {}, "roundrobin", Some("backend web\n server w1 10.0.0.1:80\n")).unwrap();
        assert_eq!((plain.lacks, plain.add.extra.len(), plain.add.check), (None, 0, false));
    }

    #[test]
    fn what_cannot_come_back_says_why() {
        assert!(of(|_| {}, "static-rr", None).unwrap_err().contains("static"));
        assert!(of(|s| s.address = None, "roundrobin", None).unwrap_err().contains("address"));
        assert!(of(|s| s.address = Some("unix".into()), "roundrobin", None).unwrap_err().contains("address"));
        assert!(of(|s| s.port = None, "roundrobin", None).unwrap_err().contains("port"));
        let unchecked = of(|s| s.status = ServerStatus::of(StatusWord::NoCheck), "roundrobin", None).unwrap();
        assert!(!unchecked.add.check && unchecked.add.extra.is_empty());
    }
}

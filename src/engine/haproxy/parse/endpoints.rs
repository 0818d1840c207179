//! Where a haproxy configuration says that it answers: statistics sockets, statistics pages, Prometheus. Pure.

use std::path::PathBuf;

use super::config::{SECTIONS, joined_lines, words};

/// What a configuration offers to whoever watches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub sockets: Vec<StatsSocket>,
    pub pages: Vec<StatsPage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsSocket {
    pub at: SocketAt,
    /// `level`, where the line has one; `operator` is HAProxy's default.
    pub level: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAt {
    Unix(PathBuf),
    /// As written: `127.0.0.1:9999`, `*:9999`.
    Tcp(String),
}

/// A section that serves the statistics page or the Prometheus exporter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsPage {
    pub section: String,
    /// Addresses of its `bind` lines, as written.
    pub binds: Vec<String>,
    pub tls: bool,
    /// Path of the page; None where the section only exports metrics.
    pub uri: Option<String>,
    pub admin: bool,
    pub auth: bool,
    pub metrics: bool,
}

/// HAProxy's own default of `stats uri`.
const DEFAULT_URI: &str = "/haproxy?stats";

pub fn find(config: &str) -> Endpoints {
    let mut found = Endpoints::default();
    let mut page: Option<StatsPage> = None;
    for (_, line) in joined_lines(config) {
        let words = words(&line);
        let words: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
        let Some(first) = words.first() else { continue };
        if SECTIONS.contains(first) {
            found.pages.extend(page.take().filter(serves));
            let proxy = matches!(*first, "frontend" | "listen");
            page = proxy
                .then(|| StatsPage { section: words.get(1).copied().unwrap_or_default().to_owned(), ..StatsPage::default() });
        }
        match (words.as_slice(), &mut page) {
            (["stats", "socket", address, options @ ..], _) => {
                if let Some(at) = socket_at(address) {
                    let level = options.iter().position(|w| *w == "level").and_then(|i| options.get(i + 1));
                    found.sockets.push(StatsSocket { at, level: level.map(|l| (*l).to_owned()) });
                }
            }
            (["bind", addresses, options @ ..], Some(page)) => {
                page.binds.extend(addresses.split(',').map(str::to_owned));
                page.tls |= options.contains(&"ssl");
            }
            (["stats", "enable", ..], Some(page)) => {
                page.uri.get_or_insert_with(|| DEFAULT_URI.to_owned());
            }
            (["stats", "uri", uri, ..], Some(page)) => page.uri = Some((*uri).to_owned()),
            (["stats", "admin", ..], Some(page)) => page.admin = true,
            (["stats", "auth", ..] | ["stats", "http-request", "auth", ..], Some(page)) => page.auth = true,
            (["http-request", "use-service", "prometheus-exporter", ..], Some(page)) => page.metrics = true,
            _ => {}
        }
    }
    found.pages.extend(page.filter(serves));
    found
}

fn serves(page: &StatsPage) -> bool {
    page.uri.is_some() || page.metrics
}

fn socket_at(address: &str) -> Option<SocketAt> {
    let bare = ["unix@", "ipv4@", "ipv6@"].into_iter().find_map(|p| address.strip_prefix(p)).unwrap_or(address);
    if bare.starts_with('/') {
        return Some(SocketAt::Unix(bare.into()));
    }
    // Descriptors and abstract sockets (`fd@3`, `abns@x`) cannot be reached from outside.
    let port = bare.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    (port && !bare.contains('@')).then(|| SocketAt::Tcp(bare.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_pages() {
        let found = find(
            r#"
global
    stats socket /run/haproxy/admin.sock mode 660 level admin expose-fd listeners
    stats socket ipv4@127.0.0.1:9999 level operator  # comment
    stats socket unix@/run/haproxy/user.sock user haproxy
    stats socket fd@${SOCK}
defaults
    mode http
frontend stats
    bind *:8404
    bind :8405 ssl crt /x.pem
    http-request use-service prometheus-exporter if { path /metrics }
    stats enable
    stats uri /stats
    stats auth "admin:secret"
    stats admin if LOCALHOST
listen plain
    bind 10.0.0.1:80,10.0.0.2:80
    stats enable
backend app
    server a 10.0.0.1:80
"#,
        );
        let sockets: Vec<String> = found.sockets.iter().map(|s| format!("{:?} {:?}", s.at, s.level)).collect();
        assert_eq!(
            sockets,
            [
                "Unix(\"/run/haproxy/admin.sock\") Some(\"admin\")",
                "Tcp(\"127.0.0.1:9999\") Some(\"operator\")",
                "Unix(\"/run/haproxy/user.sock\") None",
            ]
        );
        let [stats, plain] = found.pages.as_slice() else { panic!("{:?}", found.pages) };
        assert_eq!(
            (stats.uri.as_deref(), stats.admin, stats.auth, stats.metrics, stats.tls),
            (Some("/stats"), true, true, true, true)
        );
        assert_eq!(plain.uri.as_deref(), Some(DEFAULT_URI));
        assert_eq!(plain.binds, ["10.0.0.1:80", "10.0.0.2:80"]);
    }

    #[test]
    fn hostile_text_is_survived() {
        for text in
            ["stats socket", "stats socket \"", "frontend\nstats uri", "\\", "'", "listen\nbind\n", "stats socket :x level"]
        {
            find(text);
        }
    }
}

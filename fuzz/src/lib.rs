//! What each fuzz target does with the bytes it is given: the reader must neither panic nor lose or invent anything.
//!
//! `fuzz_targets/` runs these under libFuzzer; `tests/it/fuzz.rs` runs the same functions over mutated real replies.

use std::path::Path;

use lbdeck::agent::relay::content::compress::{Encoding, negotiate};
use lbdeck::agent::relay::http::head::{Headers, RequestHead, ResponseHead};
use lbdeck::agent::relay::http::http1::framing::BodyLength;
use lbdeck::agent::relay::http::http1::write::{self, WriteFraming};
use lbdeck::agent::relay::http::http1::{HeadLimits, chunked, head_end, request, response};
use lbdeck::agent::relay::route::{forwarded, path};
use lbdeck::agent::relay::{config as relay, proxy_protocol};
use lbdeck::config::load;
use lbdeck::engine::haproxy::parse::{
    config, info, metrics, process, servers_conn, servers_state, sessions, ssl_cert, stats_csv::StatTable, stats_page, tables,
};
use lbdeck::engine::haproxy::{Known, Picture};
use lbdeck::engine::relay::{Reading, observation};
use lbdeck::model::{Fields, NodeReading};
use lbdeck::ops::agent::elf as headers;
use lbdeck::transport::ssh::config::parse as ssh_config_file;

pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("stats_csv", stats_csv),
    ("info", show_info),
    ("servers_state", show_servers_state),
    ("replies", other_replies),
    ("metrics", prometheus),
    ("haproxy_cfg", haproxy_cfg),
    ("fleet_file", fleet_file),
    ("ssh_config", ssh_config),
    ("relay_rules", relay_rules),
    ("relay_http", relay_http),
    ("relay_snapshot", relay_snapshot),
    ("proxy_protocol", proxy),
    ("relay_config", relay_config),
    ("elf", elf),
];

/// Nothing that reaches a screen may hold a control character.
fn is_shown(text: &str) {
    assert!(!text.chars().any(char::is_control), "control character in {text:?}");
}

pub fn stats_csv(bytes: &[u8]) {
    let Ok(table) = StatTable::parse(bytes.to_vec()) else { return };
    let names = table.header().columns().iter().filter(|n| !n.is_empty() && &***n != "-").count();
    for row in 0..table.len().min(50) {
        let fields = table.row(row as u32);
        assert!(fields.len() <= names);
        fields.iter().for_each(|(_, value)| is_shown(value));
    }
    let picture = Picture::of(&table, None, &Known::default());
    let rows = picture.frontends.len() + picture.pools.iter().map(|p| p.servers.len()).sum::<usize>();
    assert!(rows <= table.len(), "more than the table has");
    for server in picture.pools.iter().flat_map(|p| &p.servers) {
        is_shown(server.name.as_str());
        is_shown(&server.status.to_string());
    }
    // A second reading that knows the names is the same picture.
    let mut known = Known::default();
    known.learn(&table, &picture.pools);
    let again = Picture::of(&table, None, &known);
    assert_eq!(format!("{again:?}"), format!("{picture:?}"));
}

pub fn elf(bytes: &[u8]) {
    let Ok(read) = headers::parse(bytes) else { return };
    is_shown(&read.machine);
    assert!(bytes.starts_with(b"\x7fELF") && headers::runs_on(&read.machine, &read.machine));
    // What stands behind the headers changes nothing.
    let longer = [bytes, &[0xff; 64]].concat();
    assert_eq!(headers::parse(&longer).as_ref().map(|elf| &elf.machine), Ok(&read.machine));
}

pub fn relay_snapshot(bytes: &[u8]) {
    if let Ok(reading) = serde_json::from_slice::<NodeReading>(bytes) {
        let reading = reading.sanitized();
        is_shown(&reading.hostname);
        lbdeck::collect::describe::node_reading(&reading).iter().for_each(|(_, text)| is_shown(text));
    }
    let Ok(snapshot) = serde_json::from_slice(bytes) else { return };
    let reading = Reading { node: "lb1".into(), began: std::time::Instant::now(), source: "fuzz".into() };
    let obs = observation(snapshot, None, reading);
    obs.notes.iter().for_each(|note| is_shown(note));
    obs.engine.info.iter().for_each(|(_, value)| is_shown(value));
    let rows = obs.frontends.len() + obs.pools.iter().map(|p| p.servers.len() + 1).sum::<usize>();
    if let Some(fields) = &obs.fields {
        for row in 0..=u32::try_from(rows).unwrap_or(u32::MAX).min(50) {
            fields.row(row).iter().for_each(|(name, value)| {
                is_shown(name);
                is_shown(value);
            });
        }
    }
    for server in obs.pools.iter().flat_map(|p| &p.servers) {
        is_shown(server.name.as_str());
        is_shown(&server.summary());
    }
}

pub fn show_info(bytes: &[u8]) {
    if let Ok(info) = info::Info::parse(bytes) {
        info.0.iter().for_each(|(name, value)| {
            is_shown(name);
            is_shown(value);
        });
        let _ = (info.pid(), info.uptime(), info.started_at(), info::release(info.version()));
    }
}

pub fn show_servers_state(bytes: &[u8]) {
    if let Ok((states, rest)) = servers_state::parse(bytes) {
        assert!(rest.len() <= bytes.len());
        assert!(states.iter().all(|s| s.server.len() <= bytes.len()));
    }
}

pub fn other_replies(bytes: &[u8]) {
    let all = sessions::parse(bytes, 100, |_| true);
    assert!(all.len() <= 100);
    all.iter().for_each(|s| is_shown(&s.raw));
    let _ = servers_conn::parse(bytes);
    let _ = process::parse(bytes);
    let _ = ssl_cert::list(bytes);
    let _ = ssl_cert::details("x.pem", bytes);
    let _ = tables::parse(bytes);
    if let Ok(entries) = tables::entries(bytes, 10) {
        assert!(entries.len() <= 10);
        entries.iter().for_each(|e| is_shown(&e.key));
    }
    if let Some(version) = stats_page::head(bytes).version {
        is_shown(&version);
    }
}

pub fn prometheus(bytes: &[u8]) {
    let lines = bytes.split(|b| *b == b'\n').count();
    if let Ok(samples) = metrics::parse(bytes) {
        assert!(samples.len() <= lines);
        samples.iter().flat_map(|s| &s.labels).for_each(|(_, value)| is_shown(value));
    }
}

pub fn haproxy_cfg(bytes: &[u8]) {
    let _ = config::parse(&String::from_utf8_lossy(bytes));
}

pub fn fleet_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match load::parse(&text, Path::new("lbdeck.yaml")) {
        Ok(fleet) => assert!(fleet.nodes.iter().all(|n| !n.meta.name.as_str().is_empty())),
        Err(e) => assert!(!e.to_string().contains('\x1b'), "an error shows the file's bytes"),
    }
}

pub fn ssh_config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (directives, malformed) = ssh_config_file::parse(&text);
    let lines = text.lines().count();
    assert!(directives.iter().all(|d| d.line >= 1 && d.line <= lines && !d.args.is_empty()));
    assert!(malformed.is_none_or(|m| m.line >= 1 && m.line <= lines));
}

/// What clients send and rules read: paths, forwarding fields, lists of codings.
pub fn relay_rules(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let normal = path::normalize(&text);
    if text.starts_with('/') {
        assert!(normal.starts_with('/') && !normal.contains("//"));
        assert!(!normal.split('/').any(|s| s == "." || s == ".."), "{text:?} {normal:?}");
    } else {
        assert_eq!(normal, text);
    }
    let elements = forwarded::parse(bytes);
    assert!(elements.len() <= bytes.len());
    let texts = elements.iter().flat_map(|e| [&e.node, &e.host, &e.proto]).flatten();
    texts.for_each(|t| assert!(t.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{t:?}"));
    let _ = elements.iter().filter_map(|e| forwarded::node_address(e.node.as_deref()?)).count();
    let mut headers = Headers::new();
    headers.add("Accept-Encoding", bytes);
    headers.add("X-Forwarded-For", bytes);
    let chosen = negotiate::choose(&headers, &Encoding::ALL);
    let named = |e: Encoding| bytes.to_ascii_lowercase().windows(e.word().len()).any(|w| w == e.word().as_bytes());
    assert!(chosen.is_none_or(|e| named(e) || bytes.contains(&b'*')), "nobody asked for {chosen:?}");
    let trust_all = forwarded::Forwarding { style: forwarded::Style::XForwarded, trusted: everybody() };
    let peer = ([10, 0, 0, 1], 1).into();
    let _ = trust_all.client(&headers, peer);
    trust_all.apply(&mut headers, [10, 0, 0, 1].into(), false, &text);
    assert!(headers.get("x-forwarded-for").is_some_and(|f| f.ends_with(b", 10.0.0.1")));
}

fn everybody() -> lbdeck::agent::relay::protect::networks::Networks {
    let all = ["0.0.0.0/0", "::/0"].iter().filter_map(|n| n.parse().ok()).collect();
    lbdeck::agent::relay::protect::networks::Networks::new(all)
}

/// What the relay takes for one request it must write as one request that it reads the same way: the difference would be smuggled.
pub fn relay_http(bytes: &[u8]) {
    let limits = HeadLimits::default();
    if let Ok(Some(end)) = head_end(bytes, &mut 0) {
        let (head_bytes, body) = bytes.split_at(end);
        let (mut head, mut again) = (RequestHead::default(), RequestHead::default());
        if let Ok(framing) = request::parse(head_bytes, &limits, &mut head) {
            let to_server = WriteFraming {
                body: framing.body,
                keep_alive: true,
                version: RequestHead::default().version,
                upgrade: framing.fields.upgrade.as_deref(),
                expect_continue: framing.fields.expect_continue,
            };
            let mut written = Vec::new();
            write::request(&mut written, &head, &to_server);
            assert_eq!(head_end(&written, &mut 0), Ok(Some(written.len())), "one head in, one head out");
            if head.version == to_server.version {
                let reread = request::parse(&written, &HeadLimits { fields: HeadLimits::MOST_FIELDS, ..limits }, &mut again)
                    .expect("what was written");
                assert_eq!((reread.body, &again.target, &again.method), (framing.body, &head.target, &head.method));
                assert_eq!(again.authority, head.authority);
            }
            if framing.body == BodyLength::Chunked {
                chunks(body);
            }
        }
        let mut answer = ResponseHead::default();
        let _ = response::parse(head_bytes, &RequestHead::default().method, &limits, &mut answer);
    }
    chunks(bytes);
}

/// Wherever the bytes are cut, the body is the same.
fn chunks(bytes: &[u8]) {
    let decode = |cut: usize| {
        let (mut decoder, mut data, mut at) = (chunked::ChunkDecoder::default(), Vec::new(), 0);
        while at < bytes.len() {
            let piece = &bytes[at..bytes.len().min(at + cut)];
            let Ok((used, step)) = decoder.next(piece) else { return None };
            at += used;
            match step {
                chunked::Step::Data(count) => {
                    data.extend_from_slice(&bytes[at..at + count]);
                    decoder.took(count);
                    at += count;
                }
                chunked::Step::End => return Some((data, at, decoder.trailers().is_ok())),
                chunked::Step::More => {}
            }
        }
        None
    };
    assert_eq!(decode(usize::MAX / 2), decode(1));
}

pub fn proxy(bytes: &[u8]) {
    let Ok(header) = proxy_protocol::parse(bytes) else { return };
    assert!(header.len <= bytes.len(), "a header longer than what there is");
    // A header is the same whatever follows it, and a part of it is none.
    let own = &bytes[..header.len];
    assert_eq!(proxy_protocol::parse(own), Ok(header));
    let part = proxy_protocol::parse(&own[..header.len - 1]);
    assert_eq!(part, Err(proxy_protocol::ProxyError::Incomplete));
}

pub fn relay_config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match relay::parse(&text, Path::new("relay.yaml")) {
        Ok(config) => {
            let pools = |name: &str| config.pool(name).is_some();
            assert!(config.pools.iter().all(|p| !p.servers.is_empty() && p.servers.iter().all(|s| s.weight <= 256)));
            assert!(config.listeners.iter().all(|l| !l.bind.is_empty() && l.pool.as_ref().is_none_or(|p| pools(p))));
        }
        Err(e) => assert!(!e.to_string().contains('\x1b'), "an error shows the file's bytes"),
    }
}

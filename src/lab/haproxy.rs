//! The lab on haproxy (`--engine haproxy`): the program, a node's configuration, what the fleet file says of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::LabError;
use super::apps::Apps;
use super::layout::{LabNode, POOLS, write_private};

/// haproxy as given, else in PATH, else where Debian puts it (which is not in the PATH of ordinary users).
pub(super) fn find(given: Option<&Path>) -> Result<PathBuf, LabError> {
    if let Some(given) = given {
        return if given.is_file() { Ok(given.to_owned()) } else { Err(LabError::NoHaproxy { tried: Some(given.to_owned()) }) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join("haproxy"))
        .find(|candidate| candidate.is_file())
        .ok_or(LabError::NoHaproxy { tried: None })
}

pub(super) fn admin_socket(node: &LabNode) -> PathBuf {
    node.folder.join("admin.sock")
}

/// The engine of a node in the fleet file.
pub(super) fn fleet_entry(node: &LabNode) -> String {
    let folder = node.folder.display();
    format!("haproxy: {{ socket: {folder}/admin.sock, master_socket: {folder}/master.sock, config: {folder}/haproxy.cfg }}")
}

/// Writes a node's configuration.
pub(super) fn write_config(node: &LabNode, apps: &Apps) -> Result<(), LabError> {
    let path = node.folder.join("haproxy.cfg");
    let doing = format!("writing {}", path.display());
    write_private(&path, &config(node, apps)).map_err(LabError::io(doing))
}

fn config(node: &LabNode, apps: &Apps) -> String {
    let mut text = format!(
        "# Node {name} of `lbdeck lab`.\n\
         global\n    \
             stats socket '{socket}' mode 600 level admin expose-fd listeners\n    \
             stats timeout 1m\n    \
             maxconn 4000\n    \
             nbthread 1\n\n\
         defaults\n    \
             mode http\n    \
             timeout connect 2s\n    \
             timeout client 60s\n    \
             timeout server 60s\n    \
             timeout queue 5s\n    \
             retries 2\n    \
             option redispatch\n    \
             option httpchk GET /health\n    \
             default-server check inter 500ms fall 2 rise 1 weight 100\n",
        name = node.name,
        socket = admin_socket(node).display(),
    );
    for (pool, address) in POOLS.iter().zip(&node.frontends) {
        let _ = write!(text, "\nfrontend {pool}-in\n    bind {address}\n    default_backend {pool}\n\nbackend {pool}\n");
        if *pool == "api" {
            text.push_str(
                "    balance leastconn\n    stick-table type ip size 1k expire 5m store conn_cur,http_req_rate(10s)\n    \
                 http-request track-sc0 src\n",
            );
        }
        for app in apps.servers().filter(|a| a.pool == *pool) {
            let _ = writeln!(text, "    server {} {}", app.name, app.address);
        }
    }
    text
}

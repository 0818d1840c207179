//! The node's own log hears of every change, where it has one: whoever looks there finds who did what.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;

use crate::model::{NodeName, sanitize};
use crate::ops::Plan;
use crate::ops::blocking::on_store;
use crate::ops::inner::Inner;
use crate::store::Who;
use crate::transport::Limits;

const DEADLINE: Duration = Duration::from_secs(2);

/// One line, as logs want it.
pub fn line(who: &Who, plan: &Plan, operation: i64) -> String {
    let reason = plan.request.reason.as_deref().map(|r| format!(" reason={:?}", sanitize(r))).unwrap_or_default();
    format!("operation={operation} who={who} from={:?} what={:?}{reason}", who.from, plan.summary)
}

/// Writes the line on every node that something was sent to, and records what came of that.
pub async fn write(inner: &Inner, operation: i64, nodes: &[NodeName], line: &str) {
    if nodes.is_empty() {
        return;
    }
    let results = join_all(nodes.iter().map(|node| async move {
        let told = tokio::time::timeout(DEADLINE, write_on(inner, node, line)).await;
        (node, told.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}"))))
    }))
    .await;
    let written = results.iter().filter(|(_, r)| r.is_ok()).count();
    let mut text = format!("written on {written} of {} nodes", results.len());
    for (node, result) in &results {
        if let Err(why) = result {
            text.push_str(&format!("; {node}: {why}"));
        }
    }
    if let Err(e) = on_store(&inner.store, move |store| store.record_syslog(operation, &text)).await {
        tracing::warn!(operation, error = %e, "what became of the nodes' syslog could not be recorded");
    }
}

async fn write_on(inner: &Inner, node: &NodeName, line: &str) -> Result<(), String> {
    let transport = inner.node(node).and_then(|h| h.transport.clone()).ok_or("no way to run commands")?;
    if let Some(files) = transport.files() {
        let socket = files.stat(Path::new("/dev/log")).await.map_err(|e| e.to_string())?;
        socket.ok_or("has no /dev/log")?;
    }
    let argv = ["logger", "-t", "lbdeck", "-p", "auth.notice", "--", line];
    let output = transport.run(&argv, b"", Limits { deadline: DEADLINE, output: 4096 }).await.map_err(|e| e.to_string())?;
    match output.status {
        Some(0) => Ok(()),
        _ => Err(format!("logger: {}", sanitize(String::from_utf8_lossy(&output.stderr).trim()))),
    }
}

//! A command on nodes: audited like any other operation; its output becomes events.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::{Exit, NodeName, sanitize};
use crate::ops::inner::Inner;
use crate::ops::plan::ExecPlan;
use crate::ops::{EventKind, NodeOutcome, NodeResult, Outcome};
use crate::transport::Limits;

use super::{Done, Report};

/// How long a command may run; what takes longer belongs into a unit of the node.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

pub async fn run(inner: &Arc<Inner>, report: &Report, stop: &CancellationToken, exec: &ExecPlan) -> Done {
    let argv: Arc<[String]> = Arc::from(exec.argv.clone());
    let mut tasks = JoinSet::new();
    for (n, node) in exec.nodes.iter().enumerate() {
        let (inner, report, stop, node, argv) =
            (Arc::clone(inner), report.clone(), stop.clone(), node.clone(), Arc::clone(&argv));
        tasks.spawn(async move { (n, on_node(&inner, &report, &stop, node, &argv).await) });
    }
    let mut nodes = tasks.join_all().await;
    nodes.sort_by_key(|(n, _)| *n);
    let nodes: Vec<NodeOutcome> = nodes.into_iter().map(|(_, outcome)| outcome).collect();
    let failed = nodes.iter().filter(|n| n.result != NodeResult::Done).count();
    let touched = nodes.iter().filter(|n| n.result != NodeResult::NotStarted).map(|n| n.node.clone()).collect();
    let summary = match failed {
        0 => format!("{} ended well on all nodes", exec.argv.join(" ")),
        n => format!("{} failed on {n} of {} nodes", exec.argv.join(" "), nodes.len()),
    };
    let exit = if failed == 0 { Exit::Ok } else { Exit::Failed };
    Done { outcome: Outcome { exit, summary, nodes, next: Vec::new(), leases: Vec::new() }, journal: Vec::new(), touched }
}

async fn on_node(inner: &Inner, report: &Report, stop: &CancellationToken, node: NodeName, argv: &[String]) -> NodeOutcome {
    let outcome = |result, text: String| NodeOutcome { node: node.clone(), target: None, result, text, unseen: None };
    let Some(transport) = inner.node(&node).and_then(|h| h.transport.clone()) else {
        return outcome(NodeResult::NotStarted, "no way to run commands there".into());
    };
    if stop.is_cancelled() {
        return outcome(NodeResult::NotStarted, "stopped".into());
    }
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let ran = tokio::select! {
        biased;
        () = stop.cancelled() => return outcome(NodeResult::Failed, "stopped while it ran: its channel was closed".into()),
        ran = transport.run(&words, b"", Limits { deadline: DEADLINE, ..Limits::default() }) => ran,
    };
    match ran {
        Err(e) => {
            report.emit(Some(&node), None, EventKind::Failed { error: e.to_string(), hint: e.hint().map(str::to_owned) });
            let result = if e.is_transient() { NodeResult::Unreachable } else { NodeResult::Failed };
            outcome(result, e.to_string())
        }
        Ok(output) => {
            for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
                for line in String::from_utf8_lossy(bytes).lines() {
                    report.emit(Some(&node), None, EventKind::Output { stream, line: sanitize(line).into_owned() });
                }
            }
            if output.truncated {
                report.warn(Some(&node), "the output was cut: it went over the limit".into());
            }
            match output.status {
                Some(0) => outcome(NodeResult::Done, "exit status 0".into()),
                Some(status) => outcome(NodeResult::Failed, format!("exit status {status}")),
                None => outcome(NodeResult::Failed, "ended by a signal".into()),
            }
        }
    }
}

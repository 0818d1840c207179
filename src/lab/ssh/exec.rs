//! Commands on a lab node: a short list of programs that read and end by themselves, run as argv, never through a shell.

use std::process::Stdio;
use std::sync::Arc;

use russh::Channel;
use russh::server::Msg;
use tokio::io::{AsyncWriteExt, copy};
use tokio::process::Command;

use super::Host;

/// What a node offers. Each ends when its input or output is closed, so none outlives the lab.
const OFFERED: &[&str] =
    &["cat", "date", "df", "free", "haproxy", "hostname", "id", "logger", "ls", "nproc", "stat", "true", "uname", "uptime", "wc"];
/// Exit statuses that a shell gives for a command that cannot run and for one that is not there.
const CANNOT_RUN: u32 = 126;
const NOT_FOUND: u32 = 127;
/// haproxy only answers questions here; a node has one running already.
const HAPROXY_QUESTIONS: &[&str] = &["-v", "-vv", "-c"];

/// What will be run for a command line, or why not.
fn resolve(host: &Host, line: &str) -> Result<Vec<String>, (u32, String)> {
    let mut argv = shell_words::split(line).map_err(|e| (CANNOT_RUN, format!("'{line}': {e}")))?;
    let Some(program) = argv.first_mut() else { return Err((CANNOT_RUN, "no command".to_owned())) };
    if !OFFERED.contains(&program.as_str()) {
        let offered = OFFERED.join(", ");
        return Err((NOT_FOUND, format!("{program}: not on lab nodes, which have no shell; they offer {offered}")));
    }
    if program == "hostname" {
        return Ok(vec!["echo".to_owned(), host.name.clone()]);
    }
    if program == "haproxy" {
        *program = host.haproxy.display().to_string();
        if argv.get(1).is_none_or(|a| !HAPROXY_QUESTIONS.contains(&a.as_str())) {
            return Err((CANNOT_RUN, format!("haproxy: on lab nodes only with {}", HAPROXY_QUESTIONS.join(", "))));
        }
    }
    Ok(argv)
}

/// Runs the command with the channel as its input and outputs, and reports its exit status.
pub(super) async fn run(host: Arc<Host>, line: String, channel: Channel<Msg>) {
    let (mut read, write) = channel.split();
    let status = match resolve(&host, &line) {
        Ok(argv) => {
            let (mut out, mut err) = (write.make_writer(), write.make_writer_ext(Some(1)));
            let program = argv.first().cloned().unwrap_or_default();
            let child = Command::new(&program)
                .args(argv.iter().skip(1))
                .current_dir(&host.folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn();
            match child {
                Ok(mut child) => {
                    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
                    let feed = async {
                        if let Some(mut stdin) = stdin {
                            // A command need not read its input.
                            let _ = copy(&mut read.make_reader(), &mut stdin).await;
                        }
                        std::future::pending::<()>().await;
                    };
                    let drain = async {
                        let out = async {
                            if let Some(mut stdout) = stdout {
                                let _ = copy(&mut stdout, &mut out).await;
                            }
                        };
                        let err = async {
                            if let Some(mut stderr) = stderr {
                                let _ = copy(&mut stderr, &mut err).await;
                            }
                        };
                        tokio::join!(out, err);
                        child.wait().await
                    };
                    let ended = tokio::select! {
                        ended = drain => ended,
                        () = feed => return,
                    };
                    ended.ok().and_then(|s| s.code()).and_then(|c| u32::try_from(c).ok()).unwrap_or(CANNOT_RUN)
                }
                Err(error) => say(&write, NOT_FOUND, &format!("{program}: {error}")).await,
            }
        }
        Err((status, why)) => say(&write, status, &why).await,
    };
    // The client may be gone: then nobody wants the status.
    let _ = write.exit_status(status).await;
    let _ = write.eof().await;
    let _ = write.close().await;
}

async fn say(write: &russh::ChannelWriteHalf<Msg>, status: u32, why: &str) -> u32 {
    let mut err = write.make_writer_ext(Some(1));
    let _ = err.write_all(format!("lab: {why}\n").as_bytes()).await;
    let _ = err.flush().await;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        let client = super::super::new_key().unwrap().public_key().clone();
        Host { name: "lb1".into(), folder: "/tmp".into(), haproxy: "/usr/sbin/haproxy".into(), client }
    }

    #[test]
    fn only_what_is_offered_runs() {
        assert_eq!(resolve(&host(), "uname -r").unwrap(), ["uname", "-r"]);
        assert_eq!(resolve(&host(), "hostname").unwrap(), ["echo", "lb1"]);
        assert_eq!(resolve(&host(), "haproxy -vv").unwrap(), ["/usr/sbin/haproxy", "-vv"]);
        assert_eq!(resolve(&host(), "cat 'a b; rm -rf x'").unwrap(), ["cat", "a b; rm -rf x"]);
        for (line, status) in [
            ("rm x", NOT_FOUND),
            ("sh -c true", NOT_FOUND),
            ("/bin/cat x", NOT_FOUND),
            ("haproxy -f x", CANNOT_RUN),
            ("", CANNOT_RUN),
            ("cat 'x", CANNOT_RUN),
        ] {
            assert_eq!(resolve(&host(), line).unwrap_err().0, status, "{line}");
        }
    }
}

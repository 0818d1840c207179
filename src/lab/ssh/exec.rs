//! Commands on a lab node: a short list of programs that end by themselves, and those that were installed into the node's
//! folder; run as argv, never through a shell, in an environment as sshd gives it.

use std::process::Stdio;
use std::sync::Arc;

use russh::Channel;
use russh::server::Msg;
use tokio::io::{AsyncWriteExt, copy};
use tokio::process::Command;

use super::{Host, confined};
use crate::lab::layout::USER;

/// What a node offers besides haproxy, where the lab runs on it.
const LOOK: &[&str] = &[
    "cat",
    "date",
    "df",
    "free",
    "hostname",
    "id",
    "logger",
    "ls",
    "nproc",
    "printenv",
    "sha256sum",
    "stat",
    "tail",
    "test",
    "true",
    "uname",
    "uptime",
    "wc",
];
/// Those that change files, and only in the node's folder.
const CHANGE: &[&str] = &["install", "ln", "mkdir", "mv", "rm", "rmdir"];
/// Their options; others might name a folder.
const CHANGE_OPTIONS: &[&str] = &["--", "-d", "-f", "-m", "-p", "-r", "-rf"];
/// Exit statuses that a shell gives for a command that cannot run and for one that is not there.
const CANNOT_RUN: u32 = 126;
const NOT_FOUND: u32 = 127;
/// haproxy only answers questions here; a node has one running already.
const HAPROXY_QUESTIONS: &[&str] = &["-v", "-vv", "-c"];

/// What will be run for a command line, or why not.
fn resolve(host: &Host, line: &str) -> Result<Vec<String>, (u32, String)> {
    let mut argv = shell_words::split(line).map_err(|e| (CANNOT_RUN, format!("'{line}': {e}")))?;
    let Some((program, words)) = argv.split_first_mut() else { return Err((CANNOT_RUN, "no command".to_owned())) };
    match (program.as_str(), &host.haproxy) {
        ("hostname", _) => return Ok(vec!["echo".to_owned(), host.name.clone()]),
        ("haproxy", Some(haproxy)) => {
            if words.first().is_none_or(|a| !HAPROXY_QUESTIONS.contains(&a.as_str())) {
                return Err((CANNOT_RUN, format!("haproxy: on lab nodes only with {}", HAPROXY_QUESTIONS.join(", "))));
            }
            *program = haproxy.display().to_string();
        }
        (name, _) if LOOK.contains(&name) => {}
        (name, _) if CHANGE.contains(&name) => {
            let allowed = |w: &str| match w.starts_with('-') {
                true => CHANGE_OPTIONS.contains(&w),
                false => confined(&host.folder, w).is_some(),
            };
            if let Some(word) = words.iter().find(|w| !allowed(w)) {
                return Err((CANNOT_RUN, format!("{name}: on lab nodes only within the node's folder, not with {word}")));
            }
        }
        // What was installed here.
        (path, _) if path.starts_with('/') && confined(&host.folder, path).is_some() => {}
        (name, _) => {
            let offered = [LOOK, CHANGE].concat().join(", ");
            return Err((NOT_FOUND, format!("{name}: not on lab nodes, which have no shell; they offer {offered}")));
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
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", &host.folder)
                .env("USER", USER)
                .env("LOGNAME", USER)
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

    fn host(folder: &std::path::Path) -> Host {
        let client = super::super::new_key().unwrap().public_key().clone();
        Host { name: "lb1".into(), folder: folder.to_owned(), haproxy: Some("/usr/sbin/haproxy".into()), client }
    }

    #[test]
    fn only_what_is_offered_runs() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let host = host(&folder);
        assert_eq!(resolve(&host, "uname -r").unwrap(), ["uname", "-r"]);
        assert_eq!(resolve(&host, "hostname").unwrap(), ["echo", "lb1"]);
        assert_eq!(resolve(&host, "haproxy -vv").unwrap(), ["/usr/sbin/haproxy", "-vv"]);
        assert_eq!(resolve(&host, "cat 'a b; rm -rf x'").unwrap(), ["cat", "a b; rm -rf x"]);
        for (line, status) in [
            ("sh -c true", NOT_FOUND),
            ("/bin/cat x", NOT_FOUND),
            ("../lb2/agent", NOT_FOUND),
            ("haproxy -f x", CANNOT_RUN),
            ("", CANNOT_RUN),
            ("cat 'x", CANNOT_RUN),
        ] {
            assert_eq!(resolve(&host, line).unwrap_err().0, status, "{line}");
        }
        let none = Host { haproxy: None, ..host };
        assert_eq!(resolve(&none, "haproxy -v").unwrap_err().0, NOT_FOUND);
    }

    #[test]
    fn files_are_changed_in_the_nodes_folder_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap().join("lb1");
        std::fs::create_dir(&folder).unwrap();
        let host = host(&folder);
        let within = |words: &str| words.replace('@', &folder.display().to_string());
        for line in [
            "rm -f -- @/x",
            "install -d -m 0755 -- @/agent/lib",
            "mv -f -- @/a @/b",
            "mkdir -p -m 0700 x",
            "@/agent/lib/lbdeck x",
        ] {
            assert!(resolve(&host, &within(line)).is_ok(), "{line}");
        }
        for line in
            ["rm -rf -- /", "rm -rf ..", "mv -f -- @/a @/../b", "ln -f -- /etc/passwd @/b", "mv -t/tmp @/a", "rmdir -- @/.."]
        {
            assert_eq!(resolve(&host, &within(line)).unwrap_err().0, CANNOT_RUN, "{line}");
        }
        assert_eq!(resolve(&host, &within("@/../sh -c true")).unwrap_err().0, NOT_FOUND);
    }
}

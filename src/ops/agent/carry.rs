//! Carries one step out on a node. Each may be begun again after a connection was lost, and then finds what it did already.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::AgentPaths;
use crate::transport::Transport;

use super::facts::{self, Privilege};
use super::far::{self, FarError, PIECE, SHORT};
use super::payload::Payload;
use super::program::Action;

/// For commands that start, stop or hand over.
const LONG: Duration = Duration::from_secs(120);
/// How often a new process is asked whether it serves.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a lost connection is tried anew before a step has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A node that is worked on.
pub struct Hand {
    pub transport: Arc<dyn Transport>,
    pub paths: AgentPaths,
    pub privilege: Privilege,
    pub payload: Option<Payload>,
    /// What the trial run told: `0.1.0`.
    pub version: Option<String>,
}

/// What is told while a step is under way.
pub trait Tell: Sync {
    /// Bytes.
    fn progress(&self, done: u64, total: u64);
    fn again(&self, error: &FarError);
}

impl Hand {
    /// Does it, through lost connections; what came of it in a few words.
    pub async fn carry(&mut self, action: &Action, tell: &dyn Tell) -> Result<String, FarError> {
        let mut until: Option<Instant> = None;
        loop {
            let error = match self.once(action, until.is_some(), tell).await {
                Ok(done) => return Ok(done),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            let until = *until.get_or_insert_with(|| {
                tell.again(&error);
                Instant::now() + PATIENCE
            });
            if Instant::now() + AGAIN_AFTER > until {
                return Err(error);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn once(&mut self, action: &Action, again: bool, tell: &dyn Tell) -> Result<String, FarError> {
        let transport = Arc::clone(&self.transport);
        let transport = transport.as_ref();
        match action {
            Action::Run { argv } => {
                if again && self.moved_already(argv).await? {
                    return Ok("done before the connection was lost".into());
                }
                far::run(transport, argv, b"", LONG).await.map(|out| first_line(&out))
            }
            Action::Try { argv } => match far::run(transport, argv, b"", LONG).await {
                Ok(out) => Ok(first_line(&out)),
                Err(FarError::Command { said, .. }) => Ok(format!("left: {said}")),
                Err(e) => Err(e),
            },
            Action::Upload { to, bytes, sha256 } => self.upload(to, *bytes, sha256, tell).await,
            Action::Write { to, text, .. } => far::put(transport, to, 0, text.as_bytes(), 0o600).await.map(|()| String::new()),
            Action::Sum { argv, sha256 } => {
                let out = far::run(transport, argv, b"", LONG).await?;
                match far::sum_in(&out) {
                    Some(sum) if sum == sha256 => Ok("as it was sent".into()),
                    other => Err(FarError::Wrong {
                        what: format!(
                            "{}: the sha256 there is {}, not {sha256}: it was changed or cut on its way",
                            argv.last().map(String::as_str).unwrap_or_default(),
                            other.unwrap_or("unreadable")
                        ),
                    }),
                }
            }
            Action::Trial { argv } => {
                let out = far::run(transport, argv, b"", SHORT).await?;
                match out.trim().strip_prefix("lbdeck ") {
                    Some(version) => {
                        self.version = Some(version.to_owned());
                        Ok(format!("runs there: {version}"))
                    }
                    None => {
                        Err(FarError::Wrong { what: format!("{}: is no lbdeck: it says '{}'", argv.join(" "), first_line(&out)) })
                    }
                }
            }
            Action::Serving { sha256, within_s } => self.serving(sha256, Duration::from_secs(*within_s)).await,
            Action::Bring { sha256, argv, within_s } => {
                let within = Duration::from_secs(*within_s);
                if self.serves(sha256).await?.is_err() {
                    far::run(transport, argv, b"", LONG).await?;
                }
                // The version of another build was tried; this one is the one that served before.
                self.version = None;
                self.serving(sha256, within).await
            }
        }
    }

    /// A rename whose answer was lost: what was to be renamed is gone.
    async fn moved_already(&self, argv: &[String]) -> Result<bool, FarError> {
        let at = argv.iter().position(|w| w == "mv");
        let (Some(_), [.., from, _]) = (at, argv) else { return Ok(false) };
        let there = far::output(self.transport.as_ref(), &self.privilege.argv(["test", "-e", from]), b"", SHORT).await?;
        Ok(there.status == Some(1))
    }

    async fn upload(&self, to: &Path, bytes: u64, sha256: &str, tell: &dyn Tell) -> Result<String, FarError> {
        let transport = self.transport.as_ref();
        let Some(payload) = self.payload.as_ref().filter(|p| p.info.sha256 == sha256) else {
            return Err(FarError::Wrong { what: "the binary of this plan is not in memory".into() });
        };
        let there = self.there(to).await?.min(bytes) / PIECE as u64 * PIECE as u64;
        let mut done = there;
        tell.progress(done, bytes);
        let start = usize::try_from(there).unwrap_or(usize::MAX).min(payload.bytes.len());
        for piece in payload.bytes.get(start..).unwrap_or_default().chunks(PIECE) {
            far::put(transport, to, done, piece, 0o600).await?;
            done += piece.len() as u64;
            tell.progress(done, bytes);
        }
        Ok(match there {
            0 => String::new(),
            there => format!("went on after {}", super::program::mib(there)),
        })
    }

    /// Bytes of an earlier upload.
    async fn there(&self, path: &Path) -> Result<u64, FarError> {
        let argv = ["wc".to_owned(), "-c".into(), path.display().to_string()];
        let out = far::output(self.transport.as_ref(), &argv, b"", SHORT).await?;
        let text = String::from_utf8_lossy(&out.stdout);
        Ok(text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0))
    }

    async fn serving(&self, sha256: &str, within: Duration) -> Result<String, FarError> {
        let began = Instant::now();
        loop {
            let why = match self.serves(sha256).await? {
                Ok(text) => return Ok(format!("{text} after {:.1} s", began.elapsed().as_secs_f64())),
                Err(why) => why,
            };
            if began.elapsed() > within {
                return Err(FarError::Wrong { what: format!("within {} s the agent was not ready: {why}", within.as_secs()) });
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Does a process of this very binary answer, in the version that the trial told? In words, or why not.
    async fn serves(&self, sha256: &str) -> Result<Result<String, String>, FarError> {
        let Some(running) = facts::running(self.transport.as_ref(), self.privilege, &self.paths).await? else {
            return Ok(Err("nobody answers on its control socket".into()));
        };
        let (agent, pid) = (&running.hello.agent, running.hello.pid);
        Ok(match running.sha256.as_deref() {
            Some(sum) if sum != sha256 => Err(format!("pid {pid} still runs another build ({agent})")),
            None => Err(format!("the program of pid {pid} cannot be read")),
            Some(_) if self.version.as_ref().is_some_and(|v| v != agent) => {
                Err(format!("pid {pid} says it is {agent}, not {}", self.version.as_deref().unwrap_or_default()))
            }
            Some(_) => Ok(format!("{agent} serves, pid {pid}")),
        })
    }
}

fn first_line(out: &str) -> String {
    crate::model::sanitize(out.trim().lines().next().unwrap_or_default()).into_owned()
}

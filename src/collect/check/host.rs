//! What the node itself must offer beside its engine: files, a place for locks, a clock that agrees, syslog.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::transport::{Files, Limits, RunOutput, Transport, TransportError};

use super::Findings;

/// Clocks that differ by less agree for what logs need.
const SKEW_FINE: Duration = Duration::from_secs(2);
/// From here on nobody can lay the node's log beside lbdeck's audit.
const SKEW_BAD: Duration = Duration::from_secs(60);
/// Exit status of a shell that finds no such command.
const NOT_FOUND: Option<u32> = Some(127);

/// Runs a step within its deadline; the transport bounds itself too, this holds where it is late.
async fn bounded<T>(
    step: Duration,
    what: &str,
    asked: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    let late = |_| TransportError::Timeout { at: what.to_owned(), doing: "looking".to_owned(), after: step };
    tokio::time::timeout(step, asked).await.map_err(late)?
}

async fn run(transport: &dyn Transport, argv: &[&str], step: Duration) -> Result<RunOutput, TransportError> {
    transport.run(argv, b"", Limits { deadline: step, output: 64 << 10 }).await
}

pub(super) async fn files(transport: &dyn Transport, step: Duration, found: &mut Findings) {
    let remedy = "switch sftp on in sshd_config: Subsystem sftp internal-sftp";
    match transport.files() {
        None => found.warn("files", "this way of reaching the node has no files", remedy),
        Some(access) => match bounded(step, "files", access.stat(Path::new("/"))).await {
            Ok(_) => found.ok("files", "files can be read and written"),
            Err(error) => found.fail("files", error.to_string(), error.hint().unwrap_or(remedy)),
        },
    }
}

/// Makes and removes a file where locks will be.
pub(super) async fn lock_folder(transport: &dyn Transport, dir: &Path, step: Duration, found: &mut Findings) {
    let Some(access) = transport.files() else { return };
    match bounded(step, "lock folder", try_lock_folder(access, dir)).await {
        Ok(()) => found.ok("locks", format!("{} can hold locks and leases", dir.display())),
        Err(error) => {
            let shown = dir.display();
            let remedy = match error {
                TransportError::Denied { .. } => {
                    format!(
                        "on the node, as root: install -d -m 0777 {shown}; or set lock_dir to a folder that the user may write"
                    )
                }
                TransportError::NotFound { .. } => {
                    format!("on the node: mkdir -p -m 0777 {shown}; or set lock_dir to another folder")
                }
                _ => format!("make {shown} a folder that the user may write, or set lock_dir to another one"),
            };
            found.fail("locks", format!("no lock can be made: {error}"), remedy);
        }
    }
}

async fn try_lock_folder(access: &dyn Files, dir: &Path) -> Result<(), TransportError> {
    access.ensure_dir(dir, 0o777).await?;
    let path = dir.join(format!(".lbdeck-check-{:016x}", rand::random::<u64>()));
    let created = access.create_new(&path, b"fleet check\n", 0o600).await?;
    access.remove(&path).await?;
    if created {
        return Ok(());
    }
    Err(TransportError::Other { at: path.display().to_string(), what: "files cannot be created exclusively".to_owned() })
}

/// Compares clocks. Leases end by the node's alone; logs are read beside each other.
pub(super) async fn clock(transport: &dyn Transport, step: Duration, found: &mut Findings) {
    let before = Timestamp::now();
    let asked = run(transport, &["date", "+%s.%N"], step).await;
    let after = Timestamp::now();
    let read = asked.map(|out| parse_date(&String::from_utf8_lossy(&out.stdout)));
    let there = match read {
        Ok(Some(there)) => there,
        Ok(None) => {
            return found.warn("clock", "`date +%s` says nothing that can be read", "install date (coreutils) on the node");
        }
        Err(error) => return found.warn("clock", error.to_string(), "let the user run commands on the node"),
    };
    let (skew, ahead) = skew(there, before.as_duration().as_secs_f64(), after.as_duration().as_secs_f64());
    let text = format!("{:.1} s {} this machine", skew.as_secs_f64(), if ahead { "ahead of" } else { "behind" });
    let remedy = "run chrony or systemd-timesyncd on both, and see which of them is wrong";
    if skew < SKEW_FINE {
        found.ok("clock", "agrees with this machine");
    } else if skew < SKEW_BAD {
        found.warn("clock", text, remedy);
    } else {
        found.fail("clock", text, remedy);
    }
}

/// How far a clock that said `there` at some moment between `before` and `after` is off, and whether it is ahead.
fn skew(there: f64, before: f64, after: f64) -> (Duration, bool) {
    let off = if there > after { there - after } else { (before - there).max(0.0) };
    (Duration::try_from_secs_f64(off).unwrap_or(Duration::MAX), there > after)
}

/// Seconds since the epoch. A `date` without `%N` leaves the letters, which are cut off: it means the whole second.
fn parse_date(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Some(seconds),
        // The middle of the second that was told.
        _ => text.split('.').next()?.parse::<u32>().ok().map(|whole| f64::from(whole) + 0.5),
    }
}

/// The node's own log takes a line for each change, where there is `logger`.
pub(super) async fn syslog(transport: &dyn Transport, step: Duration, found: &mut Findings) {
    match run(transport, &["logger", "--version"], step).await {
        // Old and small loggers know no --version; that they are there is all that is asked.
        Ok(out) if out.status != NOT_FOUND => found.ok("syslog", "logger is there: changes are noted in the node's own log"),
        Ok(_) | Err(TransportError::NotFound { .. }) => found.warn(
            "syslog",
            "no logger: changes are noted in lbdeck's audit alone",
            "on Debian: apt-get install bsdutils; on RHEL: dnf install util-linux",
        ),
        Err(error) => found.warn("syslog", error.to_string(), "changes are noted in lbdeck's audit alone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_skews() {
        assert_eq!(parse_date("1700000000.250000000\n"), Some(1_700_000_000.25));
        assert_eq!(parse_date("1700000000.N"), Some(1_700_000_000.5));
        for text in ["", "Thu", "nan", "inf", "x.5"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(skew(10.5, 10.0, 11.0).0, Duration::ZERO);
        assert_eq!(skew(14.0, 10.0, 11.0), (Duration::from_secs(3), true));
        assert_eq!(skew(4.0, 10.0, 11.0), (Duration::from_secs(6), false));
    }
}

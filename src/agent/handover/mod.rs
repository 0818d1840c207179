//! From one process to the next without a refused connection: the old process starts the new one, passes it the listening
//! sockets (SCM_RIGHTS), waits until it serves, and only then stops accepting. Until that moment nothing is given up: a new
//! process that does not get ready is ended, and the old one goes on.
//!
//! The channel is a socket pair whose far end is the new process's stdin: nobody else can reach it.

mod channel;
mod notify;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::engine::relay::wire::Upgraded;

use super::plane::HandedSocket;
use channel::Channel;

pub use notify::{Notify, supervisor_name};

/// Tells the new process that stdin is a channel.
pub const TAKEOVER_FLAG: &str = "--takeover";

/// Descriptors in one message; the kernel takes 253.
const BATCH: usize = 100;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HandoverError(pub String);

fn failed<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> HandoverError + '_ {
    move |e| HandoverError(format!("{doing}: {e}"))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// One descriptor a name comes with it.
    Sockets { names: Vec<String> },
    /// The control API's sockets, one descriptor a name.
    Doors { names: Vec<String> },
    /// That was all, and the state on disk is the last.
    Go,
    /// The new process serves.
    Ready { version: String },
    /// It cannot.
    Failed { why: String },
}

/// What is handed over.
#[derive(Debug, Default)]
pub struct Parcel {
    pub sockets: Vec<HandedSocket>,
    /// Listening sockets of the control API.
    pub doors: Vec<HandedSocket>,
}

/// The program that runs, or what stands under its name now.
pub fn own_program() -> std::io::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    // The kernel marks a file that was replaced.
    let name = exe.to_string_lossy();
    Ok(name.strip_suffix(" (deleted)").map(PathBuf::from).unwrap_or(exe))
}

/// This process's arguments without the one that says how it was started.
fn own_arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).filter(|a| a != TAKEOVER_FLAG).collect()
}

fn start(program: &Path, stdin: OwnedFd) -> Result<Child, HandoverError> {
    Command::new(program)
        .args(own_arguments())
        .arg(TAKEOVER_FLAG)
        .stdin(Stdio::from(stdin))
        // It pings the watchdog in place of the process that systemd started.
        .env_remove("WATCHDOG_PID")
        .spawn()
        .map_err(failed(&format!("starting {}", program.display())))
}

/// Starts `program` and waits until it serves with what is in the parcel. Blocks.
///
/// # Errors
/// It does not get ready in time, or says why it cannot; it has been ended then.
pub fn hand_over(program: &Path, parcel: &Parcel, ready_within: Duration) -> Result<Upgraded, HandoverError> {
    let ends = Instant::now() + ready_within;
    let (channel, theirs) = Channel::pair().map_err(failed("making a channel"))?;
    let mut child = start(program, theirs)?;
    let result = converse(&channel, parcel, ends);
    match result {
        Ok(version) => Ok(Upgraded { old_pid: std::process::id(), new_pid: child.id(), version, sockets: parcel.sockets.len() }),
        Err(why) => {
            // It may have ended by itself already.
            let _ = child.kill();
            let ended = child.wait().map(|status| format!(" ({status})")).unwrap_or_default();
            Err(HandoverError(format!("the new process did not get ready: {why}{ended}")))
        }
    }
}

fn converse(channel: &Channel, parcel: &Parcel, ends: Instant) -> Result<String, HandoverError> {
    send_parcel(channel, parcel)?;
    channel.send(&Message::Go, &[])?;
    match channel.receive(ends)? {
        (Message::Ready { version }, _) => Ok(version),
        (Message::Failed { why }, _) => Err(HandoverError(why)),
        _ => Err(HandoverError("it said something else".to_owned())),
    }
}

fn send_parcel(channel: &Channel, parcel: &Parcel) -> Result<(), HandoverError> {
    let batches = |sockets: &[HandedSocket], message: fn(Vec<String>) -> Message| {
        sockets.chunks(BATCH).try_for_each(|batch| {
            let names = batch.iter().map(|(name, _)| name.clone()).collect();
            let fds: Vec<_> = batch.iter().map(|(_, fd)| fd.as_fd()).collect();
            channel.send(&message(names), &fds)
        })
    };
    batches(&parcel.sockets, |names| Message::Sockets { names })?;
    batches(&parcel.doors, |names| Message::Doors { names })
}

/// The new process's side, from the start until it has said that it serves.
#[derive(Debug)]
pub struct Takeover {
    channel: Channel,
}

impl Takeover {
    /// Takes the channel off stdin and reads what is handed over. Blocks.
    pub fn receive(within: Duration) -> Result<(Takeover, Parcel), HandoverError> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed("taking the channel"))?;
        let null = std::fs::File::open("/dev/null").map_err(failed("opening /dev/null"))?;
        rustix::stdio::dup2_stdin(&null).map_err(failed("closing stdin"))?;
        let (channel, ends) = (Channel::over(stdin), Instant::now() + within);
        let mut parcel = Parcel::default();
        loop {
            let (message, fds) = channel.receive(ends)?;
            let (names, into) = match message {
                Message::Sockets { names } => (names, &mut parcel.sockets),
                Message::Doors { names } => (names, &mut parcel.doors),
                Message::Go => return Ok((Takeover { channel }, parcel)),
                Message::Ready { .. } | Message::Failed { .. } => {
                    return Err(HandoverError("the old process said something else".to_owned()));
                }
            };
            if names.len() != fds.len() {
                return Err(HandoverError(format!("{} sockets came for {} names", fds.len(), names.len())));
            }
            into.extend(names.into_iter().zip(fds));
        }
    }

    pub fn ready(&self) -> Result<(), HandoverError> {
        self.channel.send(&Message::Ready { version: env!("CARGO_PKG_VERSION").to_owned() }, &[])
    }

    pub fn failed(&self, why: &str) {
        // The old process notices the end of this one in any case.
        let _ = self.channel.send(&Message::Failed { why: why.to_owned() }, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sockets_arrive_with_their_names() {
        let (here, there) = Channel::pair().unwrap();
        let listeners: Vec<_> = (0..BATCH + 7).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let named = |l: &std::net::TcpListener| (l.local_addr().unwrap().to_string(), OwnedFd::from(l.try_clone().unwrap()));
        let parcel = Parcel { sockets: listeners.iter().map(named).collect(), doors: Vec::new() };
        let far = Channel::over(there);
        let reader = std::thread::spawn(move || {
            let ends = Instant::now() + Duration::from_secs(10);
            let mut found = Vec::new();
            while let (Message::Sockets { names }, fds) = far.receive(ends).unwrap() {
                found.extend(names.into_iter().zip(fds));
            }
            far.send(&Message::Ready { version: "9".into() }, &[]).unwrap();
            found
        });
        assert_eq!(converse(&here, &parcel, Instant::now() + Duration::from_secs(10)).unwrap(), "9");
        let found = reader.join().unwrap();
        assert_eq!(found.len(), BATCH + 7);
        for (name, fd) in found {
            assert_eq!(std::net::TcpListener::from(fd).local_addr().unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_process_that_says_nothing_or_ends_is_not_waited_for() {
        let parcel = Parcel::default();
        let began = Instant::now();
        let silent = hand_over(Path::new("/bin/cat"), &parcel, Duration::from_millis(200)).unwrap_err();
        assert!(silent.to_string().contains("did not get ready"), "{silent}");
        let gone = hand_over(Path::new("/bin/false"), &parcel, Duration::from_secs(30)).unwrap_err();
        assert!(gone.to_string().contains("exit status: 1"), "{gone}");
        let missing = hand_over(Path::new("/nonexistent/lbdeck"), &parcel, Duration::from_secs(30)).unwrap_err();
        assert!(missing.to_string().contains("starting /nonexistent/lbdeck"), "{missing}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

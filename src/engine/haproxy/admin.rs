//! Sending changes: in order, over as few connections as possible, each reply read before the next command goes out.

use std::time::Duration;

use crate::engine::{Command, EngineError, Result};
use crate::model::ServerRef;

use super::parse::servers_conn;
use super::replies::{Refusal, judge};
use super::socket::{Conversation, Deadline, Socket};
use super::words;

/// Pause between two looks at a server that cannot be removed yet.
const POLL: Duration = Duration::from_millis(100);

/// Sends commands to the statistics socket; the replies, one for each.
pub(super) async fn send(socket: &Socket, commands: &[Command], deadline: Deadline) -> Result<Vec<String>> {
    if let [Command::Socket(line)] = commands {
        let reply = socket.ask(line, deadline).await?;
        return Ok(vec![accept(socket, line, &String::from_utf8_lossy(&reply))?]);
    }
    let mut talk = socket.converse(deadline).await?;
    let mut replies = Vec::with_capacity(commands.len());
    let mut patient = false;
    for command in commands {
        let reply = match command {
            Command::Socket(line) => {
                // After the wait a last connection may still be closing: `del server` says so and is tried again.
                let reply = tell(socket, &mut talk, line, patient, deadline).await?;
                patient = false;
                reply
            }
            Command::AwaitRemovable(server) => {
                patient = true;
                await_removable(socket, &mut talk, server, deadline).await?
            }
            Command::HttpForm(_) | Command::Api { .. } => {
                let what = format!("'{command}' is not for a statistics socket");
                return Err(EngineError::NotAllowed { at: socket.describe(), what, hint: "plan again".into() });
            }
        };
        replies.push(reply);
    }
    Ok(replies)
}

async fn tell(socket: &Socket, talk: &mut Conversation<'_>, line: &str, patient: bool, deadline: Deadline) -> Result<String> {
    loop {
        let reply = talk.ask(line).await?;
        match judge(line, &reply) {
            Ok(said) => return Ok(said),
            Err(refusal) if refusal.busy && patient && deadline.left() > POLL => tokio::time::sleep(POLL).await,
            Err(refusal) => return Err(refused(socket, line, refusal)),
        }
    }
}

fn accept(socket: &Socket, line: &str, reply: &str) -> Result<String> {
    judge(line, reply).map_err(|refusal| refused(socket, line, refusal))
}

fn refused(socket: &Socket, line: &str, refusal: Refusal) -> EngineError {
    let at = socket.describe();
    match (refusal.denied, refusal.hint) {
        (true, Some(hint)) => EngineError::NotAllowed { at, what: format!("permission denied for '{line}'"), hint },
        (_, hint) => EngineError::Refused { at, command: line.to_owned(), reply: refusal.reply, hint },
    }
}

/// Waits until no connection to the server is in use. Before 3.0 HAProxy cannot wait by itself.
async fn await_removable(socket: &Socket, talk: &mut Conversation<'_>, server: &ServerRef, deadline: Deadline) -> Result<String> {
    let at = || socket.describe();
    let pool = words::name(server.pool.as_str()).map_err(|what| EngineError::NotAllowed {
        at: at(),
        what,
        hint: "plan again".into(),
    })?;
    let line = format!("show servers conn {pool}");
    loop {
        let reply = talk.ask(&line).await?;
        // The prompt has eaten the blank line that ends the reply.
        let conns = servers_conn::parse(format!("{}\n\n", reply.trim_end()).as_bytes())
            .map_err(|e| EngineError::Malformed { at: at(), what: e.to_string() })?;
        let Some(conns) = conns.iter().find(|c| c.server == server.server.as_str()) else {
            return Ok("gone already".into());
        };
        if conns.used == 0 {
            return Ok("no connection in use".into());
        }
        if deadline.left() <= POLL {
            let reply = format!("{} connections to the server are still in use", conns.used);
            let hint = Some("it stays in maintenance; drain it longer or kill its sessions, then remove it".to_owned());
            return Err(EngineError::Refused { at: at(), command: format!("(wait until {server} is removable)"), reply, hint });
        }
        tokio::time::sleep(POLL).await;
    }
}

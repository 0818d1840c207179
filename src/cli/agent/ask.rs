//! `lbdeck agent ask`: on the node itself.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hyper::Method;

use crate::agent::ask::ask;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::config::AgentPaths;
use crate::config::duration::parse_duration;
use crate::model::Exit;

/// Sends one request to the control socket of the agent on this machine and prints the answer's body. Fails where the answer
/// is not a success. docs/agent.md lists the paths.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent ask GET /hello
  lbdeck agent ask GET /v1/config --socket /run/lbdeck/agent.sock")]
pub struct AskArgs {
    /// GET, POST, PUT, PATCH or DELETE
    #[arg(value_name = "METHOD")]
    method: Method,

    /// The path, with its query
    #[arg(value_name = "PATH")]
    path: String,

    /// A JSON body
    #[arg(value_name = "BODY", default_value = "")]
    body: String,

    /// The control socket
    #[arg(long, value_name = "SOCKET", default_value_os_t = AgentPaths::system().socket(), value_hint = clap::ValueHint::FilePath)]
    socket: PathBuf,

    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    within: Duration,
}

impl AskArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let answer = ask(&self.socket, self.method.clone(), &self.path, self.body.clone(), self.within).await;
        let (status, body) = answer.map_err(|e| Failure::failed(e.to_string()))?;
        if !(200..300).contains(&status) {
            let text = String::from_utf8_lossy(&body);
            return Err(Failure::failed(format!("{} {}: status {status}: {}", self.method, self.path, text.trim())));
        }
        context.printer.raw(&body)?;
        Ok(Exit::Ok)
    }
}

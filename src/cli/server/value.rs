//! `lbdeck server weight|address|maxconn|health|agent`: changes with a value, which comes after the servers.

use std::net::IpAddr;

use clap::Args;

use super::state::change;
use crate::cli::act::{ActArgs, LeaseArgs};
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::select::ServersAndValue;
use crate::model::{Change, CheckKind, Exit, Weight};

/// Sets the weight: 0 to 256, or a percentage of the configured weight (200% doubles it).
#[derive(Args, Debug)]
#[command(
    override_usage = "lbdeck server weight [OPTIONS] <POOL/SERVER>... <WEIGHT>",
    after_help = "Examples:
  lbdeck server weight web/web1 50%
  lbdeck server weight 'web/*' 10 --node lb1 --for 1h --reason 'warm up'"
)]
pub struct WeightArgs {
    #[command(flatten)]
    words: ServersAndValue,
    #[command(flatten)]
    lease: LeaseArgs,
    #[command(flatten)]
    act: ActArgs,
}

/// Sets the IP address, with or without a port.
#[derive(Args, Debug)]
#[command(
    override_usage = "lbdeck server address [OPTIONS] <POOL/SERVER>... <IP[:PORT]>",
    after_help = "Examples:
  lbdeck server address web/web1 10.0.0.6
  lbdeck server address web/web1 10.0.0.6:8080 --for 2h --reason 'move'
  lbdeck server address web/web1 '[2001:db8::6]:8080'"
)]
pub struct AddressArgs {
    #[command(flatten)]
    words: ServersAndValue,
    #[command(flatten)]
    lease: LeaseArgs,
    #[command(flatten)]
    act: ActArgs,
}

/// Sets how many connections a server takes at most; 0 means no limit.
#[derive(Args, Debug)]
#[command(
    override_usage = "lbdeck server maxconn [OPTIONS] <POOL/SERVER>... <N>",
    after_help = "Examples:
  lbdeck server maxconn web/web1 200
  lbdeck server maxconn 'web/*' 50 --for 15m --reason 'protect the database'"
)]
pub struct MaxconnArgs {
    #[command(flatten)]
    words: ServersAndValue,
    #[command(flatten)]
    lease: LeaseArgs,
    #[command(flatten)]
    act: ActArgs,
}

/// Switches checks on or off.
#[derive(Args, Debug)]
#[command(
    override_usage = "lbdeck server <health|agent> [OPTIONS] <POOL/SERVER>... <on|off>",
    after_help = "Examples:
  lbdeck server health web/web1 off --for 10m --reason 'the check itself is broken'
  lbdeck server agent web/web1 on"
)]
pub struct ChecksArgs {
    #[command(flatten)]
    words: ServersAndValue,
    #[command(flatten)]
    lease: LeaseArgs,
    #[command(flatten)]
    act: ActArgs,
}

/// An IP address, or one with a port. Names would need a resolver in the engine.
pub fn parse_address(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((ip, None));
    }
    match text.parse::<std::net::SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(format!("'{text}': port 0")),
        Ok(address) => Ok((address.ip(), Some(address.port()))),
        Err(_) => Err(format!("'{text}' is not an IP address; write 10.0.0.6, 10.0.0.6:8080 or [2001:db8::6]:8080")),
    }
}

fn parse_maxconn(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number of connections"))
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("'{text}' is neither on nor off")),
    }
}

impl WeightArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let (select, weight) = self.words.split(str::parse::<Weight>)?;
        change(context, &select, &self.act, Some(&self.lease), Change::Weight(weight)).await
    }
}

impl AddressArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let (select, (ip, port)) = self.words.split(parse_address)?;
        let to = Change::Address { address: ip.to_string(), port };
        change(context, &select, &self.act, Some(&self.lease), to).await
    }
}

impl MaxconnArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let (select, maxconn) = self.words.split(parse_maxconn)?;
        change(context, &select, &self.act, Some(&self.lease), Change::MaxConn(maxconn)).await
    }
}

impl ChecksArgs {
    pub async fn run(&self, context: &Context, kind: CheckKind) -> Result<Exit> {
        let (select, on) = self.words.split(parse_switch)?;
        change(context, &select, &self.act, Some(&self.lease), Change::Checks { kind, on }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parse_address("10.0.0.6").unwrap().1, None);
        assert_eq!(parse_address("10.0.0.6:8080").unwrap().1, Some(8080));
        assert_eq!(parse_address("[2001:db8::6]:8080").unwrap().1, Some(8080));
        for bad in ["web.internal", "10.0.0.6:0", "10.0.0.6:99999", ""] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}

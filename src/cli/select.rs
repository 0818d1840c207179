//! Selectors of the command line: which nodes, which servers.

use clap::Args;

use super::failure::{Failure, Result};
use crate::ops::{Matcher, Selector};

/// Which nodes. Every condition that is given must hold.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub struct NodeSelect {
    /// Only these nodes (names or globs; may be repeated)
    #[arg(long, value_name = "NODE")]
    pub node: Vec<String>,

    /// Only the nodes of these groups of the fleet file (may be repeated)
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,

    /// Only nodes of this zone
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,

    /// Only nodes with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,

    /// Only nodes of this role
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
}

/// Which servers, on which nodes.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerSelect {
    /// Servers as pool/server, both may be globs; a name alone means a server of that name in any pool
    #[arg(value_name = "POOL/SERVER")]
    pub servers: Vec<String>,

    #[command(flatten)]
    pub nodes: NodeSelect,

    /// Servers with this address (10.0.0.5 or 10.0.0.5:80), in whatever pool
    #[arg(long, value_name = "ADDRESS", help_heading = "Selection")]
    pub address: Option<String>,
}

/// Which servers, and a value after them. The words are taken apart here because the parser cannot do it when flags stand
/// between the servers and the value.
#[derive(Args, Clone, Debug, Default)]
pub struct ServersAndValue {
    /// Servers as pool/server, both may be globs; a name alone means a server of that name in any pool. The value comes last
    #[arg(value_name = "POOL/SERVER", required = true)]
    words: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,

    /// Servers with this address (10.0.0.5 or 10.0.0.5:80), in whatever pool
    #[arg(long, value_name = "ADDRESS", help_heading = "Selection")]
    address: Option<String>,
}

impl ServersAndValue {
    /// The servers, and the last word as `parse` reads it.
    pub fn split<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Result<(ServerSelect, T)> {
        let Some((value, servers)) = self.words.split_last() else { return Err(Failure::invalid("no value is given")) };
        let value = parse(value).map_err(|what| Failure::invalid(what).hint("the value comes last, after the servers"))?;
        Ok((ServerSelect { servers: servers.to_vec(), nodes: self.nodes.clone(), address: self.address.clone() }, value))
    }
}

impl NodeSelect {
    pub fn selector(&self) -> Selector {
        Selector {
            servers: Vec::new(),
            nodes: self.node.iter().chain(&self.group).cloned().collect(),
            zone: self.zone.clone(),
            tag: self.tag.clone(),
            role: self.role.clone(),
            address: None,
        }
    }
}

impl ServerSelect {
    pub fn selector(&self) -> Selector {
        Selector { servers: self.servers.clone(), address: self.address.clone(), ..self.nodes.selector() }
    }

    /// For changes: a server must have been named, because silence must not mean all of them.
    pub fn named(&self) -> Result<Selector> {
        let selector = self.selector();
        if selector.names_no_server() {
            return Err(
                Failure::invalid("no server is named").hint("name pool/server, a glob such as 'web/*', or --address 10.0.0.5")
            );
        }
        Ok(selector)
    }
}

/// Reads a selector, or says which word makes no sense.
pub fn matcher(selector: &Selector) -> Result<Matcher> {
    selector.matcher().map_err(|what| Failure::invalid(what).hint("globs know *, ?, [ab], {a,b}; quote them from the shell"))
}

/// Globs over the names of pools, frontends or tables; none given means all.
pub fn name_matcher(names: &[String]) -> Result<impl Fn(&str) -> bool> {
    if let Some(wrong) = names.iter().find(|name| name.contains('/')) {
        return Err(Failure::invalid(format!("'{wrong}': a name without a slash is wanted here"))
            .hint("`lbdeck server` takes pool/server"));
    }
    // A selector takes a name alone for a server in any pool.
    let wanted = matcher(&Selector { servers: names.to_vec(), ..Selector::default() })?;
    Ok(move |name: &str| wanted.name("", name))
}

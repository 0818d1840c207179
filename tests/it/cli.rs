//! The binary as scripts and people use it, on real haproxy nodes.

mod act;
mod docs;
mod formats;
mod running;
mod select;
mod terminal;

use crate::support::app::App;
use crate::support::fleet::Fleet;
use crate::support::haproxy::{Haproxy, Pool};

/// Two nodes with the same pools: `web` (web1, web2, web3) and `api` (web1 too).
pub struct Pair {
    pub apps: Vec<App>,
    pub lb1: Haproxy,
    pub lb2: Haproxy,
    pub fleet: Fleet,
}

impl Pair {
    pub fn start() -> Pair {
        Pair::with("")
    }

    /// With further top-level text of the fleet file.
    pub fn with(rest: &str) -> Pair {
        let apps: Vec<App> = ["web1", "web2", "web3"].iter().map(|name| App::start(name)).collect();
        let node = || {
            let mut web = Pool::new("web").line("stick-table type string len 20 size 100 expire 10m store http_req_cnt");
            web = web.line("http-request track-sc0 str(everybody)");
            for app in &apps {
                web = web.server(&app.name, app.addr, "weight 100");
            }
            let api = Pool::new("api").server("web1", apps[0].addr, "").server("other", apps[1].addr, "");
            Haproxy::builder().pool(web).pool(api).tls(&["site.test"], (2040, 1, 1)).start()
        };
        let (lb1, lb2) = (node(), node());
        let fleet = Fleet::new()
            .local("lb1", &lb1)
            .node_line("zone: a")
            .node_line("tags: [edge]")
            .local("lb2", &lb2)
            .node_line("zone: b")
            .with("groups: {first: [lb1]}")
            .with(rest);
        Pair { apps, lb1, lb2, fleet }
    }

    /// What haproxy itself says of a server on both nodes.
    pub fn stat(&self, server: &str, column: &str) -> [String; 2] {
        [self.lb1.stat("web", server, column), self.lb2.stat("web", server, column)]
    }
}

//! The systemd unit of the agent: what it may do is what a load balancer needs, and nothing else.
//!
//! Source of the directives: systemd.exec(5), systemd.service(5); all of them are known to systemd 247 (Debian 11) and later.

use crate::config::{AGENT_USER, AgentPaths};

/// What of the node shapes the unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnitOptions {
    /// It runs as a user of its own; otherwise as root.
    pub own_user: bool,
    /// The node has a group `haproxy`, whose statistics socket the agent needs where it keeps leases for HAProxy.
    pub haproxy_group: bool,
}

pub fn text(paths: &AgentPaths, options: UnitOptions) -> String {
    let locks = paths.lock_dir().map(|folder| format!(" -{}", folder.display())).unwrap_or_default();
    let argv = paths.run_argv().join(" ");
    let user = match options.own_user {
        true => format!("User={AGENT_USER}\nGroup={AGENT_USER}\n"),
        false => String::new(),
    };
    let groups = if options.haproxy_group { "SupplementaryGroups=haproxy\n" } else { "" };
    format!(
        "# Written by `lbdeck agent install`; `lbdeck agent remove` takes it away. Own settings belong into a drop-in.
[Unit]
Description=lbdeck agent: load balancer and keeper of leases
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
# An upgrade hands over to a new process, which then says that it is the main one.
NotifyAccess=all
ExecStart={argv}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=200ms
WatchdogSec=20
TimeoutStartSec=60
TimeoutStopSec=60
KillMode=mixed
LimitNOFILE=1048576
{user}{groups}StateDirectory=lbdeck
StateDirectoryMode=0700
RuntimeDirectory=lbdeck
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=restart
UMask=0077

# Low ports, and nothing else that root may do.
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
# Locks and leases of all who work on the node.
ReadWritePaths=-/run/lock{locks}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_runs_what_is_installed_and_is_confined() {
        let text = text(&AgentPaths::system(), UnitOptions { own_user: true, haproxy_group: false });
        let argv = "ExecStart=/usr/local/lib/lbdeck/lbdeck agent run --config /etc/lbdeck/agent.yaml --state /var/lib/lbdeck";
        for line in [argv, "User=lbdeck\nGroup=lbdeck\nStateDirectory=lbdeck", "NoNewPrivileges=yes", "ProtectSystem=strict"] {
            assert!(text.contains(line), "{line}");
        }
        assert!(!text.contains("SupplementaryGroups") && text.lines().all(|l| !l.starts_with(' ')));
    }
}

//! Sets of networks (CIDR): who is trusted, allowed or denied.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks and single addresses. IPv4 clients on an IPv6 socket (`::ffff:a.b.c.d`) count as IPv4.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(IpNet::aggregate(&networks))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|n| n.contains(&address))
    }
}

/// The network that stands for a client where addresses are counted: one host on IPv6 commands a whole prefix (RFC 6177).
pub fn client_prefix(client: IpAddr, v6_prefix: u8) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(v6_prefix.min(128))).unwrap_or(0);
            IpAddr::from((u128::from(v6) & keep).to_be_bytes())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_addresses_of_both_families() {
        let networks =
            Networks::new(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"].iter().map(|n| n.parse().unwrap()).collect());
        for inside in ["10.1.2.3", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3"] {
            assert!(networks.contains(ip(inside)), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::1"] {
            assert!(!networks.contains(ip(outside)), "{outside}");
        }
        assert!(Networks::default().is_empty() && !Networks::default().contains(ip("::1")));
    }

    #[test]
    fn clients_on_ipv6_are_counted_by_prefix() {
        assert_eq!(client_prefix(ip("2001:db8:1:2:3::4"), 64), ip("2001:db8:1:2::"));
        assert_eq!(client_prefix(ip("2001:db8:1:2:3::4"), 48), ip("2001:db8:1::"));
        assert_eq!(client_prefix(ip("2001:db8::4"), 128), ip("2001:db8::4"));
        assert_eq!(client_prefix(ip("2001:db8::4"), 0), ip("::"));
        assert_eq!(client_prefix(ip("::ffff:192.0.2.1"), 64), ip("192.0.2.1"));
        assert_eq!(client_prefix(ip("192.0.2.1"), 64), ip("192.0.2.1"));
    }
}

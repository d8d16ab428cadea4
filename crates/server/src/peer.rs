//! Who is on the other end, as far as limits go.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr};

/// The address of a peer; one of IPv4 that came by IPv6 is of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(IpAddr);

/// What limits count as one address: of IPv6 the 64 bits of the network, which one customer has whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl Peer {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    pub(crate) fn address(self) -> Address {
        Address(match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

impl Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_mapped_ones_are_of_ipv4() {
        let same = |one, other| peer(one).address() == peer(other).address();
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    }

    #[test]
    fn loopback_is_so_in_each_form() {
        for own in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(peer(own).is_loopback(), "{own}");
        }
        for other in ["192.0.2.1", "::2", "fe80::1"] {
            assert!(!peer(other).is_loopback(), "{other}");
        }
    }
}

//! How often an address may ask.
//!
//! Each address has so many requests a second, and may save up those of ten seconds. The table is bounded
//! whatever the number of addresses: of those not heard of for long nothing is kept, which costs them nothing.
//! Called for each request; never waits.

use std::collections::HashMap;
use std::mem;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::Address;

/// An address may come back with everything that it had at once.
const SAVED: Duration = Duration::from_secs(10);
/// Addresses of a generation; there are two.
const ADDRESSES: usize = 1 << 16;

/// Up to when what may be done is used up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used(Instant);

impl Used {
    pub(crate) fn none() -> Self {
        Self(Instant::now())
    }

    /// Whether one more may be done, with so much time for each; that of `saved` may be done at once.
    pub(crate) fn allow(&mut self, each: Duration, saved: Duration) -> bool {
        let now = Instant::now();
        let next = self.0.max(now) + each;
        let is_allowed = next <= now + saved;
        if is_allowed {
            self.0 = next;
        }
        is_allowed
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    young: HashMap<Address, Used>,
    old: HashMap<Address, Used>,
}

impl Rates {
    /// Whether the address may ask now, with so many requests a second.
    pub(crate) fn allow(&self, address: Address, per_second: u32) -> bool {
        let mut table = self.0.lock().expect("no holder of this lock panics");
        let mut used = table.used(address).unwrap_or_else(Used::none);
        let is_allowed = used.allow(Duration::from_secs(1) / per_second.max(1), SAVED);
        table.keep(address, used);
        is_allowed
    }
}

impl Table {
    fn used(&self, address: Address) -> Option<Used> {
        self.young.get(&address).or_else(|| self.old.get(&address)).copied()
    }

    fn keep(&mut self, address: Address, used: Used) {
        if self.young.len() >= ADDRESSES {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(address, used);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::peer::Peer;

    fn address(number: u32) -> Address {
        Peer::of(IpAddr::V4(Ipv4Addr::from_bits(number))).address()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_requests_each_second_and_those_it_saved() {
        let rates = Rates::default();
        let allowed = |number| (0..1000).filter(|_| rates.allow(address(number), 5)).count();
        assert_eq!(allowed(1), 50);
        assert_eq!(allowed(2), 50, "another has its own");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(allowed(1), 10);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(allowed(1), 50, "no more is saved");
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_addresses_fills_a_bounded_table() {
        let rates = Rates::default();
        let many = u32::try_from(ADDRESSES).expect("it fits") * 5;
        for number in 0..many {
            assert!(rates.allow(address(number), 5));
        }
        let table = rates.0.lock().expect("nobody panics");
        assert!(table.young.len() <= ADDRESSES && table.old.len() <= ADDRESSES);
        assert!(table.young.capacity() + table.old.capacity() <= 4 * ADDRESSES);
    }
}

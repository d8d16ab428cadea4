//! How many connections there are, in all and of each address.
//!
//! Guarantees that a place is given back when its connection is gone, however that came about, and that some
//! are left for health checks when all others are taken: a few connections beyond the limits, few of each
//! address, short-lived. Called by the acceptors and by whoever drops a connection; never waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::peer::{Address, Peer};

/// Connections beyond the limits, which are for health checks: the others are refused on them in words.
const RESERVE: usize = 64;
/// Those of one address.
const RESERVE_PER_ADDRESS: usize = 16;

#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    all: Counts,
    /// Of those that have any.
    of: HashMap<Address, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    served: usize,
    reserve: usize,
}

/// The place of an open connection.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    address: Address,
    over: Option<Over>,
}

/// Why a connection is beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Clients,
    ClientsOfAddress,
}

impl Places {
    /// Takes a place within the limits, or one of the reserve. `Err` when that is used up, too.
    pub(crate) fn take(
        &self,
        peer: Peer,
        all: u32,
        of_address: Option<u32>,
    ) -> Result<Place, Over> {
        let address = peer.address();
        let mut table = self.lock();
        let of = table.of.get(&address).copied().unwrap_or_default();
        let over = if table.all.served >= all as usize {
            Some(Over::Clients)
        } else if of_address.is_some_and(|most| of.served >= most as usize) {
            Some(Over::ClientsOfAddress)
        } else {
            None
        };
        if let Some(over) = over
            && (table.all.reserve >= RESERVE || of.reserve >= RESERVE_PER_ADDRESS)
        {
            return Err(over);
        }
        *table.all.kind(over) += 1;
        *table.of.entry(address).or_default().kind(over) += 1;
        Ok(Place { places: self.clone(), address, over })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Counts {
    fn kind(&mut self, over: Option<Over>) -> &mut usize {
        if over.is_some() { &mut self.reserve } else { &mut self.served }
    }
}

impl Place {
    /// Whether it is beyond the limits: it may only ask how the server is.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        *table.all.kind(self.over) -= 1;
        let of = table.of.get_mut(&self.address).expect("a place is counted");
        *of.kind(self.over) -= 1;
        if of.served + of.reserve == 0 {
            table.of.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().expect("an address"))
    }

    #[test]
    fn places_come_back_and_nothing_of_an_address_is_left() {
        let places = Places::default();
        let taken: Vec<_> =
            (0..5).map(|_| places.take(peer("192.0.2.1"), 3, None).expect("a place")).collect();
        let over: Vec<_> = taken.iter().map(Place::over).collect();
        assert_eq!(over, [None, None, None, Some(Over::Clients), Some(Over::Clients)]);
        drop(taken);
        let table = places.lock();
        assert_eq!((table.all.served, table.all.reserve, table.of.len()), (0, 0, 0));
    }

    #[test]
    fn an_address_has_its_share_and_leaves_the_others_theirs() {
        let places = Places::default();
        let take = |address| places.take(peer(address), 10, Some(2));
        let held: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"]
            .map(take)
            .map(|place| place.expect("a place"))
            .into();
        let over: Vec<_> = held.iter().map(Place::over).collect();
        assert_eq!(over, [None, None, Some(Over::ClientsOfAddress), None]);
    }

    #[test]
    fn one_address_cannot_take_the_reserve_from_a_health_check() {
        let places = Places::default();
        let take = |address| places.take(peer(address), 1, None);
        let _first = take("192.0.2.1").expect("a place");
        let mut held = Vec::new();
        while let Ok(place) = take("192.0.2.1") {
            assert_eq!(place.over(), Some(Over::Clients));
            held.push(place);
        }
        assert_eq!(held.len(), RESERVE_PER_ADDRESS);
        assert!(take("192.0.2.2").is_ok());
    }
}

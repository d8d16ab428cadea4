//! The clock that puts transactions into one order, and its closed timestamp.
//!
//! It guarantees, under any interleaving of any number of threads or processes: every stamp is
//! unique and higher than all before it; the closed timestamp never falls; and whoever reads a
//! closed timestamp of `c` and looks at the database *afterwards* sees every transaction stamped
//! `<= c`, except those that were abandoned. It never waits: an open transaction that has not been
//! stamped yet holds nobody up.
//!
//! The types are plain atomics in `repr(C)`, so that they can live in shared memory as well as in a
//! test. Nothing here allocates, locks or fails: [`Clock::leave`] runs where PostgreSQL turns any
//! error into a PANIC.
//!
//! All loads and stores are SeqCst. The proof needs one order of "the writer published its slot",
//! "the writer moved `last`" and "the reader read `last`" that all sides agree on.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

/// What a slot holds while its owner commits nothing.
const EMPTY: i64 = i64::MAX;

/// One value on a cache line of its own, so that neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Line<T>(T);

/// What all processes share. A new one is all zero, so zeroed memory is a valid clock.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Clock {
    /// The highest stamp given out; microseconds since 1970.
    last: Line<AtomicI64>,
    /// The highest closed timestamp ever computed.
    closed: Line<AtomicI64>,
    /// The end of the newest commit record.
    commit_lsn: Line<AtomicU64>,
}

/// The place of one backend, which at most one process uses at a time.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Slot(AtomicI64);

impl Default for Slot {
    fn default() -> Self {
        Self(AtomicI64::new(EMPTY))
    }
}

impl Slot {
    /// The lower bound that the owner publishes, `None` when it holds nobody up.
    pub fn held(&self) -> Option<i64> {
        Some(self.0.load(SeqCst)).filter(|&held| held != EMPTY)
    }
}

impl Clock {
    /// Stamps a transaction that is about to commit. From here until [`Clock::leave`] or
    /// [`Clock::abandon`] the closed timestamp stays below the stamp.
    ///
    /// A second call without leaving gives a new, higher stamp; the slot stays at the lowest.
    pub fn enter(&self, slot: &Slot, now: i64) -> i64 {
        if slot.held().is_none() {
            // Published before the stamp exists: a reader that sees the stamp in `last` also sees
            // a slot at or below it.
            slot.0.store(self.last.0.load(SeqCst), SeqCst);
            let stamp = self.next(now);
            slot.0.store(stamp, SeqCst);
            stamp
        } else {
            self.next(now)
        }
    }

    /// A stamp that holds nobody up: the closed timestamp may pass it before it is visible. For what
    /// no reader misses.
    pub fn tick(&self, now: i64) -> i64 {
        self.next(now)
    }

    /// The transaction has committed and is visible; its commit record ends at `lsn`.
    pub fn leave(&self, slot: &Slot, lsn: u64) {
        // First the LSN: whoever sees the slot empty may publish, and must know how far to flush.
        self.commit_lsn.0.fetch_max(lsn, SeqCst);
        slot.0.store(EMPTY, SeqCst);
    }

    /// The transaction will never be visible.
    pub fn abandon(&self, slot: &Slot) {
        slot.0.store(EMPTY, SeqCst);
    }

    /// Every later stamp will be above `floor`.
    pub fn raise(&self, floor: i64) {
        self.last.0.fetch_max(floor, SeqCst);
    }

    /// The highest stamp given out.
    pub fn last(&self) -> i64 {
        self.last.0.load(SeqCst)
    }

    /// How far WAL must be flushed before anything up to the closed timestamp is published.
    pub fn commit_lsn(&self) -> u64 {
        self.commit_lsn.0.load(SeqCst)
    }

    /// The closed timestamp as last computed, without looking at the slots.
    pub fn known_closed(&self) -> i64 {
        self.closed.0.load(SeqCst)
    }

    /// The closed timestamp of now.
    pub fn closed(&self, slots: &[Slot]) -> i64 {
        let last = self.last.0.load(SeqCst);
        if cfg!(feature = "controls") && controls::closed_is_last() {
            return last;
        }
        let lowest = slots.iter().filter_map(Slot::held).min();
        let seen = lowest.map_or(last, |held| last.min(held - 1));
        // Only the folded maximum is ever used: a raw value can fall back, since a slot's lower
        // bound may be older than what another reader has already closed.
        self.closed.0.fetch_max(seen, SeqCst).max(seen)
    }

    fn next(&self, now: i64) -> i64 {
        let advance = |last: i64| Some(now.max(last + 1));
        match self.last.0.fetch_update(SeqCst, SeqCst, advance) {
            Ok(before) => now.max(before + 1),
            Err(_) => unreachable!("the update always gives a value"),
        }
    }
}

/// The deliberate fault that the order test must notice.
pub mod controls {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    static CLOSED_IS_LAST: AtomicBool = AtomicBool::new(false);

    /// Makes this process take `last` for the closed timestamp; only with the feature `controls`.
    pub fn set_closed_is_last(on: bool) {
        CLOSED_IS_LAST.store(on, Relaxed);
    }

    pub(crate) fn closed_is_last() -> bool {
        CLOSED_IS_LAST.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn an_idle_clock_closes_what_it_was_raised_to() {
        let (clock, slots) = (Clock::default(), [Slot::default()]);
        clock.raise(7);
        assert_eq!(clock.closed(&slots), 7);
    }

    #[test]
    fn a_transaction_that_is_committing_holds_closed_below_its_stamp() {
        let (clock, slots) = (Clock::default(), [Slot::default(), Slot::default()]);
        let first = clock.enter(&slots[0], 100);
        let second = clock.enter(&slots[1], 100);
        assert_eq!((first, second), (100, 101));
        clock.leave(&slots[1], 5);
        assert!(clock.closed(&slots) < first);
        clock.leave(&slots[0], 4);
        assert_eq!((clock.closed(&slots), clock.commit_lsn()), (second, 5));
    }

    #[test]
    fn a_tick_is_unique_and_holds_nobody_up() {
        let (clock, slots) = (Clock::default(), [Slot::default()]);
        let tick = clock.tick(50);
        assert_eq!(clock.closed(&slots), tick);
        assert!(clock.enter(&slots[0], 50) > tick);
    }

    #[test]
    fn a_second_stamp_keeps_the_slot_at_the_lowest() {
        let (clock, slots) = (Clock::default(), [Slot::default()]);
        let first = clock.enter(&slots[0], 10);
        let second = clock.enter(&slots[0], 10);
        assert!(second > first);
        assert!(clock.closed(&slots) < first);
    }

    /// Writers make their stamp visible and then leave; a reader that closes at `c` must find
    /// every stamp up to `c` visible, and never a lower `c` than any reader had before.
    #[test]
    fn under_a_hammer_of_threads_closed_promises_nothing_invisible_and_never_falls() {
        const WRITERS: usize = 6;
        const ROUNDS: usize = 20_000;
        let clock = Clock::default();
        let slots: Vec<Slot> = (0..WRITERS).map(|_| Slot::default()).collect();
        let span = WRITERS * ROUNDS * 2 + 2;
        let stamped: Vec<AtomicBool> = (0..span).map(|_| AtomicBool::new(false)).collect();
        let visible: Vec<AtomicBool> = (0..span).map(|_| AtomicBool::new(false)).collect();
        let done = AtomicBool::new(false);
        let highest_closed = AtomicI64::new(0);

        thread::scope(|scope| {
            let writers: Vec<_> = slots
                .iter()
                .map(|slot| {
                    let (clock, stamped, visible) = (&clock, &stamped, &visible);
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            let mut stamp = clock.enter(slot, 0);
                            if round % 7 == 0 {
                                stamp = clock.enter(slot, 0);
                            }
                            let stamp = stamp as usize;
                            assert!(!stamped[stamp].swap(true, SeqCst), "a stamp was given twice");
                            visible[stamp].store(true, SeqCst);
                            clock.leave(slot, 0);
                        }
                    })
                })
                .collect();
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let (clock, slots) = (&clock, &slots);
                    let (stamped, visible) = (&stamped, &visible);
                    let (done, highest_closed) = (&done, &highest_closed);
                    scope.spawn(move || {
                        let mut checked = 0;
                        while !done.load(SeqCst) {
                            let floor = highest_closed.load(SeqCst);
                            let closed = clock.closed(slots);
                            assert!(closed >= floor, "closed fell from {floor} to {closed}");
                            highest_closed.fetch_max(closed, SeqCst);
                            for at in checked..=closed as usize {
                                let ok = visible[at].load(SeqCst) || !stamped[at].load(SeqCst);
                                assert!(ok, "closed at {closed}, but {at} was not visible");
                            }
                            checked = closed as usize;
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().expect("no writer failed");
            }
            done.store(true, SeqCst);
            for reader in readers {
                reader.join().expect("no reader failed");
            }
        });
        assert_eq!(clock.closed(&slots), clock.last());
    }
}

//! Which relations were changed by DDL since the last look, as PostgreSQL's caches hear of it.
//!
//! The callback runs wherever a cache takes in messages, also in the middle of a lookup: it only
//! notes, and whoever keeps something of a relation looks at the notes at a moment of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use pgrx::pg_sys;
use pgrx::prelude::*;

/// More notes than this are one note that everything changed.
const MANY: usize = 10_000;

thread_local! {
    static NOTED: RefCell<Noted> = RefCell::default();
    static SUBSCRIBED: Cell<bool> = const { Cell::new(false) };
}

/// The relations that were changed.
#[derive(Debug, Default)]
pub(super) struct Noted {
    everything: bool,
    relations: HashSet<pg_sys::Oid>,
}

impl Noted {
    pub(super) fn holds(&self, relation: pg_sys::Oid) -> bool {
        self.everything || self.relations.contains(&relation)
    }

    fn note(&mut self, relation: pg_sys::Oid) {
        if relation == pg_sys::InvalidOid || self.relations.len() >= MANY {
            self.everything = true;
            self.relations.clear();
        } else if !self.everything {
            self.relations.insert(relation);
        }
    }
}

/// Starts taking notes in this process; PostgreSQL knows no way to stop.
pub(super) fn subscribe() {
    if !SUBSCRIBED.replace(true) {
        // SAFETY: the callback is static and may be called at any time from here on.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(note), pg_sys::Datum::null()) }
    }
}

/// What was noted since the last call.
pub(super) fn take() -> Noted {
    NOTED.take()
}

#[pg_guard]
unsafe extern "C-unwind" fn note(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    NOTED.with_borrow_mut(|noted| noted.note(relation));
}

//! Whether the transaction has left anything for its end.
//!
//! The callbacks at the ends of transactions and savepoints are called for every one of the server, of
//! captured tables or not. This one flag is all that they look at when there is nothing of ours: whoever
//! keeps something until the end says so here, before keeping it.
//!
//! Runs in every backend; nothing here can fail.

use std::cell::Cell;

thread_local! {
    static AWAITED: Cell<bool> = const { Cell::new(false) };
}

/// This transaction's end is to be told to whoever keeps something until then.
pub fn await_it() {
    AWAITED.set(true);
}

pub(super) fn is_awaited() -> bool {
    AWAITED.get()
}

/// The transaction ended, and everybody was told.
pub(super) fn came() {
    AWAITED.set(false);
}

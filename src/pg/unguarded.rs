//! Functions of PostgreSQL that raise no ERROR, whatever state the process is in.
//!
//! The bindings guard every call against one, which here is most of what the call takes, and these are called
//! for each row that a writer changes, or each of its transactions. Backends and the worker, main thread.

use pgrx::pg_sys;

// Each returns a static variable's value, or reads the clock.
unsafe extern "C" {
    fn GetCurrentSubTransactionId() -> pg_sys::SubTransactionId;
    fn GetTopFullTransactionIdIfAny() -> pg_sys::FullTransactionId;
    fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
}

/// The current subtransaction; in a transaction.
pub fn current_subtransaction() -> pg_sys::SubTransactionId {
    // SAFETY: see above.
    unsafe { GetCurrentSubTransactionId() }
}

/// The 64-bit number of the top-level transaction, if it has one.
pub fn top_xid_if_any() -> Option<u64> {
    // SAFETY: see above. 0 is no transaction.
    let xid = unsafe { GetTopFullTransactionIdIfAny() };
    (xid.value != 0).then_some(xid.value)
}

/// Microseconds since 2000.
pub fn now() -> pg_sys::TimestampTz {
    // SAFETY: see above.
    unsafe { GetCurrentTimestamp() }
}

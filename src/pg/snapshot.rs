//! The active snapshot.

use pgrx::pg_sys;

/// A snapshot that is active until this is dropped.
#[derive(Debug)]
pub struct ActiveSnapshot(());

impl ActiveSnapshot {
    /// A new snapshot of this moment, whatever the isolation level.
    ///
    /// Readers take it *after* they read the closed timestamp: one taken before may lack a
    /// transaction that the closed timestamp promises.
    pub fn latest() -> Self {
        // SAFETY: in a transaction; PushActiveSnapshot copies what is static.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
        Self(())
    }

    /// A new snapshot of this moment, also in parallel mode, where [`Self::latest`] is refused.
    pub fn now() -> Self {
        // The catalogs' own, of this moment for a table that sends no invalidations.
        // SAFETY: as above; no OID names no table, so none that does.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetCatalogSnapshot(pg_sys::InvalidOid)) };
        Self(())
    }

    /// The snapshot of the transaction (of the statement, under READ COMMITTED).
    pub fn transaction() -> Self {
        // SAFETY: as above.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        Self(())
    }

    /// The snapshot of the transaction unless one is active already, as it is in a statement but
    /// not in PRE_COMMIT. Without any a tuple with TOAST must not be written.
    pub fn ensure() -> Option<Self> {
        // SAFETY: looks at the process's own state.
        (!unsafe { pg_sys::ActiveSnapshotSet() }).then(Self::transaction)
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        // While an ERROR unwinds, the abort of the transaction pops it.
        if !std::thread::panicking() {
            // SAFETY: pushed by this handle and popped only here, in order of nesting.
            unsafe { pg_sys::PopActiveSnapshot() }
        }
    }
}

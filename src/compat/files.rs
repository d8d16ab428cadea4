//! New files for a table of ours and its indexes.
//!
//! Runs where a segment of the log is let go or written anew, under the strongest lock.

use pgrx::pg_sys;

/// Gives a relation new, empty files when the transaction commits.
///
/// # Safety
/// The relation is open under the strongest lock.
pub unsafe fn set_new_files(relation: pg_sys::Relation) {
    // SAFETY: the caller's.
    unsafe {
        let persistence = (*(*relation).rd_rel).relpersistence;
        #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
        pg_sys::RelationSetNewRelfilenode(relation, persistence);
        #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
        pg_sys::RelationSetNewRelfilenumber(relation, persistence);
    }
}

/// The oldest transaction whose deleted rows somebody may still see in a table.
///
/// # Safety
/// The relation is open.
pub unsafe fn oldest_needed(relation: pg_sys::Relation) -> pg_sys::TransactionId {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(feature = "pg13")]
        return pg_sys::GetOldestXmin(relation, pg_sys::PROCARRAY_FLAGS_VACUUM as i32);
        #[cfg(not(feature = "pg13"))]
        return pg_sys::GetOldestNonRemovableTransactionId(relation);
    }
}

/// Builds all indexes of a table anew, and of what is stored beside it.
///
/// # Safety
/// The table is locked against everybody.
pub unsafe fn reindex(table: pg_sys::Oid) {
    let with_toast = pg_sys::REINDEX_REL_PROCESS_TOAST as i32;
    // SAFETY: the caller's; the default is no options.
    unsafe {
        #[cfg(feature = "pg13")]
        pg_sys::reindex_relation(table, with_toast, 0);
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        pg_sys::reindex_relation(table, with_toast, &mut pg_sys::ReindexParams::default());
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        pg_sys::reindex_relation(
            std::ptr::null(),
            table,
            with_toast,
            &pg_sys::ReindexParams::default(),
        );
    }
}

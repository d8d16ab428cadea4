//! Noticing COMMIT PREPARED.
//!
//! It is a command of its own, in an implicit transaction that changes nothing; no callback tells of
//! it. So a hook notes that it was executed, and the PRE_COMMIT of that implicit transaction, which
//! comes before the client hears of it, asks. An apply worker of logical replication commits prepared
//! transactions without the command, so each of its transactions asks. Runs in every backend.

use std::cell::Cell;

use pgrx::pg_sys;
use pgrx::pg_sys::TransactionStmtKind;

use super::ending;
use crate::compat;

thread_local! {
    static RESOLVED: Cell<bool> = const { Cell::new(false) };
}

/// Called once, in the postmaster.
pub fn init() {
    compat::on_utility(commits_prepared, || {
        ending::await_it();
        RESOLVED.set(true);
    });
}

/// Whether this process may commit a prepared transaction without the command. Apply workers are among
/// these; which of them are is asked where it may take time.
pub fn may_go_unnoticed() -> bool {
    // SAFETY: set at the start of the process.
    unsafe { !pg_sys::MyBgworkerEntry.is_null() }
}

/// Whether this transaction may have committed a prepared one.
pub fn may_have_resolved() -> bool {
    // SAFETY: only asks what this process is.
    RESOLVED.get() || unsafe { pg_sys::IsLogicalWorker() }
}

/// The transaction ended.
pub fn forget() {
    RESOLVED.set(false);
}

/// Whether a statement is COMMIT PREPARED.
fn commits_prepared(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: the hook passes a parsed statement; its tag says what it is.
    unsafe {
        (*statement).type_ == pg_sys::NodeTag::T_TransactionStmt
            && (*statement.cast::<pg_sys::TransactionStmt>()).kind
                == TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED
    }
}

//! The hook around utility statements.
//!
//! It guarantees that the statement's errors pass as they are. Nothing of it is guarded: pgrx's guard
//! catches an error and reports it anew, without its context, its place in the text, the names of table
//! and constraint, and with SQLSTATEs of users made XX000. An error jumps over the hook's frame, as over
//! that of any hook in C; so nothing in it has a destructor, and what it calls must not fail.

use std::ffi::c_char;

use pgrx::pg_sys;

static mut CONCERNS: Option<fn(*mut pg_sys::Node) -> bool> = None;
static mut AFTER: Option<fn()> = None;
static mut CHECK: Option<unsafe extern "C-unwind" fn()> = None;
static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;

pub(super) fn chain(concerns: fn(*mut pg_sys::Node) -> bool, after: fn()) {
    // SAFETY: the postmaster loads libraries on its only thread.
    unsafe {
        CONCERNS = Some(concerns);
        AFTER = Some(after);
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(on_utility);
    }
}

/// The one thing that may fail: it raises as PostgreSQL's own code does, before anything is held.
pub(super) fn check_before(check: unsafe extern "C-unwind" fn()) {
    // SAFETY: as above.
    unsafe { CHECK = Some(check) }
}

unsafe extern "C-unwind" fn on_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    #[cfg(not(feature = "pg13"))] read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: set by `chain` before the hook could be called; the arguments go on as they came, and
    // nothing is held here over which an error must not jump.
    unsafe {
        if let Some(check) = CHECK {
            check();
        }
        // Asked before: a statement that commits inside takes its text along.
        let concerned = CONCERNS.is_some_and(|concerns| concerns((*statement).utilityStmt));
        let next = PREVIOUS.unwrap_or(standard);
        next(
            statement,
            text,
            #[cfg(not(feature = "pg13"))]
            read_only,
            context,
            parameters,
            environment,
            destination,
            completion,
        );
        if let Some(after) = AFTER.filter(|_| concerned) {
            after();
        }
    }
}

unsafe extern "C-unwind" {
    // PostgreSQL's own; pgrx's wrapper of it is no C function pointer, and is guarded.
    #[link_name = "standard_ProcessUtility"]
    fn standard(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        #[cfg(not(feature = "pg13"))] read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

//! What code in a cage may not do at all, since no rollback undoes it.
//!
//! - Utility statements: `SET`, `LOCK`, `NOTIFY`, `DO` and all others.
//! - The advisory locks of a session, to take them and to let them go.
//! - Two settings that end the process: `exit_on_error`, and the time limit of a transaction.
//!
//! The hooks are called in every process, for every statement and function; outside a cage they read one flag.

use std::cell::OnceCell;
use std::ptr::NonNull;

use pgrx::prelude::*;

use super::is_open;
use crate::compat;
use crate::error::{Error, Kind};

/// Settings that take effect at once, in a way that no rollback undoes.
const FROZEN: [&std::ffi::CStr; 2] = [c"exit_on_error", c"transaction_timeout"];
/// The OIDs of `pg_advisory_lock` and its relatives of a session; those of a transaction are others.
const SESSION_LOCKS: std::ops::RangeInclusive<u32> = 2880..=2892;

static mut PREVIOUS: pg_sys::object_access_hook_type = None;

/// Called once, when the library is loaded.
pub(super) fn init() {
    compat::refuse_statements(on_statement);
    // SAFETY: the postmaster loads libraries on its only thread.
    unsafe {
        PREVIOUS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(on_access);
    }
}

/// Not guarded before there is something to do. What another library's hook raises jumps over this frame, in which
/// nothing has a destructor.
unsafe extern "C-unwind" fn on_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: i32,
    argument: *mut std::ffi::c_void,
) {
    // SAFETY: written once, before any process could call the hook; its owner's own arguments.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous(access, class, object, part, argument);
        }
        let is_call = access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE;
        if is_call && SESSION_LOCKS.contains(&object.to_u32()) && is_open() {
            refuse_lock();
        }
    }
}

/// Called before each utility statement; no frame of ours is below it.
unsafe extern "C-unwind" fn on_statement() {
    if is_open() {
        // SAFETY: raises, and holds nothing.
        unsafe { refuse_statement() }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn refuse_lock() {
    refuse("a lock of the session");
}

#[pg_guard]
unsafe extern "C-unwind" fn refuse_statement() {
    refuse("a utility statement");
}

fn refuse(what: &str) -> ! {
    Error::new(
        Kind::FeatureNotSupported,
        format!("{what} is not allowed in an expression that an event source evaluates"),
    )
    .hint("compute the value from the row alone")
    .raise()
}

/// Settings that nobody can change until this is dropped.
#[derive(Debug)]
pub(super) struct Frozen(());

thread_local! {
    /// The settings, and in which context each may be changed otherwise.
    static SETTINGS: OnceCell<Vec<(NonNull<pg_sys::config_generic>, pg_sys::GucContext::Type)>> =
        const { OnceCell::new() };
}

impl Frozen {
    pub(super) fn new() -> Self {
        each(|setting, _| setting.context = pg_sys::GucContext::PGC_INTERNAL);
        Self(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        each(|setting, context| setting.context = context);
    }
}

fn each(change: impl Fn(&mut pg_sys::config_generic, pg_sys::GucContext::Type)) {
    SETTINGS.with(|settings| {
        let settings = settings.get_or_init(|| {
            // SAFETY: the server's own setting lives as long as the process.
            let with_context = |setting: NonNull<pg_sys::config_generic>| unsafe {
                (setting, setting.as_ref().context)
            };
            FROZEN.iter().filter_map(|name| compat::setting(name)).map(with_context).collect()
        });
        for &(mut setting, context) in settings {
            // SAFETY: as above, and nobody else looks at it on the process's only thread.
            unsafe { change(setting.as_mut(), context) }
        }
    });
}

//! The role whose code runs, with a level of settings of its own.

use pgrx::pg_sys;

use crate::pg::process;
use crate::pg::role::ActingAs;

/// The code that runs is this role's until it is dropped. Settings that the code makes are gone then: the next code
/// is another's, and would resolve its operators by them.
#[derive(Debug)]
pub(crate) struct Acting {
    level: i32,
    _as_role: ActingAs,
}

impl Acting {
    pub(crate) fn as_role(role: pg_sys::Oid) -> Self {
        if process::is_for_life() {
            be_session_user(role);
        }
        let as_role = ActingAs::restricted(role);
        // SAFETY: opens a level of settings, which `drop` or an abort closes.
        let level = unsafe { pg_sys::NewGUCNestLevel() };
        Self { level, _as_role: as_role }
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        // While an ERROR unwinds, the abort of the (sub)transaction undoes the level.
        if !std::thread::panicking() {
            // SAFETY: the level was opened by this handle, and all above it are closed.
            unsafe { pg_sys::AtEOXact_GUC(false, self.level) }
        }
    }
}

/// In a worker, whose session is the bootstrap superuser's, functions that ask for `session_user` must not find a
/// superuser. In a backend it is the user who reads. It stays until the next role's code runs.
fn be_session_user(role: pg_sys::Oid) {
    // SAFETY: reads and sets the process's user state; a session's user may only be set outside a restricted
    // context, so that is put aside for the moment. The role exists, or is looked up as no superuser.
    unsafe {
        if pg_sys::GetSessionUserId() == role {
            return;
        }
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(user, 0);
        pg_sys::SetSessionAuthorization(role, pg_sys::superuser_arg(role));
        pg_sys::SetUserIdAndSecContext(user, context);
    }
}

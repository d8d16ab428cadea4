//! Acting as another role.

use pgrx::pg_sys;

use super::relation::Relation;

/// A user who is no role: no superuser, a member of nothing, with the rights of PUBLIC alone. No row of `pg_authid`
/// can have this OID, which is below that of the bootstrap superuser.
pub const NOBODY: pg_sys::Oid = pg_sys::Oid::from_u32(1);

/// The current user until this is dropped, security-restricted: code that runs under it cannot
/// leave anything behind in the session.
#[derive(Debug)]
pub struct ActingAs {
    user: pg_sys::Oid,
    context: i32,
}

impl ActingAs {
    /// The owner of a table of the extension's own, for what only its owner may do with it.
    pub fn owner_of(table: &Relation) -> Self {
        // SAFETY: an open relation has its pg_class row.
        Self::restricted(unsafe { (*table.rd_rel).relowner })
    }

    pub fn restricted(role: pg_sys::Oid) -> Self {
        let mut user = pg_sys::InvalidOid;
        let mut context = 0;
        // SAFETY: both only read and write the session's user state.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            let restricted = context
                | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32
                | pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
            pg_sys::SetUserIdAndSecContext(role, restricted);
        }
        Self { user, context }
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        // Also while an ERROR unwinds: a subtransaction may catch it, and then go on as this user.
        // SAFETY: gives back what was there before.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}

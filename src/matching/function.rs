//! A function of PostgreSQL, looked up once.

use std::ffi::CString;

use pgrx::pg_sys;

/// A function that is called through PostgreSQL's function manager.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function(*mut pg_sys::FmgrInfo);

impl Function {
    /// Looks a function up; the result lives in the current memory context, and so does whatever
    /// the function remembers between calls.
    pub(super) fn look_up(oid: pg_sys::Oid) -> Self {
        // SAFETY: zeroed memory is a valid FmgrInfo to fill; fmgr_info raises for an unknown OID.
        unsafe {
            let info = pg_sys::palloc0(size_of::<pg_sys::FmgrInfo>()).cast::<pg_sys::FmgrInfo>();
            pg_sys::fmgr_info_cxt(oid, info, pg_sys::CurrentMemoryContext);
            Self(info)
        }
    }

    /// PostgreSQL's own functions for its own types do not fail on values of these types.
    pub(super) fn is_built_in(self) -> bool {
        // SAFETY: filled by `look_up`, in a context that lives as long as this value's owner.
        unsafe { (*self.0).fn_oid.to_u32() < pg_sys::FirstNormalObjectId }
    }

    /// The hash of a value, by a hash function.
    pub(super) fn hash(self, collation: pg_sys::Oid, value: pg_sys::Datum) -> u32 {
        // SAFETY: a hash function takes one argument of its operator's type and gives an int4.
        unsafe { pg_sys::FunctionCall1Coll(self.0, collation, value).value() as u32 }
    }

    /// Whether an equality function finds two values equal.
    pub(super) fn holds(self, collation: pg_sys::Oid, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
        // SAFETY: an equality function takes two values of its operator's type and gives a bool.
        unsafe { pg_sys::FunctionCall2Coll(self.0, collation, a, b).value() != 0 }
    }

    /// Reads a value, by a type's input function.
    pub(super) fn input(self, text: &str, parameter: pg_sys::Oid) -> pg_sys::Datum {
        let text = CString::new(text).expect("no value of PostgreSQL has a zero byte in its text");
        // The writer's row already obeyed the column's type modifier, so none is applied again.
        // SAFETY: an input function takes text, the type's parameter and a modifier.
        unsafe { pg_sys::InputFunctionCall(self.0, text.as_ptr().cast_mut(), parameter, -1) }
    }
}

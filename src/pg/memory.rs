//! Memory contexts that belong to a Rust value.
//!
//! They hang below the top context, so that no end of a transaction frees them under their owner.

use std::ffi::CStr;

use pgrx::pg_sys;

/// A memory context that is deleted when this is dropped.
#[derive(Debug)]
pub struct Context(pg_sys::MemoryContext);

impl Context {
    pub fn new(name: &'static CStr) -> Self {
        // SAFETY: the parent lives as long as the process; the name is static, as required.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                name.as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        })
    }

    /// Allocations go here until the result is dropped.
    pub fn enter(&self) -> Entered {
        Entered::enter(self.0)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `new`, deleted only here; nothing below it is entered any more, since
        // `Entered` values borrow nothing that outlives their function.
        unsafe { pg_sys::MemoryContextDelete(self.0) }
    }
}

/// A memory context is current until this is dropped.
#[derive(Debug)]
pub struct Entered(pg_sys::MemoryContext);

impl Entered {
    pub fn enter(context: pg_sys::MemoryContext) -> Self {
        // SAFETY: the caller's context is alive.
        Self(unsafe { pg_sys::MemoryContextSwitchTo(context) })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Also while an ERROR unwinds: the context that was current before is still there.
        // SAFETY: it was current when this one was entered, and is left in order of nesting.
        unsafe { pg_sys::MemoryContextSwitchTo(self.0) };
    }
}

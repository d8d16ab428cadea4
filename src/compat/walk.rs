//! Walking through expressions and parse trees, whose walkers are not bound before version 16.

use std::ffi::c_void;

use pgrx::pg_sys;

/// Looks at one node; true ends the walk. It calls the walk again for the node's children. Must not raise.
pub(crate) type Visitor =
    unsafe extern "C-unwind" fn(node: *mut pg_sys::Node, context: *mut c_void) -> bool;

unsafe extern "C-unwind" {
    // Declared without the callback's arguments before 16, which are passed all the same.
    #[cfg_attr(
        not(any(feature = "pg13", feature = "pg14", feature = "pg15")),
        link_name = "expression_tree_walker_impl"
    )]
    fn expression_tree_walker(
        node: *mut pg_sys::Node,
        visitor: Visitor,
        context: *mut c_void,
    ) -> bool;
    #[cfg_attr(
        not(any(feature = "pg13", feature = "pg14", feature = "pg15")),
        link_name = "raw_expression_tree_walker_impl"
    )]
    fn raw_expression_tree_walker(
        node: *mut pg_sys::Node,
        visitor: Visitor,
        context: *mut c_void,
    ) -> bool;
}

/// Visits the children of a node of an expression.
///
/// # Safety
/// `node` is null or part of an expression, `context` what `visitor` takes.
pub(crate) unsafe fn walk_children(
    node: *mut pg_sys::Node,
    visitor: Visitor,
    context: *mut c_void,
) -> bool {
    // SAFETY: the caller's; the functions are not bound, so the ERROR boundary is put here by hand.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| expression_tree_walker(node, visitor, context)) }
}

/// Visits the children of a node of a parse tree that is not transformed yet.
///
/// # Safety
/// As [`walk_children`].
pub(crate) unsafe fn walk_raw_children(
    node: *mut pg_sys::Node,
    visitor: Visitor,
    context: *mut c_void,
) -> bool {
    // SAFETY: as above.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| raw_expression_tree_walker(node, visitor, context))
    }
}

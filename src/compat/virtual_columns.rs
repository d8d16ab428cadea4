//! Virtual generated columns, which version 18 brought.
//!
//! Runs in writers' backends; it reads the relation cache and the catalogs.

use pgrx::pg_sys;

/// The virtual generated columns of an open relation by number, each with its expression over the
/// relation's other columns, planned, in the current memory context.
///
/// # Safety
/// The relation is open.
#[cfg(feature = "pg18")]
pub unsafe fn virtual_columns(relation: pg_sys::Relation) -> Vec<(i16, *mut pg_sys::Expr)> {
    const VIRTUAL: u8 = pg_sys::ATTRIBUTE_GENERATED_VIRTUAL;
    // SAFETY: the caller's promise; the expression is a copy.
    unsafe {
        super::attributes((*relation).rd_att)
            .iter()
            .filter(|a| !a.attisdropped && a.attgenerated as u8 == VIRTUAL)
            .map(|a| {
                let tree = pg_sys::build_generation_expression(relation, a.attnum.into());
                (a.attnum, pg_sys::expression_planner(tree.cast()))
            })
            .collect()
    }
}

/// See above; there are none.
///
/// # Safety
/// None is needed.
#[cfg(not(feature = "pg18"))]
pub unsafe fn virtual_columns(_relation: pg_sys::Relation) -> Vec<(i16, *mut pg_sys::Expr)> {
    Vec::new()
}

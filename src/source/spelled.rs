//! What a stored filter's text names, before anything of it is looked up: reading a literal calls the input
//! function of its type, and the checks of a domain.
//!
//! Runs in backends and in the worker, as the role of the token. Calls nothing of what the text names.

use std::ffi::c_void;

use pgrx::{PgList, pg_guard, pg_sys};

use super::calls::Calls;
use super::names;
use super::privileges::denied;
use crate::compat;
use crate::error::Result;

/// Checks that the role may look into all schemas that the tree names, and that it may read literals of all
/// types that it names. What is not there is for the parser to say.
///
/// # Errors
/// [`Kind::InsufficientPrivilege`](crate::error::Kind::InsufficientPrivilege) when it may not.
///
/// # Safety
/// `tree` is an expression that was parsed and not transformed.
pub(super) unsafe fn check(tree: *mut pg_sys::Node, role: pg_sys::Oid) -> Result<()> {
    let mut named = Named::default();
    // SAFETY: the caller's; the visitor takes what it is given.
    unsafe { visit(tree, (&raw mut named).cast()) };
    for schema in named.lists.into_iter().filter_map(schema_of) {
        if !compat::may_use_schema(schema, role) {
            // SAFETY: answers null for what is gone.
            let name = unsafe { names::text(pg_sys::get_namespace_name(schema)) };
            return Err(denied(role, &format!("schema {}", name.unwrap_or_default())));
        }
    }
    for of in named.types {
        // SAFETY: a type's name that the parser made; nothing for one that is not there.
        let of = unsafe { pg_sys::LookupTypeNameOid(std::ptr::null_mut(), of, true) };
        Calls::of_literal(of).check(role)?;
    }
    Ok(())
}

/// What the text names, as the parser left it.
#[derive(Debug, Default)]
struct Named {
    /// Names of functions, operators, types and collations, with the schema where they have one.
    lists: Vec<*mut pg_sys::List>,
    types: Vec<*const pg_sys::TypeName>,
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    use pg_sys::NodeTag as T;
    if node.is_null() {
        return false;
    }
    // SAFETY: every node says what it is; the context is `check`'s.
    unsafe {
        let named = &mut *context.cast::<Named>();
        match (*node).type_ {
            T::T_TypeName => {
                let of = node.cast::<pg_sys::TypeName>();
                named.lists.push((*of).names);
                named.types.push(of);
            }
            T::T_FuncCall => named.lists.push((*node.cast::<pg_sys::FuncCall>()).funcname),
            T::T_A_Expr => named.lists.push((*node.cast::<pg_sys::A_Expr>()).name),
            T::T_CollateClause => {
                named.lists.push((*node.cast::<pg_sys::CollateClause>()).collname);
            }
            _ => {}
        }
        compat::walk_raw_children(node, visit, context)
    }
}

/// The schema of a qualified name, where it is there.
fn schema_of(name: *mut pg_sys::List) -> Option<pg_sys::Oid> {
    // SAFETY: a list of names that the parser made.
    unsafe {
        let parts = PgList::<pg_sys::Node>::from_pg(name);
        let schema = parts.get_ptr(parts.len().checked_sub(2)?)?;
        let schema = pg_sys::get_namespace_oid(compat::string_value(schema), true);
        (schema != pg_sys::InvalidOid).then_some(schema)
    }
}

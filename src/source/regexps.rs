//! How many regular expressions a filter has PostgreSQL compile, as far as that can be seen before it runs.
//!
//! PostgreSQL keeps 32 compiled ones in a process; with more in use each row compiles them again. Runs in
//! backends and in the worker; calls nothing of the expression.

use std::ffi::c_void;

use pgrx::{PgList, pg_guard, pg_sys};

use super::names;
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::settings;

/// The language of what is built into PostgreSQL, the same in every version.
const INTERNAL: u32 = 12;

/// # Errors
/// There are more of them than a filter may have.
///
/// # Safety
/// `expression` is one over the columns of a table.
pub(super) unsafe fn check(expression: *mut pg_sys::Node) -> Result<()> {
    // SAFETY: the caller's.
    let count = unsafe { regexps(expression) };
    let most = settings::max_regexps_per_filter();
    if count <= most {
        return Ok(());
    }
    Err(Error::new(
        Kind::TooComplex,
        format!("the filter has {count} regular expressions, and may have {most}"),
    )
    .hint("join them by |, or raise event_source.max_regexps_per_filter"))
}

/// # Safety
/// `expression` is one over the columns of a table.
unsafe fn regexps(expression: *mut pg_sys::Node) -> usize {
    let mut count = 0_usize;
    // SAFETY: the caller's; the visitor takes what it is given.
    unsafe { count_regexps(expression, (&raw mut count).cast()) };
    count
}

#[pg_guard]
unsafe extern "C-unwind" fn count_regexps(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    use pg_sys::NodeTag as T;
    if node.is_null() {
        return false;
    }
    // SAFETY: the node is one of an expression, and is looked at as what it says; the context is the count.
    unsafe {
        let compiles = pg_sys::check_functions_in_node(node, Some(is_regexp), std::ptr::null_mut());
        let count = &mut *context.cast::<usize>();
        *count += match (*node).type_ {
            T::T_Const => paths_with_regexps(&*node.cast()),
            T::T_ScalarArrayOpExpr if compiles => {
                patterns((*node.cast::<pg_sys::ScalarArrayOpExpr>()).args)
            }
            _ => usize::from(compiles),
        };
        compat::walk_children(node, count_regexps, context)
    }
}

/// Whether it is one of PostgreSQL's functions of regular expressions, under whatever name and schema.
#[pg_guard]
unsafe extern "C-unwind" fn is_regexp(function: pg_sys::Oid, _context: *mut c_void) -> bool {
    // SAFETY: the tuple is released after its text was copied.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, function.into());
        if tuple.is_null() {
            return false;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
        let mut null = false;
        let column = pg_sys::Anum_pg_proc_prosrc as pg_sys::AttrNumber;
        let source = pg_sys::SysCacheGetAttr(cache, tuple, column, &mut null);
        let is_internal = form.prolang == pg_sys::Oid::from(INTERNAL);
        let is_regexp = is_internal && !null && {
            let text = names::text(pg_sys::text_to_cstring(source.cast_mut_ptr()));
            text.is_some_and(|name| name.contains("regex"))
        };
        pg_sys::ReleaseSysCache(tuple);
        is_regexp
    }
}

/// The patterns of `= ANY (...)`: as many as a constant or a list has; those of a column are not known.
///
/// # Safety
/// Two operands, the second an array.
unsafe fn patterns(operands: *mut pg_sys::List) -> usize {
    // SAFETY: the caller's; a constant that is not null is an array.
    unsafe {
        let Some(array) = PgList::<pg_sys::Node>::from_pg(operands).get_ptr(1) else { return 1 };
        match (*array).type_ {
            pg_sys::NodeTag::T_ArrayExpr => {
                let elements = (*array.cast::<pg_sys::ArrayExpr>()).elements;
                PgList::<pg_sys::Node>::from_pg(elements).len()
            }
            pg_sys::NodeTag::T_Const => {
                let constant = &*array.cast::<pg_sys::Const>();
                if constant.constisnull {
                    return 0;
                }
                let array = pg_sys::pg_detoast_datum(constant.constvalue.cast_mut_ptr());
                let array = array.cast::<pg_sys::ArrayType>();
                let dimensions = array.add(1).cast::<i32>();
                pg_sys::ArrayGetNItems((*array).ndim, dimensions) as usize
            }
            _ => 1,
        }
    }
}

/// `like_regex` in a constant of the type jsonpath.
///
/// # Safety
/// The constant's value is of its type.
unsafe fn paths_with_regexps(constant: &pg_sys::Const) -> usize {
    if constant.consttype != pg_sys::JSONPATHOID || constant.constisnull {
        return 0;
    }
    // SAFETY: the output function of jsonpath takes one.
    let text = unsafe {
        let function = pg_sys::Oid::from(pg_sys::F_JSONPATH_OUT);
        names::text(pg_sys::OidOutputFunctionCall(function, constant.constvalue))
    };
    text.map_or(0, |text| text.matches("like_regex").count())
}

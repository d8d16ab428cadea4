//! One expression through PostgreSQL's own parser, and nothing but one expression.
//!
//! Runs in backends and in the worker. It looks up types, functions and operators by the
//! search_path in force, and evaluates nothing but the input functions of literals.

use std::ffi::CString;

use pgrx::nodes::is_a;
use pgrx::{PgList, pg_sys};

use super::names;
use crate::compat;
use crate::error::{Error, Kind, Result};

/// A parse in progress.
pub(super) struct Parse {
    pub state: *mut pg_sys::ParseState,
    text: CString,
}

impl Parse {
    pub(super) fn new(text: &str) -> Result<Self> {
        let text = names::c_string(text)?;
        // SAFETY: makes an empty state in the current memory context.
        let state = unsafe { pg_sys::make_parsestate(std::ptr::null_mut()) };
        Ok(Self { state, text })
    }

    /// The tree of the text, untransformed.
    ///
    /// # Errors
    /// The text is a list, has a FROM or is anything else that is more than one expression.
    /// Syntax errors are PostgreSQL's own ERROR.
    pub(super) fn tree(&self) -> Result<*mut pg_sys::Node> {
        // SAFETY: the tree lives in the current memory context, as the state does.
        let statements = unsafe { compat::parse_expression(&self.text) };
        // SAFETY: what the parser made.
        unsafe { single_expression(statements) }.ok_or_else(|| {
            Error::new(Kind::InvalidParameter, "filter must be one boolean expression")
                .hint("write it as after WHERE, as in 'price > 10 AND category = $1'")
        })
    }

    /// The boolean expression that the tree means, as a partial index's predicate could be.
    pub(super) fn boolean(&self, tree: *mut pg_sys::Node) -> *mut pg_sys::Node {
        // SAFETY: the state and the tree belong together; an ERROR leaves nothing behind.
        unsafe {
            let expression = pg_sys::transformExpr(
                self.state,
                tree,
                pg_sys::ParseExprKind::EXPR_KIND_INDEX_PREDICATE,
            );
            let expression = pg_sys::coerce_to_boolean(self.state, expression, c"filter".as_ptr());
            pg_sys::assign_expr_collations(self.state, expression);
            expression
        }
    }
}

/// # Safety
/// `statements` is what the parser made.
unsafe fn single_expression(statements: *mut pg_sys::List) -> Option<*mut pg_sys::Node> {
    // SAFETY: the caller's; each node is looked at as what its tag says.
    unsafe {
        let raw = only(statements)?.cast::<pg_sys::RawStmt>();
        let statement = (*raw).stmt;
        if !is_a(statement, pg_sys::NodeTag::T_SelectStmt) {
            return None;
        }
        let select = &*statement.cast::<pg_sys::SelectStmt>();
        let bare = select.distinctClause.is_null()
            && select.intoClause.is_null()
            && select.fromClause.is_null()
            && select.whereClause.is_null()
            && select.groupClause.is_null()
            && select.havingClause.is_null()
            && select.windowClause.is_null()
            && select.valuesLists.is_null()
            && select.sortClause.is_null()
            && select.limitOffset.is_null()
            && select.limitCount.is_null()
            && select.lockingClause.is_null()
            && select.withClause.is_null()
            && select.op == pg_sys::SetOperation::SETOP_NONE;
        let target = &*only(select.targetList)?.cast::<pg_sys::ResTarget>();
        // A lone star is only expanded in a target list: transformExpr takes it for a name.
        let star = is_a(target.val, pg_sys::NodeTag::T_ColumnRef) && {
            let fields = (*target.val.cast::<pg_sys::ColumnRef>()).fields;
            let fields = PgList::<pg_sys::Node>::from_pg(fields);
            fields.tail().is_some_and(|last| is_a(last, pg_sys::NodeTag::T_A_Star))
        };
        (bare && target.name.is_null() && !star).then_some(target.val)
    }
}

/// # Safety
/// `list` is null or a list of nodes.
unsafe fn only(list: *mut pg_sys::List) -> Option<*mut pg_sys::Node> {
    // SAFETY: the caller's.
    let list = unsafe { PgList::<pg_sys::Node>::from_pg(list) };
    if list.len() == 1 { list.head() } else { None }
}

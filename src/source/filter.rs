//! Filters: parsed once, at mint, with the caller's session; stored resolved; read back anywhere.
//!
//! [`parse`] runs in backends, [`parse_stored`] also in the worker. Neither evaluates the filter.

use std::ffi::{CStr, c_void};

use event_source_model::source::Filter;
use pgrx::nodes::is_a;
use pgrx::pg_sys;
use pgrx::{PgList, PgTupleDesc, pg_guard};

use super::calls::Calls;
use super::expression::Parse;
use super::{index, literal, names, regexps, spelled};
use crate::cage::Acting;
use crate::compat;
use crate::error::{Error, Kind, Result, raised};
use crate::pg::memory::Context;
use crate::pg::pinned::PinnedSettings;
use crate::pg::relation::Relation;

/// Parses what the user wrote over the columns of `table`.
///
/// # Errors
/// What no partial index could have as its predicate, and parameters that do not fit. PostgreSQL's
/// own errors (syntax, names, types) are its own ERROR.
pub(super) fn parse(text: &str, parameters: &[Option<String>], table: &Relation) -> Result<Filter> {
    let expression = {
        let parse = Parse::new(text)?;
        let tree = parse.tree()?;
        let mut types = std::ptr::null_mut();
        let mut count = 0;
        // SAFETY: the table is open and locked; `types` and `count` live as long as the parse.
        let expression = unsafe {
            let item = pg_sys::addRangeTableEntryForRelation(
                parse.state,
                table.as_ptr(),
                pg_sys::AccessShareLock as i32,
                std::ptr::null_mut(),
                false,
                true,
            );
            pg_sys::addNSItemToQuery(parse.state, item, false, true, true);
            compat::infer_parameters(parse.state, &mut types, &mut count);
            parse.boolean(tree)
        };
        if count as usize != parameters.len() {
            return Err(Error::new(
                Kind::InvalidParameter,
                format!("filter has {count} parameters, and params has {}", parameters.len()),
            ));
        }
        let types = if count == 0 {
            &[]
        } else {
            // SAFETY: the parser filled `types` with `count` of them.
            unsafe { std::slice::from_raw_parts(types, count as usize) }
        };
        let mut binding = Binding { types, parameters };
        let context = (&raw mut binding).cast();
        // An ERROR leaves `bind` by a jump, as it must where C calls it: here it becomes a panic.
        // SAFETY: the expression is the parser's, the binding outlives the call.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| bind(expression, context)) }
    };
    // SAFETY: the expression is over the columns of `table` alone; reads the session's state.
    unsafe {
        let columns = columns(expression, table)?;
        admit(expression, pg_sys::GetUserId())?;
        Ok(Filter { expression: deparse(expression, table), columns })
    }
}

/// The expression of a stored filter over the present columns of `table` (varno 1), in the current
/// memory context; not yet planned. It is read as `role`, which must be allowed what it was allowed when
/// the filter was made.
///
/// Columns are found by the numbers that the filter keeps, so a rename does not matter.
///
/// # Errors
/// [`Kind::SchemaChanged`] when a column is gone, and what [`parse`] refuses. An operator, function or type
/// that is gone is PostgreSQL's own ERROR.
pub(crate) fn parse_stored(
    filter: &Filter,
    role: pg_sys::Oid,
    table: &Relation,
) -> Result<*mut pg_sys::Expr> {
    Ok(admitted(filter, role, table)?.0)
}

/// What a stored filter calls, now that it is read as `role`.
///
/// # Errors
/// As [`parse_stored`].
pub(crate) fn calls(filter: &Filter, role: pg_sys::Oid, table: &Relation) -> Result<Calls> {
    Ok(admitted(filter, role, table)?.1)
}

fn admitted(
    filter: &Filter,
    role: pg_sys::Oid,
    table: &Relation,
) -> Result<(*mut pg_sys::Expr, Calls)> {
    let _acting = Acting::as_role(role);
    let _pinned = PinnedSettings::enter_for_code();
    // SAFETY: the relation is open, so is its row type.
    let desc = unsafe { PgTupleDesc::from_pg_unchecked(table.tuple_desc()) };
    let mut columns = Vec::with_capacity(filter.columns.len());
    for (attnum, name) in &filter.columns {
        let attribute = usize::try_from(*attnum - 1)
            .ok()
            .and_then(|i| desc.get(i))
            .filter(|a| !a.attisdropped)
            .ok_or_else(|| {
                Error::new(Kind::SchemaChanged, format!("column \"{name}\" of the filter is gone"))
            })?;
        columns.push(StoredColumn {
            name: names::c_string(name)?,
            attnum: *attnum,
            of: attribute.atttypid,
            typmod: attribute.atttypmod,
            collation: attribute.attcollation,
        });
    }
    let parse = Parse::new(&filter.expression)?;
    let tree = parse.tree()?;
    // SAFETY: what the parser made; the hook's state outlives the parse.
    unsafe {
        spelled::check(tree, role)?;
        (*parse.state).p_pre_columnref_hook = Some(stored_column);
        (*parse.state).p_ref_hook_state = (&raw mut columns).cast();
    }
    let expression = parse.boolean(tree);
    // SAFETY: it is over the columns of `table` alone.
    let calls = unsafe { admit(expression, role)? };
    Ok((expression.cast(), calls))
}

/// The expression of a stored filter as SQL over the present names of the columns of `table`.
pub(crate) fn written(filter: &Filter, role: pg_sys::Oid, table: &Relation) -> Result<String> {
    let expression = parse_stored(filter, role, table)?;
    // SAFETY: it is over the columns of `table` alone.
    Ok(unsafe { deparse(expression.cast(), table) })
}

struct StoredColumn {
    name: std::ffi::CString,
    attnum: i16,
    of: pg_sys::Oid,
    typmod: i32,
    collation: pg_sys::Oid,
}

/// Answers null for a name that the filter does not have, which the parser then reports.
#[pg_guard]
unsafe extern "C-unwind" fn stored_column(
    state: *mut pg_sys::ParseState,
    reference: *mut pg_sys::ColumnRef,
) -> *mut pg_sys::Node {
    // SAFETY: the parser calls it with the state that parse_stored set up.
    unsafe {
        let columns = &*(*state).p_ref_hook_state.cast::<Vec<StoredColumn>>();
        let fields = PgList::<pg_sys::Node>::from_pg((*reference).fields);
        let [Some(name), None] = [fields.get_ptr(0), fields.get_ptr(1)] else {
            return std::ptr::null_mut();
        };
        let name = CStr::from_ptr(compat::string_value(name));
        columns.iter().find(|c| c.name.as_c_str() == name).map_or(std::ptr::null_mut(), |c| {
            let var = pg_sys::makeVar(1, c.attnum, c.of, c.typmod, c.collation, 0);
            (*var).location = (*reference).location;
            var.cast()
        })
    }
}

struct Binding<'a> {
    types: &'a [pg_sys::Oid],
    parameters: &'a [Option<String>],
}

/// Puts the parameters in as constants, and refuses what would not survive being written out.
#[pg_guard]
unsafe extern "C-unwind" fn bind(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: the node is one of an expression; each is looked at as what its tag says.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_Param => {
                let binding = &*context.cast::<Binding<'_>>();
                return raised(constant(&*node.cast(), binding)).cast();
            }
            pg_sys::NodeTag::T_DistinctExpr | pg_sys::NodeTag::T_NullIfExpr => {
                require_plain_operator((*node.cast::<pg_sys::OpExpr>()).opno);
            }
            pg_sys::NodeTag::T_OpExpr => {
                let operation = &*node.cast::<pg_sys::OpExpr>();
                let arguments = PgList::<pg_sys::Node>::from_pg(operation.args);
                if arguments.head().is_some_and(|a| is_a(a, pg_sys::NodeTag::T_CaseTestExpr)) {
                    require_plain_operator(operation.opno);
                }
            }
            _ => {}
        }
        compat::mutate_children(node, bind, context)
    }
}

fn constant(parameter: &pg_sys::Param, binding: &Binding<'_>) -> Result<*mut pg_sys::Const> {
    let at = parameter.paramid as usize - 1;
    let known = binding.types[at];
    if parameter.paramtype != known {
        return Err(Error::new(
            Kind::InvalidParameter,
            format!("could not determine the data type of parameter ${}", at + 1),
        )
        .hint(format!("write ${}::type where it stands first", at + 1)));
    }
    let of = if known == pg_sys::UNKNOWNOID { pg_sys::TEXTOID } else { known };
    // SAFETY: looks at the catalogs' caches.
    let collation = unsafe { pg_sys::get_typcollation(of) };
    // SAFETY: makes a node in the current memory context.
    unsafe {
        let Some(text) = &binding.parameters[at] else {
            return Ok(pg_sys::makeNullConst(of, -1, collation));
        };
        let value = literal::read(of, text)?;
        let (mut length, mut by_value) = (0, false);
        pg_sys::get_typlenbyval(of, &mut length, &mut by_value);
        Ok(pg_sys::makeConst(of, -1, collation, length.into(), value, false, by_value))
    }
}

/// `IS DISTINCT FROM`, `NULLIF` and `CASE x WHEN y` are written without the name of their operator:
/// one outside pg_catalog would be read back as another.
fn require_plain_operator(operator: pg_sys::Oid) {
    // SAFETY: the tuple is released after the OID was copied.
    let schema = unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::OPEROID as i32,
            pg_sys::Datum::from(operator),
        );
        if tuple.is_null() {
            return;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_operator>();
        let schema = (*form).oprnamespace;
        pg_sys::ReleaseSysCache(tuple);
        schema
    };
    if schema != pg_sys::Oid::from(pg_sys::PG_CATALOG_NAMESPACE) {
        Error::new(
            Kind::FeatureNotSupported,
            "filter cannot use IS DISTINCT FROM, NULLIF or CASE x WHEN with an operator of an extension",
        )
        .hint("write the comparison with = and IS NULL")
        .raise();
    }
}

/// The columns that the filter reads, with their names.
///
/// # Safety
/// `expression` is over `table` alone.
unsafe fn columns(expression: *mut pg_sys::Node, table: &Relation) -> Result<Vec<(i16, String)>> {
    // SAFETY: the caller's.
    let numbers = unsafe { index::columns_of(expression) };
    let refuse = |what: &str| {
        Err(Error::new(Kind::FeatureNotSupported, format!("filter cannot use {what}"))
            .hint("name the columns that it is about"))
    };
    match numbers.first() {
        Some(..0) => return refuse("system columns"),
        _ if numbers.contains(&0) => return refuse("the whole row"),
        _ => {}
    }
    numbers
        .into_iter()
        .map(|attnum| match names::column_name(table.oid(), attnum) {
            Some(name) => Ok((attnum, name)),
            None => Err(Error::new(Kind::Corrupted, format!("there is no column {attnum}"))),
        })
        .collect()
}

/// Whether a role may have the expression as its filter: what it calls, that this means the same whenever
/// and wherever it is read, and what it costs.
///
/// # Safety
/// `expression` is a boolean expression over the columns of a table, and `role` the current user.
unsafe fn admit(expression: *mut pg_sys::Node, role: pg_sys::Oid) -> Result<Calls> {
    // SAFETY: the caller's; the planner works on a copy. Making it ready to run checks the right to
    // EXECUTE every function in it once more, as PostgreSQL does.
    unsafe {
        let scratch = Context::new(c"event_source filter check");
        let _entered = scratch.enter();
        let calls = Calls::of(expression);
        calls.check(role)?;
        regexps::check(expression)?;
        let copy = pg_sys::copyObjectImpl(expression.cast()).cast();
        let planned = pg_sys::expression_planner(copy);
        if pg_sys::contain_mutable_functions(planned.cast()) {
            return Err(Error::new(
                Kind::InvalidParameter,
                "functions in filter must be marked IMMUTABLE",
            )
            .detail("an event must mean the same whenever and wherever it is read")
            .hint("compute the value now and pass it in params"));
        }
        // Again, since functions in SQL were put in by now.
        regexps::check(planned.cast())?;
        pg_sys::ExecInitExpr(planned, std::ptr::null_mut());
        Ok(calls)
    }
}

/// # Safety
/// `expression` is over `table` alone.
unsafe fn deparse(expression: *mut pg_sys::Node, table: &Relation) -> String {
    let _pinned = PinnedSettings::enter_for_code();
    // SAFETY: the caller's; the name is only used where a column's name alone would be ambiguous.
    unsafe {
        let context = pg_sys::deparse_context_for(c"row".as_ptr(), table.oid());
        let text = pg_sys::deparse_expression(expression, context, false, false);
        names::text(text).expect("a deparsed expression is never null")
    }
}

//! What a filter can make PostgreSQL call: the functions that it names, and those behind its operators, casts and
//! types.
//!
//! A role may have called what it may EXECUTE, and only what belongs to a superuser: PostgreSQL's own and what
//! superusers installed. A function of another role runs in the worker and in other people's sessions only where
//! `event_source.user_functions` allows it. The rule is looked at when a source is made, whenever its filter is
//! read, and again when something of it changed. Runs in backends and in the worker; it reads the catalogs' caches
//! and calls nothing of what it finds.

use std::collections::HashSet;
use std::ffi::c_void;

use pgrx::{pg_guard, pg_sys};

use self::types::type_of;

use super::privileges::denied;
use super::{names, written};
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::settings;

mod types;

/// Objects by OID.
type Oids = HashSet<pg_sys::Oid>;

/// What a filter calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// Functions that it names, also as operators and casts: a call needs EXECUTE.
    named: Oids,
    /// Functions that PostgreSQL calls for values of some type, without asking for a right.
    of_types: Oids,
    /// Domains that a value is made one of: their checks may call anything.
    domains: Oids,
    /// All types of its values.
    types: Oids,
}

impl Calls {
    /// # Safety
    /// `expression` is one over the columns of a table.
    pub(super) unsafe fn of(expression: *mut pg_sys::Node) -> Self {
        let mut found = Found::default();
        // SAFETY: the caller's; the visitor takes what it is given.
        unsafe { visit(expression, (&raw mut found).cast()) };
        let Found { named, read, shown } = found;
        let mut calls = Self { named, ..Self::default() };
        // First: what is made of a type is also compared.
        for of in read {
            calls.add_type(of, true);
        }
        for of in shown {
            calls.add_type(of, false);
        }
        calls
    }

    /// What a literal of a type has called.
    pub(super) fn of_literal(of: pg_sys::Oid) -> Self {
        let mut calls = Self::default();
        calls.add_type(of, true);
        calls
    }

    /// Whether the role may have all of it called.
    ///
    /// # Errors
    /// [`Kind::InsufficientPrivilege`] when it may not.
    pub(crate) fn check(&self, role: pg_sys::Oid) -> Result<()> {
        if let Some(&function) = self.named.iter().find(|&&f| !compat::may_execute(f, role)) {
            return Err(denied(role, &format!("function {}", function_name(function))));
        }
        if settings::user_functions() {
            return Ok(());
        }
        for &function in self.named.iter().chain(&self.of_types) {
            let owner = owner_of_function(function).ok_or_else(gone)?;
            require_superuser(owner, || format!("function {}", function_name(function)))?;
        }
        for &domain in &self.domains {
            let owner = type_of(domain).ok_or_else(gone)?.owner;
            require_superuser(owner, || format!("domain {}", written::type_name(domain)))?;
        }
        Ok(())
    }

    /// Where PostgreSQL's caches tell of changes of it: a cache, and a hash of what changed.
    pub(crate) fn places(&self) -> impl Iterator<Item = (i32, u32)> {
        use pg_sys::SysCacheIdentifier::{PROCOID, TYPEOID};
        let place = |cache: u32| {
            move |&oid: &pg_sys::Oid| {
                let none = pg_sys::Datum::null();
                // SAFETY: a hash of a key of these caches, which is an OID.
                let hash = unsafe {
                    pg_sys::GetSysCacheHashValue(cache as i32, oid.into(), none, none, none)
                };
                (cache as i32, hash)
            }
        };
        let functions = self.named.iter().chain(&self.of_types).map(place(PROCOID));
        functions.chain(self.types.iter().map(place(TYPEOID)))
    }
}

/// What a walk through an expression has found.
#[derive(Debug, Default)]
struct Found {
    named: Oids,
    /// Types of values that are made in the expression.
    read: Oids,
    /// Types of values that are there.
    shown: Oids,
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    use pg_sys::NodeTag as T;
    if node.is_null() {
        return false;
    }
    // SAFETY: the node is one of an expression, and says what it is; the context is `Calls::of`'s.
    unsafe {
        let found = &mut *context.cast::<Found>();
        match (*node).type_ {
            T::T_List => {}
            // Of its two functions none is asked for: they are the types'.
            T::T_CoerceViaIO | T::T_CoerceToDomain | T::T_Const => {
                found.read.insert(pg_sys::exprType(node));
            }
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            T::T_JsonExpr => {
                found.read.insert(pg_sys::exprType(node));
            }
            _ => {
                found.shown.insert(pg_sys::exprType(node));
                pg_sys::check_functions_in_node(node, Some(note), context);
            }
        }
        compat::walk_children(node, visit, context)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn note(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: the context is `Calls::of`'s.
    unsafe { &mut *context.cast::<Found>() }.named.insert(function);
    false
}

fn owner_of_function(function: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: the tuple is released after the OID was copied.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, function.into());
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()).proowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}

fn require_superuser(owner: pg_sys::Oid, what: impl FnOnce() -> String) -> Result<()> {
    // SAFETY: looks at the catalogs' caches.
    if unsafe { pg_sys::superuser_arg(owner) } {
        return Ok(());
    }
    let owner = names::role_name(owner).unwrap_or_else(|| owner.to_u32().to_string());
    Err(Error::new(
        Kind::InsufficientPrivilege,
        format!("filter cannot use {}, which belongs to role \"{owner}\"", what()),
    )
    .detail("a filter may call what belongs to a superuser: what is PostgreSQL's own, and what extensions installed")
    .hint("write it with operators and functions of PostgreSQL, or let an administrator set event_source.user_functions"))
}

fn function_name(function: pg_sys::Oid) -> String {
    // SAFETY: answers the number of a function that is gone.
    unsafe { names::text(pg_sys::format_procedure(function)) }.unwrap_or_default()
}

fn gone() -> Error {
    Error::new(Kind::SchemaChanged, "a function or a type of the event source's filter is gone")
        .hint("get a new token")
}

//! The SQL functions: each one reads its arguments and calls one function of this folder.
//!
//! Declared in `sql/source.sql`. Runs in backends.
#![expect(clippy::too_many_arguments, reason = "the signatures are those of the SQL functions")]

use std::ffi::CStr;

use pgrx::datum::{AnyArray, AnyElement, Interval, Json};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::key::Argument;
use super::mint::{Asked, Narrowing, Request, mint};
use super::{describe, keys, open, secrets};
use crate::error::{Error, Kind, raised};

type Texts = Option<Vec<Option<String>>>;

/// A null where a source should be gives null, as a null row of an outer join does.
fn answer(asked: Option<Asked>, rest: impl FnOnce(Asked) -> Request) -> Option<String> {
    asked.map(|asked| raised(mint(rest(asked))))
}

fn array(terms: Option<AnyArray>) -> Argument {
    terms.map_or(Argument::Null, |t| Argument::Typed { value: t.datum(), of: t.oid() })
}

fn element(key: Option<AnyElement>) -> Argument {
    key.map_or(Argument::Null, |k| Argument::Typed { value: k.datum(), of: k.oid() })
}

#[pg_extern(sql = false)]
fn event_source_name(
    source: Option<String>,
    terms: Option<String>,
    key: Option<String>,
    filter: Option<String>,
    params: Texts,
    fields: Texts,
    watch: Texts,
    types: Texts,
    expires_in: Option<Interval>,
) -> Option<String> {
    answer(source.map(Asked::Name), |asked| Request {
        asked,
        terms: terms.map(Argument::Text),
        key: key.map(Argument::Text),
        narrowing: Narrowing { filter, params, fields, watch, of_rows: false, types, expires_in },
    })
}

#[pg_extern(sql = false)]
fn event_source_name_terms(
    source: Option<String>,
    terms: Option<AnyArray>,
    filter: Option<String>,
    params: Texts,
    fields: Texts,
    watch: Texts,
    types: Texts,
    expires_in: Option<Interval>,
) -> Option<String> {
    answer(source.map(Asked::Name), |asked| Request {
        asked,
        terms: Some(array(terms)),
        key: None,
        narrowing: Narrowing { filter, params, fields, watch, of_rows: false, types, expires_in },
    })
}

#[pg_extern(sql = false)]
fn event_source_name_key(
    source: Option<String>,
    key: Option<AnyElement>,
    filter: Option<String>,
    params: Texts,
    fields: Texts,
    watch: Texts,
    types: Texts,
    expires_in: Option<Interval>,
) -> Option<String> {
    answer(source.map(Asked::Name), |asked| Request {
        asked,
        terms: None,
        key: Some(element(key)),
        narrowing: Narrowing { filter, params, fields, watch, of_rows: false, types, expires_in },
    })
}

#[pg_extern(sql = false)]
fn event_source_relation(
    source: Option<pg_sys::Oid>,
    terms: Option<String>,
    key: Option<String>,
    filter: Option<String>,
    params: Texts,
    fields: Texts,
    watch: Texts,
    types: Texts,
    expires_in: Option<Interval>,
) -> Option<String> {
    answer(source.map(Asked::Relation), |asked| Request {
        asked,
        terms: terms.map(Argument::Text),
        key: key.map(Argument::Text),
        narrowing: Narrowing { filter, params, fields, watch, of_rows: false, types, expires_in },
    })
}

#[pg_extern(sql = false)]
fn event_source_relation_terms(
    source: Option<pg_sys::Oid>,
    terms: Option<AnyArray>,
    filter: Option<String>,
    params: Texts,
    fields: Texts,
    watch: Texts,
    types: Texts,
    expires_in: Option<Interval>,
) -> Option<String> {
    answer(source.map(Asked::Relation), |asked| Request {
        asked,
        terms: Some(array(terms)),
        key: None,
        narrowing: Narrowing { filter, params, fields, watch, of_rows: false, types, expires_in },
    })
}

#[pg_extern(sql = false)]
fn event_source_relation_key(
    source: Option<pg_sys::Oid>,
    key: Option<AnyElement>,
    filter: Option<String>,
    params: Texts,
    fields: Texts,
    watch: Texts,
    types: Texts,
    expires_in: Option<Interval>,
) -> Option<String> {
    answer(source.map(Asked::Relation), |asked| Request {
        asked,
        terms: None,
        key: Some(element(key)),
        narrowing: Narrowing { filter, params, fields, watch, of_rows: false, types, expires_in },
    })
}

#[pg_extern(sql = false)]
fn event_source_row(
    source: Option<AnyElement>,
    filter: Option<String>,
    params: Texts,
    fields: Texts,
    watch: Texts,
    types: Texts,
    expires_in: Option<Interval>,
) -> Option<String> {
    answer(source.map(|row| Asked::Row(row.datum())), |asked| Request {
        asked,
        terms: None,
        key: None,
        narrowing: Narrowing { filter, params, fields, watch, of_rows: false, types, expires_in },
    })
}

#[pg_extern(sql = false)]
fn event_source_create_secret(
    // A datum of type name is a C string in 64 bytes.
    role: Option<&CStr>,
    expires_in: Option<Interval>,
    label: Option<&str>,
) -> String {
    let role = role.ok_or_else(|| Error::new(Kind::InvalidParameter, "role must not be null"));
    raised(role.and_then(|role| secrets::create(role, expires_in, label)))
}

#[pg_extern(sql = false)]
fn event_source_revoke_secret(id: i64) {
    raised(secrets::revoke(id));
}

#[pg_extern(sql = false)]
fn event_source_revoke(token_or_id: &str) {
    raised(open::revoke(token_or_id));
}

#[pg_extern(sql = false)]
fn event_source_rotate_key() {
    raised(keys::rotate());
}

#[pg_extern(sql = false)]
fn event_source_describe(token: &str) -> Json {
    Json(raised(describe::describe(token)))
}

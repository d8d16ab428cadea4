//! Sources: what a token defines, who may use it and where it starts.
//!
//! Guarantees that a token means what its minter was allowed to see, and nothing once that is
//! taken away. Runs in backends and in the worker. Opening a source and checking it again read
//! only: they take no transaction id, and no lock on the table.

mod calls;
mod changed;
mod collection;
mod credential;
mod describe;
mod elsewhere;
mod expression;
pub(crate) mod filter;
mod index;
mod jwt;
mod key;
mod keys;
mod lifetime;
pub(crate) mod literal;
mod mint;
mod names;
mod open;
mod private;
mod privileges;
mod regexps;
mod resolve;
mod secrets;
mod spelled;
mod sql;
#[cfg(any(test, feature = "pg_test"))]
#[path = "../../pgrx-tests/source.rs"]
mod tests;
pub(crate) mod written;

pub(crate) use calls::Calls;
pub(crate) use collection::{
    Collection, check_generation, generation_of, relation_of, schema_break, view,
};
pub(crate) use credential::{Credential, anonymous_role, check_still};
pub(crate) use index::{covered, indexes, shape_of as index_shape};
pub(crate) use jwt::{for_server as jwt_key, forget_key, is_read_anew as jwt_key_is_read_anew};
pub(crate) use key::{Argument, has_key, only_key_column};
pub(crate) use key::{key_columns, key_texts};
pub(crate) use mint::{Narrowing, define, index_set, row, token};
pub(crate) use names::{columns, owner, qualified, relation_name, role};
pub(crate) use open::{open, open_as, open_in_sql};
pub(crate) use private::credential_tables;
pub(crate) use privileges::{calls, check, may_read_all, may_read_some, require_some};

//! Whom tokens, keys and filters let in: nobody that PostgreSQL would not.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod forged;
mod functions;
mod keys;
mod limits;
mod matrix;
mod names;
mod roles;

use event_source_tests::wait::LONG;

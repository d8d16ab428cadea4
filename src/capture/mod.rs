//! Capture: from a row that changes to a [`Change`](event_source_model::change::Change).
//!
//! It guarantees that every row that an INSERT, UPDATE, DELETE, COPY or TRUNCATE touches in a
//! captured table is handed to the log with complete images, whoever wrote it and whatever their
//! settings. It runs in the writers' backends, inside their transactions.
//!
//! - [`encode`]: a value, whatever its type, to a [`Value`](event_source_model::value::Value)
//! - [`nested`]: arrays and composites
//! - [`text`]: text in the server's encoding
//! - [`generated`]: virtual generated columns, computed
//! - [`version`]: which command made or ended a row version
//! - [`catalog`]: what the catalogs say about a table and its root, read without locks
//! - [`table`]: what a relation's rows look like, cached until it changes
//! - [`trigger`]: the row trigger
//! - [`scan`]: every row of a table at once
//! - [`selected`]: rows that a query reads
//! - [`truncate`]: the TRUNCATE triggers; [`truncated`]: what is written in the middle of one
//! - [`tree`]: which tables can be captured
//! - [`register`]: `event_source.capture` and `event_source.release`
//! - [`redact`]: a row's past erased, `event_source.redact`
//! - [`ddl`]: the event trigger that keeps partitions captured
//! - [`breaks`]: rewrites and other primary keys, which end all sources of a table
//! - [`dropped`]: partitions that are dropped with their rows

mod breaks;
mod catalog;
mod ddl;
mod dropped;
mod encode;
mod generated;
mod nested;
mod redact;
mod register;
mod scan;
mod selected;
mod table;
mod text;
mod tree;
mod trigger;
mod truncate;
pub mod truncated;
mod version;

pub(crate) use selected::Selected;

/// Called once, when the library is loaded.
pub fn init() {
    table::watch_invalidations();
    dropped::init();
}

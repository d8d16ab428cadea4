//! Queries: rows and event sources for clients that name them, as Fauna's do, rather than bring a token.
//!
//! Guarantees that all parts of an answer are of one snapshot, behind which its event sources start, and
//! that nothing of a query reaches PostgreSQL but quoted names and parameters. Runs in the worker, as
//! the role of the client's secret, in a transaction that only reads.
//!
//! - [`mod@answer`]: an answer, part by part
//! - [`define`]: which rows are meant
//! - [`version`]: which changes of a row are in an answer
//! - [`named`]: collections, indexes and fields by the names that queries call them

mod answer;
mod define;
mod named;
mod version;

pub(crate) use answer::answer;

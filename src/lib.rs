//! `event_source`: any table becomes something that clients can follow.
//!
//! This crate is what touches PostgreSQL: it runs in the writers' backends and in the worker, on
//! their only thread. `docs/architecture.md` is the map. The modules stand in the order in which a
//! change passes through them.

#[cfg(not(panic = "unwind"))]
compile_error!("PostgreSQL's errors pass through Rust by unwinding: build with panic = \"unwind\"");

mod compat;
mod error;
mod pg;
mod settings;

mod cage;

mod capture;
mod order;

mod log;

mod source;

mod matching;

mod feed;

mod rows;

mod query;

mod worker;

::pgrx::pg_module_magic!();

::pgrx::extension_sql_file!("../sql/tables.sql", name = "tables", bootstrap);
::pgrx::extension_sql_file!("../sql/prepared.sql", name = "prepared", requires = ["tables"]);
::pgrx::extension_sql_file!("../sql/capture.sql", name = "capture", requires = ["tables"]);
// After all tables, and before the event triggers, which would look after each of these commands.
::pgrx::extension_sql_file!("../sql/rights.sql", name = "rights", requires = ["prepared"]);
::pgrx::extension_sql_file!("../sql/ddl.sql", name = "ddl", requires = ["capture", "rights"]);
::pgrx::extension_sql_file!("../sql/source.sql", name = "source", requires = ["ddl"]);
::pgrx::extension_sql_file!("../sql/feed.sql", name = "feed", requires = ["source"]);
::pgrx::extension_sql_file!("../sql/replication.sql", name = "replication", requires = ["feed"]);
::pgrx::extension_sql_file!("../sql/views.sql", name = "views", finalize);

/// Called by the postmaster when it loads the library, and by a backend that finds it not loaded.
#[::pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // SAFETY: a flag of the server's, read on its only thread.
    if !unsafe { ::pgrx::pg_sys::process_shared_preload_libraries_in_progress } {
        // Every function that needs the shared memory says so itself, with a hint.
        return;
    }
    settings::init();
    pg::server_log::init();
    order::init();
    log::segment::init();
    capture::init();
    cage::init();
    worker::init();
}

#[cfg(test)]
#[path = "../pgrx-tests/setup.rs"]
pub mod pg_test;

//! The executable `event_source_server`, started by the `event_source` worker and by nobody else.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// It gives memory back that nobody uses any more; see `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    event_source_server::start()
}

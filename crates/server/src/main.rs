//! The executable `event_source_server`, started by the `event_source` worker and by nobody else.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    event_source_server::start()
}

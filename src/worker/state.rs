//! What a worker does, as `event_source.status` and `pg_stat_activity` say it.
//!
//! It is written by the worker alone and read by any backend: one number in the worker's place in shared memory.

use std::ffi::CStr;
use std::sync::atomic::Ordering::SeqCst;

use super::backend;
use crate::order::shared::Worker;

/// 0 stands for a place without a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum State {
    WaitsForExtension = 1,
    WaitsForAddress,
    /// The server was started and has not said hello; or it ended a moment ago.
    Starts,
    /// There is an executable of another version, or none that can be started: the log says what is wrong.
    CannotStart,
    Serves,
    /// The server was asked whether it is there, and has not answered yet.
    NoAnswer,
}

const ALL: [State; 6] = [
    State::WaitsForExtension,
    State::WaitsForAddress,
    State::Starts,
    State::CannotStart,
    State::Serves,
    State::NoAnswer,
];

impl State {
    fn text(self) -> &'static CStr {
        match self {
            Self::WaitsForExtension => c"waiting for CREATE EXTENSION event_source",
            Self::WaitsForAddress => c"waiting for its address",
            Self::Starts => c"starting its server",
            Self::CannotStart => c"its server cannot be started",
            Self::Serves => c"serving",
            Self::NoAnswer => c"its server does not answer",
        }
    }

    /// Enters a state, in the worker; nothing to do when it is in it.
    pub(super) fn enter(self, place: &Worker) {
        // Only looked at in most turns: committers read the same cache line.
        if place.state.load(SeqCst) != self as u32 {
            place.state.store(self as u32, SeqCst);
            backend::report_activity(self.text());
        }
    }

    /// What the worker of a place does; `None` when there is none.
    pub(super) fn read(place: &Worker) -> Option<String> {
        let number = place.state.load(SeqCst);
        let state = ALL.into_iter().find(|state| *state as u32 == number)?;
        Some(state.text().to_string_lossy().into_owned())
    }
}

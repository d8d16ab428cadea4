//! The worker: one background worker for each database of `event_source.listen`, and its child
//! process, the server.
//!
//! It guarantees that everything up to the closed timestamp reaches the server once and in order,
//! that the server can die in any way without a session noticing, and that nothing is left behind
//! when PostgreSQL stops. All of it is single-threaded; no thread ever runs inside a PostgreSQL
//! process.
//!
//! - [`launcher`]: starts and stops workers as the setting says
//! - [`started`]: a background worker that the launcher started
//! - [`process`]: the life of one worker
//! - [`backend`]: worker and launcher as PostgreSQL processes: signals, settings, waiting
//! - [`state`]: what it is doing, for people
//! - [`child`]: the server process: started, watched, ended; [`confine`]: what it starts without;
//!   [`confined`]: what of that holds, as the kernel tells
//! - [`sockets`]: the listening sockets, which outlive the server
//! - [`pipe`]: the worker's end of the door
//! - [`sources`]: the definitions that are evaluated for open streams; [`of_roles`]: how many each role has
//! - [`grants`]: what the streams were opened by; [`rights`]: whether it may have changed;
//!   [`review`]: looking at it again
//! - [`tail`]: what was committed since the last look; [`found`]: what of it somebody sees
//! - [`prepared`]: stamps for prepared transactions that nobody else stamps
//! - [`requests`]: what the server has asked; [`answer`]: how that is done
//! - [`keepers`]: the launcher's side of them: when to start one
//! - [`keeper`]: a process that looks after one database's log and ends
//! - [`status`]: what `event_source.status` shows

mod answer;
mod backend;
mod child;
mod confine;
mod confined;
mod found;
mod grants;
mod keeper;
mod keepers;
pub mod launcher;
mod of_roles;
mod pipe;
mod prepared;
mod process;
mod requests;
mod review;
mod rights;
mod sockets;
mod sources;
mod started;
mod state;
mod status;
mod tail;

/// Called once, in the postmaster.
pub fn init() {
    launcher::register();
}

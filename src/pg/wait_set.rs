//! What a process waits for: its latch, and a socket.
//!
//! Kept from one wait to the next. `WaitLatchOrSocket` makes and destroys such a set each time: six
//! calls of the kernel around the one that waits.

use std::os::fd::RawFd;
use std::time::Duration;

use pgrx::pg_sys;

use crate::compat;

/// The latch, a socket and the end of the postmaster.
#[derive(Debug)]
pub struct WaitSet {
    set: *mut pg_sys::WaitEventSet,
    /// Where the socket is in it.
    socket: i32,
    events: u32,
}

impl WaitSet {
    /// The socket must be open for as long as this lives.
    pub fn of(socket: RawFd) -> Self {
        const EVENTS: i32 = 3;
        let set = compat::create_wait_set(EVENTS);
        let (none, nothing) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a new set with room for three events; the process's own latch outlives it.
        let socket = unsafe {
            let (latch, no_socket) = (pg_sys::MyLatch, pg_sys::PGINVALID_SOCKET);
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, no_socket, latch, nothing);
            let death = pg_sys::WL_EXIT_ON_PM_DEATH;
            pg_sys::AddWaitEventToSet(set, death, no_socket, none, nothing);
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_SOCKET_READABLE, socket, none, nothing)
        };
        Self { set, socket, events: pg_sys::WL_SOCKET_READABLE }
    }

    /// Waits for the latch, until the socket can be read, or written, or for whole milliseconds to pass; ends with the
    /// postmaster. A socket is waited for in one way at least: to be read when in no other.
    pub fn wait(&mut self, for_room: bool, for_bytes: bool, timeout: Duration) {
        let timeout = timeout.as_millis().min(60_000) as std::ffi::c_long;
        // SAFETY: the set is this one's, and so is the latch; one event is written.
        unsafe {
            let room = if for_room { pg_sys::WL_SOCKET_WRITEABLE } else { 0 };
            let bytes = if for_bytes || !for_room { pg_sys::WL_SOCKET_READABLE } else { 0 };
            if room | bytes != self.events {
                self.events = room | bytes;
                let none = std::ptr::null_mut();
                pg_sys::ModifyWaitEvent(self.set, self.socket, self.events, none);
            }
            let mut happened: pg_sys::WaitEvent = std::mem::zeroed();
            let why = pg_sys::PG_WAIT_EXTENSION;
            pg_sys::WaitEventSetWait(self.set, timeout, &raw mut happened, 1, why);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
    }
}

impl Drop for WaitSet {
    fn drop(&mut self) {
        // SAFETY: made in `of`, and used by nobody any more.
        unsafe { pg_sys::FreeWaitEventSet(self.set) };
    }
}

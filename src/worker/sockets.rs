//! The listening sockets of a worker.
//!
//! They belong to the worker and are only lent to the server: while the server is started anew
//! they stay open, and clients that connect in between wait instead of being refused.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;

use event_source_door::listen;

use crate::settings;

/// Binds the addresses that the setting names for a database.
///
/// # Errors
/// With the address that could not be had; none is kept then.
pub fn bind(database: &str) -> io::Result<Vec<TcpListener>> {
    let list = listen::parse(&settings::listen()).map_err(io::Error::other)?;
    list.into_iter()
        .filter(|entry| entry.database == database)
        .map(|entry| {
            TcpListener::bind(entry.address).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {}: {error}", entry.address))
            })
        })
        .collect()
}

/// Whether the setting still names for the database what the sockets are bound to.
pub fn still_wanted(database: &str, sockets: &[TcpListener]) -> bool {
    // A setting that cannot be read changes nothing.
    let Ok(list) = listen::parse(&settings::listen()) else { return true };
    let wanted: Vec<_> =
        list.into_iter().filter(|l| l.database == database).map(|l| l.address).collect();
    let bound: Vec<_> = sockets.iter().filter_map(|s| s.local_addr().ok()).collect();
    wanted == bound
}

/// Whether all of them still listen. Lent is shared: a server that was taken over can shut them down for good.
pub fn are_alive(sockets: &[TcpListener]) -> bool {
    sockets.iter().all(|socket| {
        let (mut listens, mut size) = (0, size_of::<libc::c_int>() as libc::socklen_t);
        let at = (&raw mut listens).cast();
        let (level, option) = (libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
        // SAFETY: an open socket, and room for an int.
        let result =
            unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, at, &raw mut size) };
        result == 0 && listens == 1_i32
    })
}

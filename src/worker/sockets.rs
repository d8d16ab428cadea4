//! The listening sockets of a worker.
//!
//! They belong to the worker and are only lent to the server: while the server is started anew
//! they stay open, and clients that connect in between wait instead of being refused.

use std::io;
use std::net::TcpListener;

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

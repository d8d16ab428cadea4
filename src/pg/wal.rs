//! The write-ahead log.

use pgrx::pg_sys;

/// Bytes at the beginning of a page, and of the first page of a file.
const PAGE_HEADER: u64 = 24;
const FILE_HEADER: u64 = 40;

/// Makes everything durable that anybody has seen until now.
///
/// A transaction with `synchronous_commit = off` is seen before it is durable. Does nothing on a standby,
/// which replays only what is.
pub fn flush_inserted() {
    // SAFETY: reads shared state; flushing up to what was inserted waits for whoever still writes it.
    unsafe {
        if !pg_sys::RecoveryInProgress() {
            pg_sys::XLogFlush(end_of_record(pg_sys::GetXLogInsertRecPtr()));
        }
    }
}

/// Where the next record would begin is behind the header of a page that is not begun yet. To flush as far
/// as there would be more than there is, of which PostgreSQL complains in its log.
fn end_of_record(insert: u64) -> u64 {
    // SAFETY: set when the server started.
    let file = u64::try_from(unsafe { pg_sys::wal_segment_size }).unwrap_or(u64::MAX);
    let page = u64::from(pg_sys::XLOG_BLCKSZ);
    match (insert % file, insert % page) {
        (FILE_HEADER, _) => insert - FILE_HEADER,
        (in_file, PAGE_HEADER) if in_file > page => insert - PAGE_HEADER,
        _ => insert,
    }
}

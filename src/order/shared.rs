//! The shared memory of the extension: the clock, a slot for each backend, what is known of each
//! database, and the workers.
//!
//! Laid out once by the postmaster, never grown. Nothing in it belongs to one process: no pointer,
//! no file descriptor; a restarted process finds nothing of its predecessor's to trip over.

use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64};

use event_source_clock::{Clock, Slot};
use pgrx::pg_sys;

use crate::compat;
use crate::error::Result;
use crate::log::SEGMENTS;
use crate::order::prepared::Pending;

/// Databases with captured tables in one cluster; the next one is primed by every backend anew.
const DATABASES: usize = 512;
/// Databases that `event_source.listen` can name.
pub const WORKERS: usize = 64;
const NAME: &std::ffi::CStr = c"event_source";
/// Shared memory is handed out at 32 bytes or more; cache lines are 64.
const LINE: usize = 64;

/// What all processes of the cluster share.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    pub clock: Clock,
    databases: [Database; DATABASES],
    places: [Worker; WORKERS],
    /// So many of the first places have had a worker.
    filled: AtomicU32,
    /// Raised by each launcher that starts; workers of an older one end.
    pub launcher: AtomicU32,
    /// The launcher's number among the processes, for its latch; -1 before it started.
    pub launcher_proc: AtomicI32,
    slots: usize,
}

/// What is known of one database's log since the server started.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Database {
    /// 0 while unused.
    oid: AtomicU32,
    /// The clock is above everything in the log, and `newest` is true.
    pub primed: AtomicBool,
    /// The segment into which transactions write that capture their first change now.
    pub segment: AtomicU32,
    /// For each segment an upper bound of the stamps in it, so that readers skip the others.
    pub newest: [AtomicI64; SEGMENTS],
    /// Everything up to here was let go; 0 while nothing was.
    pub floor: AtomicI64,
    /// Bytes written to the log since its keeper last looked.
    pub written: AtomicU64,
    /// How often a keeper did all that was to do.
    pub visits: AtomicU64,
    /// Segments, as bits, that should be emptied or rewritten and that somebody holds on to.
    pub stuck: AtomicU32,
    /// The keeper left something for its next visit.
    pub unfinished: AtomicBool,
    /// Prepared transactions that may wait for their stamp.
    pub prepared: Pending,
}

impl Database {
    /// An upper bound of every stamp in the log.
    pub fn newest_stamp(&self) -> i64 {
        self.newest.iter().map(|newest| newest.load(SeqCst)).max().unwrap_or(0)
    }
}

/// A worker's place. The launcher claims it, the worker fills it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Worker {
    /// The database it serves, 0 while it serves none.
    pub database: AtomicU32,
    pub pid: AtomicI32,
    /// What it waits for, see [`super::wake`]; whoever swaps it to 0 sets its latch.
    pub waiting: AtomicU32,
    /// Its number among the processes, for its latch.
    pub proc_number: AtomicI32,
    /// The closed timestamp up to which it has sent everything.
    pub published: AtomicI64,
    /// How often it started its server.
    pub servers_started: AtomicU64,
    pub server_pid: AtomicI32,
    pub streams: AtomicU32,
    /// What it does, see `worker::state`.
    pub state: AtomicU32,
    /// What its server says it has given up, see `worker::confined`.
    pub confined: AtomicU32,
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// Asks for the memory; called in the postmaster.
pub fn init() {
    compat::on_shared_memory(request, startup);
}

/// The shared memory.
///
/// # Errors
/// [`crate::error::Kind::NotLoaded`] when the postmaster did not load the library.
pub fn get() -> Result<&'static Shared> {
    let shared = SHARED.load(SeqCst);
    if shared.is_null() {
        return Err(super::not_loaded());
    }
    // SAFETY: set once by `startup`, to memory that lives as long as the process.
    Ok(unsafe { &*shared })
}

impl Shared {
    /// One slot for each backend.
    pub fn slots(&self) -> &[Slot] {
        // SAFETY: `startup` laid out `slots` initialised slots right behind this struct.
        unsafe {
            let first = ptr::from_ref(self).add(1).cast::<Slot>();
            std::slice::from_raw_parts(first, self.slots)
        }
    }

    /// The slot of this backend.
    pub fn my_slot(&self) -> &Slot {
        &self.slots()[compat::my_backend_index()]
    }

    /// A worker that starts gets the place that the launcher chose. Before it says for the first time that it
    /// waits, so that whoever commits behind that finds it there.
    pub fn fill_place(&self, place: usize) -> &Worker {
        self.filled.fetch_max(place as u32 + 1, SeqCst);
        &self.places[place]
    }

    /// The workers of now, and places of earlier ones. The places that never had one are some sixty cache
    /// lines, at which each commit would look.
    pub fn workers(&self) -> &[Worker] {
        &self.places[..self.filled.load(SeqCst) as usize]
    }

    /// The databases that somebody used since the server started.
    pub fn databases_in_use(&self) -> impl Iterator<Item = (pg_sys::Oid, &Database)> {
        let used = |entry: &&Database| entry.primed.load(SeqCst);
        self.databases.iter().filter(used).map(|e| (e.oid.load(SeqCst).into(), e))
    }

    /// What is known of a database; `None` when more of them are in use than there are places.
    pub fn database(&self, oid: pg_sys::Oid) -> Option<&Database> {
        let oid = oid.to_u32();
        self.databases.iter().find(|entry| {
            // To exchange takes the cache line away from all other processors, whatever is found there.
            let mut holder = entry.oid.load(SeqCst);
            if holder == 0 {
                let taken = entry.oid.compare_exchange(0, oid, SeqCst, SeqCst);
                holder = taken.err().unwrap_or(oid);
            }
            holder == oid
        })
    }
}

fn size() -> usize {
    let slots = compat::max_backends();
    LINE + size_of::<Shared>() + slots * size_of::<Slot>()
}

fn request() {
    // SAFETY: called in the phase in which shared memory may be requested.
    unsafe { pg_sys::RequestAddinShmemSpace(size()) }
}

fn startup() {
    let slots = compat::max_backends();
    let mut found = false;
    // SAFETY: the lock keeps other processes from laying the memory out at the same time; the
    // memory is at least `size()` bytes, and after the alignment everything fits.
    unsafe {
        let lock = compat::addin_shmem_init_lock();
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let memory = pg_sys::ShmemInitStruct(NAME.as_ptr(), size(), &mut found).cast::<u8>();
        let shared = memory.add(memory.align_offset(LINE)).cast::<Shared>();
        if !found {
            // All zero is the valid empty state of every part but the slots.
            ptr::write_bytes(shared, 0, 1);
            (*shared).slots = slots;
            (*shared).launcher_proc = AtomicI32::new(-1);
            let first = shared.add(1).cast::<Slot>();
            for at in 0..slots {
                first.add(at).write(Slot::default());
            }
        }
        pg_sys::LWLockRelease(lock);
        SHARED.store(shared, SeqCst);
    }
}

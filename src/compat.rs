//! Everything that differs between the versions of PostgreSQL, and nothing else.

mod files;
mod shared_memory;
mod virtual_columns;
mod walk;

use std::ffi::{CStr, c_int, c_void};

use pgrx::prelude::*;

pub use files::{oldest_needed, reindex, set_new_files};
pub use virtual_columns::virtual_columns;
pub(crate) use walk::{walk_children, walk_raw_children};

/// Calls `request` and `startup` when shared memory is laid out.
#[cfg(any(feature = "pg13", feature = "pg14"))]
pub fn on_shared_memory(request: fn(), startup: fn()) {
    request();
    shared_memory::chain(None, startup);
}

/// Calls `request` and `startup` when shared memory is laid out.
#[cfg(not(any(feature = "pg13", feature = "pg14")))]
pub fn on_shared_memory(request: fn(), startup: fn()) {
    shared_memory::chain(Some(request), startup);
}

#[cfg(any(feature = "pg13", feature = "pg14"))]
unsafe extern "C" {
    // Settings whose headers are not bound.
    static autovacuum_max_workers: c_int;
    static max_wal_senders: c_int;
}

/// How many backends there can be. Before 15 it is not yet computed when libraries are loaded.
pub fn max_backends() -> usize {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: settings, already read when libraries are loaded.
    let count = unsafe {
        pg_sys::MaxConnections
            + autovacuum_max_workers
            + 1
            + pg_sys::max_worker_processes
            + max_wal_senders
    };
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: final from the shared memory request on.
    let count = unsafe { pg_sys::MaxBackends };
    usize::try_from(count).expect("MaxBackends is positive")
}

/// This backend's number, from 0, below [`max_backends`].
pub fn my_backend_index() -> usize {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: set before the backend runs any SQL; counts from 1.
    let index = unsafe { pg_sys::MyBackendId } - 1;
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    // SAFETY: set before the backend runs any SQL.
    let index = unsafe { pg_sys::MyProcNumber };
    usize::try_from(index).expect("a backend that runs SQL has its number")
}

/// The number by which another process finds this one's latch.
pub fn my_proc_number() -> i32 {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: MyProc is set in every process that is attached to shared memory.
    let number = unsafe { (*pg_sys::MyProc).pgprocno };
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    // SAFETY: as above.
    let number = unsafe { pg_sys::MyProcNumber };
    number
}

/// AddinShmemInitLock, which is a macro in C.
///
/// # Safety
/// Shared memory must be attached.
pub unsafe fn addin_shmem_init_lock() -> *mut pg_sys::LWLock {
    const ADDIN_SHMEM_INIT_LOCK: usize = 21;
    // SAFETY: the caller's; the number is the same in lwlocknames of all supported versions.
    unsafe { &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock }
}

/// The timeline that this server writes or replays.
pub fn timeline() -> u32 {
    // SAFETY: all of these only read state.
    unsafe {
        if pg_sys::RecoveryInProgress() {
            let mut timeline = 0;
            pg_sys::GetXLogReplayRecPtr(&mut timeline);
            return timeline;
        }
        #[cfg(any(feature = "pg13", feature = "pg14"))]
        return pg_sys::ThisTimeLineID;
        #[cfg(not(any(feature = "pg13", feature = "pg14")))]
        return pg_sys::GetWALInsertionTimeLine();
    }
}

/// Begins an index scan.
///
/// # Safety
/// As `index_beginscan`: both relations are open and locked, the snapshot is registered or active.
pub unsafe fn index_beginscan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(heap, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(heap, index, snapshot, std::ptr::null_mut(), keys, 0);
    }
}

/// Inserts one index entry for a heap tuple, without a uniqueness check.
///
/// # Safety
/// As `index_insert`: relations open and locked, the arrays as long as the index has columns.
pub unsafe fn index_insert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    tid: pg_sys::ItemPointer,
    heap: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) {
    let unchecked = pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO;
    // SAFETY: the caller's.
    unsafe {
        #[cfg(feature = "pg13")]
        pg_sys::index_insert(index, values, nulls, tid, heap, unchecked, info);
        #[cfg(not(feature = "pg13"))]
        pg_sys::index_insert(index, values, nulls, tid, heap, unchecked, false, info);
    }
}

/// A set of events to wait for, which lives until it is freed.
pub fn create_wait_set(events: i32) -> *mut pg_sys::WaitEventSet {
    // SAFETY: a context that lives as long as the process; no owner takes the set away.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return pg_sys::CreateWaitEventSet(std::ptr::null_mut(), events);
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        return pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, events);
    }
}

/// Installs a signal handler of the server's.
pub fn on_signal(signal: i32, handler: unsafe extern "C-unwind" fn(i32)) {
    // SAFETY: a handler that is safe in a signal, on the process's only thread.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal, Some(handler));
    }
}

/// The kind of multiranges in `pg_type`; no type of version 13 has it.
pub const TYPTYPE_MULTIRANGE: u8 = b'm';

/// A setting by its name, which lives as long as the process; `None` where this version has none.
pub fn setting(name: &CStr) -> Option<std::ptr::NonNull<pg_sys::config_generic>> {
    // SAFETY: the server's list of its settings, as long as it says; each has a name.
    unsafe {
        #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
        let (list, count) = (pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions());
        #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
        let (list, count) = {
            let mut count = 0;
            (pg_sys::get_guc_variables(&mut count), count)
        };
        let all = std::slice::from_raw_parts(list, count as usize);
        let named = all.iter().find(|setting| CStr::from_ptr((***setting).name) == name);
        named.and_then(|setting| std::ptr::NonNull::new(*setting))
    }
}

/// Calls `check` before each utility statement; it may raise.
pub fn refuse_statements(check: unsafe extern "C-unwind" fn()) {
    utility::check_before(check);
}

/// Ends the process in order, with its exit callbacks.
///
/// # Safety
/// On the process's only thread, outside a transaction.
pub unsafe fn exit_process(code: i32) -> ! {
    // SAFETY: the caller's promise.
    unsafe { pg_sys::proc_exit(code) }
    #[cfg(feature = "pg18")]
    // Its header says so in a way that the bindings do not take over.
    unreachable!("proc_exit does not return");
}

/// The process id and the transaction of the backend with this number, if there is one.
pub fn backend_of_index(index: usize) -> Option<(i32, pg_sys::TransactionId)> {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: the array and its length are those of shared memory; what is read may be a moment
    // old and is only shown.
    unsafe {
        let all = (*pg_sys::ProcGlobal).allProcs;
        let count = (*pg_sys::ProcGlobal).allProcCount as usize;
        let mut processes = (0..count).map(|at| &*all.add(at));
        let found = processes.find(|p| p.backendId == index as i32 + 1 && p.pid != 0)?;
        #[cfg(feature = "pg13")]
        return Some((
            found.pid,
            (*pg_sys::ProcGlobal).allPgXact.add(found.pgprocno as usize).read().xid,
        ));
        #[cfg(not(feature = "pg13"))]
        Some((found.pid, found.xid))
    }
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    // SAFETY: as above; the number of a process is its place in the array.
    unsafe {
        let found = &*(*pg_sys::ProcGlobal).allProcs.add(index);
        (found.pid != 0).then_some((found.pid, found.xid))
    }
}

/// The columns of a row type.
///
/// # Safety
/// The row type lives for `'a`.
pub unsafe fn attributes<'a>(row: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: the caller's promise; `natts` columns follow, from version 18 on behind as many
    // compact ones.
    unsafe {
        let count = (*row).natts as usize;
        #[cfg(not(feature = "pg18"))]
        let first = (*row).attrs.as_ptr();
        #[cfg(feature = "pg18")]
        let first = (*row).compact_attrs.as_ptr().add(count).cast();
        std::slice::from_raw_parts(first, count)
    }
}

/// The text of a `name`.
pub fn name(name: &pg_sys::NameData) -> String {
    // SAFETY: PostgreSQL ends every name with a zero byte within its array.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }.to_string_lossy().into_owned()
}

/// The index of the primary key, an invalid OID when there is none.
///
/// # Safety
/// The relation is open.
pub unsafe fn primary_key(relation: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation);
        #[cfg(feature = "pg18")]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation, false);
        index
    }
}

unsafe extern "C-unwind" {
    #[cfg_attr(
        not(any(feature = "pg13", feature = "pg14")),
        link_name = "setup_parse_variable_parameters"
    )]
    fn parse_variable_parameters(
        pstate: *mut pg_sys::ParseState,
        types: *mut *mut pg_sys::Oid,
        count: *mut c_int,
    );
    fn get_partition_ancestors(relation: pg_sys::Oid) -> *mut pg_sys::List;
}

/// Lets `$n` in an expression take its type from where it stands.
///
/// # Safety
/// `types` and `count` must live as long as `pstate`.
pub(crate) unsafe fn infer_parameters(
    pstate: *mut pg_sys::ParseState,
    types: *mut *mut pg_sys::Oid,
    count: *mut c_int,
) {
    // SAFETY: the header of this function is not bound, so the ERROR boundary is put here by hand.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| parse_variable_parameters(pstate, types, count));
    }
}

/// The table at the root of a partition's tree.
pub(crate) fn partition_root(partition: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: reads the catalogs; its header is not bound either.
    let ancestors =
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| get_partition_ancestors(partition)) };
    // SAFETY: a list of OIDs, from the parent up to the root.
    let ancestors = unsafe { pgrx::PgList::<pg_sys::Oid>::from_pg(ancestors) };
    ancestors.iter_oid().last()
}

/// Parses the text of one expression, as the target list of a SELECT.
///
/// # Safety
/// In a memory context that outlives the tree.
#[cfg(not(feature = "pg13"))]
pub(crate) unsafe fn parse_expression(text: &CStr) -> *mut pg_sys::List {
    // SAFETY: the caller's.
    unsafe { pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_PLPGSQL_EXPR) }
}

/// See above; PostgreSQL 13 has no entry for expressions.
///
/// # Safety
/// In a memory context that outlives the tree.
#[cfg(feature = "pg13")]
pub(crate) unsafe fn parse_expression(text: &CStr) -> *mut pg_sys::List {
    let whole = std::ffi::CString::new([b"SELECT ", text.to_bytes()].concat())
        .expect("a C string has no zero inside");
    // SAFETY: the parser copies what it keeps.
    unsafe { pg_sys::raw_parser(whole.as_ptr()) }
}

/// What rewrites one node of an expression.
pub(crate) type Mutator =
    unsafe extern "C-unwind" fn(node: *mut pg_sys::Node, context: *mut c_void) -> *mut pg_sys::Node;

/// Copies an expression, with `mutator` called for every child.
///
/// # Safety
/// `node` is an expression, `context` what `mutator` takes.
pub(crate) unsafe fn mutate_children(
    node: *mut pg_sys::Node,
    mutator: Mutator,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: these versions declare the callback without its arguments, and pass both.
    unsafe {
        let untyped = std::mem::transmute::<
            Mutator,
            unsafe extern "C-unwind" fn() -> *mut pg_sys::Node,
        >(mutator);
        pg_sys::expression_tree_mutator(node, Some(untyped), context)
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: the caller's.
    unsafe {
        pg_sys::expression_tree_mutator_impl(node, Some(mutator), context)
    }
}

/// Whether the role may look up names in the schema.
pub(crate) fn may_use_schema(schema: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let mode = pg_sys::ACL_USAGE as pg_sys::AclMode;
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: reads the catalogs.
    let answer = unsafe { pg_sys::pg_namespace_aclcheck(schema, role, mode) };
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: reads the catalogs.
    let answer =
        unsafe { pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, role, mode) };
    answer == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether the role may call the function.
pub(crate) fn may_execute(function: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let mode = pg_sys::ACL_EXECUTE as pg_sys::AclMode;
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: reads the catalogs.
    let answer = unsafe { pg_sys::pg_proc_aclcheck(function, role, mode) };
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: reads the catalogs.
    let answer =
        unsafe { pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, role, mode) };
    answer == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether the role may connect to this database.
pub(crate) fn may_connect(role: pg_sys::Oid) -> bool {
    let mode = pg_sys::ACL_CONNECT as pg_sys::AclMode;
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: reads the catalogs; the database is set when the process connects.
    let answer = unsafe { pg_sys::pg_database_aclcheck(pg_sys::MyDatabaseId, role, mode) };
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: as above.
    let answer = unsafe {
        pg_sys::object_aclcheck(pg_sys::DatabaseRelationId, pg_sys::MyDatabaseId, role, mode)
    };
    answer == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether `member` may take the role `role` with SET ROLE.
pub(crate) fn may_set_role(member: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: reads the catalogs.
    unsafe {
        pg_sys::is_member_of_role(member, role)
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: reads the catalogs.
    unsafe {
        pg_sys::member_can_set_role(member, role)
    }
}

/// The text of a name in a parse tree.
///
/// # Safety
/// `node` is a name.
pub(crate) unsafe fn string_value(node: *mut pg_sys::Node) -> *const std::ffi::c_char {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: the caller's.
    unsafe {
        (*node.cast::<pg_sys::Value>()).val.str_
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: the caller's.
    unsafe {
        (*node.cast::<pg_sys::String>()).sval
    }
}

/// Whether `role` owns the table, by membership or as a superuser.
pub fn owns_table(role: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    // SAFETY: reads the system caches.
    unsafe {
        #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
        return pg_sys::pg_class_ownercheck(table, role);
        #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, table, role);
    }
}

/// Whether a part of ALTER TABLE is ATTACH PARTITION.
pub fn attaches_partition(kind: pg_sys::AlterTableType::Type) -> bool {
    kind == pg_sys::AlterTableType::AT_AttachPartition
}

/// Whether a part of ALTER TABLE is DETACH PARTITION, in any of its forms.
pub fn detaches_partition(kind: pg_sys::AlterTableType::Type) -> bool {
    use pg_sys::AlterTableType as K;
    #[cfg(feature = "pg13")]
    return kind == K::AT_DetachPartition;
    #[cfg(not(feature = "pg13"))]
    return kind == K::AT_DetachPartition || kind == K::AT_DetachPartitionFinalize;
}

/// Calls `after` when a utility statement for which `concerns` is true has succeeded. Neither may
/// fail: see [`utility`].
pub fn on_utility(concerns: fn(*mut pg_sys::Node) -> bool, after: fn()) {
    utility::chain(concerns, after);
}

mod utility;

/// Whether this transaction holds the exclusive lock of an object that is no relation.
pub fn holds_exclusively(class: pg_sys::Oid, object: pg_sys::Oid) -> bool {
    // SAFETY: the tag is filled as SET_LOCKTAG_OBJECT does it; the rest only reads.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: class.to_u32(),
            locktag_field3: object.to_u32(),
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        let mode = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        let held = pg_sys::LockHeldByMe(&tag, mode);
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let held = pg_sys::LockHeldByMe(&tag, mode, false);
        held
    }
}

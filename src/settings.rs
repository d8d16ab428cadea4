//! The settings, all read again on SIGHUP.
//!
//! They must be read on the main thread of a PostgreSQL process; the server gets a copy of those it
//! needs through the door.

mod surface;

use std::ffi::{CStr, CString};
use std::fmt::Display;
use std::time::Duration;

use event_source_door::listen;
use event_source_door::message::{Config, JwtKey};
use event_source_model::net::Sequence;
use event_source_model::ring::Policy;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static LISTEN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static STATUS_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(15_000);
static TOKEN_LIFETIME: GucSetting<i32> = GucSetting::<i32>::new(86_400);
static MAX_CLIENTS: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static MAX_STREAMS: GucSetting<i32> = GucSetting::<i32>::new(50_000);
static REQUIRE_SECRET: GucSetting<bool> = GucSetting::<bool>::new(false);
static CORS_ORIGINS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static ANONYMOUS_ROLE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static JWT_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static JWT_PARENT_ROLE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static SUPERUSER_TOKENS: GucSetting<bool> = GucSetting::<bool>::new(false);
static USER_FUNCTIONS: GucSetting<bool> = GucSetting::<bool>::new(false);
static MAX_REGEXPS: GucSetting<i32> = GucSetting::<i32>::new(8);
static MAX_SOURCES: GucSetting<i32> = GucSetting::<i32>::new(20_000);
static MAX_FILTERS: GucSetting<i32> = GucSetting::<i32>::new(2_000);
static MAX_CAPTURES: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static WORKER_THREADS: GucSetting<i32> = GucSetting::<i32>::new(2);
static RETENTION: GucSetting<i32> = GucSetting::<i32>::new(86_400);
static MAX_LOG_SIZE: GucSetting<i32> = GucSetting::<i32>::new(10 * 1024 * 1024);
static TAIL_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static EXPRESSION_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(150);
static EXPRESSION_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static SOURCE_TIME: GucSetting<i32> = GucSetting::<i32>::new(100);
static ROLE_TIME: GucSetting<i32> = GucSetting::<i32>::new(200);
static SERVER_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);

/// Defines the settings; called once, in the postmaster.
pub fn init() {
    // SAFETY: the hook reads the new value and writes the error's detail, as check hooks may.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"event_source.listen",
            c"Databases that are served, and where: a list of database=address:port.",
            c"Workers start and stop with it. Quote a name with special characters: \"my db\"=[::1]:8444.",
            &LISTEN,
            GucContext::Sighup,
            GucFlags::default(),
            Some(check_listen),
            None,
            None,
        );
    }
    number(
        c"event_source.status_interval",
        c"The longest silence of a quiet stream.",
        c"A status event with a fresh cursor is sent after it.",
        &STATUS_INTERVAL,
        (100, 600_000),
        GucFlags::UNIT_MS,
    );
    number(
        c"event_source.token_lifetime",
        c"How long a token without expires_in may be used.",
        c"0 means for ever.",
        &TOKEN_LIFETIME,
        (0, i32::MAX),
        GucFlags::UNIT_S,
    );
    number(
        c"event_source.max_clients",
        c"The most connections that a server holds.",
        c"",
        &MAX_CLIENTS,
        (1, 1_000_000),
        GucFlags::default(),
    );
    number(
        c"event_source.max_streams",
        c"The most streams that a server holds.",
        c"",
        &MAX_STREAMS,
        (1, 10_000_000),
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"event_source.require_secret",
        c"A token alone does not suffice: a secret must be given beside it.",
        c"",
        &REQUIRE_SECRET,
        GucContext::Sighup,
        GucFlags::default(),
    );
    string(
        c"event_source.anonymous_role",
        c"The role of queries without a credential.",
        c"Empty: they are refused. It must be neither a superuser nor have BYPASSRLS.",
        &ANONYMOUS_ROLE,
        GucFlags::default(),
    );
    string(
        c"event_source.jwt_key_file",
        c"The file of the key that JWTs are signed with.",
        c"A public key in PEM, or a shared secret of at least 32 bytes. Empty: no JWT is accepted.",
        &JWT_KEY_FILE,
        GucFlags::SUPERUSER_ONLY,
    );
    string(
        c"event_source.jwt_parent_role",
        c"The role whose granted roles a JWT may name.",
        c"Empty: no JWT is accepted.",
        &JWT_PARENT_ROLE,
        GucFlags::default(),
    );
    string(
        c"event_source.cors_origins",
        c"Origins of web pages that may read from the server: a list, or *.",
        c"",
        &CORS_ORIGINS,
        GucFlags::default(),
    );
    number(
        c"event_source.worker_threads",
        c"Threads of each server process; read when it starts.",
        c"",
        &WORKER_THREADS,
        (1, 256),
        GucFlags::default(),
    );
    number(
        c"event_source.tail_memory",
        c"How much of the newest part of the log each server keeps in memory.",
        c"",
        &TAIL_MEMORY,
        (0, i32::MAX),
        GucFlags::UNIT_KB,
    );
    number(
        c"event_source.expression_timeout",
        c"How long the expressions of one event source may take for one change, and a query for its rows.",
        c"The source ends with an error that says so.",
        &EXPRESSION_TIMEOUT,
        (10, 10_000),
        GucFlags::UNIT_MS,
    );
    number(
        c"event_source.expression_memory",
        c"How much memory the expressions of one event source may take.",
        c"The source ends with an error that says so.",
        &EXPRESSION_MEMORY,
        (1024, i32::MAX),
        GucFlags::UNIT_KB,
    );
    number(
        c"event_source.source_time",
        c"How much time in each second the expressions of one event source may take.",
        c"The first 0.1 ms for each change do not count. 0 means as much as they like.",
        &SOURCE_TIME,
        (0, 1_000),
        GucFlags::UNIT_MS,
    );
    number(
        c"event_source.role_time",
        c"How much time in each second the expressions of all event sources of one role may take.",
        c"Above it the source that took the most ends with an error. 0 means as much as they like.",
        &ROLE_TIME,
        (0, 1_000),
        GucFlags::UNIT_MS,
    );
    number(
        c"event_source.server_memory",
        c"How much memory each server may hold.",
        c"Near it, those who hold most of it are told to come again, and a larger row than a third of it is not sent.",
        &SERVER_MEMORY,
        (64 * 1024, i32::MAX),
        GucFlags::UNIT_KB,
    );
    number(
        c"event_source.retention",
        c"How long changes are kept in the log.",
        c"They go a segment at a time, so some stay a sixth longer.",
        &RETENTION,
        (1, i32::MAX),
        GucFlags::UNIT_S,
    );
    number(
        c"event_source.max_log_size",
        c"How large the log of each database may become.",
        c"Above it the oldest changes go, also when they are younger than event_source.retention.",
        &MAX_LOG_SIZE,
        (16 * 1024, i32::MAX),
        GucFlags::UNIT_KB,
    );
    rights();
    surface::init();
    controls::init();
}

/// Who may have tokens, and how many of what.
fn rights() {
    GucRegistry::define_bool_guc(
        c"event_source.superuser_tokens",
        c"Superusers and roles with BYPASSRLS may make event sources, and theirs may be used.",
        c"A token acts as the role that made it.",
        &SUPERUSER_TOKENS,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"event_source.user_functions",
        c"Filters may call functions that belong to roles which are no superusers.",
        c"They run in the worker, as the role of the token.",
        &USER_FUNCTIONS,
        GucContext::Sighup,
        GucFlags::default(),
    );
    number(
        c"event_source.max_regexps_per_filter",
        c"The most regular expressions in one filter.",
        c"PostgreSQL keeps 32 of a process; what is more is compiled again for each row.",
        &MAX_REGEXPS,
        (0, 32),
        GucFlags::default(),
    );
    number(
        c"event_source.max_sources_per_role",
        c"The most event sources of one role that are followed at the same time.",
        c"Streams of the same set, shown in the same way, are one.",
        &MAX_SOURCES,
        (1, i32::MAX),
        GucFlags::default(),
    );
    number(
        c"event_source.max_filters_per_role",
        c"The most event sources with a filter of one role that are followed at the same time.",
        c"Each filter is tried on every change of its table.",
        &MAX_FILTERS,
        (0, i32::MAX),
        GucFlags::default(),
    );
    number(
        c"event_source.max_captures_per_role",
        c"The most captured tables of one owner in a database.",
        c"",
        &MAX_CAPTURES,
        (0, i32::MAX),
        GucFlags::default(),
    );
}

/// Refuses a list that cannot be read, so that the one before stays in force.
#[pg_guard]
unsafe extern "C-unwind" fn check_listen(
    value: *mut *mut std::ffi::c_char,
    _extra: *mut *mut std::ffi::c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server passes the address of a C string, or of null.
    unsafe { checked(value, listen::parse) }
}

/// The body of a check hook: whether the new value can be read, and if not, why.
///
/// # Safety
/// `value` is the address of a C string or of null, as a check hook gets it.
unsafe fn checked<T, E: Display>(
    value: *mut *mut std::ffi::c_char,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> bool {
    // SAFETY: as the caller promises.
    let text = unsafe {
        if (*value).is_null() {
            return true;
        }
        CStr::from_ptr(*value).to_string_lossy()
    };
    let Err(error) = parse(&text) else { return true };
    let detail = CString::new(error.to_string().replace('\0', "")).expect("no NUL is left");
    // SAFETY: where a check hook leaves its detail; the copy lives as long as the message.
    unsafe { pg_sys::GUC_check_errdetail_string = pg_sys::pstrdup(detail.as_ptr()) };
    false
}

/// An integer setting that is read again on SIGHUP.
fn number(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
    flags: GucFlags,
) {
    GucRegistry::define_int_guc(name, short, long, setting, min, max, GucContext::Sighup, flags);
}

/// A text setting that is read again on SIGHUP.
fn string(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    flags: GucFlags,
) {
    GucRegistry::define_string_guc(name, short, long, setting, GucContext::Sighup, flags);
}

/// The value of `event_source.listen`.
pub fn listen() -> String {
    text(&LISTEN)
}

pub fn status_interval_ms() -> u64 {
    STATUS_INTERVAL.get().unsigned_abs().into()
}

/// How long a token lives that was minted without `expires_in`; `None` for ever.
pub fn token_lifetime_micros() -> Option<i64> {
    let seconds = i64::from(TOKEN_LIFETIME.get());
    (seconds > 0).then_some(seconds * 1_000_000)
}

pub fn expression_timeout() -> Duration {
    Duration::from_millis(EXPRESSION_TIMEOUT.get().unsigned_abs().into())
}

/// Bytes.
pub fn expression_memory() -> u64 {
    u64::from(EXPRESSION_MEMORY.get().unsigned_abs()) * 1024
}

/// In each second; `None` for as much as they like.
pub fn source_time() -> Option<Duration> {
    milliseconds(&SOURCE_TIME)
}

/// As [`source_time`], of all sources of a role.
pub fn role_time() -> Option<Duration> {
    milliseconds(&ROLE_TIME)
}

fn milliseconds(setting: &GucSetting<i32>) -> Option<Duration> {
    let count = u64::from(setting.get().unsigned_abs());
    (count > 0).then(|| Duration::from_millis(count))
}

pub fn anonymous_role() -> String {
    text(&ANONYMOUS_ROLE)
}

pub fn jwt_key_file() -> String {
    text(&JWT_KEY_FILE)
}

pub fn jwt_parent_role() -> String {
    text(&JWT_PARENT_ROLE)
}

pub fn superuser_tokens() -> bool {
    SUPERUSER_TOKENS.get()
}

pub fn user_functions() -> bool {
    USER_FUNCTIONS.get()
}

pub fn max_regexps_per_filter() -> usize {
    count(&MAX_REGEXPS)
}

pub fn max_sources_per_role() -> usize {
    count(&MAX_SOURCES)
}

pub fn max_filters_per_role() -> usize {
    count(&MAX_FILTERS)
}

pub fn max_captures_per_role() -> usize {
    count(&MAX_CAPTURES)
}

fn count(setting: &GucSetting<i32>) -> usize {
    usize::try_from(setting.get()).unwrap_or_default()
}

pub fn require_secret() -> bool {
    REQUIRE_SECRET.get()
}

pub fn max_streams() -> u32 {
    MAX_STREAMS.get().unsigned_abs()
}

pub fn worker_threads() -> u32 {
    WORKER_THREADS.get().unsigned_abs()
}

/// What the log may keep.
pub fn log_policy() -> Policy {
    Policy {
        retention: i64::from(RETENTION.get()) * 1_000_000,
        most_bytes: u64::from(MAX_LOG_SIZE.get().unsigned_abs()) * 1024,
    }
}

/// How much memory each server may hold, in bytes.
pub fn server_memory() -> u64 {
    u64::from(SERVER_MEMORY.get().unsigned_abs()) * 1024
}

/// What the server needs to know.
pub fn for_server() -> Config {
    let max_clients = MAX_CLIENTS.get().unsigned_abs();
    Config {
        status_interval_ms: status_interval_ms(),
        tail_memory_bytes: u64::from(TAIL_MEMORY.get().unsigned_abs()) * 1024,
        server_memory_bytes: server_memory(),
        worker_threads: worker_threads(),
        max_clients,
        max_streams: max_streams(),
        cors_origins: text(&CORS_ORIGINS),
        require_secret: require_secret(),
        limits: surface::limits(max_clients),
        protocols: surface::protocols(),
        allowed_hosts: surface::allowed_hosts(),
        has_anonymous_role: !anonymous_role().is_empty(),
        // The worker knows it.
        jwt_key: JwtKey::Unread,
    }
}

/// The order in which readers fold changes.
pub fn sequence() -> Sequence {
    controls::sequence()
}

/// Whether committing transactions overlook prepared ones; never outside the test of the tests.
pub fn prepared_unseen() -> bool {
    controls::prepared_unseen()
}

fn text(setting: &GucSetting<Option<CString>>) -> String {
    setting.get().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(not(feature = "controls"))]
mod controls {
    use event_source_model::net::Sequence;

    pub(super) fn init() {}

    pub(super) fn sequence() -> Sequence {
        Sequence::Command
    }

    pub(super) fn prepared_unseen() -> bool {
        false
    }
}

/// Three deliberate faults, for the tests that prove that the tests of order can fail.
#[cfg(feature = "controls")]
mod controls {
    use std::ffi::CString;

    use event_source_model::net::Sequence;
    use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

    static CONTROL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

    pub(super) fn init() {
        GucRegistry::define_string_guc(
            c"event_source.control",
            c"A deliberate fault: closed_is_last, fired_order or prepared_unseen.",
            c"",
            &CONTROL,
            GucContext::Postmaster,
            GucFlags::default(),
        );
        event_source_clock::controls::set_closed_is_last(is(c"closed_is_last"));
    }

    pub(super) fn sequence() -> Sequence {
        if is(c"fired_order") { Sequence::Fired } else { Sequence::Command }
    }

    pub(super) fn prepared_unseen() -> bool {
        is(c"prepared_unseen")
    }

    fn is(fault: &std::ffi::CStr) -> bool {
        CONTROL.get().is_some_and(|c| c.as_c_str() == fault)
    }
}

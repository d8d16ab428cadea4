//! The settings of what the server offers to whom, and of what clients may take.

use std::ffi::{CString, c_char, c_void};

use event_source_door::hosts::{self, Hosts};
use event_source_door::limits::{Limits, PerAddress};
use event_source_door::protocols::{self, Protocols};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::{checked, number, text};

/// Requests a second of an address that is not the machine's own, by default.
const REQUESTS_PER_SECOND: u32 = 1000;

static PROTOCOLS: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"native, fauna"));
static ALLOWED_HOSTS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static MAX_CLIENTS_PER_ADDRESS: GucSetting<i32> = GucSetting::<i32>::new(-1);
static MAX_REQUESTS_PER_SECOND: GucSetting<i32> = GucSetting::<i32>::new(-1);
static MAX_STREAMS_PER_CONNECTION: GucSetting<i32> = of(Limits::DEFAULT.max_streams_per_connection);
static MAX_HEAD_SIZE: GucSetting<i32> = of(Limits::DEFAULT.max_head_size);
static MAX_HEADERS: GucSetting<i32> = of(Limits::DEFAULT.max_headers);
static HEAD_TIMEOUT: GucSetting<i32> = of(Limits::DEFAULT.head_timeout);
static IDLE_TIMEOUT: GucSetting<i32> = of(Limits::DEFAULT.idle_timeout);
static SEND_TIMEOUT: GucSetting<i32> = of(Limits::DEFAULT.send_timeout);
static TCP_KEEPALIVE: GucSetting<i32> = of(Limits::DEFAULT.tcp_keepalive);
static TCP_USER_TIMEOUT: GucSetting<i32> = of(Limits::DEFAULT.tcp_user_timeout);

/// A setting with this default.
const fn of(default: u32) -> GucSetting<i32> {
    GucSetting::<i32>::new(default.cast_signed())
}

/// A day is longer than any wait that makes sense.
const TIMES: (i32, i32) = (10, 86_400_000);
/// As [`TIMES`], where 0 leaves it to the system.
const TIMES_OR_NONE: (i32, i32) = (0, 86_400_000);

pub(super) fn init() {
    // SAFETY: the hooks read the new value and write the error's detail, as check hooks may.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"event_source.protocols",
            c"What is served: a list of native, fauna, fauna_query, fauna_v4, directus, loopback.",
            c"What is not in it is answered by 404.",
            &PROTOCOLS,
            GucContext::Sighup,
            GucFlags::default(),
            Some(check_protocols),
            None,
            None,
        );
        GucRegistry::define_string_guc_with_hooks(
            c"event_source.allowed_hosts",
            c"Names that clients may address the server by: a list, *.example.com for those below one, * for any.",
            c"Addresses and localhost are always allowed. Empty: any name, unless event_source.anonymous_role is set.",
            &ALLOWED_HOSTS,
            GucContext::Sighup,
            GucFlags::default(),
            Some(check_hosts),
            None,
            None,
        );
    }
    per_address();
    sizes();
    times();
}

fn per_address() {
    number(
        c"event_source.max_clients_per_address",
        c"The most connections of one address; of IPv6, of one /64.",
        c"0 means no limit. -1 means half of event_source.max_clients, and no limit for this machine itself.",
        &MAX_CLIENTS_PER_ADDRESS,
        (-1, 1_000_000),
        GucFlags::default(),
    );
    number(
        c"event_source.max_requests_per_second",
        c"How often one address may ask, within ten seconds in the mean.",
        c"0 means no limit. -1 means 1000, and no limit for this machine itself.",
        &MAX_REQUESTS_PER_SECOND,
        (-1, 1_000_000),
        GucFlags::default(),
    );
}

fn sizes() {
    number(
        c"event_source.max_streams_per_connection",
        c"The most requests and streams at a time on a connection of HTTP/2.",
        c"",
        &MAX_STREAMS_PER_CONNECTION,
        (1, 100_000),
        GucFlags::default(),
    );
    number(
        c"event_source.max_head_size",
        c"The most bytes of a request's head, the URL included.",
        c"",
        &MAX_HEAD_SIZE,
        (8 * 1024, 1024 * 1024),
        GucFlags::UNIT_BYTE,
    );
    number(
        c"event_source.max_headers",
        c"The most headers of a request.",
        c"",
        &MAX_HEADERS,
        (16, 10_000),
        GucFlags::default(),
    );
}

fn times() {
    let setting = |name, short, long, setting, range| {
        number(name, short, long, setting, range, GucFlags::UNIT_MS);
    };
    setting(
        c"event_source.head_timeout",
        c"A client must have sent the first whole head of a request by then.",
        c"Counted from when the connection was accepted.",
        &HEAD_TIMEOUT,
        TIMES,
    );
    setting(
        c"event_source.idle_timeout",
        c"Closes a connection on which nothing is asked for so long.",
        c"Pings of HTTP/2 are no requests.",
        &IDLE_TIMEOUT,
        TIMES,
    );
    setting(
        c"event_source.send_timeout",
        c"Ends a stream whose reader takes nothing for so long.",
        c"Its client goes on from its cursor.",
        &SEND_TIMEOUT,
        TIMES,
    );
    setting(
        c"event_source.tcp_keepalive",
        c"After so much silence TCP asks whether a client is still there.",
        c"0 leaves it to the system.",
        &TCP_KEEPALIVE,
        TIMES_OR_NONE,
    );
    setting(
        c"event_source.tcp_user_timeout",
        c"Ends a connection whose client acknowledges nothing for so long.",
        c"0 leaves it to the system.",
        &TCP_USER_TIMEOUT,
        TIMES_OR_NONE,
    );
}

/// Refuses a list with a name that is no protocol's.
#[pg_guard]
unsafe extern "C-unwind" fn check_protocols(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server passes the address of a C string, or of null.
    unsafe { checked(value, protocols::parse) }
}

/// Refuses a list with an entry that no host would match.
#[pg_guard]
unsafe extern "C-unwind" fn check_hosts(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server passes the address of a C string, or of null.
    unsafe { checked(value, hosts::parse) }
}

pub(super) fn protocols() -> Protocols {
    protocols::parse(&text(&PROTOCOLS)).expect("it was checked when it was set")
}

pub(super) fn allowed_hosts() -> Hosts {
    hosts::parse(&text(&ALLOWED_HOSTS)).expect("it was checked when it was set")
}

pub(super) fn limits(max_clients: u32) -> Limits {
    let value = |setting: &GucSetting<i32>| setting.get().unsigned_abs();
    Limits {
        head_timeout: value(&HEAD_TIMEOUT),
        idle_timeout: value(&IDLE_TIMEOUT),
        send_timeout: value(&SEND_TIMEOUT),
        max_head_size: value(&MAX_HEAD_SIZE),
        max_headers: value(&MAX_HEADERS),
        max_streams_per_connection: value(&MAX_STREAMS_PER_CONNECTION),
        max_clients_per_address: PerAddress::of(
            MAX_CLIENTS_PER_ADDRESS.get(),
            max_clients.div_ceil(2),
        ),
        max_requests_per_second: PerAddress::of(MAX_REQUESTS_PER_SECOND.get(), REQUESTS_PER_SECOND),
        tcp_keepalive: value(&TCP_KEEPALIVE),
        tcp_user_timeout: value(&TCP_USER_TIMEOUT),
    }
}

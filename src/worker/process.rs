//! The life of one worker.
//!
//! Connected to one database for life. It waits for the extension to exist, binds the sockets,
//! starts the server and then goes round: the tail first, then a slice of what the server asked,
//! then it waits. SIGTERM ends it wherever it is, also inside a query (PostgreSQL's own handler),
//! with exit code 1, so that it is started again.

use std::cell::RefCell;
use std::ffi::CStr;
use std::net::TcpListener;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use event_source_door::message::{Config, PROTOCOL, ToServer, ToWorker};
use event_source_door::pulse::{Beat, PATIENCE, Pulse};
use event_source_pace::Pace;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::answer::{Answerer, Task};
use super::backend::{self, wait};
use super::child::Server;
use super::confined;
use super::pipe::Pipe;
use super::prepared::Settler;
use super::requests::Requests;
use super::rights;
use super::sockets;
use super::state::State;
use super::tail::{Looked, News, Tailer};
use crate::compat;
use crate::error::{Error, Kind};
use crate::log::segment;
use crate::order::shared::{self, Shared, Worker};
use crate::order::{history_id, wake};
use crate::pg::transaction;
use crate::pg::wait_set::WaitSet;
use crate::{settings, source};

/// An address in use, a missing extension: looked at again after this.
const RETRY: Duration = Duration::from_secs(1);
/// A server that lived shorter than this is not started again at once.
const SHORT_LIFE: Duration = Duration::from_millis(500);
/// The longest the worker waits without a look: rights, revocations, the clock on a standby.
const IDLE: Duration = Duration::from_millis(1000);
/// A standby has no committers that would wake the worker.
const STANDBY: Duration = Duration::from_millis(50);

thread_local! {
    /// For the exit callback: PostgreSQL exits without unwinding.
    static RUNNING: RefCell<Option<(Server, Pipe)>> = const { RefCell::new(None) };
}

/// What the launcher tells a worker: its place and the launcher's number.
pub fn argument(place: usize, generation: u32) -> pg_sys::Datum {
    pg_sys::Datum::from((u64::from(generation) << 32 | place as u64) as i64)
}

/// The worker's main function.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn event_source_worker(argument: pg_sys::Datum) {
    backend::install_signal_handlers();
    let Ok(shared) = shared::get() else { return };
    let (place, generation) = (argument.value() & 0xffff_ffff, (argument.value() >> 32) as u32);
    // SAFETY: the entry of this worker; the launcher wrote a C string.
    let database = unsafe {
        let extra = (*pg_sys::MyBgworkerEntry).bgw_extra.as_ptr();
        CStr::from_ptr(extra).to_owned()
    };
    // SAFETY: once, first thing; FATAL when the database does not exist.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnection(database.as_ptr(), std::ptr::null(), 0);
    }
    let database = database.to_string_lossy().into_owned();
    backend::pin_settings();
    // SAFETY: reads shared state.
    let standby = unsafe { pg_sys::RecoveryInProgress() };
    let place = shared.fill_place(place);
    let mut process =
        Process { database, place, shared, generation, standby, history: history_id() };
    process.claim_place();
    process.run();
}

struct Process {
    database: String,
    place: &'static Worker,
    shared: &'static Shared,
    generation: u32,
    /// The server was in recovery when the worker started.
    standby: bool,
    history: u64,
}

impl Process {
    /// Publishes how committers find this worker; taken back when the process exits.
    fn claim_place(&self) {
        self.place.waiting.store(wake::AWAKE, SeqCst);
        self.place.proc_number.store(compat::my_proc_number(), SeqCst);
        // SAFETY: set at the start of the process and by the connection.
        unsafe {
            self.place.pid.store(pg_sys::MyProcPid, SeqCst);
            self.place.database.store(pg_sys::MyDatabaseId.to_u32(), SeqCst);
            let place = pg_sys::Datum::from(std::ptr::from_ref(self.place) as usize);
            pg_sys::before_shmem_exit(Some(on_exit), place);
        }
    }

    fn run(&mut self) {
        self.wait_for_extension();
        let sockets = self.bind();
        backend::report_addresses(&sockets);
        loop {
            let started = Instant::now();
            self.serve(&sockets);
            if !sockets::are_alive(&sockets) {
                log!(
                    "event_source worker of database \"{}\": its server shut the listening sockets down, binding them anew",
                    self.database
                );
                leave_to_another();
            }
            if started.elapsed() < SHORT_LIFE {
                self.pause();
            }
        }
    }

    /// One look at everything that may end or change the worker; part of every turn.
    fn housekeep(&self, sockets: Option<&[TcpListener]>) -> bool {
        pgrx::check_for_interrupts!();
        let orphaned = self.shared.launcher.load(SeqCst) != self.generation;
        let reloaded = backend::reload_requested();
        let moved = reloaded && sockets.is_some_and(|s| !sockets::still_wanted(&self.database, s));
        // Streams that were opened on the standby name its history in their cursors, which changes
        // when it is promoted or follows another that was: events of the new one under the old name
        // could not be resumed from.
        // SAFETY: reads shared state.
        let promoted = self.standby
            && (!unsafe { pg_sys::RecoveryInProgress() } || history_id() != self.history);
        if orphaned || moved || promoted {
            leave_to_another();
        }
        reloaded
    }

    fn pause(&self) {
        wait(RETRY);
        self.housekeep(None);
    }

    fn wait_for_extension(&self) {
        // Errors were logged, and a database that cannot be read is one to wait for.
        while !matches!(transaction::run(|| Ok(segment::exist())), Ok(true)) {
            State::WaitsForExtension.enter(self.place);
            self.pause();
        }
    }

    fn bind(&self) -> Vec<TcpListener> {
        loop {
            match sockets::bind(&self.database) {
                Ok(sockets) => return sockets,
                Err(error) => {
                    log!("event_source worker of database \"{}\": {error}", self.database);
                    State::WaitsForAddress.enter(self.place);
                    self.pause();
                }
            }
        }
    }

    /// Starts a server and serves until it ends.
    fn serve(&self, sockets: &[TcpListener]) {
        State::Starts.enter(self.place);
        let (server, socket) = match Server::start(sockets) {
            Ok(started) => started,
            Err(error) => {
                log!("event_source worker of database \"{}\": {error}", self.database);
                State::CannotStart.enter(self.place);
                return;
            }
        };
        self.place.confined.store(0, SeqCst);
        self.place.server_pid.store(server.pid(), SeqCst);
        self.place.servers_started.fetch_add(1, SeqCst);
        RUNNING.set(Some((server, Pipe::new(socket, settings::server_memory()))));
        let end = self.converse(sockets);
        self.place.server_pid.store(0, SeqCst);
        self.place.streams.store(0, SeqCst);
        let Some((server, pipe)) = RUNNING.take() else { return };
        drop(pipe);
        match end {
            End::Lost(why) => {
                State::Starts.enter(self.place);
                let how = server.end();
                log!(
                    "event_source worker of database \"{}\": the server ended ({why}; {how}), starting another",
                    self.database
                );
            }
            End::Hangs => {
                State::Starts.enter(self.place);
                server.kill();
                log!(
                    "event_source worker of database \"{}\": the server did not answer for {} s and was killed, starting another",
                    self.database,
                    PATIENCE.as_secs()
                );
            }
            End::Refused(version) => {
                State::CannotStart.enter(self.place);
                server.kill();
                log!(
                    "event_source worker of database \"{}\": the executable event_source_server is of version {version}, the library of version {}: install both together",
                    self.database,
                    env!("CARGO_PKG_VERSION")
                );
            }
        }
    }

    fn converse(&self, sockets: &[TcpListener]) -> End {
        let mut tailer = Tailer::new();
        let mut settler = Settler::new();
        let mut answerer = Answerer::new();
        let mut requests = Requests::default();
        let mut pace = Pace::new(Instant::now());
        let mut pulse = Pulse::new(Instant::now());
        let mut greeted = false;
        let mut waiter = WaitSet::of(with_pipe(|pipe| pipe.fd()));
        loop {
            let reloaded = self.housekeep(Some(sockets));
            if reloaded {
                source::forget_key();
                rights::settings_changed();
            }
            let key_changed = source::jwt_key_is_read_anew();
            if greeted && (reloaded || key_changed) {
                let config = ToServer::Config(config());
                if let Err(error) = with_pipe(|pipe| pipe.send(&config)) {
                    return End::Lost(error.to_string());
                }
            }
            if let Err(error) = with_pipe(|pipe| pipe.receive(&mut requests)) {
                return End::Lost(error.to_string());
            }
            if !greeted && let Some(first) = requests.take(|_| None) {
                let Task::Asked(ToWorker::Hello { protocol, version }) = first else {
                    return End::Lost("it did not say hello".to_owned());
                };
                if protocol != PROTOCOL || version != env!("CARGO_PKG_VERSION") {
                    return End::Refused(version);
                }
                let welcome = ToServer::Welcome { version, config: config() };
                if let Err(error) = with_pipe(|pipe| pipe.send(&welcome)) {
                    return End::Lost(error.to_string());
                }
                greeted = true;
            }
            match with_pipe(|pipe| pulse.feel(pipe.signs(), Instant::now())) {
                Beat::Well if greeted => State::Serves.enter(self.place),
                Beat::Well => {}
                Beat::Ask => {
                    if let Err(error) = with_pipe(|pipe| pipe.send(&ToServer::Ping)) {
                        return End::Lost(error.to_string());
                    }
                }
                // It may have answered: it is the worker that does not read while it has enough to do.
                Beat::Late | Beat::Gone if with_pipe(|pipe| pipe.has_unread()) => {}
                Beat::Late => State::NoAnswer.enter(self.place),
                Beat::Gone => return End::Hangs,
            }
            settler.turn();
            let mut looked = Looked::default();
            if greeted && !with_pipe(|pipe| pipe.is_full()) {
                // Collected first and handed to the pipe after: SIGTERM may end the process inside
                // any query, and then the exit callback needs the pipe.
                let mut out = Vec::new();
                answerer.recheck(&mut out);
                if requests.is_empty() || tailer.is_due(self.shared) {
                    looked = tailer.look(&mut answerer.sources, &mut out);
                }
                self.place.published.store(tailer.closed(), SeqCst);
                // Before the first look nothing says where the tail begins: a batch up to nowhere
                // that says it is live would lose what was committed until then.
                let role_of = |grant| answerer.sources.role_of(grant);
                let request = tailer.has_looked().then(|| requests.take(role_of)).flatten();
                match request {
                    Some(Task::Asked(ToWorker::Streams(open))) => {
                        self.place.streams.store(open, SeqCst);
                    }
                    Some(Task::Asked(ToWorker::Confined { landlock, seccomp })) => {
                        confined::note(self.place, landlock, seccomp);
                    }
                    // What takes more than one turn is behind whoever has asked meanwhile.
                    Some(task) => requests.extend(answerer.answer(task, &mut tailer, &mut out)),
                    None => {}
                }
                if let Err(error) = with_pipe(|pipe| out.iter().try_for_each(|m| pipe.send(m))) {
                    return End::Lost(error.to_string());
                }
            }
            if let Err(error) = with_pipe(Pipe::flush) {
                return End::Lost(error.to_string());
            }
            match looked.failed {
                // The extension was dropped. Another worker waits for it to be created again.
                Some(Kind::NotCaptured) => {
                    let mut out = Vec::new();
                    answerer.end_all(&extension_gone(), &mut out);
                    // The pipe is flushed by the exit callback.
                    if let Err(error) = with_pipe(|pipe| out.iter().try_for_each(|m| pipe.send(m)))
                    {
                        return End::Lost(error.to_string());
                    }
                    leave_to_another()
                }
                // As in `housekeep`; the switch came after it.
                Some(Kind::HistoryChanged) => leave_to_another(),
                Some(_) => {
                    // Not at once: an error that lasts would fill the server's log.
                    wait(RETRY);
                    continue;
                }
                None => {}
            }
            let company = pace.behind(looked.transactions, Instant::now());
            let waiting = answerer.is_rechecking() || !requests.is_empty();
            if looked.more || (waiting && !with_pipe(|pipe| pipe.is_full())) {
                continue;
            }
            let followed = greeted && answerer.sources.are_followed();
            let (for_room, full) = with_pipe(|pipe| (pipe.wants_write(), pipe.is_full()));
            if followed && !full && !company.is_zero() {
                // Nobody sets the latch meanwhile: this says nowhere that it waits.
                waiter.wait(for_room, !requests.is_full(), company);
                continue;
            }
            // While nobody follows, or the server has no room, news are nothing to stay awake for: the
            // committers are spared the wake-up, and a look once a second keeps the tail short.
            if !followed || full || self.standby || self.nothing_to_look_at(&tailer) {
                let longest = if self.standby { STANDBY } else { settler.limit(IDLE) };
                waiter.wait(for_room, !requests.is_full(), longest);
            }
            self.place.waiting.store(wake::AWAKE, SeqCst);
        }
    }

    /// Says that it waits and only then looks: a commit in between is not missed.
    fn nothing_to_look_at(&self, tailer: &Tailer) -> bool {
        self.place.waiting.store(wake::FOR_COMMIT, SeqCst);
        match tailer.news(self.shared) {
            News::None => true,
            News::Some => false,
            News::HeldBack => {
                self.place.waiting.store(wake::FOR_ANYBODY, SeqCst);
                tailer.news(self.shared) != News::Some
            }
        }
    }
}

/// What the server needs to know.
fn config() -> Config {
    Config { jwt_key: source::jwt_key(), ..settings::for_server() }
}

/// Ends the process; the exit callback takes the server along. The launcher starts another worker,
/// which looks at everything anew.
fn leave_to_another() -> ! {
    // SAFETY: on the process's only thread, outside a transaction.
    unsafe { compat::exit_process(1) }
}

fn extension_gone() -> Error {
    Error::new(Kind::SourceGone, "extension event_source was dropped from the database")
}

/// Why a server is no longer served.
enum End {
    Lost(String),
    /// It does not answer.
    Hangs,
    /// Of this version, not ours.
    Refused(String),
}

fn with_pipe<T>(body: impl FnOnce(&mut Pipe) -> T) -> T {
    RUNNING.with_borrow_mut(|running| {
        let (_, pipe) = running.as_mut().expect("set while a server is served");
        body(pipe)
    })
}

/// However the worker ends, the server says goodbye to its clients and is gone.
#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, place: pg_sys::Datum) {
    // SAFETY: the address of this worker's place in shared memory, which is still attached.
    let place = unsafe { &*(place.value() as *const Worker) };
    // SAFETY: this process.
    if place.pid.load(SeqCst) == unsafe { pg_sys::MyProcPid } {
        place.database.store(0, SeqCst);
        place.pid.store(0, SeqCst);
        place.server_pid.store(0, SeqCst);
        place.state.store(0, SeqCst);
    }
    // FATAL may come while the pipe is in use; then its server ends with the process, by the
    // parent-death signal.
    let running = RUNNING.with(|r| r.try_borrow_mut().ok().and_then(|mut r| r.take()));
    if let Some((server, mut pipe)) = running {
        let told = pipe.send(&ToServer::Stop).and_then(|()| pipe.flush());
        if told.is_ok() {
            server.end();
        } else {
            server.kill();
        }
    }
}

//! What the works of fan-out share: who sends to many streams, and how that is measured.
//!
//! A subject is asked for streams of one source, and told to send events; the same client reads them all
//! ([`crate::readers`]) and publishes the next ones itself, so that the pace is the client's: a subject is
//! given more as it gets rid of what it has.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use event_source_tests::{Build, Pid};

use crate::peers::hyper::{Form, Hyper};
use crate::peers::nchan::Nchan;
use crate::peers::played::Played;
use crate::peers::whole::Whole;
use crate::readers::{Asked, Readers, Version};
use crate::turns::turns;
use crate::work::{Outcome, Run};

pub const OURS: &str = "event_source";
/// With its cluster.
pub const WHOLE: &str = "event_source, by commits";
pub const NCHAN: &str = "nchan";
pub const HYPER: &str = "hyper";
pub const HYPER_COALESCING: &str = "hyper, coalescing";

/// Who sends each event to all streams.
pub trait Subject {
    fn address(&self) -> SocketAddr;

    /// The processes that do it.
    fn pids(&self) -> Vec<Pid>;

    fn path(&self) -> String;

    fn accept(&self) -> Option<&'static str> {
        None
    }

    /// So many more events, of which so many arrive together.
    fn publish(&mut self, events: u64, together: u64);
}

/// How streams stand on connections.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    pub streams: usize,
    pub per_connection: usize,
    pub version: Version,
}

impl Streams {
    /// A hundred on each connection of HTTP/2.
    #[must_use]
    pub fn shared(streams: usize) -> Self {
        Self { streams, per_connection: 100, version: Version::Two }
    }

    /// A connection of HTTP/1.1 for each.
    #[must_use]
    pub fn alone(streams: usize) -> Self {
        Self { streams, per_connection: 1, version: Version::One }
    }
}

/// To how many streams, and how that is written. Thousands of connections take long to open.
#[must_use]
pub fn sizes(run: &Run) -> &'static [(usize, &'static str)] {
    const ALL: [(usize, &str); 3] = [(100, "100"), (1000, "1,000"), (5000, "5,000")];
    run.pick(&ALL, &ALL[..2])
}

/// Starts the subject of that name; `None` when this machine does not have it.
#[must_use]
pub fn start(name: &str) -> Option<Box<dyn Subject>> {
    match name {
        OURS => Some(Box::new(Played::start(&server()))),
        WHOLE => Some(Box::new(Whole::start())),
        HYPER => Some(Box::new(Hyper::start(&floor(), Form::Vectored))),
        HYPER_COALESCING => Some(Box::new(Hyper::start(&floor(), Form::Coalescing))),
        NCHAN => Nchan::start().map(|nchan| Box::new(nchan) as Box<dyn Subject>),
        name => panic!("no subject is called {name:?}"),
    }
}

/// Those of these names that this machine has.
#[must_use]
pub fn present(names: &[&'static str]) -> Vec<&'static str> {
    names.iter().copied().filter(|name| *name != NCHAN || Nchan::is_there()).collect()
}

/// Measures all subjects by turns, each time with new processes; two figures of each, the first of which is
/// what is compared.
pub fn compare(
    run: &Run,
    subjects: &[&'static str],
    measure: impl Fn(&mut dyn Subject) -> (f64, f64),
) -> Vec<(&'static str, Vec<f64>, Vec<f64>)> {
    let beside: Vec<_> = subjects.iter().map(|_| std::cell::RefCell::new(Vec::new())).collect();
    let measure = &measure;
    let mut measures: Vec<_> = subjects
        .iter()
        .zip(&beside)
        .map(|(name, beside)| {
            move || {
                let mut subject = start(name).expect("it was looked for before");
                let (value, other) = measure(&mut *subject);
                beside.borrow_mut().push(other);
                value
            }
        })
        .collect();
    let mut by_turns: Vec<(&str, &mut dyn FnMut() -> f64)> =
        subjects.iter().zip(&mut measures).map(|(name, m)| (*name, m as _)).collect();
    let measured = turns(run.rounds(), &mut by_turns);
    drop(measures);
    let all = subjects.iter().zip(measured).zip(beside);
    all.map(|((name, samples), beside)| (*name, samples, beside.into_inner())).collect()
}

/// Asks for streams and waits until all are answered.
pub fn open(subject: &dyn Subject, how: Streams) -> Readers {
    Readers::open(&asked(subject, how))
}

#[must_use]
pub fn asked(subject: &dyn Subject, how: Streams) -> Asked {
    Asked {
        address: subject.address(),
        path: subject.path(),
        accept: subject.accept(),
        version: how.version,
        streams: how.streams,
        per_connection: how.per_connection,
    }
}

/// How a subject is kept busy.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Events that are on their way at a time.
    pub window: u64,
    /// How many of them arrive together.
    pub together: u64,
    pub time: Duration,
}

/// Deliveries a second, and what each costs in microseconds of CPU.
pub fn flood(subject: &mut dyn Subject, how: Streams, load: Load) -> (f64, f64) {
    let mut readers = open(subject, how);
    let streams = how.streams as u64;
    let mut sent = 0;
    let mut run = |readers: &mut Readers, time: Duration| {
        let (received, cpu, start) = (readers.received, cpu(subject), Instant::now());
        while start.elapsed() < time {
            while (sent + load.together) * streams <= readers.received + load.window * streams {
                subject.publish(load.together, load.together);
                sent += load.together;
            }
            readers.turn(Duration::from_secs(10), |_| {});
        }
        readers.until(sent * streams);
        let deliveries = (readers.received - received) as f64;
        let spent = cpu_since(subject, cpu);
        (deliveries / start.elapsed().as_secs_f64(), spent.as_secs_f64() * 1e6 / deliveries)
    };
    run(&mut readers, load.time / 4);
    run(&mut readers, load.time)
}

/// Writes what was measured at one place into the outcome, and what a delivery costs into another.
pub fn keep(
    outcome: &mut Outcome,
    costs: &mut Vec<String>,
    at: &str,
    measured: Vec<(&'static str, Vec<f64>, Vec<f64>)>,
) {
    let mut words = Vec::new();
    for (name, samples, cpu) in measured {
        words.push(format!("{name} {:.2}", crate::work::median(&cpu)));
        outcome.add(name, at, samples);
    }
    costs.push(format!("{at}: {}", words.join(", ")));
}

#[must_use]
pub fn pid_of(child: &Child) -> Pid {
    Pid(i32::try_from(child.id()).expect("process ids are small"))
}

/// What the processes have used so far.
fn cpu(subject: &dyn Subject) -> Duration {
    subject.pids().into_iter().map(cpu_of).sum()
}

fn cpu_since(subject: &dyn Subject, before: Duration) -> Duration {
    cpu(subject).saturating_sub(before)
}

fn cpu_of(Pid(pid): Pid) -> Duration {
    /// Of the clock in which the kernel says it.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the subject lives");
    let behind_name = stat.rsplit(')').next().expect("it has a name");
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().expect("a number of ticks");
    TICK * (ticks(11) + ticks(12))
}

/// Bytes of memory that are the processes' own.
pub fn memory(subject: &dyn Subject) -> u64 {
    let own = |pid: Pid| pid.own_memory().expect("the subject lives");
    subject.pids().into_iter().map(own).sum()
}

/// The server that is measured: what users get.
fn server() -> PathBuf {
    let bin = Build::Bench.bin().canonicalize().expect("it is installed");
    bin.with_file_name("lib").join("event_source_server")
}

/// Built as the server is (`bench/run`).
fn floor() -> PathBuf {
    let here = std::env::current_exe().expect("a path");
    let target = here.parent().and_then(|profile| profile.parent()).expect("it stands in one");
    target.join("release/event_source_bench_hyper")
}

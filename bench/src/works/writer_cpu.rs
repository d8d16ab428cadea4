//! The CPU that all processes of the server take for a single-row UPDATE: the writers' sessions and
//! whatever else works for it, until everybody who reads along has what was written.

use std::time::{Duration, Instant};

use event_source_tests::consume::latency::pause_until;
use event_source_tests::{Pid, wait_until};

use crate::clusters;
use crate::cpu;
use crate::peers::{COMPARED, Kind, Peer};
use crate::sessions::Sessions;
use crate::turns::turns_of;
use crate::work::{Better, Outcome, Run, median};

const CLIENTS: usize = 8;
const IN_ALL: &str = "in all";
const ABOVE: &str = "above the plain table";

struct Subject {
    peer: Peer,
    sessions: Sessions,
    /// Our worker, which is the server's parent.
    worker: Option<Pid>,
    /// Of worker and server, round by round.
    serving: Vec<f64>,
}

pub fn measure(run: &Run) -> Outcome {
    let transactions = run.pick(4_000, 2_000);
    // A sample is the mean of so many short ones, so that the turns are short: what else the machine does
    // changes within seconds.
    let slices = run.pick(6, 2);
    let of_slices = |samples: &[f64]| means(samples, slices);
    // Beside the plain table, from which it should not differ.
    let (plain, others) = COMPARED.split_at(1);
    let mut subjects: Vec<Subject> = plain
        .iter()
        .chain(&[Kind::NotCaptured])
        .chain(others)
        .filter(|kind| kind.is_here())
        .map(|kind| {
            let options = clusters::for_writers().conf("synchronous_commit", "off");
            let peer = kind.start(options);
            let sessions = Sessions::open(&peer.cluster, CLIENTS);
            let worker = kind.is_ours().then(|| peer.cluster.serving().0);
            Subject { peer, sessions, worker, serving: Vec::new() }
        })
        .collect();
    for subject in &mut subjects {
        subject.round(transactions);
        subject.serving.clear();
    }
    let short = turns_of(
        run.rounds() * slices,
        &mut subjects,
        |subject| subject.peer.kind.name(),
        |subject| subject.round(transactions),
    );
    let measured: Vec<Vec<f64>> = short.iter().map(|samples| of_slices(samples)).collect();
    for subject in &mut subjects {
        subject.serving = of_slices(&subject.serving);
        subject.peer.verify();
    }
    outcome(&subjects, &measured)
}

fn outcome(subjects: &[Subject], measured: &[Vec<f64>]) -> Outcome {
    let mut outcome = Outcome::new(
        "CPU of all server processes per single-row UPDATE, synchronous_commit off, 8 clients",
        "us",
        Better::Lower,
    );
    for (subject, samples) in subjects.iter().zip(measured) {
        outcome.add(subject.peer.kind.name(), IN_ALL, samples.clone());
    }
    for (subject, samples) in subjects.iter().zip(measured).skip(1) {
        let above = samples.iter().zip(&measured[0]).map(|(with, plain)| with - plain).collect();
        outcome.add(subject.peer.kind.name(), ABOVE, above);
    }
    let serving = |kind: Kind| {
        let subject = subjects.iter().find(|subject| subject.peer.kind == kind);
        subject.expect("it was measured").serving.clone()
    };
    let of_both = "of it worker and server";
    outcome.add(Kind::Captured.name(), of_both, serving(Kind::Captured));
    outcome.add(Kind::Followed.name(), of_both, serving(Kind::Followed));
    let above = |kind: Kind| outcome.median(kind.name(), ABOVE);
    let part = above(Kind::Followed) / above(Kind::Audit);
    let not_captured = above(Kind::NotCaptured);
    outcome
        .goal_at_most("one stream live, over the audit trigger, each above plain", part, 0.6)
        .because(
            "of capture's 30,900 instructions (an audit trigger's are 82,100) 16,200 write the transaction's one \
             row into the log (7,300 its index entry, 3,700 the heap, 4,200 opening, locking and unlocking both), \
             6,800 are PostgreSQL's queue of triggers, which the audit trigger has as well, 3,300 make the images; \
             a fifth of it is worker and server, of whose samples 22 % flush what was committed and nobody \
             waited for",
        );
    // A difference of two measurements is never nothing.
    outcome
        .goal_at_most("not captured, above plain, us", not_captured, 0.5)
        .because(
            "callbacks and hook are 140 of 145,200 instructions; a second plain table in the same place has shown \
             -0.6 to 3.1 us",
        );
    let alone = median(&serving(Kind::Captured));
    outcome.goal_at_most("worker and server for a change that nobody follows, us", alone, 5.0);
    outcome.note("Clients, pg_recvlogical and readers are not of the server and not in it.");
    outcome
}

/// Of so many slices each.
fn means(slices: &[f64], each: usize) -> Vec<f64> {
    slices.chunks(each).map(|slices| slices.iter().sum::<f64>() / slices.len() as f64).collect()
}

impl Subject {
    /// Microseconds a transaction.
    fn round(&mut self, transactions: u32) -> f64 {
        self.peer.tidy();
        let postmaster = self.peer.cluster.postmaster();
        let serving = |worker: Option<Pid>| worker.map_or(Duration::ZERO, cpu::of_tree);
        let before = (cpu::of_tree(postmaster), serving(self.worker));
        self.sessions.update(transactions);
        self.peer.wrote(transactions.into());
        let all = until_idle(postmaster);
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / f64::from(transactions);
        self.serving.push(each(serving(self.worker) - before.1));
        each(all - before.0)
    }
}

/// Waits until a tree of processes has nothing more to do, and gives what it has run for.
fn until_idle(root: Pid) -> Duration {
    const LOOK: Duration = Duration::from_millis(20);
    let mut last = cpu::of_tree(root);
    wait_until("the server to be idle", Duration::from_secs(60), || {
        pause_until(Instant::now() + LOOK);
        let now = cpu::of_tree(root);
        let ran = now - std::mem::replace(&mut last, now);
        ran < LOOK / 20
    });
    last
}

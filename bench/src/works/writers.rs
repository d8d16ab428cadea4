//! How much longer a single-row UPDATE takes when somebody is to hear of it: transactions a second
//! by pgbench, on the disk as it is and on one whose flushes take 2 ms longer.

use std::process::Command;
use std::time::Duration;

use event_source_tests::private::output;

use crate::clusters;
use crate::peers::{COMPARED, Kind, Peer, ROWS};
use crate::slow_disk::SlowDisk;
use crate::turns::turns_of;
use crate::work::{Better, Outcome, Run, median, ratios};

const SLOW: Duration = Duration::from_millis(2);

/// Why a goal is missed.
const BUSY: &str = "no core is idle in the plain table either, so what counts is CPU: 30,900 instructions of \
     capture, of them 16,200 for the transaction's one row of the log, 6,800 for PostgreSQL's queue of \
     triggers, 3,300 for the images; clients and a stream's reader run on the same cores";
const BETWEEN_FLUSHES: &str = "sessions that are woken together by one flush share two cores until the next: \
     each waits for the others' capture, too, and for worker and reader";

pub fn measure(run: &Run) -> Outcome {
    let disk = SlowDisk::new();
    let mut peers: Vec<Peer> = COMPARED
        .into_iter()
        .filter(|kind| kind.is_here())
        .map(|kind| kind.start(disk.below(clusters::for_writers())))
        .collect();
    let seconds = 1;
    let numbers: &[u32] = run.pick(&[8, 32], &[8]);
    let mut outcome = Outcome::new(
        "Single-row UPDATE of an indexed column, synchronous_commit on: slowdown",
        "times the plain table's time",
        Better::Lower,
    );
    for peer in &mut peers {
        // Every page is written whole once after a checkpoint, and every session's caches are new.
        transactions_a_second(peer, 8, 1);
    }
    for (delay, named) in [(Duration::ZERO, ""), (SLOW, ", disk 2 ms slower")] {
        disk.set(delay);
        for &clients in numbers {
            let at = format!("{clients} clients{named}");
            let measured = turns_of(
                run.rounds(),
                &mut peers,
                |peer| peer.kind.name(),
                |peer| transactions_a_second(peer, clients, seconds),
            );
            for (peer, samples) in peers.iter().zip(&measured) {
                let slowdown = ratios(&measured[0], samples);
                if matches!(peer.kind, Kind::Captured | Kind::Followed) {
                    let limit = if delay.is_zero() { 1.15 } else { 1.02 };
                    let text = format!("{}, {at}", peer.kind.name());
                    let why = if delay.is_zero() { BUSY } else { BETWEEN_FLUSHES };
                    outcome.goal_at_most(text, median(&slowdown), limit).because(why);
                }
                outcome.add(peer.kind.name(), &at, slowdown);
            }
            let plain = median(&measured[0]);
            outcome.note(format!("Plain table, {at}: {plain:.0} transactions a second."));
        }
    }
    for peer in &mut peers {
        peer.verify();
    }
    outcome
}

fn transactions_a_second(peer: &mut Peer, clients: u32, seconds: u32) -> f64 {
    peer.tidy();
    let cluster = &peer.cluster;
    let script = clusters::file("update.sql");
    let sql = format!(
        "\\set id random(1, {ROWS})\nUPDATE item SET amount = amount + 1 WHERE id = :id;\n"
    );
    std::fs::write(&script, sql).expect("a script can be written");
    let said = output(
        Command::new(cluster.program("pgbench"))
            .args(["-n", "-M", "prepared", "-U", "postgres", "-j", "2", "-h"])
            .arg(cluster.socket())
            .args(["-p", &cluster.port().to_string(), "-c", &clients.to_string()])
            .args(["-T", &seconds.to_string(), "-f"])
            .arg(&script)
            .arg("app"),
    );
    std::fs::remove_file(&script).expect("it was just written");
    let line = |begin: &str| {
        let rest = said.lines().find_map(|line| line.strip_prefix(begin)?.split(' ').next());
        rest.unwrap_or_else(|| panic!("pgbench said:\n{said}"))
    };
    assert_eq!(line("number of failed transactions: "), "0", "pgbench said:\n{said}");
    let done = line("number of transactions actually processed: ");
    peer.wrote(done.parse().expect("a number of transactions"));
    line("tps = ").parse().expect("a number of transactions a second")
}

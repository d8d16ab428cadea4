//! A source that hardly anything of the log is for: of ten thousand changes one.
//!
//! What is measured is how many changes a reader passes, wanted or not.

use crate::clusters;
use crate::filled::pgbench;
use crate::reader::{Reader, Wire};
use crate::turns::turns;
use crate::work::{Better, Outcome, Run};

/// Changes of the source at a time, and of the other table before them: a multiple of the clients of `pgbench`.
const BURST: u64 = 10;
const OTHERS: u64 = 99_988;

pub fn measure(run: &Run) -> Outcome {
    let wanted = run.pick(100, 10);
    let cluster = clusters::full().start();
    let _serving = cluster.serving();
    let mint = "
        CREATE TABLE busy (id int PRIMARY KEY, n int NOT NULL);
        CREATE TABLE quiet (id int PRIMARY KEY, n int NOT NULL);
        INSERT INTO busy SELECT id, 0 FROM generate_series(1, 10000) AS id;
        INSERT INTO quiet SELECT id, 0 FROM generate_series(1, 10000) AS id;
        SELECT event_source.capture('busy'), event_source.capture('quiet');
        SELECT event_source('quiet')";
    let token = cluster.psql(mint).lines().last().expect("a token").to_owned();
    let mut client = cluster.connect();
    let update = client.prepare("UPDATE quiet SET n = n + 1 WHERE id = $1").expect("prepared");
    for burst in 0..wanted / BURST {
        // The source's own ones come last, so that a stream has passed all of the log with the last of
        // them. So many at once, and as many of the others as that makes: what stands how near to each
        // other does not matter to a reader that passes them all.
        pgbench(&cluster, OTHERS, "update busy set n = n + 1 where id = :id;\n");
        for at in 0..BURST {
            let id = i32::try_from(burst * BURST + at + 1).expect("a small number");
            client.execute(&update, &[&id]).expect("it is updated");
        }
    }
    let passed = (wanted / BURST * (BURST + OTHERS)) as f64;
    let reader = Reader::new(cluster.http(), token, Wire::Native);
    let mut by_pages = || passed / reader.pages(wanted).0.as_secs_f64() / 1e6;
    let mut by_stream = || passed / reader.stream(wanted).as_secs_f64() / 1e6;
    let names = ["pages", "one stream"];
    let measured =
        turns(run.rounds(), &mut [("pages", &mut by_pages), ("one stream", &mut by_stream)]);
    let title = "Changes passed per second, of which one in 10,000 is of the source";
    let mut outcome = Outcome::new(title, "million/s", Better::Higher);
    for (name, samples) in names.into_iter().zip(measured) {
        outcome.add("event_source", name, samples);
        outcome.goal_at_least(name, outcome.median("event_source", name), 3.0).because(
            "one process reads: half of its time is PostgreSQL's index scan with visibility and locks of \
             pages, a third the row's columns and the look at what it changed",
        );
    }
    outcome.note(format!("{passed} changes in the log, of which {wanted} are of the source."));
    outcome
}

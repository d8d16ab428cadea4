//! From COMMIT to the client, by a stream and by LISTEN/NOTIFY, with the same pace of commits.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use event_source_tests::Cluster;
use event_source_tests::consume::latency::{Spread, commit_to_client, pause_until};
use postgres::fallible_iterator::FallibleIterator as _;

use super::table::Table;

const COMMITS: u32 = 2000;
const PACE: Duration = Duration::from_millis(4);

pub(crate) fn measure() -> Table {
    let cluster = Cluster::start();
    let notify = by_notify(&cluster);
    let quiet = commit_to_client(&cluster, COMMITS, false);
    drop(cluster);
    let open = commit_to_client(&Cluster::start(), COMMITS, true);
    let mut result = Table::new("Commit to client, the commit itself included", "us");
    let spreads =
        [("LISTEN/NOTIFY", notify), ("stream", quiet), ("stream, a writer stays open", open)];
    let row = |name: &str, part: &str, time: Duration| {
        (format!("{name}, {part}"), vec![time.as_secs_f64() * 1e6])
    };
    result.group(spreads.map(|(name, spread)| row(name, "p50", spread.p50)));
    result.group(spreads.map(|(name, spread)| row(name, "p99", spread.p99)));
    result
}

fn by_notify(cluster: &Cluster) -> Spread {
    let mut writer = cluster.connect();
    let mut listener = cluster.connect();
    writer.batch_execute("CREATE TABLE notified (id int PRIMARY KEY)").expect("a table");
    listener.batch_execute("LISTEN bench").expect("it listens");
    let (sent, seen) = thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = HashMap::new();
            let mut notifications = listener.notifications();
            let mut coming = notifications.timeout_iter(Duration::from_secs(30));
            while seen.len() < COMMITS as usize {
                let told = coming.next().expect("the connection holds").expect("it comes in time");
                seen.insert(told.payload().parse::<u32>().expect("a number"), Instant::now());
            }
            seen
        });
        let insert = writer
            .prepare("WITH w AS (INSERT INTO notified VALUES ($1) RETURNING id) SELECT pg_notify('bench', id::text) FROM w")
            .expect("it can be prepared");
        let start = Instant::now();
        let mut sent = HashMap::new();
        for (number, at) in (1..=COMMITS).zip((0..).map(|n| start + PACE * n)) {
            pause_until(at);
            sent.insert(number, Instant::now());
            writer.execute(&insert, &[&i32::try_from(number).expect("few")]).expect("it commits");
        }
        (sent, reader.join().expect("the reader panicked"))
    });
    Spread::of(sent.iter().map(|(number, at)| seen[number] - *at).collect())
}

//! What a page costs in a log that has grown: the same page, at the beginning of it and near its end.

use event_source_tests::Cluster;

use crate::clusters;
use crate::filled::{self, grow, update_items};
use crate::reader::{Reader, Wire};
use crate::turns::turns;
use crate::work::{Better, Outcome, Run, median, ratios};

/// Changes of the small log.
const SMALL: u64 = 100_000;
const PAGE: u32 = 100;
/// Pages of one sample.
const PAGES: u32 = 200;
/// Single-row transactions at each end of a log, where pages are read.
const AT_AN_END: u64 = 400;
/// Changes of each transaction between them.
const TOGETHER: u64 = 50;

pub fn measure(run: &Run) -> Outcome {
    let large = run.pick(50_000_000, 2_000_000);
    let (small, grown) = (Log::of(SMALL), Log::of(large));
    let names = [
        "a log of 100,000, its beginning",
        "a large log, its beginning",
        "a log of 100,000, its end",
        "a large log, its end",
    ];
    let measured = turns(
        run.rounds(),
        &mut [
            (names[0], &mut || microseconds(&small.begin)),
            (names[1], &mut || microseconds(&grown.begin)),
            (names[2], &mut || microseconds(&small.end)),
            (names[3], &mut || microseconds(&grown.end)),
        ],
    );
    // Nothing is missing at the end. What stands in the middle was counted where it was written.
    for log in [&small, &grown] {
        let _time = log.end.pages(AT_AN_END);
    }
    let title = format!("A page of {PAGE} events");
    let mut outcome = Outcome::new(title, "us", Better::Lower);
    for (name, samples) in names.iter().zip(&measured) {
        outcome.add("event_source", *name, samples.clone());
    }
    for at in [1, 3] {
        let ratio = median(&ratios(&measured[at], &measured[at - 1]));
        outcome
            .goal_at_most(format!("{}, over the small one", names[at]), ratio, 1.1)
            .because("the index is one level deeper, and its pages leave the processor's caches");
    }
    outcome.note(format!(
        "The large log has {large} changes in {:.1} GB. The pages are of single-row transactions; between \
         them are transactions of {TOGETHER} rows.",
        grown.bytes / 1e9
    ));
    outcome
}

/// A log, and who reads pages of it.
struct Log {
    begin: Reader,
    end: Reader,
    bytes: f64,
    _cluster: Cluster,
}

impl Log {
    fn of(changes: u64) -> Self {
        // It is thrown away: what makes it last would only take time, and as much disk again.
        let cluster = clusters::full()
            .conf("fsync", "off")
            .conf("full_page_writes", "off")
            .conf("max_wal_size", "2GB")
            .start();
        let _serving = cluster.serving();
        let mut client = cluster.connect();
        filled::items_of_hot_updates(&mut client);
        client.execute("SELECT event_source.capture('item')", &[]).expect("it can be captured");
        let mut token = || {
            let row = client.query_one("SELECT event_source('item')", &[]);
            row.expect("a token").get::<_, String>(0)
        };
        let begin = token();
        update_items(&cluster, AT_AN_END);
        grow(&cluster, changes - 2 * AT_AN_END, TOGETHER);
        let end = token();
        update_items(&cluster, AT_AN_END);
        let size = "SELECT sum(pg_total_relation_size(oid))::float8 FROM pg_class
                    WHERE relkind = 'r' AND relnamespace = 'event_source'::regnamespace";
        let bytes = client.query_one(size, &[]).expect("it can be asked").get(0);
        let reader = |token| Reader::new(cluster.http(), token, Wire::Native);
        Self { begin: reader(begin), end: reader(end), bytes, _cluster: cluster }
    }
}

/// For one page.
fn microseconds(reader: &Reader) -> f64 {
    let pages = reader.first_pages(PAGE, PAGES);
    median(&pages.iter().map(|took| took.as_secs_f64() * 1e6).collect::<Vec<_>>())
}

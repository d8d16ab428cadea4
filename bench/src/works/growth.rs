//! What a page costs in a log that has grown: the same page, early in it and near its end.

use crate::clusters;
use crate::filled::{self, update_items};
use crate::reader::{Reader, Wire};
use crate::turns::turns;
use crate::work::{Better, Outcome, Run, median, ratios};

/// Changes of the small log.
const SMALL: u64 = 100_000;
const PAGE: u32 = 100;
/// Pages of one sample.
const PAGES: u32 = 50;

pub fn measure(run: &Run) -> Outcome {
    let large = run.pick(50_000_000, 2_000_000);
    let (small, grown) = (Log::of(SMALL), Log::of(large));
    let names = ["a log of 100,000", "a large log, its beginning", "a large log, its end"];
    let measured = turns(
        run.rounds(),
        &mut [
            (names[0], &mut || small.end.microseconds()),
            (names[1], &mut || grown.begin.microseconds()),
            (names[2], &mut || grown.end.microseconds()),
        ],
    );
    let title = format!("A page of {PAGE} events");
    let mut outcome = Outcome::new(title, "us", Better::Lower);
    for (name, samples) in names.iter().zip(&measured) {
        outcome.add("event_source", *name, samples.clone());
    }
    for (name, samples) in names.iter().zip(&measured).skip(1) {
        let ratio = median(&ratios(samples, &measured[0]));
        outcome.goal_at_most(format!("{name}, over the small one"), ratio, 1.1);
    }
    outcome.note(format!("The large log has {large} changes."));
    outcome
}

/// A log of single-row updates, and where pages of it are read.
struct Log {
    begin: Place,
    end: Place,
    _cluster: event_source_tests::Cluster,
}

struct Place(Reader);

impl Log {
    fn of(changes: u64) -> Self {
        let cluster = clusters::full().start();
        let _serving = cluster.serving();
        let mut client = cluster.connect();
        filled::items(&mut client);
        client.execute("SELECT event_source.capture('item')", &[]).expect("it can be captured");
        let mut token = || {
            let row = client.query_one("SELECT event_source('item')", &[]);
            row.expect("a token").get::<_, String>(0)
        };
        let begin = token();
        update_items(&cluster, changes - u64::from(PAGE) * 4);
        let end = token();
        update_items(&cluster, u64::from(PAGE) * 4);
        let place = |token| Place(Reader::new(cluster.http(), token, Wire::Native));
        Self { begin: place(begin), end: place(end), _cluster: cluster }
    }
}

impl Place {
    /// For one page.
    fn microseconds(&self) -> f64 {
        let pages: Vec<f64> =
            (0..PAGES).map(|_| self.0.one_page(None, PAGE).as_secs_f64() * 1e6).collect();
        median(&pages)
    }
}

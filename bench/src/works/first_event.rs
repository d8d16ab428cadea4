//! How soon a stream that is opened says something, and how often a feed can be polled that has nothing
//! new.

use crate::clusters;
use crate::filled::{self, update_items};
use crate::reader::{Reader, Wire};
use crate::turns::turns;
use crate::work::{Better, Outcome, Run, median};

/// Events that are there when a stream is opened.
const EVENTS: u64 = 1000;
const STREAMS: u32 = 50;
const CONNECTIONS: u32 = 64;

pub fn measure(run: &Run) -> Outcome {
    let polls = run.pick(1_000, 300);
    let cluster = clusters::ours().start();
    let _serving = cluster.serving();
    filled::items(&mut cluster.connect());
    let mint = "SELECT event_source.capture('item'); SELECT event_source('item')";
    let token = cluster.psql(mint).lines().last().expect("a token").to_owned();
    update_items(&cluster, EVENTS);
    let reader = |wire| Reader::new(cluster.http(), token.clone(), wire);
    let (native, fauna) = (reader(Wire::Native), reader(Wire::Fauna));
    let (_, end) = native.pages(EVENTS);
    let mut statuses = Vec::new();
    let mut first = || {
        let times = fauna.first_events(STREAMS);
        let middle = |at: usize| {
            median(&times.iter().map(|time| time[at].as_secs_f64() * 1e3).collect::<Vec<_>>())
        };
        statuses.push(middle(0));
        middle(1)
    };
    let (status, change) = ("POST /stream/1 to its status", "POST /stream/1 to its first change");
    let poll = "1,000 polls of a feed at its end";
    let measured = turns(
        run.rounds(),
        &mut [(change, &mut first), (poll, &mut || 1e6 / native.polls(&end, CONNECTIONS, polls))],
    );
    let title = "The first event of a stream, and a thousand polls of a feed at its end";
    let mut outcome = Outcome::new(title, "ms", Better::Lower);
    outcome.add("event_source", status, statuses);
    for (name, samples) in [change, poll].into_iter().zip(measured) {
        outcome.add("event_source", name, samples);
    }
    let value = |name| outcome.median("event_source", name);
    let (first, polls) = (value(change), 1e3 / value(poll));
    outcome.goal_at_most(format!("{change}, ms"), first, 1.0).because(
        "the worker looks at token, rights and definition in a transaction, and reads, before it answers; \
         server, worker and client are woken one after the other",
    );
    outcome.goal_at_least("polls of a feed at its end, thousand/s", polls, 30.0);
    outcome.note(format!(
        "Of a log of {EVENTS} transactions, from its beginning, beside polls on {CONNECTIONS} connections of HTTP/1.1: \
         {polls:.1} thousand a second."
    ));
    outcome
}

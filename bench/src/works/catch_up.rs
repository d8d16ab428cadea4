//! Reading what was logged while nobody looked: single-row transactions, by pages and over one stream.
//!
//! Every peer reads its own changes. Those with a table read it as one client would:
//! by COPY, by keyset pages, PGQ by its batches; logical decoding through `pg_recvlogical`.

mod decoded;
mod tables;

use decoded::{Decoded, Plugin};
use tables::Tables;

use crate::clusters::{self, has_peer};
use crate::filled::{self, grow};
use crate::reader::{Reader, Wire};
use crate::turns::turns;
use crate::work::{Better, Outcome, Run};

/// The peer that the goals are parts of.
const COPY: &str = "log table, COPY";

pub fn measure(run: &Run) -> Outcome {
    let events = run.pick(1_000_000, 100_000);
    // As many take minutes, at the same rate: it is of single transactions.
    let to_decode = events / 4;
    let cluster = clusters::full().start();
    let _serving = cluster.serving();
    filled::items(&mut cluster.connect());
    let mint = "SELECT event_source.capture('item'); SELECT event_source('item')";
    let token = cluster.psql(mint).lines().last().expect("a token").to_owned();
    grow(&cluster, events, 1);
    let reader = |wire| Reader::new(cluster.http(), token.clone(), wire);
    let (native, fauna) = (reader(Wire::Native), reader(Wire::Fauna));
    let tables = Tables::start(events);
    let mut plugins = vec![Plugin::Wal2json, Plugin::Pgoutput];
    plugins.retain(|plugin| plugin.is_here());
    let decoded = Decoded::write(&plugins, to_decode);
    let rate = |seconds: f64| events as f64 / seconds / 1000.0;
    let rate_decoded = |seconds: f64| to_decode as f64 / seconds / 1000.0;
    let mut by_pages = || rate(native.pages(events).0.as_secs_f64());
    let mut by_stream = || rate(native.stream(events).as_secs_f64());
    let mut fauna_pages = || rate(fauna.pages(events).0.as_secs_f64());
    let mut fauna_stream = || rate(fauna.stream(events).as_secs_f64());
    let mut copy = || rate(tables.copy());
    let mut keyset = || rate(tables.keyset());
    let mut pgq = || rate(tables.pgq());
    type Subject<'a> = (&'a str, &'a mut dyn FnMut() -> f64);
    type Decoding<'a> = (&'a str, Box<dyn FnMut() -> f64 + 'a>);
    let mut subjects: Vec<Subject<'_>> = vec![
        ("event_source, pages", &mut by_pages),
        ("event_source, one stream", &mut by_stream),
        ("event_source, Fauna's pages", &mut fauna_pages),
        ("event_source, Fauna's stream", &mut fauna_stream),
        (COPY, &mut copy),
        ("log table, keyset pages", &mut keyset),
    ];
    if has_peer("pgq3") {
        subjects.push(("PGQ, batches", &mut pgq));
    }
    let decoded = &decoded;
    let mut decoding: Vec<Decoding<'_>> = Vec::new();
    for plugin in plugins {
        decoding.push((plugin.name(), Box::new(move || rate_decoded(decoded.read(plugin)))));
    }
    for (name, read) in &mut decoding {
        subjects.push((name, read));
    }
    let names: Vec<String> = subjects.iter().map(|(name, _)| (*name).to_owned()).collect();
    let measured = turns(run.rounds(), &mut subjects);
    let title = "Changes read per second, of those that were logged before";
    let mut outcome = Outcome::new(title, "thousand/s", Better::Higher);
    for (name, samples) in names.iter().zip(measured) {
        outcome.add(name, "catch-up", samples);
    }
    // Where COPY read 1.25 million a second these were 700,000 and 400,000: as parts of it they are
    // the same on every machine.
    for (subject, limit) in [
        ("event_source, pages", 0.56),
        ("event_source, one stream", 0.56),
        ("event_source, Fauna's pages", 0.32),
        ("event_source, Fauna's stream", 0.32),
    ] {
        let part = outcome.ratio(subject, COPY, "catch-up");
        outcome.goal_at_least(format!("{subject}, over COPY"), part, limit).because(
            "an event takes 0.6 us of the worker and 0.7 of the server, a row of COPY 0.55 of its backend; a \
             third of the machine is idle beside a client that only counts, since parts of a millisecond pass \
             from one to the other; an event of Fauna's takes the server 11,200 instructions to render, \
             one of ours 4,900",
        );
    }
    outcome.note(format!(
        "{events} single-row UPDATEs, {to_decode} for wal2json and pgoutput; the tables of COPY, keyset pages and PGQ were filled in bulk."
    ));
    outcome.note("Server, worker and client share the machine's cores.");
    outcome
}

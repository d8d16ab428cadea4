//! What is written for a single-row UPDATE: into tables and indexes that keep the change, and into
//! WAL above what the UPDATE itself writes.

use postgres::Client;

use crate::clusters;
use crate::peers::{Item, Kind, Peer};
use crate::sessions::Sessions;
use crate::turns::turns_of;
use crate::work::{Better, Outcome, Run};

const KINDS: [Kind; 6] = [
    Kind::Plain,
    Kind::Captured,
    Kind::Audit,
    Kind::PgqLogutriga,
    Kind::PgqSqltriga,
    Kind::Wal2json,
];

/// A row as wide as those of which the goals were measured, where the audit trigger's log comes to some
/// 364 bytes per change.
const ITEM: Item = Item {
    columns: "name text NOT NULL, price numeric(10, 2) NOT NULL, note text NOT NULL",
    values: "'Product no. ' || id, 19.90, 'a row as rows are'",
};

struct Subject {
    peer: Peer,
    client: Client,
    sessions: Sessions,
    /// Bytes of the log per change, round by round.
    log: Vec<f64>,
}

pub fn measure(run: &Run) -> Outcome {
    let changes = run.pick(10_000, 8_000);
    let mut subjects: Vec<Subject> =
        KINDS.into_iter().filter(|kind| kind.is_here()).map(Subject::start).collect();
    for subject in &mut subjects {
        // Every page is written whole once after a checkpoint, before anything counts.
        subject.round(changes);
        subject.log.clear();
    }
    let measured = turns_of(
        run.rounds(),
        &mut subjects,
        |subject| subject.peer.kind.name(),
        |subject| subject.round(changes),
    );
    let mut outcome = Outcome::new(
        "Bytes per single-row UPDATE that changes one of five columns",
        "bytes",
        Better::Lower,
    );
    for (subject, samples) in subjects.iter_mut().zip(&measured).skip(1) {
        subject.peer.verify();
        let above = samples.iter().zip(&measured[0]).map(|(with, plain)| with - plain).collect();
        outcome.add(subject.peer.kind.name(), "log", subject.log.clone());
        outcome.add(subject.peer.kind.name(), "WAL, above the plain table", above);
    }
    let ours = |at| outcome.median(Kind::Captured.name(), at);
    let (log, wal) = (ours("log"), ours("WAL, above the plain table"));
    outcome.goal_at_most("log", log, 220.0);
    outcome.goal_at_most("WAL, above the plain table", wal, 240.0).because(
        "pg_waldump: the row is one record of 150 bytes with images of some 60, its index entry one of \
         72, and each record is rounded up to 8; the rest is the log's pages as they are split",
    );
    outcome.note("event_source and the audit trigger keep both images, complete; PGQ logutriga the new one, sqltriga what changed.");
    outcome.note("wal2json has both images by REPLICA IDENTITY FULL, in WAL alone.");
    outcome
}

impl Subject {
    fn start(kind: Kind) -> Self {
        // How long it takes does not matter here.
        let options = clusters::for_writers().conf("synchronous_commit", "off");
        let peer = kind.start_with(options, &ITEM);
        let mut client = peer.cluster.connect();
        if kind == Kind::Wal2json {
            client
                .batch_execute("ALTER TABLE item REPLICA IDENTITY FULL")
                .expect("both images can be had");
        }
        let sessions = Sessions::open(&peer.cluster, 4);
        Self { peer, client, sessions, log: Vec::new() }
    }

    /// Bytes of WAL per change.
    fn round(&mut self, changes: u32) -> f64 {
        self.peer.tidy();
        let (wal, log) = (self.wal(), self.log_size());
        self.sessions.update(changes);
        let (wal, log) = (self.wal() - wal, self.log_size() - log);
        self.peer.wrote(changes.into());
        self.log.push(log / f64::from(changes));
        wal / f64::from(changes)
    }

    fn wal(&mut self) -> f64 {
        self.number("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
    }

    fn log_size(&mut self) -> f64 {
        let tables = match self.peer.kind {
            Kind::Captured => "relnamespace = 'event_source'::regnamespace",
            Kind::Audit => "oid = 'audit'::regclass",
            Kind::PgqLogutriga | Kind::PgqSqltriga => "relnamespace = 'pgq'::regnamespace",
            _ => "false",
        };
        let sum = format!(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::float8
             FROM pg_class WHERE relkind = 'r' AND {tables}"
        );
        self.number(&sum)
    }

    fn number(&mut self, query: &str) -> f64 {
        self.client.query_one(query, &[]).expect("it can be asked").get(0)
    }
}

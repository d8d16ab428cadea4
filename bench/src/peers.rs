//! What event_source is compared with.
//!
//! Here: what writers can be burdened with to be heard of, each on a cluster of its own with the same table.
//!
//! All of them count what they were told of or have stored, so that nobody is compared who lost
//! something. Those that have a reader by nature (LISTEN, logical decoding) have one that reads along.

pub mod audit;
pub mod hyper;
pub mod logical;
pub mod nchan;
pub mod notify;
pub mod ours;
pub mod pgoutput;
pub mod pgq;
pub mod played;
pub mod whole;

use std::time::Duration;

use event_source_tests::cluster::DATABASE;
use event_source_tests::{Cluster, Options, wait_until};
use postgres::Client;

use logical::Plugin;

use crate::clusters::has_peer;

/// Rows of table `item`, with the ids from 1.
pub const ROWS: i32 = 100_000;

/// Table `item` behind its `id` and its `amount`.
#[derive(Debug)]
pub struct Item {
    /// Its further columns, and what stands in them for an `id`.
    pub columns: &'static str,
    pub values: &'static str,
}

/// What writers write unless a work has its own.
const NARROW: Item = Item { columns: "note text NOT NULL", values: "'a row as rows are'" };

/// How long what was committed may take to be heard of.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whoever hears of changes, or stores them.
pub trait Hearing {
    /// How many there were so far.
    ///
    /// # Panics
    /// When it has seen one missing, twice or out of order.
    fn heard(&mut self) -> u64;

    /// Waits until there were so many in all.
    ///
    /// # Panics
    /// When there are not, or more.
    fn wait_for(&mut self, all: u64) {
        let mut heard = 0;
        wait_until("all changes to be heard of", PATIENCE, || {
            heard = self.heard();
            heard >= all
        });
        assert_eq!(heard, all, "changes came twice");
    }
}

/// Who is to hear of changes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody, and our library is not even loaded.
    Plain,
    /// A trigger in plpgsql that sends the row by `pg_notify`, and a session that listens.
    Notify,
    /// A trigger in plpgsql that keeps both images as jsonb.
    Audit,
    /// PGQ with `pgq.logutriga`: the new row, url-encoded; nobody reads the queue.
    PgqLogutriga,
    /// PGQ with `pgq.sqltriga`: the changed columns, as SQL.
    PgqSqltriga,
    /// wal2json, and `pg_recvlogical` that reads along.
    Wal2json,
    Pgoutput,
    /// Our library is loaded; the table is not captured.
    NotCaptured,
    /// Captured, and nobody follows.
    Captured,
    /// Captured, and a stream follows.
    Followed,
}

/// Those that are measured beside each other where writers wait: one of each way to be heard of.
pub const COMPARED: [Kind; 8] = [
    Kind::Plain,
    Kind::Captured,
    Kind::Followed,
    Kind::Wal2json,
    Kind::Pgoutput,
    Kind::Audit,
    Kind::PgqLogutriga,
    Kind::Notify,
];

/// A cluster with table `item` on which changes are heard of.
pub struct Peer {
    pub kind: Kind,
    // Before the cluster, so that it is not seen to break.
    hearing: Option<Box<dyn Hearing>>,
    pub cluster: Cluster,
    /// Changes that were made so far, as far as they are to be heard of.
    made: u64,
}

impl Kind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain table",
            Self::Notify => "NOTIFY trigger",
            Self::Audit => "audit trigger",
            Self::PgqLogutriga => "PGQ logutriga",
            Self::PgqSqltriga => "PGQ sqltriga",
            Self::Wal2json => "wal2json",
            Self::Pgoutput => "pgoutput",
            Self::NotCaptured => "event_source, not captured",
            Self::Captured => "event_source, nobody follows",
            Self::Followed => "event_source, one stream",
        }
    }

    /// Whether what it needs is on this machine (`bench/peers.sh`).
    #[must_use]
    pub fn is_here(self) -> bool {
        let package = match self {
            Self::PgqLogutriga | Self::PgqSqltriga => "pgq3",
            Self::Wal2json => "wal2json",
            _ => return true,
        };
        has_peer(package)
    }

    /// Starts it on a cluster with these options.
    ///
    /// # Panics
    /// When it cannot be set up.
    #[must_use]
    pub fn start(self, options: Options) -> Peer {
        self.start_with(options, &NARROW)
    }

    /// The same with a table of one's own.
    ///
    /// # Panics
    /// When it cannot be set up.
    #[must_use]
    pub fn start_with(self, options: Options, item: &Item) -> Peer {
        let cluster = match self {
            Self::NotCaptured | Self::Captured | Self::Followed => options.start(),
            Self::Wal2json => Plugin::Wal2json.cluster(without_us(options)),
            Self::Pgoutput => Plugin::Pgoutput.cluster(without_us(options)),
            Self::Plain | Self::Notify | Self::Audit | Self::PgqLogutriga | Self::PgqSqltriga => {
                without_us(options).start()
            }
        };
        if self.is_ours() {
            let _serving = cluster.serving();
        } else {
            let create = format!("CREATE DATABASE {DATABASE}");
            cluster.connect_to("postgres").batch_execute(&create).expect("a database is created");
        }
        fill(&mut cluster.connect(), item);
        let hearing: Option<Box<dyn Hearing>> = match self {
            Self::Plain | Self::NotCaptured => None,
            Self::Notify => Some(Box::new(notify::Listener::start(&cluster))),
            Self::Audit => Some(Box::new(audit::start(&cluster))),
            Self::PgqLogutriga => Some(Box::new(pgq::start(&cluster, "logutriga"))),
            Self::PgqSqltriga => Some(Box::new(pgq::start(&cluster, "sqltriga"))),
            Self::Wal2json => Some(Box::new(Plugin::Wal2json.receive(&cluster))),
            Self::Pgoutput => Some(Box::new(Plugin::Pgoutput.receive(&cluster))),
            Self::Captured => Some(Box::new(ours::Unfollowed::start(&cluster))),
            Self::Followed => Some(Box::new(ours::follow(&cluster))),
        };
        Peer { kind: self, hearing, cluster, made: 0 }
    }

    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::NotCaptured | Self::Captured | Self::Followed)
    }

    /// Whether somebody reads while it is written.
    #[must_use]
    pub fn has_reader(self) -> bool {
        matches!(self, Self::Notify | Self::Wal2json | Self::Pgoutput | Self::Followed)
    }
}

/// A PostgreSQL without our library, and without a database yet.
fn without_us(options: Options) -> Options {
    options.without_extension().conf("shared_preload_libraries", "").conf("event_source.listen", "")
}

/// The table: its update is not HOT, since an indexed column changes.
fn fill(client: &mut Client, Item { columns, values }: &Item) {
    let create = format!("CREATE TABLE item (id int PRIMARY KEY, amount int NOT NULL, {columns})");
    let rows =
        format!("INSERT INTO item SELECT id, id, {values} FROM generate_series(1, {ROWS}) AS id");
    for statement in [
        &create,
        "CREATE INDEX item_by_amount ON item (amount)",
        &rows,
        "VACUUM ANALYZE item",
        "CHECKPOINT",
    ] {
        client.batch_execute(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

impl Peer {
    /// So many further changes were made: waits until whoever reads along has heard of them.
    ///
    /// # Panics
    /// When they were not heard of, or more were.
    pub fn wrote(&mut self, changes: u64) {
        self.made += changes;
        if self.kind.has_reader() {
            self.verify();
        }
    }

    /// Looks whether all that was made was heard of, or is stored.
    ///
    /// # Panics
    /// When it was not, or more was.
    pub fn verify(&mut self) {
        if let Some(hearing) = &mut self.hearing {
            hearing.wait_for(self.made);
        }
    }

    /// What was written becomes what a table looks like that is vacuumed now and then.
    ///
    /// # Panics
    /// When it cannot be vacuumed.
    pub fn tidy(&self) {
        self.cluster.connect().batch_execute("VACUUM item").expect("a table can be vacuumed");
    }
}

/// What is stored, counted.
pub struct Counted {
    client: Client,
    query: &'static str,
}

impl Counted {
    fn new(cluster: &Cluster, query: &'static str) -> Self {
        Self { client: cluster.connect(), query }
    }
}

impl Hearing for Counted {
    fn heard(&mut self) -> u64 {
        let count: i64 = self.client.query_one(self.query, &[]).expect("it can be counted").get(0);
        u64::try_from(count).expect("a count is not below zero")
    }
}

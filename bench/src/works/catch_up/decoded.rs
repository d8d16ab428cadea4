//! Logical decoding through `pg_recvlogical`, of changes that were written before.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use event_source_tests::Cluster;
use event_source_tests::cluster::DATABASE;

use crate::clusters::{self, has_peer};
use crate::filled;

const SLOT: &str = "bench";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    Wal2json,
    Pgoutput,
}

impl Plugin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wal2json => "wal2json",
            Self::Pgoutput => "pgoutput",
        }
    }

    pub(super) fn is_here(self) -> bool {
        self == Self::Pgoutput || has_peer("wal2json")
    }
}

/// Changes that wait to be decoded, as often as somebody asks.
pub(super) struct Decoded {
    pub(super) plugin: Plugin,
    cluster: Cluster,
    changes: u64,
    readings: u32,
}

impl Decoded {
    pub(super) fn write(plugin: Plugin, changes: u64) -> Self {
        let cluster = clusters::decoding(clusters::plain(), plugin.name()).start();
        let create = format!("CREATE DATABASE {DATABASE}");
        cluster.connect_to("postgres").batch_execute(&create).expect("a database is created");
        let mut client = cluster.connect();
        filled::items(&mut client);
        client
            .batch_execute(&format!(
                "CREATE PUBLICATION item FOR TABLE item;
                 SELECT pg_create_logical_replication_slot('{SLOT}', '{}')",
                plugin.name()
            ))
            .expect("a slot can be made");
        filled::update_items(&cluster, changes);
        Self { plugin, cluster, changes, readings: 0 }
    }

    /// Has all of them read, and gives the seconds that it took.
    pub(super) fn read(&mut self) -> f64 {
        // A slot that was read has moved on: each reading has a copy.
        self.readings += 1;
        let slot = format!("reading_{}", self.readings);
        let copy = format!("SELECT pg_copy_logical_replication_slot('{SLOT}', '{slot}')");
        self.cluster.connect().batch_execute(&copy).expect("a slot can be copied");
        let options: &[&str] = match self.plugin {
            Plugin::Wal2json => &["-o", "format-version=2", "-o", "include-transaction=off"],
            Plugin::Pgoutput => &["-o", "proto_version=1", "-o", "publication_names=item"],
        };
        let begun = Instant::now();
        let mut child = Command::new(self.cluster.program("pg_recvlogical"))
            .args(["--dbname", DATABASE, "--username", "postgres", "--slot", &slot, "--start"])
            .args(["--port", &self.cluster.port().to_string(), "--host", "127.0.0.1"])
            .args(["--file", "-"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("pg_recvlogical runs");
        let mut output = child.stdout.take().expect("it is piped");
        let mut count = Count::new(self.plugin);
        let mut piece = vec![0; 1 << 16];
        while count.changes < self.changes {
            let length = output.read(&mut piece).expect("a pipe can be read");
            assert!(length > 0, "pg_recvlogical has ended, see above");
            count.take(&piece[..length]);
        }
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(count.changes, self.changes, "changes came twice");
        child.kill().expect("it still waits for more");
        child.wait().expect("it is our child");
        took
    }
}

/// The changes in an output, counted by what stands once in each of them.
struct Count {
    plugin: Plugin,
    rest: Vec<u8>,
    changes: u64,
}

impl Count {
    fn new(plugin: Plugin) -> Self {
        Self { plugin, rest: Vec::new(), changes: 0 }
    }

    fn take(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let (update, lines): (&[u8], _) = match self.plugin {
            Plugin::Wal2json => (br#"{"action":"U""#, &self.rest[..end]),
            // The note of each row ends a message; it is in nothing else that the plugin writes.
            Plugin::Pgoutput => (filled::NOTE.as_bytes(), &self.rest[..end]),
        };
        self.changes +=
            lines.windows(update.len()).filter(|window| *window == update).count() as u64;
        self.rest.drain(..=end);
    }
}

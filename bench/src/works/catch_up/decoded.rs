//! Logical decoding through `pg_recvlogical`, of changes that were written before.

use std::cell::Cell;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use event_source_tests::cluster::DATABASE;
use event_source_tests::private::output;
use event_source_tests::{Cluster, wait_until};

use crate::clusters::{self, has_peer};
use crate::filled;

/// How long a server may take to see that its client has ended.
const GONE: Duration = Duration::from_secs(30);

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

    /// The changes in an output, by what stands once in each of them.
    fn changes(self, output: &[u8]) -> u64 {
        let update: &[u8] = match self {
            Self::Wal2json => br#"{"action":"U""#,
            // The note of each row ends a message; it is in nothing else that the plugin writes.
            Self::Pgoutput => filled::NOTE.as_bytes(),
        };
        memchr::memmem::find_iter(output, update).count() as u64
    }

    pub(super) fn is_here(self) -> bool {
        self == Self::Pgoutput || has_peer("wal2json")
    }
}

/// Changes that wait to be decoded, as often as somebody asks and by whom. They are written once: that takes
/// longer than all of the reading.
pub(super) struct Decoded {
    cluster: Cluster,
    changes: u64,
    /// Behind the last of them.
    end: String,
    readings: Cell<u32>,
}

impl Decoded {
    pub(super) fn write(plugins: &[Plugin], changes: u64) -> Self {
        let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name()).collect();
        let cluster = clusters::decoding(clusters::plain(), &names.join(",")).start();
        let create = format!("CREATE DATABASE {DATABASE}");
        cluster.connect_to("postgres").batch_execute(&create).expect("a database is created");
        let mut client = cluster.connect();
        filled::items(&mut client);
        client.batch_execute("CREATE PUBLICATION item FOR TABLE item").expect("a publication");
        // Each in a transaction of its own, which must not have written anything.
        for name in names {
            client
                .execute("SELECT pg_create_logical_replication_slot($1, $1)", &[&name])
                .expect("a slot can be made");
        }
        filled::grow(&cluster, changes, 1);
        let end = "SELECT pg_current_wal_insert_lsn()::text";
        let end = client.query_one(end, &[]).expect("a position").get(0);
        // Without this it would not be on the disk, and not be decoded, until somebody wrote more.
        client.batch_execute("SELECT pg_logical_emit_message(true, '', '')").expect("a commit");
        Self { cluster, changes, end, readings: Cell::new(0) }
    }

    /// Has all of them read, and gives the seconds that it took.
    pub(super) fn read(&self, plugin: Plugin) -> f64 {
        // A slot that was read has moved on: each reading has a copy.
        self.readings.set(self.readings.get() + 1);
        let slot = format!("reading_{}", self.readings.get());
        let copy =
            format!("SELECT pg_copy_logical_replication_slot('{}', '{slot}')", plugin.name());
        let mut client = self.cluster.connect();
        client.batch_execute(&copy).expect("a slot can be copied");
        let options: &[&str] = match plugin {
            Plugin::Wal2json => &["-o", "format-version=2", "-o", "include-transaction=off"],
            Plugin::Pgoutput => &["-o", "proto_version=1", "-o", "publication_names=item"],
        };
        // Into a file, as nobody's pace but its own; read when it is complete.
        let file = clusters::file(&slot);
        let begun = Instant::now();
        output(
            Command::new(self.cluster.program("pg_recvlogical"))
                .args(["--dbname", DATABASE, "--username", "postgres", "--slot", &slot, "--start"])
                .args(["--port", &self.cluster.port().to_string(), "--host"])
                .arg(self.cluster.socket())
                .args(["--no-loop", "--endpos", &self.end, "--file"])
                .arg(&file)
                .args(options),
        );
        let took = begun.elapsed().as_secs_f64();
        // There may be ten slots.
        let is = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'");
        wait_until("pg_recvlogical to be gone", GONE, || {
            !client.query_one(&is, &[]).expect("the slot is there").get::<_, bool>(0)
        });
        client
            .execute("SELECT pg_drop_replication_slot($1)", &[&slot])
            .expect("nobody uses the slot");
        let read = fs::read(&file).expect("it was just written");
        fs::remove_file(&file).expect("it was just read");
        assert_eq!(plugin.changes(&read), self.changes, "not all changes came once");
        took
    }
}

//! Logical decoding, read along by `pg_recvlogical`.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use event_source_tests::cluster::DATABASE;
use event_source_tests::{Cluster, Options};

use super::{Hearing, pgoutput};
use crate::clusters;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    Wal2json,
    Pgoutput,
}

impl Plugin {
    fn name(self) -> &'static str {
        match self {
            Self::Wal2json => "wal2json",
            Self::Pgoutput => "pgoutput",
        }
    }

    /// One that decodes.
    pub(super) fn cluster(self, options: Options) -> Cluster {
        clusters::decoding(options, self.name()).start()
    }

    pub(super) fn receive(self, cluster: &Cluster) -> Receiver {
        let mut client = cluster.connect();
        // A slot cannot be made in a transaction that wrote something.
        client.batch_execute("CREATE PUBLICATION item FOR TABLE item").expect("a publication");
        client
            .execute("SELECT pg_create_logical_replication_slot('bench', $1)", &[&self.name()])
            .expect("a slot can be made");
        let mut command = Command::new(cluster.program("pg_recvlogical"));
        command
            .args(["--dbname", DATABASE, "--username", "postgres", "--slot", "bench"])
            // Without a loop it ends with its server, also when nobody is left to end it.
            .args(["--start", "--no-loop"])
            .args(["--port", &cluster.port().to_string(), "--file", "-", "--host"])
            .arg(cluster.socket());
        match self {
            Self::Wal2json => {
                command.args(["-o", "format-version=2", "-o", "include-transaction=off"])
            }
            Self::Pgoutput => {
                command.args(["-o", "proto_version=1", "-o", "publication_names=item"])
            }
        };
        let mut child = command.stdout(Stdio::piped()).spawn().expect("pg_recvlogical runs");
        let output = child.stdout.take().expect("it is piped");
        let heard = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&heard);
        let thread = std::thread::spawn(move || match self {
            Self::Wal2json => each_piece(output, &counter, whole_lines),
            Self::Pgoutput => each_piece(output, &counter, pgoutput::whole_messages),
        });
        Receiver { heard, child, thread: Some(thread) }
    }
}

/// A running `pg_recvlogical`, whose changes are counted. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    heard: Arc<AtomicU64>,
    child: Child,
    thread: Option<JoinHandle<()>>,
}

impl Hearing for Receiver {
    fn heard(&mut self) -> u64 {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "pg_recvlogical has ended, see above");
        self.heard.load(Ordering::Acquire)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // What has ended needs no kill.
        let _ended = self.child.kill();
        self.child.wait().expect("it is our child");
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// Reads to the end; `whole` takes a beginning of what is there, and gives its length and the
/// changes in it.
fn each_piece(mut from: impl Read, heard: &AtomicU64, whole: fn(&[u8]) -> (usize, u64)) {
    let mut read = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let length = from.read(&mut piece).expect("a pipe can be read");
        if length == 0 {
            return;
        }
        read.extend_from_slice(&piece[..length]);
        let (taken, changes) = whole(&read);
        read.drain(..taken);
        heard.fetch_add(changes, Ordering::Release);
    }
}

fn whole_lines(read: &[u8]) -> (usize, u64) {
    let Some(last) = read.iter().rposition(|byte| *byte == b'\n') else { return (0, 0) };
    let lines = std::str::from_utf8(&read[..last]).expect("wal2json speaks UTF-8").split('\n');
    let changes = lines.filter(|line| {
        line.starts_with(r#"{"action":"U""#) || line.starts_with(r#"{"action":"I""#)
    });
    (last + 1, changes.count() as u64)
}

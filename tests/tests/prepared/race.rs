//! Schedules that are otherwise a matter of microseconds, held open by ordinary table locks: the
//! stamp of a prepared transaction is written into tables, and a test may lock them.

use std::thread::JoinHandle;

use event_source_tests::{Cluster, wait_until};
use postgres::{Client, Error, NoTls};

pub(crate) use event_source_tests::wait::LONG as LIMIT;

/// A session that other sessions can find by its name.
pub(crate) fn session(cluster: &Cluster, name: &str) -> Client {
    let mut config = cluster.config();
    config.application_name(name).connect(NoTls).expect("the server takes connections")
}

/// Runs statements in a session and a thread of their own.
pub(crate) fn running(
    cluster: &Cluster,
    name: &str,
    statements: &str,
) -> JoinHandle<Result<(), Error>> {
    let (mut client, statements) = (session(cluster, name), statements.to_owned());
    std::thread::spawn(move || client.batch_execute(&statements))
}

/// Whether the session waits for a lock that `which` (a condition on `pg_locks`) is true of.
pub(crate) fn waits(observer: &mut Client, name: &str, which: &str) -> bool {
    let sql = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE application_name = $1 AND NOT granted AND ({which})"
    );
    observer.query_one(&sql, &[&name]).expect("pg_locks can be read").get::<_, i64>(0) > 0
}

pub(crate) fn wait_for_lock(observer: &mut Client, name: &str, which: &str) {
    wait_until(&format!("{name} to wait where {which}"), LIMIT, || waits(observer, name, which));
}

/// The row lock of an open transaction.
pub(crate) const ROW: &str = "locktype = 'transactionid'";
/// Something of the extension's: a table of it, or the right to give out stamps.
pub(crate) const STAMPING: &str = "locktype IN ('object', 'relation')";

/// While it lives nobody can write stamps into any segment.
pub(crate) struct NoStamps(Client);

impl NoStamps {
    pub(crate) fn hold(cluster: &Cluster) -> Self {
        let mut client = session(cluster, "no stamps");
        let tables: Vec<String> = (0..8).map(|n| format!("event_source.stamp_{n}")).collect();
        let lock = format!("BEGIN; LOCK TABLE {} IN EXCLUSIVE MODE", tables.join(", "));
        client.batch_execute(&lock).expect("the tables can be locked");
        Self(client)
    }

    pub(crate) fn release(mut self) {
        self.0.batch_execute("COMMIT").expect("the locks can be given back");
    }
}

/// A transaction that waited for a row of a prepared one overtakes the session that commits it:
/// the stamp of the prepared transaction cannot be written before the other one has either
/// committed or begun to wait for just that.
///
/// The lock has to be asked for while the transaction is still prepared and itself locks the table;
/// it is granted with the commit, before anybody else can look.
pub(crate) fn overtake(cluster: &Cluster) {
    let mut observer = session(cluster, "observer");
    observer
        .batch_execute("BEGIN; UPDATE t SET v = v + 1 WHERE id = 1; PREPARE TRANSACTION 'first'")
        .expect("it can be prepared");
    let mut holder = session(cluster, "holder");
    let holding = std::thread::spawn(move || {
        let locked =
            holder.batch_execute("BEGIN; LOCK TABLE event_source.prepared IN EXCLUSIVE MODE");
        locked.map(|()| holder)
    });
    wait_for_lock(&mut observer, "holder", "locktype = 'relation'");
    let second = running(cluster, "second", "UPDATE t SET v = v + 10 WHERE id = 1");
    wait_for_lock(&mut observer, "second", ROW);
    let resolver = running(cluster, "resolver", "COMMIT PREPARED 'first'");
    wait_for_lock(&mut observer, "resolver", STAMPING);
    wait_until("the other writer to overtake or to wait", LIMIT, || {
        second.is_finished() || waits(&mut observer, "second", STAMPING)
    });
    let mut holder = holding.join().expect("no panic").expect("it got the lock");
    holder.batch_execute("COMMIT").expect("the lock can be given back");
    for thread in [second, resolver] {
        thread.join().expect("no panic").expect("it succeeds");
    }
}

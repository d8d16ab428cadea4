//! A log that is full of single-row transactions.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use event_source_tests::Cluster;
use event_source_tests::cluster::DATABASE;
use postgres::Client;

/// What stands in each row of table `item`, and in nothing else.
pub const NOTE: &str = "a row as rows are";

/// Makes table `item`, whose updates are not HOT, since an indexed column changes.
///
/// # Panics
/// When it cannot be made.
pub fn items(client: &mut Client) {
    client
        .batch_execute(&format!(
            "CREATE TABLE item (id int PRIMARY KEY, amount int NOT NULL, note text NOT NULL);
             CREATE INDEX item_by_amount ON item (amount);
             INSERT INTO item SELECT id, id, '{NOTE}' FROM generate_series(1, 10000) AS id"
        ))
        .expect("a table can be made");
    client.batch_execute("VACUUM ANALYZE item").expect("a table can be vacuumed");
}

/// The same table, whose updates are HOT: they cost least.
///
/// # Panics
/// When it cannot be made.
pub fn items_of_hot_updates(client: &mut Client) {
    client
        .batch_execute(&format!(
            "CREATE TABLE item (id int PRIMARY KEY, amount int NOT NULL, note text NOT NULL)
             WITH (fillfactor = 50);
             INSERT INTO item SELECT id, id, '{NOTE}' FROM generate_series(1, 10000) AS id"
        ))
        .expect("a table can be made");
}

/// Has table `item` updated so often, in transactions of so many rows each, by sessions that loop in the
/// server: `pgbench` takes twice as long for single rows, and an hour for a large log.
///
/// # Panics
/// When one fails, or not all is updated.
pub fn grow(cluster: &Cluster, changes: u64, each: u64) {
    const SESSIONS: u64 = 2;
    /// Rows of a session, which it updates in turn.
    const OWN: u64 = 10_000 / SESSIONS;
    assert_eq!(OWN % each, 0, "as many in each transaction");
    let transactions = changes / each / SESSIONS;
    assert_eq!(transactions * each * SESSIONS, changes, "as many for each session");
    let amounts = |client: &mut Client| -> i64 {
        client.query_one("SELECT sum(amount) FROM item", &[]).expect("a sum").get(0)
    };
    let mut client = cluster.connect();
    let before = amounts(&mut client);
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let first = format!("{} + number * {each} % {OWN}", session * OWN + 1);
            let fill = format!(
                "DO $$ BEGIN
                     FOR number IN 1..{transactions} LOOP
                         UPDATE item SET amount = amount + 1
                         WHERE id BETWEEN {first} AND {first} + {each} - 1;
                         COMMIT;
                     END LOOP;
                 END $$"
            );
            scope.spawn(move || {
                let mut client = cluster.connect();
                client.batch_execute("SET synchronous_commit = off").expect("it can be set");
                client.batch_execute(&fill).expect("a log can be filled");
            });
        }
    });
    let changed = u64::try_from(amounts(&mut client) - before).expect("amounts only grow");
    assert_eq!(changed, changes, "not all rows were updated");
}

/// Has table `item` updated by so many transactions, by `pgbench`: sessions of our own would take
/// longer than anything that is measured.
///
/// # Panics
/// When one fails.
pub fn update_items(cluster: &Cluster, transactions: u64) {
    pgbench(cluster, transactions, "update item set amount = amount + 1 where id = :id;\n");
}

/// The same of any statement with an `:id` up to ten thousand.
///
/// # Panics
/// When one fails.
pub fn pgbench(cluster: &Cluster, transactions: u64, statement: &str) {
    const CLIENTS: u64 = 4;
    assert_eq!(transactions % CLIENTS, 0, "as many for each of {CLIENTS} clients");
    let mut child = Command::new(cluster.program("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--username=postgres"])
        .args(["--client", &CLIENTS.to_string(), "--jobs", "1"])
        .args(["--transactions", &(transactions / CLIENTS).to_string()])
        .args(["--port", &cluster.port().to_string(), "--host", "127.0.0.1"])
        .args(["--file", "-", DATABASE])
        // Faster, and the same log.
        .env("PGOPTIONS", "-c synchronous_commit=off")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbench runs");
    let script = format!("\\set id random(1, 10000)\n{statement}");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(script.as_bytes()).expect("pgbench reads its script");
    drop(stdin);
    let status = child.wait().expect("it is our child");
    assert!(status.success(), "pgbench failed");
}

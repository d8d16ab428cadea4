//! A cluster with one captured table, and what its log looks like.

use event_source_tests::{Cluster, Options};
use postgres::Client;

/// For what takes the keeper a few visits on a busy machine.
pub use event_source_tests::wait::LONG;

pub struct Log {
    pub cluster: Cluster,
}

impl Log {
    pub fn of(options: Options) -> Self {
        let cluster = options.start();
        let mut client = cluster.connect();
        client
            .batch_execute(
                "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
                 SELECT event_source.capture('t')",
            )
            .unwrap();
        let served = client.query_one("SHOW event_source.listen", &[]).unwrap();
        if !served.get::<_, &str>(0).is_empty() {
            let _ = cluster.serving();
        }
        Self { cluster }
    }
}

/// What the log of this database takes.
pub fn bytes(client: &mut Client) -> i64 {
    client.query_one("SELECT log_bytes FROM event_source.status", &[]).unwrap().get(0)
}

/// Rows of about a kilobyte, in one statement.
pub fn write(client: &mut Client, rows: i32) {
    let insert =
        "INSERT INTO t (v) SELECT repeat(md5(random()::text), 30) FROM generate_series(1, $1)";
    client.execute(insert, &[&rows]).unwrap();
}

/// The oldest position from which the log can be read.
pub fn oldest(client: &mut Client) -> i64 {
    client.query_one("SELECT oldest FROM event_source.status", &[]).unwrap().get(0)
}

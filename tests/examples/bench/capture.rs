//! What capture costs a single-row UPDATE, beside no trigger and beside the plpgsql audit trigger
//! that people write instead. By pgbench, prepared statements, one client and four; without
//! waiting for the disk, which would hide the cost.

use std::path::Path;
use std::process::Command;

use event_source_tests::consume::{Request, Stream};
use event_source_tests::private::output;
use event_source_tests::{Cluster, Options};

use super::table::Table;

const ROUNDS: usize = 5;
const ROWS: i32 = 100_000;

pub(crate) fn measure() -> Table {
    let cluster =
        Options::default().conf("synchronous_commit", "off").conf("max_wal_size", "8GB").start();
    let _serving = cluster.serving();
    let mut client = cluster.connect();
    for table in ["plain", "audited", "captured", "followed"] {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, balance int, note text) WITH (fillfactor = 80);
                 INSERT INTO {table} SELECT id, 0, 'a row as rows are' FROM generate_series(1, {ROWS}) AS id;"
            ))
            .expect("a table can be made");
    }
    client.batch_execute(AUDIT).expect("the audit trigger can be made");
    client
        .batch_execute(
            "SELECT event_source.capture('captured'); SELECT event_source.capture('followed')",
        )
        .expect("tables can be captured");
    client.batch_execute("VACUUM ANALYZE").expect("statistics");
    let token: String =
        client.query_one("SELECT event_source('followed')", &[]).expect("a token").get(0);
    let mut stream = Stream::open(cluster.http(), &Request::new(token)).expect("a stream opens");
    // Reads what comes until the connection breaks with the cluster's end.
    std::thread::spawn(move || while let Ok(Some(_)) = stream.next(std::time::Duration::MAX) {});

    let mut result = Table::new("One single-row UPDATE (pgbench)", "us");
    let tables = [
        ("plain", "no trigger"),
        ("audited", "plpgsql audit trigger"),
        ("captured", "captured, nobody follows"),
        ("followed", "captured, a stream follows"),
    ];
    for clients in [1, 4] {
        let mut measured = vec![Vec::new(); tables.len()];
        for _ in 0..ROUNDS {
            for ((table, _), times) in tables.iter().zip(&mut measured) {
                times.push(update_time(&cluster, table, clients));
            }
        }
        let names = tables.iter().map(|(_, name)| format!("{name}, {clients} at once"));
        result.group(names.zip(measured));
    }
    result
}

/// Microseconds of one update, on the average of a run.
fn update_time(cluster: &Cluster, table: &str, clients: u32) -> f64 {
    let seconds = std::env::var("BENCH_SECONDS").unwrap_or_else(|_| "5".to_owned());
    let script =
        std::env::temp_dir().join(format!("event_source-bench-{}.sql", std::process::id()));
    let sql = format!(
        "\\set id random(1, {ROWS})\nUPDATE {table} SET balance = balance + 1 WHERE id = :id;\n"
    );
    std::fs::write(&script, sql).expect("a script can be written");
    let clients = clients.to_string();
    let said = output(
        Command::new(cluster.build().bin().join("pgbench"))
            .args(["-n", "-M", "prepared", "-h", "127.0.0.1", "-U", "postgres"])
            .args(["-p", &cluster.port().to_string(), "-c", &clients, "-T", &seconds, "-f"])
            .arg::<&Path>(&script)
            .arg("app"),
    );
    std::fs::remove_file(&script).expect("it was just written");
    said.lines()
        .find_map(|line| line.strip_prefix("latency average = ")?.strip_suffix(" ms")?.parse().ok())
        .map_or_else(|| panic!("pgbench said:\n{said}"), |ms: f64| ms * 1000.0)
}

const AUDIT: &str = "
CREATE TABLE audit (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), relation text NOT NULL,
    op text NOT NULL, old jsonb, new jsonb
);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (relation, op, old, new)
    VALUES (TG_TABLE_NAME, TG_OP, to_jsonb(OLD), to_jsonb(NEW));
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON audited
    FOR EACH ROW EXECUTE FUNCTION audit();
";

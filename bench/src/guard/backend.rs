//! Capture and reading the log, counted in a single-user backend: one process that reads statements, a
//! line each, with nobody beside it.
//!
//! The tables are made by a running cluster, which is then stopped: what a single-user backend makes has
//! the ids of system tables, which are not captured.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

use event_source_tests::cluster::DATABASE;
use event_source_tests::private::as_server_user;
use event_source_tests::{Cluster, Options, Stop};

use super::Count;
use super::callgrind::Counted;
use crate::peers::audit;

/// Rows of each table.
const ROWS: u32 = 4000;
/// Updates of one row each.
const SINGLE: u32 = 1000;
/// Rows of one statement.
const BULK: u32 = 1000;
/// Transactions in the log that is read.
const LOGGED: u32 = 2000;
const TABLES: [&str; 3] = ["plain", "audited", "captured"];

/// Statements that are counted together.
struct Part {
    name: String,
    events: u32,
    statements: Vec<String>,
}

impl Part {
    fn new(name: impl Into<String>, events: u32, statement: impl Into<String>) -> Self {
        Self { name: name.into(), events, statements: vec![statement.into()] }
    }
}

/// What is guarded, and beside it what is only shown.
#[derive(Debug)]
pub struct Counts {
    pub guarded: Vec<Count>,
    /// The same work by the plpgsql audit trigger that people write instead, and without any.
    pub beside: Vec<Count>,
}

/// Counts everything that a backend does.
///
/// # Panics
/// When a statement fails or a page does not hold what was logged.
#[must_use]
pub fn count() -> Counts {
    let mut cluster = Options::default()
        // Nobody writes but the statements: no vacuum, no heartbeat of a worker.
        .conf("autovacuum", "off")
        .conf("event_source.listen", "")
        .conf("synchronous_commit", "off")
        .conf("fsync", "off")
        .conf("full_page_writes", "off")
        .start();
    prepare(&cluster);
    cluster.stop(Stop::Fast);
    let (parts, counted) = run(&cluster);
    // Before the first part is the start of the backend.
    let counts: Vec<Count> = parts
        .iter()
        .zip(2..)
        .map(|(part, number)| {
            let total = counted.part(number, &part.name);
            Count::new(part.name.clone(), total / f64::from(part.events))
        })
        .collect();
    let of = |name: &str| {
        let found = counts.iter().find(|count| count.name == name);
        found.unwrap_or_else(|| panic!("no part is called {name}")).instructions
    };
    let more =
        |kind: &str, table: &str| of(&format!("{kind}-{table}")) - of(&format!("{kind}-plain"));
    let capture = |kind: &str| Count::new(format!("capture: {kind}"), more(kind, "captured"));
    Counts {
        guarded: vec![
            capture("update"),
            capture("bulk-update"),
            capture("bulk-insert"),
            Count::new("log read: event_page", of("page")),
            Count::new("log read: event_feed", of("feed")),
            Count::new("log read: passed over", of("sparse")),
        ],
        beside: ["update", "bulk-update", "bulk-insert"]
            .into_iter()
            .flat_map(|kind| {
                let plain = Count::new(format!("no trigger: {kind}"), of(&format!("{kind}-plain")));
                [plain, Count::new(format!("audit trigger: {kind}"), more(kind, "audited"))]
            })
            .collect(),
    }
}

fn prepare(cluster: &Cluster) {
    let mut client = cluster.connect();
    let mut run = |sql: &str| client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    for table in TABLES.iter().chain(&["other"]) {
        // No page is full before the end, and no version is pruned.
        run(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, balance int, note text) WITH (fillfactor = 20);
             INSERT INTO {table} SELECT id, 0, 'a row as rows are' FROM generate_series(1, {ROWS}) AS id"
        ));
    }
    run(&audit::trigger_on("audited"));
    run("SELECT event_source.capture('captured'); SELECT event_source.capture('other')");
    run("CREATE TABLE tokens AS
         SELECT event_source('captured') AS captured, event_source('other') AS other");
    for id in 1..=LOGGED {
        run(&update("captured", &format!("= {id}")));
    }
    run("VACUUM FREEZE ANALYZE");
}

fn update(table: &str, ids: &str) -> String {
    format!("UPDATE {table} SET balance = balance + 1 WHERE id {ids}")
}

/// The parts, in the order in which they run.
fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    for kind in ["warm-update", "update"] {
        for table in TABLES {
            let statements = (1..=SINGLE).map(|id| update(table, &format!("= {id}"))).collect();
            parts.push(Part { name: format!("{kind}-{table}"), events: SINGLE, statements });
        }
    }
    for (kind, first) in [("warm-bulk", ROWS - 2 * BULK), ("bulk", ROWS - BULK)] {
        for table in TABLES {
            let rows = format!("BETWEEN {} AND {}", first + 1, first + BULK);
            parts.push(Part::new(format!("{kind}-update-{table}"), BULK, update(table, &rows)));
        }
        for table in TABLES {
            let insert = format!(
                "INSERT INTO {table} SELECT id, 0, 'a row' FROM generate_series({}, {}) AS id",
                first + 1 + ROWS,
                first + BULK + ROWS
            );
            parts.push(Part::new(format!("{kind}-insert-{table}"), BULK, insert));
        }
    }
    let page = |name, token| {
        let sql = format!(
            "SELECT octet_length(event_page({token}, page_size => {LOGGED})::text) FROM tokens"
        );
        Part::new(name, LOGGED, sql)
    };
    let feed = |name| {
        let sql = format!(
            "SELECT count(cursor) AS rows FROM tokens, event_feed(captured, page_size => {LOGGED})"
        );
        Part::new(name, LOGGED, sql)
    };
    parts.extend([page("warm-page", "captured"), page("page", "captured")]);
    parts.extend([feed("warm-feed"), feed("feed")]);
    parts.push(Part::new(
        "sparse",
        LOGGED + 2 * SINGLE + 4,
        "SELECT octet_length(event_page(other)::text) AS passed FROM tokens",
    ));
    parts
}

fn run(cluster: &Cluster) -> (Vec<Part>, Counted) {
    const MARK: &str = "SELECT pg_sleep(0)";
    let parts = parts();
    let mut script = format!("{MARK}\n");
    for part in &parts {
        for statement in &part.statements {
            writeln!(script, "{statement}").expect("a String takes all");
        }
        writeln!(script, "{MARK}").expect("a String takes all");
    }
    let data = cluster.data();
    let statements = data.join("statements");
    fs::write(&statements, script).expect("a file can be written among the cluster's");
    let script = File::open(&statements).expect("it was just written");
    let (postgres, folder) = (cluster.program("postgres"), data.display().to_string());
    let counted = Counted::run(
        as_server_user(Path::new("valgrind")).stdin(script),
        &data,
        "pg_sleep",
        &[&postgres.display().to_string(), "--single", "-D", &folder, DATABASE],
    );
    // The last row is the page's status.
    let full = counted.said.matches(&format!("rows = \"{}\"", LOGGED + 1)).count();
    assert_eq!(full, 2, "event_feed gives each event that was logged:\n{}", counted.said);
    (parts, counted)
}

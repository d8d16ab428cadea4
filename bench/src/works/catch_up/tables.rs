//! Peers that keep changes in a table: a plain one, and a queue of PGQ's. Filled in bulk, for what they are
//! read at does not depend on how they were written.

use std::io::Read as _;
use std::time::Instant;

use event_source_tests::Cluster;
use event_source_tests::cluster::DATABASE;
use postgres::Client;

use crate::clusters::{self, has_peer};

/// Rows of a page, which is the largest of ours.
const PAGE: u64 = 16_000;

/// A plain log table, and a queue of PGQ's.
pub(super) struct Tables {
    cluster: Cluster,
    events: u64,
}

impl Tables {
    pub(super) fn start(events: u64) -> Self {
        let cluster = clusters::plain().start();
        let create = format!("CREATE DATABASE {DATABASE}");
        cluster.connect_to("postgres").batch_execute(&create).expect("a database is created");
        let mut client = cluster.connect();
        client
            .batch_execute(&format!(
                "CREATE TABLE log (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), op text NOT NULL, data text NOT NULL);
                 INSERT INTO log (op, data) SELECT 'U', {DATA} FROM generate_series(1, {events}) AS n"
            ))
            .expect("a log can be filled");
        client.batch_execute("VACUUM ANALYZE log").expect("a log can be vacuumed");
        if has_peer("pgq3") {
            fill_queue(&mut client, events);
        }
        Self { cluster, events }
    }

    pub(super) fn copy(&self) -> f64 {
        let begun = Instant::now();
        let mut client = self.cluster.connect();
        let copy = "COPY (SELECT id, at, op, data FROM log ORDER BY id) TO STDOUT";
        let mut rows = client.copy_out(copy).expect("it can be copied");
        let (mut lines, mut piece) = (0, vec![0; 1 << 16]);
        loop {
            let length = rows.read(&mut piece).expect("the copy goes on");
            if length == 0 {
                break;
            }
            lines += piece[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        assert_eq!(lines, self.events, "not all rows were copied");
        begun.elapsed().as_secs_f64()
    }

    pub(super) fn keyset(&self) -> f64 {
        let begun = Instant::now();
        let mut client = self.cluster.connect();
        let page = client
            .prepare("SELECT id, at::text, op, data FROM log WHERE id > $1 ORDER BY id LIMIT $2")
            .expect("it can be prepared");
        let (mut rows, mut last) = (0, 0_i64);
        loop {
            let page = client.query(&page, &[&last, &(PAGE as i64)]).expect("a page");
            let Some(end) = page.last() else { break };
            (last, rows) = (end.get(0), rows + page.len() as u64);
        }
        assert_eq!(rows, self.events, "not all rows came in pages");
        begun.elapsed().as_secs_f64()
    }

    /// All batches, by a consumer that begins where the queue does.
    pub(super) fn pgq(&self) -> f64 {
        let mut client = self.cluster.connect();
        client
            .batch_execute(
                "SELECT pgq.unregister_consumer('bench', 'reader');
                 SELECT pgq.register_consumer_at('bench', 'reader', 1)",
            )
            .expect("a consumer can be registered");
        let begun = Instant::now();
        let mut events = 0;
        loop {
            let batch: Option<i64> = client
                .query_one("SELECT pgq.next_batch('bench', 'reader')", &[])
                .expect("a batch can be asked for")
                .get(0);
            let Some(batch) = batch else { break };
            let rows = client
                .query(
                    "SELECT ev_id, ev_time::text, ev_type, ev_data FROM pgq.get_batch_events($1)",
                    &[&batch],
                )
                .expect("a batch's events");
            events += rows.len() as u64;
            client.execute("SELECT pgq.finish_batch($1)", &[&batch]).expect("it can be finished");
        }
        assert_eq!(events, self.events, "not all events came in batches");
        begun.elapsed().as_secs_f64()
    }
}

/// What a trigger would have logged of a row of table `item`.
const DATA: &str = r#"'{"id": ' || n || ', "amount": ' || n || ', "note": "a row as rows are"}'"#;

fn fill_queue(client: &mut Client, events: u64) {
    client
        .batch_execute(
            "CREATE EXTENSION pgq;
             SELECT pgq.create_queue('bench');
             SELECT pgq.register_consumer('bench', 'reader')",
        )
        .expect("PGQ can be set up");
    let batches = events.div_ceil(PAGE);
    for batch in 0..batches {
        let (from, to) = (batch * PAGE + 1, events.min((batch + 1) * PAGE));
        // Autocommit: what one statement inserts and the tick behind it are not of one snapshot.
        for statement in [
            format!(
                "SELECT count(pgq.insert_event('bench', 'U', {DATA})) FROM generate_series({from}, {to}) AS n"
            ),
            "SELECT pgq.force_tick('bench')".to_owned(),
            "SELECT pgq.ticker('bench')".to_owned(),
        ] {
            client.execute(&statement, &[]).expect("a batch can be filled");
        }
    }
}

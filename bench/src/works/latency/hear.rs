//! Who can hear of a commit. Each function returns when its listener is there, so that no commit comes
//! too early; a thread or process of its own notes when each number comes.

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use event_source_tests::cluster::DATABASE;
use event_source_tests::consume::event::Kind;
use event_source_tests::consume::{Form, Request, Stream, Version};
use event_source_tests::private::checkout;
use event_source_tests::program::Program;
use event_source_tests::{Cluster, wait_until};
use postgres::fallible_iterator::FallibleIterator as _;
use serde_json::{Value, json};

use super::{Hearing, Moment, now};

const SILENCE: Duration = Duration::from_secs(30);
const SLOT: &str = "latency";

/// What the listeners need in the database, once.
pub(super) fn prepare(cluster: &Cluster) {
    let mut client = cluster.connect();
    for sql in [
        "SELECT event_source.capture('followed')",
        "CREATE FUNCTION notify() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_notify('latency', NEW.id::text); RETURN NULL; END $$",
        "CREATE TRIGGER notify AFTER INSERT ON notified FOR EACH ROW EXECUTE FUNCTION notify()",
        "CREATE PUBLICATION alltables FOR TABLE subscribed",
    ] {
        client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

pub(super) fn stream(cluster: &Cluster, table: &'static str, numbers: Range<i32>) -> Hearing {
    let mint = "SELECT event_source($1)";
    let token: String = cluster.connect().query_one(mint, &[&table]).expect("a token").get(0);
    let request = Request::new(token).over(Form::Lines, Version::Http2);
    let mut stream = Stream::open(cluster.http(), &request).expect("a stream opens");
    let mut next = move || stream.next(SILENCE).expect("an event comes").expect("it goes on");
    assert_eq!(next().kind, Kind::Status, "the first line says that the stream is open");
    collect(numbers, move || {
        loop {
            let event = next();
            if event.kind != Kind::Status {
                let key = event.key.and_then(|key| key.as_i64()).expect("a key is a number");
                return i32::try_from(key).expect("it is the table's");
            }
        }
    })
}

pub(super) fn notify(cluster: &Cluster, _table: &'static str, numbers: Range<i32>) -> Hearing {
    let mut client = cluster.connect();
    client.batch_execute("LISTEN latency").expect("it listens");
    let heard = thread::spawn(move || {
        let mut notifications = client.notifications();
        let mut coming = notifications.timeout_iter(SILENCE);
        until_last(numbers, || {
            let told = coming.next().expect("the connection holds").expect("it comes in time");
            told.payload().parse().expect("a number")
        })
    });
    joined(heard)
}

pub(super) fn wal2json(cluster: &Cluster, table: &'static str, numbers: Range<i32>) -> Hearing {
    let mut client = cluster.connect();
    let make = format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'wal2json')");
    client.batch_execute(&make).expect("a slot can be made");
    let mut child = Command::new(cluster.program("pg_recvlogical"))
        .args(["--dbname", DATABASE, "--username", "postgres", "--slot", SLOT, "--start"])
        .args(["--host", "127.0.0.1", "--port", &cluster.port().to_string(), "--file", "-"])
        .args(["-o", "format-version=2", "-o", "include-transaction=off"])
        .args(["-o", &format!("add-tables=public.{table}")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("pg_recvlogical runs");
    let is = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
    let mut is_active = move || client.query_one(&is, &[]).expect("the slot is there").get(0);
    wait_until("pg_recvlogical to listen", SILENCE, &mut is_active);
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let hearing = collect(numbers, move || {
        let line = lines.next().expect("it goes on").expect("wal2json speaks UTF-8");
        let change: Value = serde_json::from_str(&line).expect("a change is JSON");
        number(&change["columns"][0]["value"])
    });
    let mut client = cluster.connect();
    Box::new(move || {
        let heard = hearing();
        child.kill().expect("it still runs");
        child.wait().expect("it is our child");
        wait_until("pg_recvlogical to be gone", SILENCE, || !is_active());
        let drop = format!("SELECT pg_drop_replication_slot('{SLOT}')");
        client.batch_execute(&drop).expect("nobody uses the slot");
        heard
    })
}

pub(super) fn subscribe(cluster: &Cluster, table: &'static str, numbers: Range<i32>) -> Hearing {
    let program = Program::node_at(
        &checkout().join("bench/clients/node/subscribe.mjs"),
        &json!({
            "host": "127.0.0.1", "port": cluster.port(), "user": "postgres", "database": DATABASE,
            "table": table, "until": numbers.end - 1,
        }),
    );
    assert_eq!(program.said("ready"), true);
    Box::new(move || {
        let heard = program.said("heard");
        let moment =
            |pair: &Value| (number(&pair[0]), pair[1].as_i64().expect("nanoseconds are a number"));
        heard.as_array().expect("a list").iter().map(moment).collect()
    })
}

fn number(value: &Value) -> i32 {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.unwrap_or_else(|| panic!("no number: {value}"))
}

/// Hears on a thread of its own.
fn collect(numbers: Range<i32>, next: impl FnMut() -> i32 + Send + 'static) -> Hearing {
    joined(thread::spawn(move || until_last(numbers, next)))
}

fn joined(heard: JoinHandle<Vec<Moment>>) -> Hearing {
    Box::new(move || heard.join().expect("the listener panicked"))
}

fn until_last(numbers: Range<i32>, mut next: impl FnMut() -> i32) -> Vec<Moment> {
    let mut heard = Vec::with_capacity(numbers.len());
    loop {
        let number = next();
        heard.push((number, now()));
        if number == numbers.end - 1 {
            return heard;
        }
    }
}

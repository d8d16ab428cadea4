//! Streams of Fauna v4 under load and at their end, with its drivers unmodified: snapshots while others
//! write, many streams on one connection, bursts, large documents, frames, and how a stream ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::v4::driver::{DRIVERS, Driver, Following};
use crate::v4::game::{Game, reference};
use event_source_tests::connections;
use event_source_tests::consume::Kind;
use event_source_tests::consume::v4::V4Stream;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, SetAtEnd, Stop, wait_until};
use serde_json::{Value, json};

#[test]
fn a_document_comes_with_everything_that_happens_to_it_afterwards() {
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) VALUES (1, 5)"]);
    let expr = json!({ "ref": ["things", 1] });
    for driver in [Driver::Node, Driver::NodeFetch] {
        game.run(&["UPDATE things SET n = 5"]);
        let config = json!({ "mode": "document", "expr": expr, "count": 2 });
        let program = driver.start(&game.cluster, &game.secret, &config).opened();
        let snapshot = program.says("snapshot");
        assert_eq!(snapshot["object"]["ref"], reference("things", "1"));
        assert_eq!(snapshot["object"]["data"], json!({ "object": { "n": 5 } }));
        let ts = snapshot["object"]["ts"].as_i64();
        game.run(&[
            "UPDATE things SET n = 6",
            "DELETE FROM things",
            "INSERT INTO things (id, n) VALUES (1, 5)",
        ]);
        for event in program.events("version", 2) {
            assert!(event["txn"].as_i64() > ts, "{event} behind {ts:?}");
        }
    }
    // Of a document that is not there: the driver says so, and the stream goes on.
    let config = json!({ "mode": "document", "expr": { "ref": ["things", 404] } });
    let program = Driver::Node.start(&game.cluster, &game.secret, &config).opened();
    assert_eq!(program.error()["class"], "NotFound");
}

#[test]
fn a_document_misses_and_repeats_nothing_while_many_write() {
    const LAST: i64 = 1500;
    const STREAMS: usize = 40;
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) VALUES (1, 0), (2, 0), (3, 0), (4, 0)"]);
    let config = json!({
        "mode": "counters", "expr": { "ref": ["things", 1] }, "last": LAST, "streams": STREAMS,
    });
    let over = AtomicBool::new(false);
    let counted = thread::scope(|scope| {
        let _over = SetAtEnd(&over);
        // Others commit beside them, so that what is committed is not told at once.
        for id in 2..=4 {
            let (game, over) = (&game, &over);
            scope.spawn(move || {
                let mut client = game.cluster.connect();
                while !over.load(Ordering::SeqCst) {
                    let sql = "UPDATE things SET n = n + 1 WHERE id = $1";
                    client.execute(sql, &[&id]).expect("it can be written");
                }
            });
        }
        let program = Driver::Node.start(&game.cluster, &game.secret, &config);
        scope.spawn(|| {
            let mut client = game.cluster.connect();
            for _ in 0..LAST {
                let sql = "UPDATE things SET n = n + 1 WHERE id = 1";
                client.execute(sql, &[]).expect("it can be written");
            }
        });
        let counted: Vec<Value> = (0..STREAMS).map(|_| program.says("counted")).collect();
        over.store(true, Ordering::SeqCst);
        counted
    });
    let mut began: Vec<i64> = Vec::new();
    for counted in counted {
        let counted: Vec<i64> =
            counted.as_array().expect("a list").iter().filter_map(Value::as_i64).collect();
        began.push(counted[0]);
        let expected: Vec<i64> = (counted[0]..=LAST).collect();
        assert_eq!(counted, expected, "missed or repeated");
    }
    began.dedup();
    // Else nobody wrote while they began.
    assert!(began.len() > STREAMS / 4, "{began:?}");
}

#[test]
fn a_document_waits_for_what_it_shows_to_be_told() {
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) VALUES (1, 0), (2, 0)"]);
    // Whoever commits now is not told until somebody lets go: it waits for a standby that is not there.
    game.run(&["ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"]);
    let held = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let mut client = game.cluster.connect();
            wait_until("the setting", LONG, || {
                let sql = "SELECT current_setting('synchronous_standby_names')";
                client.query_one(sql, &[]).expect("a setting").get::<_, &str>(0) == "nobody"
            });
            client.batch_execute("UPDATE things SET n = 1 WHERE id = 2")
        });
        let mut client = game.cluster.connect();
        let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        wait_until("somebody to wait", LONG, || {
            client.query(waiting, &[]).expect("a list").len() == 1
        });
        let local = "SET synchronous_commit = local; UPDATE things SET n = 1 WHERE id = 1";
        client.batch_execute(local).expect("it is committed");
        let config = json!({ "mode": "document", "expr": { "ref": ["things", 1] }, "count": 1 });
        let program = Driver::Node.start(&game.cluster, &game.secret, &config).opened();
        client.batch_execute("UPDATE things SET n = 2 WHERE id = 1").expect("it is committed");
        let release = format!("SELECT pg_cancel_backend(pid) FROM ({waiting}) waiting");
        client.batch_execute(&release).expect("it is let go");
        let snapshot = program.says("snapshot")["object"]["data"]["object"]["n"].as_i64();
        if snapshot != Some(2) {
            let event = program.says("version");
            let n = &event["event"]["object"]["document"]["object"]["data"]["object"]["n"];
            assert_eq!((snapshot, n), (Some(1), &json!(2)), "missed or repeated");
        } else {
            client.batch_execute("UPDATE things SET n = 3 WHERE id = 1").expect("it is committed");
            let event = program.says("version");
            let n = &event["event"]["object"]["document"]["object"]["data"]["object"]["n"];
            assert_eq!(n, &json!(3), "repeated");
        }
        holder.join().expect("no panic")
    });
    held.expect("a commit that is not waited for any longer is one");
}

#[test]
fn five_hundred_streams_on_one_connection_are_all_served() {
    const COUNT: i64 = 500;
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) SELECT n, 0 FROM generate_series(1, 500) n"]);
    let config = json!({ "mode": "many", "collection": "things", "count": COUNT });
    let program = Driver::Node.start(&game.cluster, &game.secret, &config);
    assert_eq!(program.says("opened"), COUNT);
    assert_eq!(connections::to(game.cluster.http().port()).len(), 1);
    game.run(&["UPDATE things SET n = id"]);
    assert_eq!(program.says("served"), COUNT);
}

#[test]
fn a_burst_and_large_documents_arrive_whole_in_both_drivers() {
    const BURST: i64 = 1000;
    let game = Game::open();
    for driver in DRIVERS {
        game.run(&["TRUNCATE scores, spells"]);
        let set = json!({ "documents": "Scores" });
        let config = json!({ "mode": "stream", "expr": set, "count": BURST, "brief": true });
        let program = driver.start(&game.cluster, &game.secret, &config).opened();
        game.run(&["INSERT INTO scores (id) SELECT n FROM generate_series(1, 1000) n"]);
        assert_eq!(program.says("brief")["events"], BURST, "{driver:?}");
    }
    // Texts of many bytes a character, and lines of every length around that of a frame.
    let large = "repeat('ü😀', 250000)";
    for driver in DRIVERS {
        game.run(&["TRUNCATE things", "INSERT INTO things (id, n) VALUES (1, 0)"]);
        let expr = json!({ "ref": ["things", 1] });
        let config = json!({ "mode": "stream", "expr": expr, "count": 34, "brief": true });
        let program = driver.start(&game.cluster, &game.secret, &config).opened();
        let mut bytes = 0;
        let mut client = game.cluster.connect();
        for around in [16_384, 65_536] {
            for length in around - 216..around - 200 {
                bytes += length;
                let sql = format!("UPDATE things SET n = 1, text = repeat('x', {length})");
                client.batch_execute(&sql).expect("it can be written");
            }
        }
        for _ in 0..2 {
            bytes += 3 * 250_000;
            client
                .batch_execute(&format!("UPDATE things SET n = 2, text = {large}"))
                .expect("large");
        }
        let brief = json!({ "events": 34, "bytes": bytes, "last": 2 });
        assert_eq!(program.says("brief"), brief, "{driver:?}");
    }
}

#[test]
fn lines_of_every_length_keep_the_rules_of_frames() {
    let game = Game::open();
    let mut client = game.cluster.connect();
    client.batch_execute("INSERT INTO things (id, n) VALUES (1, 0)").expect("a row");
    let expression = json!({ "ref": { "collection": "things" }, "id": 1 });
    let mut stream =
        V4Stream::open(game.cluster.http(), &game.secret, &expression, &[]).expect("it opens");
    let start = stream.next(LONG).expect("a start").expect("a start");
    assert_eq!(start.kind, Kind::Status);
    let lengths: Vec<i32> = (16_120..16_260).chain([100_000]).collect();
    for length in &lengths {
        let sql = format!("UPDATE things SET text = repeat('x', {length})");
        client.batch_execute(&sql).expect("it can be written");
    }
    for length in lengths {
        let event = stream.next(LONG).expect("well framed").expect("an event");
        let data = event.data.expect("data");
        assert_eq!(
            (event.kind, data["text"].as_str().map(str::len)),
            (Kind::Update, Some(length as usize))
        );
    }
}

#[test]
fn the_end_of_a_stream_is_said_in_both_drivers() {
    let mut game = Game::open();
    let streams = |game: &Game, table: &str| {
        DRIVERS.map(|driver| {
            let config = json!({ "mode": "stream", "expr": { "ref": [table, 1] } });
            driver.start(&game.cluster, &game.secret, &config).opened()
        })
    };
    let ended = |programs: [Following; 3], code: &str, description: &str| {
        for program in programs {
            let error = program.error();
            assert_eq!(error["code"], code, "{error}");
            let found = error["description"].as_str().unwrap_or_default();
            assert!(found.contains(description), "{error}");
        }
    };
    let lost = "Authorization lost during stream evaluation.";
    let followers = streams(&game, "things");
    game.run(&["REVOKE SELECT ON things FROM reader", "INSERT INTO things (id) VALUES (1)"]);
    ended(followers, "permission denied", lost);
    let (followers, stopped) = (streams(&game, "spells"), streams(&game, "Scores"));
    game.run(&["SELECT event_source.release('spells')", "INSERT INTO scores VALUES (2)"]);
    ended(followers, "instance not found", "");
    game.cluster.stop(Stop::Fast);
    ended(stopped, "time out", "Stream was unexpectedly closed by its source.");
}

#[test]
fn a_revoked_secret_ends_its_streams() {
    let game = Game::open();
    let config = json!({ "mode": "stream", "expr": { "ref": ["things", 1] } });
    let program = Driver::Node.start(&game.cluster, &game.secret, &config).opened();
    game.run(&["SELECT event_source.revoke_secret(id) FROM event_source.secrets"]);
    assert_eq!(program.error()["code"], "permission denied");
}

#[test]
fn a_reader_that_the_log_no_longer_waits_for_is_told() {
    let options = Cluster::options()
        .conf("event_source.retention", "1h")
        .conf("event_source.max_log_size", "16MB");
    let game = Game::with(options);
    let expression = json!({ "ref": { "collection": "things" }, "id": 1 });
    let mut client = game.cluster.connect();
    client.batch_execute("INSERT INTO things (id, n) VALUES (1, 0)").expect("a row");
    let mut stream =
        V4Stream::open(game.cluster.http(), &game.secret, &expression, &[]).expect("it opens");
    // What is not read waits in the log, and the log does not wait for ever.
    let random = "SELECT string_agg(md5(n::text || clock_timestamp()), '')
         FROM generate_series(1, 3000) n";
    for n in 1..=400 {
        let sql = format!("UPDATE things SET n = {n}, text = ({random}) WHERE id = 1");
        client.batch_execute(&sql).expect("it can be written");
    }
    let mut last = 0;
    let error = loop {
        let event = stream.next(LONG).expect("well framed").expect("an error comes before the end");
        match event.kind {
            Kind::Status => {}
            Kind::Error => break event.error.expect("an error"),
            _ => {
                let n = event.data.expect("data")["n"].as_i64().expect("a number");
                assert_eq!(n, last + 1, "one is missing");
                last = n;
            }
        }
    };
    assert_eq!(error.code, "time out", "{error:?}");
    assert!(error.message.starts_with("Stream timed out while synchronizing."), "{error:?}");
    assert_eq!(stream.next(LONG).expect("a clean end"), None);
}

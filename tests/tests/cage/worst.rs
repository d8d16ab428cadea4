//! The worst filters that one can write: another stream waits for a moment once, and the bad source is told.

use std::time::{Duration, Instant};

use event_source_tests::consume::{Kind, Request, Stream};
use event_source_tests::follow::mint;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;

use super::{filtered, next, run, served};

/// What a source may hold up another, once, on a machine that has time for it.
fn once() -> Duration {
    const ONCE: Duration = Duration::from_millis(300);
    ONCE.mul_f64(slowness())
}

/// How much longer something takes here than by its processor's clock: beside other work it has to wait.
fn slowness() -> f64 {
    let waited = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').nth(1)?.parse().ok()
    };
    let (begun, before) = (Instant::now(), waited().unwrap_or(0));
    while begun.elapsed() < Duration::from_millis(100) {
        std::hint::spin_loop();
    }
    let elapsed = begun.elapsed().as_nanos() as f64;
    let waited = (waited().unwrap_or(0) - before) as f64;
    elapsed / (elapsed - waited).max(elapsed / 100.0)
}

/// Rows for a good stream, one by one, each told before the next is written; the longest wait.
fn longest(client: &mut Client, good: &mut Stream, count: i32) -> Duration {
    let mut longest = Duration::ZERO;
    for id in 0..count {
        run(client, "DELETE FROM good_table");
        run(client, &format!("INSERT INTO good_table VALUES ({id}, 1)"));
        let written = Instant::now();
        while next(good).unwrap() != Kind::Add {}
        longest = longest.max(written.elapsed());
    }
    longest
}

fn good_stream(cluster: &Cluster, client: &mut Client) -> Stream {
    let token = mint(client, "event_source('good_table', types => '{add}')");
    Stream::open(cluster.http(), &Request::new(&token)).unwrap()
}

#[test]
fn the_worst_filter_holds_another_stream_up_for_a_moment_once_and_is_told() {
    let raise = |code: &str| format!("BEGIN RAISE 'bad' USING ERRCODE = '{code}'; END");
    let mut codes: Vec<(String, String)> = [
        "57014", "53200", "57P01", "57P02", "57P03", "40001", "40P01", "55P03", "XX000", "XX001",
        "25006", "25P02", "08006", "58000", "0A000", "22012", "P0001", "00001",
    ]
    .iter()
    .map(|code| (format!("raises_{}", code.to_lowercase()), raise(code)))
    .collect();
    let code = |name: &str, code: &str| codes_entry(name, code);
    codes.extend([
        code("sleeps", "BEGIN PERFORM pg_sleep(60); RETURN true; END"),
        code("swallows", "BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END"),
        code("swallows_deeply", "BEGIN LOOP BEGIN BEGIN BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(60); END; EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(60); END; EXCEPTION WHEN OTHERS OR query_canceled THEN NULL; END; END LOOP; END"),
        code("burns", "DECLARE i int := 0; BEGIN LOOP i := (i + 1) % 1000; END LOOP; END"),
        code("burns_and_swallows", "DECLARE i int := 0; BEGIN LOOP BEGIN LOOP i := (i + 1) % 1000; END LOOP; EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END"),
        code("recurses", "BEGIN RETURN evil.recurses(n); END"),
        code("grows", "DECLARE s text := 'x'; a text[]; BEGIN FOR i IN 1..100000 LOOP a := a || repeat(md5(i::text), 100000); END LOOP; RETURN true; END"),
        code("grows_at_once", "BEGIN RETURN length(repeat('x', 1000000000)) > 0 AND length(repeat('y', 1000000000)) > 0; END"),
        code("matches", "BEGIN RETURN repeat('a', 30) || 'b' !~ '^(a|a)*(a|a)*(a|a)*(a|a)*c$' AND (SELECT bool_and(repeat('ab', 2000) ~ ('(a|b|ab)*' || i || '(b+a+)*$')) FROM generate_series(1, 100000) i); END"),
        code("locks", "BEGIN PERFORM pg_advisory_xact_lock(1); PERFORM pg_sleep(60); RETURN true; END"),
        code("divides", "BEGIN RETURN 1 / 0 > 0; END"),
    ]);
    let (cluster, mut client) = served(&[]);
    let (worker, _) = cluster.serving();
    let mut good = good_stream(&cluster, &mut client);
    // How long it takes on this machine anyway.
    let anyway = longest(&mut client, &mut good, 50);
    for (id, (name, code)) in codes.iter().enumerate() {
        let (token, mut mallory) = filtered(&cluster, name, code);
        let mut bad = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
        // Five rows at once, and a good one after them.
        run(
            &mut mallory,
            &format!("INSERT INTO evil.t SELECT {id} * 10 + n, n FROM generate_series(1, 5) n"),
        );
        let waited = longest(&mut client, &mut good, 10);
        let told = next(&mut bad);
        assert!(told.is_err(), "{name}: {told:?}");
        assert!(waited <= once() + anyway, "{name}: {waited:?}, otherwise {anyway:?}");
        assert_eq!(cluster.serving().0, worker, "{name}: the worker was started again");
    }
    let after = longest(&mut client, &mut good, 20);
    assert!(after <= once() + anyway, "{after:?}, otherwise {anyway:?}");
}

fn codes_entry(name: &str, code: &str) -> (String, String) {
    (name.to_owned(), code.to_owned())
}

#[test]
fn a_source_that_is_dear_for_each_change_ends_and_one_that_is_cheap_goes_on() {
    let (cluster, _client) = served(&[]);
    let (dear, mut mallory) =
        filtered(&cluster, "dear", "BEGIN PERFORM pg_sleep(0.05); RETURN true; END");
    let cheap = mint(&mut mallory, "event_source('evil.t', filter => 'n > 0')");
    let mut dear = Stream::open(cluster.http(), &Request::new(&dear)).unwrap();
    let mut cheap = Stream::open(cluster.http(), &Request::new(&cheap)).unwrap();
    let mut ended = None;
    for id in 0..50 {
        run(&mut mallory, &format!("INSERT INTO evil.t VALUES ({id}, 1)"));
        assert_eq!(next(&mut cheap), Ok(Kind::Add), "the same role's other source");
        if ended.is_none() {
            ended = next(&mut dear).err();
        }
    }
    let ended = ended.expect("50 changes of 50 ms are more than 100 ms in a second");
    assert!(ended.contains("take too much time") && ended.contains("limit_exceeded"), "{ended}");
}

#[test]
fn many_dear_sources_of_one_role_cost_the_others_no_more_than_one() {
    let (cluster, mut client) = served(&[]);
    let mut good = good_stream(&cluster, &mut client);
    let anyway = longest(&mut client, &mut good, 50);
    let streams: Vec<Stream> = (0..20)
        .map(|number| {
            let (token, _) = filtered(
                &cluster,
                &format!("sleeps_{number}"),
                "BEGIN PERFORM pg_sleep(60); RETURN true; END",
            );
            Stream::open(cluster.http(), &Request::new(&token)).unwrap()
        })
        .collect();
    run(&mut client, "INSERT INTO evil.t VALUES (1, 1)");
    let waited = longest(&mut client, &mut good, 10);
    for mut stream in streams {
        assert!(next(&mut stream).is_err());
    }
    assert!(waited <= once() + anyway, "{waited:?}, otherwise {anyway:?}");
    wait_until("the good one", LONG, || longest(&mut client, &mut good, 1) < once());
}

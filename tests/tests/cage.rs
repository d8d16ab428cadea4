//! Code that users define runs as the role that it belongs to, leaves nothing behind, and holds up nobody else.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod spies;
mod worst;

use event_source_tests::consume::{Kind, Request, Stream, sql};
use event_source_tests::follow::{explain, mint};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;

/// Mallory owns tables and may have whatever an ordinary role may; the reader may read them.
fn served(more: &[(&str, &str)]) -> (Cluster, Client) {
    let options = more.iter().fold(Cluster::options(), |o, (name, value)| o.conf(name, value));
    let cluster = options.conf("event_source.user_functions", "on").start();
    let mut client = cluster.connect();
    run(
        &mut client,
        "CREATE ROLE mallory LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE good LOGIN;
         CREATE SCHEMA evil AUTHORIZATION mallory; GRANT USAGE ON SCHEMA evil TO PUBLIC;
         CREATE TABLE good_table (id int PRIMARY KEY, n int); ALTER TABLE good_table OWNER TO good;
         CREATE TABLE evil.t (id int PRIMARY KEY, n int); ALTER TABLE evil.t OWNER TO mallory;
         GRANT SELECT ON evil.t TO PUBLIC;
         SELECT event_source.capture('good_table'), event_source.capture('evil.t')",
    );
    let _ = cluster.serving();
    (cluster, client)
}

fn run(client: &mut Client, script: &str) {
    client.batch_execute(script).unwrap_or_else(|e| panic!("{script}: {}", explain(&e)));
}

/// The next event that is a row's, or the end.
fn next(stream: &mut Stream) -> Result<Kind, String> {
    loop {
        let event = stream.next(LONG).map_err(|e| format!("{e:?}"))?.ok_or("ended")?;
        match event.kind {
            Kind::Status => {}
            Kind::Error => return Err(format!("{event:?}")),
            kind => return Ok(kind),
        }
    }
}

/// A token of mallory's whose filter runs `code`.
fn filtered(cluster: &Cluster, name: &str, code: &str) -> (String, Client) {
    let mut mallory = cluster.connect_as("mallory");
    run(
        &mut mallory,
        &format!(
            "CREATE FUNCTION evil.{name}(n int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $f$ {code} $f$"
        ),
    );
    let call = format!("event_source('evil.t', filter => 'evil.{name}(n)')");
    (mint(&mut mallory, &call), mallory)
}

#[test]
fn nothing_that_code_sets_or_locks_stays_behind() {
    let (cluster, mut client) = served(&[]);
    let (worker, _) = cluster.serving();
    let good = mint(&mut client, "event_source('good_table', filter => 'n > 0', types => '{add}')");
    for (number, (name, code)) in [
        ("path", "BEGIN PERFORM set_config('search_path', 'evil', false); RETURN true; END"),
        ("isolation", "BEGIN PERFORM set_config('default_transaction_isolation', 'serializable', false); RETURN true; END"),
        ("read_only", "BEGIN PERFORM set_config('default_transaction_read_only', 'on', false); RETURN true; END"),
        ("fatal", "BEGIN PERFORM set_config('exit_on_error', 'on', false); RAISE 'bad'; END"),
        ("fatal_quietly", "BEGIN BEGIN PERFORM set_config('exit_on_error', 'on', false); EXCEPTION WHEN OTHERS THEN NULL; END; RAISE 'bad'; END"),
        ("locks", "BEGIN PERFORM pg_advisory_lock(42); RETURN true; END"),
        ("locks_if_it_can", "BEGIN PERFORM pg_try_advisory_lock_shared(42); RETURN true; END"),
        ("locks_for_now", "BEGIN PERFORM pg_advisory_xact_lock(42); RETURN true; END"),
        ("notifies", "BEGIN PERFORM pg_notify('a', 'b'); RETURN true; END"),
        ("timeouts", "BEGIN PERFORM set_config('statement_timeout', '1', false), set_config('lock_timeout', '1', false); RETURN true; END"),
        ("sleeps_a_little", "BEGIN PERFORM pg_sleep(0.01); RETURN true; END"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = number as i32 + 1;
        let (token, _mallory) = filtered(&cluster, name, code);
        let mut bad = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
        let mut other = Stream::open(cluster.http(), &Request::new(&good)).unwrap();
        run(&mut client, &format!("INSERT INTO evil.t VALUES ({id}, 1)"));
        let seen = next(&mut bad);
        // In a session, too.
        let before = session(&mut client);
        let _failed_or_not = sql::event_page(&mut client, &token, None, 10, &[]);
        assert_eq!(session(&mut client), before, "{name}: {seen:?}");
        run(&mut client, "UNLISTEN *");
        for _ in 0..=number {
            run(&mut client, "DELETE FROM good_table");
            run(&mut client, &format!("INSERT INTO good_table VALUES ({id}, 1)"));
            assert_eq!(next(&mut other), Ok(Kind::Add), "{name}");
        }
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        assert_eq!(client.query_one(locks, &[]).unwrap().get::<_, i64>(0), 0, "{name}");
        assert_eq!(cluster.serving().0, worker, "{name}: the worker was started again");
    }
}

/// Whatever a filter could have changed of a session.
fn session(client: &mut Client) -> Vec<(String, String)> {
    let rows = client.query(
        "SELECT name, setting FROM pg_settings WHERE name NOT IN ('transaction_isolation') ORDER BY name",
        &[],
    );
    rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn what_one_role_sets_does_not_choose_the_operators_of_another() {
    let (cluster, mut client) = served(&[]);
    let (token, _mallory) = filtered(
        &cluster,
        "path",
        "BEGIN PERFORM set_config('search_path', 'evil, pg_catalog', false); RETURN true; END",
    );
    let mut mallory = cluster.connect_as("mallory");
    run(
        &mut mallory,
        "CREATE FUNCTION evil.never(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
         CREATE OPERATOR evil.> (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.never)",
    );
    // A function whose body is resolved when it runs.
    run(
        &mut client,
        "CREATE FUNCTION large(n int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN n > 0; END'",
    );
    let good = mint(&mut client, "event_source('evil.t', filter => 'large(n)')");
    let mut bad = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    let mut other = Stream::open(cluster.http(), &Request::new(&good)).unwrap();
    for id in 0..5 {
        run(&mut client, &format!("INSERT INTO evil.t VALUES ({id}, 1)"));
        assert_eq!(next(&mut bad), Ok(Kind::Add));
        assert_eq!(next(&mut other), Ok(Kind::Add));
    }
}

#[test]
fn a_sessions_own_cancel_is_not_swallowed() {
    let (cluster, mut client) = served(&[("event_source.expression_timeout", "5000")]);
    let (token, mut mallory) = filtered(
        &cluster,
        "patient",
        "BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END",
    );
    run(&mut client, "INSERT INTO evil.t VALUES (1, 1)");
    run(&mut mallory, "SET statement_timeout = '200ms'");
    let error = sql::event_page(&mut mallory, &token, None, 10, &[]).unwrap_err();
    assert!(format!("{error:?}").contains("57014"), "{error:?}");
    wait_until("the session to be idle", LONG, || {
        let busy =
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mallory' AND state = 'active'";
        client.query_one(busy, &[]).unwrap().get::<_, i64>(0) == 0
    });
}

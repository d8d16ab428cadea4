//! Between the commit of a prepared transaction and its stamp somebody dies.

use event_source_tests::consume::{Form, Request, Stream, Version};
use event_source_tests::follow::story;
use event_source_tests::{Cluster, wait_until};

use super::race::{LIMIT, NoStamps, STAMPING, running, session, wait_for_lock};
use super::{assert_exact, captured, prepare, with_table};

#[test]
fn after_a_crash_the_next_transaction_gives_it_its_stamp() {
    let (mut cluster, mut client, token) = captured();
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 1");
    let _no_stamps = NoStamps::hold(&cluster);
    let resolver = running(&cluster, "resolver", "COMMIT PREPARED 'p'");
    wait_for_lock(&mut client, "resolver", STAMPING);
    cluster.kill();
    resolver.join().unwrap().unwrap_err();
    cluster.launch();
    let mut client = cluster.connect();
    assert_eq!(story(&mut client, &token).len(), 10, "told without a stamp");
    client.batch_execute("UPDATE t SET v = v + 1 WHERE id = 1").unwrap();
    assert_eq!(story(&mut client, &token)[10..], ["update 1", "update 1"]);
    assert_exact(&mut client, &token);
}

/// As [`captured`], with a worker.
fn served() -> (Cluster, postgres::Client, String) {
    let cluster = Cluster::options().conf("max_prepared_transactions", 20).start();
    let (client, token) = with_table(&cluster);
    let _running = cluster.serving();
    (cluster, client, token)
}

fn told_by_the_worker(cluster: &Cluster, token: &str) {
    let mut client = cluster.connect();
    wait_until("the worker to write the stamp", LIMIT, || story(&mut client, token).len() > 10);
    assert_eq!(story(&mut client, token)[10..], ["update 1"]);
    assert_exact(&mut client, token);
    wait_until("nothing to be pending", LIMIT, || {
        let row = client.query_one("SELECT prepared FROM event_source.status", &[]).unwrap();
        row.get::<_, i32>(0) == 0
    });
}

#[test]
fn after_a_crash_the_worker_gives_it_its_stamp_if_nobody_else_does() {
    let (mut cluster, mut client, token) = served();
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 1");
    let _no_stamps = NoStamps::hold(&cluster);
    // Either this session or the worker is the one who waits to write the stamp.
    let resolver = running(&cluster, "resolver", "COMMIT PREPARED 'p'");
    wait_until("it to be committed", LIMIT, || {
        let row = client.query_one("SELECT prepared_unstamped FROM event_source.status", &[]);
        row.unwrap().get::<_, i32>(0) == 1
    });
    cluster.kill();
    resolver.join().unwrap().unwrap_err();
    cluster.launch();
    told_by_the_worker(&cluster, &token);
}

#[test]
fn when_the_session_of_commit_prepared_is_ended_the_worker_does_its_work() {
    let (cluster, mut client, token) = served();
    let mut stream = Stream::open(
        cluster.http(),
        &Request::new(&token).with_prev().over(Form::Lines, Version::Http2),
    )
    .unwrap();
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 1");
    let no_stamps = NoStamps::hold(&cluster);
    let resolver = running(&cluster, "resolver", "COMMIT PREPARED 'p'");
    let mut observer = session(&cluster, "observer");
    wait_for_lock(&mut observer, "resolver", STAMPING);
    observer
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'resolver'",
            &[],
        )
        .unwrap();
    resolver.join().unwrap().unwrap_err();
    no_stamps.release();
    told_by_the_worker(&cluster, &token);
    let mut seen = 0;
    while seen < 11 {
        let event = stream.next(LIMIT).unwrap().unwrap();
        seen += usize::from(event.kind.is_change());
    }
}

//! Retention beside prepared transactions: what they wrote is kept until their stamp may go too.

use event_source_tests::{Cluster, wait_until};
use postgres::Client;

use super::race::{LIMIT, NoStamps, STAMPING, running, session, wait_for_lock};
use super::{commit, prepare, with_table};

fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap().get(0)
}

/// The log goes round while everything of now grows past its age.
fn let_go(client: &mut Client) {
    let now = number(client, "SELECT closed FROM event_source.status");
    wait_until("what was written until now to be let go", LIMIT, || {
        number(client, "SELECT oldest FROM event_source.status") > now
    });
}

#[test]
fn what_a_prepared_transaction_wrote_is_not_let_go_before_its_stamp() {
    let cluster = Cluster::options()
        .conf("event_source.listen", "")
        .conf("event_source.retention", "1s")
        .conf("max_prepared_transactions", 20)
        .start();
    let (mut client, _token) = with_table(&cluster);
    prepare(&mut client, "p", "UPDATE t SET v = 5");
    prepare(&mut client, "q", "INSERT INTO t VALUES (11, 6)");
    client.batch_execute("INSERT INTO t VALUES (12, 0)").unwrap();
    let_go(&mut client);

    // Committed, and its session ended before it could write the stamp: nobody holds a lock.
    let mut observer = session(&cluster, "observer");
    let no_stamps = NoStamps::hold(&cluster);
    let resolver = running(&cluster, "resolver", "COMMIT PREPARED 'p'");
    wait_for_lock(&mut observer, "resolver", STAMPING);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'resolver'";
    observer.execute(end, &[]).unwrap();
    resolver.join().unwrap().unwrap_err();
    no_stamps.release();
    let_go(&mut client);

    cluster.set("event_source.retention", "1h");
    cluster.reload();
    wait_until("the longer retention", LIMIT, || {
        let row = client.query_one("SHOW event_source.retention", &[]).unwrap();
        row.get::<_, &str>(0) == "1h"
    });
    let keepers = "SELECT count(*) FROM pg_stat_activity
                   WHERE backend_type = 'event_source keeper'";
    wait_until("no keeper of before to be at work", LIMIT, || number(&mut client, keepers) == 0);
    commit(&mut client, "q");
    // What stands in the same segment from before is kept along with it.
    let told = "SELECT count(*) FROM event_source.changes";
    assert_eq!(number(&mut client, &format!("{told} WHERE op = 'update'")), 10);
    assert_eq!(number(&mut client, &format!("{told} WHERE key = '11'")), 1);
}

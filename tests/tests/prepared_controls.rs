//! The test of prepared transactions can fail: with the fault `prepared_unseen` switched on, a
//! committing transaction does not look for prepared ones that have no stamp yet, and the schedule
//! of `prepared.rs` finds it. The same build without the fault is sound.

use crate::prepared::race;
use crate::prepared::rebuild::{Rows, apply, table};
use event_source_tests::follow::{drain, mint};
use event_source_tests::{Build, Cluster};

/// Whether the events rebuild the table when a writer tries to overtake the session of COMMIT
/// PREPARED.
fn overtaken(control: &str) -> Result<(), String> {
    let cluster = Cluster::options()
        .build(Build::Controls)
        .conf("event_source.listen", "")
        .conf("event_source.control", control)
        .conf("max_prepared_transactions", 20)
        .start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); SELECT event_source.capture('t')",
        )
        .expect("a table can be captured");
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t VALUES (1, 0)").expect("a row can be written");
    race::overtake(&cluster);
    let rebuilt = apply(Rows::new(), &drain(&mut client, &token, None))?;
    let now = table(&mut client);
    if rebuilt == now { Ok(()) } else { Err(format!("{rebuilt:?} is not {now:?}")) }
}

#[test]
fn a_writer_that_does_not_look_for_prepared_transactions_is_found() {
    let found = overtaken("prepared_unseen").expect_err("nobody noticed");
    assert!(found.contains("rebuilt is"), "found something else: {found}");
}

#[test]
fn without_the_fault_the_same_build_is_sound() {
    overtaken("").unwrap_or_else(|wrong| panic!("{wrong}"));
}

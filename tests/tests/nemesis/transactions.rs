//! What happens around rows: savepoints, exceptions, procedures, sizes, ends.

use super::composer::Composer;
use super::{rows, tables};

fn something(c: &mut Composer<'_>) {
    let kinds = [
        rows::insert,
        rows::update,
        rows::delete,
        rows::merge,
        tables::keyless,
        tables::partitioned,
    ];
    c.one_of(&kinds)(c);
}

pub(crate) fn savepoints(c: &mut Composer<'_>) {
    c.sql("SAVEPOINT s");
    something(c);
    if c.chance(40) {
        c.sql("SAVEPOINT inner_one");
        rows::update_delete_insert(c);
        let end = c.one_of(&["ROLLBACK TO inner_one", "RELEASE inner_one"]);
        c.sql(end);
        something(c);
    }
    let end = c.one_of(&["ROLLBACK TO s", "RELEASE s"]);
    c.sql(end);
    something(c);
}

pub(crate) fn exception_block(c: &mut Composer<'_>) {
    let (key, v, end) = (rows::key(c), c.below(1000), c.below(3));
    c.sql(format!(
        "DO $$ BEGIN
           UPDATE item SET v = {v} WHERE id = {key};
           BEGIN
             INSERT INTO item (id, v, note) VALUES ({key}, {v}, 'in a block') ON CONFLICT DO NOTHING;
             DELETE FROM item WHERE id = {key} + 1;
             INSERT INTO bag VALUES ({v} % 50, 'block');
             IF {end} > 0 THEN PERFORM 1 / 0; END IF;
           EXCEPTION WHEN division_by_zero THEN
             UPDATE item SET note = 'rescued' WHERE id = {key} + 1;
             BEGIN
               DELETE FROM bag WHERE v = {v} % 50;
               IF {end} > 1 THEN RAISE 'again'; END IF;
             EXCEPTION WHEN raise_exception THEN NULL;
             END;
           END;
         END $$"
    ));
}

/// More subtransactions than PostgreSQL remembers in shared memory.
pub(crate) fn many_savepoints(c: &mut Composer<'_>) {
    let key = rows::key(c);
    c.sql(format!(
        "DO $$ BEGIN
           FOR n IN 1..80 LOOP
             BEGIN
               UPDATE item SET v = v + n WHERE id = {key} + n % 5;
               INSERT INTO bag VALUES (n % 50, 'sub');
               DELETE FROM bag WHERE v = n % 50 AND note = 'sub';
               IF n % 7 = 0 THEN RAISE 'undone'; END IF;
             EXCEPTION WHEN raise_exception THEN NULL;
             END;
           END LOOP;
         END $$"
    ));
}

pub(crate) fn procedure(c: &mut Composer<'_>) {
    let (key, v) = (rows::key(c), c.below(1000));
    c.sql(format!("CALL batches({key}, {v})"));
}

pub(crate) fn serializable(c: &mut Composer<'_>) {
    let level = c.one_of(&["SERIALIZABLE", "REPEATABLE READ"]);
    c.sql(format!("BEGIN ISOLATION LEVEL {level}"));
    c.sql("SELECT count(*) FROM item WHERE v % 2 = 0");
    something(c);
    something(c);
    c.sql("COMMIT");
}

pub(crate) fn several_tables(c: &mut Composer<'_>) {
    rows::update(c);
    tables::keyless(c);
    tables::partitioned(c);
    tables::identity(c);
    tables::children(c);
    rows::insert(c);
}

/// A buffer holds a hundred changes at a savepoint level; the rest goes to change rows.
pub(crate) fn more_than_a_buffer(c: &mut Composer<'_>) {
    let v = c.below(1000);
    c.sql(format!("UPDATE part SET v = {v}"));
    c.sql("SAVEPOINT s");
    c.sql("INSERT INTO part SELECT n, n, 'much' FROM generate_series(1, 180) n ON CONFLICT DO NOTHING");
    c.sql("DELETE FROM part WHERE id BETWEEN 50 AND 200");
    let end = c.one_of(&["ROLLBACK TO s", "RELEASE s"]);
    c.sql(end);
}

pub(crate) fn fifteen_thousand(c: &mut Composer<'_>) {
    c.sql("DELETE FROM many");
    c.sql("INSERT INTO many SELECT n, n FROM generate_series(1, 15000) n");
    c.sql("SAVEPOINT s");
    c.sql("DELETE FROM many WHERE id > 10");
    c.sql("ROLLBACK TO s");
    c.sql("UPDATE many SET v = v + 1 WHERE id BETWEEN 4000 AND 5000");
    c.sql("UPDATE many SET id = id + 100000 WHERE id BETWEEN 9000 AND 9200");
    c.sql("DELETE FROM many WHERE id > 12000 AND id < 100000");
    c.sql("UPDATE item SET note = 'beside many' WHERE id < 5");
}

pub(crate) fn rolled_back(c: &mut Composer<'_>) {
    c.sql("BEGIN");
    something(c);
    something(c);
    c.sql("ROLLBACK");
}

pub(crate) fn timeout(c: &mut Composer<'_>) {
    let key = rows::key(c);
    c.sql("SAVEPOINT s");
    c.sql("SET LOCAL statement_timeout = '20ms'");
    c.fails(
        "57014",
        format!("UPDATE item SET v = 0 WHERE id BETWEEN {key} AND {key} + 3; SELECT pg_sleep(60)"),
    );
    c.sql("ROLLBACK TO s");
    something(c);
}

fn prepare(c: &mut Composer<'_>) -> String {
    let gid = format!("nemesis-{}", c.serial);
    c.sql("BEGIN");
    something(c);
    c.sql("SAVEPOINT s");
    something(c);
    let end = c.one_of(&["ROLLBACK TO s", "RELEASE s"]);
    c.sql(end);
    c.sql(format!("PREPARE TRANSACTION '{gid}'"));
    c.send();
    gid
}

pub(crate) fn prepare_commit(c: &mut Composer<'_>) {
    let gid = prepare(c);
    c.sql(format!("COMMIT PREPARED '{gid}'"));
}

pub(crate) fn prepare_rollback(c: &mut Composer<'_>) {
    let gid = prepare(c);
    c.sql(format!("ROLLBACK PREPARED '{gid}'"));
}

/// Somebody else ends it: the disturber, or whoever conducts the run.
pub(crate) fn prepare_leave(c: &mut Composer<'_>) {
    prepare(c);
}

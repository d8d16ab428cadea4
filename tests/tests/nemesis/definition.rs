//! What happens to tables themselves while streams of them are open.

use super::composer::Composer;

/// Partitions that come and go: each holds a hundred keys from 1000 on.
const SLOTS: i32 = 5;

pub(crate) fn write(c: &mut Composer<'_>) {
    let (key, v) = (c.between(1, 60), c.below(1000));
    match c.below(3) {
        0 => c.sql(format!(
            "CALL on_shift('INSERT INTO %s (id, v, %I, measure) VALUES ({key}, {v}, ''label {v}'', ''{v}'') \
             ON CONFLICT (id) DO UPDATE SET v = excluded.v', shift_column('label'))"
        )),
        1 => c.sql(format!(
            "CALL on_shift('UPDATE %s SET %I = ''changed {v}'', v = v + 1 WHERE id BETWEEN {key} AND {key} + 3', \
             shift_column('label'))"
        )),
        _ => c.sql(format!("CALL on_shift('DELETE FROM %s WHERE id = {key}', 'none')")),
    }
}

pub(crate) fn rename_table(c: &mut Composer<'_>) {
    let n = c.serial;
    c.sql(format!("CALL on_shift('ALTER TABLE %s RENAME TO shift_{n}', 'none')"));
    write(c);
}

pub(crate) fn rename_schema(c: &mut Composer<'_>) {
    let n = c.serial;
    c.sql(format!(
        "DO $$ BEGIN EXECUTE format('ALTER SCHEMA %s RENAME TO moving_{n}', \
         (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = shift()::regclass)); END $$"
    ));
}

pub(crate) fn rename_column(c: &mut Composer<'_>) {
    let n = c.serial;
    c.sql(format!("CALL on_shift('ALTER TABLE %s RENAME %I TO label_{n}', shift_column('label'))"));
    write(c);
}

pub(crate) fn add_column(c: &mut Composer<'_>) {
    let n = c.serial;
    write(c);
    c.sql(format!("CALL on_shift('ALTER TABLE %s ADD extra_{n} int DEFAULT 7', 'none')"));
    write(c);
    c.sql(format!("CALL on_shift('UPDATE %s SET extra_{n} = v WHERE id %% 5 = 0', 'none')"));
}

/// A default that differs from row to row makes PostgreSQL write the table anew.
pub(crate) fn add_volatile(c: &mut Composer<'_>) {
    let n = c.serial;
    c.sql(format!(
        "CALL on_shift('ALTER TABLE %s ADD extra_{n} int DEFAULT (random() * 100)::int', 'none')"
    ));
}

pub(crate) fn drop_column(c: &mut Composer<'_>) {
    write(c);
    c.sql("CALL on_shift('ALTER TABLE %s DROP %I', shift_column('extra'))");
    write(c);
}

pub(crate) fn retype_column(c: &mut Composer<'_>) {
    let kind = c.one_of(&["int", "text", "bigint"]);
    c.sql(format!(
        "CALL on_shift('ALTER TABLE %s ALTER measure TYPE {kind} USING measure::{kind}', 'none')"
    ));
}

pub(crate) fn index(c: &mut Composer<'_>) {
    c.sql("DROP INDEX item_by_note");
    super::rows::update(c);
    c.sql("CREATE INDEX item_by_note ON item (note) INCLUDE (v)");
}

pub(crate) fn rewrite(c: &mut Composer<'_>) {
    let statement =
        c.one_of(&["VACUUM FULL item", "CLUSTER bag USING bag_by_v", "VACUUM FULL part_mid"]);
    c.sql(statement);
}

pub(crate) fn triggers_off(c: &mut Composer<'_>) {
    c.sql("ALTER TABLE ident DISABLE TRIGGER ALL");
    c.sql("INSERT INTO ident (v) VALUES (77)");
    c.sql("ALTER TABLE ident ENABLE TRIGGER ALL");
}

/// A name and its bounds.
fn slot(c: &mut Composer<'_>) -> (String, i32, i32) {
    let slot = c.below(SLOTS);
    (format!("part_{slot}"), 1000 + slot * 100, 1100 + slot * 100)
}

pub(crate) fn create_partition(c: &mut Composer<'_>) {
    let (name, from, to) = slot(c);
    c.sql(format!(
        "DO $$ BEGIN
           IF to_regclass('{name}') IS NOT NULL THEN PERFORM nothing_to_do('it is there'); END IF;
           CREATE TABLE {name} PARTITION OF part FOR VALUES FROM ({from}) TO ({to});
         END $$"
    ));
    c.sql(format!("INSERT INTO part VALUES ({from}, 0, 'first') ON CONFLICT DO NOTHING"));
}

pub(crate) fn attach_partition(c: &mut Composer<'_>) {
    let (name, from, to) = slot(c);
    c.sql(format!(
        "DO $$ BEGIN
           IF to_regclass('{name}') IS NOT NULL THEN PERFORM nothing_to_do('it is there'); END IF;
           CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL, note text);
           INSERT INTO {name} SELECT n, n, 'brought along' FROM generate_series({from} + 5, {from} + 30) n;
           ALTER TABLE part ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to});
         END $$"
    ));
    c.sql(format!("UPDATE part SET v = v + 1 WHERE id BETWEEN {from} + 10 AND {from} + 12"));
}

pub(crate) fn detach_partition(c: &mut Composer<'_>) {
    let (name, from, _) = slot(c);
    c.sql(format!("UPDATE part SET v = v + 1 WHERE id BETWEEN {from} AND {from} + 12"));
    c.sql(format!(
        "DO $$ BEGIN
           IF to_regclass('{name}') IS NULL THEN PERFORM nothing_to_do('it is not there'); END IF;
           ALTER TABLE part DETACH PARTITION {name};
           INSERT INTO {name} VALUES (-1, 0, 'not of the collection');
           DROP TABLE {name};
         END $$"
    ));
}

pub(crate) fn drop_partition(c: &mut Composer<'_>) {
    let (name, from, _) = slot(c);
    c.sql(format!("UPDATE part SET v = v + 1 WHERE id BETWEEN {from} AND {from} + 12"));
    c.sql(format!(
        "DO $$ BEGIN
           IF to_regclass('{name}') IS NULL THEN PERFORM nothing_to_do('it is not there'); END IF;
           DROP TABLE {name};
         END $$"
    ));
}

//! What happens to rows of one table, `item`.

use super::composer::Composer;

/// Few enough that the sessions meet, many enough that they do not spend their time waiting.
pub(crate) const KEYS: i32 = 400;

pub(super) fn key(c: &mut Composer<'_>) -> i32 {
    c.between(1, KEYS)
}

/// A short range of keys.
fn range(c: &mut Composer<'_>) -> (i32, i32) {
    let from = key(c);
    (from, from + c.between(1, 3))
}

pub(crate) fn insert(c: &mut Composer<'_>) {
    let ((from, to), v) = (range(c), c.below(1000));
    c.sql(format!(
        "INSERT INTO item (id, v, note, doc, tags) SELECT id, {v}, 'new', jsonb_build_object('n', id, \
         'deep', jsonb_build_array(null, true, {v})), ARRAY[id, {v}] \
         FROM generate_series({from}, {to}) AS id ON CONFLICT DO NOTHING"
    ));
}

pub(crate) fn update(c: &mut Composer<'_>) {
    let (key, v) = (key(c), c.below(1000));
    c.sql(format!("UPDATE item SET v = v + {v}, price = price + 0.01 WHERE id = {key}"));
}

pub(crate) fn update_range(c: &mut Composer<'_>) {
    let ((from, to), v) = (range(c), c.below(1000));
    c.sql(format!("UPDATE item SET v = {v}, note = NULL WHERE id BETWEEN {from} AND {to}"));
}

pub(crate) fn delete(c: &mut Composer<'_>) {
    let (from, to) = range(c);
    c.sql(format!("DELETE FROM item WHERE id BETWEEN {from} AND {to}"));
}

pub(crate) fn merge(c: &mut Composer<'_>) {
    let ((from, to), v) = (range(c), c.below(1000));
    c.sql(format!(
        "MERGE INTO item USING (SELECT id, {v} AS v FROM generate_series({from}, {to}) id) s ON item.id = s.id \
         WHEN MATCHED AND item.v % 3 = 0 THEN DELETE \
         WHEN MATCHED THEN UPDATE SET v = s.v, note = 'merged' \
         WHEN NOT MATCHED THEN INSERT (id, v, note) VALUES (s.id, s.v, 'merged')"
    ));
}

pub(crate) fn on_conflict(c: &mut Composer<'_>) {
    let (key, v) = (key(c), c.below(1000));
    c.sql(format!(
        "INSERT INTO item (id, v) VALUES ({key}, {v}) \
         ON CONFLICT (id) DO UPDATE SET v = item.v + 1, note = 'conflict'"
    ));
}

pub(crate) fn copy(c: &mut Composer<'_>) {
    let ((from, to), v) = (range(c), c.below(1000));
    c.sql(format!("DELETE FROM item WHERE id BETWEEN {from} AND {to}"));
    let rows = (from..=to).map(|id| format!("{id}\t{v}\tcopied\\t\\\\\n")).collect();
    c.copy("item (id, v, note)", rows);
}

pub(crate) fn changed_key(c: &mut Composer<'_>) {
    let (from, to) = (key(c), key(c));
    c.sql(format!(
        "UPDATE item SET id = {to} WHERE id = {from} AND NOT EXISTS (SELECT FROM item WHERE id = {to})"
    ));
}

pub(crate) fn delete_insert(c: &mut Composer<'_>) {
    let (key, v) = (key(c), c.below(1000));
    c.sql(format!("DELETE FROM item WHERE id = {key}"));
    c.sql(format!("INSERT INTO item (id, v, note) VALUES ({key}, {v}, 'again')"));
}

pub(crate) fn same_command(c: &mut Composer<'_>) {
    let key = key(c);
    c.sql(format!(
        "WITH gone AS (DELETE FROM item WHERE id = {key} RETURNING *) \
         INSERT INTO bag SELECT v % 50, 'gone' FROM gone"
    ));
    c.sql(format!(
        "WITH gone AS (DELETE FROM item WHERE id = {key} + 1 RETURNING *) \
         INSERT INTO item (id, v, note, body) SELECT id, v + 1, 'same command', body FROM gone \
         ON CONFLICT DO NOTHING"
    ));
}

pub(crate) fn update_delete_insert(c: &mut Composer<'_>) {
    let (key, v) = (key(c), c.below(1000));
    c.sql(format!("UPDATE item SET v = v + 1 WHERE id = {key}"));
    c.sql(format!("DELETE FROM item WHERE id = {key}"));
    c.sql(format!("INSERT INTO item (id, v, note) VALUES ({key}, {v}, 'reborn')"));
    if c.chance(30) {
        c.sql(format!("DELETE FROM item WHERE id = {key}"));
    }
}

pub(crate) fn toasted(c: &mut Composer<'_>) {
    let (key, copies) = (key(c), c.between(10, 400));
    c.sql(format!(
        "INSERT INTO item (id, v, note, body) VALUES ({key}, 2, 'long', repeat(md5('{copies}'), {copies})) \
         ON CONFLICT (id) DO UPDATE SET body = excluded.body"
    ));
}

pub(crate) fn toast_untouched(c: &mut Composer<'_>) {
    let key = key(c);
    c.sql(format!(
        "UPDATE item SET v = v + 1 WHERE id IN (SELECT id FROM item WHERE length(body) > 300 \
         AND id >= {key} ORDER BY id LIMIT 2)"
    ));
}

pub(crate) fn current_of(c: &mut Composer<'_>) {
    let key = key(c);
    c.sql(format!(
        "DECLARE here CURSOR FOR SELECT * FROM item WHERE id BETWEEN {key} AND {key} + 3 ORDER BY id FOR UPDATE"
    ));
    c.sql(
        "DO $$ DECLARE there refcursor := 'here'; row record; BEGIN
           FETCH there INTO row;
           IF FOUND THEN UPDATE item SET note = 'current' WHERE CURRENT OF there; END IF;
         END $$",
    );
    c.sql("CLOSE here");
}

pub(crate) fn replica_role(c: &mut Composer<'_>) {
    let (key, v) = (key(c), c.below(1000));
    c.sql("SET LOCAL session_replication_role = replica");
    c.sql(format!(
        "INSERT INTO item (id, v, note) VALUES ({key}, {v}, 'replicated') \
         ON CONFLICT (id) DO UPDATE SET v = excluded.v"
    ));
    c.sql("SET LOCAL session_replication_role = origin");
}

pub(crate) fn large_value(c: &mut Composer<'_>) {
    let (key, copies) = (key(c), c.between(10_000, 60_000));
    c.sql(format!(
        "INSERT INTO item (id, v, note, body) VALUES ({key}, 2, 'large', repeat(md5('{copies}'), {copies})) \
         ON CONFLICT (id) DO UPDATE SET body = excluded.body"
    ));
    c.sql(format!("UPDATE item SET v = v + 1, note = 'large, untouched' WHERE id = {key}"));
    // Not for ever: every later image of the row would be as large.
    c.sql(format!("UPDATE item SET body = NULL WHERE id = {key}"));
}

//! What happens to tables of other kinds: foreign keys, rules, no key, partitions, 1,600 columns,
//! what is deferred, TRUNCATE.

use super::composer::Composer;

pub(crate) fn children(c: &mut Composer<'_>) {
    let (parent, child, v) = (c.between(1, 60), c.between(1, 300), c.below(1000));
    c.sql(format!(
        "INSERT INTO parent VALUES ({parent}, {v}) ON CONFLICT (id) DO UPDATE SET v = parent.v + 1"
    ));
    let table = c.one_of(&["child", "child", "orphan"]);
    c.sql(format!(
        "INSERT INTO {table} (id, parent, v) VALUES ({child}, {parent}, {v}) \
         ON CONFLICT (id) DO UPDATE SET parent = excluded.parent"
    ));
}

pub(crate) fn cascade(c: &mut Composer<'_>) {
    let (parent, other) = (c.between(1, 60), c.between(1, 60));
    match c.below(3) {
        0 => c.sql(format!(
            "UPDATE parent SET id = {other} WHERE id = {parent} \
             AND NOT EXISTS (SELECT FROM parent WHERE id = {other})"
        )),
        1 => {
            // Deleted, brought back, deleted by the cascade of another parent.
            c.sql(format!(
                "UPDATE child SET parent = {other} WHERE parent = {parent} \
                AND EXISTS (SELECT FROM parent WHERE id = {other})"
            ));
            c.sql(format!("DELETE FROM parent WHERE id IN ({parent}, {other})"));
        }
        _ => c.sql(format!("DELETE FROM parent WHERE id = {parent}")),
    }
}

pub(crate) fn rules(c: &mut Composer<'_>) {
    let (a, b, v) = (c.between(1, 20), c.between(1, 10), c.below(1000));
    match c.below(3) {
        0 => c.sql(format!("INSERT INTO ruled VALUES ({a}, {b}, {v})")),
        1 => c.sql(format!("UPDATE ruled SET v = {v} WHERE a = {a}")),
        _ => {
            c.sql(format!("DELETE FROM ruled WHERE a = {a}"));
            c.sql(format!("DELETE FROM audit WHERE a = {a}"));
        }
    }
}

pub(crate) fn view(c: &mut Composer<'_>) {
    let (key, v) = (super::rows::key(c), c.below(1000));
    if c.chance(60) {
        c.sql(format!("INSERT INTO shown VALUES ({key}, {v}, 'through a view')"));
    } else {
        c.sql(format!("DELETE FROM shown WHERE id = {key}"));
    }
}

pub(crate) fn identity(c: &mut Composer<'_>) {
    let v = c.below(1000);
    c.sql(format!("INSERT INTO ident (v) SELECT {v} + n FROM generate_series(1, 2) n"));
    c.sql(format!("UPDATE ident SET v = v + 1, serial = DEFAULT WHERE id % 50 = {v} % 50"));
    c.sql("DELETE FROM ident WHERE id IN (SELECT id FROM ident ORDER BY id OFFSET 200 LIMIT 5)");
}

pub(crate) fn keyless(c: &mut Composer<'_>) {
    let (v, other) = (c.below(50), c.below(50));
    match c.below(4) {
        0 => c.sql(format!("INSERT INTO bag VALUES ({v}, 'twin'), ({v}, 'twin'), ({v}, NULL)")),
        1 => c.sql(format!("UPDATE bag SET v = {other} WHERE v = {v}")),
        2 => c.sql(format!(
            "DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE v = {v} AND note = 'twin' LIMIT 1)"
        )),
        _ => {
            c.sql(format!("DELETE FROM bag WHERE v = {v}"));
            c.sql(format!("INSERT INTO bag VALUES ({v}, 'alone')"));
        }
    }
}

pub(crate) fn keyless_merge(c: &mut Composer<'_>) {
    let v = c.below(50);
    c.sql(format!(
        "MERGE INTO bag USING (VALUES ({v})) AS s (v) ON bag.v = s.v \
         WHEN MATCHED AND note IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET note = 'merged' \
         WHEN NOT MATCHED THEN INSERT VALUES (s.v, 'merged')"
    ));
}

/// A key of `part`: sometimes of a partition that may not be there.
fn part_key(c: &mut Composer<'_>) -> i32 {
    if c.chance(15) { c.between(1000, 1499) } else { c.between(1, 900) }
}

pub(crate) fn partitioned(c: &mut Composer<'_>) {
    let (key, v) = (part_key(c), c.below(1000));
    match c.below(3) {
        0 => c.sql(format!(
            "INSERT INTO part VALUES ({key}, {v}, 'new') ON CONFLICT (id) DO UPDATE SET v = part.v + 1"
        )),
        1 => c.sql(format!("UPDATE part SET v = {v} WHERE id BETWEEN {key} AND {key} + 30")),
        _ => c.sql(format!("DELETE FROM part WHERE id BETWEEN {key} AND {key} + 5")),
    }
}

pub(crate) fn moved(c: &mut Composer<'_>) {
    let (key, to) = (part_key(c), part_key(c));
    c.sql(format!("INSERT INTO part VALUES ({key}, 0, 'moves') ON CONFLICT DO NOTHING"));
    c.sql(format!(
        "UPDATE part SET id = {to}, v = v + 1 WHERE id = {key} AND NOT EXISTS (SELECT FROM part WHERE id = {to})"
    ));
}

pub(crate) fn direct(c: &mut Composer<'_>) {
    let v = c.below(1000);
    let (name, key) = c.one_of(&[("part_low", 7), ("part_mid", 307), ("part_high", 607)]);
    let key = key + c.below(200);
    c.sql(format!(
        "INSERT INTO {name} VALUES ({key}, {v}, 'direct') ON CONFLICT (id) DO UPDATE SET v = {v}"
    ));
    c.sql(format!("DELETE FROM {name} WHERE id = {key} + 1"));
}

pub(crate) fn wide(c: &mut Composer<'_>) {
    let (key, column, v) = (c.between(1, 20), c.between(2, 1598), c.below(1000));
    match c.below(3) {
        0 => c.sql(format!(
            "INSERT INTO wide (id, c{column}, c1599) VALUES ({key}, {v}, {v}) \
             ON CONFLICT (id) DO UPDATE SET c{column} = {v}"
        )),
        1 => c.sql(format!("UPDATE wide SET c{column} = {v}, c1 = {v} WHERE id = {key}")),
        _ => c.sql(format!("DELETE FROM wide WHERE id = {key}")),
    }
}

pub(crate) fn deferred_constraint(c: &mut Composer<'_>) {
    let (a, b) = (c.between(1, 20), c.between(21, 40));
    c.sql(format!(
        "INSERT INTO seat VALUES ({a}, {a}, 0), ({b}, {b}, 0) ON CONFLICT (id) DO NOTHING"
    ));
    // For a moment both sit on one place.
    c.sql(format!(
        "UPDATE seat SET place = (SELECT place FROM seat WHERE id = {b}) WHERE id = {a}"
    ));
    c.sql(format!(
        "UPDATE seat SET place = (SELECT min(n) FROM generate_series(1, 100) n \
         WHERE n NOT IN (SELECT place FROM seat)) WHERE id = {b}"
    ));
}

pub(crate) fn deferred_trigger(c: &mut Composer<'_>) {
    let (key, v) = (c.between(1, 40), c.below(500) * 2 + 1);
    c.sql(format!(
        "INSERT INTO seat VALUES ({key}, {key} + 1000, {v}) ON CONFLICT (id) DO UPDATE SET v = {v}"
    ));
    match c.below(4) {
        0 => c.sql("SET CONSTRAINTS settle IMMEDIATE"),
        1 => c.sql(format!("DELETE FROM seat WHERE id = {key}")),
        _ => {}
    }
}

pub(crate) fn truncate(c: &mut Composer<'_>) {
    let table = c.one_of(&["item", "bag", "wide", "ruled"]);
    c.sql(format!("TRUNCATE {table}"));
}

pub(crate) fn truncate_several(c: &mut Composer<'_>) {
    c.sql("TRUNCATE bag, audit, seat");
    c.sql("INSERT INTO seat VALUES (1, 1, 1)");
}

pub(crate) fn truncate_cascade(c: &mut Composer<'_>) {
    c.sql("TRUNCATE parent CASCADE");
}

pub(crate) fn truncate_restart(c: &mut Composer<'_>) {
    c.sql("INSERT INTO ident (v) VALUES (1)");
    c.sql("TRUNCATE ident RESTART IDENTITY");
    c.sql("INSERT INTO ident (v) VALUES (2), (3)");
}

pub(crate) fn truncate_partition(c: &mut Composer<'_>) {
    let table = c.one_of(&["part_low", "part_mid", "part_high", "part"]);
    c.sql(format!("TRUNCATE {table}"));
    let v = c.below(1000);
    c.sql(format!("INSERT INTO part VALUES (1, {v}, 'again'), (301, {v}, 'again')"));
}

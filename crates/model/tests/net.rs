//! Net changes against a model that cannot be wrong: a map of rows that the commands are also
//! applied to. Triggers fire in a random order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event_source_model::change::{Change, RowVersion, Side};
use event_source_model::image::{Column, Image, Shape};
use event_source_model::net::{NetChange, Sequence, net, net_in};
use event_source_model::value::Value;
use proptest::prelude::*;

/// One statement.
#[derive(Clone, Debug)]
enum Command {
    Insert {
        key: i64,
        value: i64,
    },
    Update {
        key: i64,
        value: i64,
    },
    Delete {
        key: i64,
    },
    Move {
        key: i64,
        to: i64,
    },
    /// `UPDATE t SET id = id + 1`: every key is left by one row and taken by another.
    Shift,
    DeleteAll,
}

fn command() -> impl Strategy<Value = Command> {
    let key = || 0..6i64;
    prop_oneof![
        4 => (key(), any::<i64>()).prop_map(|(key, value)| Command::Insert { key, value }),
        4 => (key(), any::<i64>()).prop_map(|(key, value)| Command::Update { key, value }),
        3 => key().prop_map(|key| Command::Delete { key }),
        3 => (key(), key()).prop_map(|(key, to)| Command::Move { key, to }),
        1 => Just(Command::Shift),
        1 => Just(Command::DeleteAll),
    ]
}

/// A row of the table: its value, and the physical version that holds it.
type Row = (i64, RowVersion);

/// A key and a value, where there is a row.
type State = Option<(i64, i64)>;

/// A table in which commands do what PostgreSQL would do.
struct Table {
    shape: Arc<Shape>,
    rows: BTreeMap<i64, Row>,
    changes: Vec<Change>,
    versions: u32,
    command: u32,
    /// By key, the last command that touched it.
    touched: BTreeMap<i64, u32>,
}

impl Table {
    fn new(shape: Arc<Shape>, keys: &BTreeSet<i64>) -> Self {
        let mut table = Self {
            shape,
            rows: BTreeMap::new(),
            changes: Vec::new(),
            versions: 0,
            command: 0,
            touched: BTreeMap::new(),
        };
        for key in keys {
            let version = table.version(None);
            table.rows.insert(*key, (-*key, version));
        }
        table
    }

    fn version(&mut self, made_by: Option<u32>) -> RowVersion {
        self.versions += 1;
        RowVersion {
            table: 1,
            block: self.versions / 10,
            offset: (self.versions % 10) as u16,
            made_by,
        }
    }

    /// One statement: the rows that it takes away, and those that it leaves instead.
    fn run(&mut self, command: &Command) {
        let all = self.rows.clone();
        let is = |key: &i64| all.contains_key(key);
        let moves: Vec<(Option<i64>, State)> = match command {
            Command::Insert { key, value } if !is(key) => vec![(None, Some((*key, *value)))],
            Command::Update { key, value } if is(key) => vec![(Some(*key), Some((*key, *value)))],
            Command::Delete { key } if is(key) => vec![(Some(*key), None)],
            Command::Move { key, to } if is(key) && !is(to) => {
                vec![(Some(*key), Some((*to, all[key].0)))]
            }
            Command::Shift => {
                all.iter().map(|(key, row)| (Some(*key), Some((key + 1, row.0)))).collect()
            }
            Command::DeleteAll => all.keys().map(|key| (Some(*key), None)).collect(),
            _ => return,
        };
        self.command += 1;
        for (old, _) in &moves {
            old.map(|key| self.rows.remove(&key));
        }
        for (old, new) in moves {
            let before = old.map(|key| self.side(key, all[&key].0, all[&key].1));
            let after = new.map(|(key, value)| {
                let version = self.version(Some(self.command));
                self.rows.insert(key, (value, version));
                self.side(key, value, version)
            });
            for key in old.into_iter().chain(new.map(|n| n.0)) {
                self.touched.insert(key, self.command);
            }
            self.changes.push(Change {
                collection: 1,
                command: self.command,
                fired: 0,
                before,
                after,
                rewrite: false,
            });
        }
    }

    fn side(&self, key: i64, value: i64, version: RowVersion) -> Side {
        Side { image: self.image(key, value), version }
    }

    fn image(&self, key: i64, value: i64) -> Image {
        let values = vec![Value::BigInt(key), Value::BigInt(value)];
        Image { shape: Arc::clone(&self.shape), values }
    }
}

fn shape(key: Vec<u16>) -> Arc<Shape> {
    let column = |attnum, name: &str| Column { attnum, name: name.to_owned() };
    Arc::new(Shape { columns: vec![column(1, "id"), column(2, "v")], key })
}

fn numbers(image: Option<&Image>) -> State {
    image.map(|image| match image.values.as_slice() {
        [Value::BigInt(key), Value::BigInt(value)] => (*key, *value),
        other => panic!("not an image of the test: {other:?}"),
    })
}

fn sides(net: &NetChange) -> (State, State) {
    (numbers(net.before.as_ref()), numbers(net.after.as_ref()))
}

/// Gives the changes a random firing order.
fn fire(changes: &mut [Change], order: &[u64]) {
    for (change, fired) in changes.iter_mut().zip(order.iter().cycle()) {
        change.fired = *fired;
    }
}

fn keys() -> impl Strategy<Value = BTreeSet<i64>> {
    proptest::collection::btree_set(0..6i64, 0..6)
}

proptest! {
    #[test]
    fn each_key_has_one_net_change_from_its_first_state_to_its_last(
        keys in keys(),
        commands in proptest::collection::vec(command(), 1..25),
        order in Just((0..64u64).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut table = Table::new(shape(vec![0]), &keys);
        let first = table.rows.clone();
        for command in &commands {
            table.run(command);
        }
        let mut changes = std::mem::take(&mut table.changes);
        fire(&mut changes, &order);
        let net = net(changes);

        let mut expected = BTreeMap::new();
        for key in table.touched.keys() {
            let before = first.get(key).map(|row| (*key, row.0));
            let after = table.rows.get(key).map(|row| (*key, row.0));
            if before.is_some() || after.is_some() {
                expected.insert(*key, (before, after));
            }
        }
        let mut got = BTreeMap::new();
        let mut last = 0;
        for change in &net {
            let (before, after) = sides(change);
            let key = after.or(before).expect("a side").0;
            prop_assert!(got.insert(key, (before, after)).is_none(), "two changes of key {}", key);
            prop_assert!(table.touched[&key] >= last, "not in the order of the last changes");
            last = table.touched[&key];
        }
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn a_row_without_a_key_is_the_chain_of_its_versions(
        keys in keys(),
        commands in proptest::collection::vec(command(), 1..25),
        order in Just((0..64u64).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut table = Table::new(shape(Vec::new()), &keys);
        let first: Vec<(i64, Row)> = table.rows.clone().into_iter().collect();
        for command in &commands {
            table.run(command);
        }
        let mut changes = std::mem::take(&mut table.changes);
        // What the chain of a first version ended in, found by walking it.
        let mut expected = Vec::new();
        let follow = |start: RowVersion| {
            let (mut version, mut end) = (start, None);
            for change in &changes {
                if change.before.as_ref().is_some_and(|b| b.version == version) {
                    end = Some(change.after.as_ref().map(|a| numbers(Some(&a.image))));
                    version = change.after.as_ref().map_or(version, |a| a.version);
                }
            }
            end
        };
        for (key, (value, version)) in &first {
            if let Some(end) = follow(*version) {
                expected.push((Some((*key, *value)), end.flatten()));
            }
        }
        for change in changes.iter().filter(|c| c.before.is_none()) {
            let made = change.after.as_ref().expect("an insert");
            let end = follow(made.version).unwrap_or_else(|| Some(numbers(Some(&made.image))));
            if let Some(end) = end {
                expected.push((None, end));
            }
        }
        fire(&mut changes, &order);
        let mut got: Vec<_> = net(changes).iter().map(sides).collect();
        got.sort();
        expected.sort();
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn the_order_of_triggers_would_give_another_answer() {
    // A user's AFTER trigger updates the row that the statement inserted; ours fires for the
    // update first.
    let mut table = Table::new(shape(vec![0]), &BTreeSet::new());
    table.run(&Command::Insert { key: 1, value: 10 });
    table.run(&Command::Update { key: 1, value: 20 });
    let mut changes = std::mem::take(&mut table.changes);
    fire(&mut changes, &[2, 1]);
    let right: Vec<_> = net(changes.clone()).iter().map(sides).collect();
    assert_eq!(right, [(None, Some((1, 20)))]);
    let wrong: Vec<_> = net_in(Sequence::Fired, changes).iter().map(sides).collect();
    assert_ne!(wrong, right);
}

/// ATTACH PARTITION brings rows whose versions earlier transactions made; they count as inserted
/// here, and an update in the same transaction must find them by that version.
#[test]
fn a_row_that_came_with_a_partition_and_was_updated_is_one_add() {
    let shape = Arc::new(Shape {
        columns: vec![Column { attnum: 1, name: "id".to_owned() }],
        key: vec![0],
    });
    let side = |block, made_by| Side {
        image: Image { shape: Arc::clone(&shape), values: vec![Value::BigInt(7)] },
        version: RowVersion { table: 1, block, offset: 1, made_by },
    };
    let change = |command, before, after| Change {
        collection: 1,
        command,
        fired: 0,
        before,
        after,
        rewrite: false,
    };
    let attached = change(1, None, Some(side(0, None)));
    let updated = change(2, Some(side(0, None)), Some(side(1, Some(2))));
    let got = net(vec![attached.clone(), updated]);
    assert_eq!(got.len(), 1);
    assert!(got[0].before.is_none() && got[0].after.is_some(), "{got:?}");
    let deleted = change(2, Some(side(0, None)), None);
    assert_eq!(net(vec![attached, deleted]), Vec::new());
}

#[test]
fn a_schema_break_stands_where_it_happened() {
    let shape = Arc::new(Shape {
        columns: vec![Column { attnum: 1, name: "id".to_owned() }],
        key: vec![0],
    });
    let insert = |key: i64, command: u32| {
        let version = RowVersion { table: 1, block: 0, offset: key as u16, made_by: Some(command) };
        let image = Image { shape: Arc::clone(&shape), values: vec![Value::Int(key)] };
        let after = Some(Side { image, version });
        Change { collection: 1, command, fired: 0, before: None, after, rewrite: false }
    };
    let net = net(vec![insert(2, 3), Change::schema_break(1, 2), insert(1, 1)]);
    let breaks: Vec<bool> = net.iter().map(NetChange::is_schema_break).collect();
    assert_eq!(breaks, [false, true, false]);
}

#[test]
fn a_row_without_key_that_is_ended_twice_is_one_remove() {
    let shape = Arc::new(Shape {
        columns: vec![Column { attnum: 1, name: "v".to_owned() }],
        key: Vec::new(),
    });
    let end = |command: u32| {
        let version = RowVersion { table: 1, block: 0, offset: 1, made_by: None };
        let image = Image { shape: Arc::clone(&shape), values: vec![Value::Int(7)] };
        let before = Some(Side { image, version });
        Change { collection: 1, command, fired: 0, before, after: None, rewrite: false }
    };
    assert_eq!(net(vec![end(1), end(2)]).len(), 1);
}

//! The table as a follower rebuilds it from events, and everything that can be wrong with them.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use event_source_tests::consume::{Event, Kind};
use serde_json::Value;

use super::table::{MARKER_KEY, Shape};

/// What a follower found: a miss, a repeat or a disorder, or that nothing came any more.
#[derive(Debug)]
#[expect(dead_code, reason = "its fields are read by Debug, in the message of a failed test")]
pub(crate) enum Disorder {
    /// An event's old image is not the image that the events so far make.
    Prev { event: Box<Event>, rebuilt: Option<Value> },
    /// The position went back, or a cursor came twice.
    Position { before: i64, event: Box<Event> },
    /// The rebuilt rows are not the table's.
    Rows { only_rebuilt: Vec<Value>, only_in_table: Vec<Value> },
    /// Two followers saw different sequences; `at` counts events.
    Sequence { followers: [&'static str; 2], at: usize, lengths: [usize; 2] },
    /// Nothing came any more before the last row did.
    Silence { after: usize, why: String },
    /// The client failed otherwise: no finding about order, and a failure of every test.
    Client(String),
}

/// One follower's copy of the table.
#[derive(Debug)]
pub(crate) struct Replica {
    shape: Shape,
    /// By key.
    rows: HashMap<String, Value>,
    /// Without a key: how many of each row.
    bag: HashMap<String, (Value, usize)>,
    last: i64,
    /// The cursors seen at `last`.
    cursors: HashSet<String>,
    /// A hash of every event, in order.
    pub sequence: Vec<u64>,
    pub complete: bool,
}

impl Replica {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            shape,
            rows: HashMap::new(),
            bag: HashMap::new(),
            last: 0,
            cursors: HashSet::new(),
            sequence: Vec::new(),
            complete: false,
        }
    }

    /// Takes an event of a row, as seen with `include=prev`.
    pub(crate) fn apply(&mut self, event: Event) -> Result<(), Disorder> {
        self.check_position(&event)?;
        let (before, after) = match event.kind {
            Kind::Add => (None, event.data.as_ref()),
            Kind::Update => (event.prev.as_ref(), event.data.as_ref()),
            // The last row is in `data`; `prev` has to agree where it is given.
            Kind::Remove => (event.data.as_ref(), None),
            Kind::HistoryRewrite | Kind::Status | Kind::Error => {
                return Err(Disorder::Client(format!("{event:?}")));
            }
        };
        let agrees = match event.kind {
            Kind::Add => event.prev.is_none(),
            Kind::Update => before.is_some() && after.is_some(),
            _ => before.is_some() && event.prev.as_ref().is_none_or(|prev| Some(prev) == before),
        };
        let wrong = |rebuilt| Disorder::Prev { event: Box::new(event.clone()), rebuilt };
        if !agrees {
            return Err(wrong(None));
        }
        if self.shape == Shape::Keyless {
            if let Some(before) = before {
                self.take_from_bag(before).ok_or_else(|| wrong(None))?;
            }
            if let Some(after) = after {
                self.bag.entry(bag_key(after)).or_insert_with(|| (after.clone(), 0)).1 += 1;
            }
        } else {
            let key = event.key.as_ref().ok_or_else(|| wrong(None))?;
            // The key of the event is the key of the image.
            if after.or(before).is_none_or(|image| image["id"] != *key) {
                return Err(wrong(None));
            }
            let key = key.to_string();
            if self.rows.get(&key) != before {
                return Err(wrong(self.rows.remove(&key)));
            }
            match after {
                Some(after) => self.rows.insert(key, after.clone()),
                None => self.rows.remove(&key),
            };
        }
        self.complete |= after.is_some_and(|row| row["id"] == MARKER_KEY);
        Ok(())
    }

    fn check_position(&mut self, event: &Event) -> Result<(), Disorder> {
        let wrong = |before| Disorder::Position { before, event: Box::new(event.clone()) };
        let (Some(txn_ts), Some(cursor)) = (event.txn_ts, &event.cursor) else {
            return Err(wrong(self.last));
        };
        if txn_ts > self.last {
            self.last = txn_ts;
            self.cursors.clear();
        }
        if txn_ts < self.last || !self.cursors.insert(cursor.clone()) {
            return Err(wrong(self.last));
        }
        let mut hasher = DefaultHasher::new();
        let key = event.key.as_ref().map(Value::to_string);
        (txn_ts, cursor, key, event.kind).hash(&mut hasher);
        self.sequence.push(hasher.finish());
        Ok(())
    }

    fn take_from_bag(&mut self, row: &Value) -> Option<()> {
        let key = bag_key(row);
        let (_, count) = self.bag.get_mut(&key)?;
        *count -= 1;
        if *count == 0 {
            self.bag.remove(&key);
        }
        Some(())
    }

    /// Compares with the table's rows.
    pub(crate) fn compare(&self, table: &[Value]) -> Result<(), Disorder> {
        let mut rebuilt: HashMap<String, usize> = HashMap::new();
        for (row, count) in
            self.rows.values().map(|r| (r, 1)).chain(self.bag.values().map(|(r, n)| (r, *n)))
        {
            *rebuilt.entry(bag_key(row)).or_default() += count;
        }
        let mut only_in_table = Vec::new();
        for row in table {
            match rebuilt.get_mut(&bag_key(row)) {
                Some(count) if *count > 0 => *count -= 1,
                _ => only_in_table.push(row.clone()),
            }
        }
        let only_rebuilt: Vec<Value> = rebuilt
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(row, _)| serde_json::from_str(&row).expect("made of a row"))
            .collect();
        if only_rebuilt.is_empty() && only_in_table.is_empty() {
            Ok(())
        } else {
            Err(Disorder::Rows { only_rebuilt, only_in_table })
        }
    }
}

/// One text for equal rows: columns in one order.
fn bag_key(row: &Value) -> String {
    let mut columns: Vec<(&String, &Value)> =
        row.as_object().expect("a row is an object").iter().collect();
    columns.sort_unstable_by_key(|(name, _)| *name);
    let sorted: serde_json::Map<String, Value> =
        columns.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Value::Object(sorted).to_string()
}

/// Whether two followers saw the same events in the same order.
pub(crate) fn same_sequence(
    a: (&'static str, &[u64]),
    b: (&'static str, &[u64]),
) -> Result<(), Disorder> {
    if a.1 == b.1 {
        return Ok(());
    }
    let at = a.1.iter().zip(b.1).take_while(|(x, y)| x == y).count();
    Err(Disorder::Sequence { followers: [a.0, b.0], at, lengths: [a.1.len(), b.1.len()] })
}

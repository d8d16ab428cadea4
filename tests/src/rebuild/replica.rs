//! The table as a follower rebuilds it from events, and the checks that every event has to pass:
//! order of positions, the chain of old images, whole transactions.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use event_source_model::position::{Cursor, Position};
use serde_json::Value;

use super::disorder::Disorder;
use super::image::Form;
use crate::consume::{Event, Kind};

/// What tells the rows of a table apart, and what of them counts.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The columns of the primary key; none: rows are a bag, and several may be equal.
    pub key: &'static [&'static str],
    pub form: Form,
    /// The column that holds the transaction that wrote a row's version.
    pub writer: Option<&'static str>,
}

impl Identity {
    /// A table whose key is `id`.
    pub const ID: Self = Self { key: &["id"], form: Form::Exact, writer: None };
    /// A table without a key.
    pub const BAG: Self = Self { key: &[], form: Form::Exact, writer: None };

    /// The key of an event, as the row's own columns have it; the text form where they agree.
    fn key_of(&self, event: &Event, image: &Value) -> Option<String> {
        let key = event.key.as_ref()?;
        let text = key_text(key);
        // A document's columns come without its id.
        if self.form == Form::Document {
            return Some(text);
        }
        (self.key_in(image) == text).then_some(text)
    }

    fn key_in(&self, row: &Value) -> String {
        let columns: Vec<Value> = self.key.iter().map(|&name| row[name].clone()).collect();
        match columns.as_slice() {
            [only] => key_text(only),
            _ => Value::Array(columns).to_string(),
        }
    }
}

fn key_text(key: &Value) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}

/// One follower's copy of a table. Rows are kept in their normal form.
#[derive(Debug)]
pub struct Replica {
    identity: Identity,
    /// By key.
    rows: HashMap<String, Value>,
    /// Without a key: how many of each row.
    bag: HashMap<String, (Value, usize)>,
    /// Behind the last event or status.
    pub position: Position,
    /// Where the last event was, and which transaction wrote its rows, as far as they say.
    written: (i64, Option<Value>),
    /// Which transaction came last: no earlier one may come again.
    writers: HashMap<String, i64>,
    /// A hash of every event, in order, since the last [`Replica::agreed`].
    pub sequence: Vec<u64>,
    /// How many events came in all.
    pub events: u64,
    /// Whether the copy was made anew since the last [`Replica::agreed`].
    pub renewed: bool,
}

impl Replica {
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            rows: HashMap::new(),
            bag: HashMap::new(),
            position: Position::at(0, 0),
            written: (0, None),
            writers: HashMap::new(),
            sequence: Vec::new(),
            events: 0,
            renewed: false,
        }
    }

    /// Starts again from the rows that a new token was minted with.
    pub fn renew(&mut self, rows: &[Value]) {
        *self = Self { events: self.events, renewed: true, ..Self::new(self.identity) };
        for row in rows {
            self.put(row, None);
        }
    }

    /// Followers have been found to agree up to here.
    pub fn agreed(&mut self) {
        self.sequence.clear();
        self.writers.clear();
        self.renewed = false;
    }

    /// Takes a status: everything up to its cursor has come.
    ///
    /// # Errors
    /// When it goes back.
    pub fn pass(&mut self, event: &Event) -> Result<(), Disorder> {
        let position = self.read_position(event)?;
        if position < self.position {
            return Err(self.misplaced(event));
        }
        self.position = position;
        Ok(())
    }

    /// Takes an event of a row, as seen with `include=prev`.
    ///
    /// # Errors
    /// With the first thing that is wrong with it.
    pub fn apply(&mut self, event: &Event) -> Result<(), Disorder> {
        let position = self.read_position(event)?;
        if position <= self.position || event.txn_ts != Some(position.txn_ts) {
            return Err(self.misplaced(event));
        }
        self.check_writer(event, position.txn_ts)?;
        self.position = position;
        self.note(event);

        let wrong = |rebuilt| Disorder::Prev { event: Box::new(event.clone()), rebuilt };
        // A document is shown without its old image; of a removed one there is none at all.
        let document = self.identity.form == Form::Document;
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
            Kind::Add => event.prev.is_none() && after.is_some(),
            Kind::Update => before.is_some() != document && after.is_some(),
            _ => before.is_some() && event.prev.as_ref().is_none_or(|prev| Some(prev) == before),
        };
        if !agrees {
            return Err(wrong(None));
        }
        let (before, after) = (before.map(|i| self.normal(i)), after.map(|i| self.normal(i)));
        if self.identity.key.is_empty() {
            if let Some(before) = &before {
                self.take_from_bag(before).ok_or_else(|| wrong(None))?;
            }
            if let Some(after) = &after {
                self.put(after, None);
            }
            return Ok(());
        }
        let shown = after.as_ref().or(before.as_ref()).expect("looked at above");
        let key = self.identity.key_of(event, shown).ok_or_else(|| wrong(None))?;
        let known = self.rows.get(&key);
        let fits = match event.kind {
            Kind::Add => known.is_none(),
            _ if document => known.is_some(),
            _ => known.zip(before.as_ref()).is_some_and(|(a, b)| self.identity.form.agree(a, b)),
        };
        if !fits {
            return Err(wrong(known.cloned()));
        }
        match after {
            Some(after) => self.put(&after, Some(key)),
            None => {
                self.rows.remove(&key);
            }
        }
        Ok(())
    }

    fn normal(&self, image: &Value) -> Value {
        self.identity.form.normal(image)
    }

    fn put(&mut self, row: &Value, key: Option<String>) {
        let normal = self.normal(row);
        if self.identity.key.is_empty() {
            self.bag.entry(normal.to_string()).or_insert_with(|| (normal, 0)).1 += 1;
        } else {
            let key = key.unwrap_or_else(|| self.identity.key_in(row));
            self.rows.insert(key, normal);
        }
    }

    fn read_position(&self, event: &Event) -> Result<Position, Disorder> {
        let cursor = event.cursor.as_deref().and_then(|text| Cursor::decode(text).ok());
        cursor.map(|cursor| cursor.position).ok_or_else(|| self.misplaced(event))
    }

    fn misplaced(&self, event: &Event) -> Disorder {
        Disorder::Position { before: self.position.clone(), event: Box::new(event.clone()) }
    }

    /// What two followers of one set have to agree on, whatever their wires.
    fn note(&mut self, event: &Event) {
        let mut hasher = DefaultHasher::new();
        let Position { txn_ts, ordinal, .. } = self.position;
        (txn_ts, ordinal, event.key.as_ref().map(key_text), event.kind).hash(&mut hasher);
        self.sequence.push(hasher.finish());
        self.events += 1;
    }

    /// A transaction is whole: one place in the order for one writer, and one writer for one place.
    fn check_writer(&mut self, event: &Event, txn_ts: i64) -> Result<(), Disorder> {
        if self.written.0 != txn_ts {
            self.written = (txn_ts, None);
        }
        let written = self.identity.writer.zip(event.data.as_ref()).map(|(name, row)| &row[name]);
        let Some(writer) = written.filter(|w| !w.is_null() && event.kind != Kind::Remove) else {
            return Ok(());
        };
        let wrong =
            |why: String| Err(Disorder::Transaction { event: Box::new(event.clone()), why });
        match &self.written.1 {
            Some(other) if other != writer => {
                return wrong(format!("{other} wrote the rows before it at {txn_ts}"));
            }
            _ => self.written.1 = Some(writer.clone()),
        }
        match self.writers.insert(writer.to_string(), txn_ts) {
            Some(before) if before != txn_ts => wrong(format!("it came at {before} as well")),
            _ => Ok(()),
        }
    }

    fn take_from_bag(&mut self, row: &Value) -> Option<()> {
        let key = row.to_string();
        let (_, count) = self.bag.get_mut(&key)?;
        *count -= 1;
        if *count == 0 {
            self.bag.remove(&key);
        }
        Some(())
    }

    /// Compares with the table's rows.
    ///
    /// # Errors
    /// With what is on one side only.
    pub fn compare(&self, table: &[Value]) -> Result<(), Disorder> {
        let mut in_table = Self::new(self.identity);
        table.iter().for_each(|row| in_table.put(row, None));
        let (mut only_rebuilt, mut only_in_table) = (Vec::new(), Vec::new());
        if !self.identity.key.is_empty() && in_table.rows.len() < table.len() {
            // Two rows of one key: no primary key would have let them in.
            only_in_table.extend(table.iter().cloned());
        }
        for (key, row) in &self.rows {
            let there = in_table.rows.remove(key);
            if !there.as_ref().is_some_and(|there| self.identity.form.agree(row, there)) {
                only_rebuilt.push(row.clone());
                only_in_table.extend(there);
            }
        }
        only_in_table.extend(in_table.rows.into_values());
        for (key, (row, count)) in &self.bag {
            let there = in_table.bag.remove(key).map_or(0, |(_, count)| count);
            only_rebuilt.extend(std::iter::repeat_n(row.clone(), count.saturating_sub(there)));
            only_in_table.extend(std::iter::repeat_n(row.clone(), there.saturating_sub(*count)));
        }
        let left = in_table.bag.into_values();
        only_in_table.extend(left.flat_map(|(row, count)| std::iter::repeat_n(row, count)));
        if only_rebuilt.is_empty() && only_in_table.is_empty() {
            Ok(())
        } else {
            Err(Disorder::Rows { only_rebuilt, only_in_table })
        }
    }
}

/// Whether two followers saw the same events in the same order.
///
/// # Errors
/// With the first place where they differ.
pub fn same_sequence(a: (&str, &[u64]), b: (&str, &[u64])) -> Result<(), Disorder> {
    if a.1 == b.1 {
        return Ok(());
    }
    let at = a.1.iter().zip(b.1).take_while(|(x, y)| x == y).count();
    let followers = [a.0.to_owned(), b.0.to_owned()];
    Err(Disorder::Sequence { followers, at, lengths: [a.1.len(), b.1.len()] })
}

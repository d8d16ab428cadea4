//! Events on their way from the log to a renderer: many in one piece of memory, each as the log would have it.
//!
//! An event that is all that its transaction did is not read on the way: its payload is copied as it is.
//! Others are made payloads. Whoever renders one decodes it then, one at a time, so that what is decoded
//! stays in the nearest cache and no allocation outlives the event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::encoding::{Damaged, Reader, put_number};
use crate::event::{Event, EventType};
use crate::image::Shape;
use crate::named::Named;
use crate::net::NetChange;
use crate::payload::{self, ShapeId};
use crate::position::Position;

/// Events in order. Equal when their bytes are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    count: u32,
    shapes: Named,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

/// Which images of an event its renderer looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    Both,
    /// The new one, and of a row that is gone the old one. An old one beside that may be left out.
    Shown,
}

/// The flags beside the kind in an event's first byte.
const KIND: u8 = 0b11;
/// The position has more than a txn_ts, an ordinal and a fingerprint.
const WHOLE: u8 = 1 << 2;

impl Sides {
    /// Whether the old image beside a new one is looked at in an event of this kind.
    pub fn has_old(self, kind: EventType) -> bool {
        self == Self::Both || kind == EventType::Remove
    }
}

impl Events {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that their payloads take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event) {
        let Event { kind, position, key, before, after } = event;
        let change = NetChange { collection: 0, key, before, after, rewrite: false };
        let mut payload = Vec::new();
        payload::encode_net(&change, &mut |shape| self.shapes.name(shape), &mut payload);
        self.push_coded(kind, &position, &payload);
    }

    /// Adds an event by the payload of the transaction that did nothing else.
    pub fn push_logged(
        &mut self,
        kind: EventType,
        position: &Position,
        payload: &[u8],
        shape: &(ShapeId, Arc<Shape>),
    ) {
        self.shapes.add(shape);
        self.push_coded(kind, position, payload);
    }

    /// Knows shapes from here on, see [`Self::push_coded`].
    pub fn know(&mut self, shapes: &Named) {
        self.shapes.append(shapes);
    }

    /// Adds an event by a payload that was made before, whose shapes are known.
    pub fn push_coded(&mut self, kind: EventType, position: &Position, payload: &[u8]) {
        self.head(kind, position);
        self.content(payload);
    }

    /// The events one after the other, decoded as they are asked for.
    pub fn iter(&self, sides: Sides) -> impl Iterator<Item = Result<Event, Damaged>> {
        let mut rest = Reader(&self.bytes);
        (0..self.count).map(move |_| Raw::take(&mut rest)?.decode(sides, &self.shapes))
    }

    /// The same; with the last one their memory is given back, so that a single large event is not held twice.
    pub fn into_iter(self, sides: Sides) -> impl Iterator<Item = Result<Event, Damaged>> {
        let Self { count, shapes, mut bytes } = self;
        let (mut left, mut at) = (count, 0);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let mut rest = Reader(&bytes[at..]);
            let event = Raw::take(&mut rest).and_then(|raw| raw.decode(sides, &shapes));
            at = bytes.len() - rest.0.len();
            if left == 0 {
                bytes = Vec::new();
            }
            Some(event)
        })
    }

    /// All of them.
    ///
    /// # Errors
    /// When a payload of the log is damaged.
    pub fn to_vec(&self) -> Result<Vec<Event>, Damaged> {
        self.iter(Sides::Both).collect()
    }

    fn head(&mut self, kind: EventType, position: &Position) {
        let Position { txn_ts, ordinal, within, skipping, fingerprint, snapshot } = position;
        let is_plain = within.is_none() && skipping.is_none() && snapshot.is_none();
        let whole = if is_plain { 0 } else { WHOLE };
        self.bytes.push(code(kind) | whole);
        if is_plain {
            self.bytes.extend(txn_ts.to_le_bytes());
            self.bytes.extend(fingerprint.to_le_bytes());
            put_number(&mut self.bytes, u64::from(*ordinal));
        } else {
            let position = postcard::to_stdvec(position).expect("a position is plain data");
            self.content(&position);
        }
        self.count += 1;
    }

    fn content(&mut self, bytes: &[u8]) {
        put_number(&mut self.bytes, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

fn code(kind: EventType) -> u8 {
    match kind {
        EventType::Add => 0,
        EventType::Update => 1,
        EventType::Remove => 2,
        EventType::HistoryRewrite => 3,
    }
}

/// An event that was found and not decoded.
struct Raw<'a> {
    kind: EventType,
    position: Position,
    payload: &'a [u8],
}

impl<'a> Raw<'a> {
    fn take(rest: &mut Reader<'a>) -> Result<Self, Damaged> {
        let flags = rest.byte()?;
        let kind = match flags & KIND {
            0 => EventType::Add,
            1 => EventType::Update,
            2 => EventType::Remove,
            _ => EventType::HistoryRewrite,
        };
        let position = if flags & WHOLE == 0 {
            let txn_ts = i64::from_le_bytes(rest.array()?);
            let fingerprint = u64::from_le_bytes(rest.array()?);
            Position::at(txn_ts, rest.number()? as u32).with(fingerprint)
        } else {
            postcard::from_bytes(rest.counted()?).map_err(|_| Damaged)?
        };
        Ok(Self { kind, position, payload: rest.counted()? })
    }

    fn decode(self, sides: Sides, shapes: &Named) -> Result<Event, Damaged> {
        let Self { kind, position, payload } = self;
        let change = payload::decode_net(payload, shapes, sides.has_old(kind))?;
        let NetChange { key, before, after, .. } = change;
        Ok(Event { kind, position, key, before, after })
    }
}

impl FromIterator<Event> for Events {
    fn from_iter<T: IntoIterator<Item = Event>>(events: T) -> Self {
        let mut all = Self::default();
        events.into_iter().for_each(|event| all.push(event));
        all
    }
}

impl From<Vec<Event>> for Events {
    fn from(events: Vec<Event>) -> Self {
        events.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Change, RowVersion, Side};
    use crate::image::{Column, Image, Key};
    use crate::value::Value;

    fn image(id: i64, text: &str) -> Image {
        let column = |attnum, name: &str| Column { attnum, name: name.to_owned() };
        let shape = Shape { columns: vec![column(1, "id"), column(2, "t")], key: vec![0] };
        let values = vec![Value::BigInt(id), Value::Text(text.to_owned())];
        Image { shape: Arc::new(shape), values }
    }

    fn event(txn_ts: i64, position: Position) -> Event {
        Event {
            kind: EventType::Update,
            position,
            key: Some(Key(vec![Value::BigInt(txn_ts)])),
            before: Some(image(txn_ts, "a")),
            after: Some(image(txn_ts, "b")),
        }
    }

    fn logged(txn_ts: i64) -> Vec<u8> {
        let version = RowVersion { table: 1, block: 2, offset: 3, made_by: None };
        let side = |text| Some(Side { image: image(txn_ts, text), version });
        let (before, after) = (side("a"), side("b"));
        let change = Change { before, after, ..Change::schema_break(7, 0) };
        let mut bytes = Vec::new();
        payload::encode(&change, &mut |shape: &Arc<Shape>| ShapeId::of(shape).0, &mut bytes);
        bytes
    }

    fn shape() -> (ShapeId, Arc<Shape>) {
        let shape = image(0, "").shape;
        (ShapeId::of(&shape).0, shape)
    }

    #[test]
    fn what_the_log_has_and_what_was_made_of_several_changes_come_back_alike_and_in_order() {
        let plain = Position::at(1_000_000, 3).with(77);
        let skipping = Position { skipping: Some(9), ..Position::after(1_000_100) };
        let wanted = vec![event(5, plain.clone()), event(5, skipping.clone()), event(8, plain)];
        let mut events = Events::default();
        events.push_logged(EventType::Update, &wanted[0].position, &logged(5), &shape());
        events.push(wanted[1].clone());
        events.push_logged(EventType::Update, &wanted[2].position, &logged(8), &shape());
        assert_eq!(events.len(), 3);
        assert_eq!(events.to_vec().expect("undamaged"), wanted);
        let sent = postcard::to_stdvec(&events).expect("plain data");
        let got: Events = postcard::from_bytes(&sent).expect("undamaged");
        assert_eq!(got, events);
    }

    #[test]
    fn the_old_row_is_left_out_for_those_who_show_it_of_what_is_gone_only() {
        let position = Position::at(5, 0);
        let mut events = Events::default();
        events.push_logged(EventType::Update, &position, &logged(5), &shape());
        events.push_logged(EventType::Remove, &position, &logged(5), &shape());
        let shown: Result<Vec<Event>, _> = events.iter(Sides::Shown).collect();
        let shown = shown.expect("undamaged");
        assert_eq!(shown[0], Event { before: None, ..event(5, position.clone()) });
        assert_eq!(shown[1], Event { kind: EventType::Remove, ..event(5, position) });
    }
}

//! The changes of a transaction as the log stores them.
//!
//! A change carries its values and names its [`Shape`] by a hash, under which the log keeps it once:
//! reading needs no catalog, and a later `ALTER TABLE` changes nothing. Changes stand one behind the
//! other, so what capture wrote at each row's trigger is the payload, as it is. An update's old image
//! is only what differs from the new one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::change::{Change, RowVersion, Side};
use crate::encoding::{Damaged, Reader, Values, put_number};
use crate::image::{Image, Shape};
use crate::named::Named;
use crate::net::NetChange;

/// By what the log knows a shape: a hash, so that the same shape has the same name in every session,
/// on a standby and after a failover, and no name ever means another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShapeId(pub u64);

impl ShapeId {
    /// The name of a shape, and what the log stores under it.
    pub fn of(shape: &Shape) -> (Self, Vec<u8>) {
        let bytes = postcard::to_stdvec(shape).expect("a shape is plain data and encodes");
        let hash = Sha256::digest(&bytes);
        let id = hash.first_chunk().expect("a SHA-256 has more than eight bytes");
        (Self(u64::from_be_bytes(*id)), bytes)
    }

    /// Reads what is stored under the name.
    ///
    /// # Errors
    /// When it is not what the name was made of.
    pub fn read(self, bytes: &[u8]) -> Result<Shape, Damaged> {
        let shape: Shape = postcard::from_bytes(bytes).map_err(|_| Damaged)?;
        let columns = shape.columns.len();
        let sound =
            Self::of(&shape).0 == self && shape.key.iter().all(|&at| usize::from(at) < columns);
        if sound { Ok(shape) } else { Err(Damaged) }
    }
}

/// Which images a change has, the first of its bytes but for [`REWRITE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A schema break.
    Neither = 0,
    /// The new image.
    Insert = 1,
    /// The old image.
    Delete = 2,
    /// The new image, and what differs in the old one, which has the same shape.
    Update = 3,
    /// The new image and the old one.
    Both = 4,
}

const REWRITE: u8 = 0x80;

/// What stands before the images of a change.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub kind: Kind,
    pub rewrite: bool,
    pub collection: u64,
    pub command: u32,
    pub fired: u64,
}

/// No head has more bytes.
pub const MOST_HEAD: usize = 32;

impl Head {
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8 | if self.rewrite { REWRITE } else { 0 });
        put_number(out, self.collection);
        put_number(out, u64::from(self.command));
        put_number(out, self.fired);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let first = reader.byte()?;
        let kind = match first & !REWRITE {
            0 => Kind::Neither,
            1 => Kind::Insert,
            2 => Kind::Delete,
            3 => Kind::Update,
            4 => Kind::Both,
            _ => return Err(Damaged),
        };
        Ok(Self {
            kind,
            rewrite: first & REWRITE != 0,
            collection: reader.number()?,
            command: reader.number()?.try_into().map_err(|_| Damaged)?,
            fired: reader.number()?,
        })
    }
}

/// Begins an image: its values follow, one for each column of the shape.
pub fn put_image(out: &mut Vec<u8>, shape: ShapeId, version: &RowVersion) {
    out.extend_from_slice(&shape.0.to_le_bytes());
    put_version(out, version);
}

/// Begins an old image of the shape of the new one: [`put_difference`] follows for each column that
/// differs, and then [`put_end`].
pub fn put_version(out: &mut Vec<u8>, version: &RowVersion) {
    put_number(out, u64::from(version.table));
    put_number(out, u64::from(version.block));
    put_number(out, u64::from(version.offset));
    put_number(out, version.made_by.map_or(0, |command| u64::from(command) + 1));
}

/// The value of a column, by its place in the shape, follows.
pub fn put_difference(out: &mut Vec<u8>, at: usize) {
    put_number(out, at as u64 + 1);
}

pub fn put_end(out: &mut Vec<u8>) {
    out.push(0);
}

/// Encodes a change: its head, then [`put_images`].
pub fn encode(change: &Change, id: &mut dyn FnMut(&Arc<Shape>) -> ShapeId, out: &mut Vec<u8>) {
    Head {
        kind: kind(change),
        rewrite: change.rewrite,
        collection: change.collection,
        command: change.command,
        fired: change.fired,
    }
    .put(out);
    put_images(change, id, out);
}

/// Encodes what a transaction did to a row as if one command had done it and nothing else.
pub fn encode_net(
    change: &NetChange,
    id: &mut dyn FnMut(&Arc<Shape>) -> ShapeId,
    out: &mut Vec<u8>,
) {
    let (before, after) = (change.before.as_ref().map(of_net), change.after.as_ref().map(of_net));
    Head {
        kind: kind_of(before, after),
        rewrite: change.rewrite,
        collection: change.collection,
        command: 0,
        fired: 0,
    }
    .put(out);
    put_sides(before, after, id, out);
}

/// Which images a change has.
pub fn kind(change: &Change) -> Kind {
    kind_of(change.before.as_ref().map(of), change.after.as_ref().map(of))
}

/// Encodes the images of a change.
pub fn put_images(change: &Change, id: &mut dyn FnMut(&Arc<Shape>) -> ShapeId, out: &mut Vec<u8>) {
    put_sides(change.before.as_ref().map(of), change.after.as_ref().map(of), id, out);
}

/// An image and the version that it was.
type Versioned<'a> = (&'a Image, RowVersion);

fn of(side: &Side) -> Versioned<'_> {
    (&side.image, side.version)
}

/// Whoever has a net change has no more use for versions.
fn of_net(image: &Image) -> Versioned<'_> {
    (image, RowVersion { table: 0, block: 0, offset: 0, made_by: None })
}

fn kind_of(before: Option<Versioned<'_>>, after: Option<Versioned<'_>>) -> Kind {
    match (before, after) {
        (None, None) => Kind::Neither,
        (None, Some(_)) => Kind::Insert,
        (Some(_), None) => Kind::Delete,
        // Arcs of one shape are equal without being looked into.
        (Some((old, _)), Some((new, _))) if old.shape == new.shape => Kind::Update,
        (Some(_), Some(_)) => Kind::Both,
    }
}

fn put_sides(
    before: Option<Versioned<'_>>,
    after: Option<Versioned<'_>>,
    id: &mut dyn FnMut(&Arc<Shape>) -> ShapeId,
    out: &mut Vec<u8>,
) {
    if let Some(after) = after {
        put_side(out, id, after);
    }
    match (kind_of(before, after), before, after) {
        (Kind::Update, Some((before, version)), Some((after, _))) => {
            put_version(out, &version);
            let values = before.values.iter().zip(&after.values).enumerate();
            for (at, (old, _)) in values.filter(|(_, (old, new))| old != new) {
                put_difference(out, at);
                Values(out).value(old);
            }
            put_end(out);
        }
        (_, Some(before), _) => put_side(out, id, before),
        _ => {}
    }
}

fn put_side(
    out: &mut Vec<u8>,
    id: &mut dyn FnMut(&Arc<Shape>) -> ShapeId,
    (image, version): Versioned<'_>,
) {
    put_image(out, id(&image.shape), &version);
    image.values.iter().for_each(|value| Values(out).value(value));
}

/// Finds the shape of a name.
pub type Shapes<'a, E> = dyn FnMut(ShapeId) -> Result<Arc<Shape>, E> + 'a;

/// Reads all changes of a payload.
///
/// # Errors
/// When it is damaged, and what finding a shape gives.
pub fn decode<E: From<Damaged>>(
    payload: &[u8],
    shapes: &mut Shapes<'_, E>,
) -> Result<Vec<Change>, E> {
    let mut reader = Reader(payload);
    let mut changes = Vec::new();
    while !reader.is_empty() {
        changes.push(read(&mut reader, shapes, true)?);
    }
    Ok(changes)
}

/// What the only change of a payload did to its row, without the old image beside a new one if that is not
/// wanted.
///
/// # Errors
/// As [`decode`].
pub fn decode_net(payload: &[u8], shapes: &Named, with_before: bool) -> Result<NetChange, Damaged> {
    Ok(read(&mut Reader(payload), &mut |id| shapes.find(id), with_before)?.alone())
}

fn read<E: From<Damaged>>(
    reader: &mut Reader<'_>,
    shapes: &mut Shapes<'_, E>,
    with_before: bool,
) -> Result<Change, E> {
    let head = Head::read(reader)?;
    let after = match head.kind {
        Kind::Insert | Kind::Update | Kind::Both => Some(side(reader, shapes)?),
        Kind::Neither | Kind::Delete => None,
    };
    let before = match (head.kind, &after) {
        (_, Some(_)) if !with_before => None,
        (Kind::Delete | Kind::Both, _) => Some(side(reader, shapes)?),
        (Kind::Update, Some(after)) => {
            let version = version(reader)?;
            let mut image = after.image.clone();
            while let Some(at) = reader.number()?.checked_sub(1) {
                let place = image.values.get_mut(at as usize).ok_or(Damaged)?;
                *place = reader.value()?;
            }
            Some(Side { image, version })
        }
        _ => None,
    };
    Ok(Change {
        collection: head.collection,
        command: head.command,
        fired: head.fired,
        before,
        after,
        rewrite: head.rewrite,
    })
}

fn side<E: From<Damaged>>(reader: &mut Reader<'_>, shapes: &mut Shapes<'_, E>) -> Result<Side, E> {
    let (_, shape) = shape(reader, shapes)?;
    let version = version(reader)?;
    let mut values = Vec::with_capacity(shape.columns.len());
    for _ in &shape.columns {
        values.push(reader.value()?);
    }
    Ok(Side { image: Image { shape, values }, version })
}

pub(crate) fn shape<E: From<Damaged>>(
    reader: &mut Reader<'_>,
    shapes: &mut Shapes<'_, E>,
) -> Result<(ShapeId, Arc<Shape>), E> {
    let id = ShapeId(u64::from_le_bytes(reader.array()?));
    Ok((id, shapes(id)?))
}

pub(crate) fn version(reader: &mut Reader<'_>) -> Result<RowVersion, Damaged> {
    Ok(RowVersion {
        table: reader.number()?.try_into().map_err(|_| Damaged)?,
        block: reader.number()?.try_into().map_err(|_| Damaged)?,
        offset: reader.number()?.try_into().map_err(|_| Damaged)?,
        made_by: match reader.number()?.checked_sub(1) {
            None => None,
            Some(command) => Some(command.try_into().map_err(|_| Damaged)?),
        },
    })
}

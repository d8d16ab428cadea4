//! What a stamp says of its transaction, and the bytes in which the log stores it.
//!
//! A stamp is written by every transaction that captures something, so its bytes are a cost of every
//! writer: what as columns of a table took a hundred bytes takes about twenty here. The position
//! itself is not among them; it is the column that the log is searched by.

use crate::encoding::{Damaged, Reader, put_number, put_signed};

/// What a stamp says, without the changes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The transaction's position in the one order: microseconds since 1970, unique.
    pub txn_ts: i64,
    /// The 64-bit number of the transaction.
    pub xid: u64,
    /// The closed timestamp when the transaction was about to commit; below `txn_ts`.
    pub closed: i64,
    /// A hash of system identifier, timeline and database: which history this is.
    pub history: u64,
    /// The segment that holds the change rows, if the changes are not in the stamp.
    pub segment: usize,
    /// The captures whose rows changed; empty in a heartbeat.
    pub collections: Collections,
    /// How many changes, not net.
    pub changes: i64,
    /// Too many or too large to be sorted in memory: readers take them by collection and key.
    pub by_key: bool,
    /// No transaction: what was in its segment up to here was let go, and the log begins behind it.
    pub floor: bool,
    /// By the wall clock, in microseconds since 1970.
    pub committed_at: i64,
}

/// The captures that a transaction touched. Nearly always it is one: that is worth no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collections {
    None,
    One(u64),
    Several(Vec<u64>),
}

impl Collections {
    pub fn as_slice(&self) -> &[u64] {
        match self {
            Self::None => &[],
            Self::One(only) => std::slice::from_ref(only),
            Self::Several(all) => all,
        }
    }

    pub fn contains(&self, collection: u64) -> bool {
        self.as_slice().contains(&collection)
    }
}

impl From<&[u64]> for Collections {
    fn from(all: &[u64]) -> Self {
        match all {
            [] => Self::None,
            [only] => Self::One(*only),
            all => Self::Several(all.to_vec()),
        }
    }
}

/// What whoever passes a stamp has to know of it: the front of its bytes. The rest is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub mark: Mark,
    pub collections: Collections,
}

/// Where a stamp stands, and above what it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub txn_ts: i64,
    pub closed: i64,
    pub history: u64,
    pub floor: bool,
}

const BY_KEY: u8 = 1;
const FLOOR: u8 = 2;
/// One collection follows.
const ONE: u8 = 4;
/// Their number follows, and they.
const SEVERAL: u8 = 8;

impl Stamp {
    /// The bytes that the log stores beside `txn_ts`: distances rather than instants. The history stands
    /// first and whole, so that it can be compared without reading the rest.
    pub fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let collections = self.collections.as_slice();
        let counted = match collections.len() {
            0 => 0,
            1 => ONE,
            _ => SEVERAL,
        };
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&self.history.to_be_bytes());
        out.push(flag(self.by_key, BY_KEY) | flag(self.floor, FLOOR) | counted);
        put_number(&mut out, self.txn_ts.abs_diff(self.closed));
        if counted == SEVERAL {
            put_number(&mut out, collections.len() as u64);
        }
        collections.iter().for_each(|one| put_number(&mut out, *one));
        out.push(self.segment as u8);
        put_number(&mut out, self.xid);
        put_signed(&mut out, self.committed_at.wrapping_sub(self.txn_ts));
        put_number(&mut out, self.changes.unsigned_abs());
        out
    }

    /// Reads what [`Stamp::encode`] wrote of the stamp at `txn_ts`.
    ///
    /// # Errors
    /// When the bytes are no stamp's.
    pub fn decode(txn_ts: i64, bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let (flags, Passed { mark, collections }) = front(txn_ts, &mut reader)?;
        let stamp = Self {
            txn_ts,
            closed: mark.closed,
            history: mark.history,
            collections,
            by_key: flags & BY_KEY != 0,
            floor: mark.floor,
            segment: usize::from(reader.byte()?),
            xid: reader.number()?,
            committed_at: txn_ts.wrapping_add(reader.signed()?),
            changes: reader.number()? as i64,
        };
        if reader.is_empty() { Ok(stamp) } else { Err(Damaged) }
    }

    pub fn mark(&self) -> Mark {
        let Self { txn_ts, closed, history, floor, .. } = *self;
        Mark { txn_ts, closed, history, floor }
    }
}

impl Passed {
    /// Reads the front of what [`Stamp::encode`] wrote of the stamp at `txn_ts`.
    ///
    /// # Errors
    /// When the bytes are no stamp's.
    pub fn decode(txn_ts: i64, bytes: &[u8]) -> Result<Self, Damaged> {
        front(txn_ts, &mut Reader(bytes)).map(|(_, passed)| passed)
    }
}

fn front(txn_ts: i64, reader: &mut Reader<'_>) -> Result<(u8, Passed), Damaged> {
    let history = u64::from_be_bytes(reader.array()?);
    let flags = reader.byte()?;
    let closed = txn_ts.wrapping_sub_unsigned(reader.number()?);
    let collections = match flags & (ONE | SEVERAL) {
        0 => Collections::None,
        ONE => Collections::One(reader.number()?),
        // Not made as large as damaged bytes may say.
        _ => Collections::Several(
            (0..reader.number()?).map(|_| reader.number()).collect::<Result<_, _>>()?,
        ),
    };
    let mark = Mark { txn_ts, closed, history, floor: flags & FLOOR != 0 };
    Ok((flags, Passed { mark, collections }))
}

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

const BY_KEY: u8 = 1;
const FLOOR: u8 = 2;

impl Stamp {
    /// The bytes that the log stores beside `txn_ts`: distances rather than instants. The history stands
    /// first and whole, so that it can be compared without reading the rest.
    pub fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&self.history.to_be_bytes());
        out.push(flag(self.by_key, BY_KEY) | flag(self.floor, FLOOR));
        out.push(self.segment as u8);
        put_number(&mut out, self.xid);
        put_number(&mut out, self.txn_ts.abs_diff(self.closed));
        put_signed(&mut out, self.committed_at.wrapping_sub(self.txn_ts));
        put_number(&mut out, self.changes.unsigned_abs());
        self.collections.as_slice().iter().for_each(|one| put_number(&mut out, *one));
        out
    }

    /// Reads what [`Stamp::encode`] wrote of the stamp at `txn_ts`.
    ///
    /// # Errors
    /// When the bytes are no stamp's.
    pub fn decode(txn_ts: i64, bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let history = u64::from_be_bytes(reader.array()?);
        let (flags, segment) = (reader.byte()?, reader.byte()?);
        let xid = reader.number()?;
        let closed = txn_ts.wrapping_sub_unsigned(reader.number()?);
        let committed_at = txn_ts.wrapping_add(reader.signed()?);
        let changes = reader.number()? as i64;
        let mut collections = Collections::None;
        if !reader.is_empty() {
            let first = reader.number()?;
            collections = Collections::One(first);
            if !reader.is_empty() {
                let mut all = vec![first];
                while !reader.is_empty() {
                    all.push(reader.number()?);
                }
                collections = Collections::Several(all);
            }
        }
        Ok(Self {
            txn_ts,
            xid,
            closed,
            history,
            segment: usize::from(segment),
            collections,
            changes,
            by_key: flags & BY_KEY != 0,
            floor: flags & FLOOR != 0,
            committed_at,
        })
    }
}

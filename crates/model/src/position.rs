//! Where a reader is in the one total order, and the cursor that says so to clients.

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::fingerprint::NONE;
use crate::snapshot::Snapshot;

/// A place in the total order of events, exclusive: everything up to it has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Microseconds since 1970.
    pub txn_ts: i64,
    /// The ordinal, from 0, of the last event read in that transaction; [`Position::END`] for all.
    pub ordinal: u32,
    /// In a transaction too large to be sorted in memory: the place of the row in the order by
    /// key, so that a page of it costs a page.
    pub within: Option<Vec<u8>>,
    /// The id of the token whose [`seen`](crate::source::Start::seen) transactions are still to be
    /// skipped from here on; `None` past the last of them, and for a reader that did not start
    /// where a token does.
    pub skipping: Option<u64>,
    /// Of the stamp at `txn_ts`; [`NONE`] for a position that is not a transaction's. After a failover it
    /// decides whether the position is common to both servers.
    pub fingerprint: u64,
    /// Of a reader that began with the rows of the set, until what it saw of them is behind it.
    pub snapshot: Option<Box<Snapshot>>,
}

impl Position {
    /// The ordinal of a position behind the last event of a transaction.
    pub const END: u32 = u32::MAX;

    /// Behind everything of the transaction at `txn_ts` and all before it.
    pub fn after(txn_ts: i64) -> Self {
        Self::at(txn_ts, Self::END)
    }

    /// Just behind one event.
    pub fn at(txn_ts: i64, ordinal: u32) -> Self {
        Self { txn_ts, ordinal, within: None, skipping: None, fingerprint: NONE, snapshot: None }
    }

    /// The same place, with the fingerprint of its transaction.
    #[must_use]
    pub fn with(self, fingerprint: u64) -> Self {
        Self { fingerprint, ..self }
    }

    /// The same place, of a reader who has seen what these rows are of.
    #[must_use]
    pub fn having_seen(self, rows: Option<Box<Snapshot>>) -> Self {
        let snapshot = rows.filter(|rows| rows.behind.is_some() || self.txn_ts < rows.end());
        Self { snapshot, ..self }
    }

    /// The key behind which rows of the set come next, before anything of the log; an empty one for all.
    pub fn rows_behind(&self) -> Option<&[String]> {
        self.snapshot.as_ref()?.behind.as_deref()
    }

    /// The first transaction of which a reader here may still need something.
    pub fn first_needed(&self) -> i64 {
        self.txn_ts.saturating_add(i64::from(self.ordinal == Self::END))
    }

    /// Whether an event of the transaction at `txn_ts` may still be unread here.
    pub fn may_precede(&self, txn_ts: i64) -> bool {
        txn_ts > self.txn_ts || (txn_ts == self.txn_ts && self.ordinal != Self::END)
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.txn_ts, self.ordinal).cmp(&(other.txn_ts, other.ordinal))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A position in one history of one database, as clients carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub history: u64,
    pub position: Position,
}

/// The text is no cursor of this extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor")]
pub struct InvalidCursor;

const VERSION: u8 = 1;
/// The version byte's flag: the id of a token to skip by follows the fixed part.
const SKIPPING: u8 = 0x80;
/// The version byte's flag: what follows is of a reader that began with rows.
const SNAPSHOT: u8 = 0x40;
/// Version, history, txn_ts, ordinal, fingerprint.
const FIXED: usize = 1 + 8 + 8 + 4 + 8;

impl Cursor {
    /// The opaque text: base64url without padding.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        write_cursor(&mut out, self.history, &self.position);
        out
    }

    /// Reads what [`Cursor::encode`] wrote.
    pub fn decode(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(InvalidCursor)?;
        if fixed[0] & !(SKIPPING | SNAPSHOT) != VERSION {
            return Err(InvalidCursor);
        }
        let (skipping, rest) = if fixed[0] & SKIPPING == 0 {
            (None, rest)
        } else {
            let (token, rest) = rest.split_first_chunk::<8>().ok_or(InvalidCursor)?;
            (Some(u64::from_be_bytes(*token)), rest)
        };
        let (within, snapshot) = if fixed[0] & SNAPSHOT == 0 {
            ((!rest.is_empty()).then(|| rest.to_vec()), None)
        } else {
            match postcard::take_from_bytes(rest) {
                Ok(((snapshot, within), [])) => (within, Some(snapshot)),
                _ => return Err(InvalidCursor),
            }
        };
        let eight = |at: usize| <[u8; 8]>::try_from(&fixed[at..at + 8]).expect("eight bytes");
        let four = <[u8; 4]>::try_from(&fixed[17..21]).expect("four bytes");
        Ok(Self {
            history: u64::from_be_bytes(eight(1)),
            position: Position {
                txn_ts: i64::from_be_bytes(eight(9)),
                ordinal: u32::from_be_bytes(four),
                within,
                skipping,
                fingerprint: u64::from_be_bytes(eight(21)),
                snapshot,
            },
        })
    }
}

/// Appends what [`Cursor::encode`] gives: each event has one, so it is written where it is to stand.
pub(crate) fn write_cursor(out: &mut String, history: u64, position: &Position) {
    let Position { txn_ts, ordinal, within, skipping, fingerprint, snapshot } = position;
    let flags = if skipping.is_some() { SKIPPING } else { 0 }
        | if snapshot.is_some() { SNAPSHOT } else { 0 };
    let mut fixed = [0; FIXED];
    fixed[0] = VERSION | flags;
    fixed[1..9].copy_from_slice(&history.to_be_bytes());
    fixed[9..17].copy_from_slice(&txn_ts.to_be_bytes());
    fixed[17..21].copy_from_slice(&ordinal.to_be_bytes());
    fixed[21..].copy_from_slice(&fingerprint.to_be_bytes());
    if flags == 0 && within.is_none() {
        return URL_SAFE_NO_PAD.encode_string(fixed, out);
    }
    let mut bytes = fixed.to_vec();
    if let Some(token) = skipping {
        bytes.extend(token.to_be_bytes());
    }
    if let Some(snapshot) = snapshot {
        let rest = postcard::to_stdvec(&(snapshot, within));
        bytes.extend(rest.expect("texts and numbers are plain data and encode"));
    } else if let Some(within) = within {
        bytes.extend(within);
    }
    URL_SAFE_NO_PAD.encode_string(bytes, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Start;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_cursor_comes_back_from_its_text(
            history: u64, txn_ts: i64, ordinal: u32, within in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..40)),
            skipping: Option<u64>, fingerprint: u64,
            snapshot: Option<(Option<Vec<String>>, i64, Vec<i64>)>,
        ) {
            let snapshot = snapshot.map(|(behind, closed, seen)| {
                Box::new(Snapshot { behind, saw: Start { closed, seen } })
            });
            let position = Position { txn_ts, ordinal, within, skipping, fingerprint, snapshot };
            let cursor = Cursor { history, position };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn no_text_makes_decoding_panic(text: String) {
            let _ = Cursor::decode(&text);
        }
    }
}

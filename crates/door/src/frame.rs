//! Frames: a length of four bytes, big-endian, then a message in postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest frame, which only the worker may send, where there is memory for it. A row of PostgreSQL ends at 1 GB, and
/// a change holds two images of one; a message of several changes is cut long before.
pub const MAX_FRAME: usize = 3 << 30;
/// The longest frame of the server: a query, at its heaviest. The worker takes no more from it.
pub const MAX_REQUEST: usize = 8 << 20;
const HEAD: usize = 4;

/// The longest frame that a server takes that may hold so many bytes in memory: there it is decoded, and rendered.
pub fn longest(server_memory: u64) -> usize {
    usize::try_from(server_memory / 3).unwrap_or(MAX_FRAME).clamp(MAX_REQUEST, MAX_FRAME)
}
/// Memory that a reader keeps when it is empty.
const KEPT: usize = 1 << 20;

/// The other side speaks something else, or the pair is damaged: end the connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is over the limit")]
    TooLong(usize),
    #[error("a frame cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
}

/// Appends a message to what waits to be written.
///
/// # Errors
/// [`FrameError::TooLong`]; nothing was appended. After another one what waited is gone: end the connection.
pub fn push<M: Serialize>(out: &mut Vec<u8>, message: &M) -> Result<(), FrameError> {
    push_within(out, message, MAX_FRAME)
}

/// The same, with a limit.
///
/// # Errors
/// As [`push`].
pub fn push_within<M: Serialize>(
    out: &mut Vec<u8>,
    message: &M,
    longest: usize,
) -> Result<(), FrameError> {
    let at = out.len();
    // Behind what is there, rather than somewhere else and copied.
    let mut bytes = std::mem::take(out);
    bytes.extend([0; HEAD]);
    *out = postcard::to_extend(message, bytes)?;
    let length = out.len() - at - HEAD;
    if length > longest {
        out.truncate(at);
        return Err(FrameError::TooLong(length));
    }
    out[at..at + HEAD].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// Collects bytes as they come and gives back whole messages.
#[derive(Debug)]
pub struct Reader {
    bytes: Vec<u8>,
    /// What of `bytes` was already given out.
    taken: usize,
    longest: usize,
    /// That were given out.
    messages: u64,
}

impl Reader {
    /// Takes frames of at most so many bytes.
    pub fn new(longest: usize) -> Self {
        Self { bytes: Vec::new(), taken: 0, longest, messages: 0 }
    }

    /// Takes frames of at most so many bytes from here on.
    pub fn limit(&mut self, longest: usize) {
        self.longest = longest;
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.forget_taken();
        }
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(KEPT);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, `None` until more bytes come.
    ///
    /// # Errors
    /// After an error the reader has lost its place; end the connection.
    #[expect(clippy::should_implement_trait, reason = "it may fail, and the type is the caller's")]
    pub fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, FrameError> {
        Ok(self.next_and_length()?.map(|(message, _)| message))
    }

    /// The same, and in how many bytes it came.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn next_and_length<M: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(M, usize)>, FrameError> {
        let Some(length) = self.begun() else { return Ok(None) };
        if length > self.longest {
            return Err(FrameError::TooLong(length));
        }
        let rest = &self.bytes[self.taken..];
        let Some(body) = rest.get(HEAD..HEAD + length) else {
            // In one piece, and not by doubling.
            let missing = HEAD + length - rest.len();
            if length > KEPT && self.bytes.capacity() - self.bytes.len() < missing {
                self.forget_taken();
                self.bytes.reserve_exact(missing);
            }
            return Ok(None);
        };
        let message = postcard::from_bytes(body)?;
        self.taken += HEAD + length;
        self.messages += 1;
        if self.taken == self.bytes.len() && self.bytes.capacity() > KEPT {
            // One huge row must not occupy its memory for the life of the process.
            (self.bytes, self.taken) = (Vec::new(), 0);
        }
        Ok(Some((message, length)))
    }

    /// The length of the message of which a part has come, as it says itself.
    pub fn begun(&self) -> Option<usize> {
        let head = self.bytes[self.taken..].first_chunk::<HEAD>()?;
        Some(u32::from_be_bytes(*head) as usize)
    }

    /// Which message it is at, and whether a part of that has come.
    pub fn place(&self) -> (u64, bool) {
        (self.messages, self.taken < self.bytes.len())
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToWorker;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_come_back_whole_however_the_bytes_are_cut(
            grants in proptest::collection::vec(any::<u64>(), 0..20),
            cut in 1usize..40,
        ) {
            let sent: Vec<ToWorker> =
                grants.into_iter().map(|grant| ToWorker::Close { grant }).collect();
            let mut wire = Vec::new();
            for message in &sent {
                push(&mut wire, message).expect("short");
            }
            let mut reader = Reader::new(MAX_REQUEST);
            let mut got = Vec::new();
            for piece in wire.chunks(cut) {
                reader.feed(piece);
                while let Some(message) = reader.next::<ToWorker>().expect("undamaged") {
                    got.push(message);
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn a_frame_that_is_too_long_is_refused_by_its_head(length in MAX_REQUEST + 1..) {
            let length = u32::try_from(length % (1 << 32)).expect("it was cut");
            prop_assume!(length as usize > MAX_REQUEST);
            let mut reader = Reader::new(MAX_REQUEST);
            reader.feed(&length.to_be_bytes());
            let read = reader.next::<ToWorker>();
            prop_assert!(matches!(read, Err(FrameError::TooLong(_))), "{read:?}");
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(MAX_REQUEST);
            reader.feed(&bytes);
            while let Ok(Some(_)) = reader.next::<ToWorker>() {}
        }
    }

    #[test]
    fn the_memory_of_a_huge_message_is_given_back() {
        let huge = ToWorker::Query {
            request: 1,
            secret: Some("x".repeat(20 * KEPT)),
            ask: event_source_model::query::Ask::Array(Vec::new()),
        };
        let mut wire = Vec::new();
        push(&mut wire, &huge).expect("not too long");
        let mut reader = Reader::new(MAX_FRAME);
        for piece in wire.chunks(1 << 16) {
            reader.feed(piece);
        }
        assert_eq!(reader.next::<ToWorker>().expect("undamaged"), Some(huge));
        assert_eq!(reader.bytes.capacity(), 0);
        reader.feed(&[0]);
        assert!(reader.bytes.capacity() <= KEPT + HEAD, "{}", reader.bytes.capacity());
    }
}

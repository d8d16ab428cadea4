//! Where streams of documents began, for a moment: the driver for JavaScript asks for the document once its
//! stream has begun, over another connection.
//!
//! It drops what it was told of the document before that came, up to the document's `ts`, and shows
//! everything that comes later. An answer may overtake events, so one that knows more than the stream's
//! start would have the driver tell some of them again. What the document was at the start has no such
//! fault: every event is behind it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::faults;

/// A driver asks as soon as it hears of the start.
const WINDOW: Duration = Duration::from_secs(3);
/// More than can begin within that time and be of use.
const MOST: usize = 10_000;

/// The starts of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Starts {
    inner: Mutex<Inner>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Inner {
    /// By document and secret, neither of which is kept: a moment, and when it was given out.
    given: HashMap<u64, Vec<(i64, Instant)>>,
    count: usize,
}

/// Whose stream of which document.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Follower<'a> {
    pub(super) collection: &'a str,
    pub(super) id: &'a str,
    pub(super) secret: Option<&'a str>,
}

impl Starts {
    /// A stream begins.
    pub(super) fn give(&self, to: Follower<'_>, since: i64) {
        let key = self.hasher.hash_one(to);
        let mut inner = self.lock();
        if inner.count >= MOST {
            inner.forget_old();
        }
        if inner.count < MOST {
            inner.given.entry(key).or_default().push((since, Instant::now()));
            inner.count += 1;
        }
    }

    /// The start of the stream for which the document is asked for, once: the last one that the client
    /// has heard of. `None` when it asks for another reason.
    pub(super) fn take(&self, of: Follower<'_>, last_seen: i64) -> Option<i64> {
        let key = self.hasher.hash_one(of);
        let mut inner = self.lock();
        inner.forget_old();
        let given = inner.given.get_mut(&key)?;
        let heard = given.iter().enumerate().filter(|(_, (since, _))| *since <= last_seen);
        let (at, _) = heard.max_by_key(|(_, (since, _))| *since)?;
        let (since, _) = given.swap_remove(at);
        inner.count -= 1;
        Some(since)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        faults::lock(&self.inner)
    }
}

impl Inner {
    fn forget_old(&mut self) {
        self.given.retain(|_, given| {
            given.retain(|(_, at)| at.elapsed() < WINDOW);
            !given.is_empty()
        });
        self.count = self.given.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Follower<'_> = Follower { collection: "c", id: "1", secret: Some("s") };

    #[tokio::test(start_paused = true)]
    async fn a_start_is_taken_once_by_whoever_has_heard_of_it() {
        let starts = Starts::default();
        starts.give(ONE, 100);
        starts.give(ONE, 200);
        let others = [Follower { id: "2", ..ONE }, Follower { secret: None, ..ONE }];
        assert_eq!(others.map(|other| starts.take(other, 300)), [None, None]);
        assert_eq!(starts.take(ONE, 99), None);
        assert_eq!(starts.take(ONE, 150), Some(100));
        assert_eq!(starts.take(ONE, 300), Some(200));
        assert_eq!(starts.take(ONE, 300), None);
        starts.give(ONE, 400);
        tokio::time::advance(WINDOW).await;
        assert_eq!(starts.take(ONE, 500), None, "it was long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_can_be_of_use() {
        let starts = Starts::default();
        for since in 0..=MOST as i64 {
            starts.give(ONE, since);
        }
        assert_eq!(starts.lock().count, MOST);
        tokio::time::advance(WINDOW).await;
        starts.give(ONE, 1);
        assert_eq!(starts.lock().count, 1);
    }
}

//! Until when a peer must have asked something.
//!
//! The first whole head of a request must come within the time of a head, counted from the start, whatever the
//! peer sends instead. After that a connection may be idle for longer; a further head of HTTP/1.1 that has begun
//! has the time of a head again. HTTP/2 sends more than heads: there silence is the absence of requests.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::Instant;

use crate::log::Kind;

#[derive(Debug)]
pub(super) struct Times {
    head: Duration,
    idle: Duration,
    began: Instant,
    has_asked: AtomicBool,
    is_old: AtomicBool,
    /// Requests in progress.
    open: AtomicUsize,
    /// Since when there are none; see [`Times::now`].
    idle_since: AtomicU64,
    /// Since when a further head has been coming; 0 is none.
    head_since: AtomicU64,
    has_hurry: AtomicBool,
}

impl Times {
    pub(super) fn new(head: Duration, idle: Duration) -> Self {
        Self {
            head,
            idle,
            began: Instant::now(),
            has_asked: AtomicBool::default(),
            is_old: AtomicBool::default(),
            open: AtomicUsize::default(),
            idle_since: AtomicU64::default(),
            head_since: AtomicU64::default(),
            has_hurry: AtomicBool::default(),
        }
    }

    /// A request begins, of HTTP/1.1 or of a later version.
    pub(super) fn begin(&self, is_old: bool) {
        self.is_old.store(is_old, SeqCst);
        self.has_asked.store(true, SeqCst);
        self.head_since.store(0, SeqCst);
        self.open.fetch_add(1, SeqCst);
    }

    /// A request is over.
    pub(super) fn end(&self) {
        self.idle_since.store(self.now(), SeqCst);
        self.open.fetch_sub(1, SeqCst);
    }

    /// Something came.
    pub(super) fn heard(&self) {
        if self.is_old.load(SeqCst)
            && self.open.load(SeqCst) == 0
            && self.head_since.load(SeqCst) == 0
        {
            self.head_since.store(self.now(), SeqCst);
            self.has_hurry.store(true, SeqCst);
        }
    }

    /// Whether a time began that is shorter than the one before; once.
    pub(super) fn has_hurry(&self) -> bool {
        self.has_hurry.load(SeqCst) && self.has_hurry.swap(false, SeqCst)
    }

    /// When to look again.
    pub(super) fn look(&self, now: Instant) -> Result<Instant, Kind> {
        let (until, kind) = if !self.has_asked.load(SeqCst) {
            (self.began + self.head, Kind::Head)
        } else if self.open.load(SeqCst) > 0 {
            return Ok(now + self.idle);
        } else {
            match self.head_since.load(SeqCst) {
                0 => (self.at(self.idle_since.load(SeqCst)) + self.idle, Kind::Idle),
                since => (self.at(since) + self.head, Kind::Head),
            }
        };
        if until <= now { Err(kind) } else { Ok(until) }
    }

    /// Milliseconds since the start, and one.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
    }

    fn at(&self, millis: u64) -> Instant {
        self.began + Duration::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(100);

    async fn after(seconds: u64) -> Instant {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_comes_the_first_head_has_its_time_and_no_more() {
        let times = Times::new(HEAD, IDLE);
        assert_eq!(times.look(Instant::now()), Ok(Instant::now() + HEAD));
        for _ in 0..9 {
            let now = after(1).await;
            times.heard();
            assert!(times.look(now).is_ok());
        }
        assert_eq!(times.look(after(1).await), Err(Kind::Head));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_progress_has_no_end_and_silence_after_it_has() {
        for is_old in [true, false] {
            let times = Times::new(HEAD, IDLE);
            times.begin(is_old);
            assert!(times.look(after(1_000_000).await).is_ok());
            times.end();
            assert!(times.look(after(99).await).is_ok());
            assert_eq!(times.look(after(2).await), Err(Kind::Idle));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_head_has_the_time_of_a_head() {
        let times = Times::new(HEAD, IDLE);
        times.begin(true);
        times.heard();
        assert!(!times.has_hurry(), "a body is none");
        times.end();
        after(50).await;
        times.heard();
        assert!(times.has_hurry());
        assert!(times.look(after(9).await).is_ok());
        times.heard();
        assert_eq!(times.look(after(2).await), Err(Kind::Head));
        times.begin(true);
        assert!(times.look(after(1000).await).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pings_of_http_2_are_silence() {
        let times = Times::new(HEAD, IDLE);
        times.begin(false);
        times.end();
        for _ in 0..100 {
            after(1).await;
            times.heard();
        }
        assert_eq!(times.look(after(1).await), Err(Kind::Idle));
    }
}

//! What the server holds in memory, in bytes, against `event_source.server_memory`.
//!
//! It guarantees that bodies, answers and what waits to be sent are counted while they are held: a [`Purse`] goes along
//! with the bytes and gives back what it counts when they are dropped, wherever that is. And that nobody can take what
//! others need: an account may hold as much as is free besides. So those who hold much share the memory, however many
//! they are, and some is left for whoever comes next.
//!
//! A connection has an account and so has a role, or a credential where the role is not known; all share a pool.
//! Bodies have a small pool of their own: they are held before anybody is known. Callable from any thread; takes no
//! lock, and nothing here is touched for an event that fits into the queue of its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::hub::Hub;

/// What a connection may hold before it is given more; one thing more than that, however large, always fits.
const CONNECTION: usize = 4 << 20;
/// What its bodies may: one of the longest, and some.
const BODIES_OF_CONNECTION: usize = 2 << 20;
/// Of all memory: what one connection may hold at most, and bodies together.
const PARTS: usize = 16;
/// What a text may have been given beyond what it needs.
const SPARE: usize = 4 * 1024;
/// How often it is looked whether others have given something back.
const LOOK: Duration = Duration::from_millis(100);

/// The account of the process.
#[derive(Clone, Debug)]
pub struct Budget {
    all: Arc<Pool>,
    bodies: Arc<Pool>,
}

/// What several accounts share.
#[derive(Debug)]
struct Pool {
    used: AtomicUsize,
    limit: AtomicUsize,
}

/// What a connection, a role or a credential holds.
#[derive(Clone, Debug)]
pub(crate) struct Account(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    used: AtomicUsize,
    most: usize,
    pool: Arc<Pool>,
    /// Rung when something was given back, for one of those who wait.
    freed: Notify,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(limit: u64) -> Self {
        let pool = || Arc::new(Pool { used: AtomicUsize::new(0), limit: AtomicUsize::new(0) });
        let budget = Self { all: pool(), bodies: pool() };
        budget.limit(limit);
        budget
    }

    /// The setting is another.
    pub fn limit(&self, limit: u64) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.all.limit.store(limit - limit / PARTS, Relaxed);
        self.bodies.limit.store(limit / PARTS, Relaxed);
    }

    /// Bytes that are counted.
    pub fn used(&self) -> usize {
        self.all.used.load(Relaxed)
    }

    /// How many bytes are to be given back by those who hold most, so that the others can go on; 0 when there is
    /// enough.
    pub(crate) fn shortage(&self) -> usize {
        let (used, limit) = (self.used(), self.all.limit.load(Relaxed));
        if used > limit / 8 * 7 { used - limit / 4 * 3 } else { 0 }
    }

    /// Whether so little is left that nothing new should begin.
    pub(crate) fn is_full(&self) -> bool {
        self.all.free() < self.all.limit.load(Relaxed) / PARTS
    }

    /// Of a connection.
    pub(crate) fn peer(&self) -> Peer {
        let most = CONNECTION.min(self.all.limit.load(Relaxed) / PARTS);
        Peer {
            account: Account::of(&self.all, most),
            bodies: Account::of(&self.bodies, BODIES_OF_CONNECTION),
        }
    }

    /// Of a role or a credential.
    pub(crate) fn owner(&self) -> Account {
        Account::of(&self.all, usize::MAX)
    }

    /// Counts what is nobody's.
    pub(crate) fn purse(&self) -> Purse {
        Purse::of(Arc::clone(&self.all), [None, None])
    }
}

impl Pool {
    fn free(&self) -> usize {
        self.limit.load(Relaxed).saturating_sub(self.used.load(Relaxed))
    }
}

impl Account {
    fn of(pool: &Arc<Pool>, most: usize) -> Self {
        let pool = Arc::clone(pool);
        Self(Arc::new(Inner { used: AtomicUsize::new(0), most, pool, freed: Notify::new() }))
    }

    /// Which of all; no other has the same as long as there is a clone of it.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether it may hold more, whatever that comes to.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_for(0)
    }

    /// Whether it may hold so much more.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        self.has_room_beside(0, more)
    }

    /// The same, when `own` of what it holds is in nobody's way on the connection.
    fn has_room_beside(&self, own: usize, more: usize) -> bool {
        let used = self.0.used.load(Relaxed);
        used.saturating_sub(own) < self.0.most && used + more <= self.0.pool.free()
    }

    /// Bytes that it holds.
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// Counts what is sent to all who read the same.
    pub(crate) fn shared(&self) -> Purse {
        Purse::of(Arc::clone(&self.0.pool), [None, Some(self.clone())])
    }

    /// Whether somebody has a clone of it.
    pub(crate) fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Counts what its pool counts elsewhere: bytes that are shared with others.
    pub(crate) fn lend(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Relaxed);
        self.0.freed.notify_one();
    }

    /// A purse of it alone.
    pub(crate) fn purse(&self) -> Purse {
        Purse::of(Arc::clone(&self.0.pool), [Some(self.clone()), None])
    }
}

/// The accounts of the connection that a request came on.
#[derive(Clone, Debug)]
pub struct Peer {
    account: Account,
    bodies: Account,
}

impl Peer {
    /// What waits to be sent.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// For a body that is read.
    pub(crate) fn body(&self) -> Purse {
        self.bodies.purse()
    }

    /// For an answer to that owner.
    pub(crate) fn purse(&self, owner: Account) -> Purse {
        let pool = Arc::clone(&self.account.0.pool);
        Purse::of(pool, [Some(self.account.clone()), Some(owner)])
    }
}

impl FromRequestParts<Arc<Hub>> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        hub: &Arc<Hub>,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts, hub))
    }
}

impl Peer {
    /// Of a request's connection.
    pub fn of(parts: &Parts, hub: &Hub) -> Self {
        parts.extensions.get::<Self>().cloned().unwrap_or_else(|| hub.peer())
    }
}

/// What one body, one answer or one rendering holds. Clones count the same; the last one that is dropped gives it back.
#[derive(Clone, Debug)]
pub struct Purse(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    bytes: AtomicUsize,
    pool: Arc<Pool>,
    accounts: [Option<Account>; 2],
}

impl Purse {
    fn of(pool: Arc<Pool>, accounts: [Option<Account>; 2]) -> Self {
        Self(Arc::new(Counted { bytes: AtomicUsize::new(0), pool, accounts }))
    }

    /// Counts more, whether there is room or not.
    pub(crate) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Relaxed);
        self.0.count(bytes);
    }

    /// Counts what became of something else: its parts are gone.
    pub(crate) fn turn(&self, before: usize, after: usize) {
        self.add(after);
        self.0.bytes.fetch_sub(before, Relaxed);
        self.0.give_back(before);
    }

    /// Counts no more and no less than this.
    pub(crate) fn set(&self, bytes: usize) {
        let before = self.0.bytes.swap(bytes, Relaxed);
        if bytes >= before {
            self.0.count(bytes - before);
        } else {
            self.0.give_back(before - bytes);
        }
    }

    /// Counts more if there is room.
    pub(crate) fn try_add(&self, bytes: usize) -> bool {
        let fits = self.has_room(bytes);
        if fits {
            self.add(bytes);
        }
        fits
    }

    /// Whether there is room for so much more. What it holds itself does not stop its connection.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        let own = self.0.bytes.load(Relaxed);
        more <= self.0.pool.free()
            && self.0.accounts.iter().flatten().all(|account| account.has_room_beside(own, more))
    }

    /// Counts so much once there is room. To be given a limit of time.
    pub(crate) async fn wait_for(&self, bytes: usize) {
        let Some(connection) = &self.0.accounts[0] else { return self.add(bytes) };
        while !self.try_add(bytes) {
            // The connection's own room is told of, that of others is looked for.
            tokio::select! {
                () = connection.0.freed.notified() => {}
                () = sleep(LOOK) => {}
            }
        }
        // There may be room for the next one, too.
        connection.0.freed.notify_one();
    }

    /// Bytes that are counted until the last one who has them is done, a socket included.
    pub(crate) fn around(self, bytes: impl Into<Vec<u8>>) -> Bytes {
        struct Kept(Vec<u8>, #[expect(dead_code, reason = "it counts")] Purse);
        impl AsRef<[u8]> for Kept {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let mut bytes = bytes.into();
        if bytes.capacity() - bytes.len() > SPARE {
            bytes.shrink_to_fit();
        }
        self.set(bytes.capacity());
        Bytes::from_owner(Kept(bytes, self))
    }
}

impl Counted {
    fn count(&self, bytes: usize) {
        self.pool.used.fetch_add(bytes, Relaxed);
        for account in self.accounts.iter().flatten() {
            account.0.used.fetch_add(bytes, Relaxed);
        }
    }

    fn give_back(&self, bytes: usize) {
        self.pool.used.fetch_sub(bytes, Relaxed);
        self.accounts.iter().flatten().for_each(|account| account.give_back(bytes));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    #[test]
    fn a_connection_is_given_more_while_it_holds_little_and_one_thing_of_any_size() {
        let budget = Budget::new(1 << 30);
        let peer = budget.peer();
        let purse = || peer.purse(budget.owner());
        let huge = purse();
        assert!(huge.try_add(300 * MB), "it holds nothing");
        assert!(huge.try_add(MB), "what it holds itself is in nobody's way");
        let other = purse();
        assert!(!other.try_add(1) && !peer.account().has_room());
        drop(huge);
        assert!(other.try_add(MB));
        drop(other);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn those_who_hold_much_share_and_some_is_left_for_who_comes_next() {
        let budget = Budget::new(1 << 30);
        let mut held = Vec::new();
        for owner in 1..=100 {
            let owner_account = budget.owner();
            let mut its = Vec::new();
            loop {
                let purse = budget.peer().purse(owner_account.clone());
                if !purse.try_add(MB) {
                    break;
                }
                its.push(purse);
            }
            assert!(!its.is_empty() || owner > 8, "owner {owner} gets nothing");
            held.push(its);
        }
        assert!(budget.used() <= 1 << 30);
    }

    #[test]
    fn bodies_of_strangers_have_a_small_part_of_it() {
        let budget = Budget::new(1 << 30);
        let connections: Vec<_> = (0..1000).map(|_| budget.peer()).collect();
        let bodies: Vec<_> = connections.iter().map(Peer::body).collect();
        // A frame each in turn, as often as there is room.
        for _ in 0..100 {
            let taken = bodies.iter().filter(|body| body.try_add(16 * 1024)).count();
            assert!(taken <= bodies.len());
        }
        let held = budget.bodies.used.load(Relaxed);
        assert!(held <= 64 * MB, "{held}");
        assert!(budget.peer().body().try_add(32 * 1024), "nothing is left for who comes next");
    }

    #[test]
    fn bytes_are_counted_as_long_as_somebody_has_some_of_them() {
        let budget = Budget::new(1 << 30);
        let mut bytes = budget.purse().around(vec![1; 3000]);
        let tail = bytes.split_off(2000);
        drop(bytes);
        assert_eq!(budget.used(), 3000);
        drop(tail);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_room_goes_on_when_there_is_some() {
        let budget = Budget::new(1 << 30);
        let peer = budget.peer();
        let first = peer.purse(budget.owner());
        first.wait_for(5 * MB).await;
        let waiting: Vec<_> = (0..3).map(|_| peer.purse(budget.owner())).collect();
        let (done, all) = (AtomicUsize::new(0), waiting.iter());
        let waits = futures_util::future::join_all(all.map(|purse| async {
            purse.wait_for(MB).await;
            done.fetch_add(1, Relaxed);
        }));
        let freed = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(done.load(Relaxed), 0);
            drop(first);
        };
        tokio::join!(waits, freed);
        assert_eq!(budget.used(), 3 * MB);
    }
}

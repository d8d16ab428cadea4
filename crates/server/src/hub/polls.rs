//! Feeds that are polled at the end of the log: their pages come from memory.
//!
//! It guarantees that such a page is what the worker would have read: it has everything that was closed when
//! the poll came, and whoever asks may still see it. Both only the worker knows, and says so for all
//! polls at once that wait for it: one question is under way at a time, and whoever comes meanwhile is part
//! of the next. The page is made of the tails in memory, which that answer came behind.
//!
//! A feed counts as polled once it was read to the end of the log twice in a while. From then on its source is
//! followed, as by a stream, until nobody asks any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_source_door::message::{
    Access, GrantId, Opened, RequestId, SourceId, StartAt, Tail, ToWorker,
};
use event_source_model::cost::Cost;
use event_source_model::event::{Page, View};
use event_source_model::events::Events;
use event_source_model::position::{Cursor, Position};
use tokio::sync::oneshot;

use super::sighting;
use super::state::{Pending, State};
use crate::clock;

/// A feed that was not asked for during this time is not polled any more.
const LINGER: Duration = Duration::from_secs(10);
/// More feeds than this are not kept: the worker reads the pages of the others.
const MOST: usize = 1000;
/// As of the pages that the worker reads.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The feeds that are polled.
#[derive(Debug, Default)]
pub(super) struct Polls {
    feeds: HashMap<Access, Feed>,
    /// Those whose question is under way.
    asked: Option<(RequestId, Vec<Said>)>,
    /// Those who came since, by what they poll.
    waiting: Vec<(GrantId, Said)>,
}

/// Tells one who waits that memory is up to date; dropped when nobody can say so.
type Said = oneshot::Sender<()>;

#[derive(Debug)]
struct Feed {
    last: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It was read to the end of the log once.
    Once,
    /// The worker was asked to follow its source.
    Opening,
    Polled(Box<Opened>),
}

/// What memory has for a page.
#[derive(Debug)]
pub(super) struct Recalled {
    view: View,
    source: SourceId,
    tails: Vec<Arc<Tail>>,
    from: Position,
    /// Nothing is looked at above it: the rest of a transaction may not be here yet.
    end: Position,
    begun: Instant,
}

impl Polls {
    fn followed(&self, access: &Access) -> Option<&Opened> {
        match &self.feeds.get(access)?.stage {
            Stage::Polled(followed) => Some(followed),
            Stage::Once | Stage::Opening => None,
        }
    }

    /// The rights by which feeds are read are gone: whoever asks next is told so by the worker.
    pub(super) fn forget(&mut self, is_gone: impl Fn(SourceId, GrantId) -> bool) {
        self.feeds.retain(|_, feed| match &feed.stage {
            Stage::Polled(followed) => !is_gone(followed.source, followed.grant),
            Stage::Once | Stage::Opening => true,
        });
    }

    /// The answer to the question under way.
    pub(super) fn is_up_to_date(&mut self, request: RequestId) {
        if let Some((_, asked)) = self.asked.take_if(|(asked, _)| *asked == request) {
            for said in asked {
                // Whoever went away does not listen.
                let _ = said.send(());
            }
        }
    }

    /// There is no answer to the question under way.
    pub(super) fn cannot_be_said(&mut self, request: RequestId) {
        self.asked.take_if(|(asked, _)| *asked == request);
    }
}

impl State {
    /// A page that was read by the worker ends at the end of the log.
    pub(super) fn was_read_to_its_end(&mut self, access: Access, page: &Page) {
        let (now, feeds) = (Instant::now(), &mut self.polls.feeds);
        let Some(feed) = feeds.get_mut(&access) else {
            if feeds.len() < MOST {
                feeds.insert(access, Feed { last: now, stage: Stage::Once });
            }
            return;
        };
        feed.last = now;
        if matches!(feed.stage, Stage::Once) && is_plain(&page.position) {
            feed.stage = Stage::Opening;
            let start = StartAt::Cursor(page.view.cursor(&page.position));
            let pending = Pending::Follow { access: access.clone() };
            self.open(access, start, true, None, pending);
        }
    }

    /// The worker follows the source of a feed from now on.
    pub(super) fn follows(&mut self, access: &Access, opened: Opened) {
        match self.polls.feeds.get_mut(access) {
            Some(feed) => feed.stage = Stage::Polled(Box::new(opened)),
            None => self.outgoing.tell(ToWorker::Close { grant: opened.grant }),
        }
    }

    /// It does not; the next page may try again.
    pub(super) fn does_not_follow(&mut self, access: &Access) {
        self.polls.feeds.remove(access);
    }

    /// Waits for the worker's word that memory is up to date, if a page could come from there.
    pub(super) fn poll(&mut self, access: &Access, from: &Cursor) -> Option<oneshot::Receiver<()>> {
        let grant = self.recallable(access, from)?.grant;
        self.polls.feeds.get_mut(access)?.last = Instant::now();
        let (say, said) = oneshot::channel();
        self.polls.waiting.push((grant, say));
        self.ask_for_polls();
        Some(said)
    }

    /// Asks for all who wait, unless a question is under way.
    pub(super) fn ask_for_polls(&mut self) {
        if self.polls.asked.is_some() || self.polls.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.polls.waiting);
        let (mut grants, asked): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        grants.sort_unstable();
        grants.dedup();
        let request = self.next_request();
        self.polls.asked = Some((request, asked));
        self.outgoing.tell(ToWorker::Poll { request, grants });
    }

    /// What memory has behind a cursor; `None` when it does not reach back so far, or may not be told any more.
    pub(super) fn recall(&self, access: &Access, from: &Cursor) -> Option<Recalled> {
        let followed = self.recallable(access, from)?;
        Some(Recalled {
            view: followed.view.clone(),
            source: followed.source,
            tails: self.memory.behind(&from.position).cloned().collect(),
            from: from.position.clone(),
            end: self.memory.end()?.clone(),
            begun: Instant::now(),
        })
    }

    fn recallable(&self, access: &Access, from: &Cursor) -> Option<&Opened> {
        let Cursor { history, position } = from;
        let followed = self.polls.followed(access)?;
        let is_over = followed.expires.is_some_and(|expires| expires <= clock::now());
        let is_matched = followed.matched_since < position.first_needed();
        let is_here = is_matched && *history == followed.view.history && is_plain(position);
        (is_here && !is_over && self.memory.covers(position)).then_some(followed)
    }

    /// Lets go of what nobody has asked for lately.
    pub(super) fn stop_following(&mut self, now: Instant) {
        let (outgoing, feeds) = (&mut self.outgoing, &mut self.polls.feeds);
        feeds.retain(|_, feed| {
            let is_over = now.saturating_duration_since(feed.last) > LINGER;
            match &feed.stage {
                // Its answer says whether there is something to close.
                Stage::Opening => return true,
                Stage::Polled(followed) if is_over => {
                    outgoing.tell(ToWorker::Close { grant: followed.grant });
                }
                Stage::Once | Stage::Polled(_) => {}
            }
            !is_over
        });
    }
}

/// Whether everything behind the position is wanted, and nothing else needs to be known of its reader.
fn is_plain(position: &Position) -> bool {
    position.within.is_none() && position.skipping.is_none() && position.snapshot.is_none()
}

impl Recalled {
    /// The page of at most `size` events.
    pub(super) fn page(self, size: u32) -> Page {
        let Self { view, source, tails, from, end, begun } = self;
        let mut events = Events::default();
        let (mut bytes, mut last) = (0, None);
        let seen = tails.iter().flat_map(|tail| {
            let seen = sighting::by(tail, source).into_iter();
            seen.map(|seen| (&tail.changes.list[seen.at], seen.kind))
        });
        let wanted = seen.filter(|(change, _)| change.position > from && change.position <= end);
        tails.iter().for_each(|tail| events.know(&tail.changes.shapes));
        let mut next = None;
        for (change, kind) in wanted {
            if events.len() == size as usize || bytes >= MOST_BYTES {
                next = Some(&change.position);
                break;
            }
            bytes += change.payload.len();
            events.push_coded(kind, &change.position, &change.payload);
            last = Some(&change.position);
        }
        let position = match (last, next) {
            (Some(last), Some(next)) if last.txn_ts == next.txn_ts => last.clone(),
            (Some(last), Some(_)) => Position::after(last.txn_ts).with(last.fingerprint),
            _ => end.max(from),
        };
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Page {
            view,
            cost: Cost { changes: events.len() as u64, bytes: 0, micros },
            events,
            position,
            has_next: next.is_some(),
            ends_snapshot: false,
            is_cut: false,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use event_source_door::message::{Changes, TailChange};
    use event_source_model::event::EventType;
    use event_source_model::net::NetChange;
    use event_source_model::source::Start;

    use super::*;
    use crate::budget::Budget;

    const SOURCE: SourceId = 5;
    const GRANT: GrantId = 6;

    fn view() -> View {
        View { collection: "t".to_owned(), fields: None, projection: None, history: 1 }
    }

    fn access(token: &str) -> Access {
        Access { token: token.to_owned(), secret: None }
    }

    fn end_of_log(txn_ts: i64) -> Page {
        Page {
            view: view(),
            events: Events::default(),
            position: Position::after(txn_ts),
            has_next: false,
            ends_snapshot: false,
            is_cut: false,
            error: None,
            cost: Cost::default(),
        }
    }

    fn opened() -> Opened {
        Opened {
            source: SOURCE,
            grant: GRANT,
            role: 10,
            view: view(),
            position: Position::after(10),
            start: Start { closed: 10, seen: Vec::new() },
            matched_since: 10,
            expires: None,
            collection: 11,
            reads: false,
        }
    }

    #[test]
    fn what_nobody_polls_any_more_is_followed_no_longer() {
        let mut state = State::new(Budget::new(1 << 30));
        state.was_read_to_its_end(access("t"), &end_of_log(10));
        assert!(state.take_for_worker().is_empty(), "one page is no poll");
        state.was_read_to_its_end(access("t"), &end_of_log(10));
        assert!(matches!(*state.take_for_worker(), [ToWorker::Open { first: None, .. }]));
        state.follows(&access("t"), opened());
        state.stop_following(Instant::now());
        assert!(state.take_for_worker().is_empty(), "it was asked for just now");
        state.stop_following(Instant::now() + LINGER * 2);
        assert_eq!(state.take_for_worker(), [ToWorker::Close { grant: GRANT }]);
        assert!(state.polls.feeds.is_empty());
    }

    #[test]
    fn so_many_feeds_are_kept_and_no_more() {
        let mut state = State::new(Budget::new(1 << 30));
        for feed in 0..MOST + 10 {
            state.was_read_to_its_end(access(&feed.to_string()), &end_of_log(10));
        }
        assert_eq!(state.polls.feeds.len(), MOST);
        state.stop_following(Instant::now() + LINGER * 2);
        assert!(state.polls.feeds.is_empty());
    }

    #[test]
    fn one_question_is_under_way_at_a_time_and_is_asked_for_all_who_wait() {
        let mut state = State::new(Budget::new(1 << 30));
        let tail = tail(0, 10, &[]);
        state.tail(tail, 1 << 20);
        for _ in 0..2 {
            state.was_read_to_its_end(access("t"), &end_of_log(10));
        }
        state.follows(&access("t"), opened());
        state.take_for_worker();
        let cursor = Cursor { history: 1, position: Position::after(10) };
        let mut first = state.poll(&access("t"), &cursor).expect("memory has it");
        let mut others = [(); 2].map(|()| state.poll(&access("t"), &cursor).expect("as before"));
        let [ToWorker::Poll { request, grants }] = &*state.take_for_worker() else {
            panic!("a question was expected");
        };
        assert_eq!(*grants, [GRANT]);
        let request = *request;
        state.polls.is_up_to_date(request);
        state.ask_for_polls();
        assert_eq!(first.try_recv(), Ok(()));
        assert!(others.iter_mut().all(|other| other.try_recv().is_err()), "they came later");
        let [ToWorker::Poll { request, .. }] = *state.take_for_worker() else {
            panic!("another question was expected");
        };
        state.polls.cannot_be_said(request);
        assert!(others.iter_mut().all(|other| other.try_recv().is_err()), "the worker reads it");
        assert!(state.polls.asked.is_none() && state.polls.waiting.is_empty());
    }

    /// Rows of these transactions, of which nobody else sees anything.
    fn tail(since: i64, end: i64, rows: &[(i64, u32)]) -> Tail {
        let net =
            NetChange { collection: 11, key: None, before: None, after: None, rewrite: false };
        let mut changes = Changes::default();
        for (txn_ts, ordinal) in rows {
            let position = Position::at(*txn_ts, *ordinal).with(7);
            changes.push(position, &net, [(SOURCE, EventType::Add)].into());
        }
        let end = Position::after(end).with(7);
        Tail { since, closed: end.txn_ts, end, changes, looked_at: Vec::new() }
    }

    fn recalled(from: Position, end: i64, rows: &[(i64, u32)], size: u32) -> (Vec<Position>, Page) {
        let mut tail = tail(0, end, rows);
        let position = Position::at(15, 0);
        let of_another = TailChange {
            position,
            seen_by: [(9, EventType::Add)].into(),
            ..tail.changes.list[0].clone()
        };
        tail.changes.list.insert(1, of_another);
        let recalled = Recalled {
            view: view(),
            source: SOURCE,
            end: tail.end.clone(),
            tails: vec![Arc::new(tail)],
            from,
            begun: Instant::now(),
        };
        let page = recalled.page(size);
        let events = page.events.to_vec().expect("undamaged");
        (events.into_iter().map(|event| event.position).collect(), page)
    }

    const ROWS: [(i64, u32); 4] = [(12, 0), (20, 0), (20, 1), (30, 0)];

    #[test]
    fn a_page_has_what_is_behind_its_cursor_up_to_the_end() {
        let (positions, page) = recalled(Position::at(12, 0), 20, &ROWS, 100);
        assert_eq!(positions, [Position::at(20, 0).with(7), Position::at(20, 1).with(7)]);
        assert_eq!((page.position, page.has_next), (Position::after(20).with(7), false));
        let (positions, page) = recalled(Position::after(40), 30, &ROWS, 100);
        assert!(positions.is_empty());
        assert_eq!(page.position, Position::after(40), "a reader ahead of the log stays there");
    }

    #[test]
    fn a_page_that_is_full_ends_behind_its_last_event() {
        let (positions, page) = recalled(Position::after(10), 30, &ROWS, 2);
        assert_eq!(positions.len(), 2);
        assert_eq!((page.position, page.has_next), (Position::at(20, 0).with(7), true));
        let (positions, page) = recalled(Position::after(10), 30, &ROWS, 3);
        assert_eq!(positions.len(), 3);
        assert_eq!((page.position, page.has_next), (Position::after(20).with(7), true));
        let (positions, page) = recalled(Position::after(10), 30, &ROWS, 4);
        assert_eq!(positions.len(), 4);
        assert_eq!((page.position, page.has_next), (Position::after(30).with(7), false));
    }
}

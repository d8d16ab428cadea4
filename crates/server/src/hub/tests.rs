//! What cannot be seen from outside: which bytes are the same ones.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use event_source_door::hosts::Hosts;
use event_source_door::limits::Limits;
use event_source_door::message::{
    Access, Batch, Changes, Config, JwtKey, Opened, RequestId, StartAt, Tail, ToServer, ToWorker,
};
use event_source_door::protocols::Protocols;
use event_source_model::cost::Cost;
use event_source_model::event::{Event, EventType, Reason, Refusal, View};
use event_source_model::events::Events;
use event_source_model::image::{Column, Image, Shape};
use event_source_model::net::NetChange;
use event_source_model::position::Position;
use event_source_model::source::Start;
use event_source_model::value::Value;
use event_source_wire::shown::Shown;
use hyper::body::Body as _;

use crate::body::StreamBody;
use crate::budget::Peer;

use super::{Cut, Format, Hub, Next, Pace, Renderer, Subscription};

const SOURCE: u64 = 5;
const GRANT: u64 = 6;
const COLLECTION: u64 = 11;
const TOKEN: &str = "est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA";

/// A protocol of lines.
#[derive(Debug)]
struct Lines {
    cut: Cut,
    pace: Pace,
}

impl Renderer for Lines {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn event(&self, out: &mut String, _view: &View, shown: Shown<'_>, _micros: u64) {
        let text = shown.image().and_then(|image| image.values[0].text()).unwrap_or_default();
        out.push_str(&format!("{} {text}\n", shown.kind.name()));
    }

    fn status(&self, out: &mut String, _view: &View, _position: &Position, _cost: Cost) {
        out.push_str("status\n");
    }

    fn error(&self, out: &mut String, _view: &View, refusal: &Refusal) {
        out.push_str(&format!("{:?}: {}\n", refusal.reason, refusal.message));
    }

    fn cut(&self) -> Cut {
        self.cut
    }

    fn pace(&self) -> Pace {
        self.pace
    }
}

fn format(cut: Cut, pace: Pace) -> Format {
    Format::of(Lines { cut, pace })
}

fn paced() -> Format {
    format(Cut::Frames, Pace::Rest(Duration::from_millis(5)))
}

fn hub() -> Arc<Hub> {
    hub_of(2)
}

/// With so many streams at most.
fn hub_of(max_streams: u32) -> Arc<Hub> {
    Hub::new(Config {
        status_interval_ms: 60_000,
        tail_memory_bytes: 1 << 20,
        server_memory_bytes: 1 << 30,
        worker_threads: 1,
        max_clients: 10,
        max_streams,
        cors_origins: String::new(),
        require_secret: false,
        limits: Limits::default(),
        protocols: Protocols::all(),
        allowed_hosts: Hosts::default(),
        has_anonymous_role: true,
        jwt_key: JwtKey::Unread,
    })
}

/// A live stream; the status that it begins with is taken.
async fn follow(hub: &Arc<Hub>, format: Format) -> Subscription {
    let subscription = follow_until(hub, format, None).await;
    take(&subscription);
    subscription
}

async fn follow_until(hub: &Arc<Hub>, format: Format, expires: Option<i64>) -> Subscription {
    follow_on(hub, &hub.peer(), format, expires).await
}

/// A stream on the connection of that peer.
async fn follow_on(
    hub: &Arc<Hub>,
    peer: &Peer,
    format: Format,
    expires: Option<i64>,
) -> Subscription {
    let access = Access { token: TOKEN.to_owned(), secret: None };
    let answering = async {
        loop {
            for message in hub.outgoing().await {
                if let ToWorker::Open { request, .. } = message {
                    let opened = Opened { expires, ..opened() };
                    return hub.receive(ToServer::Opened { request, opened }, 0);
                }
            }
        }
    };
    let (subscription, ()) =
        tokio::join!(hub.open(peer, access, StartAt::Token, format), answering);
    subscription.unwrap()
}

fn opened() -> Opened {
    Opened {
        source: SOURCE,
        grant: GRANT,
        role: 10,
        view: View { collection: "t".to_owned(), fields: None, projection: None, history: 1 },
        position: Position::after(1000),
        start: Start { closed: 1000, seen: Vec::new() },
        matched_since: 0,
        expires: None,
        collection: COLLECTION,
        reads: false,
    }
}

/// In `(since, since + 10]`: as many rows, each with a text of this length.
fn tail(since: i64, rows: u32, length: usize) -> ToServer {
    let after = Some(image(length));
    let row = NetChange { collection: COLLECTION, key: None, before: None, after, rewrite: false };
    let mut changes = Changes::default();
    for ordinal in 0..rows {
        let position = Position::at(since + 10, ordinal);
        changes.push(position, &row, [(SOURCE, EventType::Add)].into());
    }
    ToServer::Tail(Tail {
        since,
        end: Position::after(since + 10),
        closed: since + 10,
        changes,
        looked_at: Vec::new(),
    })
}

/// Of a row with a text of this length.
fn image(length: usize) -> Image {
    let columns = vec![Column { attnum: 1, name: "v".to_owned() }];
    Image {
        shape: Arc::new(Shape { columns, key: Vec::new() }),
        values: vec![Value::Text("x".repeat(length))],
    }
}

/// A part of a batch, in `(since, since + 10]`, behind which another one follows.
fn part(request: RequestId, since: i64, rows: u32, length: usize) -> ToServer {
    let mut events = Events::default();
    for ordinal in 0..rows {
        let (position, after) = (Position::at(since + 10, ordinal), Some(image(length)));
        events.push(Event { kind: EventType::Add, position, key: None, before: None, after });
    }
    let batch = Batch {
        events,
        position: Position::after(since + 10),
        goes_on: true,
        live: false,
        error: None,
        cost: Cost::default(),
    };
    ToServer::Batch { request, batch }
}

/// The one thing that the worker is asked next, if anything.
async fn asked(hub: &Hub) -> Option<ToWorker> {
    let mut messages = tokio::time::timeout(Duration::from_secs(1), hub.outgoing()).await.ok()?;
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.pop()
}

fn take(subscription: &Subscription) -> super::queue::Chunk {
    match subscription.poll_next(&Context::from_waker(Waker::noop()), false) {
        Poll::Ready(Next::Chunk(chunk)) => chunk,
        other => panic!("a chunk was expected, not {other:?}"),
    }
}

/// Takes whatever waits.
fn take_all(subscription: &Subscription) {
    while subscription.poll_next(&Context::from_waker(Waker::noop()), false).is_ready() {}
}

/// The error that is next, with nothing behind it.
fn ending(subscription: &Subscription) -> String {
    let error = take(subscription);
    match subscription.poll_next(&Context::from_waker(Waker::noop()), false) {
        Poll::Ready(Next::End(Ok(()))) => String::from_utf8(error.bytes.to_vec()).unwrap(),
        other => panic!("the end was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn what_waits_to_be_written_is_dropped_with_the_right_to_see_it() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let stream = follow(&hub, paced()).await;
    hub.receive(tail(1000, 3, 10), 0);
    let refusal = Refusal::new(Reason::InvalidToken, "the event source was revoked");
    let of_another = ToServer::Lost { grant: GRANT + 1, refusal: refusal.clone() };
    hub.receive(of_another, 0);
    hub.receive(ToServer::Lost { grant: GRANT, refusal }, 0);
    let error = ending(&stream);
    assert_eq!(error, "InvalidToken: the event source was revoked\n");
}

#[tokio::test]
async fn what_came_before_another_end_is_written_before_it() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let stream = follow(&hub, paced()).await;
    hub.receive(tail(1000, 3, 10), 0);
    let refusal = Refusal::new(Reason::SourceGone, "no longer captured");
    hub.receive(ToServer::Ended { source: SOURCE, refusal }, 0);
    // In one frame with it.
    let ending = ending(&stream);
    assert_eq!(ending.matches("add ").count(), 3, "{ending}");
    assert!(ending.contains("no longer captured"), "{ending}");
}

#[tokio::test]
async fn no_event_is_queued_once_the_time_is_over() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let lasts = follow(&hub, paced()).await;
    let over = follow_until(&hub, paced(), Some(crate::clock::now() - 1)).await;
    hub.receive(tail(1000, 3, 10), 0);
    assert_eq!(take(&lasts).events, 3);
    assert!(ending(&over).starts_with("Unauthorized"));
}

#[tokio::test]
async fn a_change_that_cannot_be_read_ends_the_streams_that_want_it_and_no_other() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let live = follow(&hub, paced()).await;
    let ToServer::Tail(mut damaged) = tail(1000, 3, 10) else { unreachable!("it is a tail") };
    damaged.changes.list[1].payload.truncate(5);
    let mut of_another = damaged.clone();
    for change in &mut of_another.changes.list {
        change.position.txn_ts = 1005;
        change.seen_by = [(SOURCE + 1, EventType::Add)].into();
    }
    (of_another.end, of_another.closed) = (Position::after(1005), 1005);
    hub.receive(ToServer::Tail(of_another), 0);
    damaged.since = 1005;
    hub.receive(ToServer::Tail(damaged), 0);
    let error = ending(&live);
    assert_eq!(error, "Internal: the log entry is damaged\n");
    // One that asks for them from memory fares the same.
    let late = follow_until(&hub, paced(), None).await;
    let ending = ending(&late);
    assert!(ending.contains("Internal: the log entry is damaged"), "{ending}");
}

/// Looks at both streams as soon as it is woken, and notes how many have something.
struct Looking {
    streams: Arc<[Subscription; 2]>,
    found: Mutex<Vec<usize>>,
}

impl Wake for Looking {
    fn wake(self: Arc<Self>) {
        let has_some = |stream: &&Subscription| {
            stream.poll_next(&Context::from_waker(Waker::noop()), false).is_ready()
        };
        let found = self.streams.iter().filter(has_some).count();
        self.found.lock().unwrap().push(found);
    }
}

/// One that is woken earlier writes by itself, and its connection again for each of the others.
#[tokio::test]
async fn readers_are_woken_once_all_of_them_have_what_they_get() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    // Of two formats, so that each is rendered for itself.
    let first = follow(&hub, paced()).await;
    let second = follow(&hub, format(Cut::Chunks, Pace::None)).await;
    let streams = Arc::new([first, second]);
    let looking = Arc::new(Looking { streams: Arc::clone(&streams), found: Mutex::default() });
    let waker = Waker::from(Arc::clone(&looking));
    for stream in &*streams {
        assert!(stream.poll_next(&Context::from_waker(&waker), false).is_pending());
    }
    hub.receive(tail(1000, 1, 10), 0);
    assert_eq!(*looking.found.lock().unwrap(), [2, 0]);
}

#[tokio::test]
async fn two_equal_streams_are_rendered_once() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let one = follow(&hub, paced()).await;
    let two = follow(&hub, paced()).await;
    hub.receive(tail(1000, 3, 10), 0);
    let (first, second) = (take(&one), take(&two));
    assert_eq!(first.bytes.as_ptr(), second.bytes.as_ptr(), "the same bytes, not equal ones");
    assert_eq!(first.events, 3, "all events of a tail in one chunk");
}

#[tokio::test]
async fn what_two_streams_are_given_from_memory_is_rendered_once() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    // Larger than a frame, so that it is not copied into one.
    hub.receive(tail(1000, 1, 17_000), 0);
    let (one, two) = (follow(&hub, paced()).await, follow(&hub, paced()).await);
    let (first, second) = (take(&one), take(&two));
    assert_eq!(first.bytes.as_ptr(), second.bytes.as_ptr(), "the same bytes, not equal ones");
    drop((one, two, first, second));
    let late = follow(&hub, paced()).await;
    assert_eq!(take(&late).events, 1, "rendered again when nobody has it any more");
}

#[tokio::test]
async fn streams_of_another_format_get_their_own_bytes() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let chunks = follow(&hub, format(Cut::Chunks, Pace::None)).await;
    let lines = follow(&hub, format(Cut::Lines, Pace::None)).await;
    hub.receive(tail(1000, 2, 10), 0);
    assert_eq!(take(&chunks).events, 2);
    for _ in 0..2 {
        let line = take(&lines);
        assert_eq!((line.events, events(&line.bytes)), (1, 1), "a line a chunk");
    }
}

#[tokio::test]
async fn chunks_are_cut_between_events_to_fit_a_frame() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let stream = follow(&hub, paced()).await;
    hub.receive(tail(1000, 5, 6000), 0);
    let mut events = 0;
    while events < 5 {
        let chunk = take(&stream);
        events += chunk.events;
        assert!(chunk.bytes.len() <= 16 * 1024 && chunk.bytes.ends_with(b"\n"));
    }
}

/// Polls a body once, with a waker that nobody listens to.
fn poll(body: &mut Pin<Box<StreamBody>>) -> Option<Bytes> {
    let mut context = Context::from_waker(Waker::noop());
    match body.as_mut().poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => Some(frame.into_data().unwrap()),
        Poll::Pending => None,
        other @ Poll::Ready(_) => panic!("the body ended: {other:?}"),
    }
}

fn events(frame: &Bytes) -> usize {
    frame.iter().filter(|byte| **byte == b'\n').count()
}

#[tokio::test(start_paused = true)]
async fn an_event_behind_a_pause_leaves_at_once_and_those_right_behind_it_together() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let mut body = Box::pin(StreamBody::new(follow(&hub, paced()).await));
    hub.receive(tail(1000, 1, 10), 0);
    assert_eq!(events(&poll(&mut body).expect("at once")), 1);
    for at in 101..=110 {
        hub.receive(tail(at * 10, 1, 10), 0);
        assert!(poll(&mut body).is_none(), "sooner than the last frame allows");
    }
    tokio::time::advance(Duration::from_millis(5)).await;
    assert_eq!(events(&poll(&mut body).expect("the pause is over")), 10);
    tokio::time::advance(Duration::from_millis(5)).await;
    assert!(poll(&mut body).is_none());
    hub.receive(tail(1110, 1, 10), 0);
    assert_eq!(events(&poll(&mut body).expect("at once")), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_frame_waits_for_nothing() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    let mut body = Box::pin(StreamBody::new(follow(&hub, paced()).await));
    hub.receive(tail(1000, 1, 10), 0);
    poll(&mut body).expect("at once");
    hub.receive(tail(1010, 3, 6000), 0);
    assert_eq!(events(&poll(&mut body).expect("two fill a frame")), 2);
    assert!(poll(&mut body).is_none(), "the rest is none");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_paced_is_not_held_back() {
    let hub = hub();
    hub.receive(tail(990, 0, 0), 0);
    for pace in [Pace::None, Pace::Flush] {
        let mut body = Box::pin(StreamBody::new(follow(&hub, format(Cut::Lines, pace)).await));
        hub.receive(tail(1000, 1, 10), 0);
        hub.receive(tail(1010, 1, 10), 0);
        assert_eq!(events(&poll(&mut body).expect("at once")), 1);
        if pace == Pace::Flush {
            assert!(poll(&mut body).is_none(), "a moment to write it in");
        }
        assert_eq!(events(&poll(&mut body).expect("at once")), 1);
        drop(body);
        hub.receive(ToServer::Forget, 0);
        hub.receive(tail(990, 0, 0), 0);
    }
}

#[tokio::test]
async fn streams_over_the_limit_are_refused_and_a_closed_one_makes_room() {
    let hub = hub();
    let one = follow(&hub, paced()).await;
    let _two = follow(&hub, paced()).await;
    let access = Access { token: TOKEN.to_owned(), secret: None };
    let refused = hub.open(&hub.peer(), access, StartAt::Token, paced()).await;
    assert_eq!(refused.unwrap_err().reason, Reason::LimitExceeded);
    drop(one);
    follow(&hub, paced()).await;
}

#[tokio::test(start_paused = true)]
async fn the_worker_reads_on_for_a_stream_that_is_taken_as_it_comes_and_for_no_other() {
    const LENGTH: usize = 1_900;
    // Of such events one batch has no more than this.
    const LARGEST: u32 = (512 * 1024 / LENGTH) as u32;
    const PART: u32 = 16;
    let hub = hub();
    let stream = follow(&hub, format(Cut::Chunks, Pace::None)).await;
    let Some(ToWorker::Read { request, limit, .. }) = asked(&hub).await else {
        panic!("it begins with a read");
    };
    let (mut wanted, mut came) = (limit, 0);
    let comes = async |came: &mut u32| {
        hub.receive(part(request, 1000 + 10 * i64::from(*came), PART, LENGTH), 0);
        *came += PART;
        match asked(&hub).await {
            Some(ToWorker::More { request: of, limit }) if of == request => limit,
            None => 0,
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..100 {
        wanted += comes(&mut came).await;
        assert!(wanted > came, "the worker stands still");
        assert!(wanted - came <= 2 * LARGEST, "{wanted} are wanted of which {came} came");
        take_all(&stream);
    }
    // Nobody takes what comes now.
    let before = wanted;
    while came + PART <= wanted {
        wanted += comes(&mut came).await;
        assert!(wanted <= before + LARGEST, "more is read for a stream that stands still");
    }
    take_all(&stream);
    assert!(matches!(asked(&hub).await, Some(ToWorker::More { .. })), "it is taken again");
}

/// The reads that the worker is asked for next.
async fn reads(hub: &Hub) -> Vec<(RequestId, Position)> {
    let asked = tokio::time::timeout(Duration::from_secs(1), hub.outgoing()).await;
    let read = |message| match message {
        ToWorker::Read { request, from, .. } => Some((request, from)),
        _ => None,
    };
    asked.into_iter().flatten().filter_map(read).collect()
}

/// A batch of so many megabytes, behind which there is more.
fn megabytes(request: RequestId, rows: u32) -> (ToServer, usize) {
    let ToServer::Batch { batch, .. } = part(request, 1000, rows, 1 << 20) else {
        unreachable!("it is a batch")
    };
    let message = ToServer::Batch { request, batch: Batch { goes_on: false, ..batch } };
    (message, (rows as usize) << 20)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_for_a_connection_that_has_not_taken_what_it_was_given() {
    let hub = hub_of(3);
    let peer = hub.peer();
    let lines = || format(Cut::Chunks, Pace::None);
    let first = follow_on(&hub, &peer, lines(), None).await;
    let read = reads(&hub).await;
    let (batch, bytes) = megabytes(read[0].0, 5);
    hub.receive(batch, bytes);
    let second = follow_on(&hub, &peer, lines(), None).await;
    assert_eq!(reads(&hub).await, [], "nobody takes what there is");
    hub.tick();
    assert_eq!(reads(&hub).await, []);
    // A stream of another connection is read for.
    let other = follow_on(&hub, &hub.peer(), lines(), None).await;
    assert_eq!(reads(&hub).await.len(), 1);
    take_all(&first);
    assert_eq!(reads(&hub).await.len(), 2, "both go on");
    drop((first, second, other));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_finds_no_room_is_left_in_the_log_and_read_again() {
    let hub = hub();
    let peer = hub.peer();
    let lines = || format(Cut::Chunks, Pace::None);
    let first = follow_on(&hub, &peer, lines(), None).await;
    let mut under_way = reads(&hub).await;
    let second = follow_on(&hub, &peer, lines(), None).await;
    under_way.extend(reads(&hub).await);
    assert_eq!(under_way.len(), 2);
    for (request, _) in &under_way {
        let (batch, bytes) = megabytes(*request, 5);
        hub.receive(batch, bytes);
    }
    take(&second);
    assert!(
        second.poll_next(&Context::from_waker(Waker::noop()), false).is_pending(),
        "there was no room"
    );
    take_all(&first);
    let again = reads(&hub).await;
    let starts: Vec<_> = again.iter().map(|(_, from)| from.clone()).collect();
    assert!(starts.contains(&under_way[1].1), "it is read from where it was: {starts:?}");
}

#[tokio::test]
async fn at_the_ceiling_nothing_begins_and_below_it_everything_does() {
    let hub = hub();
    let held = hub.purse();
    held.add(1 << 30);
    let access = || Access { token: TOKEN.to_owned(), secret: None };
    let refused = hub.open(&hub.peer(), access(), StartAt::Token, paced()).await;
    assert_eq!(refused.unwrap_err().reason, Reason::Unavailable);
    drop(held);
    follow(&hub, paced()).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_nothing_is_taken_ends_when_another_of_its_connection_waits_for_room() {
    let hub = hub();
    let peer = hub.peer();
    let lines = || format(Cut::Chunks, Pace::None);
    let stalled = follow_on(&hub, &peer, lines(), None).await;
    let read = reads(&hub).await;
    let (batch, bytes) = megabytes(read[0].0, 5);
    hub.receive(batch, bytes);
    let waits = follow_on(&hub, &peer, lines(), None).await;
    take(&waits);
    // Time of the clock, not of the runtime's.
    let ended = |hub: &Hub| {
        let mut state = hub.state_for_tests();
        let later = std::time::Instant::now() + Duration::from_secs(60);
        state.shed_stalled(later);
        state.shed_stalled(later + Duration::from_secs(60));
        state.go_on();
    };
    ended(&hub);
    assert!(ending(&stalled).starts_with("LimitExceeded"));
    assert_eq!(reads(&hub).await.len(), 1, "the other one goes on");
}

//! What a stream gets, and from where.

mod support;

use event_source_door::message::{Config, Opened, Tail, ToServer};
use event_source_model::event::{Event, Reason, Refusal};
use event_source_model::position::Position;
use event_source_model::snapshot::Snapshot;
use event_source_model::source::Start;
use support::client::{Client, Line, Lines};
use support::worker::Worker;
use support::{added, batch, config, empty_tail, opened, tail_of, view};

const STREAM: &str = "/v1/stream";
const BODY: &str = r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"}"#;

/// A stream that is live at 1000 without the worker having been asked for a batch.
async fn live(worker: &mut Worker, client: &mut Client) -> Lines {
    worker.tails(empty_tail(900, 1000)).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
    });
    let mut lines = Lines::of(response);
    assert_eq!(lines.event().await["cursor"], view().cursor(&Position::after(1000)));
    lines
}

#[tokio::test]
async fn a_stream_begins_with_its_cursor_and_goes_on_with_the_tail() {
    let mut worker = Worker::start(config()).await;
    for mut client in [Client::one(worker.address).await, Client::two(worker.address).await] {
        let mut lines = live(&mut worker, &mut client).await;
        worker.tails(tail_of(1000, 1010, 1, "x")).await;
        worker.tails(tail_of(1010, 1020, 2, "x")).await;
        assert_eq!(lines.keys(2).await, [1, 2]);
        drop(lines);
        worker.hears_close().await;
        worker.tails(empty_tail(900, 1000)).await;
    }
}

#[tokio::test]
async fn a_stream_resumed_from_memory_never_asks_the_worker() {
    let mut worker = Worker::start(config()).await;
    worker.tails(tail_of(900, 1000, 1, "x")).await;
    worker.tails(tail_of(1000, 1010, 2, "x")).await;
    worker.tails(tail_of(1010, 1020, 3, "x")).await;
    let mut client = Client::two(worker.address).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
    });
    let mut lines = Lines::of(response);
    assert_eq!(lines.keys(2).await, [2, 3]);
    worker.tails(tail_of(1020, 1030, 4, "x")).await;
    assert_eq!(lines.keys(1).await, [4]);
    drop(lines);
    // The next message after the Open is the Close: no Read in between.
    worker.hears_close().await;
}

/// A part of the transaction at 1010, which is not closed yet.
fn part(ordinal: u32, id: i64) -> Tail {
    let mut part = tail_of(1000, 1010, id, "x");
    (part.end, part.closed) = (Position::after(1000), 1000);
    part.changes.list[0].position.ordinal = ordinal;
    part
}

#[tokio::test]
async fn a_transaction_that_comes_in_several_tails_is_whole_from_memory_too() {
    let mut worker = Worker::start(config()).await;
    let mut first = Client::two(worker.address).await;
    let mut second = Client::two(worker.address).await;
    let mut live = live(&mut worker, &mut first).await;
    worker.tails(part(0, 1)).await;
    worker.tails(part(1, 2)).await;
    // A second one joins in the middle of the transaction.
    let (response, ()) = tokio::join!(second.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
    });
    let mut joined = Lines::of(response);
    let mut last = part(2, 3);
    (last.end, last.closed) = (Position::after(1010), 1010);
    worker.tails(last).await;
    worker.tails(tail_of(1010, 1020, 4, "x")).await;
    assert_eq!(live.keys(4).await, [1, 2, 3, 4]);
    assert_eq!(joined.keys(4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_transaction_of_which_memory_lost_a_part_is_read_from_the_log() {
    let mut worker = Worker::start(Config { tail_memory_bytes: 0, ..config() }).await;
    worker.tails(empty_tail(900, 1000)).await;
    worker.tails(part(0, 1)).await;
    let mut client = Client::two(worker.address).await;
    let (_response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
    });
    let (_, from) = worker.hears_read().await;
    assert_eq!(from, Position::after(1000));
}

#[tokio::test]
async fn a_tail_that_was_not_matched_against_the_source_is_read_from_the_log() {
    let mut worker = Worker::start(config()).await;
    worker.tails(tail_of(900, 1010, 1, "x")).await;
    let mut client = Client::two(worker.address).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 1010)).await;
    });
    let (read, from) = worker.hears_read().await;
    assert_eq!(from, Position::after(1000));
    worker.reads(read, batch(vec![added(1005, 7)], Position::after(1010), true)).await;
    assert_eq!(Lines::of(response).keys(1).await, [7]);
}

#[tokio::test]
async fn events_between_a_batch_and_the_next_tail_are_sent_once() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(500, 1000)).await;
    });
    let mut lines = Lines::of(response);
    let (read, _) = worker.hears_read().await;
    // A tail while it reads: the batch brings the same. Then one right behind the batch, in the
    // same write, and one that repeats what the batch, which saw further, had already.
    worker
        .say_all(&[
            ToServer::Tail(tail_of(1000, 1010, 1, "x")),
            ToServer::Batch {
                request: read,
                batch: batch(
                    vec![added(600, 0), added(1010, 1), added(1020, 2)],
                    Position::after(1020),
                    true,
                ),
            },
            ToServer::Tail(tail_of(1010, 1020, 2, "x")),
            ToServer::Tail(tail_of(1020, 1030, 3, "x")),
        ])
        .await;
    assert_eq!(lines.keys(4).await, [0, 1, 2, 3]);
    drop(lines);
    worker.hears_close().await;
}

#[tokio::test]
async fn a_long_catch_up_is_read_piece_by_piece() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(0, 0)).await;
    });
    let mut lines = Lines::of(response);
    for n in 1..=20 {
        let (read, from) = worker.hears_read().await;
        assert_eq!(from, Position::after((n - 1) * 10));
        let position = Position::after(n * 10);
        worker.reads(read, batch(vec![added(n * 10, n)], position, n == 20)).await;
    }
    assert_eq!(lines.keys(20).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_reader_falls_back_to_the_log_and_misses_nothing() {
    let mut worker = Worker::start(Config { tail_memory_bytes: 0, ..config() }).await;
    let mut slow = Client::two(worker.address).await;
    let mut quick = Client::two(worker.address).await;
    let mut slow_lines = live(&mut worker, &mut slow).await;
    let mut quick_lines = live(&mut worker, &mut quick).await;
    // More than the client's window and the queue hold: each 10 kB, the slow one reads nothing.
    let text = "x".repeat(10_000);
    let count = 200;
    for n in 1..=count {
        worker.tails(tail_of(1000 + n - 1, 1000 + n, n, &text)).await;
        assert_eq!(quick_lines.keys(1).await, [n], "the slow one delays nobody");
    }
    // The slow one reads on: what was queued first, then the log from there.
    let mut got = Vec::new();
    let reading = async {
        while got.len() < count as usize {
            got.extend(slow_lines.keys(1).await);
        }
    };
    let answering = async {
        let (read, from) = worker.hears_read().await;
        let missed = from.txn_ts + 1..=1000 + count;
        assert!(!missed.is_empty(), "something was left in the log");
        let events = missed.map(|txn_ts| added(txn_ts, txn_ts - 1000)).collect();
        worker.reads(read, batch(events, Position::after(1000 + count), true)).await;
    };
    tokio::join!(reading, answering);
    assert_eq!(got, (1..=count).collect::<Vec<_>>());
    // And it is live again.
    worker.tails(tail_of(1000 + count, 2000, 2000, "x")).await;
    assert_eq!(slow_lines.keys(1).await, [2000]);
}

#[tokio::test]
async fn a_gap_in_the_tail_is_filled_from_the_log() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let mut lines = live(&mut worker, &mut client).await;
    worker.tails(tail_of(1000, 1010, 1, "x")).await;
    worker.tails(tail_of(1050, 1060, 3, "x")).await;
    let (read, from) = worker.hears_read().await;
    assert_eq!(from, Position::after(1010));
    let events = vec![added(1030, 2), added(1060, 3)];
    worker.reads(read, batch(events, Position::after(1060), true)).await;
    worker.tails(tail_of(1060, 1070, 4, "x")).await;
    assert_eq!(lines.keys(4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_the_minting_statement_saw_is_skipped_and_cursors_say_so() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        let mut opened = opened(1000, 900);
        opened.start.seen = vec![1020];
        opened.position.skipping = Some(77);
        worker.opens(request, opened).await;
    });
    let mut lines = Lines::of(response);
    for (n, since) in (1..).zip([1000, 1010, 1020]) {
        worker.tails(tail_of(since, since + 10, n, "x")).await;
    }
    let place = |txn_ts, skipping| Position { skipping, ..Position::at(txn_ts, 0) };
    let start = Position { skipping: Some(77), ..Position::after(1000) };
    assert_eq!(lines.event().await["cursor"], view().cursor(&start));
    let first = lines.event().await;
    assert_eq!(
        (&first["key"], &first["cursor"]),
        (&1.into(), &view().cursor(&place(1010, Some(77))).into())
    );
    let third = lines.event().await;
    assert_eq!(
        (&third["key"], &third["cursor"]),
        (&3.into(), &view().cursor(&place(1030, None)).into())
    );
}

#[tokio::test]
async fn a_quiet_stream_gets_a_status_with_a_fresh_cursor() {
    let mut worker = Worker::start(Config { status_interval_ms: 50, ..config() }).await;
    let mut client = Client::two(worker.address).await;
    let mut lines = live(&mut worker, &mut client).await;
    worker.tails(empty_tail(1000, 5000)).await;
    loop {
        let status = lines.event().await;
        assert_eq!(status["type"], "status");
        if status["cursor"] == view().cursor(&Position::after(5000)) {
            break;
        }
    }
}

#[tokio::test]
async fn the_end_of_a_source_is_said_before_the_body_ends() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let mut lines = live(&mut worker, &mut client).await;
    worker.tails(tail_of(1000, 1010, 1, "x")).await;
    assert_eq!(lines.keys(1).await, [1]);
    let refusal = Refusal::new(Reason::PermissionDenied, "permission denied for table product");
    worker.says(&ToServer::Ended { source: support::SOURCE, refusal }).await;
    let error = lines.event().await;
    assert_eq!(
        (&error["type"], &error["error"]["code"]),
        (&"error".into(), &"permission_denied".into())
    );
    assert_eq!(lines.next().await, Line::End);
    worker.hears_close().await;
}

#[tokio::test]
async fn an_expired_token_ends_its_stream() {
    let mut worker = Worker::start(Config { status_interval_ms: 200, ..config() }).await;
    let mut client = Client::one(worker.address).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        let mut opened = opened(1000, 900);
        opened.expires = Some(support::now() + 100_000);
        worker.opens(request, opened).await;
    });
    let mut lines = Lines::of(response);
    loop {
        let line = lines.event().await;
        if line["type"] == "error" {
            assert_eq!(line["error"]["code"], "unauthorized");
            break;
        }
    }
    assert_eq!(lines.next().await, Line::End);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_no_stream_behind() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let request = {
        let sent = client.post(STREAM, BODY);
        tokio::pin!(sent);
        tokio::select! {
            _ = &mut sent => panic!("there is no answer yet"),
            (request, _) = worker.hears_open() => request,
        }
    };
    drop(client);
    worker.opens(request, opened(1000, 900)).await;
    // It reads until it is noticed that nobody does.
    loop {
        if let event_source_door::message::ToWorker::Close { grant } = worker.hears().await {
            assert_eq!(grant, support::GRANT);
            break;
        }
    }
}

#[tokio::test]
async fn the_worker_is_told_how_many_streams_are_open() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let lines = live(&mut worker, &mut client).await;
    while worker.hears_report().await != 1 {}
    drop(lines);
    while worker.hears_report().await != 0 {}
}

/// Within a snapshot from 1000 on, of which the last rows were of 1005.
fn in_snapshot(behind: Option<Vec<String>>) -> Position {
    let saw = Start { closed: 1005, seen: Vec::new() };
    Position::after(1000).having_seen(Some(Box::new(Snapshot { behind, saw })))
}

/// Behind the row with this id.
fn behind_row(id: i64) -> Position {
    in_snapshot(Some(vec![id.to_string()]))
}

fn row_of_snapshot(id: i64) -> Event {
    Event { position: behind_row(id), ..added(1000, id) }
}

#[tokio::test]
async fn the_rows_of_a_snapshot_come_first_each_with_its_cursor_and_then_the_tail_goes_on() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let (response, ()) = tokio::join!(client.post(STREAM, BODY), async {
        let (request, _) = worker.hears_open().await;
        let start = in_snapshot(Some(Vec::new()));
        worker.opens(request, Opened { position: start, ..opened(1000, 900) }).await;
    });
    let mut lines = Lines::of(response);
    let cursor = |position: &Position| view().cursor(position);
    let start = in_snapshot(Some(Vec::new()));
    assert_eq!(lines.event().await["cursor"], cursor(&start));
    let (read, from) = worker.hears_read().await;
    assert_eq!(from.rows_behind(), Some(&[][..]));
    // It changes while the rows are read: not the snapshot's to tell.
    worker.tails(tail_of(1000, 1002, 8, "x")).await;
    worker.tails(tail_of(1002, 1010, 9, "x")).await;
    worker.reads(read, batch(vec![row_of_snapshot(1)], behind_row(1), false)).await;
    let first = lines.event().await;
    assert_eq!((&first["type"], &first["key"]), (&"add".into(), &1.into()));
    assert_eq!(first["cursor"], cursor(&behind_row(1)));
    let (read, from) = worker.hears_read().await;
    assert_eq!(from.rows_behind(), Some(&["1".to_owned()][..]));
    worker.reads(read, batch(vec![row_of_snapshot(2)], in_snapshot(None), false)).await;
    assert_eq!(lines.event().await["key"], 2);
    let complete = lines.event().await;
    assert_eq!((&complete["type"], &complete["snapshot"]), (&"status".into(), &"complete".into()));
    assert_eq!(complete["cursor"], cursor(&in_snapshot(None)));
    // What is of before the rows carries what was seen of them; what is of later says it all.
    let saw = in_snapshot(None).snapshot;
    let early = Position { snapshot: saw, ..Position::at(1002, 0) };
    assert_eq!(lines.event().await["cursor"], cursor(&early));
    assert_eq!(lines.event().await["cursor"], cursor(&Position::at(1010, 0)));
}

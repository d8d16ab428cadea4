//! Fauna's wire where the worker decides what comes when: how events are put into frames, what `stats`
//! says, and pages whose time is bounded.

mod support;

use event_source_door::message::{StartAt, Tail, ToServer};
use event_source_model::cost::Cost;
use event_source_model::event::{Page, Reason, Refusal};
use event_source_model::position::Position;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};
use support::client::{Client, Lines, request};
use support::worker::Worker;
use support::{
    COLLECTION, Config, added, batch, config, empty_tail, opened, page, row, tail_of, view,
};

const BODY: &str = r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"}"#;
const FRAME: usize = 16 * 1024;

/// A v10 stream that waits for a batch from behind 500; its status is read.
async fn reading(
    worker: &mut Worker,
    client: &mut Client,
    headers: &[(&str, &str)],
) -> (Lines, u64) {
    let mut all = vec![("authorization", "Bearer est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA")];
    all.extend(headers);
    let (response, ()): (Response<Incoming>, ()) =
        tokio::join!(client.send(request("POST", "/stream/1", &all, BODY)), async {
            let (request, _) = worker.hears_open().await;
            worker.opens(request, opened(500, 1000)).await;
        });
    assert!(response.headers().contains_key("x-fauna-stream-id"));
    let mut lines = Lines::of(response);
    assert_eq!(lines.event().await["type"], "status");
    let (read, _) = worker.hears_read().await;
    (lines, read)
}

/// Twenty transactions, too small for a frame together.
fn twenty() -> ToServer {
    let events = (1..=20).map(|id| added(600 + id, id)).collect();
    ToServer::Batch { request: 0, batch: batch(events, Position::after(700), true) }
}

fn to(request: u64, message: ToServer) -> ToServer {
    match message {
        ToServer::Batch { batch, .. } => ToServer::Batch { request, batch },
        other => other,
    }
}

#[tokio::test]
async fn what_is_replayed_together_is_one_frame_of_http2() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let (mut lines, read) = reading(&mut worker, &mut client, &[]).await;
    let before = lines.frames;
    worker.says(&to(read, twenty())).await;
    for id in 1..=20 {
        assert_eq!(lines.event().await["data"]["@doc"]["id"], id.to_string());
    }
    assert_eq!(lines.frames - before, 1);
}

#[tokio::test]
async fn whoever_asks_and_the_driver_for_java_get_each_event_in_a_frame_of_its_own() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    for header in [("x-event-frames", "single"), ("x-driver", "Java")] {
        let mut client = Client::two(worker.address).await;
        let (mut lines, read) = reading(&mut worker, &mut client, &[header]).await;
        let before = lines.frames;
        worker.says(&to(read, twenty())).await;
        for _ in 0..20 {
            assert_eq!(lines.event().await["type"], "add");
        }
        assert_eq!(lines.frames - before, 20, "{header:?}");
        drop(lines);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn a_frame_holds_whole_events_and_16_kilobytes_at_most() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let (mut lines, read) = reading(&mut worker, &mut client, &[]).await;
    let mut events: Vec<_> = (1..=40).map(|id| added(600 + id, id)).collect();
    for event in &mut events {
        let id = event.position.txn_ts - 600;
        event.after = Some(row(id, &"x".repeat(1000)));
    }
    let before = lines.frames;
    worker.reads(read, batch(events, Position::after(700), true)).await;
    for id in 1..=40 {
        assert_eq!(lines.event().await["data"]["@doc"]["id"], id.to_string());
    }
    // Some 1,250 bytes each.
    assert_eq!(lines.frames - before, 4);
    assert!(lines.longest <= FRAME, "{}", lines.longest);
}

fn looked_at(tail: Tail, changes: u64, bytes: u64, micros: u64) -> Tail {
    Tail { looked_at: vec![(COLLECTION, Cost { changes, bytes, micros })], ..tail }
}

/// Ten others and one of 9 bytes: the eight of its key and one letter.
#[tokio::test]
async fn a_status_says_what_was_read_in_vain_and_an_event_what_was_read_for_it() {
    let quick = Config { status_interval_ms: 50, ..config() };
    let mut worker = Worker::start(quick).await;
    worker.tails(empty_tail(400, 500)).await;
    let mut client = Client::two(worker.address).await;
    let post = request(
        "POST",
        "/stream/1",
        &[("authorization", "Bearer est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA")],
        BODY,
    );
    let (response, ()) = tokio::join!(client.send(post), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(500, 400)).await;
    });
    let mut lines = Lines::of(response);
    let stats = |event: &Value| event["stats"].clone();
    let cost = |reads: u64, bytes: u64, ms: u64| {
        json!({
            "read_ops": reads, "storage_bytes_read": bytes, "compute_ops": 1,
            "processing_time_ms": ms, "rate_limits_hit": [],
        })
    };
    assert_eq!(stats(&lines.event().await), cost(0, 0, 0));
    worker.tails(looked_at(tail_of(500, 600, 1, "x"), 11, 109, 33_000)).await;
    let event = loop {
        let event = lines.event().await;
        if event["type"] == "add" {
            break event;
        }
        assert_eq!(stats(&event), cost(0, 0, 0), "nothing was read yet");
    };
    assert_eq!(stats(&event), cost(1, 9, 3));
    assert_eq!(stats(&lines.event().await), cost(10, 100, 30));
    assert_eq!(stats(&lines.event().await), cost(0, 0, 0), "said once");
}

#[tokio::test]
async fn a_catch_up_that_finds_nothing_is_said_with_the_next_status() {
    let quick = Config { status_interval_ms: 50, ..config() };
    let mut worker = Worker::start(quick).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let (mut lines, read) = reading(&mut worker, &mut client, &[]).await;
    let mut nothing = batch(Vec::new(), Position::after(1000), true);
    nothing.cost = Cost { changes: 70, bytes: 700, micros: 7_000 };
    worker.reads(read, nothing).await;
    let said = loop {
        let status = lines.event().await;
        if status["stats"]["read_ops"] != 0 {
            break status;
        }
    };
    assert_eq!(said["cursor"], view().cursor(&Position::after(1000)));
    assert_eq!(said["stats"]["read_ops"], 70);
    assert_eq!(said["stats"]["storage_bytes_read"], 700);
    assert_eq!(said["stats"]["processing_time_ms"], 7);
}

/// A piece of a page that ended for its time.
fn piece(ids: std::ops::Range<i64>, end: i64) -> Page {
    let events: Vec<_> = ids.map(|id| added(500 + id, id)).collect();
    let cost = Cost { changes: 100, bytes: 1000, micros: 50_000 };
    Page { is_cut: true, cost, ..page(events, end, true) }
}

#[tokio::test]
async fn a_page_is_collected_from_pieces_until_it_is_full() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let body = r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA","page_size":3}"#;
    let (response, ()) = tokio::join!(client.post("/feed/1", body), async {
        let (request, start, size) = worker.hears_page().await;
        assert_eq!((start, size), (StartAt::Token, 3));
        worker.pages(request, piece(0..0, 510)).await;
        let behind = |at| StartAt::Cursor(view().cursor(&Position::after(at)));
        let (request, start, size) = worker.hears_page().await;
        assert_eq!((start, size), (behind(510), 3));
        worker.pages(request, piece(11..14, 520)).await;
        // It may be full; whether it is the last one only the next event tells.
        let (request, start, size) = worker.hears_page().await;
        assert_eq!((start, size), (behind(520), 0));
        worker.pages(request, page(Vec::new(), 530, false)).await;
    });
    let read = support::client::json(response).await;
    assert_eq!(read["events"].as_array().expect("a list").len(), 3);
    assert_eq!(read["has_next"], false);
    assert_eq!(read["cursor"], view().cursor(&Position::after(530)));
    assert_eq!(read["stats"]["read_ops"], 200);
    // What was kept back, as the worker says, and nine bytes for each row that is shown.
    assert_eq!(read["stats"]["storage_bytes_read"], 2000 + 3 * 9);
    assert_eq!(read["stats"]["processing_time_ms"], 100);
}

#[tokio::test]
async fn a_page_whose_time_is_over_has_what_there_is_and_a_cursor_that_has_moved() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let headers = [
        ("authorization", "Bearer est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"),
        ("x-query-timeout-ms", "400"),
    ];
    let ask = request("POST", "/feed/1", &headers, BODY);
    let mut end = 600;
    let mut response = std::pin::pin!(client.send(ask));
    // It asks for one piece after the other until the time is over, and then answers.
    let response = loop {
        let (request, ..) = tokio::select! {
            response = &mut response => break response,
            heard = worker.hears_page() => heard,
        };
        end += 1;
        let ids = if end == 601 { 1..2 } else { 0..0 };
        worker.pages(request, piece(ids, end)).await;
    };
    assert!(end > 601, "it asked once");
    let read = support::client::json(response).await;
    assert_eq!(read["events"].as_array().expect("a list").len(), 1);
    assert_eq!(read["has_next"], true);
    // The last piece may have come too late.
    let late = [end, end - 1].map(|at| json!(view().cursor(&Position::after(at))));
    assert!(late.contains(&read["cursor"]), "{read}");
}

#[tokio::test]
async fn a_time_too_short_for_anything_is_said_by_440_and_a_wrong_one_by_400() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let ask = |path: &str, time: &str| {
        let body =
            r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA","query":{"fql":["Product.all()"]}}"#;
        let secret = if path == "/query/1" {
            "Bearer ess_sssssssssssssssssssssssssssssssssssssssssss"
        } else {
            "Bearer est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"
        };
        request("POST", path, &[("authorization", secret), ("x-query-timeout-ms", time)], body)
    };
    for path in ["/feed/1", "/query/1"] {
        // The worker hears it and says nothing.
        let response = client.send(ask(path, "20")).await;
        worker.hears().await;
        assert_eq!(response.status(), 440, "{path}");
        assert_eq!(support::client::json(response).await["error"]["code"], "time_out");
        for wrong in ["0", "600001", "soon"] {
            let response = client.send(ask(path, wrong)).await;
            assert_eq!(response.status(), 400, "{path} {wrong}");
            let read = support::client::json(response).await;
            assert_eq!(read["error"]["code"], "invalid_request");
        }
    }
}

#[tokio::test]
async fn a_page_that_starts_too_early_keeps_the_requests_own_start() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let own = view().cursor(&Position::after(10));
    let mut refusal = Refusal::new(Reason::PositionGone, "the position is no longer in the log");
    refusal.cursor = Some(view().cursor(&Position::after(500)));
    for body in [
        format!(r#"{{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA","cursor":"{own}"}}"#),
        r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA","start_ts":10}"#.to_owned(),
    ] {
        let (response, ()) = tokio::join!(client.post("/feed/1", &body), async {
            let (request, ..) = worker.hears_page().await;
            worker.refuses(request, refusal.clone()).await;
        });
        let page = support::client::json(response).await;
        assert_eq!(page["events"][0]["error"]["code"], "invalid_stream_start_time");
        assert_eq!((&page["cursor"], &page["has_next"]), (&json!(own), &json!(false)), "{body}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_before_a_secret_that_is_missing() {
    let worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    for path in ["/stream/1", "/feed/1", "/query/1"] {
        for body in ["", "{", "[]", "{}"] {
            let response = client.send(request("POST", path, &[], body)).await;
            assert_eq!(response.status(), 400, "{path} {body:?}");
            let read = support::client::json(response).await;
            assert_eq!(read["error"]["code"], "invalid_request");
        }
    }
    let response = client.send(request("POST", "/feed/1", &[], BODY)).await;
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn only_the_secret_and_the_body_are_needed_and_what_is_not_known_is_ignored() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let headers = [
        ("authorization", "Bearer est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"),
        ("x-format", "simple"),
        ("x-unknown", "1"),
    ];
    let body =
        r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA","unknown":{"a":[1]},"start_ts":null}"#;
    let (response, ()) =
        tokio::join!(client.send(request("POST", "/feed/1", &headers, body)), async {
            let (request, start, size) = worker.hears_page().await;
            assert_eq!((start, size), (StartAt::Token, 16));
            worker.pages(request, page(vec![added(600, 1)], 600, false)).await;
        });
    assert_eq!(response.headers()["content-type"], "application/json;charset=utf-8");
    let read = support::client::json(response).await;
    // Tagged, whatever the format that was asked for.
    assert_eq!(read["events"][0]["data"]["@doc"]["coll"], json!({ "@mod": "Product" }));
}

#[tokio::test]
async fn behind_an_event_that_cannot_be_evaluated_a_page_goes_on() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    for (reason, has_next) in [(Reason::EvaluationFailed, true), (Reason::SchemaChanged, false)] {
        let (response, ()) = tokio::join!(client.post("/feed/1", BODY), async {
            let (request, ..) = worker.hears_page().await;
            let mut page = page(vec![added(600, 1)], 610, false);
            page.error = Some(Refusal::new(reason, "division by zero"));
            worker.pages(request, page).await;
        });
        let read = support::client::json(response).await;
        assert_eq!(read["events"][1]["type"], "error");
        assert_eq!(read["has_next"], has_next);
        assert_eq!(read["cursor"], view().cursor(&Position::after(610)));
    }
}

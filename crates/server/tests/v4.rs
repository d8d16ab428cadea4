//! Fauna v4's routes: what the worker is asked, and what its answers become on the wire.

mod support;

use event_source_door::message::{Changes, Config, Opened, StartAt, Tail, ToServer, ToWorker};
use event_source_model::event::{EventType, Reason, Refusal, View};
use event_source_model::position::Position;
use event_source_model::query::{
    Answer, Answered, Ask, Constant, EventSource, Failure, Fault, Of, Shown, Span,
};
use event_source_model::source::Projection;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde_json::{Value, json as value};
use support::client::{Client, Line, Lines, json, request};
use support::worker::{PATIENCE, Worker};
use support::{SOURCE, config, empty_tail, net, opened, row, tail_of, view};

const DOCUMENT: &str = r#"{"ref":{"collection":"Product"},"id":"1"}"#;
const SET: &str = r#"{"match":{"index":"by_name"},"terms":"x"}"#;

/// Sends a request of v4's, as a client with a secret.
async fn ask(
    client: &mut Client,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Incoming> {
    let bearer = [("authorization", "Bearer ess_sssssssssssssssssssssssssssssssssssssssssss")];
    client.send(request("POST", path, &[&bearer, headers].concat(), body)).await
}

/// The next question to the worker, by the secret.
async fn hears_query(worker: &mut Worker) -> (u64, Ask) {
    let ToWorker::Query { request, secret, ask } = worker.hears().await else { panic!("no query") };
    assert_eq!(secret.as_deref(), Some("ess_sssssssssssssssssssssssssssssssssssssssssss"));
    (request, ask)
}

async fn answers(worker: &mut Worker, request: u64, answer: Answer, txn_ts: i64) {
    let answered = Answered { answer, txn_ts, reads: 1, bytes: 1 };
    worker.says(&ToServer::Answered { request, answered }).await;
}

fn version(row: Option<event_source_model::image::Image>, txn_ts: i64) -> Answer {
    Answer::Version { view: view(), row, txn_ts, untold: false }
}

fn token() -> Answer {
    Answer::EventSource("est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA".to_owned())
}

/// Opens a stream whose worker answers at 1000; the stream reads from behind 990.
async fn open(
    worker: &mut Worker,
    client: &mut Client,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
    opened: Opened,
) -> Response<Incoming> {
    worker.tails(empty_tail(900, 990)).await;
    let (response, ()) = tokio::join!(ask(client, path, headers, body), async {
        let (request, ask) = hears_query(worker).await;
        let answer = match ask {
            Ask::Array(_) => Answer::Array(vec![version(None, 1000), token()]),
            _ => token(),
        };
        answers(worker, request, answer, 1000).await;
        let (request, start) = worker.hears_open().await;
        assert_eq!(start, StartAt::Token);
        worker.opens(request, opened).await;
    });
    response
}

async fn document(worker: &mut Worker, client: &mut Client, path: &str) -> Lines {
    let opened = opened(990, 900);
    Lines::of(open(worker, client, path, &[], DOCUMENT, opened).await)
}

/// The next line, whose end is as v4 has it.
async fn line(lines: &mut Lines) -> Value {
    let Line::Text(line) = lines.next().await else { panic!("the stream is over") };
    assert!(line.ends_with("}\r\n") && line.is_ascii(), "{line:?}");
    serde_json::from_str(&line).expect("JSON")
}

#[tokio::test]
async fn the_worker_makes_a_token_that_lasts_as_long_as_the_stream() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    for (body, is_document) in [(DOCUMENT, true), (SET, false)] {
        let asking = ask(&mut client, "/stream", &[], body);
        let (response, ()) = tokio::join!(asking, async {
            let (request, ask) = hears_query(&mut worker).await;
            let source = match (ask, is_document) {
                (Ask::Array(mut parts), true) => {
                    assert!(matches!(&parts[0], Ask::Version { at: None, .. }));
                    parts.remove(1)
                }
                (source, false) => source,
                (other, true) => panic!("{other:?}"),
            };
            let Ask::EventSource(EventSource { rows, lasts: true, .. }) = source else {
                panic!("no source that lasts")
            };
            if is_document {
                assert_eq!(rows.collection.text, "Product");
                assert_eq!(rows.shown, Shown::Document);
                assert!(matches!(rows.of, Of::Key { key: Constant::Text(key), .. } if key == "1"));
            } else {
                assert_eq!(rows.shown, Shown::Covered);
                let Of::Named { index, terms } = rows.of else { panic!("no index") };
                assert_eq!(index.text, "by_name");
                assert_eq!(terms, [Constant::Text("x".to_owned())]);
            }
            let failure = Failure::new(Fault::PermissionDenied, "no", Span::default());
            worker.says(&ToServer::Failed { request, failure }).await;
        });
        assert_eq!(response.status(), 403);
        let body = json(response).await;
        assert_eq!(body["errors"][0]["code"], "permission denied");
        assert_eq!(body["errors"][0]["position"], value!([]));
    }
}

#[tokio::test]
async fn a_stream_begins_at_once_when_its_worker_answered() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let opened = opened(990, 900);
    let response = open(&mut worker, &mut client, "/stream", &[], DOCUMENT, opened).await;
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "application/json;charset=utf-8");
    assert_eq!(header("x-txn-time"), "1000");
    assert!(header("x-fauna-stream-id").parse::<u64>().is_ok());
    let mut lines = Lines::of(response);
    assert_eq!(line(&mut lines).await, value!({ "type": "start", "txn": 1000, "event": 1000 }));
    worker.tails(tail_of(990, 1010, 1, "ü")).await;
    let event = line(&mut lines).await;
    assert_eq!((&event["type"], &event["txn"]), (&value!("version"), &value!(1010)));
    assert_eq!(event["event"]["document"]["data"], value!({ "name": "ü" }));
    assert_eq!(event["event"].as_object().map(serde_json::Map::len), Some(2));
}

#[tokio::test]
async fn fields_are_those_of_the_query() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let path = "/stream?fields=diff%2Cprev%2Caction%2Cindex";
    let mut lines = document(&mut worker, &mut client, path).await;
    line(&mut lines).await;
    worker.tails(tail_of(990, 1010, 1, "x")).await;
    let event = line(&mut lines).await;
    let names: Vec<&String> = event["event"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["action", "diff", "prev"]);
    let response = ask(&mut client, "/stream?fields=x,y", &[], DOCUMENT).await;
    assert_eq!(response.status(), 400);
    let errors = json(response).await;
    assert_eq!(errors["errors"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        errors["errors"][1]["description"],
        "Invalid url parameter fields. Invalid field name 'y'."
    );
}

/// An update of the row within the set of an index.
fn updated(since: i64, closed: i64) -> Tail {
    let change = net(Some(row(1, "a")), Some(row(1, "b")));
    let mut changes = Changes::default();
    changes.push(Position::at(closed, 0), &change, [(SOURCE, EventType::Update)].into());
    Tail { changes, ..empty_tail(since, closed) }
}

#[tokio::test]
async fn every_event_is_a_frame_of_its_own() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let covered = Projection::Object(vec![("name".to_owned(), 2)]);
    let view = View { fields: Some(vec![2]), projection: Some(covered), ..view() };
    let opened = Opened { view, ..opened(990, 900) };
    let path = "/stream?fields=action,index";
    let response = open(&mut worker, &mut client, path, &[], SET, opened).await;
    let mut body = response.into_body();
    // All at once, as a burst comes.
    worker
        .say_all(&(0..50).map(|n| ToServer::Tail(updated(990 + n, 991 + n))).collect::<Vec<_>>())
        .await;
    let mut frames = Vec::new();
    while frames.len() < 101 {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("in time");
        let data = frame.expect("more").expect("a frame").into_data().expect("data");
        frames.push(String::from_utf8(data.to_vec()).expect("UTF-8"));
    }
    for (at, frame) in frames.iter().enumerate().skip(1) {
        let event: Value = serde_json::from_str(frame).expect("one event a frame");
        let (action, name) = if at % 2 == 1 { ("remove", "a") } else { ("add", "b") };
        assert_eq!(event["event"]["action"], action, "{at}");
        assert_eq!(event["event"]["index"]["values"], value!([name]));
        assert_eq!(event["event"]["index"]["terms"], value!(["x"]));
    }
}

#[tokio::test]
async fn the_driver_for_python_gets_no_line_ends() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let headers = [("x-fauna-driver", "python"), ("x-last-seen-txn", "None")];
    let opened = opened(990, 900);
    let response = open(&mut worker, &mut client, "/stream", &headers, DOCUMENT, opened).await;
    let mut body = response.into_body();
    worker.tails(tail_of(990, 1010, 1, &"x".repeat(40_000))).await;
    let mut read = String::new();
    let mut events = 0;
    while events < 2 {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("in time");
        let data = frame.expect("more").expect("a frame").into_data().expect("data");
        read.push_str(std::str::from_utf8(&data).expect("UTF-8"));
        assert!(!read.contains('\n'), "a line end");
        if serde_json::from_str::<Value>(&read).is_ok() {
            events += 1;
            read.clear();
        }
    }
}

#[tokio::test]
async fn a_quiet_stream_has_a_heartbeat_that_no_parser_sees() {
    let config = Config { status_interval_ms: 50, ..config() };
    let mut worker = Worker::start(config).await;
    let mut client = Client::two(worker.address).await;
    let response = open(&mut worker, &mut client, "/stream", &[], DOCUMENT, opened(990, 900)).await;
    let mut body = response.into_body();
    for expected in ["{\"type\":\"start\",\"txn\":1000,\"event\":1000}\r\n", " ", " "] {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("in time");
        let data = frame.expect("more").expect("a frame").into_data().expect("data");
        assert_eq!(data, expected);
    }
}

#[tokio::test]
async fn the_end_of_a_stream_is_an_event_and_a_clean_end() {
    for (reason, code) in [
        (Reason::PermissionDenied, "permission denied"),
        (Reason::SourceGone, "instance not found"),
        (Reason::PositionGone, "time out"),
    ] {
        let mut worker = Worker::start(config()).await;
        let mut client = Client::two(worker.address).await;
        let mut lines = document(&mut worker, &mut client, "/stream").await;
        line(&mut lines).await;
        let refusal = Refusal::new(reason, "why");
        worker.says(&ToServer::Ended { source: SOURCE, refusal }).await;
        let error = line(&mut lines).await;
        assert_eq!((&error["type"], &error["txn"]), (&value!("error"), &value!(0)));
        assert_eq!(error["event"]["code"], code);
        assert_eq!(lines.next().await, Line::End);
    }
}

#[tokio::test]
async fn a_planned_stop_is_an_event_before_the_connections_own_goodbye() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let mut lines = document(&mut worker, &mut client, "/stream").await;
    line(&mut lines).await;
    worker.says(&ToServer::Stop).await;
    let error = line(&mut lines).await;
    assert_eq!(error["event"]["code"], "time out");
    assert_eq!(lines.next().await, Line::End);
}

#[tokio::test]
async fn too_many_streams_is_said_within_a_stream() {
    let mut worker = Worker::start(Config { max_streams: 1, ..config() }).await;
    let mut client = Client::two(worker.address).await;
    let _first = document(&mut worker, &mut client, "/stream").await;
    let asking = ask(&mut client, "/stream", &[], DOCUMENT);
    let (response, ()) = tokio::join!(asking, async {
        let (request, _) = hears_query(&mut worker).await;
        answers(&mut worker, request, Answer::Array(vec![version(None, 1000), token()]), 1000)
            .await;
    });
    let mut lines = Lines::of(response);
    let error = line(&mut lines).await;
    assert_eq!(error["event"]["code"], "too many requests");
    assert_eq!(error["event"]["description"], "Too many open streams.");
    assert_eq!(lines.next().await, Line::End);
}

#[tokio::test]
async fn what_is_refused_before_the_worker_is_asked_says_why() {
    let worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    for (path, headers, body, status, code) in [
        ("/stream", &[][..], "", 400, "invalid expression"),
        ("/stream", &[], "{", 400, "invalid expression"),
        ("/stream", &[], r#"{"object":{}}"#, 400, "invalid argument"),
        ("/", &[], DOCUMENT, 400, "invalid expression"),
        ("/stream", &[("x-last-seen-txn", "soon")], DOCUMENT, 400, "bad request"),
        ("/stream", &[("x-last-seen-txn", "9000000000000000")], DOCUMENT, 400, "bad request"),
        ("/stream", &[("x-query-timeout", "0")], DOCUMENT, 400, "bad request"),
        (
            "/stream",
            &[("x-access-token", "ess_ooooooooooooooooooooooooooooooooooooooooooo")],
            DOCUMENT,
            400,
            "bad request",
        ),
    ] {
        let response = ask(&mut client, path, headers, body).await;
        assert_eq!(response.status(), status, "{path} {body}");
        assert_eq!(json(response).await["errors"][0]["code"], code, "{path} {body}");
    }
    // A token is no secret.
    let token = [("authorization", "Bearer est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA")];
    let response = client.send(request("POST", "/stream", &token, DOCUMENT)).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(json(response).await["errors"][0]["code"], "unauthorized");
    let response = client.get("/stream").await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "POST");
    let errors = json(response).await;
    assert_eq!(errors["errors"][0]["description"], "Allowed methods are POST.");
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    let response = ask(&mut client, "/stream", &[], &large).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(json(response).await["errors"].is_array());
}

#[tokio::test]
async fn whether_a_client_may_do_without_a_secret_only_the_worker_says() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let asking = client.send(request("POST", "/stream", &[], DOCUMENT));
    let (response, ()) = tokio::join!(asking, async {
        let ToWorker::Query { request, secret: None, .. } = worker.hears().await else {
            panic!("no query without a secret")
        };
        worker.refuses(request, Refusal::new(Reason::Unauthorized, "no")).await;
    });
    assert_eq!(response.status(), 401);
}

fn get(of: &str) -> String {
    format!("{{\"get\":{of}}}")
}

#[tokio::test]
async fn a_document_is_answered_with_its_place_in_the_order() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    worker.tails(empty_tail(900, 1000)).await;
    let body = get(DOCUMENT);
    let (response, ()) = tokio::join!(ask(&mut client, "/", &[], &body), async {
        let (request, ask) = hears_query(&mut worker).await;
        let Ask::Version { rows, at: None } = ask else { panic!("no version: {ask:?}") };
        assert_eq!(rows.shown, Shown::Document);
        answers(&mut worker, request, version(Some(row(1, "ü")), 1005), 1000).await;
    });
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-txn-time"], "1000");
    let document = json(response).await;
    assert_eq!(document["resource"]["ts"], 1005);
    assert_eq!(document["resource"]["data"], value!({ "name": "ü" }));
    assert_eq!(document["resource"]["ref"]["@ref"]["id"], "1");
    let (response, ()) = tokio::join!(ask(&mut client, "/", &[], &body), async {
        let (request, _) = hears_query(&mut worker).await;
        answers(&mut worker, request, version(None, 1000), 1000).await;
    });
    assert_eq!(response.status(), 404);
    assert_eq!(json(response).await["errors"][0]["description"], "Document not found.");
}

#[tokio::test]
async fn the_snapshot_of_a_stream_is_asked_for_as_of_its_start() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let _stream = document(&mut worker, &mut client, "/stream").await;
    let body = get(DOCUMENT);
    // Another client, who has not heard of the stream; then the stream's own, then it once more.
    for (seen, expected) in [("999", None), ("1000", Some(1000)), ("1000", None)] {
        let headers = [("x-last-seen-txn", seen)];
        let (response, ()) = tokio::join!(ask(&mut client, "/", &headers, &body), async {
            let (request, ask) = hears_query(&mut worker).await;
            let Ask::Version { at, .. } = ask else { panic!("no version: {ask:?}") };
            assert_eq!(at, expected, "{seen}");
            answers(&mut worker, request, version(Some(row(1, "x")), 1000), 1000).await;
        });
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn an_answer_that_is_older_than_what_the_client_saw_is_asked_for_again() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let headers = [("x-last-seen-txn", "1001")];
    let body = get(DOCUMENT);
    let (response, ()) = tokio::join!(ask(&mut client, "/", &headers, &body), async {
        for closed in [1000, 1001] {
            let (request, _) = hears_query(&mut worker).await;
            let row = Some(row(closed, "x"));
            answers(&mut worker, request, version(row, closed), closed).await;
        }
    });
    assert_eq!(json(response).await["resource"]["ts"], 1001);
    // Not for ever.
    let headers = [("x-last-seen-txn", "1001"), ("x-query-timeout", "1")];
    let (response, ()) = tokio::join!(ask(&mut client, "/", &headers, &body), async {
        let (request, _) = hears_query(&mut worker).await;
        answers(&mut worker, request, version(None, 1000), 1000).await;
    });
    assert_eq!(response.status(), 503);
    assert_eq!(json(response).await["errors"][0]["code"], "time out");
}

#[tokio::test]
async fn a_document_waits_until_what_it_shows_was_told() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    worker.tails(empty_tail(900, 1000)).await;
    let body = get(DOCUMENT);
    let asking = ask(&mut client, "/", &[], &body);
    let mut asking = std::pin::pin!(asking);
    let worker = &mut worker;
    let answered = async {
        let (request, _) = hears_query(worker).await;
        let answer =
            Answer::Version { view: view(), row: Some(row(1, "x")), txn_ts: 1005, untold: true };
        answers(worker, request, answer, 1000).await;
        // The next question is answered meanwhile, so that the first one would have been.
        let mut other = Client::one(worker.address).await;
        let body = get(DOCUMENT);
        let (response, ()) = tokio::join!(ask(&mut other, "/", &[], &body), async {
            let (request, _) = hears_query(worker).await;
            answers(worker, request, version(Some(row(1, "x")), 1000), 1000).await;
        });
        assert_eq!(response.status(), 200);
    };
    tokio::select! {
        response = &mut asking => panic!("answered before it was told: {response:?}"),
        () = answered => {}
    }
    worker.tails(tail_of(1000, 1005, 1, "x")).await;
    assert_eq!(json(asking.await).await["resource"]["ts"], 1005);
}

#[tokio::test]
async fn what_stands_in_the_way_for_a_moment_is_waited_for() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let body = get(DOCUMENT);
    let (response, ()) = tokio::join!(ask(&mut client, "/", &[], &body), async {
        let (request, _) = hears_query(&mut worker).await;
        let failure = Failure::new(Fault::Contended, "locked", Span::default());
        worker.says(&ToServer::Failed { request, failure }).await;
        let (request, _) = hears_query(&mut worker).await;
        answers(&mut worker, request, version(Some(row(1, "x")), 1000), 1000).await;
    });
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_ping_is_answered_by_the_server_alone() {
    let worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let answer = json(client.get("/ping?scope=node&timeout=1").await).await;
    assert_eq!(answer, value!({ "resource": "Scope node is OK" }));
}

//! Directus' sockets where the worker decides what comes when: how messages are made of events, who may do
//! what until when, and what is bounded.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_source_door::message::{Changes, Tail, ToServer, ToWorker};
use event_source_model::event::{EventType, Reason, Refusal};
use event_source_model::net::NetChange;
use event_source_model::position::Position;
use event_source_model::query::{Answer, Answered, Ask, Constant};
use serde_json::{Value, json};
use support::socket::{Said, Socket, ask_one};
use support::worker::Worker;
use support::{HISTORY, config, empty_tail, net, opened, row, view};
use tokio_tungstenite::tungstenite::Message;

/// What the server asks by a credential.
async fn hears_query(worker: &mut Worker) -> (u64, Option<String>, Ask) {
    match worker.hears().await {
        ToWorker::Query { request, secret, ask } => (request, secret, ask),
        other => panic!("a Query was expected, not {other:?}"),
    }
}

async fn answers(worker: &mut Worker, request: u64, answer: Answer) {
    let answered = Answered { answer, txn_ts: 1000, reads: 0, bytes: 0 };
    worker.says(&ToServer::Answered { request, answered }).await;
}

fn unauthorized() -> Refusal {
    Refusal::new(Reason::Unauthorized, "invalid secret")
}

/// Answers the question whether a credential, or none, is good.
async fn vouches(worker: &mut Worker, credential: Option<&str>, is_good: bool) {
    let (request, secret, _) = hears_query(worker).await;
    assert_eq!(secret.as_deref(), credential);
    if is_good {
        answers(worker, request, Answer::Constant(Constant::Null)).await;
    } else {
        worker.refuses(request, unauthorized()).await;
    }
}

/// A socket whose credential is in its path, and good.
async fn open(worker: &mut Worker, credential: &str) -> Socket {
    let path = format!("/websocket?access_token={credential}");
    let socket = Socket::of(ask_one(worker.address, &path, &[]).await).await;
    vouches(worker, Some(credential), true).await;
    socket
}

async fn send(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await;
}

/// Lets a subscription begin, with no items.
async fn subscribe(worker: &mut Worker, socket: &mut Socket, more: Value) -> Ask {
    let mut message = json!({ "type": "subscribe", "collection": "Product" });
    for (name, value) in more.as_object().expect("an object") {
        message[name] = value.clone();
    }
    send(socket, message).await;
    let (request, _, ask) = hears_query(worker).await;
    let page = Answer::Page { view: view(), rows: Vec::new(), is_next: false, after: None };
    let parts = vec![Answer::EventSource("est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA".to_owned()), page];
    answers(worker, request, Answer::Array(parts)).await;
    let (request, _) = worker.hears_open().await;
    worker.opens(request, opened(1000, 900)).await;
    assert_eq!(socket.event().await["event"], "init");
    ask
}

/// Where a change stands, what it did, and what that is to the set.
type Placed = (Position, NetChange, EventType);

/// In one transaction the row `id` is what it was and becomes what it is.
fn change(txn_ts: i64, ordinal: u32, id: i64, kind: EventType) -> Placed {
    let image = || Some(row(id, "x"));
    let (before, after) = match kind {
        EventType::Add => (None, image()),
        EventType::Update | EventType::HistoryRewrite => (image(), image()),
        EventType::Remove => (image(), None),
    };
    (Position::at(txn_ts, ordinal), net(before, after), kind)
}

fn tail(since: i64, closed: i64, placed: Vec<Placed>) -> Tail {
    let mut changes = Changes::default();
    for (position, change, kind) in placed {
        changes.push(position, &change, [(support::SOURCE, kind)].into());
    }
    Tail { changes, ..empty_tail(since, closed) }
}

fn ids(message: &Value) -> Vec<&str> {
    let items = message["data"].as_array().unwrap_or_else(|| panic!("no list: {message}"));
    items.iter().map(|item| item["id"].as_str().or(item.as_str()).expect("an id")).collect()
}

#[tokio::test]
async fn rows_of_a_transaction_are_one_message_for_each_kind_and_each_waits_for_the_one_before() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut socket = open(&mut worker, "ess_sssssssssssssssssssssssssssssssssssssssssss").await;
    subscribe(&mut worker, &mut socket, json!({ "uid": "u" })).await;
    let kinds = [EventType::Add, EventType::Add, EventType::Update, EventType::Remove];
    let changes = kinds.iter().zip(1..).map(|(kind, n)| change(1010, n as u32, n, *kind));
    worker.tails(tail(1000, 1010, changes.collect())).await;
    for (event, expected) in
        [("create", vec!["1", "2"]), ("update", vec!["3"]), ("delete", vec!["4"])]
    {
        let message = socket.event().await;
        assert_eq!((&message["event"], &message["uid"]), (&json!(event), &json!("u")));
        assert_eq!(ids(&message), expected);
        socket.ping().await;
    }
}

#[tokio::test]
async fn transactions_that_wait_are_one_message_unless_the_query_cuts_messages() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    for (query, expected) in [
        (json!({}), vec![vec!["1", "2", "3"]]),
        (json!({ "limit": 1 }), vec![vec!["1"], vec!["2"], vec!["3"]]),
        (json!({ "sort": "-id" }), vec![vec!["1"], vec!["2"], vec!["3"]]),
    ] {
        let mut socket = open(&mut worker, "ess_sssssssssssssssssssssssssssssssssssssssssss").await;
        subscribe(&mut worker, &mut socket, json!({ "query": query })).await;
        // Behind the `init` the socket rests: all three wait by then.
        let changes = (1..=3).map(|id| change(1000 + id, 1, id, EventType::Add));
        worker.tails(tail(1000, 1003, changes.collect())).await;
        for expected in expected {
            assert_eq!(ids(&socket.event().await), expected, "{query}");
        }
        drop(socket);
        worker.hears_close().await;
        worker = Worker::start(config()).await;
        worker.tails(empty_tail(900, 1000)).await;
    }
}

#[tokio::test]
async fn sort_limit_and_offset_are_of_the_items_of_one_message() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut socket = open(&mut worker, "ess_sssssssssssssssssssssssssssssssssssssssssss").await;
    let query = json!({ "sort": "-id", "limit": 2, "offset": 1 });
    subscribe(&mut worker, &mut socket, json!({ "query": query })).await;
    let four = (1..=4).map(|id| change(1010, id as u32, id, EventType::Update));
    let mut changes: Vec<Placed> = four.collect();
    // Alone, and so cut off by the offset; a delete knows of no query.
    changes.push(change(1011, 1, 9, EventType::Add));
    changes.push(change(1012, 1, 7, EventType::Remove));
    worker.tails(tail(1000, 1012, changes)).await;
    assert_eq!(ids(&socket.event().await), ["3", "2"]);
    let deleted = socket.event().await;
    assert_eq!((&deleted["event"], ids(&deleted)), (&json!("delete"), vec!["7"]));
}

#[tokio::test]
async fn nothing_is_sent_before_the_answer_to_auth() {
    let mut worker = Worker::start(config()).await;
    let mut socket = Socket::of(ask_one(worker.address, "/websocket", &[]).await).await;
    vouches(&mut worker, None, false).await;
    send(&mut socket, json!({ "type": "auth", "access_token": "ess_sssssssssssssssssssssssssssssssssssssssssss", "uid": "y" })).await;
    vouches(&mut worker, Some("ess_sssssssssssssssssssssssssssssssssssssssssss"), true).await;
    let expected = json!({ "type": "auth", "status": "ok", "uid": "y" });
    assert_eq!(socket.event().await, expected);
}

#[tokio::test]
async fn whoever_does_not_say_who_he_is_is_let_go() {
    let mut worker = Worker::start(config()).await;
    let mut socket = Socket::of(ask_one(worker.address, "/websocket", &[]).await).await;
    vouches(&mut worker, None, false).await;
    tokio::time::pause();
    let failed = socket.event_at_last().await;
    assert_eq!(
        (&failed["type"], &failed["error"]["code"]),
        (&json!("auth"), &json!("AUTH_FAILED"))
    );
    assert_eq!(socket.next_at_last().await, Said::Close(None), "without a code");
}

/// Of a role, that ends in so many seconds.
fn jwt(seconds: i64) -> String {
    let claims = json!({ "role": "reader", "exp": support::now() / 1_000_000 + seconds });
    format!("eyJhbGciOiJIUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test]
async fn a_jwt_that_ends_is_asked_for_again_and_its_subscription_goes_on_behind_its_last_event() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let (first, second) = (jwt(2), jwt(600));
    let mut socket = open(&mut worker, &first).await;
    subscribe(&mut worker, &mut socket, json!({})).await;
    worker.tails(tail(1000, 1010, vec![change(1010, 1, 1, EventType::Add)])).await;
    assert_eq!(socket.event().await["event"], "create");
    assert_eq!(socket.event().await["error"]["code"], "TOKEN_EXPIRED");
    // Nothing of what comes meanwhile is seen.
    let lost = Refusal::new(Reason::Unauthorized, "the credential has expired");
    worker.says(&ToServer::Lost { grant: support::GRANT, refusal: lost }).await;
    worker.hears_close().await;
    send(&mut socket, json!({ "type": "auth", "access_token": second })).await;
    vouches(&mut worker, Some(&second), true).await;
    assert_eq!(socket.event().await, json!({ "type": "auth", "status": "ok" }));
    let ToWorker::Open { request, access, start, .. } = worker.hears().await else {
        panic!("an Open was expected")
    };
    assert_eq!(
        (access.token.as_str(), access.secret),
        ("est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA", Some(second))
    );
    let behind =
        event_source_model::position::Cursor { history: HISTORY, position: Position::at(1010, 1) };
    assert_eq!(start, event_source_door::message::StartAt::Cursor(behind.encode()));
    worker.opens(request, opened(1010, 900)).await;
    worker.tails(tail(1010, 1020, vec![change(1020, 1, 2, EventType::Add)])).await;
    assert_eq!(ids(&socket.event().await), ["2"]);
}

#[tokio::test]
async fn a_public_socket_stays_when_a_jwt_ends_and_what_it_allowed_ends_with_it() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut socket = Socket::of(ask_one(worker.address, "/websocket", &[]).await).await;
    vouches(&mut worker, None, true).await;
    let token = jwt(2);
    send(&mut socket, json!({ "type": "auth", "access_token": token })).await;
    vouches(&mut worker, Some(&token), true).await;
    assert_eq!(socket.event().await["status"], "ok");
    subscribe(&mut worker, &mut socket, json!({ "uid": "u" })).await;
    assert_eq!(socket.event().await["error"]["code"], "TOKEN_EXPIRED");
    tokio::time::pause();
    assert_eq!(socket.event_at_last().await["error"]["code"], "AUTH_TIMEOUT");
    let ended = socket.event_at_last().await;
    assert_eq!((&ended["event"], &ended["uid"]), (&json!("error"), &json!("u")));
    tokio::time::resume();
    send(&mut socket, json!({ "type": "ping" })).await;
    assert_eq!(socket.event().await["type"], "pong");
}

#[tokio::test]
async fn a_socket_has_so_many_subscriptions_and_one_more_is_refused() {
    for (limit, most) in [(1000, 200), (9, 9)] {
        let mut limited = support::Config { max_streams: 1000, ..config() };
        limited.limits.max_streams_per_connection = limit;
        let mut worker = Worker::start(limited).await;
        worker.tails(empty_tail(900, 1000)).await;
        let mut socket = open(&mut worker, "ess_sssssssssssssssssssssssssssssssssssssssssss").await;
        for n in 0..most {
            subscribe(&mut worker, &mut socket, json!({ "uid": n })).await;
        }
        let more = json!({ "type": "subscribe", "collection": "Product", "uid": "more" });
        send(&mut socket, more).await;
        let refused = socket.event().await;
        assert_eq!(refused["error"]["code"], "LIMIT_EXCEEDED");
        // One in the place of another is not one more.
        subscribe(&mut worker, &mut socket, json!({ "uid": 7 })).await;
    }
}

#[tokio::test]
async fn a_stop_closes_with_going_away() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut socket = open(&mut worker, "ess_sssssssssssssssssssssssssssssssssssssssssss").await;
    subscribe(&mut worker, &mut socket, json!({})).await;
    worker.says(&ToServer::Stop).await;
    assert_eq!(socket.next().await, Said::Close(Some(1001)));
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_unless_it_is_allowed() {
    let allowing = support::Config { cors_origins: "https://a.example".to_owned(), ..config() };
    let mut worker = Worker::start(allowing).await;
    let from = |origin| [("origin", origin)];
    let path = "/websocket?access_token=ess_sssssssssssssssssssssssssssssssssssssssssss";
    let refused = ask_one(worker.address, path, &from("https://b.example")).await;
    assert_eq!(refused.status(), 403);
    let opened = ask_one(worker.address, path, &from("https://a.example")).await;
    assert_eq!(opened.status(), 101);
    assert!(opened.headers().get("sec-websocket-extensions").is_none());
    vouches(&mut worker, Some("ess_sssssssssssssssssssssssssssssssssssssssssss"), true).await;
}

#[tokio::test]
async fn every_reason_that_ends_a_source_is_told_to_its_reader_and_the_socket_stays() {
    let mut worker = Worker::start(config()).await;
    for reason in [
        Reason::PermissionDenied,
        Reason::SourceGone,
        Reason::SchemaChanged,
        Reason::PositionGone,
        Reason::HistoryChanged,
        Reason::EvaluationFailed,
    ] {
        worker.tails(empty_tail(900, 1000)).await;
        let mut socket = open(&mut worker, "ess_sssssssssssssssssssssssssssssssssssssssssss").await;
        subscribe(&mut worker, &mut socket, json!({ "uid": "u" })).await;
        let refusal = Refusal::new(reason, "it is over");
        worker.says(&ToServer::Ended { source: support::SOURCE, refusal }).await;
        let told = socket.event().await;
        let head = (&told["type"], &told["event"], &told["uid"]);
        assert_eq!(head, (&json!("subscription"), &json!("error"), &json!("u")), "{told}");
        assert!(told["error"]["code"].is_string(), "{told}");
        send(&mut socket, json!({ "type": "ping" })).await;
        assert_eq!(socket.event().await["type"], "pong", "{reason:?}");
        worker.hears_close().await;
        drop(socket);
    }
}

//! Native streams over WebSockets of both versions of HTTP.

mod support;

use event_source_door::message::{Config, StartAt, ToServer};
use event_source_model::event::{Reason, Refusal};
use event_source_model::position::Position;
use support::client::json;
use support::socket::{Said, Socket, Two, ask_one};
use support::worker::Worker;
use support::{SOURCE, added, batch, config, empty_tail, opened, tail_of};
use tokio_tungstenite::tungstenite::Message;

const PATH: &str = "/v1/stream?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA";

#[derive(Clone, Copy, Debug)]
enum Http {
    One,
    Two,
}

const BOTH: [Http; 2] = [Http::One, Http::Two];

async fn ask(worker: &Worker, http: Http, path: &str) -> hyper::Response<hyper::body::Incoming> {
    match http {
        Http::One => ask_one(worker.address, path, &[]).await,
        Http::Two => Two::connect(worker.address).await.ask(path).await,
    }
}

/// A socket whose stream is open, behind its first status.
async fn open(worker: &mut Worker, http: Http, path: &str) -> (Socket, StartAt) {
    worker.tails(empty_tail(900, 1000)).await;
    let address = worker.address;
    let asking = async {
        match http {
            Http::One => ask_one(address, path, &[]).await,
            Http::Two => Two::connect(address).await.ask(path).await,
        }
    };
    let (response, start) = tokio::join!(asking, async {
        let (request, start) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
        start
    });
    let mut socket = Socket::of(response).await;
    assert_eq!(socket.event().await["type"], "status");
    (socket, start)
}

#[tokio::test]
async fn an_event_is_a_message_over_both_versions_of_http() {
    for http in BOTH {
        let mut worker = Worker::start(config()).await;
        let (mut socket, start) = open(&mut worker, http, PATH).await;
        assert_eq!(start, StartAt::Token);
        worker.tails(tail_of(1000, 1010, 7, "x")).await;
        worker.tails(tail_of(1010, 1020, 8, "a\nb\u{2028}ü")).await;
        let event = socket.event().await;
        assert_eq!((&event["type"], &event["key"]), (&"add".into(), &7.into()), "{http:?}");
        assert_eq!(socket.event().await["data"]["name"], "a\nb\u{2028}ü", "{http:?}");
        drop(socket);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn events_of_one_piece_are_a_message_each() {
    for http in BOTH {
        let mut worker = Worker::start(config()).await;
        let (mut socket, _) = open(&mut worker, http, PATH).await;
        // What the tail left out is read from the log.
        worker.tails(empty_tail(1050, 1100)).await;
        let (request, _) = worker.hears_read().await;
        let events = (1..=50).map(|id| added(1000 + id, id)).collect();
        worker.reads(request, batch(events, Position::after(1100), true)).await;
        for id in 1..=50 {
            assert_eq!(socket.event().await["key"], id, "{http:?}");
        }
    }
}

#[tokio::test]
async fn parameters_are_those_of_the_stream() {
    for http in BOTH {
        let mut worker = Worker::start(config()).await;
        let (socket, start) = open(&mut worker, http, &format!("{PATH}&cursor=c")).await;
        assert_eq!(start, StartAt::Cursor("c".to_owned()), "{http:?}");
        drop(socket);
        worker.hears_close().await;
        let (_socket, start) = open(&mut worker, http, &format!("{PATH}&snapshot=true")).await;
        assert_eq!(start, StartAt::Snapshot, "{http:?}");
        let unknown = ask(&worker, http, &format!("{PATH}&tokn=x")).await;
        assert_eq!(unknown.status(), 400);
        assert_eq!(json(unknown).await["error"]["message"], "unknown parameter \"tokn\"");
    }
}

#[tokio::test]
async fn who_may_not_read_is_refused_before_there_is_a_socket() {
    for http in BOTH {
        let mut worker = Worker::start(config()).await;
        let missing = ask(&worker, http, "/v1/stream").await;
        assert_eq!(missing.status(), 401, "{http:?}");
        let address = worker.address;
        let asking = async {
            match http {
                Http::One => ask_one(address, PATH, &[]).await,
                Http::Two => Two::connect(address).await.ask(PATH).await,
            }
        };
        let (refused, ()) = tokio::join!(asking, async {
            let (request, _) = worker.hears_open().await;
            let refusal = Refusal::new(Reason::InvalidToken, "invalid event source");
            worker.refuses(request, refusal).await;
        });
        assert_eq!(refused.status(), 401, "{http:?}");
        assert_eq!(json(refused).await["error"]["code"], "unauthorized", "{http:?}");
    }
}

#[tokio::test]
async fn an_error_is_a_message_and_then_a_close_with_its_code() {
    for (reason, code) in [
        (Reason::PermissionDenied, 1008),
        (Reason::SourceGone, 1008),
        (Reason::PositionGone, 1008),
        (Reason::Unavailable, 1013),
        (Reason::Internal, 1011),
    ] {
        for http in BOTH {
            let mut worker = Worker::start(config()).await;
            let (mut socket, _) = open(&mut worker, http, PATH).await;
            let refusal = Refusal::new(reason, "it is over");
            worker.says(&ToServer::Ended { source: SOURCE, refusal }).await;
            let error = socket.event().await;
            assert_eq!(error["type"], "error");
            assert_eq!(error["error"]["message"], "it is over");
            assert_eq!(socket.next().await, Said::Close(Some(code)), "{http:?} {reason:?}");
        }
    }
}

#[tokio::test]
async fn a_planned_stop_is_told_and_goes_away() {
    let mut worker = Worker::start(config()).await;
    let (mut one, _) = open(&mut worker, Http::One, PATH).await;
    let (mut two, _) = open(&mut worker, Http::Two, PATH).await;
    worker.says(&ToServer::Stop).await;
    for socket in [&mut one, &mut two] {
        assert_eq!(socket.event().await["error"]["code"], "unavailable");
        assert_eq!(socket.next().await, Said::Close(Some(1001)));
        // The answer to the close was sent with the next look.
        assert_eq!(socket.next().await, Said::Broken);
    }
    worker.server.await.expect("no panic").expect("a planned stop");
}

#[tokio::test]
async fn a_ping_is_answered_and_what_a_client_says_means_nothing() {
    for http in BOTH {
        let mut worker = Worker::start(config()).await;
        let (mut socket, _) = open(&mut worker, http, PATH).await;
        socket.send(Message::text("hello")).await;
        socket.send(Message::Ping("p".into())).await;
        assert_eq!(socket.next().await, Said::Pong("p".into()), "{http:?}");
        worker.tails(tail_of(1000, 1010, 7, "x")).await;
        assert_eq!(socket.event().await["key"], 7);
        socket.send(Message::Close(None)).await;
        assert!(matches!(socket.next().await, Said::Close(_)), "{http:?}");
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_is_a_close_with_its_code() {
    for http in BOTH {
        let mut worker = Worker::start(config()).await;
        let (mut socket, _) = open(&mut worker, http, PATH).await;
        socket.send(Message::text("x".repeat(200_000))).await;
        socket.send(Message::Ping("p".into())).await;
        assert_eq!(socket.next().await, Said::Pong("p".into()), "{http:?}");
        socket.send(Message::text("x".repeat(300_000))).await;
        assert_eq!(socket.next().await, Said::Close(Some(1009)), "{http:?}");
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn a_slow_reader_goes_on_from_the_log() {
    const SENT: i64 = 20;
    let mut worker = Worker::start(config()).await;
    let (mut socket, _) = open(&mut worker, Http::Two, PATH).await;
    let text = "x".repeat(100_000);
    for id in 1..=SENT {
        worker.tails(tail_of(990 + 10 * id, 1000 + 10 * id, id, &text)).await;
    }
    let end = 1000 + 10 * SENT;
    let reading = async {
        let mut keys = Vec::new();
        while keys.last() != Some(&SENT) {
            keys.extend(socket.event().await["key"].as_i64());
        }
        keys
    };
    // What its queue did not take is read once it has room again.
    let (keys, from) = tokio::join!(reading, async {
        let (request, from) = worker.hears_read().await;
        let first = (from.txn_ts - 1000) / 10 + 1;
        let events = (first..=SENT).map(|id| added(1000 + 10 * id, id)).collect();
        worker.reads(request, batch(events, Position::after(end), true)).await;
        from
    });
    assert!(from.txn_ts < end, "the queue took everything");
    assert_eq!(keys, (1..=SENT).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_of_another_origin_may_open_one_only_where_it_is_allowed() {
    let config = Config { cors_origins: "https://shop.example".to_owned(), ..config() };
    let mut worker = Worker::start(config).await;
    worker.tails(empty_tail(900, 1000)).await;
    let address = worker.address;
    let own = format!("http://{address}");
    for (origin, status) in [
        (Some("https://shop.example"), 101),
        (Some(own.as_str()), 101),
        (None, 101),
        (Some("https://evil.example"), 403),
    ] {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        let (response, ()) = tokio::join!(ask_one(address, PATH, &headers), async {
            let (request, _) = worker.hears_open().await;
            worker.opens(request, opened(1000, 900)).await;
        });
        assert_eq!(response.status(), status, "{origin:?}");
        drop(response);
        worker.hears_close().await;
    }
}

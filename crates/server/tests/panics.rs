//! A panic in each task of the server: that request fails, and nothing else does.
#![cfg(debug_assertions)]

mod support;

use event_source_door::message::ToServer;
use event_source_model::position::Position;
use event_source_server::faults::{Point, arm, is_armed};
use support::client::{Client, Line, Lines, json};
use support::socket::ask_one;
use support::worker::Worker;
use support::{added, batch, config, empty_tail, opened, page, tail_of};

const STREAM: &str = "/v1/stream?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA";
const FEED: &str = "/v1/feed?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA";

/// A stream that is live.
async fn live(worker: &mut Worker, client: &mut Client) -> Lines {
    let (response, ()) = tokio::join!(client.get(STREAM), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
    });
    let mut lines = Lines::of(response);
    assert_eq!(lines.event().await["type"], "status");
    lines
}

/// A server with a good stream on a connection of its own.
struct Ground {
    worker: Worker,
    good: Lines,
    _client: Client,
    at: i64,
}

impl Ground {
    async fn lay() -> Self {
        let mut worker = Worker::start(config()).await;
        worker.tails(empty_tail(900, 1000)).await;
        let mut client = Client::two(worker.address).await;
        let good = live(&mut worker, &mut client).await;
        Self { worker, good, _client: client, at: 1000 }
    }

    /// The good stream gets what happens next, and a new request is answered.
    async fn still_stands(&mut self) {
        let id = self.at;
        self.worker.tails(tail_of(self.at, self.at + 10, id, "x")).await;
        self.at += 10;
        assert_eq!(self.good.keys(1).await, [id]);
        let mut client = Client::two(self.worker.address).await;
        let (answer, ()) = tokio::join!(client.get(FEED), async {
            let (request, _, _) = loop {
                match self.worker.hears().await {
                    event_source_door::message::ToWorker::Page { request, start, page, .. } => {
                        break (request, start, page);
                    }
                    event_source_door::message::ToWorker::Close { .. } => {}
                    other => panic!("{other:?}"),
                }
            };
            self.worker.pages(request, page(Vec::new(), 1000, true)).await;
        });
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_answers_500_and_its_connection_lives() {
    let mut ground = Ground::lay().await;
    for mut client in
        [Client::one(ground.worker.address).await, Client::two(ground.worker.address).await]
    {
        arm(Point::Handler);
        let answer = client.get(FEED).await;
        assert_eq!(answer.status(), 500);
        assert_eq!(json(answer).await["error"]["code"], "internal_error");
        assert_eq!(client.get("/health").await.status(), 200);
    }
    ground.still_stands().await;
}

#[tokio::test]
async fn a_panic_in_the_body_of_a_stream_breaks_that_stream_and_no_other_of_its_connection() {
    let mut ground = Ground::lay().await;
    let mut client = Client::two(ground.worker.address).await;
    let mut bad = live(&mut ground.worker, &mut client).await;
    drop(std::mem::replace(&mut ground.good, live(&mut ground.worker, &mut client).await));
    ground.worker.hears_close().await;
    // Of one grant with the good one: a row for both, of which the first to be asked fails.
    arm(Point::Body);
    ground.worker.tails(tail_of(1000, 1010, 1, "x")).await;
    ground.at = 1010;
    let (first, second) = tokio::join!(bad.next(), ground.good.next());
    let broken = [&first, &second].into_iter().filter(|line| **line == Line::Broken).count();
    assert_eq!(broken, 1, "{first:?} {second:?}");
    if second == Line::Broken {
        ground.good = bad;
    }
    ground.still_stands().await;
}

#[tokio::test]
async fn a_panic_while_an_event_is_written_ends_its_stream() {
    let mut ground = Ground::lay().await;
    let mut client = Client::two(ground.worker.address).await;
    let (response, ()) = tokio::join!(client.get(STREAM), async {
        let (request, _) = ground.worker.hears_open().await;
        ground.worker.opens(request, opened(500, 1000)).await;
    });
    let mut bad = Lines::of(response);
    assert_eq!(bad.event().await["type"], "status");
    let (read, _) = ground.worker.hears_read().await;
    arm(Point::Event);
    ground.worker.reads(read, batch(vec![added(700, 1)], Position::after(1000), true)).await;
    assert_eq!(bad.event().await["error"]["code"], "internal_error");
    assert_eq!(bad.next().await, Line::End);
    ground.worker.hears_close().await;
    ground.still_stands().await;
}

#[tokio::test]
async fn a_panic_over_an_answer_of_the_worker_fails_the_request_that_it_answers() {
    let mut ground = Ground::lay().await;
    let mut client = Client::two(ground.worker.address).await;
    let (answer, ()) = tokio::join!(client.get(FEED), async {
        let (request, _, _) = ground.worker.hears_page().await;
        arm(Point::Message);
        ground.worker.pages(request, page(Vec::new(), 1000, false)).await;
    });
    assert_eq!(answer.status(), 500);
    ground.still_stands().await;
}

#[tokio::test]
async fn after_a_panic_over_what_was_committed_all_streams_read_it_from_the_log() {
    let mut ground = Ground::lay().await;
    arm(Point::Message);
    ground.worker.tails(tail_of(1000, 1010, 1, "x")).await;
    let (read, from) = ground.worker.hears_read().await;
    assert_eq!(from, Position::after(1000));
    ground.worker.reads(read, batch(vec![added(1010, 1)], Position::after(1010), true)).await;
    assert_eq!(ground.good.keys(1).await, [1]);
    ground.worker.tails(empty_tail(1000, 1010)).await;
    ground.at = 1010;
    ground.still_stands().await;
}

#[tokio::test]
async fn after_a_panic_over_lost_rights_nobody_goes_on_by_them() {
    let mut ground = Ground::lay().await;
    arm(Point::Message);
    let refusal = event_source_model::event::Refusal::new(
        event_source_model::event::Reason::PermissionDenied,
        "no more",
    );
    ground.worker.says(&ToServer::Lost { grant: support::GRANT, refusal }).await;
    assert_eq!(ground.good.event().await["error"]["code"], "internal_error");
    assert_eq!(ground.good.next().await, Line::End);
}

#[tokio::test]
async fn a_panic_at_the_door_fails_the_request_that_was_being_sent() {
    let mut ground = Ground::lay().await;
    let mut client = Client::two(ground.worker.address).await;
    arm(Point::Door);
    let answer = client.get(FEED).await;
    assert_eq!(answer.status(), 500);
    ground.still_stands().await;
}

#[tokio::test]
async fn a_panic_in_a_connection_or_before_it_ends_no_other() {
    let mut ground = Ground::lay().await;
    for point in [Point::Accept, Point::Connection] {
        arm(point);
        let socket = tokio::net::TcpStream::connect(ground.worker.address).await;
        let mut socket = socket.expect("the server listens");
        let mut nothing = [0; 1];
        let read = tokio::io::AsyncReadExt::read(&mut socket, &mut nothing);
        let read = tokio::time::timeout(support::worker::PATIENCE, read).await.expect("its end");
        assert!(matches!(read, Ok(0) | Err(_)), "{point:?}");
        ground.still_stands().await;
    }
}

#[tokio::test]
async fn a_panic_in_a_socket_ends_that_socket() {
    let mut ground = Ground::lay().await;
    arm(Point::Socket);
    let address = ground.worker.address;
    let opening = ask_one(address, STREAM, &[]);
    let (socket, ()) = tokio::join!(opening, async {
        let (request, _) = ground.worker.hears_open().await;
        ground.worker.opens(request, opened(1000, 900)).await;
    });
    drop(socket);
    ground.worker.hears_close().await;
    assert!(!is_armed(Point::Socket));
    ground.still_stands().await;
}

#[tokio::test]
async fn a_panic_in_what_time_brings_is_over_with_the_next_look() {
    let quick = event_source_door::message::Config { status_interval_ms: 100, ..config() };
    let mut worker = Worker::start(quick).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let mut lines = live(&mut worker, &mut client).await;
    arm(Point::Tick);
    for _ in 0..3 {
        assert_eq!(lines.event().await["type"], "status");
    }
    assert!(!is_armed(Point::Tick));
}

//! What the server holds in memory for clients that take nothing, and that it gives all of it back.

mod support;

use std::time::Duration;

use bytes::Bytes;
use event_source_door::message::{Config, Opened, ToWorker};
use event_source_model::event::{Event, EventType, Page};
use event_source_model::image::Key;
use event_source_model::position::Position;
use event_source_model::snapshot::Snapshot;
use event_source_model::source::Start;
use event_source_model::value::Value;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::client::{Client, request};
use support::worker::{PATIENCE, Process, Worker};
use support::{batch, config, empty_tail, opened, page, row, tail_seen_by};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MB: usize = 1 << 20;
const TOKEN: &str = "est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA";

fn roomy() -> Config {
    Config { max_clients: 10_000, max_streams: 10_000, ..config() }
}

/// A row whose text is so long.
fn large(id: i64, length: usize) -> Event {
    Event {
        kind: EventType::Add,
        position: Position::at(1_005, id as u32),
        key: Some(Key(vec![Value::BigInt(id)])),
        before: None,
        after: Some(row(id, &"x".repeat(length))),
    }
}

type Sender = http2::SendRequest<Full<Bytes>>;

/// A client that opens no window for what it asks.
async fn shut(worker: &Worker) -> Sender {
    let io = TokioIo::new(TcpStream::connect(worker.address).await.expect("the server listens"));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0).initial_connection_window_size(65_535);
    let (sender, connection) = builder.handshake(io).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Full<Bytes>> {
    request("GET", path, &[], "")
}

/// Sends what an idle moment lets be given back, and waits for it.
async fn is_back(process: &Process, most: usize) {
    let back = async {
        while process.memory() > most {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, back).await;
    assert!(in_time.is_ok(), "it holds {} MB, not {}", process.memory() / MB, most / MB);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_huge_row_is_given_back_and_its_peak_is_three_of_it_at_most() {
    const ROW: usize = 150 * MB;
    let (mut worker, process) = Worker::start_executable(roomy()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two_with(worker.address, 16 << 20).await;
    let path = format!("/v1/stream?token={TOKEN}");
    let (response, ()) = tokio::join!(client.get(&path), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(500, 1000)).await;
    });
    let (read, _) = worker.hears_read().await;
    let (before, at_first) = (process.memory(), process.peak());
    let mut body = response.into_body();
    // Two lines: a status, and the row.
    let (read_bytes, ()) = tokio::join!(
        async {
            let (mut bytes, mut lines) = (0, 0);
            while lines < 2 {
                let frame =
                    tokio::time::timeout(PATIENCE, body.frame()).await.expect("more in time");
                let data = frame.expect("no end").expect("unbroken").into_data().expect("data");
                lines += data.iter().filter(|byte| **byte == b'\n').count();
                bytes += data.len();
            }
            bytes
        },
        async {
            let batch = batch(vec![large(1, ROW)], Position::after(1010), true);
            worker.reads(read, batch).await;
        }
    );
    assert!((ROW..ROW + 1000).contains(&read_bytes), "{read_bytes}");
    let peak = process.peak() - at_first;
    // It is held twice; the third are pages that the allocator gives back half a second later.
    assert!(peak < 3 * ROW + 16 * MB, "{} MB for a row of {} MB", peak / MB, ROW / MB);
    // The stream is still open.
    is_back(&process, before + 16 * MB).await;
}

/// Answers what asks for a row with one that is so large, until nothing is asked any more.
async fn serve(worker: &mut Worker, length: usize) -> usize {
    let mut served = 0;
    while let Some(message) = worker.hears_within(Duration::from_secs(1)).await {
        match message {
            ToWorker::Open { request, first, .. } => {
                let seen = Start { closed: 1000, seen: Vec::new() };
                let begins = Snapshot { behind: Some(Vec::new()), saw: seen };
                let position = Position::after(1000).having_seen(Some(Box::new(begins)));
                let reads = first.is_some();
                worker.opens(request, Opened { position, reads, ..opened(1000, 900) }).await;
                if reads {
                    served += 1;
                    worker.reads(request, rows(length)).await;
                }
            }
            ToWorker::Read { request, .. } => {
                served += 1;
                worker.reads(request, rows(length)).await;
            }
            ToWorker::Page { request, .. } => {
                served += 1;
                let page = Page { has_next: true, ..page(vec![large(1, length)], 1005, true) };
                worker.pages(request, page).await;
            }
            ToWorker::Close { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    served
}

/// A part of a snapshot, behind which there is more.
fn rows(length: usize) -> event_source_door::message::Batch {
    let seen = Start { closed: 1000, seen: Vec::new() };
    let behind = Snapshot { behind: Some(vec!["1".to_owned()]), saw: seen };
    let position = Position::after(1000).having_seen(Some(Box::new(behind)));
    batch(vec![large(1, length)], position, false)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_read_for_streams_of_a_connection_that_takes_nothing() {
    const STREAMS: usize = 400;
    let (mut worker, process) = Worker::start_executable(roomy()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let before = process.memory();
    let client = shut(&worker).await;
    let mut answers = JoinSet::new();
    for _ in 0..STREAMS {
        let sent =
            client.clone().send_request(get(&format!("/v1/stream?snapshot=true&token={TOKEN}")));
        answers.spawn(sent);
    }
    let served = serve(&mut worker, 8 * MB).await;
    assert!(served <= 16, "{served} rows were read");
    let held = process.memory() - before;
    assert!(held < 40 * MB, "{} MB are held", held / MB);
    answers.shutdown().await;
    drop(client);
    is_back(&process, before + 16 * MB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_read_for_a_connection_that_takes_nothing_and_none_is_held_when_it_is_gone() {
    const PAGES: usize = 900;
    let (mut worker, process) = Worker::start_executable(roomy()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let before = process.memory();
    let client = shut(&worker).await;
    let mut answers = JoinSet::new();
    for _ in 0..PAGES {
        answers.spawn(client.clone().send_request(get(&format!("/v1/feed?token={TOKEN}"))));
    }
    let served = serve(&mut worker, 4 * MB).await;
    assert!(served <= 200, "{served} pages were read");
    let held = process.memory() - before;
    assert!(held < 60 * MB, "{} MB are held", held / MB);
    answers.shutdown().await;
    drop(client);
    is_back(&process, before + 16 * MB).await;
}

/// A body that begins and does not end.
async fn begin_post(address: std::net::SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    let head = format!("POST /v1/feed HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", MB - 1);
    socket.write_all(head.as_bytes()).await.expect("it reads");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_bodies_hold_a_small_part_of_memory_and_a_short_one_passes_beside_them() {
    let (mut worker, process) = Worker::start_executable(roomy()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let before = process.memory();
    let body = vec![b' '; MB - 2];
    // Many on one connection, each of which has begun.
    let io = TokioIo::new(TcpStream::connect(worker.address).await.expect("the server listens"));
    let (sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut posts = JoinSet::new();
    for _ in 0..300 {
        let (piece, mut sender) = (Bytes::from(body.clone()), sender.clone());
        posts.spawn(async move {
            let begun = stream::iter([Ok::<_, std::io::Error>(Frame::data(piece))]);
            let body = StreamBody::new(begun.chain(stream::pending()));
            let request = Request::post("http://localhost/v1/feed").body(body).expect("a request");
            sender.send_request(request).await.map(|response| response.status())
        });
    }
    // And one on each of many.
    let mut sockets = Vec::new();
    for _ in 0..200 {
        let mut socket = begin_post(worker.address).await;
        let _ = tokio::time::timeout(Duration::from_millis(200), socket.write_all(&body)).await;
        sockets.push(socket);
    }
    let held = process.memory().saturating_sub(before);
    assert!(held < 128 * MB, "{} MB are held", held / MB);
    let mut good = Client::one(worker.address).await;
    let small = format!(r#"{{"token":"{TOKEN}"}}"#);
    let (answer, ()) = tokio::join!(
        good.send(request("POST", "/v1/feed", &[("content-type", "application/json")], &small)),
        async {
            let (request, _, _) = worker.hears_page().await;
            worker.pages(request, page(Vec::new(), 1000, false)).await;
        }
    );
    assert_eq!(answer.status(), 200);
    // Those for which there was no room were told to come again.
    let refused = async {
        while let Some(status) = posts.join_next().await {
            if status.expect("no panic").is_ok_and(|status| status == 503) {
                return;
            }
        }
        panic!("nobody was refused");
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("an answer in time");
    posts.shutdown().await;
    sockets.clear();
    is_back(&process, before + 24 * MB).await;
}

/// The body of a response as it comes, until its end.
async fn rest(response: Response<Incoming>) -> String {
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Each on a connection of its own and of a source of its own, so that none shares its rendering.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_ceiling_the_streams_that_hold_most_are_told_to_come_again() {
    const MEMORY: usize = 10 * MB;
    const STREAMS: u64 = 60;
    let config = Config { server_memory_bytes: MEMORY as u64, tail_memory_bytes: 0, ..roomy() };
    let (mut worker, process) = Worker::start_executable(config).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let mut client = Client::two(worker.address).await;
        let path = format!("/v1/stream?token={TOKEN}");
        let (response, ()) = tokio::join!(client.get(&path), async {
            let (request, _) = worker.hears_open().await;
            let role = number as u32;
            let its = Opened { source: number, grant: number, role, ..opened(1000, 900) };
            worker.opens(request, its).await;
        });
        streams.push((client, response));
    }
    let before = process.memory();
    let text = "x".repeat(15_000);
    let mut at = 1000;
    // All of it would be 15 MB, of which sockets take 4.
    for _ in 0..17 {
        for number in 0..STREAMS {
            worker.tails(tail_seen_by(at, at + 10, 1, &text, &[number])).await;
            at += 10;
        }
    }
    for _ in 0..10 {
        worker.hears_close().await;
    }
    is_back(&process, before + MEMORY + 16 * MB).await;
    let mut texts = JoinSet::new();
    for (client, response) in streams {
        texts.spawn(async move {
            let text = tokio::time::timeout(Duration::from_secs(3), rest(response)).await;
            drop(client);
            text
        });
    }
    let texts = texts.join_all().await;
    // Those that go on never end.
    let ended: Vec<String> = texts.into_iter().flatten().collect();
    assert!(ended.iter().all(|text| text.contains("limit_exceeded")), "not all are told why");
    let few = 10..STREAMS as usize - 5;
    assert!(few.contains(&ended.len()), "{} streams were ended", ended.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_is_forgotten_in_the_middle_of_a_page() {
    let (mut worker, process) = Worker::start_executable(roomy()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let before = process.memory();
    let mut socket = TcpStream::connect(worker.address).await.expect("the server listens");
    let head = format!("GET /v1/feed?token={TOKEN} HTTP/1.1\r\nhost: x\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("it reads");
    let (request, _, _) = worker.hears_page().await;
    worker.pages(request, page(vec![large(1, 60 * MB)], 1005, true)).await;
    let mut some = [0; 1000];
    socket.read_exact(&mut some).await.expect("it begins");
    assert!(process.memory() > before + 40 * MB);
    drop(socket);
    is_back(&process, before + 16 * MB).await;
}

//! The limits of connections and requests, one by one: what a peer gets that lets one pass, and what is free then.

mod support;

use std::time::{Duration, Instant};

use event_source_door::limits::{Limits, PerAddress};
use event_source_door::message::{Config, ToServer};
use support::config;
use support::raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GO_AWAY, HEADERS, PING, PREFACE,
    RESET, Raw, WINDOW_UPDATE, frame, head, header, status,
};
use support::server::{GOOD, SLOW, Server, pause};

fn limited(limits: Limits) -> Config {
    Config { limits, ..config() }
}

/// Times that a test can wait for.
fn short() -> Limits {
    Limits { head_timeout: 400, idle_timeout: 1000, send_timeout: 600, ..Limits::default() }
}

/// Whether the answer of HTTP/2 is 200; other statuses are 0 here.
fn status_of(frame: &Frame) -> u16 {
    assert_eq!(frame.kind, HEADERS);
    match frame.payload.first() {
        Some(0x88) => 200,
        _ => 0,
    }
}

#[test]
fn whatever_comes_in_place_of_a_first_request_a_connection_has_its_time_and_no_more() {
    let server = Server::start(limited(short()));
    let before = server.descriptors();
    let partial = b"GET /health HTTP/1.1\r\nhost: x\r\nx-more: ";
    let openings: [&[u8]; 6] =
        [b"", b"P", &PREFACE[..20], b"PRI * HTTP/2.0\r\n\r\nSN", b"GET /he", partial];
    let mut held: Vec<Raw> = openings
        .iter()
        .map(|opening| {
            let mut raw = Raw::connect(server.address);
            raw.say(opening).expect("it reads");
            raw
        })
        .collect();
    held.push(Raw::two(server.address, &[]));
    // A byte now and then is not a request either.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) && server.descriptors() > before {
        let _ = held[5].say(b"x");
        let _ = held[6].frame(PING, 0, 0, &[0; 8]);
        pause(Duration::from_millis(20));
    }
    for (raw, number) in held.iter_mut().zip(0..) {
        assert!(raw.is_ended(), "connection {number} is held");
    }
    server.wait("their descriptors are free", |server| server.descriptors() <= before);
    assert!(server.log().contains("no whole request came within event_source.head_timeout"));
}

#[test]
fn a_further_head_that_trickles_ends_its_connection() {
    let limits = Limits { idle_timeout: 60_000, ..short() };
    let server = Server::start(limited(limits));
    let mut raw = Raw::connect(server.address);
    assert_eq!(raw.get("/health"), 200);
    pause(Duration::from_millis(600));
    assert_eq!(raw.get("/health"), 200, "between two requests it may be idle");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) && raw.say(b"G").is_ok() {
        pause(Duration::from_millis(50));
    }
    assert!(raw.is_ended());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_idle_connection_is_closed_although_it_answers_pings() {
    let server = Server::start(limited(short()));
    let before = server.descriptors();
    let mut two = Raw::two(server.address, &[]);
    two.ask(1, "/health").expect("it reads");
    let mut one = Raw::connect(server.address);
    assert_eq!(one.get("/health"), 200);
    let began = Instant::now();
    let mut is_told = false;
    while let Some(frame) = two.next_answering() {
        is_told |= frame.kind == GO_AWAY;
        // And sends some of its own.
        let _ = two.frame(PING, 0, 0, &[7; 8]);
    }
    assert!(is_told, "it was told to go away");
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert!(one.is_ended());
    server.wait("their descriptors are free", |server| server.descriptors() <= before);
}

#[test]
fn a_stream_in_progress_is_not_idle() {
    let server = Server::start(limited(short()));
    let mut two = Raw::two(server.address, &[]);
    two.ask(1, &format!("/v1/stream?token={GOOD}")).expect("it reads");
    let mut one = Raw::connect(server.address);
    assert_eq!(one.get(&format!("/v1/stream?token={GOOD}")), 200);
    pause(Duration::from_secs(3));
    two.ask(3, "/health").expect("it reads");
    let answered = loop {
        let frame = two.next_answering().expect("the connection is open");
        assert_ne!(frame.kind, GO_AWAY);
        if frame.stream == 3 {
            break status_of(&frame);
        }
    };
    assert_eq!(answered, 200);
    one.0.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
    assert!(!one.is_ended());
}

#[test]
fn a_stream_that_is_not_taken_is_reset_and_the_others_of_its_connection_go_on() {
    let mut server = Server::start(limited(short()));
    let mut two = Raw::two(server.address, &[(4, 0)]);
    let path = format!("/v1/stream?token={GOOD}");
    two.ask(1, &path).expect("it reads");
    two.ask(3, &path).expect("it reads");
    for stream in [0, 3] {
        two.frame(WINDOW_UPDATE, 0, stream, &10_000_000_u32.to_be_bytes()).expect("it reads");
    }
    let began = Instant::now();
    let mut taken = 0;
    let mut reset = None;
    while reset.is_none() || began.elapsed() < Duration::from_millis(1500) {
        assert!(began.elapsed() < Duration::from_secs(10), "it is never reset");
        server.adds(100);
        let frame = two.next_answering().expect("the connection is open");
        match (frame.kind, frame.stream) {
            (DATA, 3) => taken += 1,
            (DATA, 1) => assert!(frame.payload.is_empty(), "it has no window"),
            (RESET, 1) => reset = Some(began.elapsed()),
            (RESET | GO_AWAY, _) => panic!("{frame:?}"),
            _ => {}
        }
        pause(Duration::from_millis(5));
    }
    assert!(reset.expect("it was reset") >= Duration::from_millis(500));
    assert!(taken > 100, "the other stream got {taken} frames");
    assert!(server.log().contains("nothing was taken within event_source.send_timeout"));
}

#[test]
fn a_window_of_one_byte_is_not_enough() {
    let mut server = Server::start(limited(short()));
    let mut two = Raw::two(server.address, &[(4, 1)]);
    two.ask(1, &format!("/v1/stream?token={GOOD}")).expect("it reads");
    let began = Instant::now();
    loop {
        server.adds(100_000);
        let frame = two.next_answering().expect("the connection is open");
        if frame.kind == DATA {
            // It takes a byte and asks for one more.
            two.frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()).expect("it reads");
        }
        if frame.kind == RESET {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it is never ended");
        pause(Duration::from_millis(1));
    }
}

#[test]
fn a_connection_of_http_1_that_takes_nothing_is_closed() {
    let mut server = Server::start(limited(short()));
    let before = server.descriptors();
    let mut raw = Raw::connect(server.address);
    raw.say(format!("GET /v1/stream?token={GOOD} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
        .expect("it reads");
    server.wait("it is open", |server| server.descriptors() > before);
    let began = Instant::now();
    while server.descriptors() > before {
        server.adds(100_000);
        assert!(began.elapsed() < Duration::from_secs(20), "it is never closed");
        pause(Duration::from_millis(2));
    }
    drop(raw);
}

#[test]
fn beyond_the_most_clients_only_health_checks_are_answered() {
    let config = Config { max_clients: 3, ..config() };
    let server = Server::start(config);
    let mut clients: Vec<_> = (0..3).map(|_| Raw::connect(server.address)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/v1/feed?token=est_x"), 401);
    }
    for _ in 0..100 {
        let mut probe = Raw::connect(server.address);
        assert_eq!(probe.get("/health"), 200);
        let mut probe = Raw::connect(server.address);
        assert_eq!(probe.get("/ready"), 200);
        let mut client = Raw::connect(server.address);
        client
            .say(b"GET /v1/feed?token=est_x HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .expect("it reads");
        let answer = client.hear();
        assert_eq!(status(&answer), 429, "{answer}");
        assert!(answer.contains("retry-after: 1"), "{answer}");
        assert!(answer.contains("event_source.max_clients limits them"), "{answer}");
    }
    drop(clients);
    server.wait("there is room again", |server| {
        Raw::connect(server.address).get("/v1/feed?token=est_x") == 401
    });
    assert!(server.log().contains("event_source.max_clients is reached"));
}

#[test]
fn connections_that_say_nothing_cannot_take_the_health_checks_places_for_long() {
    let config = Config { max_clients: 1, limits: short(), ..config() };
    let server = Server::start(config);
    let mut first = Raw::connect(server.address);
    assert_eq!(first.get(&format!("/v1/stream?token={GOOD}")), 200);
    let before = server.descriptors();
    let held: Vec<_> = (0..200).map(|_| Raw::connect(server.address)).collect();
    server.wait("a health check is answered", |server| {
        Raw::connect(server.address).get("/health") == 200
    });
    server.wait("they are gone", |server| server.descriptors() <= before);
    drop(held);
}

#[test]
fn an_address_has_its_share_of_the_connections() {
    let limits = Limits { max_clients_per_address: PerAddress::Everybody(2), ..Limits::default() };
    let server = Server::start(limited(limits));
    let mut held: Vec<_> = (0..2).map(|_| Raw::connect(server.address)).collect();
    for client in &mut held {
        assert_eq!(client.get("/v1/feed?token=est_x"), 401);
    }
    let mut more = Raw::connect(server.address);
    more.say(b"GET /v1/feed?token=est_x HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
    let answer = more.hear();
    assert_eq!(status(&answer), 429);
    assert!(answer.contains("event_source.max_clients_per_address limits them"), "{answer}");
    assert_eq!(Raw::connect(server.address).get("/health"), 200);
    drop(held);
    server.wait("there is room again", |server| {
        Raw::connect(server.address).get("/v1/feed?token=est_x") == 401
    });
}

#[test]
fn the_machine_itself_is_not_limited_by_default() {
    let limits = Limits {
        max_clients_per_address: PerAddress::of(-1, 2),
        max_requests_per_second: PerAddress::of(-1, 1),
        ..Limits::default()
    };
    let server = Server::start(limited(limits));
    let mut held: Vec<_> = (0..20).map(|_| Raw::connect(server.address)).collect();
    for client in &mut held {
        assert_eq!(client.get("/v1/feed?token=est_x"), 401);
    }
}

#[test]
fn an_address_may_ask_so_often_and_health_checks_always() {
    let limits = Limits { max_requests_per_second: PerAddress::Everybody(10), ..Limits::default() };
    let server = Server::start(limited(limits));
    let mut client = Raw::connect(server.address);
    let statuses: Vec<_> = (0..300).map(|_| client.get("/v1/feed?token=est_x")).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    // Those of ten seconds are saved up, and some more are earned meanwhile.
    assert!((100..=200).contains(&refused), "{refused} of 300 were refused");
    client.say(b"GET /v1/feed?token=est_x HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    let answer = client.hear();
    assert!(answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("event_source.max_requests_per_second limits them"), "{answer}");
    for _ in 0..100 {
        assert_eq!(client.get("/health"), 200);
    }
    server.wait("it may ask again", |_| client.get("/v1/feed?token=est_x") == 401);
}

#[test]
fn a_head_may_have_so_many_bytes_and_headers() {
    let limits = Limits { max_head_size: 8192, max_headers: 20, ..Limits::default() };
    let server = Server::start(limited(limits));
    let ask = |headers: &str| {
        let mut raw = Raw::connect(server.address);
        raw.say(format!("GET /health HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes())
            .expect("it reads");
        status(&raw.hear())
    };
    assert_eq!(ask(&"x-a: b\r\n".repeat(19)), 200);
    assert_eq!(ask(&"x-a: b\r\n".repeat(20)), 431);
    assert_eq!(ask(&format!("x-a: {}\r\n", "b".repeat(8000))), 200);
    assert_eq!(ask(&format!("x-a: {}\r\n", "b".repeat(8200))), 431);
}

#[test]
fn a_head_of_http_2_may_have_so_many_bytes_and_headers() {
    let limits = Limits { max_head_size: 8192, max_headers: 20, ..Limits::default() };
    let server = Server::start(limited(limits));
    let ask = |count: usize, length: usize| {
        let mut two = Raw::two(server.address, &[]);
        let mut block = head("GET", "/v1/feed?token=est_x");
        for _ in 0..count {
            header(&mut block, "x-a", &"b".repeat(length));
        }
        two.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block).expect("it reads");
        loop {
            let frame = two.next_answering().expect("the connection is open");
            if frame.kind == HEADERS {
                // The status is text in Huffman's code, the first header.
                break frame.payload.get(..4).expect("a status").to_vec();
            }
        }
    };
    let fine = ask(15, 10);
    let many = ask(30, 10);
    let long = ask(100, 120);
    assert_ne!(fine, many, "30 headers are too many");
    assert_eq!(many, long, "12 kB are too long");
}

#[test]
fn a_connection_has_so_many_requests_at_a_time() {
    let limits = Limits { max_streams_per_connection: 3, ..Limits::default() };
    let server = Server::start(limited(limits));
    let mut two = Raw::two(server.address, &[]);
    for stream in [1, 3, 5, 7] {
        two.ask(stream, &format!("/v1/stream?token={GOOD}")).expect("it reads");
    }
    loop {
        let frame = two.next_answering().expect("the connection is open");
        if frame.kind == RESET {
            // REFUSED_STREAM: it may be asked again.
            assert_eq!((frame.stream, frame.payload), (7, vec![0, 0, 0, 7]));
            break;
        }
    }
}

#[test]
fn a_client_may_cancel_all_that_it_asked_for_at_once() {
    const CANCELLED: u32 = 300;
    let mut server = Server::start(Config { max_streams: 10_000, ..config() });
    let mut two = Raw::two(server.address, &[]);
    two.ask(1, &format!("/v1/stream?token={GOOD}")).expect("it reads");
    let slow = head("GET", &format!("/v1/stream?token={SLOW}"));
    let asked = (1..=CANCELLED)
        .flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &slow))
        .collect::<Vec<u8>>();
    // CANCEL
    let reset = |n| frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes());
    let cancelled = (1..=CANCELLED).flat_map(reset).collect::<Vec<u8>>();
    two.say(&[asked, cancelled].concat()).expect("it reads");
    two.frame(PING, 0, 0, &[9; 8]).expect("it reads");
    while two.next().expect("the connection is open").payload != [9; 8] {}
    loop {
        server.adds(100);
        let frame = two.next_answering().expect("the connection is open");
        assert_ne!(frame.kind, GO_AWAY);
        // The status of the beginning is shorter.
        if frame.kind == DATA && frame.stream == 1 && frame.payload.len() > 180 {
            break;
        }
    }
}

#[test]
fn continuations_without_end_end_their_connection() {
    let server = Server::start(config());
    let mut two = Raw::two(server.address, &[]);
    two.frame(HEADERS, END_STREAM, 1, &head("GET", "/health")).expect("it reads");
    let mut block = Vec::new();
    header(&mut block, "x-a", "b");
    let sent = (0..100_000).take_while(|_| two.frame(CONTINUATION, 0, 1, &block).is_ok()).count();
    assert!(two.is_ended(), "after {sent}");
}

#[test]
fn limits_are_those_of_the_last_reload() {
    let mut server = Server::start(config());
    let mut client = Raw::connect(server.address);
    assert_eq!(client.get("/v1/feed?token=est_x"), 401);
    let limits = Limits { max_requests_per_second: PerAddress::Everybody(1), ..Limits::default() };
    server.says(&ToServer::Config(limited(limits)));
    server.wait("it is refused", |_| client.get("/v1/feed?token=est_x") == 429);
    server.says(&ToServer::Config(config()));
    server.wait("it is let in", |_| client.get("/v1/feed?token=est_x") == 401);
}

#[test]
fn a_peer_of_http_2_that_only_answers_has_an_end_also_without_reading() {
    // The answers to its pings fill its buffers; then nothing more of it is read.
    let server = Server::start(limited(short()));
    let before = server.descriptors();
    let mut two = Raw::two(server.address, &[]);
    two.ask(1, "/health").expect("it reads");
    let pings: Vec<u8> = (0..1000).flat_map(|_| frame(PING, 0, 0, &[1; 8])).collect();
    while two.say(&pings).is_ok() {}
    server.wait("it is gone", |server| server.descriptors() <= before);
    assert!(server.memory() < 100_000, "{} kB", server.memory());
    let _ = two.frame(PING, ACK, 0, &[0; 8]);
}

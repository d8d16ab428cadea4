//! Hostile clients against the executable. Each test ends with the same three things: a good client was served
//! meanwhile, the memory is below a ceiling, and nothing of the attack is left: no descriptor and no place.

mod support;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use event_source_door::limits::Limits;
use event_source_door::message::Config;
use support::config;
use support::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RESET, Raw, SETTINGS,
    WINDOW_UPDATE, frame, head, header, status,
};
use support::server::{GOOD, SLOW, Server, pause};

/// Times that a test can wait for.
fn start(max_clients: u32) -> Server {
    let limits =
        Limits { head_timeout: 2000, idle_timeout: 5000, send_timeout: 1000, ..Limits::default() };
    Server::start(Config { max_clients, max_streams: 1_000_000, limits, ..config() })
}

/// Kilobytes that an attack may take besides what the server has already.
const MEMORY: u64 = 64 * 1024;

/// What was there before an attack.
struct Before {
    descriptors: usize,
    memory: u64,
}

impl Before {
    fn of(server: &Server) -> Self {
        // What the first requests make for good.
        let descriptors = server.descriptors();
        for _ in 0..20 {
            assert_eq!(Raw::connect(server.address).get("/v1/feed?token=est_bad"), 401);
        }
        server.wait("they are gone", |server| server.descriptors() <= descriptors);
        Self { descriptors, memory: server.memory() }
    }

    fn check(&self, server: &Server, extra: u64) {
        let memory = server.memory();
        assert!(memory < self.memory + extra, "{memory} kB after {} kB", self.memory);
    }

    /// To be called when the attackers have gone, or been cut.
    fn nothing_is_left(&self, server: &Server, max_clients: usize) {
        server.wait("its descriptors are free", |server| server.descriptors() <= self.descriptors);
        // As many can come as could before.
        let all: Vec<_> = (0..max_clients)
            .map(|_| {
                let mut client = Raw::connect(server.address);
                assert_eq!(client.get("/v1/feed?token=est_bad"), 401, "a place is left behind");
                client
            })
            .collect();
        drop(all);
    }
}

/// Asks again and again; gives the longest wait.
fn good_client(address: SocketAddr, is_over: &AtomicBool) -> (Duration, usize) {
    let mut client = Raw::connect(address);
    let (mut longest, mut count) = (Duration::ZERO, 0);
    loop {
        let began = Instant::now();
        assert_eq!(client.get("/v1/feed?token=est_bad"), 401);
        longest = longest.max(began.elapsed());
        count += 1;
        if is_over.load(SeqCst) {
            return (longest, count);
        }
        pause(Duration::from_millis(5));
    }
}

/// Runs an attack beside a good client.
fn beside_a_good_client(server: &Server, attack: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let address = server.address;
    std::thread::scope(|scope| {
        let good = scope.spawn(|| good_client(address, &is_over));
        let attacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attack));
        is_over.store(true, SeqCst);
        let (longest, count) = good.join().expect("the good client is served");
        if let Err(panic) = attacked {
            std::panic::resume_unwind(panic);
        }
        // Seen: a third of a second, with other tests beside.
        assert!(longest < Duration::from_secs(4), "one of {count} answers took {longest:?}");
    });
}

/// As many connections as this process may have.
fn many() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it is there");
    let soft: usize = line
        .split_ascii_whitespace()
        .nth(3)
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(usize::MAX);
    (soft / 2).min(3000)
}

#[test]
fn thousands_of_heads_that_trickle() {
    let server = start(10_000);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        let mut held: Vec<_> = (0..many()).map(|_| Raw::connect(server.address)).collect();
        let head = b"GET /v1/stream?token=est_bad HTTP/1.1\r\nhost: localhost\r\n";
        for byte in head.iter().take(20) {
            for raw in &mut held {
                let _ = raw.say(&[*byte]);
            }
            pause(Duration::from_millis(20));
        }
        before.check(&server, MEMORY);
        server.wait("they are closed", |server| server.descriptors() <= before.descriptors + 2);
    });
    before.nothing_is_left(&server, 100);
}

#[test]
fn connections_that_only_begin_a_preface_do_not_lock_out_the_others() {
    const MOST: u32 = 300;
    let server = start(MOST);
    let before = Before::of(&server);
    let mut held: Vec<_> = (0..MOST + 3).map(|_| Raw::connect(server.address)).collect();
    for raw in &mut held {
        let _ = raw.say(b"P");
    }
    server.wait("somebody else is served", |server| {
        Raw::connect(server.address).get("/v1/feed?token=est_bad") == 401
    });
    before.check(&server, MEMORY);
    drop(held);
    before.nothing_is_left(&server, MOST as usize);
}

/// A request that the worker does not answer, and its end.
fn cancelled(stream: u32) -> Vec<u8> {
    let path = format!("/v1/stream?token={SLOW}");
    let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", &path));
    // CANCEL
    bytes.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
    bytes
}

#[test]
fn rapid_resets_in_one_piece() {
    let server = start(100);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        for _ in 0..10 {
            let mut two = Raw::two(server.address, &[]);
            let bytes: Vec<u8> = (0..20_000).flat_map(|n| cancelled(2 * n + 1)).collect();
            let _ = two.say(&bytes);
            assert!(two.is_ended(), "20,000 requests were cancelled");
        }
        before.check(&server, MEMORY);
    });
    before.nothing_is_left(&server, 100);
}

#[test]
fn rapid_resets_of_requests_that_have_begun() {
    let server = start(100);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        let mut two = Raw::two(server.address, &[]);
        // After each few the server has had its turn: it answers a ping.
        let mut sent = 0;
        for n in 0..10_000 {
            let bytes: Vec<u8> = (0..10).flat_map(|m| cancelled(2 * (10 * n + m) + 1)).collect();
            let is_sent = two.say(&bytes).is_ok() && two.frame(PING, 0, 0, &[0; 8]).is_ok();
            if !is_sent || answers_no_more(&mut two) {
                break;
            }
            sent += 10;
        }
        assert!(sent < 5000, "{sent} requests were cancelled");
        before.check(&server, MEMORY);
    });
    before.nothing_is_left(&server, 100);
}

fn answers_no_more(two: &mut Raw) -> bool {
    while let Some(frame) = two.next() {
        if frame.kind == PING && frame.flags == 1 {
            return false;
        }
    }
    true
}

/// Sends the same for as long as it is taken, or so many bytes; with what is answered read or not.
fn flood(server: &Server, opening: &[u8], piece: &[u8], is_read: bool) -> usize {
    const MOST: usize = 64 << 20;
    let mut two = Raw::two(server.address, &[]);
    two.say(opening).expect("it reads");
    let mut sink = two.0.try_clone().expect("a descriptor more");
    let reading = is_read.then(|| {
        std::thread::spawn(move || {
            let mut bytes = [0; 64 * 1024];
            while let Ok(1..) = sink.read(&mut bytes) {}
        })
    });
    let many = piece.repeat((64 * 1024 / piece.len()).max(1));
    let mut sent = 0;
    while sent < MOST && two.0.write_all(&many).is_ok() {
        sent += many.len();
    }
    drop(two);
    if let Some(reading) = reading {
        reading.join().expect("no panic");
    }
    sent
}

#[test]
fn floods_of_frames_that_ask_for_nothing() {
    let asked = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/health"));
    let path = format!("/v1/stream?token={GOOD}");
    let posted = frame(HEADERS, END_HEADERS, 1, &head("POST", &path));
    let floods = [
        ("pings", PING, 0, 0, vec![0; 8]),
        ("settings", SETTINGS, 0, 0, vec![0, 4, 0, 0, 0xff, 0xff]),
        ("empty settings", SETTINGS, 0, 0, Vec::new()),
        ("windows", WINDOW_UPDATE, 0, 0, vec![0, 0, 0, 1]),
        ("priorities", PRIORITY, 0, 3, vec![0, 0, 0, 0, 1]),
        ("empty data", DATA, 0, 1, Vec::new()),
        ("unknown frames", 99, 0, 0, vec![0; 100]),
    ];
    let server = start(100);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        for (what, kind, flags, stream, payload) in &floods {
            let opening = if *kind == DATA { &posted } else { &asked };
            for is_read in [true, false] {
                let sent =
                    flood(&server, opening, &frame(*kind, *flags, *stream, payload), is_read);
                // What may come for no reason, and what is in buffers on the way.
                assert!(sent < 24 << 20, "{what}: {sent} bytes were taken");
            }
        }
        before.check(&server, MEMORY);
    });
    before.nothing_is_left(&server, 100);
}

#[test]
fn a_hundred_thousand_headers() {
    let server = start(100);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        for _ in 0..10 {
            let mut one = Raw::connect(server.address);
            let _ = one.say(b"GET /health HTTP/1.1\r\nhost: x\r\n");
            let _ = one.say(&b"x-a: b\r\n".repeat(100_000));
            let answer = one.hear();
            assert!(matches!(status(&answer), 0 | 431), "{answer}");
            assert!(one.is_ended());

            let mut two = Raw::two(server.address, &[]);
            let mut block = head("GET", "/health");
            let _ = two.frame(HEADERS, END_STREAM, 1, &block);
            for _ in 0..100 {
                block.clear();
                for _ in 0..1000 {
                    header(&mut block, "x-a", "b");
                }
                let _ = two.frame(CONTINUATION, 0, 1, &block);
            }
            let _ = two.frame(CONTINUATION, END_HEADERS, 1, &[]);
            assert!(two.is_ended());
        }
        before.check(&server, MEMORY);
    });
    before.nothing_is_left(&server, 100);
}

#[test]
fn a_body_of_a_gigabyte() {
    const BODY: usize = 1 << 30;
    let server = start(100);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        let piece = vec![b'x'; 1 << 20];
        let mut heads = vec![format!("content-length: {BODY}")];
        heads.push("transfer-encoding: chunked".to_owned());
        for kind in heads {
            let mut one = Raw::connect(server.address);
            let head = format!("POST /v1/feed HTTP/1.1\r\nhost: x\r\n{kind}\r\n\r\n");
            one.say(head.as_bytes()).expect("it reads");
            let is_chunked = kind.ends_with("chunked");
            let mut sent = 0;
            while sent < BODY {
                let is_sent = !is_chunked || one.say(b"100000\r\n").is_ok();
                if !is_sent || one.say(&piece).is_err() || is_chunked && one.say(b"\r\n").is_err() {
                    break;
                }
                sent += piece.len();
            }
            assert!(sent < 64 << 20, "{kind}: {sent} bytes were taken");
        }
        for _ in 0..10 {
            let mut two = Raw::two(server.address, &[]);
            let _ = two.frame(HEADERS, END_HEADERS, 1, &head("POST", "/v1/feed"));
            // Whatever the windows say.
            let data = frame(DATA, 0, 1, &piece[..16_384]);
            let sent = (0..BODY / 16_384).take_while(|_| two.say(&data).is_ok()).count() * 16_384;
            assert!(sent < 64 << 20, "{sent} bytes were taken");
        }
        before.check(&server, MEMORY);
    });
    before.nothing_is_left(&server, 100);
}

#[test]
fn sockets_that_are_half_closed() {
    let server = start(500);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        let beginnings = [
            String::new(),
            "P".to_owned(),
            "GET /v1/feed HTT".to_owned(),
            "POST /v1/feed HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf".to_owned(),
            format!("GET /v1/stream?token={GOOD} HTTP/1.1\r\nhost: x\r\n\r\n"),
            format!("GET /v1/stream?token={SLOW} HTTP/1.1\r\nhost: x\r\n\r\n"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ];
        let mut held = Vec::new();
        for beginning in beginnings.iter().cycle().take(350) {
            let mut raw = Raw::connect(server.address);
            let _ = raw.say(beginning.as_bytes());
            raw.half_close();
            held.push(raw);
        }
        let mut two: Vec<_> = (0..50).map(|_| Raw::two(server.address, &[])).collect();
        for raw in &mut two {
            let _ = raw.ask(1, &format!("/v1/stream?token={GOOD}"));
            raw.half_close();
        }
        server.wait("they are closed", |server| server.descriptors() <= before.descriptors + 2);
        before.check(&server, MEMORY);
    });
    before.nothing_is_left(&server, 500);
}

#[test]
fn windows_of_nothing_and_of_one_byte() {
    let mut server = start(200);
    let before = Before::of(&server);
    let mut held = Vec::new();
    for window in [0, 1].into_iter().cycle().take(20) {
        let mut two = Raw::two(server.address, &[(4, window)]);
        for n in 0..10 {
            two.ask(4 * n + 1, &format!("/v1/stream?token={GOOD}")).expect("it reads");
            two.ask(4 * n + 3, "/nothing").expect("it reads");
        }
        held.push(two);
    }
    let began = Instant::now();
    while server.descriptors() > before.descriptors {
        server.adds(10_000);
        assert!(began.elapsed() < Duration::from_secs(30), "they are never ended");
        pause(Duration::from_millis(10));
    }
    before.check(&server, MEMORY);
    drop(held);
    before.nothing_is_left(&server, 200);
}

#[test]
fn bad_tokens_by_the_thousand() {
    const CLIENTS: usize = 20;
    const EACH: usize = 1000;
    let server = start(100);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let address = server.address;
                scope.spawn(move || {
                    let mut raw = Raw::connect(address);
                    for n in 0..EACH {
                        let path = format!("/v1/stream?token=est_hidden{client}x{n}");
                        assert_eq!(raw.get(&path), 401);
                    }
                });
            }
        });
        before.check(&server, MEMORY);
    });
    before.nothing_is_left(&server, 100);
    let log = server.log();
    let told = log.matches("refused GET /v1/feed of 127.0.0.1: 401 unauthorized").count();
    // Those of one minute, or of two.
    assert!((10..=20).contains(&told), "{log}");
    assert!(log.lines().count() < 50, "{} lines were logged", log.lines().count());
    assert!(!log.contains("est_"), "a token is in the log");
}

/// Opens a WebSocket by hand.
fn socket(server: &Server, token: &str) -> Raw {
    let mut raw = Raw::connect(server.address);
    let request = format!(
        "GET /v1/stream?token={token} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    raw.say(request.as_bytes()).expect("it reads");
    assert_eq!(status(&raw.hear()), 101);
    raw
}

/// A frame of a WebSocket, masked with nothing.
fn message(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    let mut bytes = vec![opcode, 0x80 | length, 0, 0, 0, 0];
    bytes.extend(payload);
    bytes
}

#[test]
fn floods_of_websocket_frames_by_peers_that_take_nothing() {
    let server = start(100);
    let before = Before::of(&server);
    beside_a_good_client(&server, || {
        for (what, piece) in [
            ("pings", message(0x89, &[b'x'; 125])),
            ("empty pings", message(0x89, b"")),
            ("pongs", message(0x8a, b"")),
            ("texts", message(0x81, b"x")),
            ("fragments", message(0x00, b"")),
        ] {
            let many = piece.repeat(10_000);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let mut raw = socket(&server, GOOD);
                        // A message that never ends.
                        if what == "fragments" {
                            let _ = raw.say(&message(0x01, b""));
                        }
                        let mut sent = 0;
                        while sent < 64 << 20 && raw.say(&many).is_ok() {
                            sent += many.len();
                        }
                        assert!(sent < 24 << 20, "{what}: {sent} bytes were taken");
                    });
                }
            });
            before.check(&server, MEMORY);
        }
    });
    before.nothing_is_left(&server, 100);
}

#[test]
fn a_socket_that_pings_too_fast_is_told_so() {
    let server = start(100);
    let mut raw = socket(&server, GOOD);
    let _ = raw.say(&message(0x89, b"").repeat(1000));
    let mut all = Vec::new();
    let _ = raw.0.read_to_end(&mut all);
    let close = [&[0x88, 26, 0x03, 0xf0][..], b"too many control frames"].concat();
    let told = all.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == close[2..4]);
    assert!(told, "no close with 1008: {:?}", &all[all.len().saturating_sub(64)..]);
    server.wait("it is logged", |server| server.log().contains("it sent too much for no reason"));
}

#[test]
fn a_socket_may_ping_as_browsers_and_libraries_do() {
    let server = start(100);
    let mut raw = socket(&server, GOOD);
    let mut ping = |n: u8| {
        raw.say(&message(0x89, &[n])).expect("it reads");
        let mut heard = Vec::<u8>::new();
        while !heard.windows(3).any(|bytes| bytes == [0x8a, 1, n]) {
            let mut bytes = [0; 1024];
            let read = raw.0.read(&mut bytes).expect("a pong in time");
            assert!(read > 0, "it was closed");
            heard.extend(&bytes[..read]);
        }
    };
    for n in 0..50 {
        ping(n);
    }
}

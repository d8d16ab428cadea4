//! A program that is put in the place of `event_source_server` and means harm: it has the door, the listening sockets
//! and what its clients showed it, and does with them what it wants.
//!
//!     hostile HARM SEED REPORT TOKEN TOKEN-OF-ANOTHER
//!
//! Whatever the worker tells it goes into the file REPORT, byte for byte; REPORT.done is made when all the harm is done.
//! Then it stays until the worker has closed the door. Not one of its sockets is its own: it was started as the server
//! is, and did not lock itself in.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "whatever fails here is part of the attack, or ends it")]
#![allow(clippy::exit, reason = "it ends as it likes")]

mod bytes;
mod messages;
mod steal;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use event_source_door::frame::{self, Reader};
use event_source_door::message::{PROTOCOL, ToServer, ToWorker};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

/// A worker that has taken nothing for so long does not want more.
const REFUSED: Duration = Duration::from_secs(2);

/// One attack.
struct Attack {
    door: UnixStream,
    random: SmallRng,
    report: String,
    token: String,
    /// Of a table that the role of `token` may not read.
    other: String,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("HARM SEED REPORT TOKEN TOKEN-OF-ANOTHER");
    let (harm, seed) = (next(), next().parse().expect("a number"));
    let door = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let random = SmallRng::seed_from_u64(seed);
    let mut attack = Attack { door, random, report: next(), token: next(), other: next() };
    match harm.as_str() {
        "say nothing" => {}
        "announce 3 GB" => bytes::announce(&mut attack),
        "stop in a frame" => bytes::stop_in_a_frame(&mut attack),
        "send random bytes" => bytes::random_bytes(&mut attack),
        "send random frames" => bytes::random_frames(&mut attack),
        "nest" => bytes::nest(&mut attack),
        "ask and never read" => bytes::never_read(&mut attack),
        "ask for what swells" => bytes::swell(&mut attack),
        "say what wants no answer" => bytes::unanswered(&mut attack),
        "open without end" => steal::open_without_end(&mut attack),
        "end the sockets" => bytes::end_sockets(&mut attack),
        "send random messages" => messages::any(&mut attack),
        "end anywhere" => messages::end_anywhere(&mut attack),
        "steal" => steal::steal(&mut attack),
        other => panic!("no such harm: {other}"),
    }
    File::create(format!("{}.done", attack.report)).unwrap();
    // Until the end of the door; an error is one.
    while attack.door.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
}

impl Attack {
    fn hello(&mut self) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.say(&ToWorker::Hello { protocol: PROTOCOL, version });
    }

    fn say(&mut self, message: &ToWorker) {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, message).unwrap();
        self.send(&bytes);
    }

    /// Ends the program when the worker has closed the door: the harm was not taken.
    fn send(&mut self, bytes: &[u8]) {
        if self.door.write_all(bytes).is_err() {
            std::process::exit(1);
        }
    }

    /// Sends the same until the worker takes no more of it, or that many bytes. It reads nothing.
    fn flood(&mut self, bytes: &[u8], most: usize) {
        self.door.set_write_timeout(Some(REFUSED)).unwrap();
        let mut sent = 0;
        while sent < most {
            match self.door.write(bytes) {
                // What was cut would not be a frame: the rest of it comes next.
                Ok(n) if n < bytes.len() => {
                    if self.door.write_all(&bytes[n..]).is_err() {
                        return;
                    }
                    sent += bytes.len();
                }
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => std::process::exit(1),
            }
        }
    }

    /// Reads from now on everything that the worker says: into the report, and to whoever wants it.
    fn listen(&self) -> mpsc::Receiver<ToServer> {
        let (heard, hears) = mpsc::channel();
        let mut door = self.door.try_clone().unwrap();
        let mut report = File::create(&self.report).unwrap();
        thread::spawn(move || {
            let mut reader = Reader::new(frame::MAX_FRAME);
            let mut bytes = vec![0; 1 << 16];
            while let Ok(n @ 1..) = door.read(&mut bytes) {
                report.write_all(&bytes[..n]).unwrap();
                reader.feed(&bytes[..n]);
                while let Ok(Some(message)) = reader.next() {
                    // Nobody has to want it.
                    let _ = heard.send(message);
                }
            }
        });
        hears
    }
}

/// Does it again and again for so long.
fn keep_on(time: Duration, mut harm: impl FnMut()) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        harm();
    }
}

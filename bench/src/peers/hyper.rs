//! The floor: a bare hyper server that streams ready-made bytes (`bench/hyper`).

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use event_source_tests::Pid;

use super::played::THREADS;
use crate::fanout::{Subject, pid_of};

/// How its frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Each line is a frame and, above 256 bytes or when alone, a write.
    Vectored,
    /// The frames of many streams leave in one write.
    Coalescing,
}

/// Killed when dropped.
#[derive(Debug)]
pub struct Hyper {
    child: Child,
    address: SocketAddr,
}

impl Hyper {
    pub fn start(executable: &Path, form: Form) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound socket");
        drop(free);
        let form = match form {
            Form::Vectored => "vectored",
            Form::Coalescing => "coalescing",
        };
        let child = Command::new(executable)
            .args([&address.to_string(), &THREADS.to_string(), form])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it was built beside the harness");
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "hyper does not listen");
            std::thread::yield_now();
        }
        Self { child, address }
    }
}

impl Subject for Hyper {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pids(&self) -> Vec<Pid> {
        vec![pid_of(&self.child)]
    }

    fn path(&self) -> String {
        "/".to_owned()
    }

    /// So many events, so many in a frame.
    fn publish(&mut self, events: u64, per_frame: u64) {
        let mut asked = [0; 8];
        asked[..4].copy_from_slice(&(events as u32).to_le_bytes());
        asked[4..].copy_from_slice(&(per_frame as u32).to_le_bytes());
        self.child.stdin.as_mut().expect("piped").write_all(&asked).expect("it is there");
    }
}

impl Drop for Hyper {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

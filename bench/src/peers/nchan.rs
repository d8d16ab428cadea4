//! nginx with nchan: one channel, subscribers by server-sent events, events by POST.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use event_source_tests::{Build, Pid, wait_until};

use super::played::{THREADS, text};
use crate::fanout::{Subject, pid_of};

/// Stopped when dropped, and its folder removed.
#[derive(Debug)]
pub struct Nchan {
    master: Child,
    folder: PathBuf,
    address: SocketAddr,
    publisher: TcpStream,
    /// Reads what nginx answers to the publisher; ends with nginx.
    _reading: JoinHandle<()>,
    sent: u64,
}

impl Nchan {
    /// Whether this machine has it, as `bench/peers.sh` unpacks it.
    #[must_use]
    pub fn is_there() -> bool {
        // Debian's nginx makes its default folders below this one even when it is told of others.
        fs::create_dir_all("/var/lib/nginx").is_ok() && program().exists() && module().exists()
    }

    /// `None` when this machine does not have it.
    pub fn start() -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound socket");
        drop(free);
        let folder = std::env::temp_dir().join(format!("nchan-{}", address.port()));
        fs::create_dir_all(&folder).expect("a folder");
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, text_of(&folder.to_string_lossy(), address))
            .expect("a file in it");
        let master = Command::new(program())
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&configuration)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        wait_until("nginx listens", Duration::from_secs(10), || {
            TcpStream::connect(address).is_ok()
        });
        let publisher = TcpStream::connect(address).expect("nginx listens");
        publisher.set_nodelay(true).expect("a live socket");
        let mut answers = publisher.try_clone().expect("a live socket");
        let reading = std::thread::spawn(move || {
            let mut bytes = [0; 64 * 1024];
            // Its end, by an error or by none, is nginx's.
            while let Ok(1..) = answers.read(&mut bytes) {}
        });
        Some(Self { master, folder, address, publisher, _reading: reading, sent: 0 })
    }
}

impl Subject for Nchan {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pids(&self) -> Vec<Pid> {
        pid_of(&self.master).children()
    }

    fn path(&self) -> String {
        "/sub".to_owned()
    }

    fn accept(&self) -> Option<&'static str> {
        Some("text/event-stream")
    }

    /// A message holds one event, or all that are together.
    fn publish(&mut self, events: u64, together: u64) {
        let mut requests = Vec::new();
        let end = self.sent + events;
        while self.sent < end {
            let until = end.min(self.sent + together);
            let lines: Vec<String> = (self.sent..until).map(line).collect();
            let body = lines.join("\n");
            let head = format!(
                "POST /pub HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            requests.extend(head.as_bytes());
            self.sent = until;
        }
        self.publisher.write_all(&requests).expect("nginx is there");
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        // Its workers end when their master tells them to, not when it is killed.
        let told = Command::new("kill").arg(self.master.id().to_string()).status();
        if !told.is_ok_and(|status| status.success()) {
            // Already gone, then; or it cannot be told, and is ended the hard way.
            let _ = self.master.kill();
        }
        let _ = self.master.wait();
        // What is left of it is a few files in a folder for such.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// As long as what event_source writes for the same.
fn line(number: u64) -> String {
    let txn_ts = 1_700_000_000_000_001 + number;
    let text = text(number);
    format!(
        "{{\"type\":\"add\",\"txn_ts\":{txn_ts},\"cursor\":\"AQcAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAA\",\"key\":7,\"data\":{{\"id\":7,\"name\":\"{text}\"}}}}"
    )
}

fn program() -> PathBuf {
    Build::Bench.root().join("usr/sbin/nginx")
}

fn module() -> PathBuf {
    Build::Bench.root().join("usr/lib/nginx/modules/ngx_nchan_module.so")
}

fn text_of(folder: &str, address: SocketAddr) -> String {
    let module = module();
    let module = module.display();
    format!(
        "load_module {module};
daemon off;
worker_processes {THREADS};
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    server {{
        listen {address} backlog=4096;
        tcp_nodelay on;
        location = /pub {{
            nchan_publisher;
            nchan_channel_id fanout;
            nchan_message_buffer_length 5000;
            nchan_message_timeout 1m;
        }}
        location = /sub {{
            nchan_subscriber eventsource;
            nchan_channel_id fanout;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"
    )
}

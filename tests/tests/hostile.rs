//! A hostile program in the server's place (`tests/src/bin/hostile`): whatever it does with the door, its worker stays,
//! holds little, gives it no row that its streams could not have, and serves again when the right program is back.
//! Another database notices nothing.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use event_source_tests::consume::{Request, Stream};
use event_source_tests::follow::mint;
use event_source_tests::ground::free_port;
use event_source_tests::processes::workers;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Pid, Signal, health, wait_for, wait_until};
use postgres::Client;

/// Of a worker's own memory, with all that was asked of it and is not answered. Seen: 25 MB.
const MOST: u64 = 200 << 20;
/// In the table that nobody but its owner may read.
const SECRET: &[u8] = b"kept from the reader";
/// In the table that the reader reads.
const OPEN: &[u8] = b"for everybody to read";

/// A cluster with two databases that are served; in one of them the server is to be another program.
struct Ground {
    cluster: Cluster,
    worker: Pid,
    /// Of the table that is open to all, as a role that may read no other.
    token: String,
    /// Of the other one, as its owner.
    other: String,
    beside: Beside,
}

/// A stream of the other database, and who writes there.
struct Beside {
    client: Client,
    stream: Stream,
    last: i32,
}

impl Beside {
    fn new(cluster: &Cluster) -> Self {
        let port = free_port();
        cluster.create_database("beside");
        let mut client = cluster.connect_to("beside");
        client
            .batch_execute(
                "CREATE EXTENSION event_source; CREATE TABLE b (id int PRIMARY KEY);
                 SELECT event_source.capture('b')",
            )
            .unwrap();
        let listen = format!("app={}, beside=127.0.0.1:{port}", cluster.http());
        cluster.set("event_source.listen", &listen);
        cluster.reload();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("the other database to be served", LONG, || {
            health(address).is_ok_and(|status| status == 200)
        });
        let token = mint(&mut client, "event_source('b')");
        let stream = Stream::open(address, &Request::new(&token)).unwrap();
        Self { client, stream, last: 0 }
    }

    /// The stream goes on: never cut, nothing missing.
    fn goes_on(&mut self) {
        self.last += 1;
        self.client.execute("INSERT INTO b VALUES ($1)", &[&self.last]).unwrap();
        let event = wait_for("the event", LONG, || {
            self.stream.next(LONG).unwrap().filter(|event| event.kind.is_change())
        });
        assert_eq!(event.key, Some(serde_json::json!(self.last)));
    }
}

impl Ground {
    fn new() -> Self {
        // Queries without a credential are read as one who may read a table: they are not refused at once.
        let cluster = Cluster::options()
            .own_installation()
            .conf("event_source.anonymous_role", "reader")
            .start();
        let mut client = cluster.connect();
        client
            .batch_execute(&format!(
                "CREATE ROLE reader LOGIN; CREATE ROLE owner LOGIN;
                 CREATE TABLE open_t (id int PRIMARY KEY, v text);
                 CREATE TABLE secret_t (id int PRIMARY KEY, v text);
                 ALTER TABLE secret_t OWNER TO owner;
                 GRANT SELECT ON open_t TO reader;
                 SELECT event_source.capture('open_t'), event_source.capture('secret_t');
                 INSERT INTO open_t SELECT n, repeat('{open} ', 40) FROM generate_series(1, 2000) n;
                 INSERT INTO secret_t SELECT n, '{secret}' FROM generate_series(1, 100) n",
                open = String::from_utf8_lossy(OPEN),
                secret = String::from_utf8_lossy(SECRET),
            ))
            .unwrap();
        let token = mint(&mut cluster.connect_as("reader"), "event_source('open_t')");
        let other = mint(&mut cluster.connect_as("owner"), "event_source('secret_t')");
        let (worker, _) = cluster.serving();
        let beside = Beside::new(&cluster);
        Self { cluster, worker, token, other, beside }
    }

    fn executable(&self) -> PathBuf {
        self.cluster.pkglibdir().join("event_source_server")
    }

    fn report(&self) -> PathBuf {
        self.cluster.data().join("report")
    }

    /// Puts the program into the server's place and ends the server; it runs when this returns. How often servers were
    /// started by then.
    fn unleash(&self, harm: &str, seed: u64) -> i64 {
        self.plant(harm, seed);
        let before = self.servers_started();
        self.end_server();
        wait_for("the hostile program to be started", LONG, || {
            Some(self.servers_started()).filter(|&now| now > before)
        })
    }

    fn plant(&self, harm: &str, seed: u64) {
        let (executable, report) = (self.executable(), self.report());
        let kept = executable.with_extension("kept");
        if !kept.exists() {
            fs::rename(&executable, &kept).unwrap();
        }
        for left in [report.clone(), done(&report)] {
            let _absent = fs::remove_file(left);
        }
        // Where the user of the server can reach it.
        let program = executable.with_extension("hostile");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_hostile"), &program).unwrap();
        }
        let Self { token, other, .. } = self;
        let (program, report) = (program.display(), report.display());
        let script =
            format!("#!/bin/sh\nexec '{program}' '{harm}' {seed} '{report}' '{token}' '{other}'\n");
        replace(&executable, &script);
    }

    fn end_server(&self) {
        if let Some(server) = self.server() {
            server.signal(Signal::KILL);
        }
    }

    fn server(&self) -> Option<Pid> {
        self.worker.children().into_iter().next()
    }

    fn servers_started(&self) -> i64 {
        let query = "SELECT servers_started FROM event_source.status";
        self.cluster.connect().query_one(query, &[]).unwrap().get(0)
    }

    /// The worker is the same, holds little, and other databases are served as ever.
    fn is_unharmed(&mut self, harm: &str) {
        let memory = self.worker.own_memory().unwrap_or_else(|| panic!("{harm}: the worker ended"));
        assert!(memory < MOST, "{harm}: the worker holds {} MB", memory >> 20);
        assert_eq!(self.cluster.worker(), Some(self.worker), "{harm}: another worker");
        self.beside.goes_on();
    }

    /// Waits until so many servers have been started since; looks at the worker all the while.
    fn ends_server(&mut self, harm: &str, since: i64, times: i64) {
        wait_until(&format!("{harm}: the worker to end the server"), LONG, || {
            self.is_unharmed(harm);
            self.servers_started() >= since + times
        });
    }

    /// Waits until the harm is done, or its server ended.
    fn is_done(&mut self, harm: &str, since: i64) {
        let done = done(&self.report());
        wait_until(&format!("{harm}: it to be done"), LONG, || {
            self.is_unharmed(harm);
            done.exists() || self.servers_started() > since
        });
    }

    /// The right program again: it serves the same streams.
    fn serves_again(&mut self, harm: &str) {
        let executable = self.executable();
        fs::rename(executable.with_extension("kept"), &executable).unwrap();
        self.end_server();
        let (worker, _) = self.cluster.serving();
        assert_eq!(worker, self.worker, "{harm}");
        let rows = Request::new(&self.token).with_snapshot();
        let mut stream = Stream::open(self.cluster.http(), &rows).unwrap();
        let event = wait_for("a row", LONG, || {
            stream.next(LONG).unwrap().filter(|event| event.kind.is_change())
        });
        assert!(event.key.is_some(), "{harm}");
        self.is_unharmed(harm);
    }
}

fn done(report: &Path) -> PathBuf {
    report.with_extension("done")
}

/// A running program is never written to, and a shell may still read the old script.
fn replace(executable: &Path, script: &str) {
    let new = executable.with_extension("new");
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, executable).unwrap();
}

#[test]
fn a_server_that_sends_nonsense_is_ended_and_its_worker_stays() {
    let mut ground = Ground::new();
    for harm in ["announce 3 GB", "send random bytes", "stop in a frame", "say nothing"] {
        let since = ground.unleash(harm, 1);
        ground.ends_server(harm, since, 1);
    }
    for harm in ["send random frames", "nest"] {
        for seed in 0..8 {
            ground.unleash(harm, seed);
            ground.is_unharmed(harm);
        }
    }
    ground.serves_again("nonsense");
}

#[test]
fn no_flood_of_a_server_fills_its_worker() {
    let mut ground = Ground::new();
    for harm in ["ask and never read", "ask for what swells", "say what wants no answer"] {
        let since = ground.unleash(harm, 1);
        ground.is_done(harm, since);
        ground.is_unharmed(harm);
    }
    ground.serves_again("floods");
}

#[test]
fn no_server_opens_more_streams_than_it_may() {
    let mut ground = Ground::new();
    ground.cluster.set("event_source.max_streams", "100");
    ground.cluster.reload();
    let mut client = ground.cluster.connect();
    let query = "SELECT current_setting('event_source.max_streams')";
    wait_until("the setting to be read", LONG, || {
        client.query_one(query, &[]).unwrap().get::<_, String>(0) == "100"
    });
    let harm = "open without end";
    let since = ground.unleash(harm, 1);
    ground.is_done(harm, since);
    let told = fs::read(ground.report()).unwrap();
    let refused = told.windows(16).filter(|at| at == b"too many streams").count();
    assert!((300..500).contains(&refused), "{refused} of 500 were refused");
    ground.serves_again(harm);
}

#[test]
fn no_message_of_a_server_ends_its_worker_whatever_is_in_it() {
    let mut ground = Ground::new();
    let seeds = std::env::var("HOSTILE_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in seeds..seeds + 3 {
        let harm = "send random messages";
        let since = ground.unleash(harm, seed);
        ground.is_done(&format!("{harm}, HOSTILE_SEED={seed}"), since);
    }
    let harm = "end anywhere";
    let since = ground.unleash(harm, seeds);
    ground.ends_server(harm, since, 5);
    ground.serves_again("random messages");
}

#[test]
fn a_server_that_ends_the_listening_sockets_costs_its_worker_and_nobody_else() {
    let mut ground = Ground::new();
    ground.plant("end the sockets", 1);
    ground.end_server();
    let executable = ground.executable();
    wait_until("the worker to say why it leaves", LONG, || {
        ground.cluster.log().contains("shut the listening sockets down")
    });
    fs::rename(executable.with_extension("kept"), &executable).unwrap();
    // Another worker, on sockets of its own; it may have started the hostile program once more.
    let _serving = ground.cluster.serving();
    ground.beside.goes_on();
}

#[test]
fn a_server_gets_no_row_that_the_roles_of_its_streams_could_not_read() {
    let mut ground = Ground::new();
    // Another's stream, whose numbers the next server tries.
    let others = Request::new(&ground.other).with_snapshot();
    let mut stream = Stream::open(ground.cluster.http(), &others).unwrap();
    assert!(stream.next(LONG).unwrap().is_some());
    let harm = "steal";
    let since = ground.unleash(harm, 1);
    ground.is_done(harm, since);
    assert!(done(&ground.report()).exists(), "it was ended before it was through");
    let told = fs::read(ground.report()).unwrap();
    let has = |text: &[u8]| told.windows(text.len()).any(|at| at == text);
    assert!(has(OPEN), "its own rows are not in it: {} bytes", told.len());
    assert!(!has(SECRET), "it was told what its role may not read");
    ground.serves_again(harm);
    let served = workers(&mut ground.cluster.connect());
    assert_eq!(served.len(), 2);
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_never_said_to_serve() {
    let ground = Ground::new();
    let since = ground.unleash("say nothing", 1);
    let mut client = ground.cluster.connect();
    let mut states = Vec::new();
    let took = wait_until("the next one to be started", LONG, || {
        let query = "SELECT state, servers_started FROM event_source.status";
        let row = client.query_one(query, &[]).unwrap();
        states.push(row.get::<_, String>(0));
        row.get::<_, i64>(1) > since
    });
    states.dedup();
    assert!(!states.iter().any(|state| state == "serving"), "{states:?}");
    assert!(states.iter().any(|state| state == "its server does not answer"), "{states:?}");
    // Ten seconds, and what a busy machine adds.
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(ground.cluster.log().contains("did not answer"));
}

//! One run of the nemesis: a cluster, its sessions and followers, the disturber, quiet points.

use std::sync::RwLock;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use event_source_tests::consume::{Form, Version, WireError};
use event_source_tests::follow::{explain, mint};
use event_source_tests::rebuild::quiet::{Tables, behind_everything, rows};
use event_source_tests::rebuild::source::Access;
use event_source_tests::rebuild::{
    Disorder, Follower, Form as ImageForm, Identity, Quiet, Renewal, Replica, Transport, Watch,
    Watcher,
};
use event_source_tests::{Cluster, Options, wait_until};
use postgres::{Client, Config, NoTls};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::coverage::{Coverage, Line};
use super::disturber;
use super::menu::{Kind, MENU};
use super::postmortem;
use super::session::{Session, Shared};

/// Concurrent sessions; the first also does what only one may do.
const SESSIONS: usize = 6;

/// A captured table and who follows it, two or three each by its own transport.
struct Collection {
    name: &'static str,
    /// What it is captured by.
    relation: &'static str,
    identity: Identity,
    by: &'static [Transport],
}

const SSE: Transport = Transport::Native(Form::Sse, Version::Http2);
const LINES: Transport = Transport::Native(Form::Lines, Version::Http1);
const CUT: Transport = Transport::Cut;
const DOCUMENT: Transport = Transport::Document;
const PAGES: Transport = Transport::Pages;

const WRITTEN: Identity = Identity { writer: Some("tx"), ..Identity::ID };
const RULED: Identity = Identity { key: &["a", "b"], ..Identity::ID };
const CHANGING: Identity = Identity { form: ImageForm::Changing, ..Identity::ID };

const fn collection(
    name: &'static str,
    identity: Identity,
    by: &'static [Transport],
) -> Collection {
    Collection { name, relation: name, identity, by }
}

const COLLECTIONS: &[Collection] = &[
    collection("item", WRITTEN, &[SSE, LINES, CUT, DOCUMENT, PAGES]),
    collection("bag", Identity::BAG, &[SSE, CUT, PAGES]),
    collection("part", Identity::ID, &[LINES, CUT, DOCUMENT, PAGES]),
    collection("wide", Identity::ID, &[CUT, PAGES]),
    collection("parent", WRITTEN, &[SSE, PAGES]),
    collection("child", WRITTEN, &[LINES, DOCUMENT]),
    collection("orphan", Identity::ID, &[CUT, PAGES]),
    collection("ident", Identity::ID, &[SSE, DOCUMENT]),
    collection("seat", Identity::ID, &[LINES, PAGES]),
    collection("ruled", RULED, &[SSE, CUT]),
    collection("audit", Identity::BAG, &[LINES, PAGES]),
    collection("many", Identity::ID, &[SSE, CUT, PAGES]),
    Collection { relation: "moving.shift", ..collection("shift", CHANGING, &[SSE, CUT, PAGES]) },
];

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub seed: u64,
    pub time: Duration,
    /// Between two quiet points.
    pub epoch: Duration,
}

impl Run {
    /// Runs it; what was done is told also when something was found.
    pub(crate) fn check(self) -> (Coverage, Result<u64, String>) {
        let cluster = Options::default()
            // Circles are part of the menu; waiting a second for each is not.
            .conf("deadlock_timeout", "20ms")
            .conf("event_source.status_interval", "1s")
            .conf("max_prepared_transactions", "50")
            .conf("max_wal_size", "4GB")
            .start();
        let mut client = cluster.connect();
        client
            .batch_execute(include_str!("schema.sql"))
            .unwrap_or_else(|e| panic!("the schema: {}", explain(&e)));
        let tokens: Vec<String> = COLLECTIONS
            .iter()
            .map(|collection| {
                let relation = collection.relation;
                client
                    .batch_execute(&format!("SELECT event_source.capture('{relation}')"))
                    .unwrap_or_else(|e| panic!("{relation}: {}", explain(&e)));
                mint(&mut client, &format!("event_source('{relation}')"))
            })
            .collect();
        let _serving = cluster.serving();
        let on: Vec<bool> = MENU.iter().map(|kind| is_on(&cluster, kind)).collect();
        let quiet = Quiet::default();
        let coverage = Coverage {
            kinds: MENU.iter().zip(&on).map(|(kind, on)| Line::new(kind.name, !on)).collect(),
            faults: disturber::lines(),
        };
        let shared = Shared {
            config: cluster.config(),
            quiet: &quiet,
            coverage: &coverage,
            gate: RwLock::new(()),
            backends: (0..SESSIONS).map(|_| AtomicI32::new(0)).collect(),
            transactions: AtomicU64::new(0),
            on,
        };
        let events = thread::scope(|scope| {
            let _end = quiet.ends_with_me();
            let (cluster, shared, quiet) = (&cluster, &shared, &quiet);
            let mut followers = Vec::new();
            for (collection, token) in COLLECTIONS.iter().zip(&tokens) {
                for (at, &transport) in (0..).zip(collection.by) {
                    let follower = Follower {
                        access: Access { http: cluster.http(), sql: cluster.config() },
                        transport,
                        token: token.clone(),
                        seed: self.seed.wrapping_add(at),
                        breaks: true,
                    };
                    followers.push(
                        scope.spawn(move || follow(collection, follower, quiet, cluster.config())),
                    );
                }
            }
            let mut sessions: Vec<_> = (0..SESSIONS)
                .map(|number| scope.spawn(move || Session::new(self.seed, number).run(shared)))
                .collect();
            sessions.push(scope.spawn(move || disturber::run(cluster, shared, self.seed)));

            self.conduct(&mut client, shared, followers.len());
            quiet.stop();
            for session in sessions {
                session.join().expect("a session panicked");
            }
            followers.into_iter().map(|f| f.join().expect("a follower panicked")).sum()
        });
        let faults = quiet.faults();
        let found = if faults.is_empty() {
            postmortem::one_writer_a_position(&mut client).map(|()| events)
        } else {
            Err(postmortem::tell(&mut client, &faults))
        };
        (coverage, found)
    }

    /// Lets them write, and stops them for quiet points, until the time is up and everything on the
    /// menu was done.
    fn conduct(self, client: &mut Client, shared: &Shared<'_>, followers: usize) {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let start = Instant::now();
        loop {
            let epoch = Instant::now();
            wait_until("the end of an epoch", self.epoch * 2 + LONG, || {
                shared.quiet.stopped() || epoch.elapsed() >= self.epoch
            });
            if shared.quiet.stopped() {
                return;
            }
            // A session that panicked has its own message.
            let Ok(_alone) = shared.gate.write() else { return };
            disturber::end_prepared(client, &mut random);
            let target = behind_everything(client);
            let tables: Tables = COLLECTIONS
                .iter()
                .map(|collection| {
                    let relation = place(client, collection.name);
                    (collection.name.to_owned(), rows(client, &relation))
                })
                .collect();
            shared.quiet.compare(target, tables, followers);
            let over = start.elapsed() >= self.time;
            if over && (shared.coverage.missing().is_empty() || start.elapsed() >= self.time * 4) {
                return;
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

/// Where a collection's table is now.
pub(super) fn place(client: &mut Client, name: &str) -> String {
    client
        .query_one("SELECT relation::text FROM event_source.collections WHERE name = $1", &[&name])
        .expect("it is captured")
        .get(0)
}

/// Whether a kind is wanted, and supported.
fn is_on(cluster: &Cluster, kind: &Kind) -> bool {
    if let Ok(wanted) = std::env::var("NEMESIS_KINDS")
        && !wanted.split(';').any(|name| name == kind.name)
    {
        return false;
    }
    let Some(probe) = kind.probe else { return true };
    let mut client = cluster.connect();
    let on = client.batch_execute(probe).is_ok();
    let undo = if on { "ROLLBACK PREPARED 'probe'" } else { "ROLLBACK" };
    client.batch_execute(undo).expect("a probe leaves nothing behind");
    on
}

fn follow(collection: &Collection, follower: Follower, quiet: &Quiet, config: Config) -> u64 {
    let name = follower.transport.name();
    let inner = quiet.watcher(collection.name, name);
    let mut watch = Renewing { inner, config, collection };
    let replica = Replica::new(follower.transport.shows(collection.identity));
    match follower.run(replica, &mut watch) {
        Ok(replica) => replica.events,
        Err(disorder) => {
            quiet.fail(collection.name, name, disorder);
            0
        }
    }
}

/// A follower whose source may end because the table's definition changed: it starts again with
/// rows and tail of one statement.
struct Renewing<'a> {
    inner: Watcher<'a>,
    config: Config,
    collection: &'a Collection,
}

impl Watch for Renewing<'_> {
    fn look(&mut self, replica: &mut Replica) -> Result<bool, Disorder> {
        self.inner.look(replica)
    }

    fn ended(&mut self, error: &WireError) -> Result<Renewal, Disorder> {
        let fault = || Err(Disorder::Client(format!("{error:?}")));
        if self.collection.identity.form != ImageForm::Changing
            || !(error.code == "schema_changed" || error.message.contains("changed"))
        {
            return fault();
        }
        let client = || -> Result<Renewal, postgres::Error> {
            let mut client = self.config.connect(NoTls)?;
            let relation = place(&mut client, self.collection.name);
            let rows = client.query(
                &format!(
                    "SELECT s.token, to_json(t)::text FROM event_source('{relation}') AS s(token) \
                     LEFT JOIN {relation} t ON true"
                ),
                &[],
            )?;
            let token = rows.first().expect("a left join has a row").get(0);
            let rows = rows
                .iter()
                .filter_map(|row| row.get::<_, Option<&str>>(1))
                .map(|json| serde_json::from_str(json).expect("to_json gives JSON"));
            Ok(Renewal { token, rows: rows.collect() })
        };
        client().map_err(|e| Disorder::Client(explain(&e)))
    }
}

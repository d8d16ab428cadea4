//! Ends sessions, workers and servers while all of them are at work.

use std::sync::atomic::Ordering;

use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Signal, wait_until};
use postgres::Client;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::coverage::{Line, Outcome};
use super::session::Shared;

/// A way to disturb.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Backend,
    Statement,
    Worker,
    Server,
    Checkpoint,
    Reload,
}

const FAULTS: [(Fault, &str); 6] = [
    (Fault::Backend, "session terminated"),
    (Fault::Statement, "statement cancelled"),
    (Fault::Worker, "worker terminated"),
    (Fault::Server, "server killed"),
    (Fault::Checkpoint, "checkpoint"),
    (Fault::Reload, "configuration reloaded"),
];
/// How often each is in a deck.
const WEIGHTS: [usize; 6] = [6, 6, 1, 2, 1, 1];

pub(crate) fn lines() -> Vec<Line> {
    FAULTS.map(|(_, name)| Line::new(name, false)).into()
}

/// Disturbs until the run ends, every few hundred transactions.
pub(crate) fn run(cluster: &Cluster, shared: &Shared<'_>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(999));
    let mut client = shared.connect();
    let mut deck: Vec<usize> = Vec::new();
    let mut next = 0;
    while !shared.quiet.stopped() {
        let now = || shared.transactions.load(Ordering::Relaxed);
        next = now().max(next) + random.random_range(30..300);
        wait_until("the sessions to go on", LONG, || now() >= next || shared.quiet.stopped());
        if deck.is_empty() {
            deck = (0..FAULTS.len()).flat_map(|at| std::iter::repeat_n(at, WEIGHTS[at])).collect();
            deck.shuffle(&mut random);
        }
        let at = deck.pop().expect("filled above");
        let victim = random.random_range(0..shared.backends.len());
        let _pass = shared.pass();
        end_prepared(&mut client, &mut random);
        let done = strike(FAULTS[at].0, cluster, &mut client, shared, victim);
        shared.coverage.faults[at].count(if done { Outcome::Done } else { Outcome::Lost });
    }
}

fn strike(
    fault: Fault,
    cluster: &Cluster,
    client: &mut Client,
    shared: &Shared<'_>,
    victim: usize,
) -> bool {
    let backend = shared.backends[victim].load(Ordering::Relaxed);
    let mut ask = |call: &str| -> bool {
        client.query_one(&format!("SELECT {call}"), &[]).expect("a superuser may").get(0)
    };
    match fault {
        Fault::Backend => ask(&format!("pg_terminate_backend({backend})")),
        Fault::Statement => ask(&format!("pg_cancel_backend({backend})")),
        Fault::Worker => {
            let Some(worker) = cluster.worker() else { return false };
            ask(&format!("pg_terminate_backend({})", worker.0))
        }
        Fault::Server => match cluster.server() {
            Some(server) => {
                server.signal(Signal::KILL);
                true
            }
            None => false,
        },
        Fault::Checkpoint => client.batch_execute("CHECKPOINT").is_ok(),
        Fault::Reload => ask("pg_reload_conf()"),
    }
}

/// Ends what was prepared and left, one way or the other.
pub(crate) fn end_prepared(client: &mut Client, random: &mut SmallRng) {
    let left = client
        .query("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'nemesis-%' ORDER BY gid", &[])
        .expect("pg_prepared_xacts can be read");
    for row in left {
        let (gid, end) =
            (row.get::<_, String>(0), ["COMMIT", "ROLLBACK"][random.random_range(0..2)]);
        // Its own session may be about to end it as well.
        if let Err(e) = client.batch_execute(&format!("{end} PREPARED '{gid}'")) {
            let code = e.code().map(|code| code.code().to_owned());
            assert!(matches!(code.as_deref(), Some("42704" | "55000")), "{end} {gid}: {e:?}");
        }
    }
}

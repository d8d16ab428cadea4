//! 100,000 rows in one statement (in the short form 10,000): how much longer it takes when somebody is
//! to hear of them, and how long it is until a client has the last of them.

use std::io::Write as _;
use std::time::Instant;

use postgres::Client;

use crate::clusters;
use crate::peers::{COMPARED, Kind, Peer, ROWS};
use crate::turns::turns_of;
use crate::work::{Better, Outcome, Run, median, ratios};

/// Why a goal is missed.
const CAPTURE: &str = "a row of an UPDATE is 10,800 instructions of capture, of them 4,600 PostgreSQL's queue of \
     triggers, 3,300 for the images, 2,900 to put it in order and into the log; one of an INSERT or COPY 6,500 \
     (2,000, 2,100 and 2,300). Beside COPY, the cheapest way to write a row, these are the most";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statement {
    Update,
    Insert,
    Copy,
}

/// A peer, and whoever writes into its table.
struct Subject {
    peer: Peer,
    client: Client,
    /// What a statement writes.
    rows: i32,
    /// The highest id of the table.
    last: i32,
    /// The time until the client has the last row over the statement's, round by round.
    told: Vec<f64>,
}

pub fn measure(run: &Run) -> Outcome {
    let rows = run.pick(100_000, 10_000);
    let mut subjects: Vec<Subject> = COMPARED
        .into_iter()
        .filter(|kind| kind.is_here())
        .map(|kind| {
            let peer = kind.start(clusters::for_writers());
            let client = peer.cluster.connect();
            Subject { peer, client, rows, last: ROWS, told: Vec::new() }
        })
        .collect();
    let mut outcome = Outcome::new(
        format!("One statement of {rows} rows: slowdown, and until a reader has the last row"),
        "times; the plain table's time, or the statement's own",
        Better::Lower,
    );
    for subject in &mut subjects {
        subject.round(Statement::Update);
    }
    for (statement, limit) in
        [(Statement::Update, 1.8), (Statement::Insert, 2.0), (Statement::Copy, 2.0)]
    {
        by_turns(run, &mut subjects, statement, limit, &mut outcome);
    }
    for subject in &mut subjects {
        subject.peer.verify();
    }
    outcome
}

fn by_turns(
    run: &Run,
    subjects: &mut [Subject],
    statement: Statement,
    limit: f64,
    outcome: &mut Outcome,
) {
    for subject in &mut *subjects {
        subject.told.clear();
    }
    let measured = turns_of(
        run.rounds(),
        subjects,
        |subject| subject.peer.kind.name(),
        |subject| subject.round(statement),
    );
    let at = statement.name();
    let told_at = format!("{at}, until the last row is told");
    for (Subject { peer, told, .. }, samples) in subjects.iter().zip(&measured) {
        let (kind, slowdown) = (peer.kind, ratios(samples, &measured[0]));
        if matches!(kind, Kind::Captured | Kind::Followed) {
            let text = format!("{}, {at}", kind.name());
            outcome.goal_at_most(text, median(&slowdown), limit).because(CAPTURE);
        }
        if kind == Kind::Followed {
            outcome.goal_at_most(format!("{told_at}, over the statement"), median(told), 2.0);
        }
        outcome.add(kind.name(), at, slowdown);
        if !told.is_empty() {
            outcome.add(kind.name(), &told_at, told.clone());
        }
    }
    let plain = median(&measured[0]);
    outcome.note(format!("Plain table, {at}: {plain:.2} s."));
}

impl Subject {
    /// Seconds that the statement takes.
    fn round(&mut self, statement: Statement) -> f64 {
        self.peer.tidy();
        let start = Instant::now();
        let rows = statement.run(&mut self.client, self.rows, self.last);
        let took = start.elapsed().as_secs_f64();
        assert_eq!(rows, u64::from(self.rows.unsigned_abs()), "{statement:?}");
        if statement != Statement::Update {
            self.last += self.rows;
        }
        self.peer.wrote(rows);
        if self.peer.kind.has_reader() {
            self.told.push(start.elapsed().as_secs_f64() / took);
        }
        took
    }
}

impl Statement {
    fn name(self) -> &'static str {
        match self {
            Self::Update => "UPDATE",
            Self::Insert => "INSERT",
            Self::Copy => "COPY",
        }
    }

    /// Gives how many rows it wrote. New ones are behind the `last`.
    fn run(self, client: &mut Client, rows: i32, last: i32) -> u64 {
        let (from, to) = (last + 1, last + rows);
        match self {
            Self::Update => client
                .execute("UPDATE item SET amount = amount + 1 WHERE id <= $1", &[&rows])
                .expect("rows are updated"),
            Self::Insert => client
                .execute(
                    "INSERT INTO item SELECT id, id, 'a row as rows are' FROM generate_series($1::int, $2::int) AS id",
                    &[&from, &to],
                )
                .expect("rows are inserted"),
            Self::Copy => {
                let mut copy = client.copy_in("COPY item FROM STDIN").expect("it takes rows");
                for id in from..=to {
                    writeln!(copy, "{id}\t{id}\ta row as rows are").expect("a row is taken");
                }
                copy.finish().expect("rows are copied")
            }
        }
    }
}

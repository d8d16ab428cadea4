//! What is followed, by whom, and how a follower starts anew.

use event_source_tests::consume::{Form, Version, WireError};
use event_source_tests::follow::{explain, mint};
use event_source_tests::rebuild::quiet::rows;
use event_source_tests::rebuild::{
    Disorder, Follower, Form as ImageForm, Identity, Quiet, Renewal, Replica, Transport, Watch,
    Watcher,
};
use postgres::{Client, Config, NoTls};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// A source and who follows it.
#[derive(Debug)]
pub(crate) struct Collection {
    pub name: &'static str,
    /// The table, by the name that it is captured under.
    pub table: &'static str,
    /// The schema of the table when it is captured.
    schema: &'static str,
    /// Only these rows of it.
    filter: Option<&'static str>,
    pub identity: Identity,
    by: &'static [Transport],
    /// Whether one more follower joins again and again, with the rows of that moment.
    joined: bool,
}

const SSE: Transport = Transport::Native(Form::Sse, Version::Http2);
const LINES: Transport = Transport::Native(Form::Lines, Version::Http1);
const CUT: Transport = Transport::Cut;
const DOCUMENT: Transport = Transport::Document;
const PAGES: Transport = Transport::Pages;

const WRITTEN: Identity = Identity { writer: Some("tx"), ..Identity::ID };
const RULED: Identity = Identity { key: &["a", "b"], ..Identity::ID };
const CHANGING: Identity = Identity { form: ImageForm::Changing, ..Identity::ID };

const fn table(name: &'static str, identity: Identity, by: &'static [Transport]) -> Collection {
    Collection { name, table: name, schema: "public", filter: None, identity, by, joined: false }
}

const fn joined(collection: Collection) -> Collection {
    Collection { joined: true, ..collection }
}

pub(crate) const COLLECTIONS: &[Collection] = &[
    joined(table("item", WRITTEN, &[SSE, LINES, CUT, DOCUMENT, PAGES])),
    joined(Collection {
        table: "item",
        filter: Some("v % 2 = 0 AND note IS NOT NULL"),
        ..table("even items", WRITTEN, &[SSE, CUT, PAGES])
    }),
    joined(table("bag", Identity::BAG, &[SSE, CUT, PAGES])),
    joined(table("part", Identity::ID, &[LINES, CUT, DOCUMENT, PAGES])),
    table("wide", Identity::ID, &[CUT, PAGES]),
    joined(table("parent", WRITTEN, &[SSE, PAGES])),
    table("child", WRITTEN, &[LINES, DOCUMENT]),
    table("orphan", Identity::ID, &[CUT, PAGES]),
    table("ident", Identity::ID, &[SSE, DOCUMENT]),
    table("seat", Identity::ID, &[LINES, PAGES]),
    table("ruled", RULED, &[SSE, CUT]),
    table("audit", Identity::BAG, &[LINES, PAGES]),
    table("many", Identity::ID, &[SSE, CUT, PAGES]),
    Collection { schema: "moving", ..table("shift", CHANGING, &[SSE, CUT, PAGES]) },
];

impl Collection {
    /// Captures the table and gives a token that starts before its first row.
    pub(crate) fn begin(&self, client: &mut Client) -> String {
        let relation = format!("{}.{}", self.schema, self.table);
        client
            .batch_execute(&format!("SELECT event_source.capture('{relation}')"))
            .unwrap_or_else(|e| panic!("{relation}: {}", explain(&e)));
        mint(client, &self.source(&relation))
    }

    fn source(&self, relation: &str) -> String {
        match self.filter {
            Some(filter) => format!("event_source('{relation}', filter => '{filter}')"),
            None => format!("event_source('{relation}')"),
        }
    }

    /// The set as a table, where it is now.
    fn set(&self, relation: &str) -> String {
        let filter = self.filter.unwrap_or("true");
        format!("(SELECT * FROM {relation} WHERE {filter})")
    }

    /// Where its table is now.
    pub(crate) fn place(&self, client: &mut Client) -> Result<String, postgres::Error> {
        let place = "SELECT relation::text FROM event_source.collections WHERE name = $1";
        Ok(client.query_one(place, &[&self.table])?.get(0))
    }

    /// The rows that are in it now.
    pub(crate) fn rows(&self, client: &mut Client) -> Vec<serde_json::Value> {
        let relation = self.place(client).expect("it is captured");
        rows(client, &self.set(&relation))
    }

    /// Its followers' transports, and whether they join again and again.
    pub(crate) fn followers(&self) -> impl Iterator<Item = (Transport, bool)> {
        let joining = self.joined.then_some((CUT, true));
        self.by.iter().map(|&transport| (transport, false)).chain(joining)
    }

    /// Follows to the end of the run; how many events came.
    pub(crate) fn follow(&'static self, follower: Follower, joins: bool, quiet: &Quiet) -> u64 {
        let transport = follower.transport;
        let name = if joins { "cut stream that joins anew" } else { transport.name() };
        let mut watch = Joining {
            inner: quiet.watcher(self.name, name),
            collection: self,
            config: follower.access.sql.clone(),
            random: joins.then(|| SmallRng::seed_from_u64(follower.seed)),
        };
        match follower.run(Replica::new(transport.shows(self.identity)), &mut watch) {
            Ok(replica) => replica.events,
            Err(disorder) => {
                quiet.fail(self.name, name, disorder);
                0
            }
        }
    }

    /// Rows and tail of one statement.
    fn join(&self, config: &Config) -> Result<Renewal, postgres::Error> {
        let mut client = config.connect(NoTls)?;
        let relation = self.place(&mut client)?;
        let rows = client.query(
            &format!(
                "SELECT s.token, to_json(t)::text FROM {} AS s(token) LEFT JOIN {} t ON true",
                self.source(&relation),
                self.set(&relation)
            ),
            &[],
        )?;
        let token = rows.first().expect("a left join has a row").get(0);
        let json = rows.iter().filter_map(|row| row.get::<_, Option<&str>>(1));
        let rows = json.map(|row| serde_json::from_str(row).expect("to_json gives JSON"));
        Ok(Renewal { token, rows: rows.collect() })
    }
}

/// A follower that starts again with rows and tail: when its source ended because the table's
/// definition changed, or because it is one that joins again and again.
struct Joining<'a> {
    inner: Watcher<'a>,
    collection: &'a Collection,
    config: Config,
    random: Option<SmallRng>,
}

/// A renaming in between may make a join fail, and a table that is captured at this very moment.
const TRIES: usize = 20;

impl Joining<'_> {
    fn join(&self) -> Result<Renewal, Disorder> {
        let mut tried = Vec::new();
        while tried.len() < TRIES {
            match self.collection.join(&self.config) {
                Ok(renewal) => return Ok(renewal),
                Err(error) => tried.push(explain(&error)),
            }
        }
        Err(Disorder::Client(format!("cannot join: {tried:#?}")))
    }
}

impl Watch for Joining<'_> {
    fn look(&mut self, replica: &mut Replica) -> Result<bool, Disorder> {
        self.inner.look(replica)
    }

    fn joins_anew(&mut self) -> Result<Option<Renewal>, Disorder> {
        // Every few hundred events, and now and then while nothing comes.
        let now = self.random.as_mut().is_some_and(|random| random.random_ratio(1, 500));
        if now { self.join().map(Some) } else { Ok(None) }
    }

    fn ended(&mut self, error: &WireError) -> Result<Renewal, Disorder> {
        // SQL and v10 have no code of their own for it.
        let changed = error.code == "schema_changed" || error.message.contains("rewritten");
        if changed && self.collection.identity.form == ImageForm::Changing {
            return self.join();
        }
        Err(Disorder::Client(format!("{error:?}")))
    }
}

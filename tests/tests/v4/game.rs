//! The collections of Fauna's own examples, and who follows them.

use event_source_tests::Cluster;
use event_source_tests::options::Options;
use serde_json::{Value, json};

/// A cluster that serves, with the collections in it.
#[derive(Debug)]
pub(crate) struct Game {
    pub(crate) cluster: Cluster,
    /// A secret of role `reader`, which may read and nothing else.
    pub(crate) secret: String,
}

impl Game {
    pub(crate) fn open() -> Self {
        Self::with(Cluster::options())
    }

    pub(crate) fn with(options: Options) -> Self {
        let cluster = options.start();
        let mut client = cluster.connect();
        client.batch_execute(SCHEMA).expect("the game can be created");
        let secret = "SELECT event_source.create_secret('reader')";
        let secret = client.query_one(secret, &[]).expect("a secret").get(0);
        let _serving = cluster.serving();
        Self { cluster, secret }
    }

    /// Runs statements, each a transaction of its own.
    #[track_caller]
    pub(crate) fn run(&self, statements: &[&str]) {
        let mut client = self.cluster.connect();
        for sql in statements {
            client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }

    /// A document of `Scores`.
    pub(crate) fn score(id: impl Into<Value>) -> Value {
        json!({ "ref": ["Scores", id.into()] })
    }
}

/// What a driver makes of the ref of a document.
pub(crate) fn reference(collection: &str, id: &str) -> Value {
    json!({ "ref": [collection, id] })
}

const SCHEMA: &str = r#"
CREATE TABLE scores (id bigint PRIMARY KEY, scores int[], foo text, final bool);
CREATE TABLE spells (
    id int PRIMARY KEY, name text, element text, power float8, learnt date, cast_at timestamptz,
    sigil bytea, mage bigint REFERENCES scores, notes text
);
CREATE INDEX elements_of_spells ON spells (element);
CREATE INDEX spells_by_element ON spells (element) INCLUDE (name, power);
CREATE INDEX spells_by_kind ON spells (learnt, cast_at, sigil, mage, name);
CREATE TABLE things (
    id int PRIMARY KEY, n int, text text, big bigint, ratio float8, cost numeric, made date,
    seen timestamptz, picture bytea, tags text[], extra jsonb, code uuid, sold boolean
);
CREATE ROLE reader;
GRANT SELECT ON scores, spells, things TO reader;
CREATE TABLE hidden (id int PRIMARY KEY);
SELECT event_source.capture('scores', name => 'Scores'), event_source.capture('spells'),
    event_source.capture('things'), event_source.capture('hidden');
"#;

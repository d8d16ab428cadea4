//! The models that change streams are of, and the address of a stream.

use event_source_tests::Cluster;
use event_source_tests::follow::served;
use postgres::Client;

/// A cluster that serves, with the models in it.
pub(crate) fn models() -> (Cluster, Client, String) {
    let (cluster, mut client) = served(SCHEMA);
    let secret = client.query_one("SELECT event_source.create_secret('reader')", &[]);
    let secret = secret.expect("there is such a role").get(0);
    (cluster, client, secret)
}

/// The address of a change stream.
pub(crate) fn address(cluster: &Cluster, plural: &str, secret: &str, query: &str) -> String {
    let http = cluster.http();
    format!("http://{http}/api/{plural}/change-stream?access_token={secret}&{query}")
}

pub(crate) fn run(client: &mut Client, statements: &[&str]) {
    for sql in statements {
        client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

/// As LoopBack's connector for PostgreSQL makes them: the name of the model in small letters.
const SCHEMA: &str = r#"
CREATE TABLE mymodel (foo text, n int, "when" timestamptz, id int PRIMARY KEY);
CREATE TABLE note (code text PRIMARY KEY, foo text);
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE "Odd" (a int, b text, PRIMARY KEY (a, b));
CREATE TABLE keyless (id int);
CREATE TABLE secret (id int PRIMARY KEY);
CREATE ROLE reader LOGIN;
GRANT SELECT ON mymodel, note, person, "Odd", keyless TO reader;
SELECT event_source.capture('mymodel'), event_source.capture('note', name => 'Note'),
    event_source.capture('person', name => 'Person', plural => 'people'), event_source.capture('"Odd"'),
    event_source.capture('keyless'), event_source.capture('secret');
"#;

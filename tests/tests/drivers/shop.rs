//! The tables that the drivers follow, and who follows them.

use event_source_tests::Cluster;
use postgres::Client;

/// A cluster that serves, with the shop in it.
#[derive(Debug)]
pub(crate) struct Shop {
    pub cluster: Cluster,
    /// A secret of role `reader`, which may read and nothing else.
    pub secret: String,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let cluster = Cluster::start();
        let mut client = cluster.connect();
        client.batch_execute(SCHEMA).expect("the shop can be created");
        let secret = text(&mut client, "SELECT event_source.create_secret('reader')");
        let _serving = cluster.serving();
        Self { cluster, secret }
    }

    /// What `SELECT` gives: a token, a cursor.
    pub(crate) fn select(&self, sql: &str) -> String {
        text(&mut self.cluster.connect(), sql)
    }

    /// Runs statements, each a transaction of its own.
    pub(crate) fn run(&self, statements: &[&str]) {
        let mut client = self.cluster.connect();
        for sql in statements {
            client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }
}

fn text(client: &mut Client, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
}

const SCHEMA: &str = "
CREATE TABLE product (
    id int PRIMARY KEY, name text, shop int, price int,
    stock bigint, weight float8, cost numeric, made date, seen timestamptz,
    picture bytea, tags text[], extra jsonb, sold boolean
);
CREATE INDEX product_by_shop ON product (shop) INCLUDE (price);
CREATE INDEX product_by_name ON product (name);
CREATE ROLE reader;
GRANT SELECT ON product TO reader;
SELECT event_source.capture('product', name => 'Product');
";

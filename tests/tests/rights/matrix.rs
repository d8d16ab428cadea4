//! Every role by every object by every route, beside what PostgreSQL itself answers: no cell is more open, and none
//! that it opens is closed.

use std::collections::BTreeMap;
use std::fmt::Debug;

use event_source_tests::consume::v4::V4Stream;
use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::websocket::WebSocket;
use event_source_tests::consume::{Failed, Feed, Kind, Request, Stream, Version, sql, v10};
use event_source_tests::follow::{explain, mint, refused};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;
use serde_json::{Value, json};

use crate::loopback::changes::{ChangeStream, Changes};

/// The roles, and the rights that each is left with.
const ROLES: &[(&str, &str)] = &[
    ("proprietor", ""),
    ("reading", "GRANT SELECT ON shop.product, shop.parts TO reading"),
    ("narrow", "GRANT SELECT (id, name) ON shop.product, shop.parts TO narrow"),
    ("all_columns", "GRANT SELECT (id, name, price) ON shop.product, shop.parts TO all_columns"),
    (
        "without_usage",
        "GRANT SELECT ON shop.product, shop.parts TO without_usage; REVOKE USAGE ON SCHEMA shop FROM without_usage",
    ),
    (
        "without_connect",
        "GRANT SELECT ON shop.product, shop.parts TO without_connect; REVOKE CONNECT ON DATABASE app FROM without_connect",
    ),
    ("without_anything", ""),
    ("member", "GRANT reading TO member"),
    ("stranger", "GRANT reading TO stranger; ALTER ROLE stranger NOINHERIT"),
    (
        "data_reader",
        "GRANT pg_read_all_data TO data_reader; REVOKE USAGE ON SCHEMA shop FROM data_reader",
    ),
    ("data_writer", "GRANT pg_write_all_data TO data_writer"),
    ("secured", "GRANT SELECT ON shop.secured TO secured, reading, data_reader"),
    ("above", "GRANT SELECT ON shop.product, shop.parts TO above; ALTER ROLE above BYPASSRLS"),
    ("root", "ALTER ROLE root SUPERUSER"),
];

/// What is asked for.
struct Object {
    what: &'static str,
    /// A call of `event_source`.
    call: &'static str,
    table: &'static str,
    /// What it shows or tests; a column that is not named here is not looked at.
    columns: &'static [&'static str],
    /// The same as a query.
    query: &'static str,
}

const ALL: &[&str] = &["id", "name", "price"];

const OBJECTS: &[Object] = &[
    Object {
        what: "a table",
        call: "event_source('shop.product')",
        table: "shop.product",
        columns: ALL,
        query: "product.all()",
    },
    Object {
        what: "a partitioned table",
        call: "event_source('shop.parts')",
        table: "shop.parts",
        columns: ALL,
        query: "parts.all()",
    },
    Object {
        what: "some columns",
        call: "event_source('shop.product', fields => '{id,name}')",
        table: "shop.product",
        columns: &["id", "name"],
        query: "product.all() { id, name }",
    },
    Object {
        what: "an index set",
        call: "event_source('shop.product_by_name', terms => '{limes}')",
        table: "shop.product",
        columns: ALL,
        query: "product.byName('limes')",
    },
    Object {
        what: "an index set, and some columns",
        call: "event_source('shop.product_by_price', terms => '{0.40}', fields => '{id,name}')",
        table: "shop.product",
        columns: ALL,
        query: "product.byPrice(0.40) { id, name }",
    },
    Object {
        what: "a row",
        call: "event_source('shop.product', key => 1, fields => '{id,name}')",
        table: "shop.product",
        columns: &["id", "name"],
        query: "product.byId('1') { id, name }",
    },
    Object {
        what: "a filter over a column that is not shown",
        call: "event_source('shop.product', filter => 'price > 0', fields => '{id,name}')",
        table: "shop.product",
        columns: ALL,
        query: "product.where(.price > 0) { id, name }",
    },
    Object {
        what: "a filter over one that is",
        call: "event_source('shop.product', filter => 'name <> $1', params => '{x}', fields => '{id,name}')",
        table: "shop.product",
        columns: &["id", "name"],
        query: "product.where(.name != 'x') { id, name }",
    },
    Object {
        what: "a table with row security",
        call: "event_source('shop.secured')",
        table: "shop.secured",
        columns: &["id"],
        query: "secured.all()",
    },
];

const SHOP: &str = "
    CREATE SCHEMA shop AUTHORIZATION proprietor;
    CREATE TABLE shop.product (id int PRIMARY KEY, name text, price numeric);
    CREATE INDEX product_by_name ON shop.product (name);
    CREATE INDEX product_by_price ON shop.product (price);
    CREATE TABLE shop.parts (id int PRIMARY KEY, name text, price numeric) PARTITION BY RANGE (id);
    CREATE TABLE shop.parts_low PARTITION OF shop.parts FOR VALUES FROM (0) TO (1000);
    CREATE TABLE shop.secured (id int PRIMARY KEY);
    ALTER TABLE shop.product OWNER TO proprietor; ALTER TABLE shop.parts OWNER TO proprietor;
    ALTER TABLE shop.secured OWNER TO proprietor;
    SELECT event_source.capture('shop.product', name => 'product', plural => 'products'),
        event_source.capture('shop.parts', name => 'parts', plural => 'partss'),
        event_source.capture('shop.secured', name => 'secured', plural => 'secureds');
    REVOKE CONNECT ON DATABASE app FROM PUBLIC;";

/// A change of each row, so that there is something to be told.
const WRITE: &str = "
    INSERT INTO shop.product VALUES (1, 'limes', 0.40);
    INSERT INTO shop.parts VALUES (1, 'limes', 0.40);
    INSERT INTO shop.secured VALUES (1)";

struct Matrix {
    cluster: Cluster,
    client: Client,
    /// Of a role and an object, minted when everybody was allowed everything.
    tokens: BTreeMap<(&'static str, &'static str), String>,
    secrets: BTreeMap<&'static str, String>,
}

impl Matrix {
    /// Everybody gets tokens and secrets first, and is then left with the rights of the list.
    fn new() -> Self {
        let cluster = Cluster::start();
        let mut client = cluster.connect();
        for (role, _) in ROLES {
            client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).unwrap();
        }
        client.batch_execute(SHOP).unwrap_or_else(|e| panic!("{}", explain(&e)));
        let mut tokens = BTreeMap::new();
        let mut secrets = BTreeMap::new();
        for (role, _) in ROLES {
            client
                .batch_execute(&format!(
                    "GRANT CONNECT ON DATABASE app TO {role}; GRANT USAGE ON SCHEMA shop TO {role};
                     GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {role}; SET ROLE {role}"
                ))
                .unwrap();
            for object in OBJECTS {
                tokens.insert((*role, object.what), mint(&mut client, object.call));
            }
            client.batch_execute("RESET ROLE").unwrap();
            let secret = mint(&mut client, &format!("event_source.create_secret('{role}')"));
            secrets.insert(*role, secret);
        }
        client.batch_execute(WRITE).unwrap();
        for (role, _) in ROLES.iter().filter(|(role, _)| *role != "proprietor") {
            let sql = format!("REVOKE ALL ON ALL TABLES IN SCHEMA shop FROM {role}");
            client.batch_execute(&sql).unwrap();
        }
        for (role, rights) in ROLES {
            client.batch_execute(rights).unwrap_or_else(|e| panic!("{role}: {}", explain(&e)));
        }
        client.batch_execute("ALTER TABLE shop.secured ENABLE ROW LEVEL SECURITY").unwrap();
        let _ = cluster.serving();
        Self { cluster, client, tokens, secrets }
    }

    /// What PostgreSQL says: could a session of the role read that by SELECT, all of it?
    fn postgresql_allows(&mut self, role: &str, object: &Object) -> bool {
        let question = "
            SELECT has_database_privilege($1, current_database(), 'CONNECT')
                AND has_schema_privilege($1, 'shop', 'USAGE')
                AND (has_table_privilege($1, $2::text, 'SELECT')
                    OR (SELECT bool_and(has_column_privilege($1, $2::text, c, 'SELECT'))
                        FROM unnest($3::text[]) c))";
        let columns: Vec<&str> = object.columns.to_vec();
        let allows: bool =
            self.client.query_one(question, &[&role, &object.table, &columns]).unwrap().get(0);
        // Row security is asked of a session.
        self.client.batch_execute(&format!("SET ROLE {role}")).unwrap();
        let secured: Result<bool, _> = self
            .client
            .query_one("SELECT row_security_active($1::text)", &[&object.table])
            .map(|row| row.get(0));
        self.client.batch_execute("RESET ROLE").unwrap();
        allows && !secured.unwrap_or(false)
    }

    fn token(&self, role: &'static str, object: &Object) -> &str {
        &self.tokens[&(role, object.what)]
    }

    /// Whether the role gets something by each of the routes of tokens.
    fn by_tokens(&mut self, role: &'static str, object: &Object) -> Vec<(&'static str, bool)> {
        let http = self.cluster.http();
        let token = self.token(role, object).to_owned();
        self.client.batch_execute(&format!("SET ROLE {role}")).unwrap();
        let minted = self.client.query_one(&format!("SELECT {}", object.call), &[]);
        let page = sql::event_page(&mut self.client, &token, None, 10, &[]);
        let rows = sql::event_feed(&mut self.client, &token, None, 10, &[]);
        self.client.batch_execute("RESET ROLE").unwrap();
        let by_another = sql::event_page(&mut self.client, &token, None, 10, &[]);
        let mut feed = Feed::new(http, Version::Http1).unwrap();
        vec![
            ("event_source", minted.is_ok()),
            ("event_page", shows(page.map(|page| page.events.len()))),
            ("event_feed", shows(rows.map(|rows| rows.len() - 1))),
            ("event_page of a superuser", shows(by_another.map(|page| page.events.len()))),
            ("/v1/feed", shows(feed.page(&token, None, &json!({})).map(|page| page.events.len()))),
            (
                "/v1/feed?snapshot=true",
                shows(
                    feed.page(&token, None, &json!({ "snapshot": true })).map(|p| p.events.len()),
                ),
            ),
            ("/v1/stream", opens(Stream::open(http, &Request::new(&token)), |s| s.next(LONG))),
            (
                "/v1/stream?snapshot=true",
                opens(Stream::open(http, &Request::new(&token).with_snapshot()), |s| s.next(LONG)),
            ),
            (
                "/stream/1",
                opens(V10Stream::open(http, Version::Http2, &token, &token, None), |s| {
                    Ok(s.next(LONG)?.map(|tagged| tagged.untagged()))
                }),
            ),
            (
                "/feed/1",
                shows(
                    v10::page(http, Version::Http1, &token, &token, None, &json!({}))
                        .map(|page| page.events.len()),
                ),
            ),
        ]
    }

    /// Whether the role gets something by each of the routes of secrets.
    fn by_secrets(&mut self, role: &'static str, object: &Object) -> Vec<(&'static str, bool)> {
        let http = self.cluster.http();
        let secret = &self.secrets[role];
        // Somebody's token that is good, with this secret beside it.
        let beside = self.token("proprietor", object);
        let mut request = Request::new(beside);
        request.secret = Some(secret.clone());
        let query = v10::query(http, Version::Http1, secret, object.query);
        let mut routes = vec![
            ("/query/1", query.is_ok()),
            (
                "a token, and the secret beside it",
                opens(Stream::open(http, &request), |s| s.next(LONG)),
            ),
        ];
        let name = object.table.trim_start_matches("shop.");
        if object.query.ends_with(".all()") {
            let changes = ChangeStream::open(http, &Changes::of(name).by(secret));
            routes.push(("loopback", changes.is_ok()));
            routes.push(("directus", self.subscribes(secret, name, json!({}))));
        }
        if object.what == "some columns" {
            let fields = json!({ "fields": ["id", "name"] });
            routes.push(("directus", self.subscribes(secret, name, fields.clone())));
            let changes = Changes::of(name).with(fields).by(secret);
            routes.push(("loopback", ChangeStream::open(http, &changes).is_ok()));
        }
        routes
    }

    fn by_v4(&self, role: &'static str, object: &Object) -> bool {
        let name = object.table.trim_start_matches("shop.");
        let documents = json!({ "documents": { "collection": name } });
        let opened = V4Stream::open(self.cluster.http(), &self.secrets[role], &documents, &[]);
        opens(opened, |stream| stream.next(LONG))
    }

    fn subscribes(&self, secret: &str, name: &str, query: Value) -> bool {
        let path = format!("/websocket?access_token={secret}");
        let Ok(mut socket) = WebSocket::open(self.cluster.http(), &path) else { return false };
        let message = json!({ "type": "subscribe", "collection": name, "query": query });
        if socket.send(&message).is_err() {
            return false;
        }
        socket.next(LONG).is_ok_and(|answer| answer.is_some_and(|said| said["event"] == "init"))
    }

    /// Whether the role sees the changes of a table in `event_source.changes`.
    fn sees_changes(&mut self, role: &str, name: &str) -> bool {
        let sql = "SELECT count(*) FROM event_source.changes WHERE collection = $1";
        self.client.batch_execute(&format!("SET ROLE {role}")).unwrap();
        let seen: i64 = self.client.query_one(sql, &[&name]).unwrap().get(0);
        self.client.batch_execute("RESET ROLE").unwrap();
        seen > 0
    }
}

fn shows<E: Debug>(rows: Result<usize, E>) -> bool {
    rows.is_ok_and(|rows| rows > 0)
}

/// Whether a stream goes on behind its first word.
fn opens<S>(
    opened: Result<S, Failed>,
    next: impl FnOnce(&mut S) -> Result<Option<event_source_tests::consume::Event>, Failed>,
) -> bool {
    let Ok(mut stream) = opened else { return false };
    next(&mut stream).unwrap().is_some_and(|event| event.kind != Kind::Error)
}

fn bypasses(role: &str) -> bool {
    ["above", "root"].contains(&role)
}

#[test]
fn no_route_gives_a_role_more_than_postgresql_would() {
    let mut matrix = Matrix::new();
    let (mut open, mut closed) = (0, 0);
    for superuser_tokens in ["on", "off"] {
        matrix.cluster.set("event_source.superuser_tokens", superuser_tokens);
        matrix.cluster.reload();
        let query = format!(
            "SELECT current_setting('event_source.superuser_tokens') = '{superuser_tokens}'"
        );
        let client = &mut matrix.client;
        wait_until("the setting to count", LONG, || client.query_one(&query, &[]).unwrap().get(0));
        let (cluster, root) = (&matrix.cluster, matrix.tokens[&("root", "a table")].clone());
        wait_until("the worker to have read it", LONG, || {
            Stream::open(cluster.http(), &Request::new(&root)).is_ok() == (superuser_tokens == "on")
        });
        let mut wrong = Vec::new();
        for (role, _) in ROLES {
            for object in OBJECTS {
                let allows = matrix.postgresql_allows(role, object);
                let may_mint = allows && (superuser_tokens == "on" || !bypasses(role));
                let mut cells = Vec::new();
                for (route, got) in matrix.by_tokens(role, object) {
                    cells.push((route, got, may_mint));
                }
                if object.query.ends_with(".all()") {
                    // Of a set of documents only the references are told.
                    let allows =
                        matrix.postgresql_allows(role, &Object { columns: &["id"], ..*object });
                    cells.push(("v4", matrix.by_v4(role, object), allows && !bypasses(role)));
                }
                for (route, got) in matrix.by_secrets(role, object) {
                    // No credential acts as one of those, whatever the setting.
                    cells.push((route, got, allows && !bypasses(role)));
                }
                for (route, got, expected) in cells {
                    if got {
                        open += 1;
                    } else {
                        closed += 1;
                    }
                    if got != expected {
                        let how = if got { "MORE OPEN" } else { "closed" };
                        wrong.push(format!("{role} × {} × {route}: {how}", object.what));
                    }
                }
            }
            for object in OBJECTS.iter().filter(|object| object.query.ends_with(".all()")) {
                // In a session of its own, where it has one.
                let name = object.table.trim_start_matches("shop.");
                let allows = matrix.postgresql_allows(role, object) || *role == "without_connect";
                let expected = allows
                    && (*role != "without_connect" || object.what != "a table with row security");
                if matrix.sees_changes(role, name) != expected {
                    wrong.push(format!("{role} × {} × event_source.changes", object.what));
                }
            }
        }
        assert!(wrong.is_empty(), "superuser_tokens = {superuser_tokens}:\n{}", wrong.join("\n"));
    }
    // Both kinds are there, and many of each.
    assert!(open > 300 && closed > 600, "{open} open, {closed} closed");
    let said = refused(matrix.client.batch_execute("SELECT event_source.create_secret('root')"));
    assert_eq!(said.code, "42501");
}

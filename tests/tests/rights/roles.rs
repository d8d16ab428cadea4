//! Whose tokens count, and for how long.

use event_source_tests::consume::{Failed, Feed, Request, Stream, Version, sql};
use event_source_tests::follow::{mint, refused, story};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Options, wait_until};
use postgres::Client;
use serde_json::json;

/// A shop of ordinary roles, without a worker.
pub fn shop() -> (Cluster, Client) {
    shop_with(Cluster::options().conf("event_source.listen", ""))
}

pub fn shop_with(options: Options) -> (Cluster, Client) {
    let cluster = options.start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE ROLE owner LOGIN; CREATE ROLE reader LOGIN;
             GRANT CREATE ON SCHEMA public TO owner;
             SET ROLE owner;
             CREATE TABLE product (id int PRIMARY KEY, name text, price numeric);
             CREATE INDEX product_by_name ON product (name);
             GRANT SELECT ON product TO reader;
             SELECT event_source.capture('product');
             RESET ROLE;",
        )
        .unwrap();
    (cluster, client)
}

/// Only what is allowed by default.
pub fn as_shipped() -> Options {
    Cluster::options().conf("event_source.superuser_tokens", "off")
}

#[test]
fn superusers_and_roles_with_bypassrls_have_no_tokens_unless_a_setting_allows_them() {
    let (cluster, mut client) = shop_with(as_shipped());
    let _ = cluster.serving();
    client
        .batch_execute(
            "CREATE ROLE above LOGIN BYPASSRLS; GRANT SELECT ON product TO above;
             CREATE ROLE second LOGIN SUPERUSER",
        )
        .unwrap();
    for role in ["postgres", "second", "above"] {
        let mut connection = cluster.connect_as(role);
        let said = refused(connection.query("SELECT event_source('product')", &[]));
        assert_eq!(said.code, "42501", "{role}");
        assert!(said.hint.contains("SET ROLE reader"), "{role}: {said:?}");
        assert!(said.hint.contains("event_source.superuser_tokens"), "{role}: {said:?}");
        // The hint helps.
        if role != "above" {
            let script = "SET ROLE reader; SELECT event_source('product'); RESET ROLE";
            connection.batch_execute(script).unwrap();
        }
    }
    let by_reader = mint(&mut cluster.connect_as("reader"), "event_source('product')");
    client.batch_execute("INSERT INTO product VALUES (1)").unwrap();
    assert_eq!(story(&mut client, &by_reader), ["add 1"], "a superuser may read another's");
    // A function that is the owner's, called by whoever: the token is the owner's.
    client
        .batch_execute(
            "CREATE FUNCTION mint() RETURNS text LANGUAGE sql SECURITY DEFINER AS
                $$ SELECT event_source('product') $$",
        )
        .unwrap();
    assert_eq!(refused(cluster.connect_as("reader").query("SELECT mint()", &[])).code, "42501");

    switch(&cluster, "on");
    let by_superuser = mint_when_allowed(&mut client);
    let mut by_above = cluster.connect_as("above");
    let by_above = mint_when_allowed(&mut by_above);
    let open = |token: &str| Stream::open(cluster.http(), &Request::new(token));
    let page = |token: &str| {
        Feed::new(cluster.http(), Version::Http1).unwrap().page(token, None, &json!({}))
    };
    for token in [&by_superuser, &by_above] {
        let mut stream = open(token).unwrap();
        stream.next(LONG).unwrap().expect("a first word");
        assert!(page(token).is_ok());
        // It ends what is open, too.
        switch(&cluster, "off");
        let end = loop {
            let event = stream.next(LONG).unwrap().expect("an error before the end");
            if let Some(error) = event.error {
                break error;
            }
        };
        assert_eq!(end.code, "permission_denied");
        let code = |failed: Failed| failed.code().unwrap_or_default().to_owned();
        assert_eq!(code(open(token).unwrap_err()), "permission_denied");
        assert_eq!(code(page(token).unwrap_err()), "permission_denied");
        let said = refused(sql::event_page(&mut client, token, None, 10, &[]));
        assert_eq!(said.code, "42501");
        switch(&cluster, "on");
        wait_until("them to be allowed", LONG, || open(token).is_ok());
    }
    let refused = refused(
        cluster.connect_as("reader").batch_execute("SET event_source.superuser_tokens = on"),
    );
    assert_eq!(refused.code, "55P02", "for a session nobody sets it");
}

fn switch(cluster: &Cluster, to: &str) {
    cluster.set("event_source.superuser_tokens", to);
    cluster.reload();
}

/// The session hears of the reload a little later.
fn mint_when_allowed(client: &mut Client) -> String {
    let query = "SELECT event_source('product')";
    wait_until("superusers to mint", LONG, || client.query_one(query, &[]).is_ok());
    mint(client, "event_source('product')")
}

#[test]
fn a_role_that_is_made_again_under_its_name_is_somebody_else() {
    let (cluster, mut client) = shop();
    let again = "DROP OWNED BY reader; DROP ROLE reader; CREATE ROLE reader LOGIN;
                 GRANT SELECT ON product TO reader";
    let token = mint(&mut cluster.connect_as("reader"), "event_source('product')");
    let secret = mint(&mut client, "event_source.create_secret('reader')");
    client
        .batch_execute("ALTER ROLE reader RENAME TO visitor; INSERT INTO product VALUES (1)")
        .unwrap();
    assert_eq!(story(&mut client, &token), ["add 1"], "a rename makes nobody else of it");
    client.batch_execute("ALTER ROLE visitor RENAME TO reader").unwrap();
    client.batch_execute(again).unwrap();
    let said = refused(sql::event_page(&mut client, &token, None, 10, &[]));
    assert_eq!(said.message, "role \"reader\" of the event source no longer exists");
    let own = mint(&mut cluster.connect_as("reader"), "event_source('product')");
    assert!(sql::event_page(&mut client, &own, None, 10, &[]).is_ok());

    // Roles are the cluster's: in a copy of the database or in a restored one they are the same.
    let dump = cluster.dump("app.dump", &["--format=custom"]);
    cluster.create_database("restored");
    cluster.restore("restored", &dump, &[]).unwrap();
    drop(client);
    let mut other = cluster.connect_to("postgres");
    wait_until("nobody to be connected", LONG, || {
        other.batch_execute("CREATE DATABASE copied TEMPLATE app").is_ok()
    });
    for database in ["restored", "copied"] {
        let mut there = cluster.connect_to(database);
        let said = refused(sql::event_page(&mut there, &token, None, 10, &[]));
        assert_eq!(
            said.message, "role \"reader\" of the event source no longer exists",
            "{database}"
        );
        // Of that one only the place in the log may be another.
        let page = sql::event_page(&mut there, &own, None, 10, &[]);
        if let Some(said) = page.err().and_then(|e| e.as_db_error().cloned()) {
            assert_eq!(said.message(), "the position is of another history", "{database}");
        }
    }
    // In another cluster the name is all there is.
    let elsewhere = Cluster::options().fresh().without_extension().start();
    elsewhere.create_database("app");
    elsewhere.connect().batch_execute("CREATE ROLE owner; CREATE ROLE reader LOGIN").unwrap();
    elsewhere.restore("app", &dump, &[]).unwrap();
    let said = refused(sql::event_page(&mut elsewhere.connect(), &token, None, 10, &[]));
    assert_eq!(said.message, "the position is of another history");
    let _ = secret;
}

#[test]
fn the_raw_changes_need_usage_of_the_schema_and_all_that_a_select_of_whole_rows_needs() {
    let (cluster, mut client) = shop();
    client
        .batch_execute(
            "CREATE SCHEMA closed; ALTER TABLE product SET SCHEMA closed;
             INSERT INTO closed.product VALUES (1)",
        )
        .unwrap();
    let mut reader = cluster.connect_as("reader");
    let mut seen = || -> i64 {
        reader.query_one("SELECT count(*) FROM event_source.changes", &[]).unwrap().get(0)
    };
    assert_eq!(seen(), 0);
    client.batch_execute("GRANT USAGE ON SCHEMA closed TO reader").unwrap();
    assert_eq!(seen(), 1);
    client
        .batch_execute("REVOKE SELECT ON closed.product FROM reader; GRANT SELECT (id, name) ON closed.product TO reader")
        .unwrap();
    assert_eq!(seen(), 0);
    client.batch_execute("GRANT SELECT (price) ON closed.product TO reader").unwrap();
    assert_eq!(seen(), 1);
    client.batch_execute("ALTER TABLE closed.product ENABLE ROW LEVEL SECURITY").unwrap();
    assert_eq!(seen(), 0);
}

#[test]
fn a_group_without_login_may_have_tokens_and_one_that_may_not_connect_none() {
    let (cluster, mut client) = shop();
    client
        .batch_execute(
            "CREATE ROLE staff; GRANT SELECT ON product TO staff; CREATE ROLE clerk LOGIN;
             GRANT staff TO clerk",
        )
        .unwrap();
    let mut clerk = cluster.connect_as("clerk");
    clerk.batch_execute("SET ROLE staff").unwrap();
    let token = mint(&mut clerk, "event_source('product')");
    client
        .batch_execute(
            "INSERT INTO product VALUES (1); REVOKE CONNECT ON DATABASE app FROM PUBLIC;
             GRANT CONNECT ON DATABASE app TO clerk",
        )
        .unwrap();
    let said = refused(sql::event_page(&mut client, &token, None, 10, &[]));
    assert_eq!(said.message, "permission denied for the database to role \"staff\"");
    assert_eq!(refused(clerk.query("SELECT event_source('product')", &[])).code, "42501");
    client.batch_execute("GRANT CONNECT ON DATABASE app TO staff").unwrap();
    assert_eq!(story(&mut client, &token), ["add 1"]);
}

#[test]
fn a_snapshot_is_refused_to_whoever_asked_for_no_adds_wherever_it_is_cut() {
    let (cluster, mut client) = shop_with(Cluster::options());
    let _ = cluster.serving();
    client.batch_execute("INSERT INTO product SELECT generate_series(1, 9)").unwrap();
    let mut reader = cluster.connect_as("reader");
    let all = mint(&mut reader, "event_source('product')");
    let mut feed = Feed::new(cluster.http(), Version::Http1).unwrap();
    let more = json!({ "snapshot": true, "page_size": 2 });
    let behind_two = feed.page(&all, None, &more).unwrap().cursor;
    for types in ["{remove}", "{update}", "{update,remove}"] {
        let token = mint(&mut reader, &format!("event_source('product', types => '{types}')"));
        let mut refused = vec![
            feed.page(&token, None, &more).unwrap_err(),
            feed.page(&token, Some(&behind_two), &json!({})).unwrap_err(),
            Stream::open(cluster.http(), &Request::new(&token).with_snapshot()).unwrap_err(),
        ];
        for failed in &mut refused {
            let Failed::Refused { status, body } = failed else { panic!("{failed}") };
            assert_eq!(status.as_u16(), 400, "{types}: {body}");
            assert_eq!(body["error"]["code"], "invalid_request", "{types}: {body}");
            assert!(body["error"]["hint"].as_str().unwrap().contains("add"), "{types}: {body}");
        }
        // A stream finds out when it reads on.
        let request = Request::new(&token).after(Some(behind_two.clone()));
        if let Ok(mut stream) = Stream::open(cluster.http(), &request) {
            let end = loop {
                let event = stream.next(LONG).unwrap().expect("an error before the end");
                assert!(event.data.is_none(), "{types}: {event:?}");
                if let Some(error) = event.error {
                    break error;
                }
            };
            assert_eq!(end.code, "invalid_request", "{types}");
        }
    }
}

//! What a dump holds of the extension, and what works in a database that is made of it.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::path::Path;

use event_source_tests::Cluster;
use event_source_tests::consume::{Failed, Feed, Page, Request, Stream, Version, sql};
use event_source_tests::follow::{keys_behind, mint, refused, story, where_to_go_on};
use postgres::Client;
use serde_json::json;

/// What a client holds of the database that is dumped.
struct Before {
    /// Each with the keys of the inserted rows that it sees.
    tokens: Vec<(&'static str, String, Vec<i64>)>,
    cursor: String,
    broken: String,
    revoked: String,
    secret: String,
    revoked_secret: String,
}

/// Written to a database that was made of the dump.
const INSERT: &str = "INSERT INTO t (id, v, name) VALUES (101, 1, 'one'), (102, 2, 'two');
    INSERT INTO p VALUES (103, 1), (1004, 2)";

fn shop() -> (Cluster, Client, Before) {
    let cluster = Cluster::options().fresh().start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE ROLE reader LOGIN;
             -- numbers of columns that a restored table does not have
             CREATE TABLE t (gone text, v int, id bigint PRIMARY KEY, name text);
             ALTER TABLE t DROP COLUMN gone;
             GRANT SELECT ON t TO reader;
             CREATE TABLE p (id bigint PRIMARY KEY, v int) PARTITION BY RANGE (id);
             CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (1000);
             CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (1000) TO (2000);
             -- restored before event_source, and with it
             CREATE SCHEMA a;
             CREATE TABLE a.first (id bigint PRIMARY KEY);
             SELECT event_source.capture('t'), event_source.capture('p', 'parts', 'many_parts'),
                event_source.capture('a.first');",
        )
        .unwrap();
    let broken = mint(&mut client, "event_source('t')");
    client
        .batch_execute(
            "ALTER TABLE t ALTER COLUMN v TYPE bigint; CREATE INDEX t_by_v ON t (v);
             INSERT INTO t (id, v, name) SELECT n, n, 'old' FROM generate_series(1, 50) n;
             INSERT INTO p SELECT n * 20, n FROM generate_series(1, 80) n;
             INSERT INTO a.first SELECT generate_series(1, 3)",
        )
        .unwrap();
    let whole = mint(&mut client, "event_source('t')");
    client.batch_execute("SELECT event_source.rotate_key()").unwrap();
    let tokens = vec![
        ("whole", whole.clone(), vec![101, 102]),
        ("fields", mint(&mut client, "event_source('t', fields => '{name}')"), vec![101, 102]),
        ("filter", mint(&mut client, "event_source('t', filter => 'v > 1')"), vec![102]),
        ("index", mint(&mut client, "event_source('t_by_v', terms => ARRAY[2])"), vec![102]),
        ("row", mint(&mut client, "event_source('t', key => 101)"), vec![101]),
        ("partitions", mint(&mut client, "event_source('p')"), vec![103, 1004]),
    ];
    let revoked = mint(&mut client, "event_source('t')");
    client.execute("SELECT event_source.revoke($1)", &[&revoked]).unwrap();
    let mut secret = || mint(&mut client, "event_source.create_secret('reader')");
    let (secret, revoked_secret) = (secret(), secret());
    client
        .batch_execute("SELECT event_source.revoke_secret(max(id)) FROM event_source.secrets")
        .unwrap();
    // So that there would be something to dump of the log and of a redaction.
    client
        .batch_execute("DELETE FROM t WHERE id = 50; SELECT event_source.redact('t', '50')")
        .unwrap();
    let cursor = sql::event_page(&mut client, &whole, None, 1000, &[]).unwrap().cursor;
    (cluster, client, Before { tokens, cursor, broken, revoked, secret, revoked_secret })
}

/// Another cluster that knows the roles, with an empty database `app`.
fn new_cluster() -> Cluster {
    let cluster = Cluster::options().fresh().without_extension().start();
    cluster.create_database("app");
    cluster.connect().batch_execute("CREATE ROLE reader LOGIN").unwrap();
    cluster
}

/// Each trigger of ours, and how it is switched.
fn triggers(client: &mut Client) -> Vec<String> {
    let rows = client.query(
        "SELECT format('%s %s %s', t.tgrelid::regclass, t.tgenabled, pg_get_triggerdef(t.oid))
         FROM pg_trigger t
         WHERE t.tgfoid IN ('event_source.capture_row()'::regprocedure,
            'event_source.capture_truncate()'::regprocedure)
         ORDER BY 1",
        &[],
    );
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The rows of the tables that are dumped, but for the key that each database makes for itself and for
/// the numbers of columns, which are others in a restored table.
fn dumped_rows(client: &mut Client) -> Vec<String> {
    let rows = client.query(
        "SELECT (to_jsonb(c) - 'key_numbers')::text FROM event_source.capture c
         UNION ALL SELECT 'secret ' || s::text FROM event_source.secret s
         UNION ALL SELECT 'revocation ' || r::text FROM event_source.revocation r ORDER BY 1",
        &[],
    );
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What is dumped and the triggers are in one database as in the other.
#[track_caller]
fn is_captured_as(there: &mut Client, here: &mut Client, name: &str) {
    assert_eq!(triggers(there), triggers(here), "{name}");
    assert_eq!(dumped_rows(there), dumped_rows(here), "{name}");
}

/// All that a restored database owes to those who knew the one before. Of table t, `loaded` rows came
/// as events.
#[track_caller]
fn goes_on(client: &mut Client, before: &Before, loaded: usize) {
    let problems: i64 = client
        .query_one("SELECT count(*) FROM event_source.collections WHERE problem IS NOT NULL", &[])
        .unwrap()
        .get(0);
    assert_eq!(problems, 0);
    let whole = &before.tokens[0].1;
    let resumed = where_to_go_on(client, whole, Some(&before.cursor));
    assert_eq!(keys_behind(client, whole, &resumed).len(), loaded);
    let starts: Vec<String> = before
        .tokens
        .iter()
        .map(|(_, token, _)| {
            let start = where_to_go_on(client, token, None);
            sql::event_page(client, token, Some(&start), 1000, &[]).unwrap().cursor
        })
        .collect();
    let new = mint(client, "event_source('t')");
    client.batch_execute(INSERT).unwrap();
    for ((what, token, keys), start) in before.tokens.iter().zip(&starts) {
        assert_eq!(&keys_behind(client, token, start), keys, "{what}");
    }
    assert_eq!(keys_behind(client, whole, &resumed).len(), loaded + 2);
    assert_eq!(story(client, &new), ["add 101", "add 102"]);
    client.batch_execute("TRUNCATE p").unwrap();
    assert_eq!(keys_behind(client, &before.tokens[5].1, &starts[5]).len(), 2 + 80 + 2);

    let said = refused(sql::event_page(client, &before.revoked, None, 10, &[]));
    assert_eq!(said.message, "the event source was revoked");
    let start = where_to_go_on(client, &before.broken, None);
    let said = refused(sql::event_page(client, &before.broken, Some(&start), 10, &[]));
    assert_eq!(said.code, "42P01", "{said:?}");
    // Keys and ids go on behind those that came along.
    client
        .batch_execute(
            "SELECT event_source.rotate_key(), event_source.create_secret('reader');
             CREATE TABLE later (id int PRIMARY KEY); SELECT event_source.capture('later')",
        )
        .unwrap();
    let later = mint(client, "event_source('later')");
    client.batch_execute("INSERT INTO later VALUES (7)").unwrap();
    assert_eq!(story(client, &later), ["add 7"]);
}

fn page(cluster: &Cluster, token: &str, secret: &str) -> Result<Page, Failed> {
    let _ = cluster.serving();
    let mut request = Request::new(token);
    request.secret = Some(secret.to_owned());
    Stream::open(cluster.http(), &request)?;
    Feed::new(cluster.http(), Version::Http1).unwrap().page(token, None, &json!({}))
}

fn restored(cluster: &Cluster, database: &str, dump: &Path, options: &[&str]) -> Client {
    if let Err(said) = cluster.restore(database, dump, options) {
        panic!("{said}");
    }
    cluster.connect_to(database)
}

/// Database `other`, made of a dump in the order of these entries of it.
fn restored_in_order(cluster: &Cluster, dump: &Path, entries: &[String]) -> Client {
    let file = dump.with_extension("list");
    std::fs::write(&file, entries.join("\n")).unwrap();
    cluster.create_database("other");
    restored(cluster, "other", dump, &[&format!("--use-list={}", file.display())])
}

#[test]
fn a_dump_holds_captures_keys_secrets_and_revocations_and_nothing_of_the_log() {
    let (cluster, _client, _) = shop();
    let dump = std::fs::read_to_string(cluster.dump("app.sql", &[])).unwrap();
    let mut tables: Vec<&str> = dump
        .lines()
        .filter_map(|line| line.strip_prefix("COPY event_source.")?.split(' ').next())
        .collect();
    tables.sort_unstable();
    assert_eq!(tables, ["capture", "revocation", "secret", "signing_key"]);
    assert!(!dump.contains("CREATE EVENT TRIGGER"), "event triggers are the extension's");
}

#[test]
fn a_plain_dump_into_a_new_cluster_keeps_captures_tokens_secrets_and_revocations() {
    let (cluster, mut client, before) = shop();
    let dump = cluster.dump("app.sql", &[]);
    let other = new_cluster();
    let mut there = restored(&other, "app", &dump, &["-v", "ON_ERROR_STOP=1"]);
    is_captured_as(&mut there, &mut client, "app");
    let token = mint(&mut there, "event_source('t')");
    assert!(page(&other, &token, &before.secret).unwrap().events.is_empty());
    let refused = page(&other, &token, &before.revoked_secret).unwrap_err();
    assert_eq!(refused.code(), Some("unauthorized"), "{refused}");
    // Over HTTP the cursor is a field of the error.
    let refused = page(&other, &before.tokens[0].1, &before.secret).unwrap_err();
    assert_eq!(refused.code(), Some("history_changed"), "{refused}");
    goes_on(&mut there, &before, 0);
}

#[test]
fn a_restore_into_another_database_of_the_same_cluster_goes_on_beside_the_first() {
    let (cluster, mut client, before) = shop();
    let dump = cluster.dump("app.sql", &[]);
    cluster.create_database("other");
    let mut there = restored(&cluster, "other", &dump, &["-v", "ON_ERROR_STOP=1", "-1"]);
    assert_eq!(triggers(&mut there), triggers(&mut client));
    goes_on(&mut there, &before, 0);
    // The first one noticed nothing.
    client.batch_execute(INSERT).unwrap();
    assert_eq!(keys_behind(&mut client, &before.tokens[0].1, &before.cursor), [101, 102]);
}

#[test]
fn a_parallel_restore_of_a_custom_dump_keeps_all_of_it() {
    let (cluster, mut client, before) = shop();
    let dump = cluster.dump("app.dump", &["--format=custom"]);
    let parallel = cluster.dump("app.folder", &["--format=directory", "--jobs=2"]);
    for (name, dump) in [("custom", dump), ("folder", parallel)] {
        cluster.create_database(name);
        let mut there = restored(&cluster, name, &dump, &["--jobs=2"]);
        is_captured_as(&mut there, &mut client, name);
        goes_on(&mut there, &before, 0);
    }
}

#[test]
fn a_primary_key_that_is_complete_only_after_the_triggers_are_there_is_no_schema_break() {
    let (cluster, mut client, before) = shop();
    let dump = cluster.dump("app.dump", &["--format=custom"]);
    // As parallel workers may do it.
    let (late, mut list): (Vec<String>, Vec<String>) =
        cluster.contents(&dump).into_iter().partition(|entry| entry.contains(" INDEX ATTACH "));
    assert_eq!(late.len(), 2, "one for each partition");
    list.extend(late);
    let mut there = restored_in_order(&cluster, &dump, &list);
    assert_eq!(dumped_rows(&mut there), dumped_rows(&mut client));
    goes_on(&mut there, &before, 0);
}

#[test]
fn a_primary_key_that_comes_after_the_triggers_is_no_schema_break_and_one_that_goes_later_is() {
    let (cluster, mut client, before) = shop();
    let dump = cluster.dump("app.dump", &["--format=custom"]);
    // As parallel workers may do it.
    let (late, mut list): (Vec<String>, Vec<String>) = cluster
        .contents(&dump)
        .into_iter()
        .partition(|entry| entry.contains(" CONSTRAINT ") || entry.contains(" INDEX ATTACH "));
    assert_eq!(
        late.len(),
        7,
        "t, p, its two partitions and how they belong to it, a.first: {late:?}"
    );
    list.extend(late);
    let mut there = restored_in_order(&cluster, &dump, &list);
    is_captured_as(&mut there, &mut client, "other");
    goes_on(&mut there, &before, 0);
    let token = mint(&mut there, "event_source('p')");
    there.batch_execute("ALTER TABLE p DROP CONSTRAINT p_pkey").unwrap();
    let page = sql::event_page(&mut there, &token, None, 10, &[]).unwrap();
    assert_eq!(page.events.last().unwrap().error.as_ref().unwrap().code, "schema_changed");
}

#[test]
fn a_schema_and_its_data_restored_one_after_the_other_are_the_whole_with_triggers_disabled_or_not()
{
    let (cluster, mut client, before) = shop();
    let schema = cluster.dump("schema.sql", &["--schema-only"]);
    let data = cluster.dump("data.dump", &["--format=custom", "--data-only"]);
    for (name, options) in [("as_it_is", &[][..]), ("disabled", &["--disable-triggers"])] {
        cluster.create_database(name);
        let mut there = restored(&cluster, name, &schema, &["-v", "ON_ERROR_STOP=1"]);
        // Its triggers are there and its captures not yet: nothing is captured, and nothing fails.
        there.batch_execute("INSERT INTO t (id) VALUES (1); DELETE FROM t").unwrap();
        let mut there = restored(&cluster, name, &data, options);
        is_captured_as(&mut there, &mut client, name);
        // A row of a captured table that is loaded is an event like any other.
        goes_on(&mut there, &before, 49);
    }
}

#[test]
fn data_restored_with_disable_triggers_over_emptied_tables_comes_as_events_once() {
    let (cluster, mut client, before) = shop();
    let whole = &before.tokens[0].1;
    let data = cluster
        .dump("data.dump", &["--format=custom", "--data-only", "--exclude-schema=event_source"]);
    client.batch_execute("TRUNCATE t, p, a.first").unwrap();
    let emptied = sql::event_page(&mut client, whole, None, 1000, &[]).unwrap().cursor;
    let _ = restored(&cluster, "app", &data, &["--data-only", "--disable-triggers", "-j2"]);
    let mut keys = keys_behind(&mut client, whole, &emptied);
    keys.sort_unstable();
    assert_eq!(keys, (1..=49).collect::<Vec<i64>>());
    assert_eq!(keys_behind(&mut client, &before.tokens[5].1, &emptied).len(), 80);
}

#[test]
fn a_clean_restore_over_the_database_itself_ends_what_was_there_and_captures_once() {
    let (cluster, mut client, before) = shop();
    let dump = cluster.dump("app.dump", &["--format=custom"]);
    let (rows, triggers_before) = (dumped_rows(&mut client), triggers(&mut client));
    // Our triggers go with their tables, not before them; pg_restore passes that over.
    let said = cluster.restore("app", &dump, &["--clean", "--if-exists"]).unwrap_err();
    assert!(said.contains("cannot drop trigger event_source_row on public.t"), "{said}");
    let mut client = cluster.connect();
    assert_eq!((dumped_rows(&mut client), triggers(&mut client)), (rows, triggers_before));
    // The same history, whose log begins anew.
    for cursor in [None, Some(before.cursor.as_str())] {
        let page = sql::event_page(&mut client, &before.tokens[0].1, cursor, 10, &[]);
        assert_eq!(refused(page).message, "the position is too far in the past");
    }
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute(INSERT).unwrap();
    assert_eq!(story(&mut client, &token), ["add 101", "add 102"]);
}

#[test]
fn a_dropped_table_that_is_restored_alone_is_captured_when_it_is_captured_again() {
    let (cluster, mut client, before) = shop();
    let dump = cluster.dump("t.dump", &["--format=custom", "--table=t"]);
    client.batch_execute("DROP TABLE t").unwrap();
    let mut client = restored(&cluster, "app", &dump, &["--exit-on-error"]);
    // Its triggers name a capture that ended with the table that was dropped.
    client.batch_execute("INSERT INTO t (id) VALUES (60)").unwrap();
    let said = refused(sql::event_page(&mut client, &before.tokens[0].1, None, 10, &[]));
    assert_eq!(said.message, "the table of the event source is no longer captured");
    client.batch_execute("SELECT event_source.capture('t')").unwrap();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t (id) VALUES (61)").unwrap();
    assert_eq!(story(&mut client, &token), ["add 61"]);
}

#[test]
fn captures_that_a_database_has_already_are_not_overwritten_by_those_of_a_dump() {
    let (cluster, _client, before) = shop();
    let data = cluster.dump("data.sql", &["--data-only"]);
    cluster.create_database("other");
    let mut there = cluster.connect_to("other");
    there
        .batch_execute(
            "CREATE EXTENSION event_source; CREATE SCHEMA a; CREATE TABLE a.first (id int PRIMARY KEY);
             CREATE TABLE t (id bigint PRIMARY KEY); CREATE TABLE p (id bigint PRIMARY KEY);
             SELECT event_source.capture('p'), event_source.capture('t')",
        )
        .unwrap();
    let own = mint(&mut there, "event_source('t')");
    let said = cluster.restore("other", &data, &[]).unwrap_err();
    assert!(said.contains("capture_relation_key"), "{said}");
    there.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(story(&mut there, &own), ["add 1"]);
    // The keys came along, but no id of the other database names a table of this one.
    let said = refused(sql::event_page(&mut there, &before.tokens[0].1, None, 10, &[]));
    assert_eq!(said.message, "the table of the event source is no longer captured");
}

#[test]
fn a_server_without_the_library_gets_the_tables_and_is_told_what_to_do() {
    let (cluster, _client, _) = shop();
    let dump = cluster.dump("app.dump", &["--format=custom"]);
    let bare = Cluster::options().conf("shared_preload_libraries", "").without_extension().start();
    bare.connect_to("postgres").batch_execute("CREATE ROLE reader").unwrap();
    for (database, options) in [("whole", &["--single-transaction"][..]), ("parts", &["-j2"])] {
        bare.create_database(database);
        let said = bare.restore(database, &dump, options).unwrap_err();
        assert!(said.contains("event_source is not loaded by the server"), "{said}");
        assert!(said.contains("add event_source to shared_preload_libraries"), "{said}");
        let mut there = bare.connect_to(database);
        let left: i64 = there
            .query_one(
                "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'event_source')
                    + (SELECT count(*) FROM pg_trigger) + (SELECT count(*) FROM pg_event_trigger)",
                &[],
            )
            .unwrap()
            .get(0);
        assert_eq!(left, 0, "{database}");
    }
    // What is not of the extension is whole, and can be written to.
    let mut there = bare.connect_to("parts");
    there.batch_execute("INSERT INTO t (id) VALUES (50); INSERT INTO p VALUES (1, 1)").unwrap();
    let rows: i64 = there.query_one("SELECT count(*) FROM t", &[]).unwrap().get(0);
    assert_eq!(rows, 50);
}

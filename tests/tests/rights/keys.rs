//! The extension's own tables, and what of a credential others get to see.

use event_source_tests::consume::{Request, Stream, Version, sql, v10};
use event_source_tests::follow::{mint, refused, served, story};
use event_source_tests::{Cluster, wait_until};
use postgres::Client;

use super::roles::shop;

/// Every table, view or sequence of the extension, by its kind.
fn relations(client: &mut Client, kinds: &str) -> Vec<String> {
    let rows = client.query(
        "SELECT c.oid::regclass::text FROM pg_class c
         WHERE c.relnamespace = 'event_source'::regnamespace AND c.relkind::text = ANY ($1)",
        &[&kinds.chars().map(String::from).collect::<Vec<_>>()],
    );
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

fn count(client: &mut Client, table: &str) -> i64 {
    let counted = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]);
    counted.unwrap_or_else(|e| panic!("{table}: {e:?}")).get(0)
}

#[test]
fn no_predefined_role_reads_or_writes_a_row_of_the_extensions_tables() {
    let (cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('product')");
    client
        .batch_execute(
            "CREATE ROLE snooper LOGIN; GRANT pg_read_all_data, pg_write_all_data TO snooper;
             SELECT event_source.create_secret('reader'), event_source.revoke('1');
             INSERT INTO product SELECT n FROM generate_series(1000, 3000) n;
             ANALYZE",
        )
        .unwrap();
    let mut snooper = cluster.connect_as("snooper");
    let tables = relations(&mut client, "rp");
    assert!(tables.len() >= 24, "{tables:?}");
    for table in &tables {
        let before = count(&mut client, table);
        assert_eq!(count(&mut snooper, table), 0, "{table}");
        assert_eq!(snooper.execute(&format!("DELETE FROM {table}"), &[]).unwrap(), 0, "{table}");
        let column: String = client
            .query_one(
                "SELECT attname::text FROM pg_attribute
                 WHERE attrelid = $1::text::regclass AND attnum = 1",
                &[table],
            )
            .unwrap()
            .get(0);
        let update = format!("UPDATE {table} SET {column} = {column}");
        assert_eq!(snooper.execute(&update, &[]).unwrap(), 0, "{table}");
        let insert = format!("INSERT INTO {table} SELECT (NULL::{table}).*");
        assert_eq!(refused(snooper.execute(&insert, &[])).code, "42501", "{table}");
        let copied = snooper.execute(&format!("COPY {table} FROM PROGRAM 'true'"), &[]);
        assert_eq!(refused(copied).code, "42501", "{table}");
        assert_eq!(count(&mut client, table), before, "{table}");
    }
    for filled in ["signing_key", "secret", "revocation", "capture", "shape"] {
        assert_ne!(count(&mut client, &format!("event_source.{filled}")), 0, "{filled}");
    }
    // Statistics are values of the rows.
    let shown: i64 = snooper
        .query_one("SELECT count(*) FROM pg_stats WHERE schemaname = 'event_source'", &[])
        .unwrap()
        .get(0);
    assert_eq!(shown, 0);
    // What a view shows is looked up as its owner: none may be written through.
    for view in relations(&mut client, "v") {
        for write in ["DELETE FROM $v", "INSERT INTO $v DEFAULT VALUES"] {
            let said = refused(snooper.batch_execute(&write.replace("$v", &view)));
            assert_eq!(said.code, "55000", "{write} {view}");
        }
    }
    // The extension's own code notices nothing of it.
    client
        .batch_execute("SELECT event_source.rotate_key(); DELETE FROM product WHERE id = 1000")
        .unwrap();
    assert_eq!(story(&mut client, &token).len(), 2002);
    assert!(mint(&mut client, "event_source('product')").starts_with("est_"));
}

#[test]
fn an_owner_of_the_extension_who_is_no_superuser_any_more_keeps_its_keys() {
    let cluster = Cluster::options()
        .conf("event_source.listen", "")
        .conf("event_source.superuser_tokens", "off")
        .start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "DROP EXTENSION event_source; CREATE ROLE installer LOGIN SUPERUSER;
             CREATE ROLE reader LOGIN; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO reader",
        )
        .unwrap();
    let mut installer = cluster.connect_as("installer");
    installer
        .batch_execute(
            "CREATE EXTENSION event_source; SELECT event_source.capture('t');
             ALTER ROLE installer NOSUPERUSER",
        )
        .unwrap();
    let mut installer = cluster.connect_as("installer");
    let token = mint(&mut cluster.connect_as("reader"), "event_source('t')");
    installer
        .batch_execute(
            "SELECT event_source.rotate_key(), event_source.create_secret('installer');
             SELECT count(*) FROM event_source.secrets",
        )
        .unwrap();
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(story(&mut cluster.connect_as("reader"), &token), ["add 1"]);
    let id: String =
        client.query_one("SELECT event_source.describe($1)->>'id'", &[&token]).unwrap().get(0);
    installer.execute("SELECT event_source.revoke($1)", &[&id]).unwrap();
    let said = refused(sql::event_page(&mut client, &token, None, 10, &[]));
    assert_eq!(said.message, "the event source was revoked");
}

#[test]
fn a_secret_whose_role_is_gone_is_not_dumped_as_the_number_of_another() {
    let (cluster, mut client) = shop();
    client
        .batch_execute(
            "CREATE ROLE leaver; SELECT event_source.create_secret('leaver', label => 'gone');
             SELECT event_source.create_secret('reader', label => 'here'); DROP ROLE leaver",
        )
        .unwrap();
    let dump = std::fs::read_to_string(cluster.dump("app.sql", &[])).unwrap();
    assert!(dump.contains("\there\t") && !dump.contains("\tgone\t"), "{dump}");
}

#[test]
fn a_backups_role_dumps_the_keys_with_bypassrls_and_everything_else_without() {
    let (cluster, mut client) = shop();
    client
        .batch_execute(
            "INSERT INTO product VALUES (4711); CREATE ROLE backup LOGIN; GRANT pg_read_all_data TO backup",
        )
        .unwrap();
    let dump = |options: &[&str]| {
        let options = [&["--username=backup"], options].concat();
        std::fs::read_to_string(cluster.dump("backup.sql", &options)).unwrap()
    };
    let without = dump(&["--exclude-table-data=event_source.*"]);
    assert!(without.contains("4711") && !without.contains("COPY event_source."), "{without}");
    client.batch_execute("ALTER ROLE backup BYPASSRLS").unwrap();
    let with = dump(&[]);
    assert!(with.contains("4711") && with.contains("COPY event_source.signing_key"), "{with}");
}

#[test]
fn a_query_without_a_secret_is_refused_where_one_is_required() {
    let (cluster, mut client) = served(
        "CREATE ROLE reader; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO reader;
         SELECT event_source.capture('t')",
    );
    let secret = mint(&mut client, "event_source.create_secret('reader')");
    cluster.set("event_source.anonymous_role", "reader");
    cluster.reload();
    let ask = |headers: &[(&str, &str)]| {
        v10::query_with(cluster.http(), Version::Http1, headers, "t.all().eventSource()")
    };
    wait_until("the role to count", super::LONG, || ask(&[]).is_ok());
    let source = ask(&[]).unwrap();
    cluster.set("event_source.require_secret", "on");
    cluster.reload();
    wait_until("the secret to be required", super::LONG, || ask(&[]).is_err());
    assert_eq!(ask(&[]).unwrap_err().code(), Some("unauthorized"));
    let bearer = format!("Bearer {secret}");
    assert!(ask(&[("authorization", &bearer)]).is_ok());
    let mut request = Request::new(source["@stream"].as_str().unwrap());
    assert_eq!(Stream::open(cluster.http(), &request).unwrap_err().code(), Some("unauthorized"));
    request.secret = Some(secret);
    assert!(Stream::open(cluster.http(), &request).is_ok());
}

#[test]
fn no_credential_stands_in_the_servers_log() {
    let (cluster, mut client) = shop();
    client
        .batch_execute("SET log_min_duration_statement = 0; SET log_error_verbosity = verbose")
        .unwrap();
    let token = mint(&mut client, "event_source('product', expires_in => '1 microsecond')");
    let secret = mint(&mut client, "event_source.create_secret('reader')");
    let calls = [
        format!("SELECT event_page('{token}')"),
        format!("SELECT event_feed('{token}', page_size => 0)"),
        format!("SELECT event_source.describe('{token}x')"),
        format!("SELECT '{token}'::int"),
        format!("SELECT '{secret}'::int"),
        format!("DO $$ BEGIN PERFORM event_page('{token}'); END $$"),
        format!(
            "DO $$ BEGIN RAISE EXCEPTION 'no' USING detail = '{token}', hint = '{secret}'; END $$"
        ),
        format!("SELECT event_page('{token}') FROM"),
        format!("SELECT event_source.revoke('{token}'), 1/0"),
        format!("SELECT * FROM event_feed('{token}') -- {secret}"),
    ];
    for call in &calls {
        client.batch_execute(call).unwrap_err();
    }
    // One that is none is told as ever.
    let name = "test_name_of_a_table_that_is_not_there_and_is_as_long_as_may_be";
    client.batch_execute(&format!("SELECT * FROM {name}")).unwrap_err();
    let log = cluster.log();
    let logged = log.matches("ERROR:").count();
    assert!(logged > calls.len(), "{log}");
    for credential in [&token, &secret] {
        assert!(!log.contains(credential.as_str()), "a credential in the log: {log}");
    }
    assert!(log.contains("est_...") && log.contains("ess_..."), "{log}");
    assert!(log.contains(&format!("STATEMENT:  SELECT * FROM {name}")), "{log}");
}

//! Secrets: stored hashed, shown to nobody, acting as their role.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::consume::{Failed, Request, Stream};
use event_source_tests::follow::{mint, refused};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;

fn with_roles() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE ROLE reader LOGIN; CREATE ROLE nobody LOGIN;
             CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO reader;
             SELECT event_source.capture('t');",
        )
        .unwrap();
    (cluster, client)
}

fn secret(client: &mut Client, call: &str) -> String {
    let secret = mint(client, &format!("event_source.create_secret({call})"));
    assert!(secret.starts_with("ess_"), "{secret}");
    secret
}

/// Opens a stream by token and secret; `None` when both allow it, else the error's code.
fn refusal(cluster: &Cluster, token: &str, secret: &str) -> Option<String> {
    let mut request = Request::new(token);
    request.secret = Some(secret.to_owned());
    match Stream::open(cluster.http(), &request) {
        Ok(_) => None,
        Err(failed @ Failed::Refused { .. }) => Some(failed.code().unwrap_or("").to_owned()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_secret_is_never_stored_or_shown() {
    let (_cluster, mut client) = with_roles();
    let secret = secret(&mut client, "'reader', label => 'for the test'");
    let bare = secret.trim_start_matches("ess_");
    let tables = client
        .query(
            "SELECT c.oid::regclass::text FROM pg_class c
             WHERE c.relnamespace = 'event_source'::regnamespace AND c.relkind IN ('r', 'v')",
            &[],
        )
        .unwrap();
    for table in tables {
        let table: String = table.get(0);
        let found: i64 = client
            .query_one(
                &format!("SELECT count(*) FROM {table} x WHERE x::text LIKE '%' || $1 || '%'"),
                &[&bare],
            )
            .unwrap()
            .get(0);
        assert_eq!(found, 0, "in {table}");
    }
    let row = client
        .query_one("SELECT count(*) FROM event_source.secrets WHERE label = 'for the test'", &[])
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}

#[test]
fn secrets_are_made_only_where_granted_and_only_for_roles_one_is_a_member_of() {
    let (cluster, mut client) = with_roles();
    let mut nobody = cluster.connect_as("nobody");
    let said = refused(nobody.query("SELECT event_source.create_secret()", &[]));
    assert_eq!(said.code, "42501");
    client
        .batch_execute(
            "GRANT USAGE ON SCHEMA event_source TO nobody;
             GRANT EXECUTE ON FUNCTION event_source.create_secret TO nobody;
             CREATE ROLE above BYPASSRLS; GRANT above TO nobody;",
        )
        .unwrap();
    let _ = secret(&mut nobody, "");
    for role in ["reader", "postgres", "above"] {
        let call = format!("SELECT event_source.create_secret('{role}')");
        assert_eq!(refused(nobody.query(&call, &[])).code, "42501", "{role}");
    }
    for role in ["postgres", "above"] {
        let call = format!("SELECT event_source.create_secret('{role}')");
        refused(client.query(&call, &[]));
    }
    client.batch_execute("GRANT reader TO nobody").unwrap();
    let _ = secret(&mut nobody, "'reader'");
}

#[test]
fn everyone_sees_only_their_own_secrets() {
    let (cluster, mut client) = with_roles();
    let _ = secret(&mut client, "'reader'");
    let _ = secret(&mut client, "'nobody'");
    let count = |client: &mut Client| -> i64 {
        client.query_one("SELECT count(*) FROM event_source.secrets", &[]).unwrap().get(0)
    };
    assert_eq!(count(&mut cluster.connect_as("reader")), 1);
    assert_eq!(count(&mut client), 2);
    client.batch_execute("CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher").unwrap();
    assert_eq!(count(&mut cluster.connect_as("watcher")), 2);
}

#[test]
fn beside_a_token_the_secrets_role_must_be_allowed_too() {
    let (cluster, mut client) = with_roles();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    let reader = secret(&mut client, "'reader'");
    let nobody = secret(&mut client, "'nobody'");
    assert_eq!(refusal(&cluster, &token, &reader), None);
    assert_eq!(refusal(&cluster, &token, &nobody).as_deref(), Some("permission_denied"));
    assert_eq!(refusal(&cluster, &token, "ess_wrong").as_deref(), Some("unauthorized"));
    client.batch_execute("REVOKE SELECT ON t FROM reader").unwrap();
    assert_eq!(refusal(&cluster, &token, &reader).as_deref(), Some("permission_denied"));
}

#[test]
fn a_revoked_or_expired_secret_is_refused() {
    let (cluster, mut client) = with_roles();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    let revoked = secret(&mut client, "'reader', label => 'revoked'");
    let short = secret(&mut client, "'reader', expires_in => '1 second'");
    assert_eq!(refusal(&cluster, &token, &revoked), None);
    client
        .batch_execute(
            "SELECT event_source.revoke_secret(id) FROM event_source.secrets
             WHERE label = 'revoked'",
        )
        .unwrap();
    assert_eq!(refusal(&cluster, &token, &revoked).as_deref(), Some("unauthorized"));
    wait_until("the secret to expire", LONG, || {
        refusal(&cluster, &token, &short).as_deref() == Some("unauthorized")
    });
    let log = cluster.log();
    for credential in [&token, &revoked, &short] {
        assert!(!log.contains(credential.as_str()), "a credential in the log");
    }
}

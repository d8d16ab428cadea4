//! JWTs beside tokens and with queries: whom they act as, and every way in which they are refused.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use event_source_tests::consume::v10::{self, V10Stream};
use event_source_tests::consume::{Failed, Kind, Request, Stream, Version};
use event_source_tests::follow::mint;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, jwt, wait_until};
use postgres::Client;
use serde_json::json;

/// Role `reader` may, by way of `readers`; `nobody` may not see the table, `stranger` was not granted to
/// the parent role, and the others must not be taken by anybody.
fn served() -> (Cluster, Client, String) {
    let cluster = Cluster::options()
        .conf("event_source.jwt_key_file", jwt::KEY_FILE)
        .conf("event_source.jwt_parent_role", "parent")
        .start();
    jwt::put_key(&cluster, jwt::SECRET);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t');
             CREATE ROLE parent; CREATE ROLE readers; CREATE ROLE reader; CREATE ROLE nobody;
             CREATE ROLE stranger; CREATE ROLE above BYPASSRLS; CREATE ROLE root SUPERUSER;
             GRANT readers, nobody, above, root TO parent; GRANT reader TO readers;
             GRANT SELECT ON t TO reader, stranger, parent, above",
        )
        .unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    (cluster, client, token)
}

/// The code with which a stream by token and credential is refused, `None` when it opens.
fn refusal(cluster: &Cluster, token: &str, credential: &str) -> Option<String> {
    let mut request = Request::new(token);
    request.secret = Some(credential.to_owned());
    match Stream::open(cluster.http(), &request) {
        Ok(_) => None,
        Err(failed @ Failed::Refused { .. }) => Some(failed.code().unwrap_or("").to_owned()),
        Err(other) => panic!("{other}"),
    }
}

fn unauthorized() -> Option<String> {
    Some("unauthorized".to_owned())
}

#[test]
fn a_jwt_acts_as_its_role_wherever_a_secret_may_be_given() {
    let (cluster, mut client, token) = served();
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    let good = jwt::by_secret(&jwt::claims("reader", 600));
    assert_eq!(refusal(&cluster, &token, &good), None);
    let mut stream = V10Stream::open(cluster.http(), Version::Http2, &good, &token, None).unwrap();
    assert_eq!(stream.next(LONG).unwrap().unwrap().kind, Kind::Status);
    let page = v10::page(cluster.http(), Version::Http1, &good, &token, None, &json!({}));
    assert_eq!(page.unwrap().events.len(), 1);
    let basic = format!("Basic {}", STANDARD.encode(format!("{good}:")));
    let bearer = format!("bearer {good}");
    for header in [
        ("authorization", bearer.as_str()),
        ("authorization", basic.as_str()),
        ("x-access-token", good.as_str()),
    ] {
        let answer = v10::query_with(cluster.http(), Version::Http1, &[header], "t.all()").unwrap();
        assert_eq!(answer["@set"]["data"].as_array().unwrap().len(), 1, "{header:?}");
    }
    // A source that a JWT's role makes is that role's.
    let query = "t.all().eventSource()";
    let made = v10::query(cluster.http(), Version::Http2, &good, query).unwrap();
    let role: String = client
        .query_one("SELECT event_source.describe($1)->>'role'", &[&made["@stream"].as_str()])
        .unwrap()
        .get(0);
    assert_eq!(role, "reader");
}

#[test]
fn it_may_take_roles_that_were_granted_to_the_parent_role_and_no_others() {
    let (cluster, _client, token) = served();
    let by = |role: &str| refusal(&cluster, &token, &jwt::by_secret(&jwt::claims(role, 600)));
    assert_eq!(by("reader"), None, "by way of another");
    assert_eq!(by("nobody").as_deref(), Some("permission_denied"), "both must be allowed");
    for role in ["stranger", "parent", "above", "root", "postgres", "is not there", "", "public"] {
        assert_eq!(by(role), unauthorized(), "{role:?}");
    }
}

#[test]
fn one_that_is_not_good_is_refused_and_nobody_is_told_why() {
    let (cluster, _client, token) = served();
    let good = jwt::claims("reader", 600);
    let signed = jwt::by_secret(&good);
    let unsigned = {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(json!({ "alg": "none" })), part(good.clone()))
    };
    let bad = [
        ("unsigned", unsigned),
        ("expired", jwt::by_secret(&json!({ "role": "reader", "exp": jwt::in_seconds(0) - 1 }))),
        ("without an end", jwt::by_secret(&json!({ "role": "reader" }))),
        ("without a role", jwt::by_secret(&json!({ "exp": jwt::in_seconds(600) }))),
        ("too early", {
            let mut claims = good.clone();
            claims["nbf"] = json!(jwt::in_seconds(60));
            jwt::by_secret(&claims)
        }),
        ("signed by another", jwt::by_text("another secret that is long enough too", &good)),
        ("of another algorithm", jwt::by_p256(&good)),
        ("cut", signed[..signed.len() - 2].to_owned()),
        ("no JWT", "a.b.c".to_owned()),
    ];
    let mut said = Vec::new();
    for (what, credential) in &bad {
        let mut request = Request::new(&token);
        request.secret = Some(credential.clone());
        match Stream::open(cluster.http(), &request) {
            Err(Failed::Refused { status, body }) => {
                assert_eq!(status, 401, "{what}");
                said.push(body);
            }
            other => panic!("{what}: {other:?}"),
        }
        let query = v10::query(cluster.http(), Version::Http1, credential, "t.all()");
        assert_eq!(query.unwrap_err().code(), Some("unauthorized"), "{what}");
    }
    assert!(said.iter().all(|body| *body == said[0]), "{said:?}");
    let log = cluster.log();
    assert!(!bad.iter().any(|(_, credential)| log.contains(credential)), "it is in the log");
}

#[test]
fn another_key_counts_after_a_reload_and_ends_what_the_old_one_opened() {
    let (cluster, _client, token) = served();
    let (old, new) = (jwt::claims("reader", 600), jwt::claims("reader", 601));
    let (old, new) = (jwt::by_secret(&old), jwt::by_p256(&new));
    let mut request = Request::new(&token);
    request.secret = Some(old.clone());
    let mut stream = Stream::open(cluster.http(), &request).unwrap();
    assert_eq!(refusal(&cluster, &token, &new), unauthorized());
    jwt::put_key(&cluster, jwt::P256_PUBLIC);
    assert_eq!(refusal(&cluster, &token, &old), None, "it was not reloaded");
    cluster.reload();
    wait_until("the new key", LONG, || refusal(&cluster, &token, &new).is_none());
    assert_eq!(refusal(&cluster, &token, &old), unauthorized());
    // The public key is no secret.
    let forged = jwt::by_text(jwt::P256_PUBLIC, &jwt::claims("reader", 600));
    assert_eq!(refusal(&cluster, &token, &forged), unauthorized());
    let code = loop {
        let event = stream.next(LONG).unwrap().expect("an error comes");
        if let Some(error) = event.error {
            break error.code;
        }
    };
    assert_eq!(code, "unauthorized");
}

#[test]
fn without_a_good_key_no_jwt_is_and_the_log_says_so_once() {
    let (cluster, _client, token) = served();
    let good = jwt::by_secret(&jwt::claims("reader", 600));
    assert_eq!(refusal(&cluster, &token, &good), None);
    for (key, complaint) in [
        (Some("too short"), "a shared secret must have 32 bytes at least"),
        (Some("-----BEGIN PRIVATE KEY-----\nAAAA\n"), "it is a private key"),
        (None, "No such file or directory"),
    ] {
        match key {
            Some(key) => jwt::put_key(&cluster, key),
            None => std::fs::remove_file(cluster.data().join(jwt::KEY_FILE)).unwrap(),
        }
        cluster.reload();
        wait_until("the key to be gone", LONG, || {
            refusal(&cluster, &token, &good) == unauthorized() && cluster.log().contains(complaint)
        });
        assert_eq!(refusal(&cluster, &token, &good), unauthorized());
        assert_eq!(cluster.log().matches(complaint).count(), 1, "{complaint}");
    }
    // What needs no JWT goes on.
    assert!(Stream::open(cluster.http(), &Request::new(&token)).is_ok());
    for (name, value) in [("event_source.jwt_parent_role", ""), ("event_source.jwt_key_file", "")] {
        jwt::put_key(&cluster, jwt::SECRET);
        cluster.set("event_source.jwt_key_file", jwt::KEY_FILE);
        cluster.set("event_source.jwt_parent_role", "parent");
        cluster.reload();
        wait_until("it to be set", LONG, || refusal(&cluster, &token, &good).is_none());
        cluster.set(name, value);
        cluster.reload();
        wait_until("it to be empty", LONG, || refusal(&cluster, &token, &good) == unauthorized());
    }
}

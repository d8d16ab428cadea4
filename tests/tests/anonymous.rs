//! Queries of nobody: what they may ask, and that a credential which is not good is never worth none.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::consume::{Failed, Request, Stream, Version, v10};
use event_source_tests::follow::mint;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;
use serde_json::Value;

type Headers<'a> = &'a [(&'a str, &'a str)];

fn served() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE ROLE anybody; CREATE ROLE above BYPASSRLS;
             CREATE TABLE open (id int PRIMARY KEY); CREATE TABLE closed (id int PRIMARY KEY);
             GRANT SELECT ON open TO anybody;
             SELECT event_source.capture('open'), event_source.capture('closed');
             INSERT INTO open VALUES (1), (2)",
        )
        .unwrap();
    let _ = cluster.serving();
    (cluster, client)
}

fn ask(cluster: &Cluster, headers: Headers<'_>, query: &str) -> Result<Value, Failed> {
    v10::query_with(cluster.http(), Version::Http1, headers, query)
}

fn refused(cluster: &Cluster, headers: Headers<'_>, query: &str) -> String {
    let failed = ask(cluster, headers, query).expect_err(query);
    failed.code().unwrap_or_default().to_owned()
}

fn act_as(cluster: &Cluster, role: &str) {
    cluster.set("event_source.anonymous_role", role);
    cluster.reload();
}

#[test]
fn a_query_without_a_credential_acts_as_the_anonymous_role() {
    let (cluster, mut client) = served();
    assert_eq!(refused(&cluster, &[], "open.all()"), "unauthorized");
    act_as(&cluster, "anybody");
    wait_until("the role to count", LONG, || ask(&cluster, &[], "open.all()").is_ok());
    let answer = ask(&cluster, &[], "open.all()").unwrap();
    assert_eq!(answer["@set"]["data"].as_array().unwrap().len(), 2);
    assert_ne!(refused(&cluster, &[], "closed.all()"), "unauthorized");
    // A page goes on as the same role.
    let page = ask(&cluster, &[], "open.all().pageSize(1)").unwrap();
    let after = page["@set"]["after"].as_str().unwrap();
    let next = ask(&cluster, &[], &format!("Set.paginate(\"{after}\")")).unwrap();
    assert_eq!(next["data"].as_array().unwrap().len(), 1, "{next}");
    let source = ask(&cluster, &[], "open.all().eventSource()").unwrap();
    let token = source["@stream"].as_str().unwrap();
    let described = "SELECT event_source.describe($1)->>'role'";
    assert_eq!(client.query_one(described, &[&token]).unwrap().get::<_, String>(0), "anybody");
    // Nobody may follow what nobody may ask for by a token.
    assert!(Stream::open(cluster.http(), &Request::new(token)).is_ok());
}

#[test]
fn a_credential_that_is_not_good_is_never_the_anonymous_role() {
    let (cluster, mut client) = served();
    act_as(&cluster, "anybody");
    wait_until("the role to count", LONG, || ask(&cluster, &[], "open.all()").is_ok());
    let token = mint(&mut client, "event_source('open')");
    for credential in ["ess_wrong", "a.b.c", "x", &token] {
        let bearer = format!("Bearer {credential}");
        for headers in [[("authorization", bearer.as_str())], [("x-access-token", credential)]] {
            assert_eq!(refused(&cluster, &headers, "open.all()"), "unauthorized", "{credential}");
        }
    }
    for unreadable in ["Bearer", "Bearer ", "Basic OmE=", "Digest x"] {
        let headers = [("authorization", unreadable)];
        assert_eq!(refused(&cluster, &headers, "open.all()"), "unauthorized", "{unreadable}");
    }
    // Streams and feeds need what they needed before.
    let nothing = v10::page(cluster.http(), Version::Http1, "", &token, None, &Value::Null);
    assert_eq!(nothing.unwrap_err().code(), Some("unauthorized"));
}

#[test]
fn a_role_that_bypasses_what_others_are_held_to_is_not_used_and_the_log_says_so_once() {
    let (cluster, mut client) = served();
    for role in ["above", "postgres", "is not there"] {
        act_as(&cluster, role);
        let complaint = format!("\"{role}\" does not exist, is a superuser or has BYPASSRLS");
        wait_until("it to be refused", LONG, || {
            assert_eq!(refused(&cluster, &[], "open.all()"), "unauthorized", "{role}");
            cluster.log().contains(&complaint)
        });
        assert_eq!(refused(&cluster, &[], "open.all()"), "unauthorized", "{role}");
        assert_eq!(cluster.log().matches(&complaint).count(), 1, "{role}");
    }
    act_as(&cluster, "anybody");
    wait_until("the role to count", LONG, || ask(&cluster, &[], "open.all()").is_ok());
    client.batch_execute("ALTER ROLE anybody BYPASSRLS").unwrap();
    assert_eq!(refused(&cluster, &[], "open.all()"), "unauthorized");
}

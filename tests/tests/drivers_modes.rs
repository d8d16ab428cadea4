//! The official drivers in each of their modes: streams by callback and by iteration, over HTTP/2 and over
//! `FetchClient`, feeds, by a token and by a query, a token as a query's argument, and a session that
//! Node's driver gives up while its stream goes on.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::time::Duration;

use crate::drivers::driver::{DRIVERS, Driver};
use crate::drivers::shop::Shop;
use event_source_tests::consume::{Failed, Request, Stream};
use serde_json::{Value, json};

fn ids<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    events.into_iter().map(|event| event["data"]["document"]["id"].as_str().unwrap()).collect()
}

#[test]
fn every_mode_of_every_driver_by_a_token_and_by_a_query_tells_the_same() {
    let shop = Shop::open();
    for driver in DRIVERS {
        for mode in ["stream", "iterate"] {
            for by in ["token", "query"] {
                shop.run(&["TRUNCATE product"]);
                let mut config = json!({ "mode": mode, "secret": shop.secret, "count": 3 });
                config[by] = match by {
                    "token" => json!(shop.select("SELECT event_source('product')")),
                    _ => json!(["Product.all().eventSource()"]),
                };
                let program = driver.start(&shop.cluster, &config).opened();
                shop.run(&["INSERT INTO product (id) VALUES (1), (2), (3)"]);
                assert_eq!(ids(&program.events(3)), ["1", "2", "3"], "{driver:?} {mode} by {by}");
            }
        }
        let token = shop.select("SELECT event_source('product')");
        shop.run(&["UPDATE product SET price = 1"]);
        let config = json!({ "mode": "feed", "secret": shop.secret, "token": token });
        let pages = driver.start(&shop.cluster, &config).pages();
        assert_eq!(ids(pages[0]["events"].as_array().unwrap()), ["1", "2", "3"], "{driver:?}");
        // A query's token starts where the query stood, and then nothing happened.
        let query = json!(["Product.all().eventSource()"]);
        let config = json!({ "mode": "feed", "secret": shop.secret, "query": query });
        let pages = driver.start(&shop.cluster, &config).pages();
        let events: Vec<&Value> =
            pages.iter().flat_map(|p| p["events"].as_array().unwrap()).collect();
        assert!(events.is_empty() && !pages.is_empty(), "{driver:?}: {pages:?}");
    }
}

/// Node's drivers send the bare text, the one for Python a tagged value.
#[test]
fn a_token_may_be_the_argument_of_a_query() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    for driver in DRIVERS {
        let query = json!(["let given = ", { "source": token }, "\n{ given: given }"]);
        let config = json!({ "mode": "query", "secret": shop.secret, "query": query });
        let answers = driver.start(&shop.cluster, &config).answers();
        let given = driver.decodes(json!(token), json!({ "source": token }));
        assert_eq!(answers, [json!({ "object": { "given": given } })], "{driver:?}");
    }
}

/// After five seconds without a frame Node's client says GOAWAY, and its streams stay open.
#[test]
fn a_stream_outlives_the_session_that_nodes_driver_gives_up() {
    const LONGER: Duration = Duration::from_secs(7);
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let config = json!({ "mode": "stream", "secret": shop.secret, "token": token, "count": 2 });
    let program = Driver::NodeHttp2.start(&shop.cluster, &config).opened();
    let mut silent = Stream::open(shop.cluster.http(), &Request::new(&token)).unwrap();
    let status = silent.next(LONGER).unwrap();
    for id in 1..=2 {
        // Nothing comes on any stream meanwhile.
        let quiet = silent.next(LONGER);
        assert!(matches!(quiet, Err(Failed::TimedOut(_))), "{status:?}, then {quiet:?}");
        shop.run(&[&format!("INSERT INTO product (id) VALUES ({id})")]);
        assert_eq!(program.event()["data"]["document"]["id"], id.to_string());
        assert_eq!(silent.next_change(LONGER).key, Some(id.into()));
    }
    assert_eq!(program.events(0), Vec::<Value>::new(), "and it ends without an error");
}

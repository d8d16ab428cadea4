//! Fauna's v10 wire as it is on the wire, where the drivers do not show it: statuses, framing,
//! refusals with their exact codes and messages, and that live, replayed and paged events are equal.

use crate::drivers::shop::Shop;
use event_source_tests::consume::v10::{Tagged, TaggedPage, V10Stream, page};
use event_source_tests::consume::{Failed, Kind, Version};
use event_source_tests::wait::LONG;
use event_source_tests::wait::wait_for;
use serde_json::{Value, json};

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

impl Shop {
    fn stream(&self, version: Version, token: &str, cursor: Option<&str>) -> V10Stream {
        V10Stream::open(self.cluster.http(), version, &self.secret, token, cursor)
            .expect("the stream opens")
    }

    fn page(&self, token: &str, cursor: Option<&str>, more: &Value) -> Result<TaggedPage, Failed> {
        page(self.cluster.http(), Version::Http1, &self.secret, token, cursor, more)
    }
}

fn next(stream: &mut V10Stream) -> Tagged {
    stream.next(LONG).expect("an event comes").expect("the stream goes on")
}

/// Without what it cost, which differs from one delivery to the next.
fn without_cost(event: Tagged) -> Value {
    json!([event.kind, event.txn_ts, event.cursor, event.data])
}

#[test]
fn a_stream_says_at_once_where_it_starts() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    shop.run(&["INSERT INTO product (id) VALUES (1), (2)"]);
    for version in VERSIONS {
        let mut stream = shop.stream(version, &token, None);
        let status = next(&mut stream);
        assert_eq!((status.kind, status.data.is_none()), (Kind::Status, true));
        let first = next(&mut stream);
        assert_eq!(first.kind, Kind::Add);
        // Resumed inside the transaction: the status has the exact cursor, since a connection that
        // breaks right behind it would otherwise get events again.
        let mut resumed = shop.stream(version, &token, first.cursor.as_deref());
        let status = next(&mut resumed);
        assert_eq!((status.kind, status.cursor), (Kind::Status, first.cursor));
        let second = next(&mut resumed);
        assert_eq!(without_cost(second), without_cost(next(&mut stream)));
    }
}

#[test]
fn live_replayed_and_paged_events_are_equal() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let mut live = shop.stream(Version::Http2, &token, None);
    assert_eq!(next(&mut live).kind, Kind::Status);
    shop.run(&[
        "INSERT INTO product (id, price, extra) VALUES (1, 10, '{\"a\": [1, 2.5]}')",
        "BEGIN; UPDATE product SET price = 11; INSERT INTO product (id) VALUES (2); COMMIT",
        "DELETE FROM product",
    ]);
    let live: Vec<Value> = (0..5).map(|_| without_cost(next(&mut live))).collect();
    let mut replay = shop.stream(Version::Http1, &token, None);
    assert_eq!(next(&mut replay).kind, Kind::Status);
    let replayed: Vec<Value> = (0..5).map(|_| without_cost(next(&mut replay))).collect();
    let paged = shop.page(&token, None, &json!({})).expect("a page");
    assert!(!paged.has_next, "a feed has no status and nothing behind the last event");
    let paged: Vec<Value> = paged.events.into_iter().map(without_cost).collect();
    assert_eq!(live, replayed);
    assert_eq!(live, paged);
}

#[test]
fn a_feed_without_anything_new_moves_on() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let first = shop.page(&token, None, &json!({})).expect("a page");
    assert!(first.events.is_empty() && !first.has_next, "{first:?}");
    shop.run(&[
        "CREATE TABLE elsewhere (id int PRIMARY KEY)",
        "SELECT event_source.capture('elsewhere')",
        "INSERT INTO elsewhere VALUES (1)",
    ]);
    let second = shop.page(&token, Some(&first.cursor), &json!({})).expect("a page");
    assert_ne!(first.cursor, second.cursor, "or it would have all of that to pass again");
    shop.run(&["INSERT INTO product (id) VALUES (1)"]);
    let third = shop.page(&token, Some(&first.cursor), &json!({})).expect("a page");
    let fourth = shop.page(&token, Some(&second.cursor), &json!({})).expect("a page");
    assert_eq!((third.events.len(), &third.events[0].data), (1, &fourth.events[0].data));
}

#[test]
fn a_feed_may_start_before_its_token_and_a_stream_may_not() {
    let shop = Shop::open();
    let before = shop.select("SELECT event_source.txn_ts(clock_timestamp())::text");
    let before: i64 = before.parse().expect("microseconds");
    shop.run(&["INSERT INTO product (id) VALUES (1)"]);
    let token = shop.select("SELECT event_source('product')");
    let fed = shop.page(&token, None, &json!({ "start_ts": before })).expect("a page");
    assert_eq!(fed.events.len(), 1);
    let cursor = fed.events[0].cursor.as_deref();
    // A token starts at the closed timestamp of the newest stamp it sees, which may still lie before
    // that stamp itself and others; a few changes later it is past the first one.
    let mut id = 1;
    let (status, body) = wait_for("a token behind the first change", LONG, || {
        id += 1;
        shop.run(&[&format!("INSERT INTO product (id) VALUES ({id})")]);
        let token = shop.select("SELECT event_source('product')");
        let opened =
            V10Stream::open(shop.cluster.http(), Version::Http1, &shop.secret, &token, cursor);
        match opened {
            Err(Failed::Refused { status, body }) => Some((status, body)),
            Err(other) => panic!("neither opened nor refused: {other:?}"),
            Ok(_) => None,
        }
    });
    assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("invalid_request")));
    assert_eq!(
        body["error"]["message"],
        "Invalid stream start time: Stream start time can not be before the stream create time."
    );
}

#[test]
fn refusals_have_the_statuses_codes_and_messages_of_fauna() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let both = json!({ "start_ts": 1_710_456_655_930_000_i64 });
    let cases = [
        (token.as_str(), None, json!({ "page_size": 0 }), "page size must be greater than zero."),
        (&token, None, json!({ "page_size": 16001 }), "page size can not be greater than 16000."),
        (&token, None, json!({ "page_size": "1" }), "Unexpected string value '1'."),
        (&token, Some("c"), both, "can not provide both `start_ts` and `cursor`"),
        (&token, Some("c"), json!({}), "invalid event cursor provided"),
        ("est_c", None, json!({}), "invalid event source provided."),
    ];
    for (token, cursor, more, message) in cases {
        let refused = shop.page(token, cursor, &more);
        let Err(Failed::Refused { status, body }) = refused else { panic!("{more}: {refused:?}") };
        assert_eq!(status.as_u16(), 400, "{body}");
        let expected = json!({ "error": {
            "code": "invalid_request", "message": format!("Invalid request body: {message}"),
        } });
        assert_eq!(body, expected, "{more}");
    }
    for secret in ["ess_nonsense", "nonsense", &token[1..]] {
        let refused = page(shop.cluster.http(), Version::Http2, secret, &token, None, &json!({}));
        let Err(Failed::Refused { status, body }) = refused else { panic!("{refused:?}") };
        assert_eq!(status.as_u16(), 401, "{body}");
        assert_eq!(body["error"]["code"], "unauthorized");
    }
}

#[test]
fn the_token_itself_will_do_as_the_secret_and_a_revoked_secret_will_not() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let fed = page(shop.cluster.http(), Version::Http2, &token, &token, None, &json!({}));
    assert!(fed.is_ok(), "{fed:?}");
    shop.page(&token, None, &json!({})).expect("the secret is good");
    shop.run(&["SELECT event_source.revoke_secret(id) FROM event_source.secrets"]);
    let refused = shop.page(&token, None, &json!({}));
    assert_eq!(refused.expect_err("it is revoked").code(), Some("unauthorized"));
}

#[test]
fn a_page_stops_at_an_event_that_cannot_be_evaluated_and_the_next_one_begins_behind_it() {
    let shop = Shop::open();
    let token =
        shop.select("SELECT event_source('product', filter => '10 / price > $1', params => '{0}')");
    for (id, price) in [(1, 5), (2, 0), (3, 2)] {
        shop.run(&[&format!("INSERT INTO product (id, price) VALUES ({id}, {price})")]);
    }
    let first = shop.page(&token, None, &json!({})).expect("a page");
    let kinds: Vec<Kind> = first.events.iter().map(|event| event.kind).collect();
    assert_eq!((kinds, first.has_next), (vec![Kind::Add, Kind::Error], true));
    let second = shop.page(&token, Some(&first.cursor), &json!({})).expect("a page");
    let ids: Vec<&Value> =
        second.events.iter().map(|e| &e.data.as_ref().expect("a row")["@doc"]["id"]).collect();
    assert_eq!((ids, second.has_next), (vec![&json!("3")], false));
}

#[test]
fn what_a_filter_keeps_back_is_read_and_said_so() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product', filter => 'price > 90')");
    shop.run(&["INSERT INTO product (id, price) SELECT n, n FROM generate_series(1, 100) n"]);
    let page = shop.page(&token, None, &json!({ "page_size": 100 })).expect("a page");
    assert_eq!(page.events.len(), 10);
    assert_eq!(page.stats.read_ops, 100);
    // Two integers a row, as the log keeps them.
    assert_eq!(page.stats.storage_bytes_read, 1600);
    let costs: Vec<(u64, u64)> =
        page.events.iter().map(|e| (e.stats.read_ops, e.stats.storage_bytes_read)).collect();
    assert_eq!(costs, vec![(1, 16); 10]);
}

#[test]
fn a_stream_whose_collection_is_released_says_so_and_ends() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    for version in VERSIONS {
        shop.run(&["SELECT event_source.capture('product', name => 'Product')"]);
        let token = if version == Version::Http1 {
            token.clone()
        } else {
            shop.select("SELECT event_source('product')")
        };
        let mut stream = shop.stream(version, &token, None);
        assert_eq!(next(&mut stream).kind, Kind::Status);
        shop.run(&["SELECT event_source.release('product')"]);
        let mut last = next(&mut stream);
        // One may have been on its way.
        if last.kind == Kind::Status {
            last = next(&mut stream);
        }
        assert!(last.kind == Kind::Error && last.error.is_some(), "{last:?}");
        assert!(stream.next(LONG).expect("a clean end").is_none());
    }
}

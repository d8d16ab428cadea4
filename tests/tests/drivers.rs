//! The official Fauna v10 drivers, unmodified, against a real cluster: npm `fauna` over HTTP/2 and
//! over its `FetchClient`, PyPI `fauna`.
//!
//! Their programs are in `tests/clients`; `make setup` installs the drivers. What a test expects
//! here is what a user's program gets to see: decoded values and the driver's own error classes.

pub(crate) mod driver;
pub(crate) mod shop;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use driver::{DRIVERS, Driver};
use event_source_tests::processes::Signal;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use serde_json::{Value, json};
use shop::Shop;

/// Type, id and price of each event.
fn brief(events: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| {
            let document = &event["data"]["document"];
            let price = &document["fields"]["price"];
            let price = ["number", "int"].iter().find_map(|tag| price[*tag].as_str());
            (text(&event["type"]), text(&document["id"]), price.unwrap_or_default().to_owned())
        })
        .collect()
}

/// Follows a source while `statements` run, with every driver, and compares.
fn follow(source: &str, before: &[&str], statements: &[&str], expected: &[(&str, &str, &str)]) {
    let shop = Shop::open();
    for driver in DRIVERS {
        shop.run(&["TRUNCATE product"]);
        shop.run(before);
        let token = shop.select(source);
        let config = json!({
            "mode": "stream", "secret": shop.secret, "token": token, "count": expected.len(),
        });
        let program = driver.start(&shop.cluster, &config).opened();
        shop.run(statements);
        let events = brief(&program.events(expected.len()));
        let events: Vec<_> =
            events.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
        assert_eq!(events, expected, "{driver:?}, {source}");
        // The feed of the same token says the same, and nothing behind it.
        let config = json!({ "mode": "feed", "secret": shop.secret, "token": token });
        let pages = driver.start(&shop.cluster, &config).pages();
        let fed: Vec<Value> = pages
            .iter()
            .flat_map(|page| page["events"].as_array().expect("a list"))
            .cloned()
            .collect();
        let fed = brief(&fed);
        let fed: Vec<_> =
            fed.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
        assert_eq!(fed, expected, "{driver:?}, feed of {source}");
    }
}

#[test]
fn a_collection_source_gives_every_change_of_the_table() {
    follow(
        "SELECT event_source('product')",
        &["INSERT INTO product (id, name, shop, price) VALUES (9, 'old', 1, 90)"],
        &[
            "INSERT INTO product (id, name, shop, price) VALUES (1, 'cups', 42, 10)",
            "UPDATE product SET price = 11 WHERE id = 1",
            "BEGIN; INSERT INTO product (id, price) VALUES (2, 20); ROLLBACK",
            "UPDATE product SET id = 3 WHERE id = 1",
            "DELETE FROM product WHERE id = 3; DELETE FROM product WHERE id = 9",
        ],
        &[
            ("add", "1", "10"),
            ("update", "1", "11"),
            ("remove", "1", "11"),
            ("add", "3", "11"),
            ("remove", "3", "11"),
            ("remove", "9", "90"),
        ],
    );
}

#[test]
fn an_index_set_source_gives_changes_of_terms_and_values_only() {
    follow(
        "SELECT event_source('product_by_shop', terms => ARRAY[42])",
        &["INSERT INTO product (id, name, shop, price) VALUES (9, 'elsewhere', 1, 90)"],
        &[
            "INSERT INTO product (id, name, shop, price) VALUES (1, 'cups', 42, 10)",
            "INSERT INTO product (id, name, shop, price) VALUES (2, 'not ours', 43, 20)",
            "UPDATE product SET name = 'not covered' WHERE id = 1",
            "UPDATE product SET price = 11 WHERE id = 1",
            "UPDATE product SET shop = 43 WHERE id = 1",
            "UPDATE product SET shop = 42 WHERE id = 9",
            "DELETE FROM product",
        ],
        &[
            ("add", "1", "10"),
            ("update", "1", "11"),
            ("remove", "1", "11"),
            ("add", "9", "90"),
            ("remove", "9", "90"),
        ],
    );
}

#[test]
fn a_row_source_follows_one_row() {
    follow(
        "SELECT event_source(p) FROM product p WHERE id = 1",
        &[
            "INSERT INTO product (id, name, shop, price) VALUES (1, 'cups', 42, 10), (2, 'x', 42, 20)",
        ],
        &[
            "UPDATE product SET price = price + 1",
            "DELETE FROM product WHERE id = 1",
            "UPDATE product SET price = 0 WHERE id = 2",
            "INSERT INTO product (id, price) VALUES (1, 12)",
        ],
        &[("update", "1", "11"), ("remove", "1", "11"), ("add", "1", "12")],
    );
}

#[test]
fn values_arrive_as_the_drivers_own_classes() {
    let shop = Shop::open();
    for driver in DRIVERS {
        shop.run(&["TRUNCATE product"]);
        let token = shop.select("SELECT event_source('product')");
        let config = json!({ "mode": "stream", "secret": token, "token": token, "count": 1 });
        let program = driver.start(&shop.cluster, &config).opened();
        shop.run(&[r#"INSERT INTO product VALUES (
            1, E'cups\u2028\u0085 ü', 42, -2147483648, 9007199254740993, 1.5, 12.25, '2024-03-14',
            '2024-03-14 22:50:55.93+00', 'hello', '{a,"b c"}', '{"@odd": 1, "deep": [true, null]}', NULL)"#]);
        let event = &program.events(1)[0];
        let document = &event["data"]["document"];
        assert_eq!(
            (&event["type"], &document["id"], &document["coll"]),
            (&json!("add"), &json!("1"), &json!("Product"))
        );
        let long = |text: &str| driver.decodes(json!({ "bigint": text }), json!({ "int": text }));
        let int = |text: &str| driver.decodes(json!({ "number": text }), json!({ "int": text }));
        let double =
            |text: &str| driver.decodes(json!({ "number": text }), json!({ "float": text }));
        let seen = driver.decodes(
            json!({ "time": "2024-03-14T22:50:55.930Z" }),
            json!({ "time": "2024-03-14T22:50:55.930000+00:00" }),
        );
        // Columns that are NULL are left out.
        let expected = json!({
            "name": "cups\u{2028}\u{85} ü", "shop": int("42"), "price": int("-2147483648"),
            "stock": long("9007199254740993"), "weight": double("1.5"), "cost": double("12.25"),
            "made": { "date": "2024-03-14" }, "seen": seen, "picture": { "bytes": "aGVsbG8=" },
            "tags": ["a", "b c"],
            "extra": { "object": { "@odd": int("1"), "deep": [true, null] } },
        });
        assert_eq!(document["fields"], expected, "{driver:?}");
    }
}

/// The server process is killed under the streams, three times, while a writer goes on.
#[test]
fn a_stream_resumed_after_a_broken_connection_misses_and_repeats_nothing() {
    const ROWS: usize = 3000;
    let shop = Shop::open();
    for driver in DRIVERS {
        shop.run(&["TRUNCATE product"]);
        let token = shop.select("SELECT event_source('product')");
        let config = json!({
            "mode": "stream", "secret": shop.secret, "token": token, "count": ROWS,
            // FetchClient does not come back by itself; its user goes on from the last cursor.
            "resume": true,
        });
        let program = driver.start(&shop.cluster, &config).opened();
        let seen = AtomicUsize::new(0);
        thread::scope(|scope| {
            let writer = scope.spawn(|| write_and_kill(&shop.cluster, ROWS, &seen));
            for id in 1..=ROWS {
                let event = program.event();
                let got = &event["data"]["document"]["id"];
                assert_eq!(*got, json!(id.to_string()), "{driver:?} at event {id}: {event}");
                seen.store(id, Ordering::Relaxed);
            }
            writer.join().expect("the writer panicked");
        });
        // Neither does the feed, from the start of the same token.
        let config = json!({
            "mode": "feed", "secret": shop.secret, "token": token, "page_size": 1000,
        });
        let pages = driver.start(&shop.cluster, &config).pages();
        let fed: usize =
            pages.iter().map(|page| page["events"].as_array().expect("a list").len()).sum();
        assert_eq!(fed, ROWS, "{driver:?}");
    }
}

/// Inserts the rows and kills the server process three times in between. Each time the stream has
/// come near and the writer writes on at once, so that the kill meets events on their way.
fn write_and_kill(cluster: &Cluster, rows: usize, seen: &AtomicUsize) {
    let mut client = cluster.connect();
    let insert = client.prepare("INSERT INTO product (id) VALUES ($1)").expect("it is prepared");
    for id in 1..=rows {
        let number = i32::try_from(id).expect("few rows");
        client.execute(&insert, &[&number]).expect("no session notices that the server is killed");
        if id % (rows / 4) == 0 && id < rows {
            wait_until("the stream to come near", LONG, || seen.load(Ordering::Relaxed) + 20 > id);
            cluster.serving().1.signal(Signal::KILL);
        }
    }
}

#[test]
fn a_stream_starts_behind_the_cursor_it_is_given() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    shop.run(&["INSERT INTO product (id, price) SELECT id, id FROM generate_series(1, 5) AS id"]);
    for driver in DRIVERS {
        let stream = |cursor: &Value, count: usize| {
            let config = json!({
                "mode": "stream", "secret": shop.secret, "token": token,
                "count": count, "cursor": cursor,
            });
            driver.start(&shop.cluster, &config).events(count)
        };
        let all = stream(&Value::Null, 5);
        // Inside the transaction: all five have one txn_ts.
        assert_eq!(all[0]["txn_ts"], all[4]["txn_ts"]);
        assert_eq!(stream(&all[1]["cursor"], 3), all[2..], "{driver:?}");
        let config = json!({
            "mode": "feed", "secret": shop.secret, "token": token, "cursor": all[1]["cursor"],
        });
        let pages = driver.start(&shop.cluster, &config).pages();
        assert_eq!(pages[0]["events"].as_array().expect("a list")[..], all[2..], "{driver:?}");
    }
}

#[test]
fn a_feed_of_fifty_events_at_page_size_two_is_twenty_five_pages() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    for id in 1..=50 {
        shop.run(&[&format!("INSERT INTO product (id) VALUES ({id})")]);
    }
    for driver in DRIVERS {
        let config =
            json!({ "mode": "feed", "secret": shop.secret, "token": token, "page_size": 2 });
        let pages = driver.start(&shop.cluster, &config).pages();
        assert_eq!(pages.len(), 25, "{driver:?}");
        for (at, page) in pages.iter().enumerate() {
            let ids: Vec<&Value> = page["events"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|event| &event["data"]["document"]["id"])
                .collect();
            let id = |n: usize| json!(n.to_string());
            assert_eq!(ids, [&id(2 * at + 1), &id(2 * at + 2)], "{driver:?}");
        }
        if driver != Driver::Python {
            let last: Vec<&Value> = pages.iter().filter(|page| page["has_next"] == false).collect();
            assert_eq!(last.len(), 1, "{driver:?}");
        }
    }
}

/// Each way of being refused, in streams and in feeds.
#[test]
fn refusals_reach_the_user_as_the_drivers_own_error_classes() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let (good, none) = (json!(shop.secret), Value::Null);
    let bad_request = ("InvalidRequestError", json!("invalid_request"));
    let unauthorized = ("AuthenticationError", json!("unauthorized"));
    for driver in DRIVERS {
        for mode in ["stream", "feed"] {
            // Without a secret the driver for Python cannot even send its header.
            let missing = match (driver, mode) {
                (Driver::Python, "stream") => ("RetryableFaunaException", Value::Null),
                (Driver::Python, _) => ("NetworkError", Value::Null),
                _ => unauthorized.clone(),
            };
            let cases = [
                (&good, json!("est_nonsense"), &none, &bad_request),
                (&good, json!(altered(&token)), &none, &bad_request),
                (&good, json!(token), &json!("nonsense"), &bad_request),
                (&json!("ess_nonsense"), json!(token), &none, &unauthorized),
                (&json!(""), json!(token), &none, &missing),
            ];
            for (secret, token, cursor, (class, code)) in cases {
                let config = json!({
                    "mode": mode, "secret": secret, "token": token, "cursor": cursor,
                    "count": 1, "max_attempts": 2,
                });
                let error = driver.start(&shop.cluster, &config).error();
                let got = (&error["class"], &error["code"], &error["drivers_own"]);
                let expected = (&json!(class), code, &json!(true));
                assert_eq!(got, expected, "{driver:?} {mode} with {config}: {error}");
            }
        }
    }
}

/// The token with another letter in its middle: well formed, and not what was signed.
fn altered(token: &str) -> String {
    let middle = token.len() / 2;
    let other = if token[middle..].starts_with('A') { "B" } else { "A" };
    format!("{}{other}{}", &token[..middle], &token[middle + 1..])
}

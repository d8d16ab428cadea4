//! Queries for event sources by the official Fauna v10 drivers, unmodified, and what they read.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use crate::drivers::driver::{DRIVERS, Driver};
use crate::drivers::shop::Shop;
use event_source_tests::consume::{Kind, Version, v10};
use event_source_tests::follow::drain;
use serde_json::{Value, json};

const FRUIT: &str = "INSERT INTO product (id, name, shop, price, tags) VALUES
    (1, 'limes', 42, 10, '{green}'), (2, 'limes', 43, 20, NULL), (3, 'cups', 42, NULL, NULL),
    (4, 'pears', 44, 5, NULL)";

/// A piece of a query that is a text, or a value when it is not.
fn ask(shop: &Shop, driver: Driver, mode: &str, query: &Value) -> Vec<Value> {
    let config = json!({ "mode": mode, "secret": shop.secret, "query": query });
    driver.start(&shop.cluster, &config).answers()
}

fn one(shop: &Shop, driver: Driver, query: &Value) -> Value {
    let mut answers = ask(shop, driver, "query", query);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// The ids of the documents of a set.
fn ids(answer: &Value) -> Vec<String> {
    let documents = answer["set"]["data"].as_array().or(answer.as_array());
    let documents = documents.unwrap_or_else(|| panic!("no set: {answer}"));
    let id = |document: &Value| document["document"]["id"].as_str().unwrap_or("?").to_owned();
    documents.iter().map(id).collect()
}

/// An integer as each driver shows it.
fn number(driver: Driver, number: i64) -> Value {
    driver.decodes(json!({ "number": number.to_string() }), json!({ "int": number.to_string() }))
}

#[test]
fn the_examples_of_the_documentation_run_as_written_there() {
    let shop = Shop::open();
    for driver in DRIVERS {
        shop.run(&["TRUNCATE product", FRUIT]);
        for (query, statement, id) in [
            ("Product.all().eventSource()", "UPDATE product SET price = 6 WHERE id = 4", "4"),
            (
                "Product.byName(\"limes\").eventSource()",
                "UPDATE product SET price = 1; UPDATE product SET name = 'x' WHERE id = 2",
                "2",
            ),
            (
                "// one document\nlet product = Product.byName(\"cups\").first()\n\
                 Set.single(product).eventSource()",
                "UPDATE product SET price = 7",
                "3",
            ),
        ] {
            let config = json!({
                "mode": "stream", "secret": shop.secret, "query": [query], "count": 1,
            });
            let program = driver.start(&shop.cluster, &config).opened();
            shop.run(&[statement]);
            let event = program.events(1).remove(0);
            assert_eq!(event["data"]["document"]["id"], id, "{driver:?}: {query}");
        }
    }
}

#[test]
fn a_query_and_its_token_are_of_one_snapshot() {
    let shop = Shop::open();
    for driver in DRIVERS {
        shop.run(&["TRUNCATE product", FRUIT]);
        let query = json!([
            "let set = Product.where(.price > 4)\n",
            "{ products: set, source: set.eventSource() }"
        ]);
        let answer = one(&shop, driver, &query);
        let fields = &answer["object"];
        assert_eq!(ids(&fields["products"]), ["1", "2", "4"], "{driver:?}");
        shop.run(&[
            "UPDATE product SET price = 3 WHERE id = 1",
            "INSERT INTO product (id, price) VALUES (9, 90)",
        ]);
        let config = json!({
            "mode": "feed", "secret": shop.secret, "token": fields["source"]["source"],
        });
        let pages = driver.start(&shop.cluster, &config).pages();
        let events: Vec<(&str, &str)> = pages
            .iter()
            .flat_map(|page| page["events"].as_array().unwrap())
            .map(|event| {
                let id = event["data"]["document"]["id"].as_str().unwrap();
                (event["type"].as_str().unwrap(), id)
            })
            .collect();
        assert_eq!(events, [("remove", "1"), ("add", "9")], "{driver:?}");
    }
}

#[test]
fn values_of_a_program_are_compared_and_never_read_as_code() {
    let shop = Shop::open();
    let nasty = "it's \\ \"quoted\" $1 ${x} ') OR true; DROP TABLE product; --";
    shop.run(&[FRUIT]);
    let mut client = shop.cluster.connect();
    client.execute("INSERT INTO product (id, name) VALUES (7, $1)", &[&nasty]).unwrap();
    for driver in DRIVERS {
        for query in [
            json!(["Product.byName(", { "value": nasty }, ")"]),
            json!(["Product.where(.name == ", { "value": nasty }, ")"]),
            json!(["Product.all().where(p => [", { "value": nasty }, "].includes(p.name))"]),
            json!([{ "query": ["Product.where(.name.startsWith(", { "value": "it's" }, "))"] }]),
        ] {
            assert_eq!(ids(&one(&shop, driver, &query)), ["7"], "{driver:?}: {query}");
        }
    }
}

#[test]
fn predicates_mean_what_they_mean_in_fql() {
    let shop = Shop::open();
    shop.run(&[
        FRUIT,
        "UPDATE product SET sold = true, weight = 1.5, made = '2024-03-14',
        seen = '2024-03-14 22:50:55.93Z' WHERE id = 1",
    ]);
    for (predicate, wanted) in [
        (".price > 5 && .price <= 20", &["1", "2"][..]),
        (".price == null", &["3"]),
        (".price != null", &["1", "2", "4"]),
        // Null is unlike any number, also behind a negation.
        (".price != 10", &["2", "3", "4"]),
        ("!(.price == 10)", &["2", "3", "4"]),
        ("!(.price == 10 || .name == 'cups')", &["2", "4"]),
        (".price == 10.0", &["1"]),
        (".price > 9.5 && .price < 10.5", &["1"]),
        ("(.price ?? 0) + 1 == 1", &["3"]),
        (".price * 2 == 20 || .price / 5 == 1", &["1", "4"]),
        (".sold", &["1"]),
        ("!(.sold ?? false)", &["2", "3", "4"]),
        ("[10, 5].includes(.price)", &["1", "4"]),
        ("[null, 5].includes(.price)", &["3", "4"]),
        ("![10, 5].includes(.price)", &["2", "3"]),
        (".name.startsWith('lim')", &["1", "2"]),
        (".name.endsWith(\"s\") && .name.includes('ea')", &["4"]),
        (".name.length == 4", &["3"]),
        (".name.toUpperCase() == 'CUPS'", &["3"]),
        (".name.concat('!') == 'cups!'", &["3"]),
        (".name.includesRegex('^[cp]')", &["3", "4"]),
        (".name.replaceAll('limes', 'x') == 'x'", &["1", "2"]),
        (".weight == 1.5", &["1"]),
        (".id == 4", &["4"]),
        ("p => p.shop == 42 && p[\"price\"] != null", &["1"]),
        (".price < .shop && .id != .shop", &["1", "2", "4"]),
        (".name == .name && .tags != .name", &[]),
        ("true", &["1", "2", "3", "4"]),
        ("false", &[]),
    ] {
        let query = json!([format!("Product.where({predicate})")]);
        if predicate.contains(".tags") {
            // Values of two types are not compared.
            let config = json!({ "mode": "query", "secret": shop.secret, "query": query });
            let error = Driver::Python.start(&shop.cluster, &config).error();
            assert_eq!(error["code"], "invalid_argument", "{error}");
            continue;
        }
        assert_eq!(ids(&one(&shop, Driver::Python, &query)), wanted, "{predicate}");
    }
}

#[test]
fn documents_projections_and_what_is_not_there_are_answered() {
    let shop = Shop::open();
    shop.run(&[FRUIT]);
    for driver in DRIVERS {
        let ask = |query: &str| one(&shop, driver, &json!([query]));
        let missing = json!({ "missing": { "id": "99", "cause": "not found" } });
        assert_eq!(ask("Product.byId(\"99\")"), missing, "{driver:?}");
        assert_eq!(ask("Product.byName('nothing').first()"), Value::Null);
        assert_eq!(ask("Product.byName('cups').first()")["document"]["id"], "3");
        assert_eq!(ask("Product.byId(3).name"), "cups");
        assert_eq!(
            ask("Product.byId(1) { name, cost: .price }"),
            json!({ "object": { "name": "limes", "cost": number(driver, 10) } })
        );
        let set = ask("Product.where(.shop == 42).map(p => { n: p.name, p: p.price })");
        assert_eq!(
            set["set"]["data"],
            json!([
                { "object": { "n": "limes", "p": number(driver, 10) } },
                { "object": { "n": "cups", "p": null } },
            ])
        );
        assert_eq!(
            ask("Product.all().map(.name)")["set"]["data"],
            json!(["limes", "limes", "cups", "pears"])
        );
        assert_eq!(
            ask("{ a: [1, null, 'x'] }"),
            json!({ "object": { "a": [number(driver, 1), null, "x"] } })
        );
    }
}

#[test]
fn the_events_of_a_projection_are_what_it_shows() {
    let shop = Shop::open();
    for driver in DRIVERS {
        shop.run(&["TRUNCATE product", FRUIT]);
        for (query, wanted) in [
            (
                "Product.all().map(p => { n: p.name, cost: p.price }).eventSource()",
                json!({ "object": { "n": "new", "cost": number(driver, 1) } }),
            ),
            ("Product.all().eventSource().map(.name)", json!("new")),
            ("(Product.all() { name }).eventSource()", json!({ "object": { "name": "new" } })),
        ] {
            shop.run(&["DELETE FROM product WHERE id = 50"]);
            let config = json!({
                "mode": "stream", "secret": shop.secret, "query": [query], "count": 1,
            });
            let program = driver.start(&shop.cluster, &config).opened();
            shop.run(&["INSERT INTO product (id, name, price) VALUES (50, 'new', 1)"]);
            assert_eq!(program.events(1)[0]["data"], wanted, "{driver:?}: {query}");
        }
    }
}

#[test]
fn a_set_is_read_page_by_page_in_the_order_of_its_key() {
    let shop = Shop::open();
    shop.run(&[
        "INSERT INTO product (id, name, shop) SELECT n, 'x', n % 3 FROM generate_series(1, 5000) n",
    ]);
    for driver in DRIVERS {
        let pages = ask(&shop, driver, "paginate", &json!(["Product.all().pageSize(2000)"]));
        let sizes: Vec<usize> = pages.iter().map(|page| ids(page).len()).collect();
        // A page may be cut short by its time, never longer than it was asked for.
        assert!(
            sizes.len() >= 3 && sizes.iter().all(|&size| size <= 2000),
            "{driver:?}: {sizes:?}"
        );
        let all: Vec<String> = pages.iter().flat_map(ids).collect();
        let wanted: Vec<String> = (1..=5000).map(|id| id.to_string()).collect();
        assert_eq!(all, wanted);
    }
    // A filter that lets little through.
    let query = json!(["Product.where(.shop == 1 && .id > 4900).pageSize(10)"]);
    let pages = ask(&shop, Driver::Python, "paginate", &query);
    let sizes: Vec<usize> = pages.iter().map(|page| ids(page).len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 33);
    assert!(sizes.len() >= 4 && sizes.iter().all(|&size| size <= 10), "{sizes:?}");
}

#[test]
fn a_query_that_takes_long_is_answered_in_pieces_or_refused() {
    let shop = Shop::open();
    shop.run(&["INSERT INTO product (id, name)
        SELECT n, repeat('x', 500) FROM generate_series(1, 60000) n;
        INSERT INTO product (id, name) VALUES (60001, 'x')"]);
    // Many microseconds for each row, of which the last one is wanted.
    let slow =
        "p => p.name.replaceAll('x', 'yy').replaceAll('y', 'zz').replaceAll('z', 'ww').length";
    let query = json!([format!("Product.where({slow} == 8).pageSize(10)")]);
    let pages = ask(&shop, Driver::Python, "paginate", &query);
    assert_eq!(pages.iter().flat_map(ids).collect::<Vec<_>>(), ["60001"]);
    assert!(pages.len() > 5, "{} answers took it all", pages.len());
    let query = json!([format!("Product.firstWhere({slow} == 3)")]);
    let config = json!({ "mode": "query", "secret": shop.secret, "query": query });
    for driver in DRIVERS {
        let error = driver.start(&shop.cluster, &config).error();
        assert_eq!(
            (&error["code"], &error["status"]),
            (&json!("time_out"), &json!(440)),
            "{error}"
        );
        assert_eq!(error["class"], "QueryTimeoutError", "{error}");
    }
}

#[test]
fn what_is_wrong_with_a_query_is_said_where_it_stands() {
    let shop = Shop::open();
    shop.run(&[FRUIT]);
    for driver in DRIVERS {
        for (query, class, code, place) in [
            ("Product.all(", "QueryCheckError", "invalid_query", "1:13"),
            ("Product.all().order(.price)", "QueryCheckError", "invalid_query", "1:15"),
            ("Product.where(.nothing == 1)", "QueryCheckError", "invalid_query", "1:16"),
            ("Product.byNothing(1)", "QueryCheckError", "invalid_query", "1:9"),
            ("Nothing.all()", "QueryRuntimeError", "unbound_variable", "1:1"),
            ("Product.byId('1').eventSource()", "QueryRuntimeError", "invalid_receiver", "1:1"),
            ("Product.where(.price == 'x')", "QueryRuntimeError", "invalid_argument", "1:16"),
            ("Set.paginate('nonsense')", "QueryRuntimeError", "invalid_argument", "1:1"),
        ] {
            let config = json!({ "mode": "query", "secret": shop.secret, "query": [query] });
            let error = driver.start(&shop.cluster, &config).error();
            assert_eq!((&error["class"], &error["code"]), (&json!(class), &json!(code)), "{error}");
            let summary = error["summary"].as_str().unwrap();
            assert!(
                summary.contains(&format!("at *query*:{place}\n")),
                "{driver:?} {query}: {summary}"
            );
        }
    }
}

#[test]
fn a_query_may_only_what_the_role_of_its_secret_may() {
    let shop = Shop::open();
    shop.run(&[
        FRUIT,
        "CREATE TABLE hidden (id int PRIMARY KEY); SELECT event_source.capture('hidden')",
    ]);
    for driver in DRIVERS {
        for query in ["hidden.all()", "hidden.all().eventSource()", "hidden.byId(1)"] {
            let config = json!({ "mode": "query", "secret": shop.secret, "query": [query] });
            let error = driver.start(&shop.cluster, &config).error();
            assert_eq!(error["code"], "permission_denied", "{driver:?} {query}: {error}");
        }
        let config = json!({ "mode": "query", "secret": "ess_wrong", "query": ["Product.all()"] });
        let error = driver.start(&shop.cluster, &config).error();
        assert_eq!(error["class"], "AuthenticationError", "{error}");
    }
}

#[test]
fn index_calls_find_what_the_index_holds_and_keys_of_several_columns_are_paged() {
    let shop = Shop::open();
    shop.run(&[
        "CREATE TABLE pair (a text, b numeric, v int, PRIMARY KEY (a, b));
         CREATE INDEX pair_by_v ON pair (v) WHERE b > 1;
         CREATE INDEX pair_lower_a ON pair (lower(a), v);
         CREATE INDEX \"byBoth\" ON pair (v, a);
         GRANT SELECT ON pair TO reader;
         SELECT event_source.capture('pair')",
        "INSERT INTO pair SELECT a, b, CASE WHEN b < 11 THEN b END
         FROM unnest('{A, a, it''s, \"\\\"\\\\\"}'::text[]) a, generate_series(0.5, 11.5) b",
    ]);
    let keys = |query: &str| {
        let answer = one(&shop, Driver::Python, &json!([query]));
        let mut keys = ids(&answer);
        keys.sort();
        keys
    };
    // Not the row below the predicate of the index.
    assert_eq!(keys("Pair.byV(2)").len(), 4);
    assert_eq!(keys("Pair.byV(1)"), [] as [&str; 0]);
    assert_eq!(keys("Pair.by_v(null)").len(), 4);
    assert_eq!(keys("Pair.lowerA('a', 5)"), ["[\"A\",\"4.5\"]", "[\"a\",\"4.5\"]"]);
    assert_eq!(keys(r"pair.pair_lower_a('it\'s')").len(), 12);
    assert_eq!(keys("Pair.byBoth(5, 'A')"), ["[\"A\",\"4.5\"]"]);
    assert_eq!(keys("Pair.byV()").len(), 16, "a page");
    assert_eq!(keys("Pair.byV().pageSize(100)").len(), 44);
    let pages = ask(&shop, Driver::Python, "paginate", &json!(["Pair.all().pageSize(7)"]));
    let mut all: Vec<String> = pages.iter().flat_map(ids).collect();
    assert_eq!((all.len(), pages.len()), (48, 7));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 48, "each row once");
    let key = json!([r#"Pair.byId('["it\'s","4.5"]').v"#]);
    assert_eq!(one(&shop, Driver::Python, &key), number(Driver::Python, 5));
}

/// What a reader holds: price by id.
type Held = BTreeMap<String, Value>;

fn held(documents: &Value) -> Held {
    let documents = documents["@set"]["data"].as_array().unwrap();
    let row = |document: &Value| {
        let document = &document["@doc"];
        (document["id"].as_str().unwrap().to_owned(), document["price"]["@int"].clone())
    };
    documents.iter().map(row).collect()
}

#[test]
fn the_rows_of_an_answer_and_the_events_behind_its_token_are_the_table_whatever_is_written() {
    let shop = Shop::open();
    let mut client = shop.cluster.connect();
    let stop = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        for writer in 0..3 {
            let (stop, mut client) = (&stop, shop.cluster.connect());
            scope.spawn(move || {
                let mut turn = writer;
                while !stop.load(SeqCst) {
                    turn += 7;
                    let (id, price) = (turn % 50 * 3 + writer, turn);
                    let sql = match turn % 5 {
                        0 => format!("DELETE FROM product WHERE id = {id}"),
                        _ => format!(
                            "INSERT INTO product (id, price) VALUES ({id}, {price})
                             ON CONFLICT (id) DO UPDATE SET price = {price}"
                        ),
                    };
                    client.batch_execute(&sql).unwrap();
                }
            });
        }
        let ask = || {
            let fql = "let set = Product.all().pageSize(1000)\n{ p: set, s: set.eventSource() }";
            let answer =
                v10::query(shop.cluster.http(), Version::Http1, &shop.secret, fql).unwrap();
            (held(&answer["p"]), answer["s"]["@stream"].as_str().unwrap().to_owned())
        };
        let answers: Vec<(Held, String)> = (0..40).map(|_| ask()).collect();
        stop.store(true, SeqCst);
        answers
    });
    let rows = client.query("SELECT id::text, price::text FROM product", &[]).unwrap();
    let table: Held = rows.iter().map(|row| (row.get(0), row.get::<_, String>(1).into())).collect();
    for (mut held, token) in answers {
        for event in drain(&mut client, &token, None) {
            let id = event.key.as_ref().unwrap().to_string();
            let was = match event.kind {
                Kind::Remove => held.remove(&id),
                _ => held
                    .insert(id.clone(), event.data.as_ref().unwrap()["price"].to_string().into()),
            };
            // Neither told twice nor left out: what an event changes is there, what it adds is not.
            assert_eq!(was.is_some(), event.kind != Kind::Add, "{id}");
        }
        assert_eq!(held, table);
    }
}

#[test]
fn events_on_fields_counts_rows_that_come_and_go_by_what_they_have_of_them() {
    let shop = Shop::open();
    for driver in DRIVERS {
        shop.run(&["TRUNCATE product"]);
        let query = "Product.all().eventsOn(.price, .shop)";
        let config = json!({
            "mode": "stream", "secret": shop.secret, "query": [query], "count": 5,
        });
        let program = driver.start(&shop.cluster, &config).opened();
        shop.run(&[
            "INSERT INTO product (id, name) VALUES (1, 'has neither'), (2, 'nor this one')",
            "INSERT INTO product (id, price) VALUES (3, 7)",
            "UPDATE product SET name = 'not watched' WHERE id = 3",
            "UPDATE product SET shop = 42 WHERE id IN (1, 3)",
            "DELETE FROM product WHERE id = 1",
            "DELETE FROM product WHERE id = 3",
            "INSERT INTO product (id, shop, price) VALUES (4, 1, 1)",
        ]);
        let told: Vec<_> = program.events(5).iter().map(told).collect();
        assert_eq!(told, ["add 3", "update 1", "update 3", "remove 3", "add 4"], "{driver:?}");
    }
}

fn told(event: &Value) -> String {
    let id = event["data"]["document"]["id"].as_str().unwrap();
    format!("{} {id}", event["type"].as_str().unwrap())
}

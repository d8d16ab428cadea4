//! Tokens: every call of the contract, three ways; what is refused; and who may.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::follow::{explain, mint, refused, story};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Stop, wait_until};
use postgres::Client;
use postgres::types::{ToSql, Type};
use serde_json::Value;

/// The contract's shop, with no worker: minting and feeds do not need one.
fn shop() -> (Cluster, Client) {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE product (id int PRIMARY KEY, name text, price numeric, category text,
                                   shop int);
             CREATE INDEX product_by_name ON product (name) INCLUDE (price);
             CREATE INDEX product_by_shop ON product (shop, price);
             CREATE TABLE line (a int, b int, note text, PRIMARY KEY (a, b));
             CREATE TABLE bag (v int);
             CREATE VIEW product_view AS SELECT * FROM product;
             INSERT INTO product VALUES (42, 'cups', 1, 'ware', 42);
             SELECT event_source.capture('product'), event_source.capture('line'),
                    event_source.capture('bag');",
        )
        .unwrap();
    (cluster, client)
}

/// The calls as the contract types them. All of these see product 42 change.
const CALLS: &[&str] = &[
    "SELECT event_source('product')",
    "SELECT event_source('product_by_name', terms => ARRAY['cups'])",
    "SELECT event_source('product_by_name', terms => '{cups}')",
    "SELECT event_source('product_by_shop', terms => ARRAY[42])",
    "SELECT event_source('product_by_shop', terms => '{42}')",
    "SELECT event_source('product_by_name')",
    "SELECT event_source(p) FROM product p WHERE name = 'cups'",
    "SELECT event_source('product', key => 42)",
    "SELECT event_source('product', key => '42')",
    "SELECT event_source('product'::regclass)",
    "SELECT event_source('product'::regclass, key => 42)",
    "SELECT event_source('product'::regclass, key => '42')",
    "SELECT event_source('product_by_name'::regclass, terms => ARRAY['cups'])",
    "SELECT event_source('product_by_name'::regclass, terms => '{cups}')",
    "SELECT event_source('public.product')",
    "SELECT event_source('product',
         filter     => 'price > 0 AND category = $1', params => ARRAY['ware'],
         fields     => '{name,price}',
         watch      => '{price}',
         types      => '{add,update}',
         expires_in => '1 hour')",
    "SELECT event_source(p, fields => '{name}', types => '{update}') FROM product p",
    "SELECT s.token FROM event_source('product') AS s(token) LEFT JOIN product p ON true LIMIT 1",
    "UPDATE product SET price = price WHERE name = 'cups' RETURNING event_source(product)",
];

/// A change that every set of [`CALLS`] sees: its row is in all of them, before and after.
fn change(client: &mut Client) {
    client.batch_execute("UPDATE product SET price = price + 1 WHERE id = 42").unwrap();
}

#[track_caller]
fn sees_the_change(client: &mut Client, tokens: &[(&str, String)]) {
    change(client);
    for (call, token) in tokens {
        assert!(token.starts_with("est_"), "{call} gave {token}");
        assert!(token.len() <= 4096, "{call}: a token of {} bytes", token.len());
        let told = story(client, token);
        assert_eq!(told.last().map(String::as_str), Some("update 42"), "{call}: {told:?}");
    }
}

#[test]
fn every_call_of_the_contract_works_as_typed() {
    let (_cluster, mut client) = shop();
    let mut tokens = Vec::new();
    for &call in CALLS {
        let messages =
            client.simple_query(call).unwrap_or_else(|e| panic!("{call}: {}", explain(&e)));
        let token = messages.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        tokens.push((call, token.unwrap_or_else(|| panic!("{call} gave no row"))));
    }
    sees_the_change(&mut client, &tokens);
}

#[test]
fn every_call_of_the_contract_works_in_psql() {
    let (cluster, mut client) = shop();
    let script: String = CALLS.iter().map(|call| format!("{call};\n")).collect();
    let out = cluster.psql(&script);
    let tokens: Vec<(&str, String)> =
        CALLS.iter().copied().zip(out.lines().map(str::to_owned)).collect();
    assert_eq!(tokens.len(), CALLS.len());
    sees_the_change(&mut client, &tokens);
}

#[test]
fn every_call_of_the_contract_works_with_parameters_without_casts() {
    let (_cluster, mut client) = shop();
    // As a driver that leaves the type to the server (node-pg: an array is its literal), and as
    // one that says what it has (psycopg 3).
    let int = 42i32;
    let names = vec!["cups"];
    let numbers = vec![42i32];
    let (category, fields) = (vec!["ware"], vec!["name", "price"]);
    let calls: Vec<(&str, &[Type], Vec<&(dyn ToSql + Sync)>)> = vec![
        ("SELECT event_source($1)", &[], vec![&"product"]),
        ("SELECT event_source($1)", &[Type::TEXT], vec![&"product"]),
        ("SELECT event_source($1, terms => $2)", &[], vec![&"product_by_name", &"{cups}"]),
        (
            "SELECT event_source($1, terms => $2)",
            &[Type::TEXT, Type::TEXT],
            vec![&"product_by_name", &"{cups}"],
        ),
        (
            "SELECT event_source($1, terms => $2)",
            &[Type::TEXT, Type::TEXT_ARRAY],
            vec![&"product_by_name", &names],
        ),
        (
            "SELECT event_source($1, terms => $2)",
            &[Type::UNKNOWN, Type::INT4_ARRAY],
            vec![&"product_by_shop", &numbers],
        ),
        ("SELECT event_source('product_by_shop', terms => $1)", &[], vec![&"{42}"]),
        ("SELECT event_source($1, key => $2)", &[], vec![&"product", &"42"]),
        (
            "SELECT event_source($1, key => $2)",
            &[Type::UNKNOWN, Type::INT4],
            vec![&"product", &int],
        ),
        (
            "SELECT event_source('product', filter => $1, params => $2, fields => $3)",
            &[],
            vec![&"category = $1", &category, &fields],
        ),
        ("SELECT event_source(p) FROM product p WHERE name = $1", &[], vec![&"cups"]),
    ];
    let mut tokens = Vec::new();
    for (call, types, parameters) in calls {
        let prepared = client
            .prepare_typed(call, types)
            .unwrap_or_else(|e| panic!("{call} {types:?}: {}", explain(&e)));
        let row = client
            .query_one(&prepared, &parameters)
            .unwrap_or_else(|e| panic!("{call} {types:?}: {}", explain(&e)));
        tokens.push((call, row.get::<_, String>(0)));
    }
    sees_the_change(&mut client, &tokens);
}

#[test]
fn a_composite_key_is_given_as_a_row_or_as_its_text() {
    let (_cluster, mut client) = shop();
    let by_row = mint(&mut client, "event_source('line', key => ROW(1,2))");
    let by_text = mint(&mut client, "event_source('line', key => '[1,2]')");
    client.batch_execute("INSERT INTO line VALUES (1, 2, 'x'), (2, 1, 'x')").unwrap();
    assert_eq!(story(&mut client, &by_row), ["add [1,2]"]);
    assert_eq!(story(&mut client, &by_text), ["add [1,2]"]);
}

#[test]
fn a_row_need_not_exist_yet() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('product', key => 7)");
    client.batch_execute("INSERT INTO product VALUES (7), (8)").unwrap();
    client.batch_execute("DELETE FROM product WHERE id = 7").unwrap();
    assert_eq!(story(&mut client, &token), ["add 7", "remove 7"]);
}

#[test]
fn a_row_of_a_partition_stands_for_its_root() {
    let (_cluster, mut client) = shop();
    client
        .batch_execute(
            "CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
             CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
             INSERT INTO p VALUES (1); SELECT event_source.capture('p')",
        )
        .unwrap();
    let token: String =
        client.query_one("SELECT event_source(r) FROM p_low r", &[]).unwrap().get(0);
    client.batch_execute("UPDATE p SET v = 1").unwrap();
    assert_eq!(story(&mut client, &token), ["update 1"]);
}

#[test]
fn a_null_row_gives_null() {
    let (_cluster, mut client) = shop();
    for call in [
        "SELECT event_source(NULL::product)",
        "SELECT event_source(p) FROM (SELECT 1) one LEFT JOIN product p ON false",
    ] {
        let token: Option<String> = client.query_one(call, &[]).unwrap().get(0);
        assert_eq!(token, None, "{call}");
    }
}

#[test]
fn what_cannot_be_a_source_is_refused() {
    let (_cluster, mut client) = shop();
    client.batch_execute("CREATE TABLE plain (id int PRIMARY KEY)").unwrap();
    for (call, code) in [
        ("event_source('plain')", Some("55000")),
        ("event_source('nothing')", Some("42P01")),
        ("event_source('product_view')", None),
        ("event_source(v) FROM product_view v", None),
        ("event_source(s) FROM (SELECT id FROM product) s", None),
        ("event_source(ROW(1, 2))", None),
        ("event_source('product', terms => ARRAY['cups'])", None),
        ("event_source('product_by_name', key => 42)", None),
        ("event_source('bag', key => 1)", None),
        ("event_source('product_by_name', terms => ARRAY['a', 'b'])", None),
        ("event_source('product_by_shop', terms => ARRAY[1, 2, 3])", None),
        ("event_source('product_by_shop', terms => ARRAY['x'])", Some("22P02")),
        ("event_source('product', key => 'x')", Some("22P02")),
        ("event_source('line', key => 1)", None),
        ("event_source('line', key => '[1,2,3]')", None),
        ("event_source('product', fields => '{nothing}')", Some("42703")),
        ("event_source('product', watch => '{nothing}')", Some("42703")),
        ("event_source('product', types => '{insert}')", Some("22023")),
        ("event_source('product', types => '{}')", Some("22023")),
        ("event_source('product', expires_in => '-1 hour')", Some("22023")),
        ("event_source('product', filter => 'nothing = 1')", Some("42703")),
        ("event_source('product', filter => 'price')", Some("42804")),
        ("event_source('product', filter => 'price > ')", Some("42601")),
        ("event_source('product', filter => 'true); DROP TABLE product; --')", Some("42601")),
        ("event_source('product', filter => 'price > (SELECT 1)')", None),
        ("event_source('product', filter => 'random() > 0.5')", None),
        ("event_source('product', filter => 'count(*) > 1')", None),
        ("event_source('product', filter => 'price > $1')", None),
        ("event_source('product', filter => 'price > $1', params => ARRAY['x'])", Some("22P02")),
        ("event_source('product', filter => 'price > 1', params => ARRAY['1'])", None),
        ("event_source('product', filter => repeat('price > 0 AND ', 2000) || 'true')", None),
    ] {
        let said = refused(client.query(&format!("SELECT {call}"), &[]));
        if let Some(code) = code {
            assert_eq!(said.code, code, "{call}: {said:?}");
        }
    }
    for (call, hint) in [
        ("event_source('plain')", "event_source.capture"),
        ("event_source(ROW(1, 2))", ""),
        ("event_source(v) FROM product_view v", ""),
    ] {
        let said = refused(client.query(&format!("SELECT {call}"), &[]));
        assert!(!said.hint.is_empty() && said.hint.contains(hint), "{call}: {said:?}");
    }
}

#[test]
fn a_parameter_is_a_value_never_text_of_the_filter() {
    let (_cluster, mut client) = shop();
    let hostile = "ware' OR true OR name = '";
    let token: String = client
        .query_one(
            "SELECT event_source('product', filter => 'category = $1', params => $1)",
            &[&vec![hostile]],
        )
        .unwrap()
        .get(0);
    client.batch_execute("INSERT INTO product (id, category) VALUES (1, 'ware')").unwrap();
    client.execute("INSERT INTO product (id, category) VALUES (2, $1)", &[&hostile]).unwrap();
    assert_eq!(story(&mut client, &token), ["add 2"]);
}

#[test]
fn a_forged_or_foreign_token_is_refused() {
    let (cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('product')");
    let mut bytes = token.clone().into_bytes();
    for at in [5, bytes.len() / 2, bytes.len() - 3] {
        let kept = bytes[at];
        bytes[at] = if kept == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes.clone()).unwrap();
        let said = refused(client.query("SELECT event_page($1)", &[&forged]));
        assert!(!said.message.contains(&forged), "a credential in an error: {said:?}");
        bytes[at] = kept;
    }
    for text in ["", "est_", "est_AAAA", "nonsense", &token[4..]] {
        refused(client.query("SELECT event_page($1)", &[&text]));
    }
    client.batch_execute("CREATE DATABASE other").unwrap();
    let mut other = cluster.connect_to("other");
    other.batch_execute("CREATE EXTENSION event_source").unwrap();
    refused(other.query("SELECT event_page($1)", &[&token]));
}

#[test]
fn a_token_survives_renames_and_restarts() {
    let (mut cluster, mut client) = shop();
    let table = mint(&mut client, "event_source('product', filter => 'price > 0')");
    let index = mint(&mut client, "event_source('product_by_name', terms => ARRAY['cups'])");
    client
        .batch_execute(
            "ALTER TABLE product RENAME TO goods;
             ALTER TABLE goods RENAME COLUMN price TO cost;
             ALTER INDEX product_by_name RENAME TO goods_by_name;",
        )
        .unwrap();
    drop(client);
    cluster.restart(Stop::Fast);
    let mut client = cluster.connect();
    client.batch_execute("UPDATE goods SET cost = 3 WHERE id = 42").unwrap();
    cluster.restart(Stop::Immediate);
    let mut client = cluster.connect();
    assert_eq!(story(&mut client, &table), ["update 42"]);
    assert_eq!(story(&mut client, &index), ["update 42"]);
}

#[test]
fn a_token_expires_unless_it_was_told_not_to() {
    let (_cluster, mut client) = shop();
    let never = mint(&mut client, "event_source('product', expires_in => '0')");
    let short = mint(&mut client, "event_source('product', expires_in => '300 milliseconds')");
    change(&mut client);
    wait_until("the token to expire", LONG, || {
        client.query("SELECT event_page($1)", &[&short]).is_err()
    });
    refused(client.query("SELECT event_page($1)", &[&short]));
    assert_eq!(story(&mut client, &never), ["update 42"]);
}

#[test]
fn a_revoked_token_is_refused_and_only_that_one() {
    let (_cluster, mut client) = shop();
    let revoked = mint(&mut client, "event_source('product')");
    let other = mint(&mut client, "event_source('product')");
    client.execute("SELECT event_source.revoke($1)", &[&revoked]).unwrap();
    refused(client.query("SELECT event_page($1)", &[&revoked]));
    change(&mut client);
    assert_eq!(story(&mut client, &other), ["update 42"]);
}

#[test]
fn a_token_describes_itself_without_secrets() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('product', filter => 'price > 1')");
    let text: String =
        client.query_one("SELECT event_source.describe($1)::text", &[&token]).unwrap().get(0);
    let described: Value = serde_json::from_str(&text).unwrap();
    assert!(described.is_object() && text.contains("product") && text.contains("price"), "{text}");
}

#[test]
fn minting_and_reading_need_select() {
    let (cluster, mut client) = shop();
    client
        .batch_execute(
            "CREATE ROLE reader LOGIN; CREATE ROLE narrow LOGIN; CREATE ROLE nobody LOGIN;
             GRANT SELECT ON product TO reader; GRANT SELECT (id, name) ON product TO narrow;",
        )
        .unwrap();
    let mut nobody = cluster.connect_as("nobody");
    assert_eq!(refused(nobody.query("SELECT event_source('product')", &[])).code, "42501");

    let mut narrow = cluster.connect_as("narrow");
    let two = mint(&mut narrow, "event_source('product', fields => '{id,name}')");
    for call in [
        "event_source('product')",
        "event_source('product', fields => '{id,price}')",
        "event_source('product', fields => '{id,name}', filter => 'price > 1')",
        "event_source('product', fields => '{id,name}', watch => '{price}')",
        "event_source('product_by_shop', terms => '{42}', fields => '{id,name}')",
    ] {
        assert_eq!(refused(narrow.query(&format!("SELECT {call}"), &[])).code, "42501", "{call}");
    }

    let mut reader = cluster.connect_as("reader");
    let token = mint(&mut reader, "event_source('product')");
    change(&mut client);
    assert_eq!(story(&mut reader, &token), ["update 42"]);
    assert_eq!(story(&mut narrow, &two), ["update 42"]);
    // In SQL both the caller and the token's role must be allowed.
    assert_eq!(refused(nobody.query("SELECT event_page($1)", &[&token])).code, "42501");
    client.batch_execute("REVOKE SELECT ON product FROM reader").unwrap();
    assert_eq!(refused(reader.query("SELECT event_page($1)", &[&token])).code, "42501");
    assert_eq!(refused(client.query("SELECT event_page($1)", &[&token])).code, "42501");
}

#[test]
fn row_security_that_applies_to_the_role_is_refused() {
    let (cluster, mut client) = shop();
    client
        .batch_execute(
            "CREATE ROLE reader LOGIN; GRANT SELECT ON product TO reader;
             ALTER TABLE product ENABLE ROW LEVEL SECURITY;
             CREATE POLICY all_rows ON product USING (true);",
        )
        .unwrap();
    let mut reader = cluster.connect_as("reader");
    let said = refused(reader.query("SELECT event_source('product')", &[]));
    assert!(format!("{} {}", said.message, said.hint).contains("row"), "{said:?}");
    let token = mint(&mut client, "event_source('product')");
    change(&mut client);
    assert_eq!(story(&mut client, &token), ["update 42"], "it does not apply to a superuser");
}

#[test]
fn minting_changes_nothing() {
    let (_cluster, mut client) = shop();
    client.batch_execute("BEGIN READ ONLY").unwrap();
    let token = mint(&mut client, "event_source('product')");
    let taken: Option<String> =
        client.query_one("SELECT pg_current_xact_id_if_assigned()::text", &[]).unwrap().get(0);
    assert_eq!(taken, None, "no transaction id");
    client.batch_execute("COMMIT").unwrap();
    change(&mut client);
    assert_eq!(story(&mut client, &token), ["update 42"]);
}

//! Whose collection a name means: nobody puts his own in the place of another's.

use event_source_tests::consume::v4::V4Stream;
use event_source_tests::consume::{Failed, Version, v10};
use event_source_tests::follow::{mint, refused};
use serde_json::json;

use super::roles::{as_shipped, shop_with};

#[test]
fn no_name_or_plural_of_another_owners_collection_can_be_taken_in_whatever_case() {
    let (cluster, mut client) = shop_with(as_shipped().conf("event_source.listen", ""));
    client
        .batch_execute(
            "CREATE ROLE mallory LOGIN; CREATE SCHEMA mallory AUTHORIZATION mallory;
             SET ROLE mallory;
             CREATE TABLE mallory.\"Product\" (id int PRIMARY KEY);
             CREATE TABLE mallory.product (id int PRIMARY KEY);
             CREATE TABLE mallory.other (id int PRIMARY KEY);
             RESET ROLE",
        )
        .unwrap();
    let mut mallory = cluster.connect_as("mallory");
    for arguments in [
        "name => 'Product'",
        "name => 'PRODUCT'",
        "name => 'Products'",
        "name => 'x', plural => 'Products'",
        "name => 'x', plural => 'product'",
    ] {
        let capture = format!("SELECT event_source.capture('mallory.other', {arguments})");
        let said = refused(mallory.batch_execute(&capture));
        assert_eq!(said.code, "42710", "{arguments}: {said:?}");
        assert!(said.hint.contains("choose another one"), "{arguments}: {said:?}");
    }
    // Without names they get some that are nobody's.
    mallory
        .batch_execute(
            "SELECT event_source.capture('mallory.product'), event_source.capture('mallory.\"Product\"')",
        )
        .unwrap();
    let rows = client
        .query("SELECT name, plural FROM event_source.collections ORDER BY name COLLATE \"C\"", &[])
        .unwrap();
    let names: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let expected = [
        pair("mallory.Product", "mallory.Products"),
        pair("mallory.product", "mallory.products"),
        pair("product", "products"),
    ];
    assert_eq!(names, expected);
    // An owner's own may differ in case alone, and be renamed.
    let mut owner = cluster.connect_as("owner");
    owner
        .batch_execute(
            "CREATE TABLE \"Product\" (id int PRIMARY KEY); SELECT event_source.capture('\"Product\"');
             SELECT event_source.capture('product', name => 'goods')",
        )
        .unwrap();
}

#[test]
fn a_name_that_could_be_several_that_the_role_may_read_is_refused_and_none_is_chosen() {
    let (cluster, mut client) = shop_with(as_shipped());
    let _ = cluster.serving();
    // As a database may be that was restored from elsewhere.
    client
        .batch_execute(
            "CREATE ROLE mallory LOGIN; CREATE SCHEMA mallory AUTHORIZATION mallory;
             GRANT USAGE ON SCHEMA mallory TO PUBLIC;
             SET ROLE mallory;
             CREATE TABLE mallory.product (id int PRIMARY KEY, name text);
             CREATE INDEX product_by_name ON mallory.product (name);
             SELECT event_source.capture('mallory.product');
             RESET ROLE;
             UPDATE event_source.capture SET name = 'Product', plural = 'Products'
             WHERE name = 'mallory.product'",
        )
        .unwrap();
    let secret = mint(&mut client, "event_source.create_secret('reader')");
    let ask = |query: &str| v10::query(cluster.http(), Version::Http1, &secret, query);
    // Exactly so called, and not readable: never the other one, nor this one.
    let code = |failed: Failed| failed.code().unwrap_or_default().to_owned();
    assert_eq!(code(ask("Product.all()").unwrap_err()), "permission_denied");
    assert!(ask("product.all()").is_ok());
    // By another case it can only be what the role may read.
    assert!(ask("PRODUCT.all()").is_ok());
    client.batch_execute("GRANT SELECT ON mallory.product TO reader").unwrap();
    let Failed::Refused { body, .. } = ask("PRODUCT.all()").unwrap_err() else { panic!() };
    assert!(body.to_string().contains("several collections are called"), "{body}");
    assert!(ask("product.all()").is_ok());
    // An index of that name, of whatever table.
    let events = json!({ "match": { "index": "product_by_name" }, "terms": "limes" });
    let open = |secret: &str| V4Stream::open(cluster.http(), secret, &events, &[]);
    assert!(open(&secret).is_err(), "of two tables that may be read");
    client.batch_execute("REVOKE SELECT ON mallory.product FROM reader").unwrap();
    if let Err(error) = open(&secret) {
        panic!("of the one that may be read: {error}");
    }
}

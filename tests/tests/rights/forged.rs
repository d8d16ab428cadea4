//! Tokens signed with a key that somebody got hold of, from a backup for example: they say what no minting would
//! have let through, and are worth no more than what their role may do.

use event_source_model::source::{Filter, Named, Set, Source};
use event_source_model::token::{self, SigningKey, TokenError};
use event_source_tests::consume::{Request, Stream, sql};
use event_source_tests::follow::{mint, refused};
use postgres::Client;

use super::roles::{as_shipped, shop_with};

fn key(client: &mut Client) -> SigningKey {
    let row = client
        .query_one(
            "SELECT id, key FROM event_source.signing_key ORDER BY created_at DESC LIMIT 1",
            &[],
        )
        .unwrap();
    SigningKey { id: row.get::<_, i32>(0).unsigned_abs(), bytes: row.get(1) }
}

/// What the token says, changed and signed.
fn forged(key: &SigningKey, token: &str, change: impl FnOnce(&mut Source)) -> String {
    let read = token::verify(token, |_| Ok::<_, TokenError>(Some(key.clone())));
    let mut source = read.expect("it was signed with this key");
    change(&mut source);
    source.id += 1;
    token::sign(&source, key).expect("it is short")
}

fn filter(expression: &str, columns: &[(i16, &str)]) -> Option<Filter> {
    let columns = columns.iter().map(|(number, name)| (*number, (*name).to_owned())).collect();
    Some(Filter { expression: expression.to_owned(), columns })
}

#[test]
fn a_forged_token_gets_nothing_that_its_role_could_not_mint() {
    let (cluster, mut client) = shop_with(as_shipped());
    let _ = cluster.serving();
    client
        .batch_execute(
            "CREATE ROLE narrow LOGIN; GRANT SELECT (id, name) ON product TO narrow;
             CREATE ROLE nobody LOGIN; CREATE TABLE told (by text);
             CREATE FUNCTION tell() RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
                $$ BEGIN INSERT INTO told VALUES (current_user); RETURN true; END $$;
             REVOKE EXECUTE ON FUNCTION tell FROM PUBLIC;
             CREATE FUNCTION anyones() RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
                $$ BEGIN INSERT INTO told VALUES (current_user); RETURN true; END $$;
             ALTER FUNCTION anyones OWNER TO owner;
             GRANT INSERT ON told TO PUBLIC",
        )
        .unwrap();
    let key = key(&mut client);
    let good =
        mint(&mut cluster.connect_as("narrow"), "event_source('product', fields => '{id,name}')");
    let number = |client: &mut Client, role: &str| -> u32 {
        client.query_one("SELECT $1::text::regrole::oid", &[&role]).unwrap().get(0)
    };
    let as_role = |source: &mut Source, oid: u32, name: &str| {
        source.definition.role = Named { oid, name: name.to_owned() };
    };
    let (superuser, nobody) = (number(&mut client, "postgres"), number(&mut client, "nobody"));
    let forgeries: Vec<(&str, String)> = vec![
        ("a superuser's", forged(&key, &good, |s| as_role(s, superuser, "postgres"))),
        (
            "a superuser's, by name",
            forged(&key, &good, |s| {
                as_role(s, 0, "postgres");
                s.cluster += 1;
            }),
        ),
        ("another role's", forged(&key, &good, |s| as_role(s, nobody, "nobody"))),
        (
            "a column that it may not see",
            forged(&key, &good, |s| s.definition.fields = Some(vec![3])),
        ),
        ("every column", forged(&key, &good, |s| s.definition.fields = None)),
        (
            "a filter over such a column",
            forged(&key, &good, |s| {
                s.definition.filter = filter("price > 0", &[(3, "price")]);
            }),
        ),
        (
            "a column under another's name",
            forged(&key, &good, |s| {
                s.definition.filter = filter("id > 0", &[(3, "id")]);
            }),
        ),
        (
            "a system column",
            forged(&key, &good, |s| {
                s.definition.filter = filter("xmin IS NOT NULL", &[(-2, "xmin")]);
            }),
        ),
        (
            "the whole row",
            forged(&key, &good, |s| {
                s.definition.filter = filter("product IS NOT NULL", &[(0, "product")]);
            }),
        ),
        (
            "an index that shows more",
            forged(&key, &good, |s| {
                let oid = 1;
                let index = Named { oid, name: "public.product_by_price".to_owned() };
                s.definition.set = Set::Index { index, shape: 0, terms: Vec::new() };
            }),
        ),
        (
            "a function that it may not call",
            forged(&key, &good, |s| {
                s.definition.filter = filter("public.tell()", &[]);
            }),
        ),
        (
            "a function of an ordinary role",
            forged(&key, &good, |s| {
                s.definition.filter = filter("public.anyones()", &[]);
            }),
        ),
        (
            "one that is not immutable",
            forged(&key, &good, |s| {
                s.definition.filter = filter("pg_sleep(0) IS NOT NULL", &[]);
            }),
        ),
        (
            "one that writes",
            forged(&key, &good, |s| {
                s.definition.filter = filter("set_config('search_path', 'x', false) = 'x'", &[]);
            }),
        ),
        (
            "a subquery",
            forged(&key, &good, |s| {
                s.definition.filter = filter("EXISTS (SELECT FROM event_source.signing_key)", &[]);
            }),
        ),
        (
            "an aggregate",
            forged(&key, &good, |s| {
                s.definition.filter = filter("count(*) > 0", &[]);
            }),
        ),
        (
            "more than an expression",
            forged(&key, &good, |s| {
                s.definition.filter = filter("true; DROP TABLE product", &[]);
            }),
        ),
        (
            "regular expressions without end",
            forged(&key, &good, |s| {
                let many: Vec<String> = (0..40).map(|n| format!("name ~ 'x{n}'")).collect();
                s.definition.filter = filter(&many.join(" OR "), &[(2, "name")]);
            }),
        ),
        ("another table", forged(&key, &good, |s| s.definition.collection += 1)),
        (
            "a column that is not there",
            forged(&key, &good, |s| s.definition.fields = Some(vec![99])),
        ),
    ];
    client.batch_execute("INSERT INTO product VALUES (1, 'limes', 0.40)").unwrap();
    for (what, token) in &forgeries {
        let page = sql::event_page(&mut client, token, None, 10, &[]);
        let told = page.map(|page| page.events);
        match told {
            Err(error) => assert!(error.as_db_error().is_some(), "{what}: {error}"),
            Ok(events) => {
                let ends = events.last().is_some_and(|event| event.error.is_some());
                assert!(ends && events.len() == 1, "{what}: {events:?}");
            }
        }
        for request in [Request::new(token), Request::new(token).with_snapshot()] {
            let opened = Stream::open(cluster.http(), &request);
            assert!(opened.is_err(), "{what} was opened");
        }
    }
    let told: Vec<String> =
        client.query("SELECT by FROM told", &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(told.is_empty(), "called as {told:?}");
    // The true one still is.
    assert!(Stream::open(cluster.http(), &Request::new(&good)).is_ok());
    let _ = refused(client.batch_execute("SELECT event_page('est_AAAA')"));
}

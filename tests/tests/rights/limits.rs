//! How many of what a role may have.

use event_source_tests::consume::{Failed, Request, Stream, Version, sql, v10};
use event_source_tests::follow::{mint, refused};
use event_source_tests::wait::LONG;
use event_source_tests::wait_until;
use postgres::Client;

use super::roles::{as_shipped, shop_with};

#[test]
fn a_filter_has_so_many_regular_expressions_and_no_more_however_they_are_written() {
    let (cluster, mut client) =
        shop_with(as_shipped().conf("event_source.max_regexps_per_filter", 3));
    let _ = cluster.serving();
    client
        .batch_execute(
            "CREATE FUNCTION starts(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 ~ '^a' $$",
        )
        .unwrap();
    let mut reader = cluster.connect_as("reader");
    let repeated = |each: &str, times: usize| vec![each; times].join(" OR ");
    let call = |filter: &str| format!("event_source('product', filter => $f${filter}$f$)");
    for each in [
        "name ~ 'a'",
        "name ~* 'a'",
        "name !~ 'a'",
        "name !~* 'a'",
        "name ~ name",
        "name::name ~ 'a'",
        "name::char(3) ~ 'a'",
        "name SIMILAR TO 'a%'",
        "substring(name from 'a.') = 'ab'",
        "regexp_replace(name, 'a', 'b') = 'b'",
        "(regexp_match(name, 'a'))[1] = 'a'",
        "(regexp_split_to_array(name, 'a'))[1] = 'a'",
        "starts(name)",
        "'{}'::jsonb @@ '$.a like_regex \"b\"'",
    ] {
        let _ = mint(&mut reader, &call(&repeated(each, 3)));
        let said = refused(reader.query(&format!("SELECT {}", call(&repeated(each, 4))), &[]));
        assert_eq!(said.code, "54000", "{each}: {said:?}");
        assert!(said.hint.contains("event_source.max_regexps_per_filter"), "{each}: {said:?}");
    }
    let _ = mint(&mut reader, &call("name ~ ANY ('{a,b,c}')"));
    for any in ["name ~ ANY ('{a,b,c,d}')", "name ~ ANY (ARRAY['a', 'b', 'c', name])"] {
        assert_eq!(
            refused(reader.query(&format!("SELECT {}", call(any)), &[])).code,
            "54000",
            "{any}"
        );
    }
    for other in
        ["name LIKE 'a%'", "name ILIKE 'a%'", "starts_with(name, 'a')", "strpos(name, 'a') > 0"]
    {
        let _ = mint(&mut reader, &call(&repeated(other, 50)));
    }
    // As a query.
    let secret = mint(&mut client, "event_source.create_secret('reader')");
    let ask = |times: usize| {
        let test = vec![".name.includesRegex('a')"; times].join(" || ");
        v10::query(cluster.http(), Version::Http1, &secret, &format!("product.where({test})"))
    };
    assert!(ask(3).is_ok());
    let Failed::Refused { status, body } = ask(4).unwrap_err() else { panic!("not refused") };
    assert_eq!(status.as_u16(), 400, "{body}");
    // What was made when more were allowed is refused where it is read.
    let three = mint(&mut reader, &call(&repeated("name ~ 'a'", 3)));
    cluster.set("event_source.max_regexps_per_filter", "2");
    cluster.reload();
    wait_until("the limit to count", LONG, || {
        let opened = Stream::open(cluster.http(), &Request::new(&three));
        opened.is_err_and(|failed| failed.code() == Some("invalid_request"))
    });
    let mut reader = cluster.connect_as("reader");
    assert_eq!(refused(sql::event_page(&mut reader, &three, None, 10, &[])).code, "54000");
}

#[test]
fn a_role_follows_so_many_sources_and_so_many_filters_and_others_notice_nothing() {
    let options = as_shipped()
        .conf("event_source.max_sources_per_role", 6)
        .conf("event_source.max_filters_per_role", 2);
    let (cluster, mut client) = shop_with(options);
    let _ = cluster.serving();
    client.batch_execute("CREATE ROLE other LOGIN; GRANT SELECT ON product TO other").unwrap();
    let mut reader = cluster.connect_as("reader");
    let filtered = |client: &mut Client, n: i32| {
        mint(client, &format!("event_source('product', filter => 'id > {n}')"))
    };
    let keyed =
        |client: &mut Client, n: i32| mint(client, &format!("event_source('product', key => {n})"));
    let open = |token: &str| Stream::open(cluster.http(), &Request::new(token));
    let first = filtered(&mut reader, 1);
    let mut streams = vec![open(&first).unwrap(), open(&filtered(&mut reader, 2)).unwrap()];
    // The same set again is the same source.
    streams.push(open(&first).unwrap());
    streams.push(open(&filtered(&mut reader, 1)).unwrap());
    let third = filtered(&mut reader, 3);
    let refused = open(&third).unwrap_err();
    assert_eq!(refused.code(), Some("limit_exceeded"), "{refused}");
    let Failed::Refused { body, .. } = &refused else { panic!("{refused}") };
    assert!(body["error"]["hint"].as_str().unwrap().contains("max_filters_per_role"), "{body}");
    // Without a filter there is room.
    for n in 0..4 {
        streams.push(open(&keyed(&mut reader, n)).unwrap());
    }
    let seventh = keyed(&mut reader, 100);
    let refused = open(&seventh).unwrap_err();
    assert_eq!(refused.code(), Some("limit_exceeded"), "{refused}");
    // Each role has its own.
    let mut other = cluster.connect_as("other");
    let _theirs = open(&filtered(&mut other, 1)).unwrap();
    let page = sql::event_page(&mut reader, &third, None, 10, &[]);
    assert!(page.is_ok(), "a page follows nothing");
    // Those that nobody reads any more make room at once.
    streams.clear();
    wait_until("there to be room", LONG, || open(&third).is_ok() && open(&seventh).is_ok());
}

#[test]
fn an_owner_has_so_many_captured_tables() {
    let (cluster, mut client) = shop_with(
        as_shipped().conf("event_source.listen", "").conf("event_source.max_captures_per_role", 3),
    );
    let mut owner = cluster.connect_as("owner");
    let table = |client: &mut Client, n: i32| {
        client.batch_execute(&format!("CREATE TABLE t{n} (id int PRIMARY KEY)")).unwrap();
        client.execute(&format!("SELECT event_source.capture('t{n}')"), &[])
    };
    table(&mut owner, 1).unwrap();
    table(&mut owner, 2).unwrap();
    let said = refused(table(&mut owner, 3));
    assert_eq!(said.code, "54000", "{said:?}");
    assert!(said.hint.contains("event_source.max_captures_per_role"), "{said:?}");
    // Nothing is left of it, and what is captured is captured again.
    owner.batch_execute("INSERT INTO t3 VALUES (1); SELECT event_source.capture('t1')").unwrap();
    let captured: i64 =
        client.query_one("SELECT count(*) FROM event_source.collections", &[]).unwrap().get(0);
    assert_eq!(captured, 3);
    // A superuser's own are counted as his.
    table(&mut client, 4).unwrap();
    owner.batch_execute("SELECT event_source.release('t1'), event_source.capture('t3')").unwrap();
}

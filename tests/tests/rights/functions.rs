//! What a filter may call: what belongs to superusers, and what its role may EXECUTE; wherever the call hides.

use event_source_tests::consume::{Event, Request, Stream, sql};
use event_source_tests::follow::{explain, mint, refused, story};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;

use super::roles::{as_shipped, shop_with};

/// Functions of a role that is no superuser, behind everything that such a role can define.
const MALLORYS: &str = "
    CREATE SCHEMA m AUTHORIZATION mallory; GRANT USAGE ON SCHEMA m TO reader;
    SET ROLE mallory;
    CREATE FUNCTION m.yes(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$;
    CREATE FUNCTION m.yes(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT true $$;
    CREATE FUNCTION m.less(int, text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$;
    CREATE OPERATOR m.<<< (FUNCTION = m.less, LEFTARG = int, RIGHTARG = text);
    CREATE DOMAIN m.checked AS int CHECK (m.yes(VALUE));
    CREATE DOMAIN m.plain AS text;
    CREATE TYPE m.mood AS ENUM ('sad', 'happy');
    CREATE FUNCTION m.to_int(m.mood) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1; END $$;
    CREATE CAST (m.mood AS int) WITH FUNCTION m.to_int(m.mood);
    CREATE TYPE m.pair AS (a m.checked, b text);
    RESET ROLE;
    -- Only a superuser makes the first of these; he may have given them away.
    CREATE TYPE m.span;
    CREATE FUNCTION m.canonical(m.span) RETURNS m.span LANGUAGE internal IMMUTABLE STRICT AS 'int4range_canonical';
    CREATE TYPE m.span AS RANGE (SUBTYPE = int, CANONICAL = m.canonical);
    ALTER TYPE m.span OWNER TO mallory; ALTER FUNCTION m.canonical OWNER TO mallory;";

/// Filters that would have something of hers called, each in another way.
const CALLS: &[(&str, &str)] = &[
    ("a function", "m.yes(id)"),
    ("a function in SQL, which is put in", "m.yes(name)"),
    ("an operator", "id OPERATOR(m.<<<) name"),
    ("a cast", "'sad'::m.mood::int = id"),
    ("a domain", "id::m.checked > 0"),
    ("a domain that checks nothing now", "name::m.plain = 'x'"),
    ("a literal of a domain", "'1'::m.checked = id"),
    ("a literal of an array of domains", "id = ANY ('{1}'::m.checked[])"),
    ("a literal of a composite type", "('(1,x)'::m.pair).b = name"),
    ("a row that becomes one", "(ROW(id, name)::m.pair).b = name"),
    ("a literal of an array of those", "('{\"(1,x)\"}'::m.pair[])[1] = ROW(1, name)::m.pair"),
    ("the input function of a cast from text", "(name::text)::m.checked = 1"),
    ("inside a condition", "CASE WHEN id > 0 THEN m.yes(id) ELSE false END"),
    ("behind one that is never true", "false AND m.yes(id)"),
    ("in a list", "id IN (1, ('sad'::m.mood)::int)"),
    ("in an array", "(ARRAY[m.yes(id)])[1]"),
    ("in coalesce", "coalesce(name::m.plain, 'x') = 'y'"),
    ("in greatest", "greatest(id, ('sad'::m.mood)::int) = 1"),
    ("a range that is made canonical", "'[1,2]'::m.span @> id"),
    ("a range's constructor", "m.span(1, id) @> 1"),
];

fn mallorys_shop() -> (Cluster, Client) {
    let (cluster, mut client) = shop_with(as_shipped());
    client.batch_execute("CREATE ROLE mallory LOGIN").unwrap();
    client.batch_execute(MALLORYS).unwrap_or_else(|e| panic!("{}", explain(&e)));
    (cluster, client)
}

fn call(filter: &str) -> String {
    format!("event_source('product', filter => $f${filter}$f$)")
}

fn allow(cluster: &Cluster, setting: &str) {
    cluster.set("event_source.user_functions", setting);
    cluster.reload();
    let mut client = cluster.connect();
    let query = format!("SELECT current_setting('event_source.user_functions') = '{setting}'");
    wait_until("the setting to count", LONG, || {
        client.query_one(&query, &[]).unwrap().get::<_, bool>(0)
    });
}

/// The error that a stream ends with.
pub fn end(stream: &mut Stream) -> (String, Vec<Event>) {
    let mut before = Vec::new();
    loop {
        let event = stream.next(LONG).unwrap().expect("an error before the end");
        match event.error {
            Some(error) => return (error.code, before),
            None => before.push(event),
        }
    }
}

#[test]
fn what_belongs_to_an_ordinary_role_is_not_called_by_a_filter_unless_a_setting_allows_it() {
    let (cluster, mut client) = mallorys_shop();
    let _ = cluster.serving();
    for role in ["reader", "mallory"] {
        client.batch_execute(&format!("GRANT SELECT ON product TO {role}")).unwrap();
        let mut reader = cluster.connect_as(role);
        for (what, filter) in CALLS {
            let said = refused(reader.query(&format!("SELECT {}", call(filter)), &[]));
            assert_eq!(said.code, "42501", "{what}: {said:?}");
            assert!(said.message.contains("belongs to role \"mallory\""), "{what}: {said:?}");
            assert!(said.hint.contains("event_source.user_functions"), "{what}: {said:?}");
        }
    }
    // By what a parameter is.
    let by_parameter = "event_source('product', filter => '$1::m.checked = id', params => '{1}')";
    let mut reader = cluster.connect_as("reader");
    assert_eq!(refused(reader.query(&format!("SELECT {by_parameter}"), &[])).code, "42501");
    // Her types are what they are, as long as nothing of hers is called.
    for harmless in ["'sad'::m.mood = 'sad'", "('sad'::m.mood < 'happy') AND id > 0"] {
        let _ = mint(&mut reader, &call(harmless));
    }

    allow(&cluster, "on");
    let mut reader = cluster.connect_as("reader");
    let tokens: Vec<_> =
        CALLS.iter().map(|(what, filter)| (*what, mint(&mut reader, &call(filter)))).collect();
    let open = |token: &str| Stream::open(cluster.http(), &Request::new(token));
    let mut streams = Vec::new();
    for (what, token) in &tokens {
        assert!(sql::event_page(&mut reader, token, None, 10, &[]).is_ok(), "{what}");
        let mut stream = open(token).unwrap_or_else(|e| panic!("{what}: {e}"));
        stream.next(LONG).unwrap().expect("a first word");
        streams.push((what, stream));
    }
    // Taken back, it ends what is open and refuses what is opened, before anything of hers is called.
    allow(&cluster, "off");
    for (what, stream) in &mut streams {
        let (code, before) = end(stream);
        assert_eq!(code, "permission_denied", "{what}: {before:?}");
    }
    let mut reader = cluster.connect_as("reader");
    for (what, token) in &tokens {
        let page = sql::event_page(&mut reader, token, None, 10, &[]);
        assert_eq!(refused(page).code, "42501", "{what}");
        assert_eq!(open(token).unwrap_err().code(), Some("permission_denied"), "{what}");
    }
}

#[test]
fn what_a_check_calls_that_came_after_the_token_is_not_called_either() {
    let (cluster, mut client) = mallorys_shop();
    client
        .batch_execute(
            "CREATE TABLE called (by text); GRANT INSERT ON called TO PUBLIC;
             CREATE DOMAIN later AS int",
        )
        .unwrap();
    let mut reader = cluster.connect_as("reader");
    let token = mint(&mut reader, &call("id = ANY ('{1}'::later[])"));
    client
        .batch_execute(
            "CREATE FUNCTION m.tell(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
                $$ BEGIN INSERT INTO called VALUES (current_user); RETURN true; END $$;
             ALTER FUNCTION m.tell OWNER TO mallory;
             ALTER DOMAIN later OWNER TO mallory; GRANT CREATE ON SCHEMA public TO mallory;
             ALTER DOMAIN later ADD CHECK (m.tell(VALUE))",
        )
        .unwrap();
    let said = refused(sql::event_page(&mut reader, &token, None, 10, &[]));
    assert_eq!(said.code, "42501", "{said:?}");
    let called: i64 = client.query_one("SELECT count(*) FROM called", &[]).unwrap().get(0);
    assert_eq!(called, 0);
}

#[test]
fn a_filter_of_postgresqls_own_and_of_extensions_is_what_it_always_was() {
    let (cluster, mut client) = shop_with(as_shipped().conf("event_source.listen", ""));
    client
        .batch_execute(
            "CREATE FUNCTION half(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 / 2 $$;
             GRANT CREATE ON DATABASE app TO owner",
        )
        .unwrap();
    let mut owner = cluster.connect_as("owner");
    // One that is trusted: the role owns it, and a superuser what is in it.
    let has_citext = owner.batch_execute("CREATE EXTENSION citext").is_ok();
    let mut filters = vec![
        "half(id) = 1",
        "name LIKE 'l%' AND price BETWEEN 0 AND 1",
        "id = ANY ('{1,2,3}') AND name IN ('a', 'limes')",
        "extract(year FROM date '2024-01-01' + id) = 2024",
        "greatest(id, 2) = 2 AND coalesce(name, '') <> '' AND nullif(id, 5) IS NOT NULL",
        "'[1,5]'::int4range @> id AND '{[1,5]}'::int4multirange @> id",
        "jsonb_build_array() = '[]' OR (to_char(price, '9') IS NULL) IS NOT NULL",
        "ROW(id, name) = ROW(2, 'limes')",
        "(name COLLATE \"C\") = 'limes' AND id::text::int = 2",
    ];
    // These are no more immutable than ever.
    filters.retain(|filter| !filter.contains("to_char"));
    if has_citext {
        filters.push("name::citext = 'LIMES'");
    }
    let mut reader = cluster.connect_as("reader");
    let tokens: Vec<_> =
        filters.iter().map(|filter| (filter, mint(&mut reader, &call(filter)))).collect();
    client.batch_execute("INSERT INTO product VALUES (2, 'limes', 0.40)").unwrap();
    for (filter, token) in tokens {
        assert_eq!(story(&mut reader, &token), ["add 2"], "{filter}");
    }
}

/// What ends a token of a filter: (how it is made so that it may be, the filter, what takes it back).
const TAKEN: &[(&str, &str, &str, &str)] = &[
    (
        "EXECUTE",
        "REVOKE EXECUTE ON FUNCTION lib.f FROM PUBLIC; GRANT EXECUTE ON FUNCTION lib.f TO reader",
        "lib.f(id)",
        "REVOKE EXECUTE ON FUNCTION lib.f FROM reader",
    ),
    (
        "EXECUTE behind an operator",
        "REVOKE EXECUTE ON FUNCTION lib.less FROM PUBLIC; GRANT EXECUTE ON FUNCTION lib.less TO reader",
        "id OPERATOR(lib.<<<) 5",
        "REVOKE EXECUTE ON FUNCTION lib.less FROM reader",
    ),
    ("the owner", "", "lib.f(id)", "ALTER FUNCTION lib.f OWNER TO owner"),
    ("the owner of a domain", "", "id::lib.natural > 0", "ALTER DOMAIN lib.natural OWNER TO owner"),
    ("that it is immutable", "", "lib.f(id)", "ALTER FUNCTION lib.f VOLATILE"),
];

#[test]
fn a_token_ends_when_its_filter_could_not_be_made_any_more() {
    let (cluster, mut client) = shop_with(as_shipped());
    let _ = cluster.serving();
    for (what, grant, filter, revoke) in TAKEN {
        client
            .batch_execute(
                "DROP SCHEMA IF EXISTS lib CASCADE; CREATE SCHEMA lib;
                 GRANT USAGE ON SCHEMA lib TO reader; GRANT CREATE ON SCHEMA lib TO owner;
                 CREATE FUNCTION lib.f(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$;
                 CREATE FUNCTION lib.less(int, int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$;
                 CREATE OPERATOR lib.<<< (FUNCTION = lib.less, LEFTARG = int, RIGHTARG = int);
                 CREATE DOMAIN lib.natural AS int CHECK (VALUE > 0)",
            )
            .unwrap();
        client.batch_execute(grant).unwrap();
        let mut reader = cluster.connect_as("reader");
        let token = mint(&mut reader, &call(filter));
        let open = || Stream::open(cluster.http(), &Request::new(&token));
        let mut stream = open().unwrap();
        stream.next(LONG).unwrap().expect("a first word");
        client.batch_execute(revoke).unwrap_or_else(|e| panic!("{what}: {}", explain(&e)));
        let (code, before) = end(&mut stream);
        let expected =
            if what.contains("immutable") { "invalid_request" } else { "permission_denied" };
        assert_eq!(code, expected, "{what}");
        assert!(before.iter().all(|event| !event.kind.is_change()), "{what}: {before:?}");
        assert_eq!(open().unwrap_err().code(), Some(expected), "{what}");
        let _ = refused(sql::event_page(&mut reader, &token, None, 10, &[]));
    }
}

#[test]
fn a_schema_that_the_role_may_not_use_any_more_takes_the_filters_that_name_it() {
    let (cluster, mut client) = shop_with(as_shipped());
    let _ = cluster.serving();
    client
        .batch_execute(
            "CREATE SCHEMA lib; GRANT USAGE ON SCHEMA lib TO reader;
             CREATE FUNCTION lib.f(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$;
             CREATE OPERATOR lib.<<< (FUNCTION = int4lt, LEFTARG = int, RIGHTARG = int);
             CREATE TYPE lib.mood AS ENUM ('sad')",
        )
        .unwrap();
    let mut reader = cluster.connect_as("reader");
    let filters = ["lib.f(id)", "id OPERATOR(lib.<<<) 5", "'sad'::lib.mood = 'sad' AND id > 0"];
    let tokens = filters.map(|filter| (filter, mint(&mut reader, &call(filter))));
    client.batch_execute("REVOKE USAGE ON SCHEMA lib FROM reader").unwrap();
    for (filter, token) in tokens {
        let said = refused(sql::event_page(&mut reader, &token, None, 10, &[]));
        assert_eq!(said.code, "42501", "{filter}: {said:?}");
        let opened = Stream::open(cluster.http(), &Request::new(&token));
        assert_eq!(opened.unwrap_err().code(), Some("permission_denied"), "{filter}");
    }
}

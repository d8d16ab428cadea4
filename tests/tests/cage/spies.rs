//! In every place where a role can define code stands a function that says as whom it runs, and tries to make its owner
//! a superuser. All of it is run by the worker, by a superuser's session and by a reader's.

use event_source_tests::Cluster;
use event_source_tests::consume::{Feed, Request, Stream, Version, sql};
use event_source_tests::follow::mint;
use postgres::Client;
use serde_json::json;

use super::{next, run, served};

/// `spy` is immutable, as indexes want it; what it calls is not.
const SPIES: &str = r#"
    CREATE FUNCTION evil.rise() RETURNS void LANGUAGE plpgsql VOLATILE AS $f$
    BEGIN ALTER ROLE mallory SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END $f$;
    CREATE FUNCTION evil.spy(place text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $f$
    BEGIN
        RAISE LOG 'SPY % % %', place, current_user, session_user;
        PERFORM evil.rise();
        RETURN true;
    END $f$;
    CREATE FUNCTION evil.spied(place text, n int) RETURNS int LANGUAGE sql IMMUTABLE
        AS 'SELECT CASE WHEN evil.spy(place) THEN n END';
    CREATE DOMAIN evil.d AS int CHECK (evil.spy('domain'));
    CREATE TYPE evil.c AS (x evil.d, y int);
    CREATE TYPE evil.r AS RANGE (subtype = evil.d);
    CREATE FUNCTION evil.as_text(evil.c) RETURNS text LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN PERFORM evil.spy(''cast''); RETURN ''cast''; END';
    CREATE CAST (evil.c AS text) WITH FUNCTION evil.as_text(evil.c);
    CREATE FUNCTION evil.same(evil.c, evil.c) RETURNS bool LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN evil.spy(''operator''); END';
    CREATE OPERATOR evil.=== (LEFTARG = evil.c, RIGHTARG = evil.c, FUNCTION = evil.same);
"#;

/// Tables of mallory's, one for each place; each has a row type that the readers' filters look at.
const TABLES: &[(&str, &str)] = &[
    ("domain", "(k evil.d PRIMARY KEY, v evil.d)"),
    ("arrays", "(k evil.d[] PRIMARY KEY, v evil.d[])"),
    ("composite", "(k evil.c PRIMARY KEY, v evil.c)"),
    ("ranges", "(k evil.r PRIMARY KEY, v evil.r)"),
    (
        "generated",
        "(k int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (evil.spied('generated', v)) STORED)",
    ),
    (
        "checked",
        "(k int PRIMARY KEY, v int, CHECK (evil.spy('check')), d int DEFAULT evil.spied('default', 1))",
    ),
    ("indexed", "(k int PRIMARY KEY, v int)"),
];

/// A value of each table's type, as a literal.
fn value(table: &str, n: i32) -> String {
    match table {
        "arrays" => format!("{{{n}}}"),
        "composite" => format!("({n},{n})"),
        "ranges" => format!("[{n},{n}]"),
        _ => n.to_string(),
    }
}

/// The type of each table's key.
fn of(table: &str) -> &'static str {
    match table {
        "domain" => "evil.d",
        "arrays" => "evil.d[]",
        "composite" => "evil.c",
        "ranges" => "evil.r",
        _ => "int",
    }
}

fn spied(client: &mut Client) {
    run(client, SPIES);
    for (table, columns) in TABLES {
        run(
            client,
            &format!("CREATE TABLE evil.{table} {columns}; GRANT SELECT ON evil.{table} TO PUBLIC"),
        );
        run(client, &format!("CREATE INDEX {table}_v ON evil.{table} (v)"));
    }
    run(
        client,
        "CREATE INDEX by_code ON evil.indexed (evil.spied('index', v)) WHERE evil.spy('predicate');
         CREATE INDEX by_constant ON evil.indexed (v, (evil.spied('constant', 1)))",
    );
}

/// What the spies have said since the log was `from` bytes long: place, user and session's user.
fn said(cluster: &Cluster, from: usize) -> Vec<(String, String, String)> {
    let log = cluster.log();
    let lines =
        log[from..].lines().filter_map(|line| line.split_once("LOG:  SPY ")).map(|(_, said)| said);
    let words = lines.map(|said| said.split(' ').map(str::to_owned).collect::<Vec<_>>());
    words.map(|words| (words[0].clone(), words[1].clone(), words[2].clone())).collect()
}

fn is_superuser(client: &mut Client) -> bool {
    let asked = "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'";
    client.query_one(asked, &[]).unwrap().get(0)
}

#[test]
fn nothing_that_a_table_brings_along_runs_as_anybody_but_its_owner() {
    let (cluster, mut client) = served(&[]);
    let mut mallory = cluster.connect_as("mallory");
    spied(&mut mallory);
    for (table, _) in TABLES {
        run(&mut client, &format!("SELECT event_source.capture('evil.{table}')"));
        for n in 1..3 {
            let row = value(table, n);
            run(
                &mut mallory,
                &format!("INSERT INTO evil.{table} (k, v) VALUES ('{row}', '{row}')"),
            );
        }
    }
    let from = cluster.log().len();
    let mut reader = cluster.connect_as("reader");
    for (table, _) in TABLES {
        let one = value(table, 1);
        let mut calls = vec![
            format!("event_source('evil.{table}')"),
            format!("event_source('evil.{table}', filter => 'v IS NOT NULL')"),
            format!("event_source('evil.{table}', key => '{one}'::text)"),
            format!("event_source('evil.{table}_v', terms => array['{one}'])"),
        ];
        if *table == "indexed" {
            calls.push("event_source('evil.by_code', terms => '{1}')".to_owned());
            calls.push("event_source('evil.by_constant', terms => '{1}')".to_owned());
        }
        for call in calls {
            // Minted by an ordinary role and by a superuser.
            let mut tokens = Vec::new();
            for session in [&mut reader, &mut client] {
                match session.query_one(&format!("SELECT {call}"), &[]) {
                    Ok(row) => tokens.push(row.get::<_, String>(0)),
                    Err(error) => panic!("{call}: {error:?}"),
                }
            }
            for token in &tokens {
                sql::event_page(&mut reader, token, None, 10, &[]).unwrap();
                sql::event_page(&mut client, token, None, 10, &[]).unwrap();
                let snapshot = Request::new(token).with_snapshot();
                let mut stream = Stream::open(cluster.http(), &snapshot).unwrap();
                assert!(next(&mut stream).is_ok(), "{call}");
                let mut feed = Feed::new(cluster.http(), Version::Http1).unwrap();
                let page = feed.page(token, None, &json!({})).unwrap();
                assert!(page.events.iter().all(|event| event.error.is_none()), "{call}: {page:?}");
                let mut live = Stream::open(cluster.http(), &Request::new(token)).unwrap();
                run(
                    &mut mallory,
                    &format!("DELETE FROM evil.{table} WHERE k = '{one}'::{}", of(table)),
                );
                run(
                    &mut mallory,
                    &format!("INSERT INTO evil.{table} (k, v) VALUES ('{one}', '{one}')"),
                );
                assert!(next(&mut live).is_ok(), "{call}");
            }
        }
        // A superuser's own redaction.
        run(
            &mut client,
            &format!("SELECT event_source.redact('evil.{table}', key => '{one}'::text)"),
        );
    }
    let said = said(&cluster, from);
    for (place, user, session) in &said {
        assert_eq!(user, "mallory", "{place} ran as {user} in a session of {session}");
    }
    for place in ["domain", "index", "predicate"] {
        assert!(
            said.iter().any(|(said, ..)| said == place),
            "{place} never ran: the test tests nothing"
        );
    }
    assert!(!is_superuser(&mut client));
}

#[test]
fn a_filters_code_runs_as_the_role_of_its_token() {
    let (cluster, mut client) = served(&[]);
    let mut mallory = cluster.connect_as("mallory");
    spied(&mut mallory);
    run(
        &mut client,
        "SELECT event_source.capture('evil.composite'), event_source.capture('evil.indexed')",
    );
    let from = cluster.log().len();
    let mut reader = cluster.connect_as("reader");
    for (table, filter) in [
        ("indexed", "evil.spy(''filter'')"),
        ("indexed", "evil.spied(''filter'', v) > 0"),
        ("composite", "v OPERATOR(evil.===) v"),
        ("composite", "v::text = ''cast''"),
        ("composite", "(v).y > ''0''::evil.d"),
    ] {
        run(
            &mut mallory,
            &format!(
                "DELETE FROM evil.{table}; INSERT INTO evil.{table} VALUES ('{0}', '{0}')",
                value(table, 1)
            ),
        );
        let here = cluster.log().len();
        let token =
            mint(&mut reader, &format!("event_source('evil.{table}', filter => '{filter}')"));
        let mut stream =
            Stream::open(cluster.http(), &Request::new(&token).with_snapshot()).unwrap();
        assert!(next(&mut stream).is_ok(), "{filter}");
        let mut live = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
        sql::event_page(&mut client, &token, None, 10, &[]).unwrap();
        run(
            &mut mallory,
            &format!("INSERT INTO evil.{table} VALUES ('{0}', '{0}')", value(table, 2)),
        );
        assert!(next(&mut live).is_ok(), "{filter}");
        let of_filter = |place: &str| match table {
            "composite" => place != "domain" || filter.contains("evil.d"),
            _ => place == "filter",
        };
        let all: Vec<_> =
            said(&cluster, here).into_iter().filter(|(place, ..)| of_filter(place)).collect();
        assert!(all.iter().any(|(_, user, _)| user == "reader"), "{filter}: {all:?}");
    }
    for (place, user, session) in said(&cluster, from) {
        assert!(["reader", "mallory"].contains(&user.as_str()), "{place} ran as {user}");
        assert!(
            place != "filter" || user == "reader",
            "{place} ran as {user} in a session of {session}"
        );
    }
    assert!(!is_superuser(&mut client));
}

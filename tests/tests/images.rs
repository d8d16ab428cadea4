//! Images: a row's JSON is the row's alone, whoever wrote it under whichever settings.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::follow::mint;
use postgres::Client;

/// Types whose text depends on settings of the session, and those that JSON has no word for.
const TABLE: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'wild');
    CREATE TYPE pair AS (at timestamptz, amount money);
    CREATE TABLE w (
        id bigint PRIMARY KEY, at timestamptz, local timestamp, day date, clock time,
        zoned timetz, span interval, bytes bytea, f4 float4, f8 float8, n numeric, price money,
        flag bool, nothing text, doc jsonb, raw json, xs int[], ats timestamptz[], m mood,
        p pair, during tstzrange, whenever tstzmultirange, kind regclass, type regtype, u uuid,
        net inet, bits varbit, words tsvector, x xml, c char(5), quoted text, box box);
    SELECT event_source.capture('w')";

const ROW: &str = r#"
    INSERT INTO w VALUES (
        9007199254740993, '2024-02-29 23:59:59.123456+00', '2024-02-29 23:59:59.5', '2024-02-29',
        '12:34:56', '12:34:56+02', '1 year 2 months -3 days 04:05:06.7', '\x00ff10',
        1.1::float4, 0.1::float8 + 0.2, 12345678901234567890.123400, 1234.56::float8::numeric::money,
        true, NULL, '{"a": [1, 2.50, "x"]}', '{"b" : 1}', '{1,NULL,3}',
        ARRAY['2024-01-01 00:00:00+00'::timestamptz], 'wild',
        ROW('2024-01-01 12:00:00+00'::timestamptz, 5::numeric::money)::pair,
        tstzrange('2024-01-01 00:00:00+00', '2024-06-01 00:00:00+00'),
        tstzmultirange(tstzrange('2024-01-01 00:00:00+00', '2024-06-01 00:00:00+00')),
        'public.w'::regclass, 'integer'::regtype, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
        '10.0.0.1/8', B'1011', 'a fat cat'::tsvector, '<a>1</a>', 'ab',
        E'tab\tquote"back\\slash' || U&'\0085\2028\2029', '((1,2),(3,4))')"#;

/// Ten sessions that PostgreSQL itself would show this row to in ten ways.
const SESSIONS: [&str; 10] = [
    "",
    "SET TimeZone = 'Asia/Kathmandu'",
    "SET TimeZone = 'America/St_Johns'; SET DateStyle = 'SQL, DMY'",
    "SET DateStyle = 'German'",
    "SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = 'postgres_verbose'",
    "SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape'",
    "SET extra_float_digits = -10",
    "SET extra_float_digits = 0; SET lc_monetary = 'C.UTF-8'",
    "SET search_path = pg_catalog; SET xmlbinary = 'hex'; SET xmloption = 'content'",
    "SET quote_all_identifiers = on; SET IntervalStyle = 'sql_standard'; SET client_encoding = 'UTF8'",
];

/// The row as events show it, byte for byte: new image, old image, key.
fn written_under(cluster: &Cluster, reader: &mut Client, token: &str, session: &str) -> Vec<u8> {
    let mut writer = cluster.connect();
    // The row's own text must mean the same everywhere, so it is made before the settings are.
    writer.batch_execute("CREATE TEMPORARY TABLE held AS TABLE w").unwrap();
    writer.batch_execute(&ROW.replacen("INTO w", "INTO held", 1)).unwrap();
    writer.batch_execute(session).unwrap();
    writer.batch_execute("INSERT INTO public.w TABLE pg_temp.held").unwrap();
    writer.batch_execute("UPDATE public.w SET flag = false").unwrap();
    writer.batch_execute("DELETE FROM public.w").unwrap();
    let rows = reader
        .query(
            "SELECT type, key::text, data::text, prev::text, diff::text FROM event_feed($1,
             cursor => (SELECT cursor FROM seen), include => '{prev,diff}')",
            &[&token],
        )
        .unwrap();
    let mut bytes = Vec::new();
    for row in &rows[..rows.len() - 1] {
        for column in 0..5 {
            let text: Option<String> = row.get(column);
            bytes.extend(text.as_deref().unwrap_or("null").bytes());
            bytes.push(b'\n');
        }
    }
    reader
        .execute(
            "UPDATE seen SET cursor = (SELECT cursor FROM event_feed($1, cursor => seen.cursor)
             WHERE type = 'status')",
            &[&token],
        )
        .unwrap();
    bytes
}

#[test]
fn the_same_row_gives_the_same_bytes_under_ten_session_settings() {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut reader = cluster.connect();
    reader.batch_execute(TABLE).unwrap();
    let token = mint(&mut reader, "event_source('w')");
    reader.batch_execute("CREATE TEMPORARY TABLE seen AS SELECT ''::text AS cursor").unwrap();
    let first = written_under(&cluster, &mut reader, &token, SESSIONS[0]);
    let text = String::from_utf8(first.clone()).unwrap();
    assert_eq!(text.lines().filter(|line| ["add", "update", "remove"].contains(line)).count(), 3);
    for session in &SESSIONS[1..] {
        // The reader's settings must not matter either.
        reader.batch_execute(&session.replace("SET search_path = pg_catalog", "SELECT 1")).unwrap();
        let again = written_under(&cluster, &mut reader, &token, session);
        assert_eq!(String::from_utf8(again).unwrap(), text, "under {session}");
    }
}

#[test]
fn a_row_is_json_as_the_contract_says() {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut client = cluster.connect();
    client.batch_execute(TABLE).unwrap();
    let token = mint(&mut client, "event_source('w')");
    client.batch_execute(ROW).unwrap();
    let shown: String = client
        .query_one("SELECT data::text FROM event_feed($1) WHERE type = 'add'", &[&token])
        .unwrap()
        .get(0);
    for part in [
        r#""id":9007199254740993"#,
        r#""at":"2024-02-29T23:59:59.123456Z""#,
        r#""local":"2024-02-29T23:59:59.5""#,
        r#""day":"2024-02-29""#,
        r#""span":"P1Y2M-3DT4H5M6.7S""#,
        r#""bytes":"AP8Q""#,
        r#""f4":1.1"#,
        r#""f8":0.30000000000000004"#,
        r#""n":12345678901234567890.123400"#,
        r#""flag":true"#,
        r#""nothing":null"#,
        r#""xs":[1,null,3]"#,
        r#""ats":["2024-01-01T00:00:00Z"]"#,
        r#""m":"wild""#,
        r#""p":{"at":"2024-01-01T12:00:00Z","amount":"#,
        r#""kind":"public.w""#,
        r#""u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#,
        r#""c":"ab   ""#,
        r#"\u0085\u2028\u2029""#,
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(value["doc"]["a"][1].to_string(), "2.50");
    assert_eq!(value["raw"]["b"], 1);
    assert!(!shown.contains('\n'), "on one line");
}

#[test]
fn numbers_that_json_has_no_word_for_are_strings() {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE odd (id int PRIMARY KEY, f float8, n numeric, at timestamptz, d date);
             SELECT event_source.capture('odd')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('odd')");
    client
        .batch_execute(
            "INSERT INTO odd VALUES (1, 'NaN', 'NaN', 'infinity', '-infinity'),
                                    (2, '-Infinity', 'Infinity', '-infinity', 'infinity')",
        )
        .unwrap();
    let shown: Vec<String> = client
        .query("SELECT data::text FROM event_feed($1) WHERE type = 'add'", &[&token])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let value = |at: usize| serde_json::from_str::<serde_json::Value>(&shown[at]).unwrap();
    assert_eq!(
        value(0),
        serde_json::json!({"id": 1, "f": "NaN", "n": "NaN", "at": "infinity", "d": "-infinity"})
    );
    assert_eq!(
        value(1),
        serde_json::json!(
            {"id": 2, "f": "-Infinity", "n": "Infinity", "at": "-infinity", "d": "infinity"}
        )
    );
}

#[test]
fn unchanged_toasted_values_are_in_both_images() {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE big (id int PRIMARY KEY, n int, body text, twice int GENERATED ALWAYS AS (n * 2) STORED);
             ALTER TABLE big ALTER body SET STORAGE EXTERNAL; SELECT event_source.capture('big')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('big')");
    client.batch_execute("INSERT INTO big VALUES (1, 1, repeat('x', 100000))").unwrap();
    client.batch_execute("UPDATE big SET n = 2").unwrap();
    let row = client
        .query_one(
            "SELECT length(data->>'body'), length(prev->>'body'), (data->>'twice')::int
             FROM event_feed($1, include => '{prev}') WHERE type = 'update'",
            &[&token],
        )
        .unwrap();
    let got: (i32, i32, i32) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(got, (100_000, 100_000, 4));
}

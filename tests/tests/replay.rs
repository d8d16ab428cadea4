//! Live and replayed from the log, on both wires and in pages, the same bytes.

use event_source_tests::replay::{Scenario, twice};

#[test]
fn every_kind_of_source_is_told_the_same_twice() {
    let counts = twice(Scenario {
        schema: "
            CREATE TABLE product (id int PRIMARY KEY, name text, shop int, price numeric, made date);
            CREATE INDEX by_shop ON product (shop) INCLUDE (price);
            CREATE TABLE keyless (v text, n int);
            CREATE TABLE part (region int, id int, v text, PRIMARY KEY (region, id))
                PARTITION BY LIST (region);
            CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
            CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
            SELECT event_source.capture('product', name => 'Product');
            SELECT event_source.capture('keyless');
            SELECT event_source.capture('part');
            CREATE ROLE reader; GRANT SELECT ON product, part TO reader",
        before: &["INSERT INTO product VALUES (1, 'old', 42, 5), (2, 'other', 43, 50)"],
        sources: &[
            "event_source('product')",
            "event_source('by_shop', terms => ARRAY[42])",
            "(SELECT event_source(p) FROM product p WHERE id = 1)",
            "event_source('product', filter => 'price > $1', params => ARRAY['10'])",
            "event_source('product', fields => '{name}')",
            "event_source('product', watch => '{price}')",
            "event_source('product', types => '{remove}')",
            "event_source('keyless')",
            "event_source('part')",
        ],
        queries: &[
            "Product.where(.price > 10).map(p => p.name).eventSource()",
            "Product.all().eventsOn(.price, .shop)",
            "Product.byShop(42).eventSource().map(p => { cost: p.price, name: p.name })",
            "Set.single(Product.byId('3')).eventSource()",
            "part.where(.region == 2 || .v == 'w').eventSource()",
        ],
        transactions: &[
            "INSERT INTO product VALUES (3, E'a\\u2028b\\u0085c', 42, 12.50, '2024-03-14')",
            // Several rows at once, in an order of their own.
            "INSERT INTO product SELECT n, 'p' || n, 42 + n % 2, n FROM generate_series(20, 9, -1) n",
            "UPDATE product SET price = price + 1 WHERE shop = 42",
            "UPDATE product SET name = 'same' WHERE id = 3",
            "UPDATE product SET name = 'same' WHERE id = 3",
            // Of one row in one transaction the net.
            "BEGIN; UPDATE product SET price = 99 WHERE id = 2; DELETE FROM product WHERE id = 2; COMMIT",
            "BEGIN; INSERT INTO product VALUES (4, 'never', 42, 1); DELETE FROM product WHERE id = 4; COMMIT",
            "BEGIN; DELETE FROM product WHERE id = 1; INSERT INTO product VALUES (1, 'again', 42, 7); COMMIT",
            "BEGIN; INSERT INTO product VALUES (5, 'no', 42, 1); ROLLBACK",
            // Another key, another term, and back.
            "UPDATE product SET id = id + 1000 WHERE id BETWEEN 9 AND 11",
            "UPDATE product SET shop = 1 WHERE id = 3",
            "UPDATE product SET shop = 42, price = NULL WHERE id = 3",
            "INSERT INTO keyless VALUES ('a', 1), ('a', 1), (NULL, NULL)",
            "UPDATE keyless SET n = 2 WHERE v = 'a'",
            "DELETE FROM keyless WHERE v IS NULL",
            "INSERT INTO part SELECT 1 + n % 2, n, 'v' FROM generate_series(1, 6) n",
            "UPDATE part SET region = 2 WHERE id = 2",
            "BEGIN; UPDATE part SET v = 'w'; DELETE FROM part WHERE id = 3; COMMIT",
            "TRUNCATE part_1",
            "BEGIN; UPDATE product SET price = 0 WHERE id = 3; TRUNCATE product, keyless; COMMIT",
            "INSERT INTO product VALUES (3, 'last', 42, 11)",
        ],
    });
    assert!(
        counts.iter().all(|count| *count > 1),
        "every source has something to tell: {counts:?}"
    );
}

#[test]
fn every_type_of_column_is_told_the_same_twice() {
    let counts = twice(Scenario {
        schema: r#"
            CREATE TYPE mood AS ENUM ('glad', 'sad');
            CREATE TYPE place AS (street text, number int);
            CREATE DOMAIN positive AS int CHECK (VALUE > 0);
            CREATE TABLE every (
                id bigint PRIMARY KEY, s smallint, i int, b bigint, r real, d float8, n numeric,
                t text, v varchar(9), c char(5), y bytea, u uuid, da date, ti time, tz timetz,
                ts timestamp, tt timestamptz, iv interval, j json, jb jsonb, ia int[], ta text[],
                bo boolean, ip inet, ci cidr, m mood, p place, pa place[], po positive, ra int4range,
                bi bit(4), mo money, pt point, tv tsvector, x xml
            );
            SELECT event_source.capture('every')"#,
        before: &[],
        sources: &["event_source('every')", "event_source('every', fields => '{jb,n,ta}')"],
        queries: &[],
        transactions: &[
            r#"INSERT INTO every VALUES (
                9007199254740993, -32768, 2147483647, -9223372036854775808, 1.5, 'NaN', 12345678901234567890.5,
                E'line\nend \u2028 \u2029 \u0085 "quoted" \\ ü 😀', 'v', 'c', '\x00ff',
                '00000000-0000-0000-0000-000000000001', '0044-03-15 BC', '24:00', '01:02:03+04',
                'infinity', '2024-03-14 22:50:55.93+00', '1 year 2 days 3.5 s', '{"a": [1, 2.50, "x"]}',
                '{"@int": "1", "deep": [{"@x": null}]}', '{1,NULL,3}', '{a,"b c",NULL}', true, '::1',
                '10.0.0.0/8', 'sad', ROW('a "b"', 7), ARRAY[ROW('x', 1)::place, NULL], 5, '[1,5)',
                B'1010', 12.34, '(1,2)', 'fat:1 cat:2', '<a>b</a>')"#,
            "INSERT INTO every (id) VALUES (2)",
            "INSERT INTO every (id, r, d, n, ts, tt, da) VALUES
                (3, 'Infinity', '-Infinity', 'NaN', '-infinity', '-infinity', 'infinity')",
            "UPDATE every SET t = repeat('long ', 10000), y = decode(repeat('ab', 5000), 'hex') WHERE id = 2",
            "UPDATE every SET i = 1 WHERE id = 2",
            "DELETE FROM every",
        ],
    });
    assert!(counts.iter().all(|count| *count == 8), "{counts:?}");
}

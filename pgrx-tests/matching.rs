//! Tests inside PostgreSQL: each makes a table, sources and changes by hand.

#[pgrx::pg_schema]
#[allow(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it says")]
#[allow(clippy::disallowed_methods, reason = "in a test a transaction id costs nothing")]
mod tests {
    use std::sync::Arc;

    use event_source_model::event::EventType::{self, Add, Remove, Update};
    use event_source_model::image::{Column, Image, Shape};
    use event_source_model::look::{self, Only};
    use event_source_model::named;
    use event_source_model::net::NetChange;
    use event_source_model::payload;
    use event_source_model::source::{Definition, Filter, Named, Set, Types, Watch};
    use event_source_model::value::Value;
    use pgrx::prelude::*;

    use crate::error::Kind;
    use crate::matching::{Evaluator, Matcher};

    const ID: u64 = 9_000_000;

    /// Runs SQL, and captures table `t` as far as matching sees it.
    fn table(sql: &str) {
        run(sql);
        run(&format!(
            "insert into event_source.capture (id, relation, name, plural) values ({ID}, 't', 't', 'ts')"
        ));
    }

    fn run(sql: &str) {
        Spi::run(sql).unwrap();
    }

    fn oid(name: &str) -> u32 {
        Spi::get_one::<pg_sys::Oid>(&format!("select '{name}'::regclass::oid"))
            .unwrap()
            .unwrap()
            .to_u32()
    }

    fn role() -> Named {
        let name = Spi::get_one::<String>("select current_user::text").unwrap().unwrap();
        let oid = Spi::get_one::<pg_sys::Oid>("select current_user::regrole::oid");
        Named { oid: oid.unwrap().unwrap().to_u32(), name }
    }

    fn source(set: Set) -> Definition {
        Definition {
            collection: ID,
            generation: 0,
            set,
            filter: None,
            fields: None,
            projection: None,
            watch: None,
            types: Types::ALL,
            every_delete: false,
            role: role(),
        }
    }

    fn index(name: &str, terms: &[Option<&str>]) -> Definition {
        let terms = terms.iter().map(|t| t.map(str::to_owned)).collect();
        let shape = crate::source::index_shape(oid(name).into()).unwrap();
        let index = Named { oid: oid(name), name: format!("public.{name}") };
        source(Set::Index { index, shape, terms })
    }

    fn filtered(set: Set, expression: &str, columns: &[(i16, &str)]) -> Definition {
        let columns = columns.iter().map(|&(n, name)| (n, name.to_owned())).collect();
        let filter = Some(Filter { expression: expression.to_owned(), columns });
        Definition { filter, ..source(set) }
    }

    /// An image of the columns `c1`, `c2` and so on, the first of them the key.
    fn row(values: &[Value]) -> Option<Image> {
        let columns = (1..=values.len() as i16)
            .map(|attnum| Column { attnum, name: format!("c{attnum}") })
            .collect();
        let shape = Arc::new(Shape { columns, key: vec![0] });
        Some(Image { shape, values: values.to_vec() })
    }

    fn change(before: Option<Image>, after: Option<Image>) -> NetChange {
        let key = after.as_ref().or(before.as_ref()).unwrap().key();
        NetChange { collection: ID, key, before, after, rewrite: false }
    }

    fn see(
        definition: &Definition,
        before: Option<Image>,
        after: Option<Image>,
    ) -> Option<EventType> {
        Evaluator::open(definition).unwrap().evaluate(&change(before, after)).unwrap()
    }

    /// What is said of a change that was all that its transaction did.
    fn only(change: &NetChange) -> Only {
        let (mut shapes, mut payload) = (named::Named::default(), Vec::new());
        payload::encode_net(change, &mut |shape| shapes.name(shape), &mut payload);
        let found: crate::error::Result<_> =
            look::only(&payload, &mut |id| shapes.find(id).map_err(Into::into));
        found.unwrap().unwrap()
    }

    fn int(n: i64) -> Value {
        Value::Int(n)
    }

    fn text(s: &str) -> Value {
        Value::Text(s.to_owned())
    }

    fn numeric(s: &str) -> Value {
        Value::Numeric(s.to_owned())
    }

    #[pg_test]
    fn a_collection_sees_every_change_even_one_that_changes_nothing() {
        table("create table t (c1 int primary key)");
        let all = source(Set::Collection);
        assert_eq!(see(&all, None, row(&[int(1)])), Some(Add));
        assert_eq!(see(&all, row(&[int(1)]), row(&[int(1)])), Some(Update));
        assert_eq!(see(&all, row(&[int(1)]), None), Some(Remove));
    }

    #[pg_test]
    fn a_source_of_every_delete_is_told_of_those_that_its_filter_would_hold_back() {
        table("create table t (c1 int primary key, c2 int)");
        let filtered = filtered(Set::Collection, "c2 > 1", &[(2, "c2")]);
        let every_delete = Definition { every_delete: true, ..filtered.clone() };
        let (outside, inside) = (row(&[int(1), int(1)]), row(&[int(1), int(2)]));
        assert_eq!(see(&filtered, outside.clone(), None), None);
        assert_eq!(see(&every_delete, outside.clone(), None), Some(Remove));
        assert_eq!(see(&every_delete, inside.clone(), outside.clone()), Some(Remove));
        assert_eq!(see(&every_delete, outside.clone(), outside.clone()), None, "not deleted");
        assert_eq!(see(&every_delete, None, outside), None);
    }

    #[pg_test]
    fn terms_are_equal_as_the_index_finds_them_equal() {
        table("create table t (c1 int, c2 numeric, c3 text); create index i on t (c2)");
        let one = index("i", &[Some("1.0")]);
        let with = |n: &str, note: &str| row(&[int(1), numeric(n), text(note)]);
        assert_eq!(see(&one, None, with("1.00", "a")), Some(Add));
        assert_eq!(see(&one, with("2", "a"), with("1.00", "a")), Some(Add));
        assert_eq!(see(&one, with("1", "a"), with("2", "a")), Some(Remove));
        assert_eq!(see(&one, with("2", "a"), with("3", "a")), None);
        assert_eq!(see(&one, with("1.0", "a"), with("1.00", "a")), Some(Update), "shown otherwise");
        assert_eq!(see(&one, with("1.0", "a"), with("1.0", "b")), None, "not covered");
    }

    #[pg_test]
    fn terms_of_extensions_and_of_collations_that_ignore_case_match() {
        table(
            "create extension citext; \
             create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             create table t (c1 int, c2 citext, c3 text collate folded); \
             create index i on t (c2); create index j on t (c3); create index h on t using hash (c2)",
        );
        let limes = row(&[int(1), text("Limes"), text("Cups")]);
        assert_eq!(see(&index("i", &[Some("LIMES")]), None, limes.clone()), Some(Add));
        assert_eq!(see(&index("h", &[Some("LIMES")]), None, limes.clone()), Some(Add));
        assert_eq!(see(&index("j", &[Some("cUPS")]), None, limes.clone()), Some(Add));
        assert_eq!(see(&index("j", &[Some("cup")]), None, limes), None);
    }

    #[pg_test]
    fn terms_without_a_hash_function_are_compared() {
        table(
            "create table t (c1 int, c2 money, c3 varbit[], c4 int[]); create index i on t (c2); \
             create index j on t (c3); create index k on t (c4)",
        );
        let bits = |bits| Value::Array(vec![text(bits)]);
        let image = row(&[int(1), text("$1.50"), bits("101"), Value::Array(vec![int(4)])]);
        assert_eq!(see(&index("i", &[Some("1.5")]), None, image.clone()), Some(Add));
        assert_eq!(see(&index("j", &[Some("{101}")]), None, image.clone()), Some(Add));
        assert_eq!(see(&index("j", &[Some("{1}")]), None, image.clone()), None);
        assert_eq!(see(&index("k", &[Some("{4}")]), None, image), Some(Add));
    }

    #[pg_test]
    fn a_null_term_is_is_null_and_no_terms_are_all_rows() {
        table("create table t (c1 int, c2 text); create index i on t (c2, c1)");
        let (null, a) = (row(&[int(1), Value::Null]), row(&[int(1), text("a")]));
        assert_eq!(see(&index("i", &[None]), None, null.clone()), Some(Add));
        assert_eq!(see(&index("i", &[None]), null.clone(), a.clone()), Some(Remove));
        assert_eq!(see(&index("i", &[Some("a")]), None, null.clone()), None);
        assert_eq!(see(&index("i", &[]), null.clone(), a.clone()), Some(Update));
        assert_eq!(see(&index("i", &[None, Some("1")]), None, null), Some(Add));
        assert_eq!(see(&index("i", &[Some("a"), Some("2")]), None, a), None);
    }

    #[pg_test]
    fn a_partial_index_over_expressions_decides_membership() {
        table(
            "create table t (c1 int, c2 text, c3 bool, c4 int, c5 int); \
             create index i on t (lower(c2)) include (c4) where not c3",
        );
        let a = index("i", &[Some("a")]);
        let with = |gone, c4, c5| row(&[int(1), text("A"), Value::Bool(gone), int(c4), int(c5)]);
        assert_eq!(see(&a, None, with(false, 1, 1)), Some(Add));
        assert_eq!(see(&a, with(false, 1, 1), with(true, 1, 1)), Some(Remove));
        assert_eq!(see(&a, with(true, 1, 1), with(false, 1, 1)), Some(Add));
        assert_eq!(see(&a, with(true, 1, 1), with(true, 2, 2)), None);
        assert_eq!(see(&a, with(false, 1, 1), with(false, 2, 1)), Some(Update));
        assert_eq!(see(&a, with(false, 1, 1), with(false, 1, 2)), None);
    }

    #[pg_test]
    fn a_row_source_sees_its_key_and_every_column_of_it() {
        table("create table t (c1 int, c2 text, primary key (c1))");
        let two = source(Set::Row { key: vec!["2".to_owned()] });
        let with = |id, note: &str| row(&[int(id), text(note)]);
        assert_eq!(see(&two, None, with(2, "a")), Some(Add));
        assert_eq!(see(&two, with(2, "a"), with(2, "b")), Some(Update));
        assert_eq!(see(&two, with(2, "a"), None), Some(Remove));
        assert_eq!(see(&two, None, with(1, "a")), None);
    }

    #[pg_test]
    fn a_filter_is_membership_and_null_is_false() {
        table("create table t (c1 int, c2 numeric, c3 jsonb); create index i on t (c1)");
        let dear = filtered(Set::Collection, "(price > 10::numeric)", &[(2, "price")]);
        let with = |n: Value| row(&[int(1), n, Value::Json("{\"a\": \"x\"}".to_owned())]);
        assert_eq!(see(&dear, None, with(numeric("11"))), Some(Add));
        assert_eq!(see(&dear, None, with(Value::Null)), None);
        assert_eq!(see(&dear, with(numeric("9")), with(numeric("11"))), Some(Add));
        assert_eq!(see(&dear, with(numeric("11")), with(Value::Null)), Some(Remove));
        assert_eq!(see(&dear, with(numeric("11")), with(numeric("12"))), Some(Update));
        let in_index = Definition { set: index("i", &[Some("1")]).set, ..dear };
        assert_eq!(see(&in_index, with(numeric("11")), with(numeric("12"))), None, "not covered");
        assert_eq!(see(&in_index, with(numeric("11")), with(numeric("1"))), Some(Remove));
        let json = filtered(Set::Collection, "((c3 ->> 'a'::text) = 'x'::text)", &[(3, "c3")]);
        assert_eq!(see(&json, None, with(Value::Null)), Some(Add));
    }

    #[pg_test]
    fn watch_restricts_updates_only_and_types_all_events() {
        table("create table t (c1 int, c2 int, c3 int)");
        let watch = |columns: &[i16], of_rows| Some(Watch { columns: columns.into(), of_rows });
        let watching = Definition { watch: watch(&[2], false), ..source(Set::Collection) };
        let with = |b, c| row(&[int(1), int(b), int(c)]);
        assert_eq!(see(&watching, None, with(1, 1)), Some(Add));
        assert_eq!(see(&watching, with(1, 1), with(1, 2)), None);
        assert_eq!(see(&watching, with(1, 1), with(2, 1)), Some(Update));
        let of_rows = Definition { watch: watch(&[2, 3], true), ..source(Set::Collection) };
        let null = |b, c| row(&[int(1), b, c]);
        assert_eq!(see(&of_rows, None, null(Value::Null, Value::Null)), None, "has none");
        assert_eq!(see(&of_rows, None, null(int(1), Value::Null)), Some(Add), "has one");
        assert_eq!(see(&of_rows, null(int(1), Value::Null), None), None, "has not all");
        assert_eq!(see(&of_rows, with(1, 1), None), Some(Remove), "has all");
        let types = Types { add: false, update: true, remove: true };
        let no_adds = Definition { types, ..source(Set::Collection) };
        assert_eq!(see(&no_adds, None, with(1, 1)), None);
        assert_eq!(see(&no_adds, with(1, 1), None), Some(Remove));
    }

    #[pg_test]
    fn values_of_every_shape_reach_expressions() {
        table(
            "create type mood as enum ('sad', 'glad'); create type pos as (x int, label text); \
             create domain small as int check (value < 100); \
             create table t (c1 small, c2 text[], c3 pos, c4 mood, c5 interval, c6 bytea, \
                             c7 int[], c8 pos[], c9 uuid, c10 timestamptz, c11 inet)",
        );
        let point =
            |x| Value::Object(vec![("label".to_owned(), text("p")), ("x".to_owned(), int(x))]);
        let grid = Value::Array(vec![
            Value::Array(vec![int(1), int(2)]),
            Value::Array(vec![Value::Null, int(4)]),
        ]);
        let image = row(&[
            int(7),
            Value::Array(vec![text("a"), text("b")]),
            point(3),
            text("glad"),
            text("P1DT2H"),
            Value::Bytes(vec![0, 255]),
            grid,
            Value::Array(vec![point(1), point(2)]),
            Value::Uuid([0xab; 16]),
            Value::Timestamptz(0),
            text("10.0.0.1"),
        ]);
        let tests: &[(&str, i16, &str)] = &[
            ("c1 = 7", 1, "c1"),
            ("'b' = any (c2)", 2, "c2"),
            ("(c3).x = 3 and (c3).label = 'p'", 3, "c3"),
            ("c4 > 'sad'::public.mood", 4, "c4"),
            ("c5 = interval '26 hours'", 5, "c5"),
            ("c6 = '\\x00ff'::bytea", 6, "c6"),
            ("c7[2][2] = 4 and c7[2][1] is null and c7[1][2] = 2", 7, "c7"),
            ("(c8[2]).x = 2", 8, "c8"),
            ("c9 = 'abababab-abab-abab-abab-abababababab'", 9, "c9"),
            ("c10 = '2000-01-01 00:00:00+00'", 10, "c10"),
            ("c11 << '10.0.0.0/8'::inet", 11, "c11"),
        ];
        for &(expression, attnum, name) in tests {
            let holds = filtered(Set::Collection, expression, &[(attnum, name)]);
            assert_eq!(see(&holds, None, image.clone()), Some(Add), "{expression}");
            let not = filtered(Set::Collection, &format!("not ({expression})"), &[(attnum, name)]);
            assert_eq!(see(&not, None, image.clone()), None, "{expression}");
        }
    }

    #[pg_test]
    fn a_column_added_later_has_its_default_in_rows_written_before() {
        table("create table t (c1 int)");
        run("alter table t add c2 int default 5, add c3 int");
        let five = filtered(Set::Collection, "c2 = 5 and c3 is null", &[(2, "c2"), (3, "c3")]);
        assert_eq!(see(&five, None, row(&[int(1)])), Some(Add));
    }

    #[pg_test]
    fn only_the_source_whose_expression_fails_is_ended() {
        table("create table t (c1 int, c2 int)");
        let mut matcher = Matcher::new();
        matcher.begin();
        matcher.add(1, &source(Set::Collection)).unwrap();
        matcher.add(2, &filtered(Set::Collection, "1 / c2 > 0", &[(2, "c2")])).unwrap();
        matcher.add(3, &filtered(Set::Collection, "c2 < 1", &[(2, "c2")])).unwrap();
        for _ in 0..2 {
            let matches = matcher.matches(&change(None, row(&[int(1), int(0)])));
            assert_eq!(*matches.seen_by, [(1, Add), (3, Add)]);
            let [(2, error)] = matches.failed.as_slice() else { panic!("{:?}", matches.failed) };
            assert_eq!(
                (error.kind, error.message.as_str()),
                (Kind::EvaluationFailed, "division by zero")
            );
        }
        let matches = matcher.matches(&change(None, row(&[int(1), int(1)])));
        assert_eq!(*matches.seen_by, [(1, Add), (2, Add)]);
        matcher.remove(2);
        let matches = matcher.matches(&change(None, row(&[int(1), int(0)])));
        assert!(matches.failed.is_empty());
    }

    #[pg_test]
    fn an_expression_that_does_not_end_is_ended() {
        table(
            "create table t (c1 int); create function slow(int) returns bool language plpgsql \
             immutable as 'begin perform pg_sleep(60); return true; end'",
        );
        let mut matcher = Matcher::new();
        matcher.begin();
        matcher.add(1, &filtered(Set::Collection, "public.slow(c1)", &[(1, "c1")])).unwrap();
        matcher.add(2, &filtered(Set::Collection, "c1 > 0", &[(1, "c1")])).unwrap();
        let matches = matcher.matches(&change(None, row(&[int(1)])));
        assert_eq!(*matches.seen_by, [(2, Add)]);
        assert_eq!(matches.failed[0].1.kind, Kind::TookTooMuch);
        assert!(matches.failed[0].1.message.contains("took more than"), "{:?}", matches.failed);
        run("select pg_sleep(0.01)");
    }

    #[pg_test]
    fn filters_run_as_the_role_of_their_source() {
        table(
            "create table t (c1 int); create role narrow; create function is_mine(int) returns bool \
             language plpgsql immutable as 'begin return current_user = ''narrow''; end'; \
             create function secret(int) returns bool language sql immutable as 'select true'; \
             revoke execute on function secret from public",
        );
        let narrow = Spi::get_one::<pg_sys::Oid>("select 'narrow'::regrole::oid");
        let role = Named { oid: narrow.unwrap().unwrap().to_u32(), name: "narrow".to_owned() };
        let mine = filtered(Set::Collection, "public.is_mine(c1)", &[(1, "c1")]);
        assert_eq!(see(&mine, None, row(&[int(1)])), None);
        let mine = Definition { role: role.clone(), ..mine };
        assert_eq!(see(&mine, None, row(&[int(1)])), Some(Add));
        let secret = filtered(Set::Collection, "public.secret(c1)", &[(1, "c1")]);
        let secret = Definition { role, ..secret };
        let refused = Evaluator::open(&secret).unwrap_err();
        assert_eq!(refused.kind, Kind::InsufficientPrivilege);
        let expected = "permission denied for function public.secret(integer) to role \"narrow\"";
        assert_eq!(refused.message, expected);
        // What is taken back while it is open is refused by PostgreSQL.
        run("grant execute on function secret to narrow");
        let mut evaluator = Evaluator::open(&secret).unwrap();
        run("revoke execute on function secret from narrow");
        let refused = evaluator.evaluate(&change(None, row(&[int(1)]))).unwrap_err();
        assert_eq!(refused.message, "permission denied for function secret");
    }

    #[pg_test]
    fn ddl_ends_only_the_sources_that_cannot_follow_it() {
        table(
            "create table t (c1 int primary key, c2 int, c3 int); \
             create index i on t (c2); create index j on t (c1)",
        );
        let mut matcher = Matcher::new();
        matcher.begin();
        matcher.add(1, &source(Set::Collection)).unwrap();
        matcher.add(2, &index("i", &[Some("1")])).unwrap();
        matcher.add(3, &index("j", &[Some("1")])).unwrap();
        matcher.add(4, &filtered(Set::Collection, "c3 > 0", &[(3, "c3")])).unwrap();
        matcher.add(5, &source(Set::Row { key: vec!["1".to_owned()] })).unwrap();
        let insert = change(None, row(&[int(1), int(1), int(1)]));
        assert_eq!(matcher.matches(&insert).seen_by.len(), 5);

        run("drop index i; alter table t drop c3, add c4 int; alter index j rename to k");
        matcher.begin();
        let mut failed = matcher.take_failed();
        failed.sort_by_key(|(id, _)| *id);
        let kinds: Vec<_> = failed.iter().map(|(id, error)| (*id, error.kind)).collect();
        assert_eq!(kinds, [(2, Kind::SourceGone), (4, Kind::SchemaChanged)]);
        let mut seen = matcher.matches(&insert).seen_by;
        seen.sort_by_key(|(id, _)| *id);
        assert_eq!(*seen, [(1, Add), (3, Add), (5, Add)]);

        run("alter table t drop constraint t_pkey");
        matcher.begin();
        assert_eq!(matcher.take_failed()[0].0, 5);
        run("delete from event_source.capture; alter table t add c5 int");
        matcher.begin();
        assert_eq!(matcher.take_failed().len(), 2);
        assert!(!matcher.wants(ID));
    }

    #[pg_test]
    fn an_index_that_was_created_again_is_found_by_its_name() {
        table("create table t (c1 int); create index i on t (c1)");
        let one = index("i", &[Some("1")]);
        run("drop index i; create index i on t (c1)");
        assert_eq!(see(&one, None, row(&[int(1)])), Some(Add));
    }

    #[pg_test]
    fn a_value_that_no_longer_fits_its_column_ends_the_source() {
        table("create table t (c1 int, c2 text)");
        run("alter table t alter c2 type int using null");
        let mut two = Evaluator::open(&filtered(Set::Collection, "c2 = 2", &[(2, "c2")])).unwrap();
        assert_eq!(two.evaluate(&change(None, row(&[int(1), text("2")]))).unwrap(), Some(Add));
        let error = two.evaluate(&change(None, row(&[int(1), text("two")]))).unwrap_err();
        assert_eq!(error.kind, Kind::SchemaChanged);
        assert_eq!(two.evaluate(&change(None, row(&[int(1), text("3")]))).unwrap(), None);
    }

    #[pg_test]
    fn an_index_of_a_partitioned_table_matches_rows_of_all_partitions() {
        table(
            "create table t (c1 int, c2 int) partition by range (c1); \
             create table t1 partition of t for values from (0) to (10); create index i on t (c2)",
        );
        assert_eq!(see(&index("i", &[Some("5")]), None, row(&[int(1), int(5)])), Some(Add));
        assert_eq!(see(&index("i", &[Some("6")]), None, row(&[int(1), int(5)])), None);
    }

    #[pg_test]
    fn what_is_known_without_images_is_what_the_images_say() {
        table("create table t (c1 int primary key, c2 int); create index i on t (c2)");
        let none = Types { add: false, update: false, remove: false };
        let kinds = [
            Types::ALL,
            Types { add: true, ..none },
            Types { update: true, ..none },
            Types { remove: true, ..none },
        ];
        let mut matcher = Matcher::new();
        matcher.begin();
        for (id, types) in (1..).zip(kinds) {
            matcher.add(id, &Definition { types, ..source(Set::Collection) }).unwrap();
        }
        let (old, new) = (row(&[int(1), int(1)]), row(&[int(1), int(2)]));
        let changes = [
            change(None, new.clone()),
            change(old.clone(), new),
            change(old.clone(), None),
            change(old.clone(), old),
        ];
        for change in &changes {
            let by_images = matcher.matches(change).seen_by;
            assert!(!by_images.is_empty());
            assert_eq!(matcher.known(&only(change)).unwrap().seen_by, by_images);
        }
        let watch = Some(Watch { columns: vec![2], of_rows: false });
        let look_at_images = [
            filtered(Set::Collection, "c2 > 1", &[(2, "c2")]),
            Definition { watch, ..source(Set::Collection) },
            source(Set::Row { key: vec!["1".to_owned()] }),
            index("i", &[Some("1")]),
        ];
        for one in &look_at_images {
            matcher.add(9, one).unwrap();
            assert!(changes.iter().all(|change| matcher.known(&only(change)).is_none()), "{one:?}");
            matcher.remove(9);
            assert!(changes.iter().all(|change| matcher.known(&only(change)).is_some()));
        }
    }

    #[pg_test]
    fn equal_sources_are_found_together_and_removed_one_by_one() {
        table("create table t (c1 int); create index i on t (c1)");
        let mut matcher = Matcher::new();
        matcher.begin();
        for id in 0..100 {
            let term = (id % 10).to_string();
            matcher.add(id, &index("i", &[Some(&term)])).unwrap();
        }
        let insert = change(None, row(&[int(3)]));
        let mut seen: Vec<_> = matcher.matches(&insert).seen_by.iter().map(|s| s.0).collect();
        seen.sort_unstable();
        assert_eq!(seen, [3, 13, 23, 33, 43, 53, 63, 73, 83, 93]);
        (0..93).for_each(|id| matcher.remove(id));
        assert_eq!(*matcher.matches(&insert).seen_by, [(93, Add)]);
        (93..100).for_each(|id| matcher.remove(id));
        assert!(!matcher.wants(ID));
    }
}

//! Tests inside PostgreSQL of what needs no clock: filters, keys, terms, rights.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

#[pgrx::pg_schema]
mod tests {
    use std::ffi::CStr;

    use event_source_model::source::{Definition, Filter, Named, Set, Types};
    use pgrx::prelude::*;

    use crate::error::{Kind, Result};
    use crate::pg::relation::Relation;
    use crate::source::index::Index;
    use crate::source::key::{self, Argument};
    use crate::source::{Credential, filter, names, privileges, resolve, secrets};

    fn run(sql: &str) {
        Spi::connect_mut(|client| client.update(sql, None, &[]).map(|_| ())).unwrap();
    }

    fn table(sql: &str) -> Relation {
        run(sql);
        open("t")
    }

    fn open(name: &str) -> Relation {
        let oid = resolve::relation_of_name(name).unwrap();
        Relation::open(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE)
    }

    fn parse(table: &Relation, text: &str, parameters: &[Option<&str>]) -> Result<Filter> {
        let parameters: Vec<_> = parameters.iter().map(|p| p.map(str::to_owned)).collect();
        filter::parse(text, &parameters, table)
    }

    /// What a stored filter means over the table's present columns.
    fn read_back(filter: &Filter, table: &Relation) -> Result<String> {
        // SAFETY: reads the session's state.
        let role = unsafe { pg_sys::GetUserId() };
        let expression = filter::parse_stored(filter, role, table)?;
        // SAFETY: the expression is over `table` alone.
        unsafe {
            let context = pg_sys::deparse_context_for(c"row".as_ptr(), table.oid());
            let text = pg_sys::deparse_expression(expression.cast(), context, false, false);
            Ok(CStr::from_ptr(text).to_str().unwrap().to_owned())
        }
    }

    #[pg_test]
    fn a_parameter_takes_the_type_that_the_filter_gives_it() {
        let t = table("create table t (price numeric, category text, at timestamptz)");
        let filter = parse(&t, "price > $1 and category = $2", &[Some("7.50"), Some("o'k")]);
        let filter = filter.unwrap();
        assert_eq!(filter.expression, "((price > 7.50) AND (category = 'o''k'::text))");
        assert_eq!(filter.columns, [(1, "price".to_owned()), (2, "category".to_owned())]);
    }

    #[pg_test]
    fn a_filter_is_read_with_the_sessions_settings_and_stored_without_them() {
        let t = table("create table t (at timestamptz)");
        run("set local timezone = 'America/New_York'; set local datestyle = 'SQL, DMY'");
        let filter = parse(&t, "at > $1", &[Some("01/02/2024 10:00")]).unwrap();
        let stored = "(at > '2024-02-01 15:00:00+00'::timestamp with time zone)";
        assert_eq!(filter.expression, stored);
        run("set local timezone = 'UTC'; set local datestyle = 'ISO'");
        assert_eq!(read_back(&filter, &t).unwrap(), stored);
    }

    #[pg_test]
    fn a_stored_filter_follows_its_columns_through_renames() {
        let t = table("create table t (price int, other int)");
        let filter = parse(&t, "t.price > 5", &[]).unwrap();
        drop(t);
        run("alter table t rename price to cost");
        run("alter table t rename other to price");
        assert_eq!(read_back(&filter, &open("t")).unwrap(), "(cost > 5)");
    }

    #[pg_test]
    fn a_stored_filter_whose_column_is_gone_says_that_the_schema_changed() {
        let t = table("create table t (a int, b int)");
        let filter = parse(&t, "a > 5", &[]).unwrap();
        drop(t);
        run("alter table t drop a");
        assert_eq!(read_back(&filter, &open("t")).unwrap_err().kind, Kind::SchemaChanged);
    }

    #[pg_test]
    fn nothing_but_one_immutable_expression_over_columns_is_a_filter() {
        let t = table("create table t (a int, at timestamptz)");
        for more_than_one in [
            "*",
            "t.*",
            "true, true",
            "a > 1 from t",
            "a > 1 where true",
            "distinct a > 1",
            "true x",
        ] {
            let refused = parse(&t, more_than_one, &[]).unwrap_err();
            assert_eq!(refused.message, "filter must be one boolean expression", "{more_than_one}");
        }
        for (text, kind) in [
            ("at > now()", Kind::InvalidParameter),
            ("at::text = 'x'", Kind::InvalidParameter),
            ("t is null", Kind::FeatureNotSupported),
            ("ctid is null", Kind::FeatureNotSupported),
        ] {
            assert_eq!(parse(&t, text, &[]).unwrap_err().kind, kind, "{text}");
        }
    }

    #[pg_test(error = "cannot use subquery in index predicate")]
    fn a_filter_has_no_subquery() {
        let t = table("create table t (a int)");
        parse(&t, "exists (select 1)", &[]).unwrap();
    }

    #[pg_test]
    fn params_must_be_as_many_as_the_filter_has() {
        let t = table("create table t (a int)");
        for (text, parameters) in [("a > $1", &[][..]), ("a > $1", &[Some("1"), Some("2")][..])] {
            assert_eq!(parse(&t, text, parameters).unwrap_err().kind, Kind::InvalidParameter);
        }
    }

    fn text_key(text: &str) -> Result<Vec<String>> {
        key::key(resolve::relation_of_name("t").unwrap(), Argument::Text(text.to_owned()))
    }

    #[pg_test]
    fn a_key_is_text_or_for_several_columns_a_json_array() {
        run("create table t (b text, a int, primary key (a, b))");
        assert_eq!(text_key(r#"[007.0e0,"x y"]"#).map_err(|e| e.kind), Err(Kind::InvalidParameter));
        assert_eq!(text_key(r#"[7,"x y"]"#).unwrap(), ["7", "x y"]);
        assert_eq!(text_key("[7]").unwrap_err().kind, Kind::InvalidParameter);
        assert_eq!(text_key("[7,null]").unwrap_err().kind, Kind::InvalidParameter);
    }

    #[pg_test]
    fn terms_are_written_as_their_column_writes_them() {
        run("set local timezone = 'Asia/Tokyo'");
        run("create table t (at timestamptz, n numeric)");
        run("create index i on t (at, lower(n::text))");
        let index = Index::find(resolve::relation_of_name("i").unwrap()).unwrap();
        let given = Argument::Text("{2024-01-01 09:00,NULL}".to_owned());
        let terms = key::terms(&index, "i", Some(given)).unwrap();
        assert_eq!(terms, [Some("2024-01-01 00:00:00+00".to_owned()), None]);
        let many = Argument::Text("{2024-01-01,a,b}".to_owned());
        assert_eq!(key::terms(&index, "i", Some(many)).unwrap_err().kind, Kind::InvalidParameter);
    }

    /// Whether a role that may read `a` and `id` may see the source.
    fn may(fields: Option<&[i16]>, set: Set, filter: Option<Filter>) -> bool {
        let table = resolve::relation_of_name("t").unwrap();
        let reader = names::c_string("reader").unwrap();
        // SAFETY: looks the role up.
        let role = unsafe { pg_sys::get_role_oid(reader.as_ptr(), false) };
        let definition = Definition {
            collection: 1,
            generation: 0,
            set,
            filter,
            fields: fields.map(<[i16]>::to_vec),
            projection: None,
            watch: None,
            types: Types::ALL,
            every_delete: false,
            role: Named { oid: role.to_u32(), name: "reader".to_owned() },
        };
        match privileges::require(role, &definition, table) {
            Ok(()) => true,
            Err(e) if e.kind == Kind::InsufficientPrivilege => false,
            Err(e) => panic!("{e}"),
        }
    }

    #[pg_test]
    fn every_column_shown_or_tested_needs_select() {
        run("create role reader");
        run("create table t (id int primary key, a int, b int)");
        run("grant select (id, a) on t to reader; create index t_b on t (a) where b > 0");
        run("grant usage on schema public to reader");
        assert!(may(Some(&[2]), Set::Collection, None));
        assert!(!may(None, Set::Collection, None));
        let filter = parse(&open("t"), "b > 1", &[]).unwrap();
        assert!(!may(Some(&[2]), Set::Collection, Some(filter)));
        let index = names::named_relation(resolve::relation_of_name("t_b").unwrap()).unwrap();
        assert!(!may(Some(&[2]), Set::Index { index, shape: 0, terms: Vec::new() }, None));
        run("grant select (b) on t to reader");
        assert!(may(None, Set::Collection, None));
        run("alter table t enable row level security");
        assert!(!may(None, Set::Collection, None));
    }

    #[pg_test]
    fn a_secret_acts_as_its_role_until_that_must_not_have_one() {
        run("create role reader");
        let secret = secrets::create(c"reader", None, Some("of a test")).unwrap();
        let role = |secret: &str| Credential::read(secret)?.acting().map(|acting| acting.role);
        let reader = role(&secret).unwrap();
        assert_eq!(names::role_name(reader).as_deref(), Some("reader"));
        assert_eq!(role("ess_unknown").unwrap_err().kind, Kind::Unauthorized);
        assert_eq!(role("a.jwt.without-a-key").unwrap_err().kind, Kind::Unauthorized);
        run("alter role reader bypassrls");
        assert_eq!(role(&secret).unwrap_err().kind, Kind::Unauthorized);
        let refused = secrets::create(c"reader", None, None).unwrap_err();
        assert_eq!(refused.kind, Kind::InsufficientPrivilege);
    }
}

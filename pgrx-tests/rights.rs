//! Tests inside PostgreSQL of what counts as a change of rights. A backend hears of its own commands.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

#[pgrx::pg_schema]
#[allow(clippy::disallowed_methods, reason = "in a test a transaction id costs nothing")]
mod tests {
    use pgrx::prelude::*;

    use crate::source;
    use crate::worker::rights::{self, Epoch};

    fn run(sql: &str) {
        Spi::connect_mut(|client| client.update(sql, None, &[]).map(|_| ())).unwrap();
    }

    /// What has changed: the catalogs, credentials, code.
    fn changed(sql: &str) -> [bool; 3] {
        let before = rights::epoch();
        run(sql);
        rights::hear();
        let Epoch { catalogs, credentials, code } = rights::epoch();
        [catalogs != before.catalogs, credentials != before.credentials, code != before.code]
    }

    /// Whether a command counts: as a change of catalogs, and as one of credentials.
    fn counts(sql: &str) -> (bool, bool) {
        let [catalogs, credentials, code] = changed(sql);
        assert!(!code, "{sql}: no filter is watched");
        (catalogs, credentials)
    }

    fn watch(table: &str) {
        let oid = Spi::connect(|client| {
            let row = client.select(&format!("select '{table}'::regclass::oid"), None, &[])?;
            row.first().get_one::<pg_sys::Oid>()
        });
        rights::subscribe();
        assert!(rights::watch_table(oid.unwrap().unwrap()));
        rights::watch_credentials(source::credential_tables().unwrap());
    }

    #[pg_test]
    fn what_may_take_a_right_counts_and_nothing_else_does() {
        run("create table t (id int primary key, v int); create table other (id int);
             create role reader; create role readers; create schema s;
             create temp table first (id int)");
        watch("t");
        for sql in [
            "grant select on t to reader",
            "grant select (v) on t to readers",
            "alter table t enable row level security",
            "create policy p on t using (true)",
            "alter table t owner to reader",
            "alter table t rename to u",
            "drop table u",
            "grant readers to reader",
            "alter role reader bypassrls",
            "grant usage on schema s to reader",
            "drop role readers",
        ] {
            assert_eq!(counts(sql), (true, false), "{sql}");
        }
        for sql in [
            "create temp table x (id int primary key)",
            "drop table x",
            "create table y (id int)",
            "grant select on other to reader",
            "insert into other values (1)",
            "create index on other (id)",
        ] {
            assert_eq!(counts(sql), (false, false), "{sql}");
        }
    }

    #[pg_test]
    fn a_row_more_or_less_of_the_tables_of_credentials_counts() {
        run("create table t (id int primary key); create role reader");
        watch("t");
        for sql in [
            "insert into event_source.revocation (token_id) values (1)",
            "delete from event_source.revocation",
            "truncate event_source.revocation",
            "select event_source.rotate_key()",
            "delete from event_source.signing_key",
            "insert into event_source.secret (hash, role) values (sha256('x'), 'reader')",
            "update event_source.secret set expires_at = now()",
            "set session_replication_role = replica; delete from event_source.secret",
        ] {
            assert_eq!(counts(sql), (false, true), "{sql}");
        }
    }

    #[pg_test]
    fn what_a_filter_calls_counts_and_what_none_calls_does_not() {
        run("create schema s; create domain s.d as int check (value > 0); create domain s.other as int;
             create function s.f(int) returns bool language plpgsql immutable as 'begin return true; end';
             create function s.g(int) returns bool language plpgsql immutable as 'begin return true; end';
             create table t (id int primary key); create role reader");
        watch("t");
        let table = crate::pg::relation::Relation::open(
            Spi::get_one::<pg_sys::Oid>("select 't'::regclass::oid").unwrap().unwrap(),
            pg_sys::AccessShareLock as pg_sys::LOCKMODE,
        );
        let filter = event_source_model::source::Filter {
            expression: "s.f(id) and id::s.d > 0".to_owned(),
            columns: vec![(1, "id".to_owned())],
        };
        // SAFETY: reads the session's state.
        let role = unsafe { pg_sys::GetUserId() };
        let calls = source::filter::calls(&filter, role, &table).unwrap();
        assert!(rights::watch_code(calls.places()));
        assert!(!rights::watch_code(calls.places()), "each once");
        for sql in [
            "revoke execute on function s.f from public",
            "alter function s.f(int) volatile",
            "alter function s.f(int) owner to reader",
            "create or replace function s.f(int) returns bool language plpgsql immutable as 'begin return false; end'",
            "alter domain s.d owner to reader",
            "alter domain s.d set default 5",
        ] {
            assert!(changed(sql)[2], "{sql}");
        }
        for sql in [
            "alter function s.g(int) volatile",
            "create function s.h() returns int language sql as 'select 1'",
            "drop function s.h()",
            "alter domain s.other set default 5",
            "create table x (id int)",
        ] {
            assert!(!changed(sql)[2], "{sql}");
        }
    }
}

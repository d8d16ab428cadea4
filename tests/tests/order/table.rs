//! The table that the workload fights over, in three shapes, and the user triggers on it.
//!
//! The triggers are the hard part of any capture by triggers: they update other rows of the same
//! table and the same statement, so that changes fire in another order than they happened.

use event_source_tests::rebuild::Identity;
use postgres::Client;

/// Keys that the workload uses: few enough that its sessions meet, many enough that they do not
/// spend their time waiting.
pub(crate) const KEYS: i32 = 1000;
/// The row that the open writer inserts first and commits last.
pub(crate) const OPEN_KEY: i32 = -2;

/// What kind of table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    /// A changed key may move a row between partitions.
    Partitioned,
    /// No primary key: rows are a bag, and several may be equal.
    Keyless,
}

impl Shape {
    /// How followers tell its rows apart.
    pub(crate) fn identity(self) -> Identity {
        match self {
            Self::Plain | Self::Partitioned => Identity::ID,
            Self::Keyless => Identity::BAG,
        }
    }

    /// Creates and captures the table; gives a token that starts before its first row.
    pub(crate) fn create(self, client: &mut Client) -> String {
        let columns = "v int NOT NULL, note text, body text";
        let table = match self {
            Self::Plain => format!("CREATE TABLE t (id int PRIMARY KEY, {columns});"),
            Self::Keyless => format!(
                "CREATE TABLE t (id int NOT NULL, {columns}); CREATE INDEX t_by_id ON t (id);"
            ),
            Self::Partitioned => format!(
                "CREATE TABLE t (id int PRIMARY KEY, {columns}) PARTITION BY RANGE (id);
                 CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (MINVALUE) TO (300);
                 CREATE TABLE t_mid PARTITION OF t FOR VALUES FROM (300) TO (600);
                 CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (600) TO (MAXVALUE);"
            ),
        };
        client.batch_execute(&table).expect("the table can be created");
        client.batch_execute(TRIGGERS).expect("the user's triggers can be created");
        // Values out of line: their unchanged versions have to be in every image all the same.
        let tables =
            if self == Self::Partitioned { vec!["t_low", "t_mid", "t_high"] } else { vec!["t"] };
        for table in tables {
            client
                .batch_execute(&format!(
                    "ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL;
                     ALTER TABLE {table} SET (toast_tuple_target = 256)"
                ))
                .expect("the storage can be chosen");
        }
        client
            .batch_execute("SELECT event_source.capture('t')")
            .expect("the table can be captured");
        client.query_one("SELECT event_source('t')", &[]).expect("a token is minted").get(0)
    }
}

/// One transaction of more changes than are sorted in memory: its events come in the order of keys,
/// and followers are cut inside it.
pub(crate) fn change_much(client: &mut Client) {
    client
        .batch_execute(
            "BEGIN;
             INSERT INTO t SELECT id, id, 'much', NULL FROM generate_series(10001, 22000) AS id;
             SAVEPOINT s;
             DELETE FROM t WHERE id > 10001;
             ROLLBACK TO s;
             UPDATE t SET v = v + 1 WHERE id BETWEEN 15000 AND 16000;
             DELETE FROM t WHERE id BETWEEN 20000 AND 20500;
             UPDATE t SET id = id + 100000 WHERE id BETWEEN 12000 AND 12200;
             DELETE FROM t WHERE id BETWEEN 0 AND 50;
             COMMIT",
        )
        .expect("nobody else writes now");
}

/// BEFORE: updates the row that the same statement has just updated, from within its next row.
/// AFTER, once before and once behind capture's own trigger: updates neighbours, which the same
/// statement may have changed as well.
const TRIGGERS: &str = r"
CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        PERFORM set_config('workload.previous', '', true);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION before_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    previous text := current_setting('workload.previous', true);
BEGIN
    IF pg_trigger_depth() = 1 AND NEW.id > 0 THEN
        IF previous NOT IN ('', NEW.id::text) AND NEW.v % 3 = 0 THEN
            UPDATE t SET v = v + 1 WHERE id = previous::int;
        END IF;
        PERFORM set_config('workload.previous', NEW.id::text, true);
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION after_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 AND TG_OP = 'DELETE' THEN
        IF OLD.v % 5 = 0 THEN
            UPDATE t SET v = v + 1 WHERE id = OLD.id + 1;
        END IF;
    ELSIF pg_trigger_depth() = 1 AND NEW.id > 0 AND NEW.v % TG_ARGV[0]::int = 0 THEN
        UPDATE t SET v = v + 10, note = 'after ' || NEW.id WHERE id IN (NEW.id + 1, NEW.id + 2);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_forget BEFORE INSERT OR UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION forget();
CREATE TRIGGER a_before BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION before_row();
CREATE TRIGGER a_after AFTER INSERT OR UPDATE OR DELETE ON t
    FOR EACH ROW EXECUTE FUNCTION after_row(4);
CREATE TRIGGER zz_after AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION after_row(7);
";

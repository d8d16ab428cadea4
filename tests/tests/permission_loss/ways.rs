//! The ways to lose the right to read a stream, each with a table and a role of its own.

use event_source_tests::follow::mint;
use event_source_tests::{Cluster, jwt};
use postgres::Client;

/// How the right goes.
#[derive(Clone, Debug)]
pub enum Loss {
    /// With the commit of this.
    Sql(String),
    /// By itself, so many seconds after it was given.
    Time(u64),
}

/// What a stream is opened by, and how it ends.
#[derive(Debug)]
pub struct Way {
    pub what: &'static str,
    pub table: String,
    pub token: String,
    /// A secret or a JWT beside the token.
    pub secret: Option<String>,
    pub loss: Loss,
    /// The codes of the error, native and v10.
    pub codes: (&'static str, &'static str),
}

const DENIED: (&str, &str) = ("permission_denied", "permission_loss");
const UNAUTHORIZED: (&str, &str) = ("unauthorized", "permission_loss");
const GONE: (&str, &str) = ("source_gone", "invalid_request");
/// Long enough to open a stream and see it live.
const SECONDS: u64 = 4;

/// Gives rights on a new table.
pub struct Giver<'a> {
    cluster: &'a Cluster,
    client: &'a mut Client,
    number: usize,
    what: &'static str,
}

impl Giver<'_> {
    /// `$t`, `$r` and `$g` are the table, the role and its group.
    fn text(&self, sql: &str) -> String {
        let n = self.number;
        sql.replace("$t", &format!("t{n}"))
            .replace("$r", &format!("r{n}"))
            .replace("$g", &format!("g{n}"))
    }

    fn run(&mut self, sql: &str) {
        let sql = self.text(sql);
        self.client.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The role mints.
    fn mint(&mut self, grant: &str, call: &str) -> String {
        self.run(grant);
        mint(&mut self.cluster.connect_as(&self.text("$r")), &self.text(call))
    }

    /// Somebody who loses nothing mints.
    fn mint_by_owner(&mut self, call: &str) -> String {
        let call = self.text(call);
        mint(self.client, &call)
    }

    fn way(
        &self,
        token: String,
        secret: Option<String>,
        loss: Loss,
        codes: (&'static str, &'static str),
    ) -> Way {
        let table = self.text("$t");
        Way { what: self.what, table, token, secret, loss, codes }
    }

    fn sql(&self, token: String, secret: Option<String>, loss: &str) -> Way {
        self.way(token, secret, Loss::Sql(self.text(loss)), DENIED)
    }
}

pub type Give = fn(Giver<'_>) -> Way;

/// Each way, given anew.
pub const WAYS: [(&str, Give); 20] = [
    ("SELECT on the table", |mut g| {
        let token = g.mint("GRANT SELECT ON $t TO $r", "event_source('$t')");
        g.sql(token, None, "REVOKE SELECT ON $t FROM $r")
    }),
    ("SELECT on a column that is shown", |mut g| {
        let grant = "GRANT SELECT (id, late) ON $t TO $r";
        let token = g.mint(grant, "event_source('$t', fields => '{late}')");
        g.sql(token, None, "REVOKE SELECT (late) ON $t FROM $r")
    }),
    ("membership in the role that may", |mut g| {
        let grant = "CREATE ROLE $g; GRANT $g TO $r; GRANT SELECT ON $t TO $g";
        let token = g.mint(grant, "event_source('$t')");
        g.sql(token, None, "REVOKE $g FROM $r")
    }),
    ("the role itself", |mut g| {
        let token = g.mint("GRANT SELECT ON $t TO PUBLIC", "event_source('$t')");
        g.sql(token, None, "DROP ROLE $r")
    }),
    ("USAGE of the schema", |mut g| {
        let grant =
            "CREATE SCHEMA s$t; ALTER TABLE $t SET SCHEMA s$t; GRANT SELECT ON s$t.$t TO $r;
             GRANT USAGE ON SCHEMA s$t TO $r";
        let token = g.mint(grant, "event_source('s$t.$t')");
        let mut way = g.sql(token, None, "REVOKE USAGE ON SCHEMA s$t FROM $r");
        way.table = g.text("s$t.$t");
        way
    }),
    ("freedom from row security", |mut g| {
        let token = g.mint("GRANT SELECT ON $t TO $r", "event_source('$t')");
        g.sql(token, None, "ALTER TABLE $t ENABLE ROW LEVEL SECURITY")
    }),
    ("the token, revoked", |mut g| {
        let token = g.mint_by_owner("event_source('$t')");
        let loss = Loss::Sql(format!("SELECT event_source.revoke('{token}')"));
        g.way(token, None, loss, UNAUTHORIZED)
    }),
    ("the token, expired", |mut g| {
        let token = g.mint_by_owner("event_source('$t', expires_in => '4 seconds')");
        g.way(token, None, Loss::Time(SECONDS), UNAUTHORIZED)
    }),
    ("the key that signed it", |mut g| {
        let token = g.mint_by_owner("event_source('$t')");
        g.run("SELECT event_source.rotate_key()");
        let loss = "DELETE FROM event_source.signing_key
             WHERE created_at < (SELECT max(created_at) FROM event_source.signing_key)";
        g.way(token, None, Loss::Sql(loss.to_owned()), UNAUTHORIZED)
    }),
    ("the secret, revoked", |mut g| {
        g.run("GRANT SELECT ON $t TO $r");
        let secret = g.mint_by_owner("event_source.create_secret('$r', label => '$r')");
        let loss = g.text(
            "SELECT event_source.revoke_secret(id) FROM event_source.secrets WHERE label = '$r'",
        );
        let token = g.mint_by_owner("event_source('$t')");
        g.way(token, Some(secret), Loss::Sql(loss), UNAUTHORIZED)
    }),
    ("the secret, deleted by hand", |mut g| {
        g.run("GRANT SELECT ON $t TO $r");
        let secret = g.mint_by_owner("event_source.create_secret('$r', label => '$r')");
        let token = g.mint_by_owner("event_source('$t')");
        let loss = Loss::Sql(g.text("DELETE FROM event_source.secret WHERE label = '$r'"));
        g.way(token, Some(secret), loss, UNAUTHORIZED)
    }),
    ("the secret, expired", |mut g| {
        g.run("GRANT SELECT ON $t TO $r");
        let token = g.mint_by_owner("event_source('$t')");
        let call = "event_source.create_secret('$r', expires_in => '4 seconds')";
        let secret = g.mint_by_owner(call);
        g.way(token, Some(secret), Loss::Time(SECONDS), UNAUTHORIZED)
    }),
    ("SELECT of the secret's role, the token's keeps it", |mut g| {
        g.run("GRANT SELECT ON $t TO $r");
        let secret = g.mint_by_owner("event_source.create_secret('$r')");
        let token = g.mint_by_owner("event_source('$t')");
        g.sql(token, Some(secret), "REVOKE SELECT ON $t FROM $r")
    }),
    ("the JWT, expired", |mut g| {
        g.run("GRANT SELECT ON $t TO $r; GRANT $r TO parent");
        let token = g.mint_by_owner("event_source('$t')");
        let jwt = jwt::by_secret(&jwt::claims(&g.text("$r"), SECONDS));
        g.way(token, Some(jwt), Loss::Time(SECONDS), UNAUTHORIZED)
    }),
    ("the JWT's role, granted to the parent role no longer", |mut g| {
        g.run("GRANT SELECT ON $t TO $r; GRANT $r TO parent");
        let token = g.mint_by_owner("event_source('$t')");
        let jwt = jwt::by_secret(&jwt::claims(&g.text("$r"), 600));
        let loss = Loss::Sql(g.text("REVOKE $r FROM parent"));
        g.way(token, Some(jwt), loss, UNAUTHORIZED)
    }),
    ("the capture", |mut g| {
        let token = g.mint_by_owner("event_source('$t')");
        g.way(token, None, Loss::Sql(g.text("SELECT event_source.release('$t')")), GONE)
    }),
    ("the table", |mut g| {
        let token = g.mint_by_owner("event_source('$t')");
        g.way(token, None, Loss::Sql(g.text("DROP TABLE $t")), GONE)
    }),
    ("CONNECT on the database", |mut g| {
        // The others have it as everybody has.
        let token = g.mint("GRANT SELECT ON $t TO $r", "event_source('$t')");
        g.run(
            "DO $do$ BEGIN EXECUTE (SELECT string_agg('GRANT CONNECT ON DATABASE app TO ' || rolname, ';')
                FROM pg_roles WHERE rolname ~ '^r[0-9]+$' AND rolname <> '$r'); END $do$",
        );
        g.sql(token, None, "REVOKE CONNECT ON DATABASE app FROM PUBLIC")
    }),
    ("EXECUTE on a function of the filter", |mut g| {
        let grant = "GRANT CONNECT ON DATABASE app TO PUBLIC; GRANT SELECT ON $t TO $r;
             CREATE FUNCTION f$t(bigint) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
             REVOKE EXECUTE ON FUNCTION f$t FROM PUBLIC; GRANT EXECUTE ON FUNCTION f$t TO $r";
        let token = g.mint(grant, "event_source('$t', filter => 'f$t(id)')");
        g.sql(token, None, "REVOKE EXECUTE ON FUNCTION f$t FROM $r")
    }),
    ("a superuser as the owner of a function of the filter", |mut g| {
        let grant = "GRANT SELECT ON $t TO $r;
             CREATE FUNCTION f$t(bigint) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END'";
        let token = g.mint(grant, "event_source('$t', filter => 'f$t(id)')");
        g.sql(token, None, "ALTER FUNCTION f$t OWNER TO $r")
    }),
];

/// The right to read a table of that number, which is to be lost in a way.
pub fn give(
    cluster: &Cluster,
    client: &mut Client,
    number: usize,
    (what, give): (&'static str, Give),
) -> Way {
    let mut giver = Giver { cluster, client, number, what };
    giver.run(
        "CREATE TABLE $t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, late bool NOT NULL,
            text text NOT NULL DEFAULT '');
         SELECT event_source.capture('$t'); CREATE ROLE $r LOGIN",
    );
    give(giver)
}

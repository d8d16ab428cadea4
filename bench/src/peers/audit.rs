//! The audit trigger that people write.

use event_source_tests::Cluster;

use super::Counted;

/// What makes the trigger on a table.
pub fn trigger_on(table: &str) -> String {
    format!(
        "CREATE TABLE audit (
             id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), relation text NOT NULL,
             op text NOT NULL, old jsonb, new jsonb
         );
         CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO audit (relation, op, old, new)
             VALUES (TG_TABLE_NAME, TG_OP, to_jsonb(OLD), to_jsonb(NEW));
             RETURN NULL;
         END $$;
         CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON {table}
             FOR EACH ROW EXECUTE FUNCTION audit();"
    )
}

pub(super) fn start(cluster: &Cluster) -> Counted {
    cluster.connect().batch_execute(&trigger_on("item")).expect("the audit trigger can be made");
    Counted::new(cluster, "SELECT count(*) FROM audit")
}

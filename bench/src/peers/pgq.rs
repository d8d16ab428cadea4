//! PGQ, Skytools' queue in tables. Its ticker only cuts the queue into batches for readers; there is
//! none of either here.

use event_source_tests::Cluster;

use super::Counted;

pub(super) fn start(cluster: &Cluster, function: &str) -> Counted {
    cluster
        .connect()
        .batch_execute(&format!(
            "CREATE EXTENSION pgq;
             SELECT pgq.create_queue('bench');
             CREATE TRIGGER queue AFTER INSERT OR UPDATE OR DELETE ON item
                 FOR EACH ROW EXECUTE FUNCTION pgq.{function}('bench');"
        ))
        .expect("PGQ can be set up");
    // All tables of its queues inherit from this one.
    Counted::new(cluster, "SELECT count(*) FROM pgq.event_template")
}

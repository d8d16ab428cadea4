//! LISTEN and NOTIFY: a trigger that sends the row, and a session that counts what comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use event_source_tests::Cluster;
use postgres::fallible_iterator::FallibleIterator as _;

use super::Hearing;

const TRIGGER: &str = "
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('item', json_build_object('op', TG_OP, 'row', row_to_json(NEW))::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION tell();
";
/// How often the listening thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Listener {
    heard: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(cluster: &Cluster) -> Self {
        cluster.connect().batch_execute(TRIGGER).expect("the trigger can be made");
        let mut client = cluster.connect();
        client.batch_execute("LISTEN item").expect("it listens");
        let (heard, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (Arc::clone(&heard), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut notifications = client.notifications();
            while !end.load(Ordering::Acquire) {
                let mut coming = notifications.timeout_iter(LOOK);
                while coming.next().expect("the connection holds").is_some() {
                    counter.fetch_add(1, Ordering::Release);
                }
            }
        });
        Self { heard, ends, thread: Some(thread) }
    }
}

impl Hearing for Listener {
    fn heard(&mut self) -> u64 {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "the listener has ended, see above");
        self.heard.load(Ordering::Acquire)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

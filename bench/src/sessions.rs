//! Sessions that write, and stay open: what they have run for can be read before they end.

use std::thread;

use event_source_tests::Cluster;
use postgres::{Client, Statement};

use crate::peers::ROWS;

/// As many at once as it was made of.
pub struct Sessions(Vec<(Client, Statement)>);

impl Sessions {
    /// # Panics
    /// When they cannot be opened.
    #[must_use]
    pub fn open(cluster: &Cluster, number: usize) -> Self {
        let session = || {
            let mut client = cluster.connect();
            let update = client
                .prepare("UPDATE item SET amount = amount + 1 WHERE id = $1")
                .expect("it can be prepared");
            (client, update)
        };
        Self((0..number).map(|_| session()).collect())
    }

    /// Updates so many rows, each in a transaction of its own, with all sessions at once.
    ///
    /// # Panics
    /// When an update fails.
    pub fn update(&mut self, rows: u32) {
        // No two sessions want the same row, and neighbours are not on one page.
        const STEP: u64 = 7919;
        let all = self.0.len();
        thread::scope(|scope| {
            for (at, (client, update)) in self.0.iter_mut().enumerate() {
                scope.spawn(move || {
                    for number in (0..rows).skip(at).step_by(all) {
                        let id = u64::from(number) * STEP % u64::from(ROWS.unsigned_abs()) + 1;
                        let id = i32::try_from(id).expect("a row's id");
                        assert_eq!(client.execute(update, &[&id]).expect("it is updated"), 1);
                    }
                });
            }
        });
    }
}

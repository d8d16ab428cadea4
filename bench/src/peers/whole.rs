//! event_source from the commit to the client: a cluster, a table, a writer.

use std::net::SocketAddr;

use event_source_tests::{Cluster, Pid};
use postgres::Client;

use super::played::text;
use crate::clusters;
use crate::fanout::Subject;

/// A cluster whose one table is followed.
pub struct Whole {
    cluster: Cluster,
    writer: Client,
    token: String,
    sent: u64,
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Whole").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Whole {
    #[must_use]
    pub fn start() -> Self {
        let cluster = clusters::ours().start();
        let mut writer = cluster.connect();
        writer
            .batch_execute(
                "CREATE TABLE flow (id int PRIMARY KEY, name text);
                 SELECT event_source.capture('flow')",
            )
            .expect("a table can be captured");
        let token = writer.query_one("SELECT event_source('flow')", &[]).expect("a token").get(0);
        let _serving = cluster.serving();
        Self { cluster, writer, token, sent: 0 }
    }
}

impl Subject for Whole {
    fn address(&self) -> SocketAddr {
        self.cluster.http()
    }

    /// Only the server: what writing costs is another benchmark's.
    fn pids(&self) -> Vec<Pid> {
        vec![self.cluster.server().expect("it is serving")]
    }

    fn path(&self) -> String {
        format!("/v1/stream?token={}", self.token)
    }

    /// What is together is of one transaction.
    fn publish(&mut self, events: u64, together: u64) {
        let end = self.sent + events;
        while self.sent < end {
            let until = end.min(self.sent + together);
            let (ids, names): (Vec<i32>, Vec<String>) = (self.sent..until)
                .map(|number| (i32::try_from(number).expect("few"), text(number)))
                .unzip();
            self.writer
                .execute(
                    "INSERT INTO flow SELECT * FROM unnest($1::int[], $2::text[])",
                    &[&ids, &names],
                )
                .expect("it commits");
            self.sent = until;
        }
    }
}

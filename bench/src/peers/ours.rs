//! Table `item`, captured.

use std::net::SocketAddr;

use event_source_tests::Cluster;
use postgres::Client;

use super::Hearing;
use crate::follower::Follower;

fn capture(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    client.batch_execute("SELECT event_source.capture('item')").expect("it can be captured");
    client
}

fn token(client: &mut Client) -> String {
    client.query_one("SELECT event_source('item')", &[]).expect("a token").get(0)
}

pub(super) fn follow(cluster: &Cluster) -> Follower {
    let token = token(&mut capture(cluster));
    Follower::open(cluster.http(), token)
}

/// Nobody follows while it is written. What was written is read when it is asked for.
pub struct Unfollowed {
    client: Client,
    address: SocketAddr,
    /// What begins where the last reading ended.
    token: String,
    before: u64,
}

impl Unfollowed {
    pub(super) fn start(cluster: &Cluster) -> Self {
        let mut client = capture(cluster);
        let token = token(&mut client);
        Self { client, address: cluster.http(), token, before: 0 }
    }
}

impl Hearing for Unfollowed {
    fn heard(&mut self) -> u64 {
        self.before
    }

    fn wait_for(&mut self, all: u64) {
        // What is written from here on is not of this reading.
        let next = token(&mut self.client);
        let mut follower = Follower::open(self.address, std::mem::replace(&mut self.token, next));
        follower.wait_for(all - self.before);
        self.before = all;
    }
}

//! A stream of either wire, followed to its end.

use std::time::{Duration, Instant};

use event_source_tests::Cluster;
use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::{Event, Failed, Kind, Request, Stream, Version};

use super::ways::Way;
use event_source_tests::wait::LONG;

/// Which wire a stream is opened over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Native,
    V10,
}

pub const WIRES: [Wire; 2] = [Wire::Native, Wire::V10];

/// An open stream.
#[derive(Debug)]
pub enum Follower {
    Native(Stream),
    V10(V10Stream),
}

impl Follower {
    /// Opens a stream, whose first word is its status.
    #[track_caller]
    pub fn open(cluster: &Cluster, way: &Way, wire: Wire) -> Self {
        let opened = match wire {
            Wire::Native => {
                let mut request = Request::new(&way.token);
                request.secret.clone_from(&way.secret);
                Stream::open(cluster.http(), &request).map(Self::Native)
            }
            Wire::V10 => {
                let bearer = way.secret.as_deref().unwrap_or(&way.token);
                let opened =
                    V10Stream::open(cluster.http(), Version::Http2, bearer, &way.token, None);
                opened.map(Self::V10)
            }
        };
        let mut opened = opened.unwrap_or_else(|error| panic!("{}, {wire:?}: {error}", way.what));
        let first = opened.next(LONG).unwrap().expect("a first word");
        assert_eq!(first.kind, Kind::Status, "{first:?}");
        opened
    }

    /// The next event; `None` behind the last.
    pub fn next(&mut self, within: Duration) -> Result<Option<Event>, Failed> {
        match self {
            Self::Native(stream) => stream.next(within),
            Self::V10(stream) => Ok(stream.next(within)?.map(|tagged| tagged.untagged())),
        }
    }

    /// Reads to the end, which is an error: its code, and the changes before it.
    #[track_caller]
    pub fn end(&mut self, within: Duration) -> (String, Vec<Event>) {
        let until = Instant::now() + within;
        let mut changes = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.next(left).unwrap_or_else(|error| panic!("no end: {error}"));
            let event = event.expect("an error comes before the end");
            match event.kind {
                Kind::Error => {
                    let behind = self.next(LONG).expect("the body ends");
                    assert!(behind.is_none(), "behind the error: {behind:?}");
                    return (event.error.expect("an error event has one").code, changes);
                }
                Kind::Status => {}
                _ => changes.push(event),
            }
        }
    }
}

impl Way {
    /// The code of the error that ends a stream of that wire.
    pub fn code(&self, wire: Wire) -> &'static str {
        match wire {
            Wire::Native => self.codes.0,
            Wire::V10 => self.codes.1,
        }
    }
}

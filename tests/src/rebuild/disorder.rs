//! What a follower can find.

use event_source_model::position::Position;
use serde_json::Value;

use crate::consume::Event;

/// A miss, a repeat, a disorder, or that nothing came any more.
#[derive(Debug)]
pub enum Disorder {
    /// An event's old image is not the image that the events so far make.
    Prev { event: Box<Event>, rebuilt: Option<Value> },
    /// The position went back, or came twice.
    Position { before: Position, event: Box<Event> },
    /// Rows that different transactions wrote came as one transaction, or those of one as several.
    Transaction { event: Box<Event>, why: String },
    /// The rebuilt rows are not the table's.
    Rows { only_rebuilt: Vec<Value>, only_in_table: Vec<Value> },
    /// Two followers saw different sequences; `at` counts events since they last agreed.
    Sequence { followers: [String; 2], at: usize, lengths: [usize; 2] },
    /// Nothing came any more.
    Silence { after: u64, why: String },
    /// The client failed otherwise: no finding about order, and a failure of every test.
    Client(String),
}

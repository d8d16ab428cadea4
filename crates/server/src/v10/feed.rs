//! A page of Fauna's feed, collected until it is full, nothing is left, or the client's time is over.
//!
//! It guarantees that the page comes within that time, and that its cursor is behind everything that was
//! looked at. The worker reads it a piece at a time and answers others in between.

use std::time::Duration;

use event_source_door::message::{Access, PageAsked, StartAt};
use event_source_model::cost::Cost;
use event_source_model::event::{Event, Page, Reason, Refusal};
use tokio::time::{Instant, timeout, timeout_at};

use crate::hub::Hub;

/// How long the worker is busy with one piece.
const PIECE: Duration = Duration::from_millis(50);
/// A page of larger rows is handed out before it is full, as one that is read in one piece.
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// The page that `time` allows for.
///
/// # Errors
/// As [`Hub::page`]; [`Reason::TimedOut`] when not even the first piece came in time.
pub(super) async fn page(
    hub: &Hub,
    access: Access,
    start: StartAt,
    size: u32,
    time: Duration,
) -> Result<Page, Refusal> {
    // The rest is for the way back.
    let enough = Instant::now() + time.mul_f64(0.95);
    let piece = |size| {
        let left = enough.saturating_duration_since(Instant::now()).min(PIECE);
        // Less than a millisecond would be no limit at all, and no time to do anything.
        PageAsked { size, time_ms: Some(u32::try_from(left.as_millis()).unwrap_or(1).max(1)) }
    };
    let first = timeout(time, hub.page(access.clone(), start, piece(size))).await;
    let mut page = first.unwrap_or_else(|_| Err(timed_out(time)))?;
    let mut bytes = weight(&page.events);
    while page.is_cut && Instant::now() < enough && bytes < MOST_BYTES {
        let start = StartAt::Cursor(page.view.cursor(&page.position));
        let left = size.saturating_sub(page.events.len() as u32);
        let next = timeout_at(enough, hub.page(access.clone(), start, piece(left))).await;
        // What is wrong with the next piece is said to whoever asks for the next page.
        let Ok(Ok(next)) = next else { break };
        bytes += weight(&next.events);
        append(&mut page, next);
    }
    Ok(page)
}

fn append(page: &mut Page, next: Page) {
    let mut cost = page.cost;
    cost += next.cost;
    let mut events = std::mem::take(&mut page.events);
    events.extend(next.events);
    *page = Page { events, cost, ..next };
}

fn weight(events: &[Event]) -> u64 {
    events.iter().map(|event| Cost::of_event(event).bytes).sum()
}

fn timed_out(time: Duration) -> Refusal {
    let message = format!("nothing could be read within {} ms", time.as_millis());
    Refusal::new(Reason::TimedOut, message).hint("give it more time with x-query-timeout-ms")
}

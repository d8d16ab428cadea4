//! A page of Fauna's feed, collected until it is full, nothing is left, or the client's time is over.
//!
//! It guarantees that the page comes within that time, and that its cursor is behind everything that was
//! looked at. The worker reads it a piece at a time and answers others in between.

use std::time::Duration;

use event_source_door::message::{Access, PageAsked, StartAt};
use event_source_model::event::{Page, Reason, Refusal};
use event_source_wire::v10::PageWriter;
use tokio::time::{Instant, timeout_at};

use crate::answer::damaged;
use crate::budget::{Peer, Purse};
use crate::hub::Hub;

/// How long the worker works on one piece.
const PIECE: Duration = Duration::from_millis(50);
/// A page of larger rows is handed out before it is full, as one that is read in one piece.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The page that `time` allows for, and what counts it.
///
/// # Errors
/// As [`Hub::page`]; [`Reason::TimedOut`] when not even the first part came in time.
pub(super) async fn page(
    hub: &Hub,
    peer: &Peer,
    access: Access,
    mut start: StartAt,
    mut size: u32,
    time: Duration,
) -> Result<(String, Purse), Refusal> {
    let begun = Instant::now();
    // The rest is for the way back.
    let enough = begun + time.mul_f64(0.95);
    let until = |last: &Option<Page>| if last.is_none() { begun + time } else { enough };
    let mut writer = PageWriter::new();
    let mut last: Option<Page> = None;
    let purse = hub.page_purse(peer, &access);
    loop {
        let left = enough.saturating_duration_since(Instant::now()).min(PIECE);
        // Less than a millisecond would be no limit at all, and no time to do anything.
        let time_ms = Some(u32::try_from(left.as_millis()).unwrap_or(1).max(1));
        let asked = hub.page(&purse, access.clone(), start, PageAsked { size, time_ms });
        let asked = timeout_at(until(&last), asked).await.unwrap_or_else(|_| Err(timed_out(time)));
        let mut parts = match (asked, last.take()) {
            (Ok(parts), _) => parts,
            (Err(_), Some(last)) => return Ok((writer.end(&last), purse)),
            (Err(refusal), None) => return Err(refusal),
        };
        loop {
            let part = timeout_at(until(&last), parts.next())
                .await
                .unwrap_or_else(|_| Err(timed_out(time)));
            let part = match (part, last.take()) {
                (Ok(part), _) => part,
                // What is wrong with the rest is said to whoever asks for the next page.
                (Err(_), Some(last)) => return Ok((writer.end(&last), purse)),
                (Err(refusal), None) => return Err(refusal),
            };
            let before = writer.bytes();
            writer.part(&part.page).map_err(damaged)?;
            size = size.saturating_sub(part.page.events.len() as u32);
            let (page, goes_on) = part.written(&purse, before, writer.bytes());
            last = Some(page);
            if !goes_on {
                break;
            }
        }
        match &last {
            Some(page) if page.is_cut && Instant::now() < enough && writer.bytes() < MOST_BYTES => {
                start = StartAt::Cursor(page.view.cursor(&page.position));
            }
            Some(page) => return Ok((writer.end(page), purse)),
            None => return Err(timed_out(time)),
        }
    }
}

fn timed_out(time: Duration) -> Refusal {
    let message = format!("nothing could be read within {} ms", time.as_millis());
    Refusal::new(Reason::TimedOut, message).hint("give it more time with x-query-timeout-ms")
}

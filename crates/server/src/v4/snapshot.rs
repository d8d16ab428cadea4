//! The worker's answer to a question, no older than what the client has seen.
//!
//! On a primary the first answer is: nothing was handed out that it does not know. A standby may be
//! behind the server that the client came from.

use std::time::Duration;

use event_source_model::query::{Answered, Ask};
use event_source_wire::v4::error::Wrong;
use tokio::time::{Instant, sleep, timeout_at};

use super::expression::Expression;
use crate::hub::Hub;

/// How long until a server that is behind is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What is asked, by whom, and within which bounds.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) expression: &'a Expression,
    pub(super) ask: Ask,
    pub(super) secret: Option<String>,
    pub(super) last_seen: i64,
    pub(super) time: Duration,
}

impl Question<'_> {
    pub(super) async fn answered(self, hub: &Hub) -> Result<Answered, Wrong> {
        let until = Instant::now() + self.time;
        loop {
            let answer = hub.query(self.secret.clone(), self.ask.clone());
            let answer = timeout_at(until, answer).await.map_err(|_| Wrong::time_out())?;
            let answer = answer.map_err(|refusal| Wrong::refused(&refusal))?;
            let answered =
                answer.map_err(|failure| Wrong::failed(&failure, &self.expression.subject()))?;
            if answered.txn_ts >= self.last_seen {
                return Ok(answered);
            }
            if Instant::now() + PAUSE >= until {
                return Err(Wrong::time_out());
            }
            sleep(PAUSE).await;
        }
    }
}

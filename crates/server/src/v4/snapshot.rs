//! The worker's answer to a question, no older than what the client has seen.
//!
//! On a primary the first answer is: nothing was handed out that it does not know. A standby may be
//! behind the server that the client came from.
//!
//! A document that somebody may follow comes no earlier than what it shows was told, for the reason that
//! `starts` gives: other clients than the one whose stream just began are served as well as can be.

use std::time::Duration;

use event_source_model::query::{Answered, Ask, Fault};
use event_source_wire::v4::error::Wrong;
use tokio::time::{Instant, sleep, timeout_at};

use super::expression::Expression;
use crate::budget::{Peer, Purse};
use crate::hub::Hub;

/// How long until a server that is behind is asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long what is in somebody's way is waited for: a driver whose document did not come never goes on.
const PATIENCE: Duration = Duration::from_secs(1);
/// How far an answer lets events go ahead, which have another connection.
const HEAD_START: Duration = Duration::from_millis(20);

/// What is asked, by whom, and within which bounds.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) expression: &'a Expression,
    pub(super) ask: Ask,
    pub(super) secret: Option<String>,
    pub(super) peer: Peer,
    pub(super) last_seen: i64,
    pub(super) time: Duration,
}

impl Question<'_> {
    /// The answer, and what counts it.
    pub(super) async fn answered(self, hub: &Hub) -> Result<(Answered, Purse), Wrong> {
        let until = Instant::now() + self.time;
        let patient_until = Instant::now() + PATIENCE;
        loop {
            let answer = hub.query(&self.peer, self.secret.clone(), self.ask.clone());
            let answer = timeout_at(until, answer).await.map_err(|_| Wrong::time_out())?;
            let answer = answer.map_err(|refusal| Wrong::refused(&refusal))?;
            let outcome = match answer {
                Ok(answered) if answered.0.txn_ts >= self.last_seen => return Ok(answered),
                Ok(_) => Wrong::time_out(),
                Err(failure) => {
                    let wrong = Wrong::failed(&failure, &self.expression.subject());
                    if failure.fault != Fault::Contended || Instant::now() > patient_until {
                        return Err(wrong);
                    }
                    wrong
                }
            };
            if Instant::now() + PAUSE >= until {
                return Err(outcome);
            }
            sleep(PAUSE).await;
        }
    }
}

/// Waits until the transaction was told to all who follow the document.
pub(super) async fn told(hub: &Hub, txn_ts: Option<i64>, time: Duration) -> Result<(), Wrong> {
    let until = Instant::now() + time;
    while txn_ts.is_some_and(|txn_ts| hub.closed().is_none_or(|closed| closed < txn_ts)) {
        if Instant::now() >= until {
            return Err(Wrong::time_out());
        }
        sleep(HEAD_START / 4).await;
    }
    sleep(HEAD_START).await;
    Ok(())
}

//! One follower, from its token to the end of the test.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::disorder::Disorder;
use super::replica::Replica;
use super::source::{Access, Heard, Source, Transport};
use crate::consume::{Kind, WireError};

/// Longer than any pause of a sound run: a source says something every `status_interval`.
const SILENCE: Duration = Duration::from_secs(120);

/// What a follower is started with.
#[derive(Debug)]
pub struct Follower {
    pub access: Access,
    pub transport: Transport,
    pub token: String,
    pub seed: u64,
    /// Whether connections may break, as they do when servers are killed.
    pub breaks: bool,
}

/// A new token, and the rows that its statement saw.
#[derive(Debug)]
pub struct Renewal {
    pub token: String,
    pub rows: Vec<Value>,
}

/// Who looks over a follower's shoulder.
pub trait Watch {
    /// Called after every event and several times a second; whether to go on.
    ///
    /// # Errors
    /// With what is wrong with the copy.
    fn look(&mut self, replica: &mut Replica) -> Result<bool, Disorder>;

    /// Called as often: a new token to start again with, as a client does that joins only now.
    ///
    /// # Errors
    /// When there is none to be had.
    fn joins_anew(&mut self) -> Result<Option<Renewal>, Disorder> {
        Ok(None)
    }

    /// Called when the source ended for good: a new one, or the fault that this is.
    ///
    /// # Errors
    /// When the source had no reason to end.
    fn ended(&mut self, error: &WireError) -> Result<Renewal, Disorder> {
        Err(Disorder::Client(format!("{error:?}")))
    }
}

impl Follower {
    /// Follows until the watch has seen enough.
    ///
    /// # Errors
    /// With the first fault.
    pub fn run(self, mut replica: Replica, watch: &mut impl Watch) -> Result<Replica, Disorder> {
        let Self { access, transport, mut token, seed, breaks } = self;
        let mut source = Source::new(access, transport, seed);
        let mut cursor: Option<String> = None;
        let mut heard_at = Instant::now();
        let mut last_break = String::new();
        while watch.look(&mut replica)? {
            if let Some(renewal) = watch.joins_anew()? {
                (token, cursor) = (renewal.token, None);
                replica.renew(&renewal.rows);
                source.cut();
            }
            match source.next(&token, cursor.as_deref())? {
                Heard::Event(event) => {
                    let before = replica.position.clone();
                    match event.kind {
                        Kind::Status => replica.pass(&event)?,
                        _ => replica.apply(&event)?,
                    }
                    // What only repeats where we are is as good as silence.
                    if replica.position > before {
                        heard_at = Instant::now();
                    }
                    cursor = event.cursor;
                }
                Heard::Nothing => {}
                Heard::Broken(why) => {
                    if !breaks && why != "cut" {
                        return Err(Disorder::Client(why));
                    }
                    if why != "cut" {
                        pause();
                    }
                    last_break = why;
                }
                Heard::Ended(error) => {
                    let Renewal { token: new, rows } = watch.ended(&error)?;
                    (token, cursor) = (new, None);
                    replica.renew(&rows);
                    source.cut();
                    heard_at = Instant::now();
                }
            }
            if heard_at.elapsed() > SILENCE {
                let why = format!("nothing new from the {}; {last_break}", transport.name());
                return Err(Disorder::Silence { after: replica.events, why });
            }
        }
        Ok(replica)
    }
}

/// A client whose server is away asks again a little later.
fn pause() {
    crate::consume::latency::pause_until(Instant::now() + Duration::from_millis(20));
}

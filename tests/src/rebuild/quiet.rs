//! Quiet points: nobody writes, and every follower's copy has to equal the table.
//!
//! Whoever stopped the writers declares one: a position behind everything that was committed, and the
//! rows that are there. A follower that has passed the position compares, and reports what it has seen
//! since the last quiet point; then all of them are compared with each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_source_model::position::Position;
use postgres::Client;
use serde_json::Value;

use super::disorder::Disorder;
use super::follower::Watch;
use super::replica::{Replica, same_sequence};
use crate::wait::wait_until;

/// The rows of each collection.
pub type Tables = HashMap<String, Vec<Value>>;

/// What the followers of a run share with whoever conducts it.
#[derive(Debug, Default)]
pub struct Quiet {
    number: AtomicU64,
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    target: i64,
    tables: Arc<Tables>,
    /// Who has been here: collection, follower, events since the last time.
    reports: Vec<(String, String, Vec<u64>)>,
    /// Followers whose copies were made anew: compared with the table only.
    renewed: usize,
    /// Whether followers are on their way to a quiet point: all of them are heard.
    comparing: bool,
    faults: Vec<Fault>,
}

/// Who found what, in which collection.
#[derive(Debug)]
pub struct Fault {
    pub collection: String,
    pub who: String,
    pub disorder: Disorder,
}

impl Quiet {
    /// Ends every follower at its next look.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends every follower when it is dropped: also when the test fails, since its scope waits for
    /// them.
    #[must_use]
    pub fn ends_with_me(&self) -> Ends<'_> {
        Ends(self)
    }

    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Notes a fault and ends the run; on the way to a quiet point the others are heard as well, so
    /// that one follower's fault can be told from everybody's.
    pub fn fail(&self, collection: &str, who: &str, disorder: Disorder) {
        let (collection, who) = (collection.to_owned(), who.to_owned());
        let mut state = self.state();
        state.faults.push(Fault { collection, who, disorder });
        if !state.comparing {
            self.stop();
        }
    }

    /// What was found.
    pub fn faults(&self) -> Vec<Fault> {
        std::mem::take(&mut self.state().faults)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds every follower's copy against `tables`, and followers against each other. Nobody may
    /// write until it returns. A fault is noted, and ends the run.
    ///
    /// # Panics
    /// When the followers do not arrive in time: each of them notices silence long before.
    pub fn compare(&self, target: i64, tables: Tables, followers: usize) {
        {
            let mut state = self.state();
            (state.target, state.tables) = (target, Arc::new(tables));
            state.reports.clear();
            state.renewed = 0;
            state.comparing = true;
        }
        self.number.fetch_add(1, Ordering::SeqCst);
        wait_until("every follower to reach a quiet point", Duration::from_secs(600), || {
            let state = self.state();
            self.stopped() || state.reports.len() + state.renewed + state.faults.len() >= followers
        });
        let reports = {
            let mut state = self.state();
            state.comparing = false;
            if !state.faults.is_empty() {
                self.stop();
            }
            std::mem::take(&mut state.reports)
        };
        for (collection, name, sequence) in &reports {
            let (_, first, other) =
                reports.iter().find(|report| report.0 == *collection).expect("it is one of them");
            if let Err(disorder) = same_sequence((first, other), (name, sequence)) {
                self.fail(collection, name, disorder);
            }
        }
    }

    /// A follower of `collection` that is called `name`.
    #[must_use]
    pub fn watcher(&self, collection: &str, name: &str) -> Watcher<'_> {
        Watcher { quiet: self, seen: 0, collection: collection.to_owned(), name: name.to_owned() }
    }
}

/// See [`Quiet::ends_with_me`].
#[derive(Debug)]
pub struct Ends<'a>(&'a Quiet);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The [`Watch`] of a follower that takes part in quiet points and whose source never ends.
#[derive(Debug)]
pub struct Watcher<'a> {
    quiet: &'a Quiet,
    seen: u64,
    pub collection: String,
    name: String,
}

impl Watch for Watcher<'_> {
    fn look(&mut self, replica: &mut Replica) -> Result<bool, Disorder> {
        if self.quiet.stopped() {
            // Whoever conducts has given up: the tables of a quiet point may be old by now.
            return Ok(false);
        }
        let number = self.quiet.number.load(Ordering::SeqCst);
        if number > self.seen {
            let (target, tables) = {
                let state = self.quiet.state();
                (state.target, Arc::clone(&state.tables))
            };
            // Behind the last transaction, not inside it.
            if replica.position >= Position::after(target) {
                replica.compare(tables.get(&self.collection).map_or(&[][..], Vec::as_slice))?;
                let mut state = self.quiet.state();
                if replica.renewed {
                    state.renewed += 1;
                } else {
                    let sequence = replica.sequence.clone();
                    state.reports.push((self.collection.clone(), self.name.clone(), sequence));
                }
                self.seen = number;
                replica.agreed();
            }
        }
        Ok(true)
    }
}

/// A position behind everything that has been committed: nobody may write meanwhile.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn behind_everything(client: &mut Client) -> i64 {
    // A prepared transaction whose session died right behind its commit gets its place later.
    wait_until("the stamps of prepared transactions", Duration::from_secs(60), || {
        let row = client.query_one("SELECT prepared_unstamped FROM event_source.status", &[]);
        row.expect("the status can be read").get::<_, i32>(0) == 0
    });
    let row = client.query_one("SELECT last FROM event_source.raw_status()", &[]);
    row.expect("the status can be read").get(0)
}

/// The rows of a table, as JSON.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn rows(client: &mut Client, table: &str) -> Vec<Value> {
    let rows = client
        .query(&format!("SELECT to_json(t)::text FROM {table} t"), &[])
        .unwrap_or_else(|e| panic!("{table}: {}", crate::follow::explain(&e)));
    rows.iter().map(|row| serde_json::from_str(row.get(0)).expect("to_json gives JSON")).collect()
}

//! Accounts of time, by role and by source: which of them has had its share.
//!
//! A source and its role each have a bucket, which fills at a rate and never holds more than a second's worth. A cost is
//! drawn from both. A source whose bucket is empty has had its share. When a role's bucket is empty, that source of the
//! role has which has cost the most lately: the others go on.
//!
//! Pure: the caller says what time it is. Accounts that are full are forgotten, so there are no more of them than there is
//! debt to remember.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Costs count half after so many seconds.
const HALF_LIFE: f64 = 10.0;
/// Accounts that are full are looked for when there are more than this.
const MANY: usize = 1_000;

/// Whose time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer {
    pub role: u32,
    /// Equal for equal sources of a role.
    pub source: u64,
}

/// How much time in each second; `None` for as much as one likes.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub source: Option<Duration>,
    pub role: Option<Duration>,
}

/// What has been used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// The source's own share.
    Source,
    /// The role's, most of it by this source.
    Role,
}

/// All accounts.
#[derive(Debug, Default)]
pub struct Accounts {
    roles: HashMap<u32, Role>,
}

#[derive(Debug)]
struct Role {
    bucket: Bucket,
    sources: HashMap<u64, Source>,
}

#[derive(Debug)]
struct Source {
    bucket: Bucket,
    /// Seconds, of which old ones count less.
    lately: f64,
    /// It is the one that has cost the most of a role that has nothing left.
    is_dearest: bool,
}

/// Seconds that are left, as of a moment; negative for a debt.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Option<Duration>, now: Instant) -> Self {
        Self { left: seconds(rate), at: now }
    }

    /// Fills it up to now; how long that was.
    fn fill(&mut self, rate: Option<Duration>, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = since.mul_add(seconds(rate), self.left).min(seconds(rate));
        self.at = now;
        since
    }

    fn is_full(&mut self, rate: Option<Duration>, now: Instant) -> bool {
        self.fill(rate, now);
        self.left >= seconds(rate)
    }
}

fn seconds(rate: Option<Duration>) -> f64 {
    rate.unwrap_or_default().as_secs_f64()
}

impl Accounts {
    /// How much the payer's role has left; `None` for as much as it likes.
    ///
    /// # Errors
    /// The payer has had its share. It is told so once for the role's sake, and for its own until the bucket fills.
    pub fn left(
        &mut self,
        payer: Payer,
        rates: Rates,
        now: Instant,
    ) -> Result<Option<Duration>, Empty> {
        let Some(role) = self.roles.get_mut(&payer.role) else { return Ok(rates.role) };
        role.bucket.fill(rates.role, now);
        if let Some(source) = role.sources.get_mut(&payer.source) {
            if std::mem::take(&mut source.is_dearest) {
                return Err(Empty::Role);
            }
            source.bucket.fill(rates.source, now);
            if rates.source.is_some() && source.bucket.left <= 0.0 {
                return Err(Empty::Source);
            }
        }
        Ok(rates.role.map(|_| Duration::from_secs_f64(role.bucket.left.max(0.0))))
    }

    /// Draws a cost from the payer's account and from its role's.
    pub fn charge(&mut self, payer: Payer, rates: Rates, cost: Duration, now: Instant) {
        if self.len() > MANY {
            self.forget_the_full(rates, now);
        }
        let cost = cost.as_secs_f64();
        let role = self.roles.entry(payer.role).or_insert_with(|| Role {
            bucket: Bucket::full(rates.role, now),
            sources: HashMap::new(),
        });
        let source = role.sources.entry(payer.source).or_insert_with(|| Source {
            bucket: Bucket::full(rates.source, now),
            lately: 0.0,
            is_dearest: false,
        });
        let since = source.bucket.fill(rates.source, now);
        source.bucket.left -= cost;
        source.lately = source.lately.mul_add((-since / HALF_LIFE).exp2(), cost);
        role.bucket.fill(rates.role, now);
        role.bucket.left -= cost;
        if rates.role.is_some() && role.bucket.left <= 0.0 {
            let dearest = role.sources.values_mut().max_by(|a, b| a.lately.total_cmp(&b.lately));
            dearest.expect("one was charged just now").is_dearest = true;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.roles.values().map(|role| role.sources.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }

    fn forget_the_full(&mut self, rates: Rates, now: Instant) {
        for role in self.roles.values_mut() {
            role.sources.retain(|_, source| !source.bucket.is_full(rates.source, now));
        }
        self.roles
            .retain(|_, role| !role.sources.is_empty() || !role.bucket.is_full(rates.role, now));
    }
}

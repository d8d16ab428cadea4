//! The accounts of roles, and of credentials whose role is not known.
//!
//! Protected by the hub's lock.

use std::collections::HashMap;

use super::outgoing::Class;
use crate::budget::{Account, Budget};

/// As many are kept before those that hold nothing are looked for.
const MANY: usize = 64;

/// The accounts that somebody has, or that hold something.
#[derive(Debug, Default)]
pub(super) struct Owners {
    accounts: HashMap<Class, Account>,
    /// How many there may be until they are gone through again.
    many: usize,
}

impl Owners {
    pub(super) fn of(&mut self, class: Class, budget: &Budget) -> Account {
        if self.accounts.len() >= self.many {
            self.accounts.retain(|_, account| account.is_used());
            self.many = (2 * self.accounts.len()).max(MANY);
        }
        self.accounts.entry(class).or_insert_with(|| budget.owner()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_nobody_has_any_more_are_not_kept() {
        let (budget, mut owners) = (Budget::new(1 << 30), Owners::default());
        let kept = owners.of(1, &budget);
        for class in 2..10_000 {
            owners.of(class, &budget);
        }
        assert!(owners.accounts.len() <= MANY);
        assert_eq!(owners.of(1, &budget).id(), kept.id());
    }
}

//! How many sources each role has, and the limits of that.
//!
//! A source costs something at every change of its table, whoever it is for, and one with a filter the most: it
//! is tried on the row. Runs in the worker.

use std::collections::HashMap;

use event_source_model::source::Definition;

use crate::error::{Error, Kind, Result};
use crate::settings;

/// The sources of each role.
#[derive(Debug, Default)]
pub(super) struct OfRoles(HashMap<u32, Count>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    sources: usize,
    /// Of these with a filter.
    filters: usize,
}

impl OfRoles {
    /// # Errors
    /// [`Kind::LimitExceeded`] when the role of this source has as many as it may.
    pub(super) fn have_room(&self, definition: &Definition) -> Result<()> {
        let has = self.0.get(&definition.role.oid).copied().unwrap_or_default();
        let (sources, filters) =
            (settings::max_sources_per_role(), settings::max_filters_per_role());
        let name = &definition.role.name;
        if has.sources >= sources {
            let message = format!("role \"{name}\" follows {sources} event sources already");
            return Err(Error::new(Kind::LimitExceeded, message)
                .hint("close streams, or raise event_source.max_sources_per_role"));
        }
        if definition.filter.is_some() && has.filters >= filters {
            let message =
                format!("role \"{name}\" follows {filters} event sources with a filter already");
            return Err(Error::new(Kind::LimitExceeded, message).hint(
                "use the terms of an index, which cost little, or raise event_source.max_filters_per_role",
            ));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, definition: &Definition) {
        let count = self.0.entry(definition.role.oid).or_default();
        count.sources += 1;
        count.filters += usize::from(definition.filter.is_some());
    }

    pub(super) fn remove(&mut self, definition: &Definition) {
        let role = definition.role.oid;
        let Some(count) = self.0.get_mut(&role) else { return };
        count.sources -= 1;
        count.filters -= usize::from(definition.filter.is_some());
        if count.sources == 0 {
            self.0.remove(&role);
        }
    }
}

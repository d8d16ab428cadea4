//! Rows that a query selects, as images like those of changes.
//!
//! Runs in backends and in the worker, where somebody reads rows rather than writes them.

use std::sync::Arc;

use event_source_model::encoding::Values;
use event_source_model::image::{Image, Shape};
use pgrx::pg_sys;

use super::catalog;
use super::encode::{Encoder, Needs};

/// Columns of a table, and how their values are read.
#[derive(Debug)]
pub(crate) struct Selected {
    shape: Arc<Shape>,
    encoders: Vec<Encoder>,
}

impl Selected {
    /// These columns of a table and those of its primary key, in table order; all when there is no
    /// choice.
    pub(crate) fn of(table: pg_sys::Oid, fields: Option<&[i16]>) -> Self {
        let key = catalog::primary_key(table);
        let mut columns = catalog::columns(table);
        columns.retain(|column| {
            let chosen = fields.is_none_or(|fields| fields.contains(&column.attnum));
            chosen || key.contains(&column.attnum)
        });
        let place = |attnum| columns.iter().position(|column| column.attnum == attnum);
        let key = key.into_iter().filter_map(place).map(|at| at as u16).collect();
        let mut needs = Needs::default();
        let encoders = columns.iter().map(|column| {
            // SAFETY: looks at the catalogs' caches.
            let of = unsafe { pg_sys::get_atttype(table, column.attnum) };
            Encoder::of(of, &mut needs)
        });
        Self { encoders: encoders.collect(), shape: Arc::new(Shape { key, columns }) }
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The image of a row, under pinned settings.
    ///
    /// # Safety
    /// There is one value for each column, of its type.
    pub(crate) unsafe fn image(&self, values: &[Option<pg_sys::Datum>]) -> Image {
        let mut bytes = Vec::new();
        for (encoder, value) in self.encoders.iter().zip(values) {
            match value {
                None => Values(&mut bytes).null(),
                // SAFETY: the caller's.
                Some(value) => unsafe { encoder.encode(*value, &mut bytes) },
            }
        }
        Image::of(Arc::clone(&self.shape), &bytes).expect("it was written just now")
    }
}

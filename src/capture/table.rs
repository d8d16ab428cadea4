//! What the rows of a relation look like, and how to make images of them.
//!
//! Everything that does not change between two rows is found once and kept per relation until the
//! relation cache says that it, its root or a composite type in it has changed. Runs in the
//! writers' backends, on their only thread. The cache is never borrowed while PostgreSQL's code
//! runs: an output function may write another captured table, and any catalog look-up may bring
//! an invalidation.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use event_source_model::encoding::Values;
use event_source_model::image::{Image, Shape};
use event_source_model::payload::{self, ShapeId};
use pgrx::prelude::*;
use rustc_hash::FxHashMap;

use super::catalog;
use super::encode::{Encoder, Needs, identical};
use super::generated::{Generated, Place};
use super::nested::{Row, deform};
use super::text::cstring;
use crate::compat;
use crate::error::Result;
use crate::log::shapes;
use crate::pg::pinned::PinnedSettings;

/// A captured relation: a table, or a partition of one.
#[derive(Debug)]
pub(super) struct Table {
    /// The id of the capture; `None` when the table is not captured (any more).
    pub(super) collection: Option<u64>,
    /// The trigger that was last found to be of this capture.
    pub(super) trigger: Cell<pg_sys::Oid>,
    shape: Arc<Shape>,
    shape_id: ShapeId,
    shape_bytes: Vec<u8>,
    /// The [age](shapes::age) at which the log was found to have the shape.
    stored: Cell<u64>,
    /// One for each column of the shape. `None` where this relation lacks it: a partition that is
    /// being detached does not get the columns that its root gets meanwhile.
    columns: Vec<Option<ColumnReader>>,
    /// Of a table that has virtual generated columns.
    generated: Option<Generated>,
    needs: Needs,
}

/// Where a column of the shape is in this relation, and how it is read.
#[derive(Debug)]
struct ColumnReader {
    /// Index into the relation's own attributes.
    at: usize,
    by_value: bool,
    length: i16,
    encoder: Encoder,
}

thread_local! {
    static TABLES: RefCell<FxHashMap<pg_sys::Oid, Rc<Table>>> = RefCell::default();
    /// Counts invalidations, so that a table built from what is stale is not kept.
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
}

impl Table {
    /// What is known of an open relation.
    pub(super) fn of(relation: &pg_sys::RelationData) -> Rc<Self> {
        if let Some(table) = TABLES.with_borrow(|tables| tables.get(&relation.rd_id).cloned()) {
            return table;
        }
        let before = INVALIDATIONS.get();
        let root = catalog::root_of(relation.rd_id);
        let table = Rc::new(Self::build(relation, root, catalog::capture_of(root)));
        if INVALIDATIONS.get() == before {
            TABLES.with_borrow_mut(|tables| tables.insert(relation.rd_id, Rc::clone(&table)));
        }
        table
    }

    /// A relation as a part of `root`, whose column numbers and primary key its images have.
    pub(super) fn build(
        relation: &pg_sys::RelationData,
        root: pg_sys::Oid,
        collection: Option<u64>,
    ) -> Self {
        let mut needs = Needs { relations: vec![root], ..Needs::default() };
        let shown = catalog::columns(root);
        let columns = shown.iter().map(|column| {
            let attribute = attribute_named(relation, &column.name)?;
            Some(ColumnReader {
                at: (attribute.attnum - 1) as usize,
                by_value: attribute.attbyval,
                length: attribute.attlen,
                encoder: Encoder::of(attribute.atttypid, &mut needs),
            })
        });
        let columns: Vec<Option<ColumnReader>> = columns.collect();
        let key = catalog::primary_key(root).into_iter().map(|attnum| {
            let at = shown.iter().position(|c| c.attnum == attnum);
            at.expect("a column of the primary key is not dropped") as u16
        });
        let places = shown.iter().zip(&columns);
        let places = places.filter_map(|(shown, here)| {
            Some(Place { attnum: shown.attnum, at: here.as_ref()?.at })
        });
        let generated = Generated::of(root, places.collect());
        let shape = Arc::new(Shape { key: key.collect(), columns: shown });
        let (shape_id, shape_bytes) = ShapeId::of(&shape);
        Self {
            collection,
            trigger: Cell::new(pg_sys::InvalidOid),
            shape,
            shape_id,
            shape_bytes,
            stored: Cell::new(0),
            columns,
            generated,
            needs,
        }
    }

    /// The settings under which images must be made: enter once, make both images.
    pub(super) fn settings(&self) -> Option<PinnedSettings> {
        self.needs.pinned.then(PinnedSettings::enter)
    }

    /// The name of the shape of images. The log has it when this transaction commits.
    ///
    /// # Errors
    /// Those of the log.
    pub(super) fn shape(&self) -> Result<ShapeId> {
        if self.stored.get() != shapes::age() {
            shapes::store(self.shape_id, &self.shape_bytes)?;
            self.stored.set(shapes::age());
        }
        Ok(self.shape_id)
    }

    /// How many values an image has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Writes the values of a row.
    ///
    /// # Safety
    /// `tuple` is a row of the relation, `desc` its row type; [`Table::settings`] are in force.
    pub(super) unsafe fn put_values(
        &self,
        tuple: pg_sys::HeapTuple,
        desc: pg_sys::TupleDesc,
        out: &mut Vec<u8>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let row = self.row(tuple, desc);
            self.columns.iter().for_each(|column| put(column.as_ref(), &row, out));
        }
    }

    /// Writes the values of a row after an update, then `between`, then what differed before it. What
    /// did not change is read once.
    ///
    /// # Safety
    /// As [`Table::put_values`], for both tuples.
    pub(super) unsafe fn put_update(
        &self,
        (old, new): (pg_sys::HeapTuple, pg_sys::HeapTuple),
        desc: pg_sys::TupleDesc,
        out: &mut Vec<u8>,
        between: impl FnOnce(&mut Vec<u8>),
    ) {
        // SAFETY: the caller's.
        unsafe {
            let (old, new) = (self.row(old, desc), self.row(new, desc));
            self.columns.iter().for_each(|column| put(column.as_ref(), &new, out));
            between(out);
            for (at, column) in self.columns.iter().enumerate() {
                let changed = column.as_ref().filter(|column| !column.unchanged(&old, &new));
                if changed.is_some() {
                    payload::put_difference(out, at);
                    put(changed, &old, out);
                }
            }
            payload::put_end(out);
        }
    }

    /// The image of a row.
    ///
    /// # Safety
    /// As [`Table::put_values`].
    pub(super) unsafe fn image(&self, tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Image {
        let mut bytes = Vec::new();
        // SAFETY: the caller's.
        unsafe { self.put_values(tuple, desc, &mut bytes) };
        Image::of(Arc::clone(&self.shape), &bytes).expect("it was written just now")
    }

    /// # Safety
    /// As [`Table::put_values`].
    unsafe fn row(&self, tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Row {
        // SAFETY: the caller's.
        unsafe {
            let mut row = deform(tuple, desc);
            if let Some(generated) = &self.generated {
                generated.compute(&mut row);
            }
            row
        }
    }
}

/// # Safety
/// As [`ColumnReader::put`].
unsafe fn put(column: Option<&ColumnReader>, row: &Row, out: &mut Vec<u8>) {
    match column {
        // SAFETY: the caller's.
        Some(column) => unsafe { column.put(row, out) },
        None => Values(out).null(),
    }
}

impl ColumnReader {
    /// # Safety
    /// `row` is a row of the relation that the reader was made for.
    unsafe fn put(&self, row: &Row, out: &mut Vec<u8>) {
        if row.1[self.at] {
            return Values(out).null();
        }
        // SAFETY: the caller's: the datum is of the column's type and not null.
        unsafe { self.encoder.encode(row.0[self.at], out) }
    }

    /// # Safety
    /// As [`ColumnReader::put`].
    unsafe fn unchanged(&self, old: &Row, new: &Row) -> bool {
        match (old.1[self.at], new.1[self.at]) {
            (true, true) => true,
            // SAFETY: the caller's.
            (false, false) => unsafe {
                identical(old.0[self.at], new.0[self.at], self.by_value, self.length)
            },
            _ => false,
        }
    }
}

/// The attribute of that name, not dropped.
fn attribute_named<'a>(
    relation: &'a pg_sys::RelationData,
    name: &str,
) -> Option<&'a pg_sys::FormData_pg_attribute> {
    // SAFETY: the row type of an open relation; a name ends with a zero byte.
    unsafe {
        let mut attributes = compat::attributes(relation.rd_att).iter();
        attributes.find(|a| !a.attisdropped && cstring(a.attname.data.as_ptr()) == name)
    }
}

/// Registers for invalidations; called once per process, when the library is loaded.
pub(super) fn watch_invalidations() {
    // SAFETY: a callback that only touches this module's thread-locals.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(invalidate), pg_sys::Datum::null()) }
}

/// Forgets what depends on a relation, or everything. Called in the middle of catalog look-ups and
/// of transaction ends: it must not raise an ERROR, call PostgreSQL or find the cache borrowed.
#[pg_guard]
unsafe extern "C-unwind" fn invalidate(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    INVALIDATIONS.set(INVALIDATIONS.get().wrapping_add(1));
    TABLES.with_borrow_mut(|tables| {
        if relation == pg_sys::InvalidOid {
            tables.clear();
        } else {
            tables.retain(|oid, t| *oid != relation && !t.needs.relations.contains(&relation));
        }
    });
}

//! The row type of a collection's table, kept across transactions.

use event_source_model::value::Value;
use pgrx::pg_sys;

use super::datatype::{Datatype, Inputs};
use crate::cage::Acting;
use crate::cage::account::Payer;
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::pg::memory::Context;
use crate::pg::relation::Relation;

/// A copy of a table's row type, and how to read values of the columns that are needed.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) oid: pg_sys::Oid,
    pub(super) owner: pg_sys::Oid,
    row: pg_sys::TupleDesc,
    /// The same without what is generated: an image has the values of virtual columns as well, and
    /// expressions refuse to read them from a row whose type says that they are virtual.
    stored: pg_sys::TupleDesc,
    datatypes: Vec<Option<Datatype>>,
    /// The composite types that columns have, by their relation.
    composites: Vec<pg_sys::Oid>,
    context: Context,
}

impl Table {
    pub(super) fn of(relation: &Relation) -> Self {
        let context = Context::new(c"event_source table");
        let entered = context.enter();
        // SAFETY: the relation is open; the copies are in our context, one with missing values.
        let (row, stored) = unsafe {
            let row = relation.tuple_desc();
            (pg_sys::CreateTupleDescCopyConstr(row), pg_sys::CreateTupleDescCopy(row))
        };
        drop(entered);
        // SAFETY: as above; an open relation has its pg_class row.
        let (count, owner) = unsafe { ((*row).natts as usize, (*relation.rd_rel).relowner) };
        let datatypes = std::iter::repeat_with(|| None).take(count).collect();
        let (oid, composites) = (relation.oid(), Vec::new());
        Self { oid, owner, row, stored, datatypes, composites, context }
    }

    pub(super) fn row_type(&self) -> pg_sys::TupleDesc {
        self.row
    }

    /// The row type of a row that is filled from an image.
    pub(super) fn image_type(&self) -> pg_sys::TupleDesc {
        self.stored
    }

    pub(super) fn column(&self, attnum: i16) -> &pg_sys::FormData_pg_attribute {
        // SAFETY: the row type lives as long as `self`.
        let columns = unsafe { compat::attributes(self.row) };
        &columns[attnum as usize - 1]
    }

    /// Makes ready to read the columns.
    ///
    /// # Errors
    /// [`Kind::SchemaChanged`] when one of them is gone.
    pub(super) fn need(&mut self, attnums: &[i16]) -> Result<()> {
        let _entered = self.context.enter();
        for &attnum in attnums {
            self.check(attnum)?;
            let at = attnum as usize - 1;
            if self.datatypes[at].is_none() {
                let oid = self.column(attnum).atttypid;
                self.datatypes[at] = Some(Datatype::look_up(oid, &mut self.composites));
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Kind::SchemaChanged`] when there is no such column now.
    pub(super) fn check(&self, attnum: i16) -> Result<()> {
        let there = attnum > 0
            && self.datatypes.len() >= attnum as usize
            && !self.column(attnum).attisdropped;
        if there {
            return Ok(());
        }
        let gone = "a column that the event source looks at was dropped";
        Err(Error::new(Kind::SchemaChanged, gone).hint("get a new token"))
    }

    /// The table's owner pays for what its types call.
    pub(super) fn payer(&self) -> Payer {
        Payer::of(self.owner, self.oid.to_u32().into())
    }

    /// Whose the code is that reads values of the column; nobody's where no role can have written it.
    pub(super) fn acting(&self, attnum: i16) -> Option<Acting> {
        let datatype = self.datatypes[attnum as usize - 1].as_ref();
        let calls = datatype.is_some_and(Datatype::calls_code_of_users);
        calls.then(|| Acting::as_role(self.owner))
    }

    /// The datum of a value of a column that was made ready; `None` as [`Datatype::datum`] says.
    pub(super) fn datum(
        &self,
        attnum: i16,
        value: &Value,
        inputs: Inputs,
    ) -> Option<pg_sys::Datum> {
        let datatype = self.datatypes[attnum as usize - 1].as_ref();
        datatype.expect("a needed column was made ready").datum(value, inputs)
    }

    /// The columns that an expression names; all of them for a whole-row reference.
    ///
    /// # Safety
    /// `node` is an expression, or a list of them, over columns of relation 1, or null.
    pub(super) unsafe fn columns_of(&self, node: *mut pg_sys::Node) -> Vec<i16> {
        let mut set = std::ptr::null_mut();
        let mut attnums = Vec::new();
        // SAFETY: the caller's promise; the set is walked until it says that it is at its end.
        unsafe {
            pg_sys::pull_varattnos(node, 1, &mut set);
            let mut member = pg_sys::bms_next_member(set, -1);
            while member >= 0 {
                attnums.push((member + pg_sys::FirstLowInvalidHeapAttributeNumber) as i16);
                member = pg_sys::bms_next_member(set, member);
            }
        }
        if attnums.contains(&0) {
            let all = 1..=self.datatypes.len() as i16;
            return all.filter(|&a| !self.column(a).attisdropped).collect();
        }
        attnums
    }

    /// Whether the relation still is what this was made from.
    pub(super) fn is_current(&self, relation: &Relation) -> bool {
        // SAFETY: the relation is open, our row type is alive.
        unsafe {
            self.owner == (*relation.rd_rel).relowner
                && pg_sys::equalTupleDescs(self.row, relation.tuple_desc())
        }
    }

    pub(super) fn composites(&self) -> &[pg_sys::Oid] {
        &self.composites
    }
}

//! A PostgreSQL index as the definition of sets: which row of it, if any, an image has.

use event_source_model::value::Value;
use pgrx::pg_sys;

use super::datatype::{Datatype, Inputs};
use super::execution::Execution;
use super::function::Function;
use super::owned::{Owned, Storage};
use super::table::Table;
use crate::cage::Acting;
use crate::cage::account::Payer;
use crate::error::{Error, Kind, Result};
use crate::pg::memory::Context;
use crate::pg::relation::Relation;

/// As many columns as an index can have.
const MAX_COLUMNS: usize = pg_sys::INDEX_MAX_KEYS as usize;

/// An index, kept across transactions.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) oid: pg_sys::Oid,
    pub(super) keys: Vec<Key>,
    /// The columns of the table that it looks at.
    pub(super) columns: Vec<i16>,
    /// One for each of its columns, keys first.
    storages: Vec<Storage>,
    info: *mut pg_sys::IndexInfo,
    /// Expressions and predicate run as the table's owner.
    owner: pg_sys::Oid,
    /// Its row in `pg_index`: whatever makes it another index changes that.
    definition: Vec<u8>,
    /// Owns everything that is pointed to.
    _context: Context,
}

/// A key column.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) storage: Storage,
    /// Reads the terms of sources.
    datatype: Datatype,
    /// `None` when the access method has no equality for it.
    equality: Option<Equality>,
}

/// The index's own equality.
#[derive(Debug)]
struct Equality {
    equal: Function,
    /// `None` when no hash function agrees with it: then all terms are compared.
    hash: Option<Function>,
    collation: pg_sys::Oid,
    /// It is that of all arrays, rows, ranges or enums, and calls what their elements need.
    polymorphic: bool,
}

/// A row of an index, in the memory of the change. `None` is null.
pub(super) type IndexRow = Vec<Option<pg_sys::Datum>>;

impl Index {
    /// Reads an index of the table, and makes the table ready to read what it looks at. PostgreSQL evaluates what is
    /// constant in its expressions.
    pub(super) fn open(relation: &Relation, table: &mut Table) -> Result<Self> {
        let _acting = Acting::as_role(table.owner);
        let context = Context::new(c"event_source index");
        let entered = context.enter();
        // SAFETY: an open index; the information is a copy in our context.
        let info = unsafe { pg_sys::BuildIndexInfo(relation.as_ptr()) };
        // SAFETY: filled by the line above.
        let described = unsafe { &*info };
        let mut columns: Vec<i16> = described.ii_IndexAttrNumbers
            [..described.ii_NumIndexAttrs as usize]
            .iter()
            .copied()
            .filter(|&attnum| attnum != 0)
            .collect();
        // SAFETY: lists of expressions over the columns of relation 1, or null.
        unsafe {
            columns.extend(table.columns_of(described.ii_Expressions.cast()));
            columns.extend(table.columns_of(described.ii_Predicate.cast()));
        }
        columns.sort_unstable();
        columns.dedup();
        table.need(&columns)?;

        let types = column_types(described, table);
        let keys = types[..described.ii_NumIndexKeyAttrs as usize].iter().enumerate();
        let keys = keys.map(|(at, &oid)| Key::look_up(relation, at, oid)).collect();
        let storages = types.iter().map(|&oid| Storage::of(oid)).collect();
        drop(entered);
        Ok(Self {
            oid: relation.oid(),
            keys,
            columns,
            storages,
            info,
            owner: table.owner,
            definition: definition_of(relation),
            _context: context,
        })
    }

    /// Whoever owns the index's code pays for it.
    pub(super) fn payer(&self) -> Payer {
        Payer::of(self.owner, self.oid.to_u32().into())
    }

    /// Whose the code is that compares the index's terms; nobody's where PostgreSQL's own does.
    pub(super) fn acting(&self) -> Option<Acting> {
        let has_code = self.keys.iter().any(|key| !key.is_built_in());
        has_code.then(|| Acting::as_role(self.owner))
    }

    /// Whether looking at a row, or comparing terms, can run code that fails.
    pub(super) fn may_fail(&self) -> bool {
        self.has_expressions() || self.keys.iter().any(|key| !key.is_built_in())
    }

    fn has_expressions(&self) -> bool {
        // SAFETY: the information lives as long as `self`.
        unsafe { !(*self.info).ii_Expressions.is_null() || !(*self.info).ii_Predicate.is_null() }
    }

    /// The index's row for the row that is shown, `None` when the predicate leaves it out.
    pub(super) fn row(&self, execution: &Execution) -> Option<IndexRow> {
        let _acting = self.has_expressions().then(|| Acting::as_role(self.owner));
        let (mut values, mut nulls) = ([pg_sys::Datum::null(); MAX_COLUMNS], [true; MAX_COLUMNS]);
        // SAFETY: the information is used with one execution until `forget`; the arrays have room
        // for all columns that an index can have.
        unsafe {
            let info = self.info;
            if !(*info).ii_Predicate.is_null() {
                if (*info).ii_PredicateState.is_null() {
                    (*info).ii_PredicateState =
                        pg_sys::ExecPrepareQual((*info).ii_Predicate, execution.state());
                }
                if !execution.holds((*info).ii_PredicateState) {
                    return None;
                }
            }
            pg_sys::FormIndexDatum(
                info,
                execution.slot(),
                execution.state(),
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
        let columns = values.iter().zip(nulls).take(self.storages.len());
        Some(columns.map(|(&value, null)| (!null).then_some(value)).collect())
    }

    /// Whether two rows of the index show different values, included columns too.
    pub(super) fn differ(&self, a: &IndexRow, b: &IndexRow) -> bool {
        self.storages.iter().zip(a.iter().zip(b)).any(|(storage, (a, b))| !storage.same(*a, *b))
    }

    /// Forgets the expressions that were prepared: their execution is gone, or they failed.
    pub(super) fn forget(&self) {
        // SAFETY: the information lives as long as `self`; null means not prepared.
        unsafe {
            (*self.info).ii_ExpressionsState = std::ptr::null_mut();
            (*self.info).ii_PredicateState = std::ptr::null_mut();
        }
    }

    /// The terms of a source, read by the types of the leading key columns.
    ///
    /// # Errors
    /// [`Kind::SourceGone`] when the index does not have such terms any more. Raises what an
    /// input function raises.
    pub(super) fn terms<'a>(
        &self,
        terms: impl ExactSizeIterator<Item = Option<&'a str>>,
    ) -> Result<Vec<Option<Owned>>> {
        if terms.len() > self.keys.len() {
            let gone = "the index of the event source has fewer key columns now";
            return Err(Error::new(Kind::SourceGone, gone).hint("get a new token"));
        }
        // The types of an index's terms are the table's.
        let _acting = Acting::as_role(self.owner);
        terms.zip(&self.keys).map(|(term, key)| key.term(term)).collect()
    }

    /// Whether the relation still is what this was made from.
    pub(super) fn is_current(&self, relation: &Relation) -> bool {
        definition_of(relation) == self.definition
    }
}

impl Key {
    fn look_up(index: &Relation, at: usize, oid: pg_sys::Oid) -> Self {
        let datatype = Datatype::look_up(oid, &mut Vec::new());
        // SAFETY: an open index has one collation, family and input type for each key column.
        let (family, input, collation) = unsafe {
            (
                *index.rd_opfamily.add(at),
                *index.rd_opcintype.add(at),
                *index.rd_indcollation.add(at),
            )
        };
        // SAFETY: an open index has its pg_class row and knows what its access method can do.
        let (ordered, method) = unsafe { ((*index.rd_indam).amcanorder, (*index.rd_rel).relam) };
        let strategy = match (ordered, method) {
            (true, _) => Some(pg_sys::BTEqualStrategyNumber),
            (false, pg_sys::HASH_AM_OID) => Some(pg_sys::HTEqualStrategyNumber),
            _ => None,
        };
        let equality =
            strategy.and_then(|s| Equality::look_up(family, input, s as i16, collation, oid));
        Self { storage: datatype.storage, datatype, equality }
    }

    fn is_built_in(&self) -> bool {
        let built_in = |e: &Equality| {
            !e.polymorphic && e.equal.is_built_in() && e.hash.is_none_or(Function::is_built_in)
        };
        self.equality.as_ref().is_none_or(built_in)
    }

    fn term(&self, term: Option<&str>) -> Result<Option<Owned>> {
        if self.equality.is_none() {
            let lacking = "the access method of the event source's index has no equality";
            return Err(
                Error::new(Kind::FeatureNotSupported, lacking).hint("use a btree or a hash index")
            );
        }
        let value = term.map(|text| Value::Text(text.to_owned()));
        let datum = value.and_then(|value| self.datatype.datum(&value, Inputs::Allowed));
        Ok(datum.map(|datum| Owned::copy(datum, self.storage)))
    }

    /// The hash of a value; null has one of its own.
    pub(super) fn hash(&self, value: Option<pg_sys::Datum>) -> u64 {
        let Some(value) = value else { return u64::MAX };
        let equality = self.equality.as_ref();
        let hash = equality.and_then(|e| Some(e.hash?.hash(e.collation, value)));
        hash.map_or(0, u64::from)
    }

    /// Whether two values are equal to the index; null equals null, as IS NULL asks.
    pub(super) fn equal(&self, a: Option<pg_sys::Datum>, b: Option<pg_sys::Datum>) -> bool {
        match (a, b, &self.equality) {
            (None, None, _) => true,
            (Some(a), Some(b), Some(e)) => e.equal.holds(e.collation, a, b),
            _ => false,
        }
    }
}

impl Equality {
    fn look_up(
        family: pg_sys::Oid,
        input: pg_sys::Oid,
        strategy: i16,
        collation: pg_sys::Oid,
        of: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: lookups in the caches that answer an invalid OID for what is not there.
        unsafe {
            let operator = pg_sys::get_opfamily_member(family, input, input, strategy);
            if operator == pg_sys::InvalidOid {
                return None;
            }
            let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            let polymorphic = pg_sys::get_typtype(input) as u8 == pg_sys::TYPTYPE_PSEUDO;
            // The hash function of all arrays raises for elements that have none.
            let hashes = pg_sys::get_op_hash_functions(operator, &mut left, &mut right)
                && (!polymorphic || has_hash(of));
            Some(Self {
                equal: Function::look_up(pg_sys::get_opcode(operator)),
                hash: hashes.then(|| Function::look_up(left)),
                collation,
                polymorphic,
            })
        }
    }
}

/// Whether values of the type, and of whatever it is made of, have a hash.
fn has_hash(datatype: pg_sys::Oid) -> bool {
    // SAFETY: the type cache answers for any type and keeps its entries for ever.
    unsafe {
        let base = pg_sys::getBaseType(datatype);
        let entry = pg_sys::lookup_type_cache(base, pg_sys::TYPECACHE_HASH_PROC as i32);
        (*entry).hash_proc != pg_sys::InvalidOid
    }
}

/// The types of the values that an index's columns are made from. The index's own row type has
/// the types that are stored, which may be others.
fn column_types(info: &pg_sys::IndexInfo, table: &Table) -> Vec<pg_sys::Oid> {
    // SAFETY: null or a list of expressions, which lives as long as the information.
    let expressions = unsafe { pgrx::PgList::<pg_sys::Node>::from_pg(info.ii_Expressions) };
    let mut expressions = expressions.iter_ptr();
    let numbers = info.ii_IndexAttrNumbers[..info.ii_NumIndexAttrs as usize].iter();
    let type_of = |&attnum| match attnum {
        0 => {
            let expression = expressions.next().expect("an expression for each column without one");
            // SAFETY: an expression knows its type.
            unsafe { pg_sys::exprType(expression) }
        }
        attnum => table.column(attnum).atttypid,
    };
    numbers.map(type_of).collect()
}

fn definition_of(index: &Relation) -> Vec<u8> {
    // SAFETY: an open index has its pg_index row, as long as its length says.
    unsafe {
        let tuple = &*index.rd_indextuple;
        let bytes = std::slice::from_raw_parts(tuple.t_data.cast::<u8>(), tuple.t_len as usize);
        bytes[(*tuple.t_data).t_hoff as usize..].to_vec()
    }
}

//! Values that a caller gives for terms and keys, turned into the one text that a token keeps.
//!
//! Runs in backends and in the worker. Types of a table may call code of users when a value is read: that runs in the cage,
//! as the table's owner. A filter's own literals are its role's.

use std::ffi::CStr;

use pgrx::{PgTupleDesc, pg_sys};

use super::names;
use crate::cage::{self, Acting};
use crate::error::{Error, Kind, Result};
use crate::pg::pinned::PinnedSettings;

/// A value as it was given.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Null,
    /// Read by the column's type, with the caller's settings.
    Text(String),
    Typed {
        value: pg_sys::Datum,
        of: pg_sys::Oid,
    },
}

impl From<Option<String>> for Given {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

impl Given {
    /// The text of the value as a `wanted`, a type of a table of `owner`, written under pinned settings; `None` for
    /// null.
    pub(super) fn canonical(
        &self,
        wanted: pg_sys::Oid,
        owner: pg_sys::Oid,
    ) -> Result<Option<String>> {
        // A domain's constraints are the table's business: a term outside them matches nothing.
        // SAFETY: looks at the catalogs' caches.
        let wanted = unsafe { pg_sys::getBaseType(wanted) };
        if !cage::reading_calls_code(wanted) {
            return self.canonical_of_base(wanted);
        }
        cage::run(|| {
            let _acting = Acting::as_role(owner);
            self.canonical_of_base(wanted)
        })
    }

    fn canonical_of_base(&self, wanted: pg_sys::Oid) -> Result<Option<String>> {
        let value = match self {
            Self::Null => return Ok(None),
            Self::Text(text) => read(wanted, text)?,
            // SAFETY: looks at the catalogs' caches.
            Self::Typed { value, of } if unsafe { pg_sys::getBaseType(*of) } == wanted => *value,
            Self::Typed { value, of } => read(wanted, &write(*of, *value))?,
        };
        Ok(Some(write(wanted, value)))
    }
}

/// Calls the type's input function, without a length: `WHERE column = 'text'` does so too. In a cage, as
/// whoever the type is of.
pub(crate) fn read(of: pg_sys::Oid, text: &str) -> Result<pg_sys::Datum> {
    let text = names::c_string(text)?;
    // SAFETY: the function belongs to the type; it copies what it keeps.
    unsafe {
        let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::getTypeInputInfo(of, &mut function, &mut parameter);
        Ok(pg_sys::OidInputFunctionCall(function, text.as_ptr().cast_mut(), parameter, -1))
    }
}

/// Calls the type's output function under pinned settings.
fn write(of: pg_sys::Oid, value: pg_sys::Datum) -> String {
    let _pinned = PinnedSettings::enter();
    // SAFETY: the function belongs to the type of the value.
    unsafe {
        let (mut function, mut varlena) = (pg_sys::InvalidOid, false);
        pg_sys::getTypeOutputInfo(of, &mut function, &mut varlena);
        let text = pg_sys::OidOutputFunctionCall(function, value);
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

/// The elements of a one-dimensional array of any type.
///
/// # Safety
/// `array` is a datum of the array type `of`.
pub(super) unsafe fn elements(array: pg_sys::Datum, of: pg_sys::Oid) -> Result<Vec<Given>> {
    // SAFETY: the caller's; the elements live as long as the memory of the calling function.
    unsafe {
        let element = pg_sys::get_base_element_type(of);
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*array).ndim > 1 {
            return Err(Error::new(Kind::InvalidParameter, "terms must have one dimension"));
        }
        let (mut length, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            element,
            length.into(),
            by_value,
            align,
            &mut values,
            &mut nulls,
            &mut count,
        );
        let given = |i: usize| match *nulls.add(i) {
            true => Given::Null,
            false => Given::Typed { value: *values.add(i), of: element },
        };
        Ok((0..count as usize).map(given).collect())
    }
}

/// The fields of a row, with their names.
///
/// # Safety
/// `row` is a datum of a composite type.
pub(super) unsafe fn fields(row: pg_sys::Datum) -> (pg_sys::Oid, Vec<(String, Given)>) {
    // SAFETY: the caller's; every composite datum carries its type.
    unsafe {
        let header =
            pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        let row_type = pgrx::htup::heap_tuple_header_get_type_id(header);
        let typmod = pgrx::htup::heap_tuple_header_get_typmod(header);
        let desc =
            PgTupleDesc::from_pg(pg_sys::lookup_rowtype_tupdesc_domain(row_type, typmod, false));
        let mut tuple = pg_sys::HeapTupleData {
            t_len: pgrx::htup::heap_tuple_header_get_datum_length(header) as u32,
            t_data: header,
            ..Default::default()
        };
        let mut fields = Vec::with_capacity(desc.len());
        for (i, attribute) in desc.iter().enumerate() {
            if attribute.attisdropped {
                continue;
            }
            let mut null = false;
            let value = pg_sys::heap_getattr(&mut tuple, i as i32 + 1, desc.as_ptr(), &mut null);
            let given = match null {
                true => Given::Null,
                false => Given::Typed { value, of: attribute.atttypid },
            };
            fields.push((attribute.name().to_owned(), given));
        }
        (row_type, fields)
    }
}

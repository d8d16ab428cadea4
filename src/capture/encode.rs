//! Values: from a Datum of any type to the bytes of the log, the same for every session.
//!
//! Which encoder a type needs is found once per table; encoding then is a match. The common types
//! are read directly; all others go through their output function, which is user code: it may
//! write captured tables, and nothing of ours is borrowed while it runs. Runs in the writers'
//! backends, on their only thread; palloc'd scraps are left to the current memory context.

use std::ffi::CStr;

use event_source_model::encoding::Values;
use pgrx::{FromDatum, pg_sys};

use super::catalog;
use super::nested::{Element, Fields};
use super::text::{OutputFunction, byte, output, utf8, with_bytes};

/// How the values of a type are encoded.
#[derive(Debug)]
pub(super) enum Encoder {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Date,
    Timestamp,
    Timestamptz,
    Uuid,
    /// `"char"`, a single byte.
    Byte,
    Name,
    Text,
    Json,
    Bytea,
    Numeric,
    Jsonb,
    Array(Box<Element>),
    Composite(Fields),
    /// Everything else, by the type's output function.
    Output(pg_sys::Oid),
}

/// What the encoders of a row need and depend on.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Some output function reads settings.
    pub(super) pinned: bool,
    /// The relations behind composite types: when one changes, so does its encoder.
    pub(super) relations: Vec<pg_sys::Oid>,
}

/// Types without an encoder of their own whose text no setting can change.
const STEADY: &[pg_sys::Oid] = &[
    pg_sys::INETOID,
    pg_sys::CIDROID,
    pg_sys::MACADDROID,
    pg_sys::MACADDR8OID,
    pg_sys::TIMEOID,
    pg_sys::TIMETZOID,
    pg_sys::BITOID,
    pg_sys::VARBITOID,
    pg_sys::OIDOID,
    pg_sys::TSVECTOROID,
];

impl Encoder {
    pub(super) fn of(oid: pg_sys::Oid, needs: &mut Needs) -> Self {
        // SAFETY: reads the system caches; the type is a column's, so it exists.
        let (oid, kind, element) = unsafe {
            let oid = pg_sys::getBaseType(oid);
            (oid, pg_sys::get_typtype(oid) as u8, pg_sys::get_element_type(oid))
        };
        if element != pg_sys::InvalidOid {
            return Self::Array(Box::new(Element::of(element, needs)));
        }
        match oid {
            pg_sys::BOOLOID => Self::Bool,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID => Self::Float4,
            pg_sys::FLOAT8OID => Self::Float8,
            pg_sys::DATEOID => Self::Date,
            pg_sys::TIMESTAMPOID => Self::Timestamp,
            pg_sys::TIMESTAMPTZOID => Self::Timestamptz,
            pg_sys::UUIDOID => Self::Uuid,
            pg_sys::CHAROID => Self::Byte,
            pg_sys::NAMEOID => Self::Name,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => Self::Text,
            pg_sys::JSONOID => Self::Json,
            pg_sys::BYTEAOID => Self::Bytea,
            pg_sys::NUMERICOID => Self::Numeric,
            pg_sys::JSONBOID => Self::Jsonb,
            _ if kind == pg_sys::TYPTYPE_COMPOSITE => Self::Composite(Fields::of(oid, needs)),
            _ => {
                needs.pinned |= kind != pg_sys::TYPTYPE_ENUM && !STEADY.contains(&oid);
                Self::Output(catalog::output_function(oid))
            }
        }
    }

    /// Writes a value as the log stores it.
    ///
    /// # Safety
    /// `datum` is a non-null value of the type that the encoder was made for.
    pub(super) unsafe fn encode(&self, datum: pg_sys::Datum, out: &mut Vec<u8>) {
        let mut values = Values(out);
        // SAFETY: the caller's: the datum is of the type that chose the variant.
        unsafe {
            match self {
                Self::Bool => values.bool(datum.value() as u8 != 0),
                Self::Int2 => values.int(i64::from(datum.value() as i16)),
                Self::Int4 => values.int(i64::from(datum.value() as i32)),
                Self::Int8 => values.big_int(eight_bytes(datum)),
                Self::Float4 => values.float4(f32::from_bits(datum.value() as u32)),
                Self::Float8 => values.float8(f64::from_bits(eight_bytes(datum) as u64)),
                Self::Date => values.date(datum.value() as i32),
                Self::Timestamp => values.timestamp(eight_bytes(datum)),
                Self::Timestamptz => values.timestamptz(eight_bytes(datum)),
                Self::Uuid => values.uuid(&*datum.cast_mut_ptr::<[u8; 16]>()),
                Self::Byte => values.text(byte(datum.value() as u8).as_bytes()),
                Self::Name => {
                    let name = CStr::from_ptr(datum.cast_mut_ptr());
                    utf8(name.to_bytes(), |text| values.text(text));
                }
                Self::Text => with_bytes(datum, |bytes| utf8(bytes, |text| values.text(text))),
                Self::Json => with_bytes(datum, |bytes| utf8(bytes, |text| values.json(text))),
                Self::Bytea => with_bytes(datum, |bytes| values.bytes(bytes)),
                Self::Numeric => output(NUMERIC_OUT, datum, |text| values.numeric(text)),
                Self::Jsonb => output(JSONB_OUT, datum, |text| values.json(text)),
                Self::Array(element) => element.encode(datum, out),
                Self::Composite(fields) => fields.encode(datum, out),
                Self::Output(oid) => {
                    output(OutputFunction::Of(*oid), datum, |text| values.text(text));
                }
            }
        }
    }
}

const NUMERIC_OUT: OutputFunction = OutputFunction::Known(pg_sys::numeric_out);
const JSONB_OUT: OutputFunction = OutputFunction::Known(pg_sys::jsonb_out);

/// Eight bytes, by value or, on 32-bit machines, by reference.
unsafe fn eight_bytes(datum: pg_sys::Datum) -> i64 {
    // SAFETY: the caller's: a non-null value of an eight-byte type.
    unsafe { i64::from_datum(datum, false) }.expect("the value is not null")
}

/// Whether two values of a column are the same bytes, toast pointers compared as they are: then
/// their encodings are the same too, and need not be made twice.
///
/// # Safety
/// Both are non-null values of a type of that length.
pub(super) unsafe fn identical(
    a: pg_sys::Datum,
    b: pg_sys::Datum,
    by_value: bool,
    length: i16,
) -> bool {
    if by_value {
        return a.value() == b.value();
    }
    // SAFETY: the caller's.
    unsafe {
        let bytes = |datum: pg_sys::Datum| {
            let start = datum.cast_mut_ptr::<u8>();
            let count = match length {
                -1 => pgrx::varlena::varsize_any(start.cast()),
                -2 => CStr::from_ptr(start.cast()).to_bytes().len(),
                length => length as usize,
            };
            std::slice::from_raw_parts(start, count)
        };
        bytes(a) == bytes(b)
    }
}

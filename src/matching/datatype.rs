//! Values of the log as PostgreSQL's datums.
//!
//! The kinds that have their own [`Value`] are built directly, which cannot fail. Everything else
//! goes through its text and the type's input function, which can: when the column's type has
//! been changed since the row was written.

use event_source_model::value::Value;
use pgrx::pg_sys;

use super::function::Function;
use super::owned::Storage;
use crate::cage::reading_calls_code;
use crate::compat;

/// Whether an input function may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inputs {
    Forbidden,
    /// The caller catches what it raises, and has pinned the settings that it reads.
    Allowed,
}

/// A column's type, ready to read values. It lives in the memory context it was looked up in.
#[derive(Debug)]
pub(super) struct Datatype {
    pub(super) storage: Storage,
    form: Form,
    input: Function,
    input_parameter: pg_sys::Oid,
    /// See [`Datatype::calls_code_of_users`].
    calls_code: bool,
}

/// Which kinds of values the type takes without an input function.
#[derive(Debug)]
enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// Its bytes are its text.
    Text,
    Json,
    Bytes,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Array {
        element: Box<Datatype>,
        oid: pg_sys::Oid,
    },
    Composite {
        fields: Vec<Option<Field>>,
        row: pg_sys::TupleDesc,
    },
    Other,
}

#[derive(Debug)]
struct Field {
    name: String,
    datatype: Datatype,
}

impl Datatype {
    /// Looks a type up; of a domain the type below it, since the row already passed its checks.
    ///
    /// `composites` collects the relations whose columns the type's shape depends on.
    pub(super) fn look_up(oid: pg_sys::Oid, composites: &mut Vec<pg_sys::Oid>) -> Self {
        // SAFETY: these look a type up in the caches, and raise for one that is gone.
        unsafe {
            let mut modifier = -1;
            let base = pg_sys::getBaseTypeAndTypmod(oid, &mut modifier);
            let (mut input, mut input_parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            pg_sys::getTypeInputInfo(base, &mut input, &mut input_parameter);
            Self {
                storage: Storage::of(base),
                calls_code: reading_calls_code(base),
                form: Form::of(base, composites),
                input: Function::look_up(input),
                input_parameter,
            }
        }
    }

    /// The datum of a value that is not null, in the current memory context; `None` when it needs
    /// an input function and must not call one.
    pub(super) fn datum(&self, value: &Value, inputs: Inputs) -> Option<pg_sys::Datum> {
        self.direct(value, inputs).or_else(|| {
            let text = value.text().filter(|_| inputs == Inputs::Allowed)?;
            Some(self.input.input(&text, self.input_parameter))
        })
    }

    /// Whether reading a value may call code that an ordinary role has written.
    pub(super) fn calls_code_of_users(&self) -> bool {
        self.calls_code
    }

    fn direct(&self, value: &Value, inputs: Inputs) -> Option<pg_sys::Datum> {
        Some(match (&self.form, value) {
            (Form::Bool, Value::Bool(b)) => (*b).into(),
            (Form::Int2, Value::Int(n) | Value::BigInt(n)) => i16::try_from(*n).ok()?.into(),
            (Form::Int4, Value::Int(n) | Value::BigInt(n)) => i32::try_from(*n).ok()?.into(),
            (Form::Int8, Value::Int(n) | Value::BigInt(n)) => (*n).into(),
            (Form::Float4, Value::Float4(f)) => f.to_bits().into(),
            (Form::Float8, Value::Float8(f)) => f.to_bits().into(),
            // What numeric_out wrote, numeric_in reads.
            (Form::Numeric, Value::Numeric(digits)) => {
                self.input.input(digits, self.input_parameter)
            }
            (Form::Text, Value::Text(text)) | (Form::Json, Value::Json(text)) => {
                varlena(text.as_bytes())
            }
            (Form::Bytes, Value::Bytes(bytes)) => varlena(bytes),
            (Form::Uuid, Value::Uuid(bytes)) => fixed(bytes),
            (Form::Date, Value::Date(days)) => (*days).into(),
            (Form::Timestamp, Value::Timestamp(micros))
            | (Form::Timestamptz, Value::Timestamptz(micros)) => (*micros).into(),
            (Form::Array { element, oid }, Value::Array(items)) => {
                array(element, *oid, items, inputs)?
            }
            (Form::Composite { fields, row }, Value::Object(values)) => {
                composite(fields, *row, values, inputs)?
            }
            _ => return None,
        })
    }
}

impl Form {
    fn of(base: pg_sys::Oid, composites: &mut Vec<pg_sys::Oid>) -> Self {
        match base {
            pg_sys::BOOLOID => Self::Bool,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID => Self::Float4,
            pg_sys::FLOAT8OID => Self::Float8,
            pg_sys::NUMERICOID => Self::Numeric,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => Self::Text,
            pg_sys::JSONOID => Self::Json,
            pg_sys::BYTEAOID => Self::Bytes,
            pg_sys::UUIDOID => Self::Uuid,
            pg_sys::DATEOID => Self::Date,
            pg_sys::TIMESTAMPOID => Self::Timestamp,
            pg_sys::TIMESTAMPTZOID => Self::Timestamptz,
            _ => Self::nested(base, composites),
        }
    }

    fn nested(base: pg_sys::Oid, composites: &mut Vec<pg_sys::Oid>) -> Self {
        // SAFETY: lookups in the caches; the row type is a copy in the current context.
        unsafe {
            let element = pg_sys::get_element_type(base);
            if element != pg_sys::InvalidOid {
                let datatype = Datatype::look_up(element, composites);
                return Self::Array { element: Box::new(datatype), oid: element };
            }
            let relation = pg_sys::get_typ_typrelid(base);
            if relation == pg_sys::InvalidOid {
                return Self::Other;
            }
            composites.push(relation);
            let row = pg_sys::lookup_rowtype_tupdesc_copy(base, -1);
            let fields = compat::attributes(row).iter().map(|a| {
                (!a.attisdropped).then(|| Field {
                    name: compat::name(&a.attname),
                    datatype: Datatype::look_up(a.atttypid, composites),
                })
            });
            Self::Composite { fields: fields.collect(), row }
        }
    }
}

/// A varlena with a full header, as `cstring_to_text_with_len` makes one.
fn varlena(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: the function copies exactly these bytes, whatever they are.
    unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32).into() }
}

fn fixed(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: as many bytes are allocated as are copied.
    unsafe {
        let copy = pg_sys::palloc(bytes.len()).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        copy.into()
    }
}

/// An array, its lower bounds 1: images do not keep others.
fn array(
    element: &Datatype,
    oid: pg_sys::Oid,
    items: &[Value],
    inputs: Inputs,
) -> Option<pg_sys::Datum> {
    let mut lengths = Vec::new();
    measure(items, &mut lengths);
    let (mut datums, mut nulls) = (Vec::new(), Vec::new());
    flatten(element, items, &lengths, inputs, &mut datums, &mut nulls)?;
    if datums.is_empty() {
        // SAFETY: an empty array needs only its element's type.
        return Some(unsafe { pg_sys::construct_empty_array(oid) }.into());
    }
    let mut lower = vec![1; lengths.len()];
    let Storage { length, by_value, align } = element.storage;
    // SAFETY: as many datums and flags as the product of the lengths, all of the element's type.
    Some(
        unsafe {
            pg_sys::construct_md_array(
                datums.as_mut_ptr(),
                nulls.as_mut_ptr(),
                lengths.len() as i32,
                lengths.as_mut_ptr(),
                lower.as_mut_ptr(),
                oid,
                length.into(),
                by_value,
                align,
            )
        }
        .into(),
    )
}

/// The length of each dimension, outermost first. No type has arrays as its elements, so an array
/// in an array is a dimension.
fn measure(items: &[Value], lengths: &mut Vec<i32>) {
    lengths.push(items.len() as i32);
    if let Some(Value::Array(inner)) = items.first() {
        measure(inner, lengths);
    }
}

fn flatten(
    element: &Datatype,
    items: &[Value],
    lengths: &[i32],
    inputs: Inputs,
    datums: &mut Vec<pg_sys::Datum>,
    nulls: &mut Vec<bool>,
) -> Option<()> {
    let (&length, below) = lengths.split_first()?;
    if items.len() as i32 != length {
        return None;
    }
    for item in items {
        match item {
            Value::Array(inner) if !below.is_empty() => {
                flatten(element, inner, below, inputs, datums, nulls)?;
            }
            _ if !below.is_empty() => return None,
            Value::Null => {
                datums.push(pg_sys::Datum::null());
                nulls.push(true);
            }
            value => {
                datums.push(element.datum(value, inputs)?);
                nulls.push(false);
            }
        }
    }
    Some(())
}

/// A composite value, its fields by name: one that was added since is null, one that is gone is
/// left out.
fn composite(
    fields: &[Option<Field>],
    row: pg_sys::TupleDesc,
    values: &[(String, Value)],
    inputs: Inputs,
) -> Option<pg_sys::Datum> {
    let mut datums = vec![pg_sys::Datum::null(); fields.len()];
    let mut nulls = vec![true; fields.len()];
    for (at, field) in fields.iter().enumerate() {
        let Some(field) = field else { continue };
        match values.iter().find(|(name, _)| *name == field.name) {
            None | Some((_, Value::Null)) => {}
            Some((_, value)) => {
                datums[at] = field.datatype.datum(value, inputs)?;
                nulls[at] = false;
            }
        }
    }
    // SAFETY: one datum and one flag for each column of the row type, which says its own type.
    unsafe {
        let tuple = pg_sys::heap_form_tuple(row, datums.as_mut_ptr(), nulls.as_mut_ptr());
        Some(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
    }
}

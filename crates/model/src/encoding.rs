//! The bytes of values and numbers in the log.
//!
//! Capture writes a row's values straight from PostgreSQL's memory through [`Values`], without
//! anything in between: every writer pays for what stands here. A value is a tag and what belongs to
//! it; numbers take as many bytes as they need. Reading trusts nothing: damaged bytes are an error.

use crate::value::Value;

/// Why stored bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log entry is damaged")]
pub struct Damaged;

/// A value of which every copy is felt.
const LARGE: usize = 1024 * 1024;

/// Values inside values that are read: more than any type of PostgreSQL's nests.
const DEEPEST: u32 = 200;

/// What stands before each value.
mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const BIG_INT: u8 = 4;
    pub(super) const FLOAT4: u8 = 5;
    pub(super) const FLOAT8: u8 = 6;
    pub(super) const NUMERIC: u8 = 7;
    pub(super) const TEXT: u8 = 8;
    pub(super) const BYTES: u8 = 9;
    pub(super) const UUID: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const TIMESTAMP: u8 = 12;
    pub(super) const TIMESTAMPTZ: u8 = 13;
    pub(super) const JSON: u8 = 14;
    pub(super) const ARRAY: u8 = 15;
    pub(super) const OBJECT: u8 = 16;
}

/// Seven bits a byte, the lowest first.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// As [`put_number`]; small ones are short below zero too.
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Writes values, each by its kind. What the kinds mean, [`Value`] says.
#[derive(Debug)]
pub struct Values<'a>(pub &'a mut Vec<u8>);

impl Values<'_> {
    pub fn null(&mut self) {
        self.0.push(tag::NULL);
    }

    pub fn bool(&mut self, value: bool) {
        self.0.push(if value { tag::TRUE } else { tag::FALSE });
    }

    pub fn int(&mut self, value: i64) {
        self.signed(tag::INT, value);
    }

    pub fn big_int(&mut self, value: i64) {
        self.signed(tag::BIG_INT, value);
    }

    pub fn float4(&mut self, value: f32) {
        self.0.push(tag::FLOAT4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn float8(&mut self, value: f64) {
        self.0.push(tag::FLOAT8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn numeric(&mut self, text: &[u8]) {
        self.text_of(tag::NUMERIC, text);
    }

    pub fn text(&mut self, text: &[u8]) {
        self.text_of(tag::TEXT, text);
    }

    pub fn json(&mut self, text: &[u8]) {
        self.text_of(tag::JSON, text);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.text_of(tag::BYTES, bytes);
    }

    pub fn uuid(&mut self, bytes: &[u8; 16]) {
        self.0.push(tag::UUID);
        self.0.extend_from_slice(bytes);
    }

    pub fn date(&mut self, days: i32) {
        self.signed(tag::DATE, i64::from(days));
    }

    pub fn timestamp(&mut self, micros: i64) {
        self.signed(tag::TIMESTAMP, micros);
    }

    pub fn timestamptz(&mut self, micros: i64) {
        self.signed(tag::TIMESTAMPTZ, micros);
    }

    /// So many items follow.
    pub fn array(&mut self, items: usize) {
        self.0.push(tag::ARRAY);
        put_number(self.0, items as u64);
    }

    /// So many fields follow, each a [`Values::name`] and a value.
    pub fn object(&mut self, fields: usize) {
        self.0.push(tag::OBJECT);
        put_number(self.0, fields as u64);
    }

    pub fn name(&mut self, name: &[u8]) {
        put_number(self.0, name.len() as u64);
        self.0.extend_from_slice(name);
    }

    fn signed(&mut self, tag: u8, value: i64) {
        self.0.push(tag);
        put_signed(self.0, value);
    }

    fn text_of(&mut self, tag: u8, text: &[u8]) {
        if text.len() > LARGE {
            // A buffer that grows by doubling would hold it three times.
            self.0.reserve_exact(text.len() + 16);
        }
        self.0.push(tag);
        self.name(text);
    }

    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::BigInt(value) => self.big_int(*value),
            Value::Float4(value) => self.float4(*value),
            Value::Float8(value) => self.float8(*value),
            Value::Numeric(text) => self.numeric(text.as_bytes()),
            Value::Text(text) => self.text(text.as_bytes()),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Uuid(bytes) => self.uuid(bytes),
            Value::Date(days) => self.date(*days),
            Value::Timestamp(micros) => self.timestamp(*micros),
            Value::Timestamptz(micros) => self.timestamptz(*micros),
            Value::Json(text) => self.json(text.as_bytes()),
            Value::Array(items) => {
                self.array(items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Object(fields) => {
                self.object(fields.len());
                for (name, value) in fields {
                    self.name(name.as_bytes());
                    self.value(value);
                }
            }
        }
    }
}

/// Reads what was written above, from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn number(&mut self) -> Result<u64, Damaged> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Damaged);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    pub fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn value(&mut self) -> Result<Value, Damaged> {
        self.value_inside(0)
    }

    /// Passes a value and gives the bytes that the log has of it.
    pub fn raw_value(&mut self) -> Result<&'a [u8], Damaged> {
        let start = self.0;
        self.pass(0)?;
        Ok(&start[..start.len() - self.0.len()])
    }

    /// Passes a value and gives its [`Value::bytes`].
    pub fn pass_value(&mut self) -> Result<usize, Damaged> {
        self.pass(0)
    }

    fn value_inside(&mut self, depth: u32) -> Result<Value, Damaged> {
        Ok(match self.byte()? {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(self.signed()?),
            tag::BIG_INT => Value::BigInt(self.signed()?),
            tag::FLOAT4 => Value::Float4(f32::from_le_bytes(self.array()?)),
            tag::FLOAT8 => Value::Float8(f64::from_le_bytes(self.array()?)),
            tag::NUMERIC => Value::Numeric(self.text()?),
            tag::TEXT => Value::Text(self.text()?),
            tag::BYTES => Value::Bytes(self.counted()?.to_vec()),
            tag::UUID => Value::Uuid(self.array()?),
            tag::DATE => Value::Date(self.signed()?.try_into().map_err(|_| Damaged)?),
            tag::TIMESTAMP => Value::Timestamp(self.signed()?),
            tag::TIMESTAMPTZ => Value::Timestamptz(self.signed()?),
            tag::JSON => Value::Json(self.text()?),
            tag::ARRAY => {
                let items = 0..self.count(depth)?;
                Value::Array(items.map(|_| self.value_inside(depth + 1)).collect::<Result<_, _>>()?)
            }
            tag::OBJECT => {
                let fields = 0..self.count(depth)?;
                let field = |_| Ok((self.text()?, self.value_inside(depth + 1)?));
                Value::Object(fields.map(field).collect::<Result<_, _>>()?)
            }
            _ => return Err(Damaged),
        })
    }

    fn pass(&mut self, depth: u32) -> Result<usize, Damaged> {
        Ok(match self.byte()? {
            tag::NULL => 0,
            tag::FALSE | tag::TRUE => 1,
            tag::INT | tag::BIG_INT | tag::TIMESTAMP | tag::TIMESTAMPTZ => {
                self.number().map(|_| 8)?
            }
            tag::DATE => self.number().map(|_| 4)?,
            tag::FLOAT4 => self.take(4)?.len(),
            tag::FLOAT8 => self.take(8)?.len(),
            tag::UUID => self.take(16)?.len(),
            tag::NUMERIC | tag::TEXT | tag::BYTES | tag::JSON => self.counted()?.len(),
            tag::ARRAY => {
                let mut items = 0..self.count(depth)?;
                items.try_fold(0, |bytes, _| Ok(bytes + self.pass(depth + 1)?))?
            }
            tag::OBJECT => {
                let mut fields = 0..self.count(depth)?;
                fields.try_fold(0, |bytes, _| {
                    Ok(bytes + self.counted()?.len() + self.pass(depth + 1)?)
                })?
            }
            _ => return Err(Damaged),
        })
    }

    /// How many values follow inside one: not more than there are bytes.
    fn count(&mut self, depth: u32) -> Result<usize, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        if depth < DEEPEST && count <= self.0.len() { Ok(count) } else { Err(Damaged) }
    }

    /// Bytes behind their number.
    pub fn counted(&mut self) -> Result<&'a [u8], Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        self.take(count)
    }

    /// Written as the server held it, which in a UTF-8 database is UTF-8 unless somebody's C code
    /// broke it.
    fn text(&mut self) -> Result<String, Damaged> {
        let bytes = self.counted()?;
        // Looked at first: what replaces broken bytes takes several times as long to find none.
        Ok(match str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        })
    }
}

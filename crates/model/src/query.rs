//! What a query asks for, once it is understood: read by the worker, written by the checker of FQL.
//!
//! Names and constants only. Whether a collection, an index or a column is there is for the worker to
//! say, by the place where the query names it.

use serde::{Deserialize, Serialize};

/// Bytes of the query's text, from and to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// A name, and where the query has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

/// The answer that is wanted. All its parts are of one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    Constant(Constant),
    Array(Vec<Ask>),
    Object(Vec<(String, Ask)>),
    /// The rows of a set, a page at a time.
    Page { rows: Rows, size: u32 },
    /// The page behind one that came before.
    Next { cursor: String, size: Option<u32>, span: Span },
    /// A row, or null.
    Row(Rows),
    /// A token.
    EventSource(EventSource),
}

/// A value that the query or its caller wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Constant {
    Null,
    Bool(bool),
    /// Digits, with a sign, a point and an exponent where they have one.
    Number(String),
    /// `NaN`, `Infinity` or `-Infinity`.
    NotFinite(String),
    Text(String),
    /// RFC 3339.
    Time(String),
    /// ISO 8601.
    Date(String),
    Bytes(Vec<u8>),
    Uuid(String),
    /// The token of an event source.
    Token(String),
    Array(Vec<Constant>),
    Object(Vec<(String, Constant)>),
}

/// Rows of one collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    pub collection: Name,
    pub of: Of,
    /// Only those for which it is true.
    pub filter: Option<Test>,
    pub shown: Shown,
}

/// Which rows of the collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Of {
    All,
    /// An index, by the name that the query calls, and values of its leading columns.
    Index { index: Name, terms: Vec<Constant> },
    /// The row with this key.
    Key { key: Constant, span: Span },
    /// The first of these rows.
    First { of: Box<Of>, filter: Option<Test>, span: Span },
}

/// What is shown of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shown {
    /// All of it.
    Document,
    /// These columns, under these names.
    Object(Vec<(String, Name)>),
    /// One column's value alone.
    Value(Name),
}

/// An event source to be minted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventSource {
    pub rows: Rows,
    /// Updates count only when one of these changed; `None` for any.
    pub watch: Option<Vec<Name>>,
    /// Of the call that makes it.
    pub span: Span,
}

/// An expression over a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Test {
    Column(Name),
    Constant(Constant, Span),
    Not(Box<Test>),
    Minus(Box<Test>),
    Binary(Binary, Box<Test>, Box<Test>),
    /// One of these; null is equal to null.
    In(Box<Test>, Vec<Constant>, Span),
    Call(Function, Vec<Test>, Span),
}

/// What combines two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binary {
    /// The first, or the second when the first is null.
    Otherwise,
    Or,
    And,
    /// Null is equal to null.
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// Methods of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    StartsWith,
    EndsWith,
    Includes,
    IncludesRegex,
    ToLowerCase,
    ToUpperCase,
    Length,
    Concat,
    ReplaceAll,
}

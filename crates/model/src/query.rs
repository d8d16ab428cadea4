//! What a query asks for, once it is understood, and what it is answered with. Written by the checker of
//! FQL and read by the worker, and the other way round.
//!
//! Names and constants only. Whether a collection, an index or a column is there is for the worker to
//! say, by the place where the query names it. How large such a tree may be is in [`bounds`](crate::bounds).

use serde::{Deserialize, Serialize};

use crate::bounds::{deep, many};
use crate::event::View;
use crate::image::Image;

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
    Array(#[serde(deserialize_with = "many")] Vec<Ask>),
    Object(#[serde(deserialize_with = "many")] Vec<(String, Ask)>),
    /// The rows of a set, a page at a time.
    Page {
        rows: Rows,
        size: u32,
    },
    /// The rows of a set in an order, cut; answered with a page that has no next one.
    Sorted {
        rows: Rows,
        #[serde(deserialize_with = "many")]
        order: Vec<Order>,
        skip: u64,
        /// `None` for all.
        limit: Option<u32>,
    },
    /// The page behind one that came before.
    Next {
        cursor: String,
        size: Option<u32>,
        span: Span,
    },
    /// A row, or null.
    Row(Rows),
    /// The same, and which changes of it are in what is answered.
    Version {
        rows: Rows,
        /// As it was when just these transactions had changed it, if it was there; else as it is.
        at: Option<i64>,
    },
    /// A token.
    EventSource(EventSource),
    /// The collection that LoopBack's paths call so, by its plural or its name: an object of its `name` and
    /// whether it has a `key`.
    Plural(Name),
}

/// A value that the query or its caller wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    Array(#[serde(deserialize_with = "many")] Vec<Constant>),
    Object(#[serde(deserialize_with = "many")] Vec<(String, Constant)>),
}

impl Constant {
    /// The text that it was written as; `None` of what is written in another way.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Null | Self::Bool(_) | Self::Bytes(_) | Self::Array(_) | Self::Object(_) => None,
            Self::Number(text)
            | Self::NotFinite(text)
            | Self::Text(text)
            | Self::Time(text)
            | Self::Date(text)
            | Self::Uuid(text)
            | Self::Token(text) => Some(text),
        }
    }
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
    Index {
        index: Name,
        #[serde(deserialize_with = "many")]
        terms: Vec<Constant>,
    },
    /// An index of any collection, by its own name; [`Rows::collection`] says nothing then.
    Named {
        index: Name,
        #[serde(deserialize_with = "many")]
        terms: Vec<Constant>,
    },
    /// The row with this key.
    Key {
        key: Constant,
        span: Span,
    },
    /// The first of these rows.
    First {
        #[serde(deserialize_with = "deep")]
        of: Box<Of>,
        filter: Option<Test>,
        span: Span,
    },
}

/// A column that rows are ordered by, nulls where PostgreSQL puts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub column: Name,
    pub descending: bool,
}

/// What is shown of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shown {
    /// All of it.
    Document,
    /// These columns, under these names.
    Object(#[serde(deserialize_with = "many")] Vec<(String, Name)>),
    /// One column's value alone.
    Value(Name),
    /// What the set itself knows of a row: of an index its columns that are no terms, and otherwise nothing.
    Covered,
}

/// An event source to be minted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventSource {
    pub rows: Rows,
    /// Changes count only when they are of one of these; `None` for any.
    pub watch: Option<Vec<Name>>,
    /// Its token does not expire: it is not given out, and ends with the stream that it is for.
    pub lasts: bool,
    /// See [`Definition::every_delete`](crate::source::Definition::every_delete).
    pub every_delete: bool,
    /// Of the call that makes it.
    pub span: Span,
}

impl EventSource {
    /// Of these rows, as a query that says no more.
    pub fn of(rows: Rows, span: Span) -> Self {
        Self { rows, watch: None, lasts: false, every_delete: false, span }
    }
}

/// An expression over a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Test {
    Column(Name),
    Constant(Constant, Span),
    Not(#[serde(deserialize_with = "deep")] Box<Test>),
    Minus(#[serde(deserialize_with = "deep")] Box<Test>),
    Binary(
        Binary,
        #[serde(deserialize_with = "deep")] Box<Test>,
        #[serde(deserialize_with = "deep")] Box<Test>,
    ),
    /// One of these; null is equal to null.
    In(
        #[serde(deserialize_with = "deep")] Box<Test>,
        #[serde(deserialize_with = "many")] Vec<Constant>,
        Span,
    ),
    Call(Function, #[serde(deserialize_with = "many")] Vec<Test>, Span),
}

impl Test {
    /// One operator between all of these, as a tree that is no deeper than it must be; `None` of none.
    pub fn joined(by: Binary, mut tests: Vec<Self>) -> Option<Self> {
        if tests.len() < 2 {
            return tests.pop();
        }
        let rest = tests.split_off(tests.len() / 2);
        let (left, right) = (Self::joined(by, tests)?, Self::joined(by, rest)?);
        Some(Self::Binary(by, Box::new(left), Box::new(right)))
    }
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

/// Methods of strings, and of JSON.
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
    /// SQL's pattern, of the whole string.
    Like,
    /// As `Like`, whatever the case.
    LikeAnyCase,
    /// What is at a path in JSON; the path is the text of an array.
    At,
    /// As `At`, as text.
    TextAt,
}

impl Function {
    /// How many operands it has, the string itself among them.
    pub fn operands(self) -> usize {
        match self {
            Self::ToLowerCase | Self::ToUpperCase | Self::Length => 1,
            Self::StartsWith
            | Self::EndsWith
            | Self::Includes
            | Self::IncludesRegex
            | Self::Concat
            | Self::Like
            | Self::LikeAnyCase
            | Self::At
            | Self::TextAt => 2,
            Self::ReplaceAll => 3,
        }
    }
}

/// What was asked for. All of it is as one snapshot saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Constant(Constant),
    Array(#[serde(deserialize_with = "many")] Vec<Answer>),
    Object(#[serde(deserialize_with = "many")] Vec<(String, Answer)>),
    Page {
        view: View,
        rows: Vec<Image>,
        /// It is one behind the first.
        is_next: bool,
        /// What the next page is asked for by, when there may be one.
        after: Option<String>,
    },
    Row {
        view: View,
        row: Option<Image>,
        /// The key by which it was asked for.
        key: Option<String>,
    },
    Version {
        view: View,
        row: Option<Image>,
        /// Of the transactions that change the row, those up to it are in the answer, and no others.
        txn_ts: i64,
        /// The last of them had not been sent to the row's followers by then.
        untold: bool,
    },
    EventSource(String),
}

/// An answer, when it was true and what it cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    pub answer: Answer,
    /// Everything up to it is in the answer; microseconds since 1970.
    pub txn_ts: i64,
    /// Rows that were read.
    pub reads: u64,
    /// Bytes of their images.
    pub bytes: u64,
}

/// What is wrong with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// It cannot be read, or asks for what there is not.
    InvalidQuery,
    UnboundVariable,
    /// A method is called on what it is not for.
    InvalidReceiver,
    InvalidArgument,
    /// As many arguments as the function does not take.
    InvalidFunctionInvocation,
    PermissionDenied,
    /// It would take too long.
    TimeOut,
    /// Somebody else's transaction is in the way.
    Contended,
    /// It says so itself, with [`Failure::abort`].
    Abort,
}

/// Why a query is refused, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub fault: Fault,
    pub message: String,
    pub hint: Option<String>,
    pub span: Span,
    /// What the query gave up with.
    pub abort: Option<Constant>,
}

impl Failure {
    pub fn new(fault: Fault, message: impl Into<String>, span: Span) -> Self {
        Self { fault, message: message.into(), hint: None, span, abort: None }
    }

    /// What the query's text alone shows to be wrong.
    pub fn syntax(message: impl Into<String>, span: Span) -> Self {
        Self::new(Fault::InvalidQuery, message, span)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

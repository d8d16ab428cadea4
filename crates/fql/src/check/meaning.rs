//! The meaning of an expression outside of rows.

use std::rc::Rc;

use event_source_model::bounds::{Scales, TooLarge};
use event_source_model::query::{Constant, EventSource, Failure, Name, Of, Rows, Shown, Span};

use super::shown::{projection, show};
use super::{Scope, unsupported};
use crate::ast::{Block, Expr, Kind, Unary, symbol};

/// What an expression stands for.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    Constant(Constant),
    /// A name that is nothing else.
    Collection(Name),
    /// The module `Set`.
    SetModule,
    Rows {
        rows: Rows,
        /// As `pageSize` said.
        size: Option<u32>,
    },
    /// What `Set.paginate` goes on with.
    Next {
        cursor: String,
        size: Option<u32>,
    },
    /// One row, or null.
    Row(Rows),
    EventSource(EventSource),
    Array(Vec<Meaning>),
    Object(Vec<(String, Meaning)>),
}

impl Meaning {
    /// The value that it is, when the database is not needed for it.
    pub(super) fn constant(self) -> Option<Constant> {
        Some(match self {
            Self::Constant(constant) => constant,
            Self::Array(items) => {
                Constant::Array(items.into_iter().map(Self::constant).collect::<Option<_>>()?)
            }
            Self::Object(fields) => {
                let fields =
                    fields.into_iter().map(|(name, field)| Some((name, field.constant()?)));
                Constant::Object(fields.collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// Puts it on the scales, beside what is there.
    fn weigh(&self, scales: &mut Scales) -> Result<(), TooLarge> {
        match self {
            Self::Constant(constant) => scales.constant(constant),
            Self::Rows { rows, .. } | Self::Row(rows) => scales.rows(rows),
            Self::EventSource(source) => scales.source(source),
            Self::Next { cursor, .. } => scales.part(cursor.len()),
            Self::Collection(name) => scales.part(name.text.len()),
            Self::SetModule => scales.part(0),
            Self::Array(items) => {
                scales.part(0)?;
                items.iter().try_for_each(|item| item.weigh(scales))
            }
            Self::Object(fields) => fields.iter().try_for_each(|(name, field)| {
                scales.part(name.len())?;
                field.weigh(scales)
            }),
        }
    }

    /// How an error names it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Constant(_) => "a value",
            Self::Collection(_) => "a collection",
            Self::SetModule => "a module",
            Self::Rows { .. } | Self::Next { .. } => "a set",
            Self::Row(_) => "a document",
            Self::EventSource(_) => "an event source",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// Definitions that are in force at one place: each use of a name looks through them.
const MOST_LETS: usize = 256;

impl<'a> Scope<'a> {
    pub(super) fn block(&self, block: &'a Block) -> Result<Meaning, Failure> {
        let mut scope = self.clone();
        for (name, value) in &block.lets {
            let meaning = scope.meaning(value)?;
            if scope.lets.len() == MOST_LETS {
                return Err(TooLarge::Wide.at(name.span));
            }
            scope.lets.push((&name.text, Rc::new(meaning)));
        }
        scope.meaning(&block.result)
    }

    pub(super) fn meaning(&self, expr: &'a Expr) -> Result<Meaning, Failure> {
        let span = expr.span;
        Ok(match &expr.kind {
            Kind::Null => Meaning::Constant(Constant::Null),
            Kind::Bool(b) => Meaning::Constant(Constant::Bool(*b)),
            Kind::Number(digits) => Meaning::Constant(Constant::Number(digits.clone())),
            Kind::Text(text) => Meaning::Constant(Constant::Text(text.clone())),
            Kind::Value => Meaning::Constant(self.value(span)?),
            Kind::Name(name) => self.name(name, span)?,
            Kind::Array(items) => {
                let items = items.iter().map(|item| self.meaning(item));
                array(items.collect::<Result<_, _>>()?)
            }
            Kind::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| {
                    Ok::<_, Failure>((name.text.clone(), self.meaning(value)?))
                });
                Meaning::Object(fields.collect::<Result<_, _>>()?)
            }
            Kind::Block(block) => self.block(block)?,
            Kind::Call { function, arguments } => self.call(function, arguments, span)?,
            Kind::Field { of, name, .. } => Self::field(self.meaning_of(of, span)?, name)?,
            Kind::Access { of, arguments } => match arguments.as_slice() {
                [Expr { kind: Kind::Text(text), span: at, .. }] => {
                    let name = Name { text: text.clone(), span: *at };
                    Self::field(self.meaning_of(of, span)?, &name)?
                }
                _ => return Err(unsupported("An index of this kind", span)),
            },
            Kind::Project { of, fields } => show(self.meaning(of)?, projection(fields)?, span)?,
            Kind::Assert(of) => self.meaning(of)?,
            Kind::Unary(Unary::Minus, of) => match self.meaning(of)? {
                Meaning::Constant(Constant::Number(digits)) => {
                    Meaning::Constant(Constant::Number(negated(&digits)))
                }
                _ => return Err(unsupported("`-` outside of a predicate", span)),
            },
            Kind::Unary(Unary::Not, _) => {
                return Err(unsupported("`!` outside of a predicate", span));
            }
            Kind::Binary(operator, ..) => {
                let what = format!("`{}` outside of a predicate", symbol(*operator));
                return Err(unsupported(&what, span));
            }
            Kind::Lambda { .. } => return Err(unsupported("A function as a value", span)),
            Kind::Tuple(_) => return Err(unsupported("A tuple", span)),
            Kind::This => return Err(Failure::syntax("Invalid anonymous field access", span)),
            Kind::TooDeep => return Err(too_deep(span)),
        })
    }

    /// What a field or a method is of: an error stands at the whole rather than at nothing.
    pub(super) fn meaning_of(&self, of: &'a Expr, whole: Span) -> Result<Meaning, Failure> {
        if matches!(of.kind, Kind::This) {
            return Err(Failure::syntax("Invalid anonymous field access", whole));
        }
        self.meaning(of)
    }

    pub(super) fn value(&self, span: Span) -> Result<Constant, Failure> {
        let value = self.template.value(span).cloned();
        value.ok_or_else(|| Failure::syntax("There is no value for this place", span))
    }

    fn name(&self, name: &str, span: Span) -> Result<Meaning, Failure> {
        let too_large = |too: TooLarge| too.at(span);
        let copied = &mut *self.copied.borrow_mut();
        if let Some((_, meaning)) = self.lets.iter().rev().find(|(known, _)| *known == name) {
            meaning.weigh(copied).map_err(too_large)?;
            return Ok(Meaning::clone(meaning));
        }
        Ok(match self.arguments.get(name) {
            Some(constant) => {
                copied.constant(constant).map_err(too_large)?;
                Meaning::Constant(constant.clone())
            }
            None if name == "Set" => Meaning::SetModule,
            None => Meaning::Collection(Name { text: name.to_owned(), span }),
        })
    }

    /// The constant that an argument must be. A document that is named by its key is its key.
    pub(super) fn constant(&self, argument: &'a Expr) -> Result<Constant, Failure> {
        match self.meaning(argument)? {
            Meaning::Constant(constant) => Ok(constant),
            Meaning::Row(Rows { of: Of::Key { key, .. }, filter: None, .. }) => Ok(key),
            other => {
                let message = format!("Expected a value, received {}", other.kind());
                Err(Failure::syntax(message, argument.span))
            }
        }
    }

    fn field(of: Meaning, name: &Name) -> Result<Meaning, Failure> {
        match of {
            Meaning::Row(mut rows) if rows.shown == Shown::Document => {
                rows.shown = Shown::Value(name.clone());
                Ok(Meaning::Row(rows))
            }
            Meaning::Object(fields) => {
                let field = fields.into_iter().find(|(known, _)| *known == name.text);
                Ok(field.map_or(Meaning::Constant(Constant::Null), |(_, value)| value))
            }
            other => {
                let what = format!("Field `{}` of {}", name.text, other.kind());
                Err(unsupported(&what, name.span))
            }
        }
    }
}

pub(super) fn too_deep(span: Span) -> Failure {
    Failure::syntax("The query is nested too deeply", span)
}

pub(super) fn negated(digits: &str) -> String {
    match digits.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None => format!("-{digits}"),
    }
}

/// An array of constants is one.
fn array(items: Vec<Meaning>) -> Meaning {
    if !items.iter().all(|item| matches!(item, Meaning::Constant(_))) {
        return Meaning::Array(items);
    }
    Meaning::Constant(Constant::Array(items.into_iter().filter_map(Meaning::constant).collect()))
}

//! Projections: which fields of a document are shown, and under which names.

use event_source_model::query::{Failure, Fault, Name, Shown, Span};

use super::meaning::Meaning;
use super::unsupported;
use crate::ast::{Expr, Kind};

/// `{ name, cost: .price }` behind a set, a document or an event source.
pub(super) fn projection(fields: &[(Name, Expr)]) -> Result<Shown, Failure> {
    fields_of(fields, None)
}

/// The argument of `map`.
pub(super) fn mapped(argument: &Expr) -> Result<Shown, Failure> {
    let (row, body) = row_and_body(argument)?;
    match &body.kind {
        Kind::Object(fields) => fields_of(fields, row),
        Kind::Project { of, fields } if is_row(of, row) => {
            // Behind the row itself a leading dot is the row, as its name is.
            let shown = fields.iter().map(|(name, value)| {
                let column = column(value, None).or_else(|| column(value, row));
                column.map(|column| (name.text.clone(), column)).ok_or_else(|| computed(value))
            });
            Ok(Shown::Object(shown.collect::<Result<_, _>>()?))
        }
        _ if is_row(body, row) => Ok(Shown::Document),
        _ => column(body, row).map(Shown::Value).ok_or_else(|| computed(body)),
    }
}

/// An argument of `eventsOn`.
pub(super) fn watched(argument: &Expr) -> Result<Name, Failure> {
    column(argument, None).ok_or_else(|| {
        Failure::new(Fault::InvalidArgument, "expected a field path", argument.span)
            .hint("write it as .price")
    })
}

/// Shows of rows what the projection says.
pub(super) fn show(of: Meaning, shown: Shown, span: Span) -> Result<Meaning, Failure> {
    let mut of = of;
    let before = match &mut of {
        Meaning::Rows { rows, .. } | Meaning::Row(rows) => &mut rows.shown,
        Meaning::EventSource(source) => &mut source.rows.shown,
        other => {
            return Err(unsupported(&format!("A projection of {}", other.kind()), span));
        }
    };
    if *before != Shown::Document {
        return Err(unsupported("A projection of a projection", span));
    }
    *before = shown;
    Ok(of)
}

fn fields_of(fields: &[(Name, Expr)], row: Option<&str>) -> Result<Shown, Failure> {
    let fields = fields.iter().map(|(name, value)| {
        let column = column(value, row).ok_or_else(|| computed(value))?;
        Ok((name.text.clone(), column))
    });
    Ok(Shown::Object(fields.collect::<Result<_, _>>()?))
}

/// The parameter of a function of one row and its body. Without a parameter a leading dot is the row.
pub(super) fn row_and_body(argument: &Expr) -> Result<(Option<&str>, &Expr), Failure> {
    let Kind::Lambda { parameters, body } = &argument.kind else { return Ok((None, argument)) };
    match parameters.as_slice() {
        [one] => Ok((Some(&one.text), unblocked(body))),
        _ => Err(Failure::syntax("Expected a function of one argument", argument.span)),
    }
}

/// `{ expression }`, without definitions, is the expression.
fn unblocked(body: &Expr) -> &Expr {
    match &body.kind {
        Kind::Block(block) if block.lets.is_empty() => &block.result,
        _ => body,
    }
}

/// Whether the expression is the row.
pub(super) fn is_row(expr: &Expr, row: Option<&str>) -> bool {
    match (&expr.kind, row) {
        (Kind::This, None) => true,
        (Kind::Name(name), Some(row)) => name == row,
        _ => false,
    }
}

/// The field of the row that the expression is.
pub(super) fn column(expr: &Expr, row: Option<&str>) -> Option<Name> {
    match &expr.kind {
        Kind::Field { of, name, .. } if is_row(of, row) => Some(name.clone()),
        Kind::Access { of, arguments } if is_row(of, row) => match arguments.as_slice() {
            [Expr { kind: Kind::Text(text), span, .. }] => {
                Some(Name { text: text.clone(), span: *span })
            }
            _ => None,
        },
        _ => None,
    }
}

fn computed(expr: &Expr) -> Failure {
    unsupported("A computed field", expr.span).hint("a projection shows fields of the document")
}

//! Methods: of collections, of the module `Set`, of sets, and of event sources.

use event_source_model::event::LARGEST_PAGE;
use event_source_model::query::{
    Binary, Constant, EventSource, Failure, Fault, Name, Of, Rows, Shown, Span, Test,
};

use super::meaning::Meaning;
use super::shown::{mapped, show, watched};
use super::{Scope, unsupported, wrong_count};
use crate::ast::{Expr, Kind};

impl<'a> Scope<'a> {
    /// `of.method(...)`; of other functions only `abort`.
    pub(super) fn call(
        &self,
        function: &'a Expr,
        arguments: &'a [Expr],
        span: Span,
    ) -> Result<Meaning, Failure> {
        if let (Kind::Name(name), [value]) = (&function.kind, arguments)
            && name == "abort"
        {
            let abort = self.meaning(value)?.constant();
            let abort = abort.ok_or_else(|| unsupported("Aborting with this", value.span))?;
            let failure = Failure::new(Fault::Abort, "Query aborted.", span);
            return Err(Failure { abort: Some(abort), ..failure });
        }
        let Kind::Field { of, name, .. } = &function.kind else {
            return Err(unsupported("Calling this", function.span));
        };
        let call = Call { name, arguments, span };
        match self.meaning_of(of, span)? {
            Meaning::Collection(collection) => self.of_collection(collection, call),
            Meaning::SetModule => self.of_module(call),
            Meaning::Rows { rows, size } => self.of_rows(rows, size, call),
            Meaning::EventSource(source) => self.of_source(source, call),
            Meaning::Row(_) if call.makes_source() => {
                let message = format!("can't call `.{}()` because it is a document", name.text);
                Err(Failure::new(Fault::InvalidReceiver, message, span)
                    .hint("Set.single(document) is the set of it"))
            }
            other => {
                Err(unsupported(&format!("`.{}()` of {}", name.text, other.kind()), name.span))
            }
        }
    }

    fn of_collection(&self, collection: Name, call: Call<'a>) -> Result<Meaning, Failure> {
        let rows = |of| Rows { collection, of, filter: None, shown: Shown::Document };
        Ok(match call.name.text.as_str() {
            "all" => {
                call.none()?;
                Meaning::Rows { rows: rows(Of::All), size: None }
            }
            "where" | "firstWhere" => self.of_rows(rows(Of::All), None, call)?,
            "byId" => {
                let argument = call.one()?;
                let key = self.constant(argument)?;
                Meaning::Row(rows(Of::Key { key, span: argument.span }))
            }
            _ => {
                let terms = call.arguments.iter().map(|term| match self.constant(term)? {
                    Constant::Object(_) | Constant::Array(_) => {
                        Err(unsupported("A range or an object as a term of an index", term.span))
                    }
                    constant => Ok(constant),
                });
                let terms = terms.collect::<Result<_, _>>()?;
                let of = Of::Index { index: call.name.clone(), terms };
                Meaning::Rows { rows: rows(of), size: None }
            }
        })
    }

    fn of_module(&self, call: Call<'a>) -> Result<Meaning, Failure> {
        match (call.name.text.as_str(), call.arguments) {
            ("single", [argument]) => match self.meaning(argument)? {
                Meaning::Row(rows) => Ok(Meaning::Rows { rows, size: None }),
                other => {
                    let message = format!("Set.single() of {} is not supported", other.kind());
                    Err(Failure::new(Fault::InvalidArgument, message, argument.span)
                        .hint("give a document, as from byId() or first()"))
                }
            },
            ("paginate", [cursor, size @ ..]) if size.len() < 2 => {
                let Constant::Text(text) = self.constant(cursor)? else {
                    return Err(Failure::syntax("Expected a cursor", cursor.span));
                };
                let size = size.first().map(|size| self.page_size(size)).transpose()?;
                Ok(Meaning::Next { cursor: text, size })
            }
            (name, _) => Err(unsupported(&format!("`Set.{name}()`"), call.name.span)),
        }
    }

    fn of_rows(
        &self,
        mut rows: Rows,
        size: Option<u32>,
        call: Call<'a>,
    ) -> Result<Meaning, Failure> {
        Ok(match call.name.text.as_str() {
            "where" => {
                let test = self.predicate(call.one()?)?;
                narrow(&mut rows, test, call.span)?;
                Meaning::Rows { rows, size }
            }
            "firstWhere" => {
                let test = self.predicate(call.one()?)?;
                narrow(&mut rows, test, call.span)?;
                Meaning::Row(first(rows, call.span))
            }
            "first" => {
                call.none()?;
                Meaning::Row(first(rows, call.span))
            }
            "map" => {
                let shown = mapped(call.one()?)?;
                show(Meaning::Rows { rows, size }, shown, call.span)?
            }
            "pageSize" => {
                let size = self.page_size(call.one()?)?;
                Meaning::Rows { rows, size: Some(size) }
            }
            "eventSource" | "toStream" => {
                call.none()?;
                Meaning::EventSource(EventSource::of(rows, call.span))
            }
            "eventsOn" | "changesOn" => {
                if rows.filter.is_some() || rows.shown != Shown::Document {
                    let message = format!(
                        "can't call `.{}()` because it must be called on the source set",
                        call.name.text
                    );
                    return Err(Failure::new(Fault::InvalidReceiver, message, call.span)
                        .hint("call it first, and .where() and .map() on what it gives"));
                }
                let fields = call.arguments.iter().map(watched);
                let fields: Vec<Name> = fields.collect::<Result<_, _>>()?;
                let watch = (!fields.is_empty()).then_some(fields);
                Meaning::EventSource(EventSource { watch, ..EventSource::of(rows, call.span) })
            }
            name => return Err(unsupported(&format!("`.{name}()` of a set"), call.name.span)),
        })
    }

    fn of_source(&self, mut source: EventSource, call: Call<'a>) -> Result<Meaning, Failure> {
        match call.name.text.as_str() {
            "where" => {
                let test = self.predicate(call.one()?)?;
                narrow(&mut source.rows, test, call.span)?;
                Ok(Meaning::EventSource(source))
            }
            "map" => {
                let shown = mapped(call.one()?)?;
                show(Meaning::EventSource(source), shown, call.span)
            }
            name => Err(unsupported(&format!("`.{name}()` of an event source"), call.name.span)),
        }
    }

    fn page_size(&self, argument: &'a Expr) -> Result<u32, Failure> {
        let size = match self.constant(argument)? {
            Constant::Number(digits) => digits.parse().ok(),
            _ => None,
        };
        size.filter(|size| (1..=LARGEST_PAGE).contains(size)).ok_or_else(|| {
            let message = format!("expected a size from 1 to {LARGEST_PAGE}");
            Failure::new(Fault::InvalidArgument, message, argument.span)
        })
    }
}

/// A method with its arguments.
#[derive(Clone, Copy)]
struct Call<'a> {
    name: &'a Name,
    arguments: &'a [Expr],
    span: Span,
}

impl<'a> Call<'a> {
    fn makes_source(self) -> bool {
        matches!(self.name.text.as_str(), "eventSource" | "toStream" | "eventsOn" | "changesOn")
    }

    fn none(self) -> Result<(), Failure> {
        if self.arguments.is_empty() { Ok(()) } else { Err(self.wrong_count(0)) }
    }

    fn one(self) -> Result<&'a Expr, Failure> {
        match self.arguments {
            [one] => Ok(one),
            _ => Err(self.wrong_count(1)),
        }
    }

    fn wrong_count(self, wanted: usize) -> Failure {
        wrong_count(wanted, self.arguments.len(), self.span)
    }
}

/// The first of the rows, as one of them.
fn first(rows: Rows, span: Span) -> Rows {
    let of = Of::First { of: Box::new(rows.of), filter: rows.filter, span };
    Rows { of, filter: None, ..rows }
}

fn narrow(rows: &mut Rows, test: Test, span: Span) -> Result<(), Failure> {
    if rows.shown != Shown::Document {
        return Err(unsupported("`.where()` behind a projection", span)
            .hint("call .where() first, and .map() on what it gives"));
    }
    rows.filter = Some(match rows.filter.take() {
        None => test,
        Some(before) => Test::Binary(Binary::And, Box::new(before), Box::new(test)),
    });
    Ok(())
}

//! What a parsed query means.
//!
//! Each expression has a [`Meaning`]: a constant, rows, a row, an event source, or an
//! object of those. What no row and no event source can be made of is refused where it stands.
//! Whether a name means something in the database is for the worker to find out.

mod meaning;
mod method;
mod predicate;
mod shown;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use event_source_model::bounds::Scales;
use event_source_model::query::{Ask, Constant, Failure, Fault, Name, Span};

use crate::ast::Block;
use crate::template::Template;
use meaning::Meaning;

/// Rows of a page when the query does not say.
const PAGE_SIZE: u32 = 16;

/// The names that a query may use beside collections.
pub type Arguments = HashMap<String, Constant>;

/// What a query asks for.
///
/// # Errors
/// The first place that has no meaning here.
pub fn check(block: &Block, template: &Template, arguments: &Arguments) -> Result<Ask, Failure> {
    let copied = RefCell::default();
    let scope = Scope { template, arguments, lets: Vec::new(), copied: &copied };
    ask(scope.block(block)?, block.result.span)
}

/// What names mean at some place of the query.
#[derive(Clone, Debug)]
struct Scope<'a> {
    template: &'a Template,
    arguments: &'a Arguments,
    /// The innermost last.
    lets: Vec<(&'a str, Rc<Meaning>)>,
    /// Weighs the meaning of a name each time that it is used: a name is short, and its meaning may be long.
    copied: &'a RefCell<Scales>,
}

/// The rest of a query that is understood so far.
fn ask(meaning: Meaning, span: Span) -> Result<Ask, Failure> {
    Ok(match meaning {
        Meaning::Constant(constant) => Ask::Constant(constant),
        Meaning::Rows { rows, size } => Ask::Page { rows, size: size.unwrap_or(PAGE_SIZE) },
        Meaning::Next { cursor, size } => Ask::Next { cursor, size, span },
        Meaning::Row(rows) => Ask::Row(rows),
        Meaning::EventSource(source) => Ask::EventSource(source),
        Meaning::Array(items) => {
            Ask::Array(items.into_iter().map(|item| ask(item, span)).collect::<Result<_, _>>()?)
        }
        Meaning::Object(fields) => {
            let fields = fields.into_iter().map(|(name, field)| Ok((name, ask(field, span)?)));
            Ask::Object(fields.collect::<Result<_, _>>()?)
        }
        Meaning::Collection(Name { text, span }) => {
            return Err(Failure::syntax("A collection is not a value", span)
                .hint(format!("{text}.all() is the set of its documents")));
        }
        Meaning::SetModule => return Err(Failure::syntax("A module is not a value", span)),
    })
}

/// For what FQL has and this part of it has not.
fn unsupported(what: &str, span: Span) -> Failure {
    Failure::syntax(format!("{what} is not supported"), span)
}

fn wrong_count(wanted: usize, given: usize, span: Span) -> Failure {
    let message =
        format!("callee function expects exactly {wanted} arguments, but {given} were provided");
    Failure::new(Fault::InvalidFunctionInvocation, message, span)
}

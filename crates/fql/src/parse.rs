//! The grammar.
//!
//! That of FQL v10, without what no event source is made of: conditionals, `match`, `at`, types,
//! interpolated strings, bit operators. Guarantees to end, and to hold little: levels and parts are
//! counted, and what is deeper or wider than a tree may be is refused before it is read.

use chumsky::extra::Full;
use chumsky::inspector::RollbackState;
use chumsky::prelude::*;
use event_source_model::bounds;
use event_source_model::query::{Binary, Failure, Name, Span};

use crate::ast::{Block, DEEPEST, Expr, Kind, Unary, symbol};
use crate::template::PLACE;
use crate::token::{WHITE, blank, field_name, keyword, name, number, separator, space, string};

/// How far a text has been read. What is read in vain, to look ahead, does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Levels that are open.
    level: u8,
    /// Values, names and whatever else operators and calls are made of.
    parts: usize,
}

pub(crate) type Extra<'s> = Full<Rich<'s, char>, RollbackState<Progress>, ()>;

/// Parts of a query: one that has more would be too heavy for the worker.
const MOST_PARTS: usize = bounds::MOST / bounds::PART;

/// Operators from the loosest to the tightest; all are taken from left to right.
const LEVELS: [&[Binary]; 7] = [
    &[Binary::Otherwise],
    &[Binary::Or],
    &[Binary::And],
    &[Binary::Equal, Binary::Unequal],
    // The longer ones first: "<" is how "<=" begins.
    &[Binary::GreaterOrEqual, Binary::LessOrEqual, Binary::Greater, Binary::Less],
    &[Binary::Add, Binary::Subtract],
    &[Binary::Multiply, Binary::Divide, Binary::Modulo],
];

/// Stack for all levels, also without optimization: a thread of the server has less.
const STACK: usize = DEEPEST as usize * 128 * 1024;

/// What follows an operand.
#[derive(Clone)]
enum Suffix {
    Field { name: Name, optional: bool },
    Call(Vec<Expr>),
    Access(Vec<Expr>),
    Assert,
}

impl Suffix {
    fn behind(self, of: Expr) -> Kind {
        let of = Box::new(of);
        match self {
            Self::Field { name, optional } => Kind::Field { of, name, optional },
            Self::Call(arguments) => Kind::Call { function: of, arguments },
            Self::Access(arguments) => Kind::Access { of, arguments },
            Self::Assert => Kind::Assert(of),
        }
    }
}

/// What a field is of that has nothing before it.
fn this_before(at: Span) -> Expr {
    Expr::new(Kind::This, Span { start: at.start, end: at.start })
}

/// Reads a query.
///
/// # Errors
/// The first place that is not FQL, or not of the part that is supported.
pub fn parse(text: &str) -> Result<Block, Failure> {
    let parsed = stacker::maybe_grow(STACK, STACK, || {
        query().parse_with_state(text, &mut RollbackState(Progress::default())).into_result()
    });
    let block = parsed.map_err(|errors| {
        let first = errors.into_iter().next().expect("a parser that fails says why");
        Failure::syntax(message(&first), span(*first.span()))
    })?;
    Ok(block)
}

pub(crate) fn span(span: SimpleSpan) -> Span {
    // A request's body is much smaller than 4 GB.
    Span { start: span.start as u32, end: span.end as u32 }
}

fn message(error: &Rich<'_, char>) -> String {
    use chumsky::error::{RichPattern, RichReason};
    let (expected, found) = match error.reason() {
        RichReason::Custom(message) => return message.clone(),
        RichReason::ExpectedFound { expected, found } => (expected, found),
    };
    let found = match found.as_deref() {
        Some('\0') => "a value".to_owned(),
        Some(c) => format!("`{c}`"),
        None => "end of query".to_owned(),
    };
    let mut wanted: Vec<String> = expected
        .iter()
        .filter_map(|pattern| match pattern {
            RichPattern::Label(label) if label == WHITE => None,
            RichPattern::Label(label) => Some(label.to_string()),
            RichPattern::Token(c) if !c.is_whitespace() => Some(format!("`{}`", **c)),
            RichPattern::EndOfInput => Some("end of query".to_owned()),
            _ => None,
        })
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    match wanted.as_slice() {
        [] => format!("Unexpected {found}"),
        [one] => format!("Unexpected {found}. Expected {one}"),
        [most @ .., last] => {
            format!("Unexpected {found}. Expected {} or {last}", most.join(", "))
        }
    }
}

fn query<'s>() -> impl Parser<'s, &'s str, Block, Extra<'s>> {
    space().ignore_then(block(expression())).then_ignore(space()).then_ignore(end())
}

/// Statements, of which the last is an expression.
fn block<'s>(
    expression: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone,
) -> impl Parser<'s, &'s str, Block, Extra<'s>> + Clone {
    let definition = keyword("let")
        .ignore_then(space())
        .ignore_then(name())
        .then_ignore(space().then(just('=')).then(space()))
        .then(expression.clone())
        .then_ignore(separator());
    definition
        .repeated()
        .collect()
        .then(expression)
        .then_ignore(separator().or_not())
        .map(|(lets, result)| Block { lets, result: Box::new(result) })
}

fn expression<'s>() -> impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone {
    recursive(|inner| {
        let operators = LEVELS.iter().rev().fold(operand(inner.clone()).boxed(), binary);
        let projected = operators.foldl_with(
            projection(inner.clone()).then_ignore(blank()).or_not(),
            |of, fields, e| Expr::new(Kind::Project { of: Box::new(of), fields }, span(e.span())),
        );
        let expression = lambda(inner).or(projected).boxed();
        let enter = empty().try_map_with(|(), e| {
            let progress: &mut RollbackState<Progress> = e.state();
            if progress.0.level == DEEPEST {
                return Err(Rich::custom(e.span(), "The query is nested too deeply"));
            }
            progress.0.level += 1;
            Ok(())
        });
        // May not fail, but is done in every mode of the parser: what gives nothing is left out where only a
        // look ahead is wanted, and the level would stay.
        let leave = empty().try_map_with(|(), e| {
            let progress: &mut RollbackState<Progress> = e.state();
            progress.0.level -= 1;
            Ok(())
        });
        enter.ignore_then(expression).then_ignore(leave)
    })
}

/// `x => ...`, `(x, y) => ...`
fn lambda<'s>(
    inner: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone + 's,
) -> impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone {
    let several = name()
        .padded_by(space())
        .separated_by(just(','))
        .collect()
        .delimited_by(just('('), just(')'));
    let parameters = name().map(|one| vec![one]).or(several);
    let arrow = blank().then(just("=>")).then(space());
    parameters.then_ignore(arrow).then(inner).map_with(|(parameters, body), e| {
        Expr::new(Kind::Lambda { parameters, body: Box::new(body) }, span(e.span()))
    })
}

/// An operand with its signs and all that follows it.
fn operand<'s>(
    inner: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone + 's,
) -> impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone {
    let signs = just('!')
        .to(Unary::Not)
        .or(just('-').to(Unary::Minus))
        .map_with(|sign, e| (sign, span(e.span())))
        .then_ignore(blank());
    let operand = atom(inner.clone())
        .then_ignore(blank())
        .foldl_with(suffix(inner).then_ignore(blank()).repeated(), |of, suffix, e| {
            Expr::new(suffix.behind(of), trimmed(e.slice(), e.span()))
        });
    signs.repeated().foldr(operand, |(sign, at): (Unary, Span), of| {
        let span = Span { start: at.start, end: of.span.end };
        Expr::new(Kind::Unary(sign, Box::new(of)), span)
    })
}

/// Without the blanks at its end.
fn trimmed(text: &str, at: SimpleSpan) -> Span {
    let end = at.start + text.trim_end_matches([' ', '\t']).len();
    Span { start: at.start as u32, end: end as u32 }
}

fn atom<'s>(
    inner: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone + 's,
) -> impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone {
    let list = |open, close| list(inner.clone(), open, close);
    let this = just('.').ignore_then(
        field_name()
            .map(|name| Suffix::Field { name, optional: false })
            .or(list('[', ']').map(Suffix::Access)),
    );
    let this = this.map_with(|suffix, e| suffix.behind(this_before(span(e.span()))));
    let word = name().map(|name| Kind::Name(name.text));
    let tuple = list('(', ')').map(|mut items| match items.len() {
        // Parentheses around one expression are only there to read.
        1 => items.remove(0).kind,
        _ => Kind::Tuple(items),
    });
    let kind = choice((
        just(PLACE).to(Kind::Value),
        keyword("null").to(Kind::Null),
        keyword("true").to(Kind::Bool(true)),
        keyword("false").to(Kind::Bool(false)),
        number().map(Kind::Number),
        string().map(Kind::Text),
        list('[', ']').map(Kind::Array),
        braces(inner.clone()),
        tuple,
        this,
        word,
    ));
    let count = empty().try_map_with(|(), e| {
        let progress: &mut RollbackState<Progress> = e.state();
        progress.0.parts += 1;
        if progress.0.parts > MOST_PARTS {
            return Err(Rich::custom(e.span(), "The query has too many parts"));
        }
        Ok(())
    });
    let atom = kind.map_with(|kind, e| Expr::new(kind, span(e.span())));
    count.ignore_then(atom.labelled("an expression"))
}

/// Expressions between commas.
fn list<'s>(
    inner: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone + 's,
    open: char,
    close: char,
) -> impl Parser<'s, &'s str, Vec<Expr>, Extra<'s>> + Clone {
    let items = inner.padded_by(space()).separated_by(just(',')).allow_trailing().collect();
    items.then_ignore(space()).delimited_by(just(open), just(close))
}

/// An object or, when it is none, a block.
fn braces<'s>(
    inner: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone + 's,
) -> impl Parser<'s, &'s str, Kind, Extra<'s>> + Clone {
    let key = field_name()
        .or(string().map_with(|text, e| Name { text, span: span(e.span()) }))
        .padded_by(space());
    let field = key.then_ignore(just(':')).then(inner.clone().padded_by(space()));
    let object = field.separated_by(just(',')).allow_trailing().collect().map(Kind::Object);
    let block = space().ignore_then(block(inner)).map(Kind::Block);
    let inside = object.then_ignore(space()).then_ignore(just('}'));
    just('{').ignore_then(inside.or(block.then_ignore(space()).then_ignore(just('}'))))
}

fn suffix<'s>(
    inner: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone + 's,
) -> impl Parser<'s, &'s str, Suffix, Extra<'s>> + Clone {
    let list = |open, close| list(inner.clone(), open, close);
    let dot = just("?.").to(true).or(just('.').to(false)).then_ignore(space());
    let field = space()
        .ignore_then(dot)
        .then(field_name())
        .map(|(optional, name)| Suffix::Field { name, optional });
    let assert = just('!').then_ignore(one_of("=~").not()).to(Suffix::Assert);
    choice((field, list('(', ')').map(Suffix::Call), list('[', ']').map(Suffix::Access), assert))
}

/// `{ name, other: .name, deep { field } }` behind an expression, on its line.
fn projection<'s>(
    inner: impl Parser<'s, &'s str, Expr, Extra<'s>> + Clone + 's,
) -> impl Parser<'s, &'s str, Vec<(Name, Expr)>, Extra<'s>> + Clone {
    let value = just(':').ignore_then(inner.padded_by(space()));
    let field = name().padded_by(space()).then(value.or_not());
    let field = field.map(|(name, value)| {
        let value = value.unwrap_or_else(|| {
            let field = Suffix::Field { name: name.clone(), optional: false };
            Expr::new(field.behind(this_before(name.span)), name.span)
        });
        (name, value)
    });
    field
        .separated_by(just(','))
        .at_least(1)
        .allow_trailing()
        .collect()
        .then_ignore(space())
        .delimited_by(just('{'), just('}'))
}

/// One level of operators above the tighter ones.
fn binary<'s>(
    tighter: Boxed<'s, 's, &'s str, Expr, Extra<'s>>,
    operators: &&'static [Binary],
) -> Boxed<'s, 's, &'s str, Expr, Extra<'s>> {
    let operator = choice(
        operators.iter().map(|operator| just(symbol(*operator)).to(*operator)).collect::<Vec<_>>(),
    );
    // Those that cannot begin an expression may begin a line.
    let may_begin = matches!(operators[0], Binary::Otherwise | Binary::Or | Binary::And);
    let before = if may_begin { space().boxed() } else { blank().boxed() };
    let operator = before.ignore_then(operator).then_ignore(space());
    if let [associative] = operators {
        // As many as there are: a long row of alternatives is wide, and not deep.
        let others = operator.ignore_then(tighter.clone()).repeated().collect::<Vec<_>>();
        return tighter
            .then(others)
            .map(|(first, others)| joined(*associative, first, others))
            .boxed();
    }
    tighter
        .clone()
        .foldl_with(operator.then(tighter).repeated(), |left, (operator, right), e| {
            let at = trimmed(e.slice(), e.span());
            Expr::new(Kind::Binary(operator, Box::new(left), Box::new(right)), at)
        })
        .boxed()
}

/// One operator between operands, as a tree that is no deeper than it must be.
fn joined(operator: Binary, first: Expr, mut others: Vec<Expr>) -> Expr {
    if others.is_empty() {
        return first;
    }
    // The left side has as many operands as the right one, or one more.
    let mut right = others.split_off(others.len() / 2).into_iter();
    let left = joined(operator, first, others);
    let next = right.next().expect("the larger half is not empty");
    let right = joined(operator, next, right.collect());
    let span = Span { start: left.span.start, end: right.span.end };
    Expr::new(Kind::Binary(operator, Box::new(left), Box::new(right)), span)
}

//! Names, numbers, strings and white space.
//!
//! White space at the end of a line means something: a call's parenthesis stands on the line of what is
//! called, a binary `-` too, and the end of a line ends a statement. So [`blank`] stays on its line
//! and [`space`] does not.

use chumsky::prelude::*;
use event_source_model::query::Name;

use crate::parse::{Extra, span};

/// Words that are never a variable's name.
const KEYWORDS: [&str; 13] = [
    "if", "else", "at", "match", "case", "let", "null", "true", "false", "isa", "join", "on", "of",
];

/// What may stand nearly everywhere; no error says that it was expected.
pub(crate) const WHITE: &str = "white space";

/// Blanks, tabs and comments that end on their line or begin with `/*`.
pub(crate) fn blank<'s>() -> impl Parser<'s, &'s str, (), Extra<'s>> + Clone {
    let blanks = one_of(" \t").repeated().at_least(1);
    blanks.or(block_comment()).labelled(WHITE).repeated()
}

/// White space and comments of all kinds.
pub(crate) fn space<'s>() -> impl Parser<'s, &'s str, (), Extra<'s>> + Clone {
    let white = one_of(" \t\r\n").repeated().at_least(1);
    white.or(block_comment()).or(line_comment()).labelled(WHITE).repeated()
}

/// What stands between two statements.
pub(crate) fn separator<'s>() -> impl Parser<'s, &'s str, (), Extra<'s>> + Clone {
    let ends = one_of(";\r\n").ignored().or(line_comment());
    blank()
        .ignore_then(ends)
        .then_ignore(space())
        .then_ignore(just(';').or_not())
        .then_ignore(space())
}

fn line_comment<'s>() -> impl Parser<'s, &'s str, (), Extra<'s>> + Clone {
    just("//").ignore_then(none_of('\n').repeated())
}

/// Fauna's nest; a comment that does not end is an error at its end.
fn block_comment<'s>() -> impl Parser<'s, &'s str, (), Extra<'s>> + Clone {
    just("/*").ignore_then(any().and_is(just("*/").not()).repeated()).then_ignore(just("*/"))
}

fn word<'s>() -> impl Parser<'s, &'s str, &'s str, Extra<'s>> + Clone {
    let first = any().filter(|c: &char| c.is_ascii_alphabetic() || *c == '_');
    let rest = any().filter(|c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '\''));
    first.then(rest.repeated()).to_slice()
}

/// A field's name, which may be any word.
pub(crate) fn field_name<'s>() -> impl Parser<'s, &'s str, Name, Extra<'s>> + Clone {
    word()
        .map_with(|text: &str, e| Name { text: text.to_owned(), span: span(e.span()) })
        .labelled("a name")
}

/// A variable's or a collection's name.
pub(crate) fn name<'s>() -> impl Parser<'s, &'s str, Name, Extra<'s>> + Clone {
    field_name().filter(|name| !KEYWORDS.contains(&&*name.text)).labelled("a name")
}

pub(crate) fn keyword<'s>(text: &'static str) -> impl Parser<'s, &'s str, (), Extra<'s>> + Clone {
    word().filter(move |word| *word == text).ignored()
}

/// Digits without their underscores, from any radix.
pub(crate) fn number<'s>() -> impl Parser<'s, &'s str, String, Extra<'s>> + Clone {
    let digit = any().filter(char::is_ascii_digit);
    let digits = any().filter(|c: &char| c.is_ascii_digit() || *c == '_').repeated();
    let exponent = one_of("eE").then(one_of("+-").or_not()).then(digit).then(digits);
    let fraction = just('.').then(digit).then(digits);
    let decimal = digit
        .then(digits)
        .then(fraction.or_not())
        .then(exponent.or_not())
        .to_slice()
        .map(|text: &str| text.replace('_', ""));
    let radix = |letters: &'static str, radix: u32| {
        let digits = any().filter(move |c: &char| c.is_digit(radix) || *c == '_').repeated();
        just('0').then(one_of(letters)).ignore_then(digits.at_least(1).to_slice()).try_map(
            move |text: &str, at| {
                u128::from_str_radix(&text.replace('_', ""), radix)
                    .map(|number| number.to_string())
                    .map_err(|_| Rich::custom(at, "Invalid number"))
            },
        )
    };
    choice((radix("xX", 16), radix("oO", 8), radix("bB", 2), decimal)).labelled("a number")
}

/// A string in single or double quotes.
pub(crate) fn string<'s>() -> impl Parser<'s, &'s str, String, Extra<'s>> + Clone {
    quoted('\'').or(quoted('"')).labelled("a string")
}

fn quoted<'s>(quote: char) -> impl Parser<'s, &'s str, String, Extra<'s>> + Clone {
    // In double quotes #{...} would be an expression.
    let interpolated = just("#{").try_map(|_, at| {
        Err::<char, _>(Rich::custom(at, "Interpolated strings are not supported"))
    });
    let lone = just("#{").not().ignore_then(just('#'));
    let lone = if quote == '"' { interpolated.or(lone).boxed() } else { just('#').boxed() };
    let plain = any().filter(move |c: &char| *c != quote && !matches!(c, '\\' | '#' | '\0'));
    let part = plain.or(lone).or(escape());
    just(quote).ignore_then(part.repeated().collect()).then_ignore(just(quote))
}

fn escape<'s>() -> impl Parser<'s, &'s str, char, Extra<'s>> + Clone {
    let simple = select! {
        '\\' => '\\', '0' => '\0', '\'' => '\'', '"' => '"', '`' => '`', '#' => '#',
        'n' => '\n', 'r' => '\r', 't' => '\t', 'v' => '\u{b}', 'b' => '\u{8}', 'f' => '\u{c}',
    };
    let hex = any().filter(char::is_ascii_hexdigit);
    let two = just('x').ignore_then(hex.repeated().exactly(2).to_slice());
    let four = just('u').ignore_then(hex.repeated().exactly(4).to_slice());
    let braced = hex.repeated().at_least(1).at_most(6).to_slice();
    let braced = just("u{").ignore_then(braced).then_ignore(just('}'));
    let code = two.or(braced).or(four).validate(|digits, e, errors| {
        let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        code.unwrap_or_else(|| {
            errors.emit(Rich::custom(e.span(), "Invalid escape: not a Unicode character"));
            char::REPLACEMENT_CHARACTER
        })
    });
    just('\\').ignore_then(simple.or(code).labelled("an escape"))
}

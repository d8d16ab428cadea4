//! Any text at all, any tree at all: nothing panics, and no SQL comes out that this crate did not write.
//!
//! `FUZZ_SECONDS` is how long; a moment by default, ten minutes with `make fuzz`. A failure prints the query.

#![allow(clippy::print_stdout, reason = "how much was tried is what one wants to know")]

use std::time::{Duration, Instant};

use event_source_filter::Filter;
use event_source_fql::check::{Arguments, check};
use event_source_fql::parse::parse;
use event_source_fql::template::Template;
use event_source_model::query::{
    Ask, Binary, Constant, EventSource, Function, Name, Of, Rows, Span, Test,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

/// Every word that a filter may have beside names in quotes.
const WORDS: [&str; 30] = [
    "not",
    "and",
    "or",
    "is",
    "null",
    "true",
    "false",
    "in",
    "coalesce",
    "operator",
    "pg_catalog",
    "starts_with",
    "right",
    "length",
    "strpos",
    "lower",
    "upper",
    "replace",
    "text",
    "_text",
    "int8",
    "numeric",
    "float8",
    "timestamptz",
    "date",
    "bytea",
    "uuid",
    "varchar",
    "bool",
    "distinct",
];

/// Fails unless each token of the filter is one that the writer writes.
fn only_ours(filter: &Filter, columns: &[String]) {
    let text = &filter.text;
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize();
    let tokens = tokens.unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut depth = 0_i32;
    for token in tokens {
        match &token {
            Token::Word(word) if word.quote_style == Some('"') => {
                assert!(columns.contains(&word.value), "{}: {text}", word.value);
            }
            Token::Word(word) => {
                assert!(word.quote_style.is_none(), "{text}");
                assert!(WORDS.contains(&word.value.as_str()), "{}: {text}", word.value);
            }
            Token::Placeholder(number) => {
                let number: usize = number[1..].parse().expect("a number");
                assert!((1..=filter.values.len()).contains(&number), "{text}");
            }
            // The comparison with what strpos answers.
            Token::Number(number, _) => assert_eq!(number, "0", "{text}"),
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Whitespace(sqlparser::tokenizer::Whitespace::Space)
            | Token::Comma
            | Token::DoubleColon
            | Token::Period
            | Token::Eq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::Tilde
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::HashArrow
            | Token::HashLongArrow
            | Token::StringConcat => {}
            other => panic!("{other:?}: {text}"),
        }
        assert!(depth >= 0, "{text}");
    }
    assert_eq!(depth, 0, "{text}");
}

fn written(test: &Test) {
    let mut columns = Vec::new();
    let filter = Filter::of(test, |name| {
        columns.push(name.text.clone());
        Ok(name.text.clone())
    });
    if let Ok(filter) = filter {
        only_ours(&filter, &columns);
    }
}

fn all_tests(ask: &Ask) {
    match ask {
        Ask::Array(items) => items.iter().for_each(all_tests),
        Ask::Object(fields) => fields.iter().for_each(|(_, field)| all_tests(field)),
        Ask::Page { rows, .. } | Ask::Sorted { rows, .. } => of_rows(rows),
        Ask::Row(rows) | Ask::Version { rows, .. } => of_rows(rows),
        Ask::EventSource(EventSource { rows, .. }) => of_rows(rows),
        Ask::Constant(_) | Ask::Next { .. } | Ask::Plural(_) => {}
    }
}

fn of_rows(rows: &Rows) {
    rows.filter.iter().for_each(written);
    let mut of = &rows.of;
    while let Of::First { of: inner, filter, .. } = of {
        filter.iter().for_each(written);
        of = inner;
    }
}

const PIECES: [&str; 62] = [
    "Product",
    "Set",
    "x",
    "p",
    ".all()",
    ".where(",
    ".map(",
    ".byName(",
    ".byId(",
    ".first()",
    ".firstWhere(",
    ".pageSize(",
    ".eventSource()",
    ".eventsOn(",
    ".single(",
    ".startsWith(",
    ".endsWith(",
    ".includes(",
    ".includesRegex(",
    ".toLowerCase()",
    ".length",
    ".concat(",
    ".replaceAll(",
    ".price",
    ".name",
    ".[\"a\\\"b; --\"]",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    " ",
    "\n",
    ";",
    "=>",
    "let a = ",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    "??",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "1",
    "2.5e3",
    "'it''s'",
    "\"x\\\"\"",
    "null",
    "true",
    "\0value>",
    "/*",
    "//",
    "é",
];

fn fuzz(runner: &mut TestRunner) -> bool {
    let valid = proptest::sample::select(vec![
        "Product.where(.price > 10 && !(.name == 'a' || ['x', null].includes(.kind))).eventSource()",
        "Product.all().where(p => p.name.startsWith('a') == true).map(.name)",
        "Set.single(Product.firstWhere((.a ?? 0) + 1 < -.b)).eventsOn(.a)",
        "{ a: Product.byName('x').where(.[\"\\\"; DROP\"] != null), b: Product.byId(1).name }",
    ]);
    let noise = proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..12);
    let cut = (valid, 0.0_f64..1.0, 0.0_f64..1.0, noise);
    let Ok(tree) = cut.new_tree(runner) else { return false };
    let (text, from, to, noise) = tree.current();
    let place = |part: f64| {
        let mut at = (part * text.len() as f64) as usize;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (from, to) = (place(from.min(to)), place(from.max(to)));
    let query = format!("{}{}{}", &text[..from], noise.concat(), &text[to..]);
    let Ok(block) = parse(&query) else { return false };
    let template = Template::from_json(json!("")).expect("an empty text");
    match check(&block, &template, &Arguments::new()) {
        Ok(ask) => all_tests(&ask),
        Err(failure) => assert!(failure.span.end as usize <= query.len(), "{query}"),
    }
    true
}

#[test]
fn no_query_makes_a_panic_or_a_word_of_sql() {
    let seconds = std::env::var("FUZZ_SECONDS").map_or(1, |n| n.parse().expect("a number"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let (mut tried, mut read) = (0_u64, 0_u64);
    while Instant::now() < end {
        tried += 1;
        read += u64::from(fuzz(&mut runner));
    }
    println!("{tried} queries, {read} of them FQL");
    assert!(read > tried / 50, "{read} of {tried} were read");
}

fn constant() -> impl Strategy<Value = Constant> {
    let nasty = prop_oneof![Just("'; DROP TABLE t; --".to_owned()), any::<String>()];
    prop_oneof![
        Just(Constant::Null),
        any::<bool>().prop_map(Constant::Bool),
        "-?[0-9]{1,30}(\\.[0-9]{1,3})?".prop_map(Constant::Number),
        nasty.clone().prop_map(Constant::Text),
        nasty.clone().prop_map(Constant::Time),
        nasty.prop_map(Constant::Uuid),
        any::<Vec<u8>>().prop_map(Constant::Bytes),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let span = Span::default();
    let name = any::<String>().prop_map(move |text| Name { text, span });
    let leaf = prop_oneof![
        name.prop_map(Test::Column),
        constant().prop_map(move |constant| Test::Constant(constant, span)),
    ];
    let binary = proptest::sample::select(vec![
        Binary::Otherwise,
        Binary::Or,
        Binary::And,
        Binary::Equal,
        Binary::Unequal,
        Binary::Less,
        Binary::GreaterOrEqual,
        Binary::Add,
        Binary::Subtract,
        Binary::Multiply,
        Binary::Modulo,
    ]);
    let function = proptest::sample::select(vec![
        Function::StartsWith,
        Function::EndsWith,
        Function::Includes,
        Function::IncludesRegex,
        Function::Length,
        Function::Concat,
        Function::ReplaceAll,
        Function::ToLowerCase,
        Function::Like,
        Function::LikeAnyCase,
        Function::At,
        Function::TextAt,
    ]);
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        let list = proptest::collection::vec(constant(), 0..4);
        let operands = proptest::collection::vec(inner, 1..4);
        prop_oneof![
            boxed.clone().prop_map(Test::Not),
            boxed.clone().prop_map(Test::Minus),
            (binary.clone(), boxed.clone(), boxed.clone())
                .prop_map(|(o, a, b)| Test::Binary(o, a, b)),
            (boxed, list).prop_map(move |(of, list)| Test::In(of, list, span)),
            (function.clone(), operands).prop_map(move |(f, of)| Test::Call(f, of, span)),
        ]
    })
}

proptest! {
    #[test]
    fn any_tree_is_written_in_our_own_words(test in test()) {
        written(&test);
    }
}

//! The grammar: what is written is what is read, and nothing that is read hurts.

use event_source_fql::ast::{DEEPEST, Expr, Kind, Unary};
use event_source_fql::parse::parse;
use event_source_model::query::{Binary, Name, Span};
use event_source_wire::v10::summary::summary;
use proptest::prelude::*;

/// The tree, written with all its parentheses.
fn tree(text: &str) -> String {
    match parse(text) {
        Ok(block) => block.to_string(),
        Err(error) => panic!("{}", summary(&error, text)),
    }
}

fn refusal(text: &str) -> String {
    match parse(text) {
        Ok(block) => panic!("{text} is read as {block}"),
        Err(error) => summary(&error, text),
    }
}

#[test]
fn the_examples_of_the_documentation_are_read() {
    for text in [
        "Product.all().eventSource()",
        "Product.byName(\"limes\").eventSource()",
        "// Uses the index\nlet product = Product.byName('cups').first()\nSet.single(product).eventSource()",
        "Product\n  .where(.price > 10 && .category == \"fruit\")\n  .eventSource()",
        "let set = Product.all()\n\n{\n  products: set { name, price },\n  source: set.eventsOn(.price, .stock),\n}",
        "Product.all().map(product => { name: product.name, cost: product.price * 2 })",
        "Product.all().map((p) => p { name, deep: .a.b })",
        "Product.where(!(.price >= 1.5e3) || .name?.startsWith(\"A\") == true)",
        "[1, 'two', null, true, { }, -4, .5 ?? 6]".replace(".5", "0.5").as_str(),
        "Product.all()/* c */.pageSize( 5 ) // that is all",
        "{ let a = 1; let b = 2\n a + b }",
        "Product.firstWhere(.id == \"1\")!",
        "Product.all().where(.[\"a b\"] == 1)",
    ] {
        tree(text);
    }
}

#[test]
fn operators_bind_as_in_fauna() {
    assert_eq!(tree("1 + 2 * 3 - 4"), "((1 + (2 * 3)) - 4)");
    assert_eq!(tree("a || b && c == d < e"), "(a || (b && (c == (d < e))))");
    assert_eq!(tree("a ?? b ?? c"), "((a ?? b) ?? c)");
    assert_eq!(tree("!a.b && -c(1) < 2"), "((!a.b) && ((-c(1)) < 2))");
    assert_eq!(tree("a\n  && b"), "(a && b)");
    assert_eq!(tree("x => x + 1"), "((x) => (x + 1))");
    assert_eq!(tree("a { b }"), "(a { b: .b })");
}

#[test]
fn the_end_of_a_line_ends_a_statement() {
    assert_eq!(tree("let a = b\n(c)"), "let a = b; c");
    assert_eq!(tree("let a = b\n.c\nd"), "let a = b.c; d");
    assert_eq!(tree("let a = 1;let b = 2\n\n // x\nb"), "let a = 1; let b = 2; b");
}

#[test]
fn numbers_and_strings_are_taken_as_fauna_took_them() {
    assert_eq!(tree("[1_000, 0xff, 0b11, 1.5e-3]"), "[1000, 255, 3, 1.5e-3]");
    assert_eq!(
        tree(r#"['it\'s', "a\u0041\u{42}\x43\n", '#{x}']"#),
        r#"["it's", "aABC\u{a}", "\#{x}"]"#
    );
}

#[test]
fn what_is_not_supported_is_named_where_it_stands() {
    assert!(refusal("{ x ").contains("at *query*:1:5"), "{}", refusal("{ x "));
    assert!(refusal("a +").contains("Unexpected end of query"), "{}", refusal("a +"));
    assert!(refusal("a\n ^ b").contains("at *query*:2:2"), "{}", refusal("a\n ^ b"));
    assert!(refusal("\"a #{b}\"").contains("Interpolated"), "{}", refusal("\"a #{b}\""));
    assert!(refusal("if (a) b").contains("at *query*:1:1"), "{}", refusal("if (a) b"));
    assert!(refusal("").contains("at *query*:1:1"), "{}", refusal(""));
    assert!(refusal("'\\u{110000}'").contains("Unicode"), "{}", refusal("'\\u{110000}'"));
}

#[test]
fn what_is_nested_too_deeply_is_refused_whatever_it_is_nested_by() {
    let many = 5_000;
    for text in [
        "(".repeat(many),
        "[".repeat(many),
        "{".repeat(many),
        "{a:".repeat(many),
        "a.b(".repeat(many),
        "a[".repeat(many),
        "a{b:".repeat(many),
        "x=>".repeat(many),
        "(x)=>".repeat(many),
        "{let a=".repeat(many),
        "/*".repeat(many),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.contains("nested too deeply") || text.starts_with("/*"), "{refusal}");
    }
    for text in
        ["!".repeat(many) + "a", "a".to_owned() + &".b".repeat(many), "a+".repeat(many) + "a"]
    {
        let block = parse(&text).expect("it is long, not deep");
        assert_eq!(block.result.kind, Kind::TooDeep);
    }
}

fn span() -> Span {
    Span::default()
}

fn expr(kind: Kind) -> Expr {
    Expr::new(kind, span())
}

fn name() -> impl Strategy<Value = Name> + Clone {
    "[a-zA-Z_][a-zA-Z0-9_]{0,6}x".prop_map(|text| Name { text, span: span() })
}

fn leaf() -> impl Strategy<Value = Expr> {
    let number = prop_oneof!["0|[1-9][0-9]{0,8}", "[0-9]\\.[0-9]{1,4}(e[0-9])?"];
    prop_oneof![
        Just(Kind::Null),
        any::<bool>().prop_map(Kind::Bool),
        number.prop_map(Kind::Number),
        "[^\0]{0,8}".prop_map(Kind::Text),
        Just(Kind::Value),
        name().prop_map(|name| Kind::Name(name.text)),
        name().prop_map(|name| {
            let of = Box::new(expr(Kind::This));
            Kind::Field { of, name, optional: false }
        }),
    ]
    .prop_map(expr)
}

fn operator() -> impl Strategy<Value = Binary> {
    use Binary::*;
    proptest::sample::select(vec![
        Otherwise,
        Or,
        And,
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
    ])
}

/// Something behind which a dot or a parenthesis may stand.
fn grouped(of: Expr) -> Expr {
    match of.kind {
        Kind::Number(_) | Kind::Null | Kind::Bool(_) | Kind::Text(_) => expr(Kind::Array(vec![of])),
        _ => of,
    }
}

fn any_expr() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(6, 40, 4, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..4);
        let fields = proptest::collection::vec((name(), inner.clone()), 1..4);
        let boxed = inner.clone().prop_map(|of| Box::new(grouped(of))).boxed();
        prop_oneof![
            (boxed.clone(), name(), any::<bool>()).prop_map(|(of, name, optional)| Kind::Field {
                of,
                name,
                optional
            }),
            (boxed.clone(), list.clone())
                .prop_map(|(function, arguments)| Kind::Call { function, arguments }),
            (boxed.clone(), list.clone())
                .prop_map(|(of, arguments)| Kind::Access { of, arguments }),
            boxed.clone().prop_map(Kind::Assert),
            boxed.clone().prop_map(|of| Kind::Unary(Unary::Not, of)),
            boxed.clone().prop_map(|of| Kind::Unary(Unary::Minus, of)),
            (operator(), boxed.clone(), boxed.clone()).prop_map(|(o, a, b)| Kind::Binary(o, a, b)),
            (proptest::collection::vec(name(), 0..3), boxed.clone())
                .prop_map(|(parameters, body)| Kind::Lambda { parameters, body }),
            fields.clone().prop_map(Kind::Object),
            list.clone().prop_map(Kind::Array),
            list.prop_filter("one in parentheses is that one", |l| l.len() != 1)
                .prop_map(Kind::Tuple),
            (boxed, fields).prop_map(|(of, fields)| Kind::Project { of, fields }),
        ]
        .prop_map(expr)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_what_it_was(tree in any_expr()) {
        let text = tree.to_string();
        let again = parse(&text).map_err(|e| TestCaseError::fail(summary(&e, &text)))?;
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_heap_of_tokens_makes_the_parser_panic(
        tokens in proptest::collection::vec(
            proptest::sample::select(vec![
                "(", ")", "[", "]", "{", "}", ".", "?.", ",", ":", ";", "\n", " ", "=>", "=", "==", "!",
                "!=", "-", "+", "/", "*", "//", "/*", "*/", "let ", "x", "Product", "all()", "1", "'a'",
                "\"", "#{", "\0value>", "null", "&&", "||", "??", "<", "<=", "@", "é", "\\", "if ",
            ]),
            0..60,
        )
    ) {
        let _ = parse(&tokens.concat());
    }

    #[test]
    fn a_tree_is_never_deeper_than_the_limit(levels in 1_usize..400) {
        let mut tree = expr(Kind::Null);
        for _ in 0..levels {
            tree = expr(Kind::Assert(Box::new(tree)));
        }
        let asserts = tree.to_string().matches('!').count();
        prop_assert!(asserts < usize::from(DEEPEST));
    }
}

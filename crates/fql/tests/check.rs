//! What queries mean, and what is refused.

use event_source_fql::check::{Arguments, check};
use event_source_fql::parse::parse;
use event_source_fql::template::Template;
use event_source_model::query::{
    Ask, Binary, Constant, EventSource, Function, Of, Rows, Shown, Test,
};
use event_source_wire::v10::summary::summary;
use serde_json::{Value, json};

fn asked(query: Value) -> Result<Ask, String> {
    let template = Template::from_json(query)?;
    let block = parse(&template.text).map_err(|error| summary(&error, &template.text))?;
    let arguments = Arguments::from([("wanted".to_owned(), Constant::Text("x".to_owned()))]);
    check(&block, &template, &arguments)
        .map_err(|error| format!("{:?}: {}", error.fault, summary(&error, &template.text)))
}

fn ask(query: &str) -> Ask {
    match asked(json!(query)) {
        Ok(ask) => ask,
        Err(error) => panic!("{error}"),
    }
}

fn refusal(query: &str) -> String {
    match asked(json!(query)) {
        Ok(ask) => panic!("{query} means {ask:?}"),
        Err(error) => error,
    }
}

fn source(query: &str) -> EventSource {
    match ask(query) {
        Ask::EventSource(source) => source,
        other => panic!("{query} means {other:?}"),
    }
}

fn rows(query: &str) -> Rows {
    match ask(query) {
        Ask::Page { rows, .. } | Ask::Row(rows) | Ask::Version { rows, .. } => rows,
        other => panic!("{query} means {other:?}"),
    }
}

fn number(digits: &str) -> Constant {
    Constant::Number(digits.to_owned())
}

fn text(text: &str) -> Constant {
    Constant::Text(text.to_owned())
}

/// A test as one would write it, without its places.
fn written(test: &Test) -> String {
    match test {
        Test::Column(name) => name.text.clone(),
        Test::Constant(constant, _) => format!("{constant:?}"),
        Test::Not(of) => format!("Not({})", written(of)),
        Test::Minus(of) => format!("Minus({})", written(of)),
        Test::Binary(operator, left, right) => {
            format!("{operator:?}({}, {})", written(left), written(right))
        }
        Test::In(of, list, _) => format!("{} In {list:?}", written(of)),
        Test::Call(function, operands, _) => {
            let operands: Vec<String> = operands.iter().map(written).collect();
            format!("{function:?}({})", operands.join(", "))
        }
    }
}

fn predicate(query: &str) -> String {
    written(&rows(query).filter.expect("there is a filter"))
}

#[test]
fn the_examples_of_the_documentation_make_sources() {
    let all = source("Product.all().eventSource()");
    assert_eq!((all.rows.collection.text.as_str(), all.rows.of), ("Product", Of::All));
    let Of::Index { index, terms } = source("Product.byName(\"limes\").eventSource()").rows.of
    else {
        panic!("it is an index")
    };
    assert_eq!((index.text.as_str(), terms), ("byName", vec![text("limes")]));
    let single =
        source("let product = Product.byName(\"cups\").first()\nSet.single(product).eventSource()");
    let Of::First { of, filter: None, .. } = single.rows.of else { panic!("it is one row") };
    assert!(matches!(*of, Of::Index { .. }));
    assert!(matches!(source("Set.single(P.byId(\"1\")).toStream()").rows.of, Of::Key { .. }));
}

#[test]
fn where_and_map_mean_the_same_before_and_behind_event_source() {
    for (one, other) in [
        ("P.all().where(.a > 1).eventSource()", "P.all().eventSource().where(.a > 1)"),
        ("P.all().map(.a).eventSource()", "P.all().eventSource().map(x => x.a)"),
        ("P.all() { a }", "P.all().map(x => { a: x.a })"),
        ("P.where(.a == 1)", "P.all().where(p => p.a == 1)"),
        ("P.firstWhere(.a == 1)", "P.where(.a == 1).first()"),
    ] {
        let strip = |ask: Ask| {
            let text = format!("{ask:?}");
            let mut parts = text.split("Span { start: ");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |all, part| all + part.split_once('}').map_or(part, |(_, rest)| rest))
        };
        assert_eq!(strip(ask(one)), strip(ask(other)), "{one} and {other}");
    }
}

#[test]
fn predicates_are_read_whole() {
    assert_eq!(
        predicate("P.where(.a > 1 && !(.b == null) || .c.startsWith('x'))"),
        "Or(And(Greater(a, Number(\"1\")), Not(Equal(b, Null))), StartsWith(c, Text(\"x\")))"
    );
    assert_eq!(predicate("P.where(['a', 'b'].includes(.c))"), "c In [Text(\"a\"), Text(\"b\")]");
    assert_eq!(predicate("P.where(.c.length >= -1)"), "GreaterOrEqual(Length(c), Number(\"-1\"))");
    assert_eq!(predicate("P.where(p => p[\"a b\"] == wanted)"), "Equal(a b, Text(\"x\"))");
    assert_eq!(
        predicate("let least = 3; P.where(.n >= least)"),
        "GreaterOrEqual(n, Number(\"3\"))"
    );
    assert_eq!(
        predicate("P.where((.a ?? 0) + 1 < .b)"),
        "Less(Add(Otherwise(a, Number(\"0\")), Number(\"1\")), b)"
    );
    assert_eq!(predicate("P.where(.a).where(.b)"), "And(a, b)");
}

#[test]
fn a_value_of_the_driver_is_a_constant_wherever_it_stands() {
    let injected = "') || true; DROP TABLE product; --";
    let query = json!({"fql": ["P.byName(", {"value": injected}, ").where(.a == ", {"value": injected}, ")"]});
    let Ok(Ask::Page { rows, .. }) = asked(query) else { panic!("it is a set") };
    assert!(matches!(rows.of, Of::Index { terms, .. } if terms == [text(injected)]));
    let Some(Test::Binary(Binary::Equal, _, value)) = rows.filter else {
        panic!("it is a comparison")
    };
    assert!(matches!(*value, Test::Constant(Constant::Text(text), _) if text == injected));
}

#[test]
fn rows_and_their_token_come_in_one_answer() {
    let Ask::Object(fields) = ask(
        "let set = Product.where(.price > 10).pageSize(5)\n{ products: set, source: set.eventSource() }",
    ) else {
        panic!("it is an object")
    };
    assert!(matches!(&fields[0], (name, Ask::Page { size: 5, .. }) if name == "products"));
    assert!(matches!(&fields[1], (name, Ask::EventSource(_)) if name == "source"));
}

#[test]
fn projections_name_columns() {
    let shown = rows("P.all() { name, cost: .price }").shown;
    let Shown::Object(fields) = shown else { panic!("it is an object") };
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, column)| (name.as_str(), column.text.as_str())).collect();
    assert_eq!(fields, [("name", "name"), ("cost", "price")]);
    assert!(matches!(rows("P.byId(1).name").shown, Shown::Value(name) if name.text == "name"));
    assert!(matches!(rows("P.all().map(p => p { a })").shown, Shown::Object(_)));
}

#[test]
fn watched_fields_are_those_of_the_source_set() {
    let watch = source("P.all().eventsOn(.price, .stock)").watch.expect("there are some");
    assert_eq!(watch.iter().map(|name| name.text.as_str()).collect::<Vec<_>>(), ["price", "stock"]);
    assert_eq!(source("P.all().changesOn()").watch, None);
    assert!(refusal("P.where(.a).eventsOn(.a)").starts_with("InvalidReceiver"));
}

#[test]
fn constants_are_answered_as_they_are() {
    assert_eq!(ask("-5"), Ask::Constant(number("-5")));
    assert_eq!(ask("[1, 'a']"), Ask::Constant(Constant::Array(vec![number("1"), text("a")])));
    assert_eq!(ask("wanted"), Ask::Constant(text("x")));
}

#[test]
fn what_is_not_supported_is_refused_where_it_stands() {
    for (query, code, place) in [
        ("Product.all().order(.price)", "InvalidQuery", "1:15"),
        ("Product.all().map(.price * 2)", "InvalidQuery", "1:19"),
        ("Product.create({ name: 'x' })", "InvalidQuery", "1:16"),
        ("Product", "InvalidQuery", "1:1"),
        ("1 + 2", "InvalidQuery", "1:1"),
        ("x => x", "InvalidQuery", "1:1"),
        (".price", "InvalidQuery", "1:1"),
        ("Product.where(.a.b == 1)", "InvalidQuery", "1:18"),
        ("Product.where((a, b) => true)", "InvalidQuery", "1:15"),
        ("Product.byId()", "InvalidFunctionInvocation", "1:1"),
        ("Product.byId('1').eventSource()", "InvalidReceiver", "1:1"),
        ("Set.single(Product.all())", "InvalidArgument", "1:12"),
        ("Set.sequence(1, 2)", "InvalidQuery", "1:5"),
        ("Product.all().pageSize(0)", "InvalidArgument", "1:24"),
        ("Product.all().pageSize(16001)", "InvalidArgument", "1:24"),
        ("Product.all().map(.a).where(.b)", "InvalidQuery", "1:1"),
        ("Product.byPrice({ from: 1 })", "InvalidQuery", "1:17"),
        ("Time.now()", "", ""),
    ] {
        if code.is_empty() {
            // Who knows: it may be a table and its index.
            assert!(asked(json!(query)).is_ok());
            continue;
        }
        let refusal = refusal(query);
        assert!(refusal.starts_with(code), "{query}: {refusal}");
        assert!(refusal.contains(&format!("at *query*:{place}\n")), "{query}: {refusal}");
    }
}

#[test]
fn a_function_has_as_many_operands_as_it_takes() {
    assert!(refusal("P.where(.a.startsWith())").contains("exactly 1 arguments, but 0"));
    assert_eq!(
        predicate("P.where(.a.replaceAll('x', 'y') == 'z')"),
        format!("Equal({:?}(a, Text(\"x\"), Text(\"y\")), Text(\"z\"))", Function::ReplaceAll)
    );
}

#[test]
fn abort_ends_a_query_with_its_value_wherever_it_stands() {
    for query in
        ["abort({ why: \"x\", n: 7 })", "let x = abort({ why: \"x\", n: 7 })\nProduct.all()"]
    {
        let template = Template::from_json(json!(query)).unwrap();
        let block = parse(&template.text).unwrap();
        let failure = check(&block, &template, &Arguments::new()).unwrap_err();
        assert_eq!(failure.fault, event_source_model::query::Fault::Abort);
        let value = vec![("why".to_owned(), text("x")), ("n".to_owned(), number("7"))];
        assert_eq!(failure.abort, Some(Constant::Object(value)), "{query}");
    }
    assert!(refusal("abort(Product.all())").contains("Aborting with this is not supported"));
}

/// A list of numbers, as long as that.
fn list(items: usize) -> String {
    (0..items).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_is_wide_is_not_deep() {
    for wide in [
        format!("Product.where(p => [{}].includes(p.id))", list(2_000)),
        format!("Product.where(.id == 1{})", " || .id == 1".repeat(5_000)),
        format!("Product.where(.id == 1{})", " && (.id == 1 ?? true)".repeat(1_000)),
        format!("[{}]", list(2_000)),
        format!(
            "{{ {} }}",
            (0..500).map(|n| format!("f{n}: (({n}))")).collect::<Vec<_>>().join(", ")
        ),
        format!(
            "Product.all() {{ {} }}",
            (0..500).map(|n| format!("f{n}: .f{n}")).collect::<Vec<_>>().join(", ")
        ),
        format!("Product.byId({}(1){})", "(".repeat(20), ")".repeat(20)),
        format!("{} 1", "let x = [[[[1]]]];\n".repeat(250)),
    ] {
        asked(json!(wide)).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_query_of_too_many_parts_is_refused_where_it_has_them() {
    for query in [
        format!("[{}]", "0,".repeat(70_000)),
        format!("Product.where(.a == 0{})", " || .a == 0".repeat(70_000)),
        format!("{}1", "let x = 1;\n".repeat(70_000)),
    ] {
        let refused = refusal(&query);
        assert!(refused.contains("too many parts"), "{refused}");
    }
}

#[test]
fn what_a_name_stands_for_is_not_copied_without_end() {
    let doubled = |first: &str, step: &dyn Fn(&str) -> String, steps: usize| {
        let lets = (0..steps).map(|n| format!("let x{} = {};\n", n + 1, step(&format!("x{n}"))));
        format!("let x0 = {first};\n{}x{steps}", lets.collect::<String>())
    };
    for query in [
        doubled("[1, 2]", &|x| format!("[{x}, {x}]"), 40),
        doubled("Product.all()", &|x| format!("{{ a: {x}, b: {x} }}"), 40),
        doubled("Product.all()", &|x| format!("[{x}, Product.where(.id == 1), {x}]"), 40),
        doubled("[1]", &|x| format!("[{x}]"), 5_000),
        doubled("Product.all()", &|x| format!("{x}.where(.id == 1)"), 5_000),
        format!("let x = \"{}\";\n[{}]", "y".repeat(100_000), vec!["x"; 1_000].join(", ")),
        format!(
            "let x = P.all().eventsOn({});\n[{}]",
            vec![".column"; 5_000].join(", "),
            vec!["x"; 1_000].join(", ")
        ),
    ] {
        let refused = refusal(&query);
        assert!(refused.contains("the query "), "{refused}");
    }
    let template = Template::from_json(json!(format!("[{}]", vec!["big"; 1_000].join(", "))));
    let template = template.expect("it is a query");
    let block = parse(&template.text).expect("it can be read");
    let big = Constant::Text("y".repeat(100_000));
    let arguments = Arguments::from([("big".to_owned(), big)]);
    let refused = check(&block, &template, &arguments).expect_err("it would be 100 MB");
    assert_eq!(refused.message, "the query has too many parts");
    // Queries that people write are far from that.
    ask(&doubled("Product.all()", &|x| format!("{x}.where(.id == 1)"), 30));
}

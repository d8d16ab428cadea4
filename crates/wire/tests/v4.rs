//! Fauna's v4 wire, byte for byte.

mod support;

use std::sync::Arc;

use event_source_model::event::{Event, EventType, Reason, Refusal, View};
use event_source_model::image::{Image, Shape};
use event_source_model::position::Position;
use event_source_model::query::{Constant, Failure, Fault, Span};
use event_source_model::source::Projection;
use event_source_model::value::Value;
use event_source_wire::shown::Shown;
use event_source_wire::v4::error::{Wrong, errors, is_said_in_band};
use event_source_wire::v4::event::{self as v4, Fields, Of};
use event_source_wire::v4::{answer, value};
use support::{event, image, view};

const ALL: Fields = Fields { action: true, document: true, diff: true, prev: true, index: true };
const COLLECTION: &str = r#"{"@ref":{"id":"Product","collection":{"@ref":{"id":"collections"}}}}"#;
const REF: &str = concat!(
    r#"{"@ref":{"id":"1","collection":"#,
    r#"{"@ref":{"id":"Product","collection":{"@ref":{"id":"collections"}}}}}}"#
);

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The lines of an event, without their ends.
fn lines(view: &View, of: &Of, fields: Fields, event: &Event) -> Vec<String> {
    let mut out = String::new();
    v4::event(&mut out, view, Shown::from(event), of, fields);
    out.split_inclusive('\n')
        .map(|line| line.strip_suffix("\r\n").expect("a line ends in CRLF").trim_start().to_owned())
        .collect()
}

fn only(of: &Of, fields: Fields, event: &Event) -> String {
    let mut lines = lines(&view(None), of, fields, event);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

fn scores(scores: &str, bar: Option<&str>, done: Option<bool>) -> Image {
    image(&[
        ("id", Value::Int(1)),
        ("scores", Value::Json(scores.to_owned())),
        ("foo", bar.map_or(Value::Null, text)),
        ("final", done.map_or(Value::Null, Value::Bool)),
    ])
}

#[test]
fn the_start_says_from_when_on() {
    let mut out = String::new();
    v4::start(&mut out, 7);
    assert_eq!(out, "{\"type\":\"start\",\"txn\":7,\"event\":7}\r\n");
}

#[test]
fn an_update_has_the_document_what_changed_and_what_was() {
    let before = scores("[1, 11, 17]", None, None);
    let after = scores("[1, 11, 17]", Some("bar"), Some(true));
    let updated = event(EventType::Update, Some(before), Some(after));
    assert_eq!(
        only(&Of::Document, ALL, &updated),
        format!(
            concat!(
                r#"{{"type":"version","txn":1000,"event":{{"action":"update","#,
                r#""document":{{"ref":{r},"ts":1000,"data":"#,
                r#"{{"scores":[1,11,17],"foo":"bar","final":true}}}},"#,
                r#""diff":{{"ref":{r},"ts":1000,"data":{{"foo":"bar","final":true}}}},"#,
                r#""prev":{{"ref":{r},"ts":999,"data":{{"scores":[1,11,17]}}}}}}}}"#
            ),
            r = REF
        )
    );
}

#[test]
fn what_is_gone_is_null_in_the_difference_and_no_difference_has_no_data() {
    let fields = Fields { diff: true, ..Fields::NONE };
    let full = || scores(r#"{"a": {"b": 1, "c": 2}}"#, Some("bar"), None);
    let less = scores(r#"{"a": {"b": 1}}"#, None, None);
    let updated = event(EventType::Update, Some(full()), Some(less));
    let line = only(&Of::Document, fields, &updated);
    assert!(line.ends_with(r#","data":{"scores":{"a":{"c":null}},"foo":null}}}}"#), "{line}");
    let same = event(EventType::Update, Some(full()), Some(full()));
    let line = only(&Of::Document, fields, &same);
    assert!(line.ends_with(r#""ts":1000}}}"#), "{line}");
}

#[test]
fn a_document_that_comes_or_goes_has_what_fauna_gave_it() {
    let row = || scores("[]", Some("x"), None);
    let data = r#""data":{"scores":[],"foo":"x"}"#;
    let created = event(EventType::Add, None, Some(row()));
    assert_eq!(
        only(&Of::Document, ALL, &created),
        format!(
            concat!(
                r#"{{"type":"version","txn":1000,"event":{{"action":"create","#,
                r#""document":{{"ref":{r},"ts":1000,{d}}},"diff":{{"ref":{r},"ts":1000,{d}}},"#,
                r#""prev":{{"ref":{r},"ts":1000}}}}}}"#
            ),
            r = REF,
            d = data
        )
    );
    let deleted = event(EventType::Remove, Some(row()), None);
    assert_eq!(
        only(&Of::Document, ALL, &deleted),
        format!(
            concat!(
                r#"{{"type":"version","txn":1000,"event":{{"action":"delete","#,
                r#""document":{{"ref":{r},"ts":999,{d}}},"diff":{{"ref":{r},"ts":1000}},"#,
                r#""prev":{{"ref":{r},"ts":999,{d}}}}}}}"#
            ),
            r = REF,
            d = data
        )
    );
}

#[test]
fn only_the_fields_that_were_asked_for_are_there() {
    let created = event(EventType::Add, None, Some(scores("[]", None, None)));
    let action = Fields { action: true, ..Fields::NONE };
    assert_eq!(
        only(&Of::Document, action, &created),
        r#"{"type":"version","txn":1000,"event":{"action":"create"}}"#
    );
    let index = Fields { index: true, ..Fields::NONE };
    assert_eq!(only(&Of::Document, index, &created), r#"{"type":"version","txn":1000,"event":{}}"#);
}

#[test]
fn the_documents_of_a_collection_come_and_go_and_an_update_is_nothing() {
    let row = || Some(scores("[]", None, None));
    let added = event(EventType::Add, None, row());
    let document = format!(r#""document":{{"ref":{REF},"ts":1000}}"#);
    assert_eq!(
        only(&Of::Documents, ALL, &added),
        format!(
            concat!(
                r#"{{"type":"set","txn":1000,"event":{{"action":"add",{d},"#,
                r#""index":{{"terms":[{c}],"values":[]}}}}}}"#
            ),
            d = document,
            c = COLLECTION
        )
    );
    let removed = event(EventType::Remove, row(), None);
    assert_eq!(
        only(&Of::Documents, Fields::DEFAULT, &removed),
        format!(r#"{{"type":"set","txn":1000,"event":{{"action":"remove",{document}}}}}"#)
    );
    let updated = event(EventType::Update, row(), row());
    assert_eq!(lines(&view(None), &Of::Documents, ALL, &updated), Vec::<String>::new());
}

#[test]
fn other_covered_values_are_two_events_of_an_index() {
    let row = |price| {
        image(&[("id", Value::Int(1)), ("shop", Value::Int(42)), ("price", Value::Int(price))])
    };
    let of = Of::Index { name: "by_shop".to_owned(), terms: "[42]".to_owned() };
    let covered = Projection::Object(vec![
        ("price".to_owned(), 3),
        // An expression, whose value nobody knows here.
        (String::new(), 0),
    ]);
    let view = View { fields: Some(vec![2, 3]), projection: Some(covered), ..view(None) };
    let index = |price| {
        format!(
            concat!(
                r#""index":{{"ref":{{"@ref":{{"id":"by_shop","collection":"#,
                r#"{{"@ref":{{"id":"indexes"}}}}}}}},"terms":[42],"values":[{},null]}}"#
            ),
            price
        )
    };
    let one = |action, price| {
        format!(
            concat!(
                r#"{{"type":"set","txn":1000,"event":{{"action":"{}","#,
                r#""document":{{"ref":{},"ts":1000}},{}}}}}"#
            ),
            action,
            REF,
            index(price)
        )
    };
    let updated = event(EventType::Update, Some(row(10)), Some(row(11)));
    assert_eq!(lines(&view, &of, ALL, &updated), [one("remove", 10), one("add", 11)]);
    // It left for another term: the old values are those that go.
    let left = event(EventType::Remove, Some(row(10)), Some(row(12)));
    assert_eq!(lines(&view, &of, ALL, &left), [one("remove", 10)]);
    let came = event(EventType::Add, Some(row(12)), Some(row(11)));
    assert_eq!(lines(&view, &of, ALL, &came), [one("add", 11)]);
}

#[test]
fn a_rewritten_history_names_the_document_and_nothing_of_it() {
    let row = scores(r#"["secret"]"#, None, None);
    let mut rewritten = event(EventType::HistoryRewrite, None, Some(row));
    rewritten.position = Position::at(1001, 0);
    for of in [Of::Document, Of::Documents] {
        assert_eq!(
            only(&of, ALL, &rewritten),
            format!(
                concat!(
                    r#"{{"type":"history_rewrite","txn":1001,"event":{{"action":"update","#,
                    r#""document":{{"ref":{},"ts":1001}}}}}}"#
                ),
                REF
            )
        );
    }
}

#[test]
fn every_kind_of_value_has_its_type() {
    let day = 86_400_000_000;
    let cases = [
        (Value::Int(-1), "-1"),
        (Value::BigInt(9_007_199_254_740_993), "9007199254740993"),
        (Value::Float8(1.0), "1.0"),
        (Value::Float8(1e300), "1e300"),
        (Value::Float4(0.5), "0.5"),
        (Value::Float8(f64::NAN), r#""NaN""#),
        (Value::Float8(f64::NEG_INFINITY), r#""-Infinity""#),
        (Value::Numeric("1.50".to_owned()), "1.50"),
        (Value::Numeric("NaN".to_owned()), r#""NaN""#),
        (Value::Numeric("Infinity".to_owned()), r#""Infinity""#),
        (Value::Numeric("12345678901234567890".to_owned()), r#""12345678901234567890""#),
        (Value::Timestamptz(day), r#"{"@ts":"2000-01-02T00:00:00Z"}"#),
        (Value::Timestamptz(i64::MIN), r#""-infinity""#),
        (Value::Timestamptz(day * 3_000_000), r#""10213-09-21T00:00:00Z""#),
        (Value::Timestamp(day), r#""2000-01-02T00:00:00""#),
        (Value::Date(0), r#"{"@date":"2000-01-01"}"#),
        (Value::Date(-730_120), r#""0001-12-31 BC""#),
        (Value::Bytes(vec![255, 239]), r#"{"@bytes":"/+8="}"#),
        (Value::Uuid([0xab; 16]), r#"{"@uuid":"abababab-abab-abab-abab-abababababab"}"#),
        (Value::Json(r#"{"@a": 1}"#.to_owned()), r#"{"@obj":{"@a":1}}"#),
        (
            Value::Object(vec![("@b".to_owned(), Value::Int(1)), ("c".to_owned(), Value::Null)]),
            r#"{"@obj":{"@b":1}}"#,
        ),
        (
            Value::Array(vec![Value::Object(vec![("@ts".to_owned(), Value::Int(1))])]),
            r#"["{\"@ts\":1}"]"#,
        ),
    ];
    for (given, expected) in cases {
        let mut out = String::new();
        value::value(&mut out, &given);
        assert_eq!(out, expected);
    }
}

#[test]
fn a_key_of_several_columns_is_in_the_ref_and_in_the_data() {
    let mut row = image(&[("id", Value::Int(1)), ("at", text("a"))]);
    row.shape = Arc::new(Shape { key: vec![0, 1], ..(*row.shape).clone() });
    let created = event(EventType::Add, None, Some(row));
    let line = only(&Of::Document, Fields { document: true, ..Fields::NONE }, &created);
    assert!(line.contains(r#"{"id":"[1,\"a\"]","collection""#), "{line}");
    assert!(line.ends_with(r#""data":{"id":1,"at":"a"}}}}"#), "{line}");
}

#[test]
fn a_ref_is_null_where_the_driver_would_fail_on_it() {
    let named = event(EventType::Add, None, Some(image(&[("id", text(""))])));
    let keyless = event(EventType::Add, None, Some(image(&[("name", text("x"))])));
    for one in [named, keyless] {
        let line = only(&Of::Documents, Fields::DEFAULT, &one);
        assert!(line.contains(r#""document":{"ref":null,"ts":1000}"#), "{line}");
    }
}

#[test]
fn text_of_every_script_is_ascii() {
    let row = image(&[("id", text("schlüssel")), ("name", text("a\u{2028}\"\\ü😀\u{1}\n"))]);
    let created = event(EventType::Add, None, Some(row.clone()));
    let line = only(&Of::Document, ALL, &created);
    assert!(line.is_ascii() && !line.contains('\n'), "{line}");
    let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(read["event"]["document"]["data"]["name"], "a\u{2028}\"\\ü😀\u{1}\n");
    let body = answer::resource(&view(None), &row, 5);
    assert!(body.is_ascii(), "{body}");
    let read: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(read["resource"]["ts"], 5);
    assert_eq!(read["resource"]["ref"]["@ref"]["id"], "schlüssel");
}

#[test]
fn a_stream_ends_with_a_code_and_a_description() {
    let ended = |reason| {
        let mut out = String::new();
        v4::error(&mut out, &Refusal::new(reason, "why").hint("what to do"));
        let line: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((&line["type"], &line["txn"]), (&"error".into(), &0.into()));
        let part = |name: &str| line["event"][name].as_str().expect("a text").to_owned();
        (part("code"), part("description"))
    };
    for lost in [Reason::PermissionDenied, Reason::Unauthorized, Reason::InvalidToken] {
        let (code, description) = ended(lost);
        assert_eq!(code, "permission denied");
        assert_eq!(description, "Authorization lost during stream evaluation.");
    }
    let (code, description) = ended(Reason::Unavailable);
    assert_eq!(code, "time out");
    assert_eq!(description, "Stream was unexpectedly closed by its source. why (what to do)");
    assert_eq!(ended(Reason::PositionGone).0, "time out");
    assert_eq!(ended(Reason::SourceGone).0, "instance not found");
    assert_eq!(ended(Reason::LimitExceeded).1, "Too many open streams.");
    assert!(is_said_in_band(Reason::LimitExceeded) && !is_said_in_band(Reason::Unauthorized));
}

#[test]
fn an_answer_that_is_an_error_has_status_code_and_description() {
    let refused = |reason| Wrong::refused(&Refusal::new(reason, "why"));
    let status = |reason| (refused(reason).status, refused(reason).code);
    assert_eq!(status(Reason::Unauthorized), (401, "unauthorized"));
    assert_eq!(status(Reason::PermissionDenied), (403, "permission denied"));
    assert_eq!(status(Reason::NotFound), (404, "instance not found"));
    assert_eq!(status(Reason::LimitExceeded), (429, "too many requests"));
    assert_eq!(status(Reason::Contended), (409, "contended transaction"));
    assert_eq!(status(Reason::Unavailable), (503, "time out"));
    assert_eq!(status(Reason::Internal), (500, "internal server error"));
    let failure = Failure::new(Fault::UnboundVariable, "Unbound variable", Span::default());
    let undefined = Wrong::failed(&failure, "collection 'foo'");
    assert_eq!(
        errors(&[undefined]),
        concat!(
            r#"{"errors":[{"position":[],"code":"invalid ref","#,
            r#""description":"Ref refers to undefined collection 'foo'"}]}"#
        )
    );
    assert_eq!(
        Wrong::future(1_643_910_577_140_000).description,
        "Cannot read at 2022-02-03T17:49:37.140Z, it is too far in the future."
    );
}

#[test]
fn terms_are_shown_as_values_are() {
    let terms = Constant::Array(vec![
        Constant::Text("fire".to_owned()),
        Constant::Number("3".to_owned()),
        Constant::Time("2022-01-01T00:00:00Z".to_owned()),
        Constant::Bytes(vec![255]),
        Constant::Null,
    ]);
    let mut out = String::new();
    answer::constant(&mut out, &terms);
    assert_eq!(out, r#"["fire",3,{"@ts":"2022-01-01T00:00:00Z"},{"@bytes":"/w=="},null]"#);
}

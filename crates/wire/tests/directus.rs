//! Directus' messages, byte for byte as its server was seen to write them.

mod support;

use event_source_model::event::Reason;
use event_source_model::image::Key;
use event_source_model::source::Projection;
use event_source_model::value::Value;
use event_source_wire::directus::error::{self, Area, Problem};
use event_source_wire::directus::message::{self, Kind, Uid};
use event_source_wire::directus::value;
use support::{image, view};

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn an_event_has_type_event_data_and_uid() {
    let row = image(&[
        ("id", Value::Int(1)),
        ("text", text("hello")),
        ("n", Value::Int(1)),
        ("big", Value::BigInt(9_007_199_254_740_993)),
        ("amount", Value::Numeric("1.50000".to_owned())),
        ("ts", Value::Timestamptz(631_249_445_000_000)),
        ("js", Value::Json(r#"{"a":[1]}"#.to_owned())),
        ("ok", Value::Bool(true)),
    ]);
    let item = written(|out| value::item(out, &view(None), &row, None));
    let message = message::event(Kind::Create, &format!("[{item}]"), Some("all"));
    let expected = concat!(
        r#"{"type":"subscription","event":"create","data":[{"id":1,"text":"hello","n":1,"#,
        r#""big":"9007199254740993","amount":"1.50000","ts":"2020-01-02T03:04:05.000Z","#,
        r#""js":{"a":[1]},"ok":true}],"uid":"all"}"#
    );
    assert_eq!(message, expected);
    let deleted = message::event(Kind::Delete, r#"["1"]"#, Some("all"));
    let expected = r#"{"type":"subscription","event":"delete","data":["1"],"uid":"all"}"#;
    assert_eq!(deleted, expected);
}

#[test]
fn the_first_message_has_items_or_nothing() {
    let expected = r#"{"type":"subscription","event":"init","data":[],"uid":"5"}"#;
    assert_eq!(message::init(Some("[]"), Some("5")), expected);
    let expected = r#"{"type":"subscription","event":"init","uid":"creates"}"#;
    assert_eq!(message::init(None, Some("creates")), expected);
    assert_eq!(message::init(None, None), r#"{"type":"subscription","event":"init"}"#);
}

#[test]
fn a_uid_is_echoed_as_it_came() {
    let (named, number) = (Uid::Text("y".to_owned()), Uid::Number("7".to_owned()));
    let expected = r#"{"type":"auth","status":"ok","uid":"y"}"#;
    assert_eq!(message::authenticated(Some(&named)), expected);
    assert_eq!(message::authenticated(None), r#"{"type":"auth","status":"ok"}"#);
    let expected = r#"{"type":"subscription","event":"unsubscribe","uid":7}"#;
    assert_eq!(message::unsubscribed(Some(&number)), expected);
    assert_eq!(message::pong(Some(&number)), r#"{"type":"pong","uid":7}"#);
    assert_eq!(message::ping(), r#"{"type":"ping"}"#);
    assert_eq!(number.text(), "7");
}

#[test]
fn errors_say_their_area_and_come_before_the_uid() {
    let failed = error::error(Area::Auth, &Problem::handshake_failed(), None);
    let expected = r#"{"type":"auth","status":"error","error":{"code":"AUTH_FAILED","message":"Authentication handshake failed."}}"#;
    assert_eq!(failed, expected);
    let uid = Uid::Text("z".to_owned());
    let failed = error::error(Area::Auth, &Problem::authentication_failed(), Some(&uid));
    let expected = r#"{"type":"auth","status":"error","error":{"code":"AUTH_FAILED","message":"Authentication failed."},"uid":"z"}"#;
    assert_eq!(failed, expected);
    let forbidden = error::error(Area::Subscribe, &Problem::no_collection("messages"), None);
    let expected = r#"{"type":"subscribe","status":"error","error":{"code":"FORBIDDEN","message":"You don't have permission to access collection \"messages\" or it does not exist. Queried in root."}}"#;
    assert_eq!(forbidden, expected);
    let garbage = error::error(Area::Server, &Problem::unreadable(), None);
    let expected = r#"{"type":"server","status":"error","error":{"code":"INVALID_PAYLOAD","message":"Unable to parse the incoming message."}}"#;
    assert_eq!(garbage, expected);
    let ended = error::ended(&Problem::new("FORBIDDEN", "it is gone"), Some("u"));
    let expected = r#"{"type":"subscription","event":"error","error":{"code":"FORBIDDEN","message":"it is gone"},"uid":"u"}"#;
    assert_eq!(ended, expected);
}

#[test]
fn a_key_is_as_in_the_item_and_one_text_for_several_columns() {
    let key = |values: Vec<Value>| written(|out| value::key(out, Some(&Key(values))));
    assert_eq!(key(vec![Value::Int(1)]), "1");
    assert_eq!(key(vec![Value::BigInt(1)]), r#""1""#);
    assert_eq!(key(vec![Value::Int(1), text("a")]), r#""[1,\"a\"]""#);
    assert_eq!(written(|out| value::key_text(out, Some(&Key(vec![Value::Int(1)])))), r#""1""#);
}

#[test]
fn fields_that_are_only_sorted_by_are_not_shown() {
    let row = image(&[("id", Value::Int(1)), ("n", Value::Int(2)), ("t", text("x"))]);
    let mut view = view(Some(vec![2, 3]));
    let shown = vec![("t".to_owned(), 3), ("n".to_owned(), 2)];
    view.projection = Some(Projection::Object(shown));
    assert_eq!(written(|out| value::item(out, &view, &row, Some(1))), r#"{"t":"x"}"#);
}

#[test]
fn instants_within_arrays_have_milliseconds_too() {
    let instants = Value::Array(vec![Value::Timestamptz(0), Value::Null]);
    let nested = Value::Object(vec![("at".to_owned(), instants)]);
    let expected = r#"{"at":["2000-01-01T00:00:00.000Z",null]}"#;
    assert_eq!(written(|out| value::value(out, &nested)), expected);
}

#[test]
fn every_reason_has_a_code_of_directus() {
    for (reason, code) in [
        (Reason::PermissionDenied, "FORBIDDEN"),
        (Reason::SourceGone, "FORBIDDEN"),
        (Reason::Unauthorized, "TOKEN_EXPIRED"),
        (Reason::PositionGone, "SERVICE_UNAVAILABLE"),
        (Reason::Unavailable, "SERVICE_UNAVAILABLE"),
        (Reason::LimitExceeded, "LIMIT_EXCEEDED"),
        (Reason::EvaluationFailed, "INVALID_QUERY"),
        (Reason::Internal, "INTERNAL_SERVER_ERROR"),
    ] {
        assert_eq!(error::code(reason), code);
    }
}

//! LoopBack's wire, byte for byte; the expected texts are captures of a real LoopBack 3.28.

mod support;

use event_source_model::event::{Event, EventType, Reason, Refusal};
use event_source_model::image::{Image, Key};
use event_source_model::query::{Failure, Fault, Span};
use event_source_model::value::Value;
use event_source_wire::loopback::change::{self, Options, Output};
use event_source_wire::loopback::error::Problem;
use support::{event, image, view};

const PLAIN: Options = Options { output: Output::Events, exact: false };
const EXACT: Options = Options { exact: true, ..PLAIN };
const LINES: Options = Options { output: Output::Lines, ..PLAIN };

fn shown(event: &Event, options: Options) -> String {
    let mut out = String::new();
    change::event(&mut out, &view(None), event.into(), options);
    out
}

/// What stands behind `data: `.
fn data(event: &Event, options: Options) -> String {
    let text = shown(event, options);
    let data = text.split_once("\ndata: ").expect("it has data").1;
    data.strip_suffix("\n\n").expect("it ends in an empty line").to_owned()
}

fn row(id: i64, text: &str) -> Image {
    image(&[("id", Value::Int(id)), ("foo", Value::Text(text.to_owned()))])
}

#[test]
fn a_created_row_is_an_event_called_data_behind_its_position() {
    let created = event(EventType::Add, None, Some(row(1, "bar")));
    let cursor = view(None).cursor(&created.position);
    assert_eq!(
        shown(&created, PLAIN),
        format!(
            "id: {cursor}\nevent: data\n\
             data: {{\"target\":1,\"data\":{{\"id\":1,\"foo\":\"bar\"}},\"type\":\"create\"}}\n\n"
        )
    );
}

#[test]
fn an_updated_row_has_all_its_columns_as_they_are_now() {
    let updated = event(EventType::Update, Some(row(1, "old")), Some(row(1, "new")));
    let expected = r#"{"target":1,"data":{"id":1,"foo":"new"},"type":"update"}"#;
    assert_eq!(data(&updated, PLAIN), expected);
}

#[test]
fn a_removed_row_is_named_by_target_and_where_and_shows_what_it_was() {
    let removed = event(EventType::Remove, Some(row(4, "a2")), None);
    let expected = r#"{"target":4,"where":{"id":4},"data":{"id":4,"foo":"a2"},"type":"remove"}"#;
    assert_eq!(data(&removed, PLAIN), expected);
}

#[test]
fn a_row_that_comes_into_the_filter_is_an_update_and_one_that_leaves_it_is_not_told() {
    let entered = event(EventType::Add, Some(row(1, "x")), Some(row(1, "keep")));
    assert!(data(&entered, PLAIN).ends_with(r#""type":"update"}"#));
    let left = event(EventType::Remove, Some(row(1, "keep")), Some(row(1, "x")));
    assert_eq!(shown(&left, PLAIN), "");
}

#[test]
fn exactly_a_row_is_created_in_the_filter_and_removed_from_it() {
    let entered = event(EventType::Add, Some(row(1, "x")), Some(row(1, "keep")));
    assert!(data(&entered, EXACT).ends_with(r#""type":"create"}"#));
    let left = event(EventType::Remove, Some(row(1, "keep")), Some(row(1, "x")));
    // As it was while it was in the set: what it is now is not the reader's to see.
    let expected = r#"{"target":1,"where":{"id":1},"data":{"id":1,"foo":"keep"},"type":"remove"}"#;
    assert_eq!(data(&left, EXACT), expected);
}

#[test]
fn a_rewritten_history_is_not_told() {
    assert_eq!(shown(&event(EventType::HistoryRewrite, None, Some(row(1, "x"))), PLAIN), "");
}

#[test]
fn target_has_the_type_of_the_column() {
    for (value, json) in [
        (Value::Int(0), "0"),
        (Value::BigInt(9_007_199_254_740_993), "9007199254740993"),
        (Value::Text("a".to_owned()), r#""a""#),
        (Value::Uuid([0xab; 16]), r#""abababab-abab-abab-abab-abababababab""#),
        (Value::Numeric("1.50".to_owned()), "1.50"),
    ] {
        let created = event(EventType::Add, None, Some(image(&[("id", value)])));
        let expected = format!(r#"{{"target":{json},"data":{{"id":{json}}},"type":"create"}}"#);
        assert_eq!(data(&created, PLAIN), expected);
    }
}

#[test]
fn a_key_of_several_columns_is_a_list_and_no_where() {
    let mut removed = event(EventType::Remove, Some(row(1, "a")), None);
    removed.key = Some(Key(vec![Value::Int(1), Value::Text("a".to_owned())]));
    let before = removed.before.as_mut().expect("it was there");
    std::sync::Arc::make_mut(&mut before.shape).key = vec![0, 1];
    let expected = r#"{"target":[1,"a"],"data":{"id":1,"foo":"a"},"type":"remove"}"#;
    assert_eq!(data(&removed, PLAIN), expected);
}

#[test]
fn nulls_are_kept_and_dates_are_as_javascript_writes_them() {
    let created = event(
        EventType::Add,
        None,
        Some(image(&[
            ("id", Value::Int(1)),
            ("gone", Value::Null),
            ("when", Value::Timestamptz(0)),
            ("ok", Value::Bool(true)),
            ("text", Value::Text("a\nb\u{2028}ü".to_owned())),
            ("js", Value::Json("{\n\"a\": [1]}".to_owned())),
            ("nan", Value::Float8(f64::NAN)),
        ])),
    );
    let expected = concat!(
        r#"{"target":1,"data":{"id":1,"gone":null,"when":"2000-01-01T00:00:00.000Z","ok":true,"#,
        r#""text":"a\nb\u2028ü","js":{ "a": [1]},"nan":"NaN"},"type":"create"}"#,
    );
    assert_eq!(data(&created, PLAIN), expected);
}

#[test]
fn a_stream_begins_with_ok_and_its_position_and_stays_open_by_comments() {
    let position = event(EventType::Add, None, Some(row(1, "x"))).position;
    let cursor = view(None).cursor(&position);
    let mut out = String::new();
    change::started(&mut out, &view(None), &position, PLAIN);
    assert_eq!(out, format!(":ok\n\nid: {cursor}\n\n"));
    out.clear();
    change::status(&mut out, &view(None), &position, PLAIN);
    assert_eq!(out, format!(":\nid: {cursor}\n\n"));
}

#[test]
fn lines_are_rows_of_the_multiplexer() {
    let created = event(EventType::Add, None, Some(row(1, "bar")));
    let mut out = String::new();
    change::started(&mut out, &view(None), &created.position, LINES);
    out.push_str(&shown(&created, LINES));
    change::status(&mut out, &view(None), &created.position, LINES);
    change::failed(&mut out, &Refusal::new(Reason::SourceGone, "gone"), LINES);
    assert_eq!(
        out,
        concat!(
            "[\"changes\",\"new\",{\"opts\":{\"writable\":false,\"readable\":true}}]\n",
            "[\"changes\",\"data\",{\"target\":1,\"data\":{\"id\":1,\"foo\":\"bar\"},\"type\":\"create\"}]\n",
            "\n",
            "[\"changes\",\"error\",{\"message\":\"gone\",\"statusCode\":410,\"code\":\"SOURCE_GONE\"}]\n",
        )
    );
}

#[test]
fn a_stream_that_fails_says_so_in_an_event_called_error() {
    let mut out = String::new();
    let refusal = Refusal::new(Reason::PermissionDenied, "the role may not").hint("ask");
    change::failed(&mut out, &refusal, PLAIN);
    assert_eq!(
        out,
        "event: error\ndata: {\"message\":\"the role may not\",\"statusCode\":403,\
         \"code\":\"ACCESS_DENIED\",\"hint\":\"ask\"}\n\n"
    );
}

#[test]
fn errors_have_the_bodies_of_loopback() {
    let body = Problem::invalid("Value is not an object.").body();
    let expected =
        r#"{"error":{"statusCode":400,"name":"Error","message":"Value is not an object."}}"#;
    assert_eq!(body, expected);
    let path = "/Nopes/change-stream?_format=event-stream";
    assert_eq!(
        Problem::no_method("GET", path).body(),
        concat!(
            r#"{"error":{"statusCode":404,"name":"Error","message":"There is no method to handle "#,
            r#"GET /Nopes/change-stream?_format=event-stream"}}"#
        )
    );
    assert_eq!(
        Problem::unauthorized().body(),
        concat!(
            r#"{"error":{"statusCode":401,"name":"Error","message":"Authorization Required","#,
            r#""code":"AUTHORIZATION_REQUIRED"}}"#
        )
    );
}

#[test]
fn who_is_not_known_is_asked_for_a_credential_and_who_is_known_is_denied() {
    let refusal = Refusal::new(Reason::PermissionDenied, "x");
    assert_eq!(Problem::refused(&refusal, false).status, 401);
    assert_eq!(Problem::refused(&refusal, true).status, 403);
    let failure = Failure::new(Fault::PermissionDenied, "x", Span::default());
    assert_eq!(Problem::failed(&failure, false).status, 401);
    assert_eq!(Problem::failed(&failure, true).status, 403);
}

/// A browser stops at any status but 200.
#[test]
fn a_position_that_is_gone_is_no_success() {
    for reason in [Reason::PositionGone, Reason::HistoryChanged, Reason::SourceGone] {
        let problem = Problem::refused(&Refusal::new(reason, "x"), true);
        assert_eq!(problem.status, 410);
        assert!(problem.code.is_some());
    }
}

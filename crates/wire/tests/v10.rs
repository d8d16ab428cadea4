//! Fauna's v10 wire, byte for byte.

mod support;

use event_source_model::cost::Cost;
use event_source_model::event::{EventType, Page, Reason, Refusal, View};
use event_source_model::events::Events;
use event_source_model::image::Image;
use event_source_model::position::Position;
use event_source_model::value::Value;
use event_source_wire::v10::error::Endpoint;
use event_source_wire::v10::{self, value as v10_value};
use support::{event, image, view};

const TXN_TS: i64 = 1_710_456_655_930_000;

fn data(view: &View, image: &Image) -> String {
    let mut out = String::new();
    v10_value::data(&mut out, view, image, TXN_TS);
    out
}

#[test]
fn a_row_with_a_key_is_a_document_without_its_nulls() {
    let row = image(&[
        ("id", Value::BigInt(1001)),
        ("name", Value::Text("p1".to_owned())),
        ("gone", Value::Null),
        ("ts", Value::Text("the protocol's own wins".to_owned())),
        ("n", Value::Int(1)),
    ]);
    assert_eq!(
        data(&view(None), &row),
        concat!(
            r#"{"@doc":{"id":"1001","coll":{"@mod":"Product"},"#,
            r#""ts":{"@time":"2024-03-14T22:50:55.930Z"},"name":"p1","n":{"@int":"1"}}}"#
        )
    );
}

#[test]
fn a_projected_row_or_one_without_a_key_is_a_plain_object() {
    let row = image(&[("id", Value::Int(1)), ("name", Value::Text("x".to_owned()))]);
    assert_eq!(data(&view(Some(vec![2])), &row), r#"{"name":"x"}"#);
    let keyless = image(&[("name", Value::Text("x".to_owned())), ("n", Value::Null)]);
    assert_eq!(data(&view(None), &keyless), r#"{"name":"x"}"#);
    let tagged = image(&[("@int", Value::Text("x".to_owned()))]);
    assert_eq!(data(&view(None), &tagged), r#"{"@object":{"@int":"x"}}"#);
}

#[test]
fn every_kind_of_value_has_its_tag() {
    let day = 86_400_000_000;
    let cases = [
        (Value::Int(-1), r#"{"@int":"-1"}"#),
        (Value::BigInt(7), r#"{"@int":"7"}"#),
        (Value::BigInt(9_007_199_254_740_993), r#"{"@long":"9007199254740993"}"#),
        (Value::Float8(1.5), r#"{"@double":"1.5"}"#),
        (Value::Float8(f64::NAN), r#"{"@double":"NaN"}"#),
        (Value::Numeric("5".to_owned()), r#"{"@int":"5"}"#),
        (Value::Numeric("1.50".to_owned()), r#"{"@double":"1.50"}"#),
        (Value::Numeric("12345678901234567890".to_owned()), r#""12345678901234567890""#),
        (Value::Timestamptz(day), r#"{"@time":"2000-01-02T00:00:00Z"}"#),
        (Value::Timestamptz(i64::MIN), r#""-infinity""#),
        (Value::Timestamptz(day * 3_000_000), r#""10213-09-21T00:00:00Z""#),
        (Value::Timestamp(day), r#""2000-01-02T00:00:00""#),
        (Value::Date(0), r#"{"@date":"2000-01-01"}"#),
        (Value::Date(-730_120), r#""0001-12-31 BC""#),
        (Value::Bytes(b"hello".to_vec()), r#"{"@bytes":"aGVsbG8="}"#),
        (Value::Json(r#"{"@a": 1}"#.to_owned()), r#"{"@object":{"@a":{"@int":"1"}}}"#),
    ];
    for (value, expected) in cases {
        let mut out = String::new();
        v10_value::value(&mut out, &value);
        assert_eq!(out, expected);
    }
}

#[test]
fn an_event_has_exactly_the_fields_that_drivers_know() {
    let added = event(EventType::Add, None, Some(image(&[("id", Value::Int(1))])));
    let mut out = String::new();
    v10::event(&mut out, &view(None), (&added).into(), 2_500);
    let read: serde_json::Value = serde_json::from_str(&out).expect("valid");
    let names: Vec<&String> = read.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["type", "data", "txn_ts", "cursor", "stats"]);
    assert_eq!(read["txn_ts"], 1000);
    // Its own change, and the eight bytes of its only value.
    let stats = serde_json::json!({
        "read_ops": 1, "storage_bytes_read": 8, "compute_ops": 1, "processing_time_ms": 2,
        "rate_limits_hit": [],
    });
    assert_eq!(read["stats"], stats);
}

#[test]
fn a_page_has_all_four_keys_that_python_needs() {
    let page = Page {
        view: view(None),
        events: Events::default(),
        position: Position::after(TXN_TS),
        ends_snapshot: false,
        has_next: false,
        is_cut: false,
        error: None,
        cost: Cost::default(),
    };
    let text = v10::page(&page).expect("undamaged");
    let cursor = view(None).cursor(&page.position);
    assert!(
        text.starts_with(&format!(
            r#"{{"events":[],"cursor":"{cursor}","has_next":false,"stats":{{"read_ops":0,"#
        )),
        "{text}"
    );
}

#[test]
fn a_stream_error_says_its_type_in_the_body_and_a_feed_error_does_not() {
    let refusal = Refusal::new(Reason::InvalidToken, "forged");
    let (status, body) = v10::http_error(&refusal, Endpoint::Stream);
    assert_eq!(status, 400);
    assert_eq!(
        body,
        concat!(
            r#"{"type":"error","error":{"code":"invalid_request","#,
            r#""message":"Invalid request body: invalid event source provided"}}"#
        )
    );
    let (_, body) = v10::http_error(&refusal, Endpoint::Feed);
    assert!(body.starts_with(r#"{"error":{"#) && body.ends_with("provided.\"}}"), "{body}");
}

#[test]
fn no_error_event_tells_python_to_read_on() {
    let mut out = String::new();
    v10::error(&mut out, &Refusal::new(Reason::LimitExceeded, "too many"));
    assert!(!out.contains("limit_exceeded"));
}

//! Change streams: what the worker is asked for each form of a request, and what its answers become.

mod support;

use event_source_door::message::{Changes, StartAt, Tail, ToServer, ToWorker};
use event_source_filter::Filter;
use event_source_model::event::{EventType, Reason, Refusal};
use event_source_model::position::Position;
use event_source_model::query::{
    Answer, Answered, Ask, Constant, EventSource, Failure, Fault, Of, Rows, Shown, Span,
};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use support::client::{Client, Line, Lines, json, request};
use support::worker::Worker;
use support::{SOURCE, config, empty_tail, net, opened, row, tail_of};

const PATH: &str = "/api/Products/change-stream";

async fn answers(worker: &mut Worker, request: u64, answer: Answer) {
    let answered = Answered { answer, txn_ts: 1000, reads: 0, bytes: 0 };
    worker.says(&ToServer::Answered { request, answered }).await;
}

async fn asked(worker: &mut Worker) -> (u64, Option<String>, Ask) {
    match worker.hears().await {
        ToWorker::Query { request, secret, ask } => (request, secret, ask),
        other => panic!("a query was expected, not {other:?}"),
    }
}

/// Answers that there is such a collection.
async fn knows(worker: &mut Worker, has_key: bool) -> (String, Option<String>) {
    let (request, secret, ask) = asked(worker).await;
    let Ask::Plural(plural) = ask else { panic!("a plural was expected, not {ask:?}") };
    let part = |name: &str, constant| (name.to_owned(), Answer::Constant(constant));
    let name = part("name", Constant::Text("Product".to_owned()));
    let answer = Answer::Object(vec![name, part("key", Constant::Bool(has_key))]);
    answers(worker, request, answer).await;
    (plural.text, secret)
}

/// Gives out a token, and tells what for.
async fn mints(worker: &mut Worker) -> Rows {
    let (request, _, ask) = asked(worker).await;
    let Ask::EventSource(EventSource { rows, watch: None, lasts: true, .. }) = ask else {
        panic!("an event source was expected, not {ask:?}")
    };
    answers(worker, request, Answer::EventSource("est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA".to_owned()))
        .await;
    rows
}

/// What the worker saw of a request whose stream it opened.
struct Seen {
    plural: String,
    secret: Option<String>,
    rows: Rows,
    start: StartAt,
}

async fn open(
    worker: &mut Worker,
    client: &mut Client,
    sent: Request<Full<Bytes>>,
) -> (Response<Incoming>, Seen) {
    worker.tails(empty_tail(900, 1000)).await;
    tokio::join!(client.send(sent), async {
        let (plural, secret) = knows(worker, true).await;
        let rows = mints(worker).await;
        let (request, start) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
        Seen { plural, secret, rows, start }
    })
}

/// The filter of the only request of this form, as SQL.
fn sql(rows: &Rows) -> Option<(String, Vec<Option<String>>)> {
    let filter = rows.filter.as_ref()?;
    let filter = Filter::of(filter, |name| Ok(name.text.clone())).expect("it can be written");
    Some((filter.text, filter.values))
}

async fn next_text(lines: &mut Lines) -> String {
    match lines.next().await {
        Line::Text(line) => line,
        other => panic!("the stream is over: {other:?}"),
    }
}

#[tokio::test]
async fn a_stream_has_loopbacks_headers_and_begins_with_ok() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let headers = [
        ("accept", "text/event-stream"),
        ("authorization", "ess_sssssssssssssssssssssssssssssssssssssssssss"),
    ];
    let sent = request("GET", &format!("{PATH}?_format=event-stream"), &headers, "");
    let (response, seen) = open(&mut worker, &mut client, sent).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let cache = response.headers()["cache-control"].to_str().expect("ASCII");
    assert!(cache.contains("no-transform"), "{cache}");
    assert!(!response.headers().contains_key("content-encoding"));
    assert_eq!(
        (seen.plural.as_str(), seen.secret.as_deref()),
        ("Products", Some("ess_sssssssssssssssssssssssssssssssssssssssssss"))
    );
    assert_eq!(seen.start, StartAt::Token);
    assert_eq!(seen.rows.collection.text, "Product");
    assert_eq!((&seen.rows.of, &seen.rows.shown), (&Of::All, &Shown::Document));
    let mut lines = Lines::of(response);
    assert_eq!(lines.next().await, Line::Text(":ok\n".to_owned()));
    assert_eq!(lines.next().await, Line::Text("\n".to_owned()));
    assert!(next_text(&mut lines).await.starts_with("id: "));
    worker.tails(tail_of(1000, 1010, 7, "x")).await;
    assert_eq!(lines.next().await, Line::Text("\n".to_owned()));
    let id = next_text(&mut lines).await;
    assert!(id.starts_with("id: "), "{id}");
    assert_eq!(lines.next().await, Line::Text("event: data\n".to_owned()));
    let data = r#"data: {"target":7,"data":{"id":7,"name":"x"},"type":"create"}"#;
    assert_eq!(lines.next().await, Line::Text(format!("{data}\n")));
}

#[tokio::test]
async fn options_are_the_same_in_each_of_their_forms() {
    let mut worker = Worker::start(config()).await;
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let encoded = "%7B%22where%22%3A%7B%22foo%22%3A%22keep%22%7D%7D";
    let get = |query: &str| request("GET", &format!("{PATH}?{query}"), &[], "");
    let post = |kind, body: &str| request("POST", PATH, &[kind], body);
    for sent in [
        get(&format!("options={encoded}")),
        get("options[where][foo]=keep"),
        get("options%5Bwhere%5D%5Bfoo%5D=keep&_format=event-stream"),
        get("options[where]=%7B%22foo%22%3A%22keep%22%7D"),
        post(json, r#"{"options":{"where":{"foo":"keep"}}}"#),
        post(json, r#"{"options":"{\"where\":{\"foo\":\"keep\"}}"}"#),
        post(("accept", "*/*"), r#"{"options":{"where":{"foo":"keep"}}}"#),
        post(form, &format!("options={encoded}")),
        post(form, "options[where][foo]=keep"),
        request("POST", &format!("{PATH}?options={encoded}"), &[], ""),
    ] {
        let text = format!("{sent:?}");
        let mut client = Client::one(worker.address).await;
        let (response, seen) = open(&mut worker, &mut client, sent).await;
        assert_eq!(response.status(), 200, "{text}");
        let expected = ("(\"foo\" = $1)".to_owned(), vec![Some("keep".to_owned())]);
        assert_eq!(sql(&seen.rows), Some(expected), "{text}");
        drop(response);
        drop(client);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn what_is_no_filter_in_loopback_filters_nothing() {
    let mut worker = Worker::start(config()).await;
    let json = ("content-type", "application/json");
    for sent in [
        request("GET", PATH, &[], ""),
        request("GET", &format!("{PATH}?where=%7B%22foo%22%3A1%7D"), &[], ""),
        request("GET", &format!("{PATH}?options=%7B%7D"), &[], ""),
        request("GET", &format!("{PATH}?options="), &[], ""),
        request("GET", &format!("{PATH}?options[where]=%7B%7D"), &[], ""),
        request("GET", &format!("{PATH}?options[limit]=1&options[order]=id"), &[], ""),
        request("POST", PATH, &[json], r#"{"where":{"foo":1}}"#),
        request("POST", PATH, &[json], r#"{"options":null}"#),
    ] {
        let text = format!("{sent:?}");
        let mut client = Client::one(worker.address).await;
        let (response, seen) = open(&mut worker, &mut client, sent).await;
        assert_eq!(sql(&seen.rows), None, "{text}");
        drop(response);
        drop(client);
        worker.hears_close().await;
    }
}

/// Each operator, and the SQL that PostgreSQL gets for it.
#[tokio::test]
async fn a_condition_is_a_test_with_parameters() {
    let mut worker = Worker::start(config()).await;
    for (conditions, text, values) in [
        (r#"{"a":1}"#, r#"("a" = $1)"#, vec!["1"]),
        (r#"{"a":true}"#, r#"("a" = $1)"#, vec!["true"]),
        (r#"{"a":1.5}"#, r#"("a" = $1::pg_catalog.numeric)"#, vec!["1.5"]),
        (r#"{"a":3000000000}"#, r#"("a" = $1::pg_catalog.int8)"#, vec!["3000000000"]),
        (r#"{"a":null}"#, r#"("a" is null)"#, vec![]),
        (r#"{"a":{"neq":"x"}}"#, r#"(("a" = $1) is not true)"#, vec!["x"]),
        (r#"{"a":{"gt":1,"lte":9}}"#, r#"(("a" > $1) and ("a" <= $2))"#, vec!["1", "9"]),
        (r#"{"a":{"between":[1,2]}}"#, r#"(("a" >= $1) and ("a" <= $2))"#, vec!["1", "2"]),
        (r#"{"a":{"inq":["x","y"]}}"#, r#"("a" in ($1, $2))"#, vec!["x", "y"]),
        (r#"{"a":{"nin":["x"]}}"#, r#"(not coalesce((("a" in ($1)) is true), false))"#, vec!["x"]),
        (
            r#"{"a":{"like":"x%"}}"#,
            r#"("a" operator(pg_catalog.~~) $1::pg_catalog.text)"#,
            vec!["x%"],
        ),
        (
            r#"{"a":{"nilike":"x%"}}"#,
            r#"(not coalesce(("a" operator(pg_catalog.~~*) $1::pg_catalog.text), false))"#,
            vec!["x%"],
        ),
        (
            r#"{"a":{"regexp":"/^x/gi"}}"#,
            concat!(
                r#"(("a" operator(pg_catalog.~) $1::pg_catalog.text) and "#,
                "(($2::pg_catalog.text operator(pg_catalog.~) $3::pg_catalog.text) is not null))",
            ),
            vec!["(?i)^x", "", "(?i)^x"],
        ),
        (
            r#"{"or":[{"a":1},{"b":2,"c":3}]}"#,
            r#"(("a" = $1) or (("b" = $2) and ("c" = $3)))"#,
            vec!["1", "2", "3"],
        ),
        (r#"{"and":[]}"#, "true", vec![]),
        (r#"{"nor":[{"a":1}]}"#, r#"(not coalesce((("a" = $1) is true), false))"#, vec!["1"]),
        (
            r#"{"a.b.0":"x"}"#,
            r#"(("a" operator(pg_catalog.#>>) $1::pg_catalog._text) = $2)"#,
            vec![r#"{"b","0"}"#, "x"],
        ),
        (
            r#"{"a.\"b":{"gt":"x"}}"#,
            r#"(("a" operator(pg_catalog.#>) $1::pg_catalog._text) > $2)"#,
            vec![r#"{"\"b"}"#, r#""x""#],
        ),
    ] {
        let mut client = Client::one(worker.address).await;
        let body = format!(r#"{{"options":{{"where":{conditions}}}}}"#);
        let sent = request("POST", PATH, &[("content-type", "application/json")], &body);
        let (response, seen) = open(&mut worker, &mut client, sent).await;
        let values = values.into_iter().map(|value| Some(value.to_owned())).collect();
        assert_eq!(sql(&seen.rows), Some((text.to_owned(), values)), "{conditions}");
        drop(response);
        drop(client);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn fields_are_a_list_of_names_or_say_true_of_each() {
    let mut worker = Worker::start(config()).await;
    for query in [
        "options[fields][]=name&options[fields][]=id",
        "options[fields][0]=name&options[fields][1]=id&options[fields][2]=id",
        "options[fields][name]=true&options[fields][id]=true",
        "options=%7B%22fields%22%3A%5B%22name%22%2C%22id%22%5D%7D",
        "options=%7B%22fields%22%3A%7B%22name%22%3Atrue%2C%22id%22%3Atrue%7D%7D",
    ] {
        let mut client = Client::one(worker.address).await;
        let sent = request("GET", &format!("{PATH}?{query}"), &[], "");
        let (response, seen) = open(&mut worker, &mut client, sent).await;
        let Shown::Object(shown) = seen.rows.shown else { panic!("not all of it: {query}") };
        let mut shown: Vec<(String, String)> =
            shown.into_iter().map(|(name, column)| (name, column.text)).collect();
        shown.sort();
        let pair = |name: &str| (name.to_owned(), name.to_owned());
        assert_eq!(shown, [pair("id"), pair("name")], "{query}");
        drop(response);
        drop(client);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_and_never_reaches_the_worker() {
    let worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let many = format!(r#"{{"and":[{}]}}"#, vec![r#"{"a":1}"#; 101].join(","));
    let empty = |group: &str, items| format!(r#"{{"{group}":[{}]}}"#, vec!["{}"; items].join(","));
    let deep = format!("{}{}{}", r#"{"nor":["#.repeat(17), r#"{"a":1}"#, "]}".repeat(17));
    let operators: Vec<_> = (0..101).map(|n| format!(r#""gt{n}":1"#)).collect();
    let operators = format!(r#"{{"a":{{{}}}}}"#, operators.join(","));
    let long = format!(r#"{{"a":{{"inq":[{}]}}}}"#, vec!["1"; 1001].join(","));
    for (options, message) in [
        ("[]", "Value is not an object."),
        ("7", "Value is not an object."),
        (r#""x""#, "Value is not an object."),
        (r#"{"where":[]}"#, "Value is not an object."),
        (r#"{"where":{"a":{}}}"#, "\"a\" has no operator"),
        (r#"{"where":{"a":[1]}}"#, "\"a\" must be a text, a number, a boolean or null"),
        (r#"{"where":{"a":{"near":"1,2"}}}"#, "operator \"near\" is not supported"),
        (r#"{"where":{"a":{"between":[1]}}}"#, "\"between\" must be a list of two values"),
        (r#"{"where":{"a":{"inq":1}}}"#, "\"inq\" must be a list"),
        (r#"{"where":{"a":{"like":1}}}"#, "\"like\" must be a text"),
        (r#"{"where":{"a":{"regexp":"/x/s"}}}"#, "the flags of \"/x/s\" are not g, i or m"),
        (r#"{"where":{"and":{"a":1}}}"#, "\"and\" must be a list of conditions"),
        (r#"{"where":{"a..b":1}}"#, "\"a..b\" is no path"),
        (&format!(r#"{{"where":{many}}}"#), "where has more than 100 conditions"),
        (&format!(r#"{{"where":{}}}"#, empty("and", 100)), "where has more than 100 conditions"),
        (&format!(r#"{{"where":{}}}"#, empty("nor", 20_000)), "where has more than 100 conditions"),
        (&format!(r#"{{"where":{deep}}}"#), "where is deeper than 16 levels"),
        (&format!(r#"{{"where":{operators}}}"#), "where has more than 100 conditions"),
        (&format!(r#"{{"where":{long}}}"#), "\"inq\" has more than 1000 values"),
        (r#"{"fields":{"a":false}}"#, "\"fields\" must name what is shown, not leave out \"a\""),
        (r#"{"fields":7}"#, "\"fields\" must be a list of names"),
        (r#"{"skip":1}"#, "\"skip\" would leave no event"),
        (r#"{"limit":0}"#, "\"limit\" would leave no event"),
        (r#"{"exact":"yes"}"#, "\"exact\" must be true or false"),
        (r#"{"includes":"x"}"#, "unknown option \"includes\""),
    ] {
        let body = format!(r#"{{"options":{options}}}"#);
        let headers = [("content-type", "application/json")];
        let response = client.send(request("POST", PATH, &headers, &body)).await;
        assert_eq!(response.status(), 400, "{options}");
        let error = json(response).await;
        assert_eq!(error["error"]["message"], message, "{options}");
        assert_eq!(error["error"]["statusCode"], 400);
        assert_eq!(error["error"]["name"], "Error");
    }
    let broken = client.send(request("POST", PATH, &[], "{")).await;
    assert_eq!(json(broken).await["error"]["message"], "the body is not a JSON object");
    let broken = client.get(&format!("{PATH}?options[where=x")).await;
    assert_eq!(broken.status(), 400);
}

#[tokio::test]
async fn a_credential_is_found_wherever_loopback_looks_for_it() {
    let mut worker = Worker::start(config()).await;
    let bare = [("authorization", "ess_sssssssssssssssssssssssssssssssssssssssssss")];
    let bearer = [("authorization", "Bearer ess_sssssssssssssssssssssssssssssssssssssssssss")];
    let own = [("x-access-token", "ess_sssssssssssssssssssssssssssssssssssssssssss")];
    let query = format!("{PATH}?access_token=ess_sssssssssssssssssssssssssssssssssssssssssss");
    for (path, headers, expected) in [
        (query.as_str(), &[][..], Some("ess_sssssssssssssssssssssssssssssssssssssssssss")),
        (PATH, &bare, Some("ess_sssssssssssssssssssssssssssssssssssssssssss")),
        (PATH, &bearer, Some("ess_sssssssssssssssssssssssssssssssssssssssssss")),
        (PATH, &own, Some("ess_sssssssssssssssssssssssssssssssssssssssssss")),
        (query.as_str(), &bare, Some("ess_sssssssssssssssssssssssssssssssssssssssssss")),
        (PATH, &[], None),
    ] {
        let mut client = Client::one(worker.address).await;
        let sent = request("GET", path, headers, "");
        let (response, seen) = open(&mut worker, &mut client, sent).await;
        assert_eq!(seen.secret.as_deref(), expected, "{path} {headers:?}");
        drop(response);
        drop(client);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn who_is_not_let_in_gets_the_body_of_loopback() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let unauthorized = r#"{"error":{"statusCode":401,"name":"Error","message":"Authorization Required","code":"AUTHORIZATION_REQUIRED"}}"#;
    let unauthorized: serde_json::Value = serde_json::from_str(unauthorized).expect("JSON");
    // What may be followed by a token is not what may be asked.
    let token = client.get(&format!("{PATH}?access_token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA")).await;
    assert_eq!(token.status(), 401);
    assert_eq!(json(token).await, unauthorized);
    let (response, ()) = tokio::join!(client.get(PATH), async {
        let (request, ..) = asked(&mut worker).await;
        worker.refuses(request, Refusal::new(Reason::Unauthorized, "no credential")).await;
    });
    assert_eq!(response.status(), 401);
    assert_eq!(json(response).await, unauthorized);
    let path = format!("{PATH}?access_token=ess_sssssssssssssssssssssssssssssssssssssssssss");
    let (response, ()) = tokio::join!(client.get(&path), async {
        knows(&mut worker, true).await;
        let (request, ..) = asked(&mut worker).await;
        let failure = Failure::new(Fault::PermissionDenied, "denied", Span::default());
        worker.says(&ToServer::Failed { request, failure }).await;
    });
    assert_eq!(response.status(), 403);
    assert_eq!(json(response).await["error"]["code"], "ACCESS_DENIED");
}

#[tokio::test]
async fn a_model_that_is_not_there_and_a_method_that_is_not_known_are_not_found() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let path = "/api/Nopes/change-stream?access_token=ess_sssssssssssssssssssssssssssssssssssssssssss&_format=event-stream";
    let (response, ()) = tokio::join!(client.get(path), async {
        let (request, ..) = asked(&mut worker).await;
        let failure = Failure::new(Fault::UnboundVariable, "no such thing", Span::default());
        worker.says(&ToServer::Failed { request, failure }).await;
    });
    assert_eq!(response.status(), 404);
    // LoopBack's text, but for the credential.
    assert_eq!(
        json(response).await["error"]["message"],
        "There is no method to handle GET /Nopes/change-stream?_format=event-stream"
    );
    for method in ["HEAD", "PUT", "DELETE"] {
        let response = client.send(request(method, PATH, &[], "")).await;
        assert_eq!(response.status(), 404, "{method}");
    }
}

#[tokio::test]
async fn a_table_without_a_key_is_refused() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let (response, ()) = tokio::join!(client.get(PATH), async {
        knows(&mut worker, false).await;
        mints(&mut worker).await;
    });
    assert_eq!(response.status(), 400);
    assert_eq!(
        json(response).await["error"]["message"],
        "\"Product\" has no primary key to tell its rows by"
    );
}

#[tokio::test]
async fn a_browser_that_comes_back_goes_on_where_it_was() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let sent = request("GET", PATH, &[("last-event-id", "cursor")], "");
    let (_response, seen) = open(&mut worker, &mut client, sent).await;
    assert_eq!(seen.start, StartAt::Cursor("cursor".to_owned()));
    // A place that is gone is no success: a browser stops at it.
    let mut client = Client::one(worker.address).await;
    let sent = request("GET", PATH, &[("last-event-id", "old")], "");
    let (response, ()) = tokio::join!(client.send(sent), async {
        knows(&mut worker, true).await;
        mints(&mut worker).await;
        let (request, _) = worker.hears_open().await;
        worker.refuses(request, Refusal::new(Reason::PositionGone, "it is gone")).await;
    });
    assert_eq!(response.status(), 410);
    assert_eq!(json(response).await["error"]["code"], "POSITION_GONE");
}

#[tokio::test]
async fn who_takes_json_and_no_events_gets_lines() {
    let mut worker = Worker::start(config()).await;
    for (query, accept, is_lines) in [
        ("", Some("application/json"), true),
        ("?_format=json", Some("text/event-stream"), true),
        ("?_format=event-stream", Some("application/json"), false),
        ("", Some("application/json, text/plain, */*"), false),
        ("", Some("*/*"), false),
        ("", Some("text/event-stream"), false),
        ("", None, false),
    ] {
        let mut client = Client::one(worker.address).await;
        let headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
        let sent = request("GET", &format!("{PATH}{query}"), &headers, "");
        let (response, _) = open(&mut worker, &mut client, sent).await;
        let kind = response.headers()["content-type"].to_str().expect("ASCII").to_owned();
        let mut lines = Lines::of(response);
        if is_lines {
            assert_eq!(kind, "application/json; boundary=NL", "{query} {accept:?}");
            assert_eq!(lines.event().await[1], "new");
            worker.tails(tail_of(1000, 1010, 7, "x")).await;
            let row = lines.event().await;
            assert_eq!((&row[1], &row[2]["target"]), (&"data".into(), &7.into()));
        } else {
            assert_eq!(kind, "text/event-stream", "{query} {accept:?}");
        }
        drop(lines);
        drop(client);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn exactly_is_an_option() {
    let mut worker = Worker::start(config()).await;
    for (query, word) in [("", "update"), ("?options[exact]=true", "create")] {
        let mut client = Client::one(worker.address).await;
        let sent = request("GET", &format!("{PATH}{query}"), &[], "");
        let (response, _) = open(&mut worker, &mut client, sent).await;
        let mut lines = Lines::of(response);
        let change = net(Some(row(7, "out")), Some(row(7, "in")));
        let mut changes = Changes::default();
        changes.push(Position::at(1010, 0), &change, [(SOURCE, EventType::Add)].into());
        worker.tails(Tail { changes, ..empty_tail(1000, 1010) }).await;
        let data = loop {
            let line = next_text(&mut lines).await;
            if let Some(data) = line.strip_prefix("data: ") {
                break data.to_owned();
            }
        };
        assert!(data.contains(&format!(r#""type":"{word}""#)), "{data}");
        drop(lines);
        drop(client);
        worker.hears_close().await;
    }
}

#[tokio::test]
async fn the_end_is_told_in_an_event_called_error() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let (response, _) = open(&mut worker, &mut client, request("GET", PATH, &[], "")).await;
    let mut lines = Lines::of(response);
    let refusal = Refusal::new(Reason::PermissionDenied, "the role may not");
    worker.says(&ToServer::Ended { source: SOURCE, refusal }).await;
    let mut all = Vec::new();
    while let Line::Text(line) = lines.next().await {
        all.push(line);
    }
    let error = r#"data: {"message":"the role may not","statusCode":403,"code":"ACCESS_DENIED"}"#;
    assert!(all.concat().ends_with(&format!("event: error\n{error}\n\n")), "{all:?}");
    assert_eq!(lines.next().await, Line::End);
}

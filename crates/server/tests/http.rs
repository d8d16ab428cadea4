//! Requests and responses: statuses, headers, bodies of both wires.

mod support;

use event_source_door::message::{Access, Config, StartAt, ToServer, ToWorker};
use event_source_model::event::{Reason, Refusal};
use event_source_model::position::Position;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use support::client::{Client, Line, Lines, json, request};
use support::worker::Worker;
use support::{added, config, empty_tail, opened, page, tail_of, view};

const BODY: &str = r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"}"#;

#[tokio::test]
async fn a_v10_feed_is_answered_on_both_versions_of_http() {
    let mut worker = Worker::start(config()).await;
    for mut client in [Client::one(worker.address).await, Client::two(worker.address).await] {
        let body = r#"{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA","page_size":2,"start_ts":500}"#;
        let (response, ()) = tokio::join!(client.post("/feed/1", body), async {
            let (request, start, page_size) = worker.hears_page().await;
            assert_eq!((start, page_size), (StartAt::Timestamp(500), 2));
            worker.pages(request, page(vec![added(1000, 1)], 1000, true)).await;
        });
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let page = json(response).await;
        assert_eq!(page["events"][0]["data"]["@doc"]["id"], "1");
        assert_eq!(page["has_next"], true);
        assert_eq!(page["cursor"], view().cursor(&Position::after(1000)));
    }
}

#[tokio::test]
async fn a_v10_stream_has_lines_that_end_in_crlf_and_a_number() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::two(worker.address).await;
    let (response, ()) = tokio::join!(client.post("/stream/1", BODY), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
    });
    assert!(response.headers().contains_key("x-fauna-stream-id"));
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json;charset=utf-8");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store, no-transform");
    let mut lines = Lines::of(response);
    worker.tails(tail_of(1000, 1010, 1, "x")).await;
    for kind in ["status", "add"] {
        let Line::Text(line) = lines.next().await else { panic!("the stream ended") };
        assert!(line.starts_with(&format!(r#"{{"type":"{kind}","#)), "{line}");
        assert!(line.ends_with("}\r\n"));
    }
}

#[tokio::test]
async fn v10_errors_have_faunas_words() {
    let worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    for (body, message) in [
        ("", "Invalid request body: expected a JSON object."),
        ("{}", "Invalid request body: Value for key token not found."),
        (r#"{"token":1}"#, "Invalid request body: Unexpected number value '1'."),
        (
            r#"{"token":"t","cursor":"c","start_ts":1}"#,
            "Invalid request body: can not provide both `start_ts` and `cursor`",
        ),
        (
            r#"{"token":"t","page_size":0}"#,
            "Invalid request body: page size must be greater than zero.",
        ),
        (
            r#"{"token":"t","page_size":16001}"#,
            "Invalid request body: page size can not be greater than 16000.",
        ),
    ] {
        let response = client.post("/feed/1", body).await;
        assert_eq!(response.status(), 400);
        let read = json(response).await;
        assert_eq!(read["error"]["message"], message);
        assert_eq!(read["error"]["code"], "invalid_request");
    }
    let response = client.send(request("POST", "/stream/1", &[], BODY)).await;
    assert_eq!(response.status(), 401);
    let read = json(response).await;
    assert_eq!(read["error"]["code"], "unauthorized");
    assert_eq!(read["type"], "error", "the Python driver looks at nothing else");
}

#[tokio::test]
async fn a_position_that_is_gone_is_said_inside_a_v10_answer_and_by_410_in_a_native_one() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let cursor = view().cursor(&Position::after(10));
    let mut refusal = Refusal::new(Reason::PositionGone, "the position is no longer in the log");
    refusal.cursor = Some(view().cursor(&Position::after(500)));
    let body = format!(r#"{{"token":"est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA","cursor":"{cursor}"}}"#);

    let (response, ()) = tokio::join!(client.post("/stream/1", &body), async {
        let (request, _) = worker.hears_open().await;
        worker.refuses(request, refusal.clone()).await;
    });
    let mut lines = Lines::of(response);
    let status = lines.event().await;
    assert_eq!((&status["type"], &status["cursor"]), (&"status".into(), &cursor.clone().into()));
    assert_eq!(lines.event().await["error"]["code"], "invalid_stream_start_time");
    assert_eq!(lines.next().await, Line::End);

    let (response, ()) = tokio::join!(client.post("/feed/1", &body), async {
        let (request, ..) = worker.hears_page().await;
        worker.refuses(request, refusal.clone()).await;
    });
    let page = json(response).await;
    assert_eq!(page["events"][0]["error"]["code"], "invalid_stream_start_time");
    assert_eq!((&page["cursor"], &page["has_next"]), (&cursor.into(), &false.into()));

    let (response, ()) = tokio::join!(client.post("/v1/feed", &body), async {
        let (request, ..) = worker.hears_page().await;
        worker.refuses(request, refusal.clone()).await;
    });
    assert_eq!(response.status(), 410);
    let error = json(response).await;
    assert_eq!(error["error"]["code"], "position_gone");
    assert_eq!(error["error"]["cursor"], refusal.cursor.expect("given above"));
}

#[tokio::test]
async fn sse_has_ids_and_a_reconnect_goes_before_the_cursor_of_the_url() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::one(worker.address).await;
    let headers = [("accept", "text/event-stream"), ("last-event-id", "new")];
    let get = request(
        "GET",
        "/v1/stream?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA&cursor=old&include=prev",
        &headers,
        "",
    );
    let (response, ()) = tokio::join!(client.send(get), async {
        let (request, start) = worker.hears_open().await;
        assert_eq!(start, StartAt::Cursor("new".to_owned()));
        worker.opens(request, opened(1000, 900)).await;
    });
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut lines = Lines::of(response);
    let id = format!("id: {}\n", view().cursor(&Position::after(1000)));
    assert_eq!(lines.next().await, Line::Text(id));
    let Line::Text(data) = lines.next().await else { panic!("the stream ended") };
    assert!(data.starts_with(r#"data: {"type":"status","#));
    assert_eq!(lines.next().await, Line::Text("\n".to_owned()));
}

#[tokio::test]
async fn a_secret_beside_a_token_reaches_the_worker_with_it() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let get = request(
        "GET",
        "/v1/feed?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA",
        &[("x-access-token", "ess_sssssssssssssssssssssssssssssssssssssssssss")],
        "",
    );
    let (response, ()) = tokio::join!(client.send(get), async {
        let ToWorker::Page { request, access, .. } = worker.hears().await else {
            panic!("a Page was expected")
        };
        let secret = Some("ess_sssssssssssssssssssssssssssssssssssssssssss".to_owned());
        assert_eq!(access, Access { token: "est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA".to_owned(), secret });
        worker.refuses(request, Refusal::new(Reason::LimitExceeded, "too many")).await;
    });
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
}

#[tokio::test]
async fn only_a_full_page_with_more_behind_it_may_be_kept() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    for (has_next, expected) in [(true, "private, max-age=3600, immutable"), (false, "no-store")] {
        let get = client.get("/v1/feed?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA&page_size=1");
        let (response, ()) = tokio::join!(get, async {
            let (request, ..) = worker.hears_page().await;
            worker.pages(request, page(vec![added(1000, 1)], 1000, has_next)).await;
        });
        assert_eq!(response.headers()[CACHE_CONTROL], expected);
        json(response).await;
    }
}

#[tokio::test]
async fn a_feed_that_waits_is_answered_by_the_first_event() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::one(worker.address).await;
    let (response, ()) = tokio::join!(
        client.get("/v1/feed?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA&wait=60"),
        async {
            let (request, ..) = worker.hears_page().await;
            worker.pages(request, page(Vec::new(), 1000, false)).await;
            let (request, start) = worker.hears_open().await;
            assert_eq!(start, StartAt::Cursor(view().cursor(&Position::after(1000))));
            worker.opens(request, opened(1000, 900)).await;
            worker.tails(tail_of(1000, 1010, 1, "x")).await;
            worker.hears_close().await;
            let (request, again, _) = worker.hears_page().await;
            assert_eq!(again, start);
            worker.pages(request, page(vec![added(1010, 1)], 1010, false)).await;
        }
    );
    assert_eq!(json(response).await["events"][0]["key"], 1);
}

#[tokio::test]
async fn what_is_no_route_is_said_in_json() {
    let worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let response = client.get("/nothing").await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert_eq!(json(response).await["error"]["code"], "not_found");
    let response = client.get("/feed/1").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[ALLOW]),
        (405, &"POST".parse().expect("a header"))
    );
    assert_eq!(json(response).await["error"]["code"], "method_not_allowed");
    let response = client.get("/v1/feed?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA&tokn=x").await;
    assert_eq!(response.status(), 400);
    assert_eq!(json(response).await["error"]["message"], "unknown parameter \"tokn\"");
    let response =
        client.get("/v1/stream?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA&snapshot=maybe").await;
    let message = "parameter \"snapshot\" must be true or false";
    assert_eq!(json(response).await["error"]["message"], message);
    let response = client.get("/v1/stream").await;
    assert_eq!(response.status(), 401);
    let mut other = Client::two(worker.address).await;
    let long = "x".repeat((1 << 20) + 1);
    assert_eq!(other.post("/v1/feed", &long).await.status(), 413);
}

#[tokio::test]
async fn only_listed_origins_may_read() {
    let origins = "https://shop.example, https://other.example".to_owned();
    let worker = Worker::start(Config { cors_origins: origins, ..config() }).await;
    let mut client = Client::one(worker.address).await;
    let ask = |path, origin| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        request("OPTIONS", path, &headers, "")
    };
    // Everybody is answered: an origin that may not read is not named in the answer.
    for path in ["/v1/feed", "/feed/1"] {
        let allowed = client.send(ask(path, "https://shop.example")).await;
        assert_eq!(allowed.status(), 200, "{path}");
        assert_eq!(allowed.headers()["access-control-allow-origin"], "https://shop.example");
        let refused = client.send(ask(path, "https://evil.example")).await;
        assert_eq!(refused.status(), 200, "{path}");
        assert!(!refused.headers().contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_v10_preflight_is_answered_by_200_and_what_faunas_browser_client_sends() {
    let origins = "https://shop.example".to_owned();
    let worker = Worker::start(Config { cors_origins: origins, ..config() }).await;
    let mut client = Client::one(worker.address).await;
    for path in ["/stream/1", "/feed/1", "/query/1"] {
        let headers = [("origin", "https://shop.example")];
        let answer = client.send(request("OPTIONS", path, &headers, "")).await;
        assert_eq!(answer.status(), 200);
        let said = |name: &str| answer.headers()[name].to_str().expect("a text").to_owned();
        assert_eq!(said("access-control-allow-origin"), "https://shop.example");
        assert_eq!(said("access-control-allow-credentials"), "true");
        assert_eq!(said("access-control-max-age"), "86400");
        assert!(said("access-control-allow-methods").contains("POST"));
        let allowed = said("access-control-allow-headers");
        let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
        for name in [
            "accept-encoding",
            "authorization",
            "content-type",
            "x-driver-env",
            "x-format",
            "x-last-txn-ts",
            "x-linearized",
            "x-max-contention-retries",
            "x-query-tags",
            "x-query-timeout-ms",
            "x-typecheck",
            "x-performance-hints",
            "traceparent",
        ] {
            assert!(allowed.contains(&name), "{name}");
        }
    }
}

#[tokio::test]
async fn any_origin_is_not_any_origin_with_the_browsers_credentials() {
    let worker = Worker::start(Config { cors_origins: "*".to_owned(), ..config() }).await;
    let mut client = Client::one(worker.address).await;
    let headers = [("origin", "https://any.example")];
    let answer = client.send(request("OPTIONS", "/feed/1", &headers, "")).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://any.example");
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn ready_is_said_only_while_the_closed_timestamp_is_fresh() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    assert_eq!(json(client.get("/health").await).await["status"], "ok");
    let response = client.get("/ready").await;
    assert_eq!(response.status(), 503);
    assert_eq!(json(response).await["status"], "starting");
    worker.tails(empty_tail(1, 2)).await;
    while json(client.get("/ready").await).await["status"] != "the closed timestamp is old" {}
    worker.tails(empty_tail(2, support::now())).await;
    while client.get("/ready").await.status() != 200 {}
}

#[tokio::test]
async fn clients_over_the_limit_are_refused_in_words() {
    let worker = Worker::start(Config { max_clients: 1, ..config() }).await;
    let mut first = Client::one(worker.address).await;
    assert_eq!(first.get("/health").await.status(), 200);
    let mut second = Client::one(worker.address).await;
    assert_eq!(
        second.get("/health").await.status(),
        200,
        "a health check is answered all the same"
    );
    let refused = second.get("/v1/feed?token=est_t").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()[RETRY_AFTER], "1");
    assert_eq!(json(refused).await["error"]["code"], "limit_exceeded");
}

#[tokio::test]
async fn a_stop_says_goodbye_in_each_protocols_way() {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut streams = Vec::new();
    for path in ["/v1/stream", "/stream/1"] {
        let mut client = Client::one(worker.address).await;
        let (response, ()) = tokio::join!(client.post(path, BODY), async {
            let (request, _) = worker.hears_open().await;
            worker.opens(request, opened(1000, 900)).await;
        });
        let mut lines = Lines::of(response);
        assert_eq!(lines.event().await["type"], "status");
        streams.push(lines);
    }
    let asked = std::time::Instant::now();
    worker.says(&ToServer::Stop).await;
    let [native, v10] = streams.as_mut_slice() else { unreachable!("two streams") };
    assert_eq!(native.event().await["error"]["code"], "unavailable");
    assert_eq!(native.next().await, Line::End);
    assert_eq!(v10.next().await, Line::Broken, "Python would take a clean end for the end");
    worker.server.await.expect("no panic").expect("a planned stop");
    // Seen: 0.4 s, which is what clients are given to read the goodbye. A server that waited for them to go
    // would wait for as long as they stay.
    assert!(asked.elapsed() < std::time::Duration::from_secs(4));
}

#[tokio::test]
async fn the_server_ends_with_its_worker() {
    let Worker { stream, server, .. } = Worker::start(config()).await;
    drop(stream);
    let error = server.await.expect("no panic").expect_err("not a planned stop");
    assert!(matches!(error, event_source_server::door::DoorError::Closed), "{error}");
}

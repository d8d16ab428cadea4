//! Queries: what the worker is asked, and how its answers are written.

mod support;

use event_source_door::message::{ToServer, ToWorker};
use event_source_model::event::{Reason, Refusal};
use event_source_model::query::{Answer, Answered, Ask, Failure, Fault, Of, Span};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::json as value;
use support::client::{Client, json, request};
use support::worker::Worker;
use support::{config, row, view};

fn query(body: &str, credential: Option<&str>) -> Request<Full<Bytes>> {
    let bearer = credential.map(|credential| format!("Bearer {credential}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    request("POST", "/query/1", &headers, body)
}

#[tokio::test]
async fn the_worker_gets_names_and_constants_and_its_answer_is_tagged() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let body = r#"{"query":{"fql":["{ p: Product.byName(",{"value":"x\") || (\""},"), s: Product.all().eventSource() }"]}}"#;
    let (response, ()) = tokio::join!(
        client.send(query(body, Some("ess_sssssssssssssssssssssssssssssssssssssssssss"))),
        async {
            let ToWorker::Query { request, secret, ask } = worker.hears().await else {
                panic!("no query")
            };
            assert_eq!(secret.as_deref(), Some("ess_sssssssssssssssssssssssssssssssssssssssssss"));
            let Ask::Object(fields) = ask else { panic!("it is an object") };
            let Ask::Page { rows, size: 16 } = &fields[0].1 else { panic!("a page of 16") };
            let Of::Index { terms, .. } = &rows.of else { panic!("it is an index") };
            assert_eq!(
                terms,
                &[event_source_model::query::Constant::Text("x\") || (\"".to_owned())]
            );
            let after = Some("next".to_owned());
            let page =
                Answer::Page { view: view(), rows: vec![row(1, "a")], is_next: false, after };
            let fields = vec![
                ("p".to_owned(), page),
                (
                    "s".to_owned(),
                    Answer::EventSource("est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA".to_owned()),
                ),
            ];
            let answered =
                Answered { answer: Answer::Object(fields), txn_ts: 1000, reads: 3, bytes: 9 };
            worker.says(&ToServer::Answered { request, answered }).await;
        }
    );
    assert_eq!(response.status(), 200);
    let answer = json(response).await;
    assert_eq!(answer["data"]["p"]["@set"]["data"][0]["@doc"]["id"], "1");
    assert_eq!(answer["data"]["p"]["@set"]["after"], "next");
    assert_eq!(answer["data"]["s"], value!({ "@stream": "est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA" }));
    assert_eq!(answer["txn_ts"], 1000);
    assert_eq!(answer["stats"]["read_ops"], 3);
    assert_eq!(answer["stats"]["storage_bytes_read"], 9);
}

#[tokio::test]
async fn what_the_worker_finds_wrong_is_underlined_in_the_query() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let body = r#"{"query":"Nothing.all()"}"#;
    let (response, ()) = tokio::join!(
        client.send(query(body, Some("ess_sssssssssssssssssssssssssssssssssssssssssss"))),
        async {
            let ToWorker::Query { request, .. } = worker.hears().await else { panic!("no query") };
            let span = Span { start: 0, end: 7 };
            let failure = Failure::new(Fault::UnboundVariable, "Unbound variable `Nothing`", span);
            worker.says(&ToServer::Failed { request, failure }).await;
        }
    );
    assert_eq!(response.status(), 400);
    let answer = json(response).await;
    assert_eq!(answer["error"]["code"], "unbound_variable");
    let summary = answer["summary"].as_str().expect("a summary");
    assert!(summary.contains("1 | Nothing.all()\n  | ^^^^^^^\n"), "{summary}");
}

#[tokio::test]
async fn a_refused_query_never_reaches_the_worker() {
    let worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    let secret = Some("ess_sssssssssssssssssssssssssssssssssssssssssss");
    for (body, credential, status, code) in [
        (r#"{"query":"Product.all("}"#, secret, 400, "invalid_query"),
        (r#"{"query":"x"}"#, secret, 400, "invalid_query"),
        (r#"{"query":{"fql":[{"value":{"@int":"x"}}]}}"#, secret, 400, "invalid_request"),
        (r#"{"query":"1","arguments":[]}"#, secret, 400, "invalid_request"),
        (r#"{"query":7}"#, secret, 400, "invalid_request"),
        ("{}", None, 400, "invalid_request"),
        // What may be followed by a token is not what may be asked.
        (r#"{"query":"1"}"#, Some("est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"), 401, "unauthorized"),
    ] {
        let response = client.send(query(body, credential)).await;
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(json(response).await["error"]["code"], code, "{body}");
    }
}

#[tokio::test]
async fn whether_a_query_may_be_asked_with_a_credential_or_without_only_the_worker_says() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::one(worker.address).await;
    for credential in [Some("ess_sssssssssssssssssssssssssssssssssssssssssss"), None] {
        let asking = client.send(query(r#"{"query":"1"}"#, credential));
        let (response, ()) = tokio::join!(asking, async {
            let ToWorker::Query { request, secret, .. } = worker.hears().await else {
                panic!("no query")
            };
            assert_eq!(secret.as_deref(), credential);
            worker.refuses(request, Refusal::new(Reason::Unauthorized, "invalid secret")).await;
        });
        assert_eq!(response.status(), 401);
        assert_eq!(json(response).await["error"]["code"], "unauthorized");
    }
}

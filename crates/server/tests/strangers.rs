//! Credentials that are none never reach the worker, and nothing much is done for whoever brings them.

mod support;

use std::time::Duration;

use event_source_door::message::{Config, JwtKey, ToWorker};
use event_source_model::event::{Reason, Refusal};
use event_source_model::query::{Ask, Constant};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use support::client::{Client, request};
use support::worker::{PATIENCE, Worker};
use support::{config, now, page};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TOKEN: &str = "est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA";
const SECRET: &str = "ess_sssssssssssssssssssssssssssssssssssssssssss";
const PUBLIC: &[u8] = include_bytes!("../../jwt/src/test_keys/p256.pub");
const PRIVATE: &[u8] = include_bytes!("../../jwt/src/test_keys/p256.pem");
/// Nothing comes any more after this.
const SILENCE: Duration = Duration::from_millis(300);

fn with_key() -> Config {
    Config { jwt_key: JwtKey::Public(PUBLIC.to_vec()), ..config() }
}

/// Signed by the key, good for so many seconds from now on.
fn jwt(seconds: i64) -> String {
    let claims = json!({ "role": "reader", "exp": now() / 1_000_000 + seconds });
    let key = EncodingKey::from_ec_pem(PRIVATE).expect("a key");
    encode(&Header::new(Algorithm::ES256), &claims, &key).expect("it can be signed")
}

fn by_secret() -> String {
    let claims = json!({ "role": "reader", "exp": now() / 1_000_000 + 60 });
    let key = EncodingKey::from_secret(&[7; 32]);
    encode(&Header::default(), &claims, &key).expect("it can be signed")
}

fn bad_credentials() -> Vec<String> {
    let good = jwt(60);
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    let mut bad: Vec<String> = [
        "s",
        "ess_",
        "ess_short",
        "a.b.c",
        "..",
        "Ess_sssssssssssssssssssssssssssssssssssssssssss",
    ]
    .map(str::to_owned)
    .into();
    bad.push(format!("{SECRET}s"));
    bad.push(format!("ess_{}", "x".repeat(100_000 / 4)));
    bad.push(format!("{signed}.{}", "A".repeat(86)));
    bad.push(jwt(-1));
    bad.push(by_secret());
    bad
}

#[tokio::test]
async fn bad_credentials_are_refused_on_every_route_and_never_reach_the_worker() {
    let mut worker = Worker::start(with_key()).await;
    let mut client = Client::one(worker.address).await;
    let feed = format!(r#"{{"token":"{TOKEN}"}}"#);
    for credential in bad_credentials() {
        let bearer = format!("Bearer {credential}");
        let headers = [("authorization", bearer.as_str())];
        for (path, body) in [
            ("/v1/stream", feed.as_str()),
            ("/v1/feed", &feed),
            ("/stream/1", &feed),
            ("/feed/1", &feed),
            ("/query/1", r#"{"query":"t.all()"}"#),
            ("/", r#"{"get":{"match":{"index":"i"}}}"#),
            ("/stream", r#"{"match":{"index":"i"}}"#),
            ("/api/Things/change-stream", ""),
        ] {
            let answer = client.send(request("POST", path, &headers, body)).await;
            assert_eq!(answer.status(), 401, "{path} {credential}");
        }
    }
    for token in
        ["est_", "est_t", "est_AQAA", "est_!!!!", &format!("{TOKEN}="), &"est_A".repeat(2000)]
    {
        let body = format!(r#"{{"token":"{token}"}}"#);
        let answer = client.send(request("POST", "/v1/feed", &[], &body)).await;
        assert_eq!(answer.status(), 401, "{token}");
    }
    assert_eq!(worker.hears_within(SILENCE).await, None);
}

#[tokio::test]
async fn a_good_jwt_reaches_the_worker_and_after_another_key_it_does_not() {
    let mut worker = Worker::start(with_key()).await;
    let mut client = Client::one(worker.address).await;
    let bearer = format!("Bearer {}", jwt(60));
    let headers = [("authorization", bearer.as_str())];
    let body = format!(r#"{{"token":"{TOKEN}"}}"#);
    // The second time it is known.
    for _ in 0..2 {
        let asking = client.send(request("POST", "/v1/feed", &headers, &body));
        let (answer, ()) = tokio::join!(asking, async {
            let (request, _, _) = worker.hears_page().await;
            worker.pages(request, page(Vec::new(), 1000, true)).await;
        });
        assert_eq!(answer.status(), 200);
    }
    for jwt_key in
        [JwtKey::None, JwtKey::Public(include_bytes!("../../jwt/src/test_keys/ed.pub").to_vec())]
    {
        let config = Config { jwt_key, ..config() };
        worker.says(&event_source_door::message::ToServer::Config(config)).await;
        let refused = async {
            while client.send(request("POST", "/v1/feed", &headers, &body)).await.status() != 401 {}
        };
        tokio::time::timeout(PATIENCE, refused).await.expect("the key to count");
    }
}

#[tokio::test]
async fn what_only_the_worker_can_judge_is_left_to_it() {
    for (jwt_key, credential) in [
        (JwtKey::Secret, by_secret()),
        (JwtKey::Unread, jwt(60)),
        (JwtKey::None, SECRET.to_owned()),
    ] {
        let mut worker = Worker::start(Config { jwt_key, ..config() }).await;
        let mut client = Client::one(worker.address).await;
        let bearer = format!("Bearer {credential}");
        let body = r#"{"query":"1"}"#;
        let asking = client.send(request("POST", "/query/1", &[("authorization", &bearer)], body));
        let (answer, ()) = tokio::join!(asking, async {
            let ToWorker::Query { request, secret, .. } = worker.hears().await else {
                panic!("no query")
            };
            assert_eq!(secret.as_deref(), Some(&*credential));
            worker.refuses(request, Refusal::new(Reason::Unauthorized, "invalid secret")).await;
        });
        assert_eq!(answer.status(), 401);
    }
}

#[tokio::test]
async fn a_bad_credential_is_refused_before_the_body_comes() {
    let worker = Worker::start(with_key()).await;
    for path in ["/v1/feed", "/v1/stream", "/feed/1", "/query/1", "/", "/api/Things/change-stream"]
    {
        let mut socket = TcpStream::connect(worker.address).await.expect("the server listens");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer s\r\ncontent-length: 1000000\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("it reads");
        let mut line = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(5), socket.read_exact(&mut line)).await;
        read.expect("an answer before the body").expect("an answer");
        assert_eq!(&line, b"HTTP/1.1 401", "{path}");
    }
}

#[tokio::test]
async fn nobody_asks_anything_where_there_is_no_role_for_that() {
    let mut worker = Worker::start(Config { has_anonymous_role: false, ..config() }).await;
    let mut client = Client::two(worker.address).await;
    for (path, body) in [
        ("/query/1", r#"{"query":"t.all("}"#),
        ("/", "no JSON"),
        ("/stream", "{}"),
        ("/api/Things/change-stream", ""),
    ] {
        let answer = client.send(request("POST", path, &[], body)).await;
        assert_eq!(answer.status(), 401, "{path}");
    }
    assert_eq!(worker.hears_within(SILENCE).await, None);
}

#[tokio::test]
async fn a_large_question_is_not_read_before_the_worker_has_said_who_asks() {
    let mut worker = Worker::start(config()).await;
    let mut client = Client::two(worker.address).await;
    let bearer = format!("Bearer {SECRET}");
    let query = format!(r#"{{"query":"({}"}}"#, "(".repeat(100_000));
    for path in ["/query/1", "/"] {
        let asking = client.send(request("POST", path, &[("authorization", &bearer)], &query));
        let (answer, ()) = tokio::join!(asking, async {
            let ToWorker::Query { request, ask: Ask::Constant(Constant::Null), .. } =
                worker.hears().await
            else {
                panic!("something else is asked")
            };
            worker.refuses(request, Refusal::new(Reason::Unauthorized, "invalid secret")).await;
        });
        assert_eq!(answer.status(), 401, "{path}");
    }
}

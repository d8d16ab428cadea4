//! What is served, and by which names the server may be addressed.

mod support;

use event_source_door::hosts;
use event_source_door::message::{Config, ToServer};
use event_source_door::protocols::{self, Protocol, Protocols};
use hyper::Response;
use hyper::body::Incoming;
use support::client::{Client, json, request};
use support::config;
use support::socket::ask_one;
use support::worker::Worker;

/// The routes of each protocol; a method that it knows comes first.
const ROUTES: [(Protocol, &[&str], &str); 8] = [
    (Protocol::Native, &["GET", "POST", "PUT"], "/v1/stream"),
    (Protocol::Native, &["GET", "POST", "PUT"], "/v1/feed"),
    (Protocol::Fauna, &["POST", "GET"], "/stream/1"),
    (Protocol::Fauna, &["POST", "GET"], "/feed/1"),
    (Protocol::FaunaQuery, &["POST", "GET"], "/query/1"),
    (Protocol::FaunaV4, &["POST", "GET"], "/stream"),
    (Protocol::Directus, &["GET", "POST"], "/websocket"),
    (Protocol::Loopback, &["GET", "POST", "PUT"], "/api/products/change-stream"),
];

fn serving(protocols: Protocols) -> Config {
    Config { protocols, ..config() }
}

async fn is_off(response: Response<Incoming>, protocol: Protocol) -> bool {
    if response.status() != 404 {
        return false;
    }
    let said = json(response).await;
    let hint = said["error"]["hint"].as_str().unwrap_or_default();
    let is_off = said["error"]["code"] == "not_found" && hint.contains("event_source.protocols");
    assert!(!is_off || hint.contains(protocol.name()), "{hint}");
    is_off
}

/// A request that needs no worker, or is not waited for.
async fn is_served(client: &mut Client, method: &str, path: &str, protocol: Protocol) -> bool {
    // A body that no protocol takes.
    let asked = client.send(request(method, path, &[], "["));
    match tokio::time::timeout(std::time::Duration::from_secs(2), asked).await {
        Ok(response) => !is_off(response, protocol).await,
        Err(_) => true,
    }
}

#[tokio::test]
async fn what_is_not_named_is_not_there_whatever_is_asked_of_it() {
    for on in Protocol::ALL {
        let worker = Worker::start(serving([on].into_iter().collect())).await;
        for (protocol, methods, path) in ROUTES {
            for method in methods {
                for mut client in
                    [Client::one(worker.address).await, Client::two(worker.address).await]
                {
                    let is_served = is_served(&mut client, method, path, protocol).await;
                    assert_eq!(is_served, protocol == on, "{method} {path} with {on:?}");
                }
            }
        }
        let mut client = Client::one(worker.address).await;
        for path in ["/", "/ping"] {
            let off = is_off(client.get(path).await, Protocol::FaunaV4).await;
            assert_eq!(off, on != Protocol::FaunaV4, "{path} with {on:?}");
        }
        assert_eq!(client.get("/health").await.status(), 200);
    }
}

#[tokio::test]
async fn by_default_that_is_served_which_needs_a_token() {
    let protocols = protocols::parse(Protocols::DEFAULT).expect("valid");
    let worker = Worker::start(serving(protocols)).await;
    let mut client = Client::one(worker.address).await;
    for (protocol, methods, path) in ROUTES {
        let is_served = is_served(&mut client, methods[0], path, protocol).await;
        let expected = matches!(protocol, Protocol::Native | Protocol::Fauna);
        assert_eq!(is_served, expected, "{path}");
        if is_served {
            let nothing = request(methods[0], path, &[], "{}");
            let status = client.send(nothing).await.status().as_u16();
            assert!([400, 401].contains(&status), "{path} without a token: {status}");
        }
    }
    let upgrade = ask_one(worker.address, "/websocket", &[]).await;
    assert!(is_off(upgrade, Protocol::Directus).await);
}

#[tokio::test]
async fn what_is_served_changes_with_a_reload() {
    let mut worker = Worker::start(serving(Protocols::default())).await;
    let mut client = Client::one(worker.address).await;
    assert_eq!(client.get("/ping").await.status(), 404);
    worker.says(&ToServer::Config(serving(Protocols::all()))).await;
    while client.get("/ping").await.status() != 200 {}
    worker.says(&ToServer::Config(serving(Protocols::default()))).await;
    while client.get("/ping").await.status() != 404 {}
}

async fn ask(client: &mut Client, host: &str) -> (u16, String) {
    let get = match client {
        Client::One(_) => hyper::Request::builder().uri("/v1/feed").header("host", host),
        Client::Two(_) => hyper::Request::builder().uri(format!("http://{host}/v1/feed")),
    };
    let get = get.body(http_body_util::Full::default()).expect("a request");
    let response = client.send(get).await;
    let status = response.status().as_u16();
    (status, json(response).await["error"]["hint"].as_str().unwrap_or_default().to_owned())
}

/// Of each version of HTTP.
async fn clients(worker: &Worker) -> [Client; 2] {
    [Client::one(worker.address).await, Client::two(worker.address).await]
}

#[tokio::test]
async fn a_name_that_is_not_listed_is_refused_and_addresses_are_not() {
    let allowed_hosts = hosts::parse("db.example.com, *.shop.example").expect("valid");
    let worker = Worker::start(Config { allowed_hosts, ..config() }).await;
    for mut client in clients(&worker).await {
        for host in ["db.example.com", "a.shop.example:8443", "127.0.0.1", "[::1]:1", "localhost"] {
            assert_eq!(ask(&mut client, host).await.0, 401, "{host}");
        }
        for host in ["evil.example", "shop.example", "127.0.0.1.evil.example", "db.example.com.x"] {
            let (status, hint) = ask(&mut client, host).await;
            assert_eq!(status, 421, "{host}");
            assert!(hint.contains("event_source.allowed_hosts"), "{hint}");
        }
        let health = hyper::Request::builder().uri("http://evil.example/health");
        let health = health.header("host", "evil.example").body(http_body_util::Full::default());
        let health = client.send(health.expect("a request")).await;
        assert_eq!(health.status(), 200, "a load balancer may call the server what it likes");
    }
}

#[tokio::test]
async fn a_socket_of_a_page_whose_name_was_bound_to_the_server_is_refused() {
    let allowed_hosts = hosts::parse("").expect("valid");
    let config = Config { has_anonymous_role: true, allowed_hosts, ..config() };
    let worker = Worker::start(config).await;
    // The page is of the same origin, as the browser sees it.
    let headers = [("host", "evil.example"), ("origin", "http://evil.example")];
    let refused = ask_one(worker.address, "/websocket", &headers).await;
    assert_eq!(refused.status(), 421);
    let preflight = request("OPTIONS", "/query/1", &headers, "");
    let mut client = Client::one(worker.address).await;
    assert_eq!(client.send(preflight).await.status(), 421);
}

#[tokio::test]
async fn where_no_name_is_listed_a_role_for_everybody_is_for_addresses_and_localhost() {
    for has_anonymous_role in [false, true] {
        let allowed_hosts = hosts::parse("").expect("valid");
        let none = Config { has_anonymous_role, allowed_hosts, ..config() };
        let worker = Worker::start(none).await;
        for mut client in clients(&worker).await {
            let expected = if has_anonymous_role { 421 } else { 401 };
            assert_eq!(ask(&mut client, "events.example.com").await.0, expected);
            assert_eq!(ask(&mut client, "10.0.0.1:8443").await.0, 401);
            assert_eq!(ask(&mut client, "localhost:8443").await.0, 401);
        }
        let allowed_hosts = hosts::parse("*").expect("valid");
        let open = Config { has_anonymous_role, allowed_hosts, ..config() };
        let worker = Worker::start(open).await;
        for mut client in clients(&worker).await {
            assert_eq!(ask(&mut client, "events.example.com").await.0, 401);
        }
    }
}

//! What is looked at before a request reaches its route: limits, the host that it names, the protocol.
//!
//! Guarantees that health checks pass whatever the limits say, and that a refusal names the setting that it
//! rests on. Runs in the task of the connection; it asks nobody.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{CONNECTION, HOST};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use event_source_door::hosts;
use event_source_door::message::Config;
use event_source_door::protocols::{Protocol, Protocols};
use event_source_model::event::{Reason, Refusal};

use crate::answer::{http_refusal, refusal as refused};
use crate::connection::Asked;
use crate::hub::Hub;
use crate::log::{self, Kind};
use crate::places::Over;
use crate::rates::Rates;

/// What load balancers ask. It says nothing of anybody's data, so they may ask it under any name.
pub(crate) const HEALTH: &str = "/health";
pub(crate) const READY: &str = "/ready";

/// What of a refused host is repeated in the answer; no name is longer.
const LONGEST_HOST: usize = 260;

#[derive(Debug)]
pub(crate) struct Gate {
    hub: Arc<Hub>,
    rates: Rates,
}

/// What is kept of a request for the log.
#[derive(Debug)]
pub(crate) struct Passed {
    asked: Option<Arc<Asked>>,
    method: &'static str,
    route: Option<MatchedPath>,
    is_health: bool,
}

impl Gate {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, rates: Rates::default() }
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        self.hub.config()
    }

    /// The refusal of a request that is not let in.
    pub(crate) fn refusal(&self, config: &Config, request: &mut Request) -> Option<Response> {
        if is_health(request) {
            return None;
        }
        let asked = request.extensions().get::<Arc<Asked>>();
        if let Some(over) = asked.and_then(|asked| asked.connection().place().over()) {
            return Some(over_the_limit(over, request.version()));
        }
        if let Some(host) = refused_host(config, request) {
            return Some(misdirected(&host));
        }
        if let Some(asked) = asked {
            let peer = asked.connection().peer();
            let limit = config.limits.max_requests_per_second.limit(peer.is_loopback());
            if limit.is_some_and(|limit| !self.rates.allow(peer.address(), limit)) {
                return Some(too_often());
            }
        }
        let most = config.limits.max_headers as usize;
        if request.headers().len() > most {
            let message = format!("the request has more than {most} headers");
            let refusal = Refusal::new(Reason::InvalidRequest, message)
                .hint("event_source.max_headers limits them");
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Some(http_refusal(status, "request_size_exceeded", &refusal));
        }
        request.extensions_mut().insert(config.protocols);
        None
    }
}

/// Lets those requests in whose protocol is served.
pub(crate) async fn served(protocol: Protocol, request: Request, next: Next) -> Response {
    let protocols = request.extensions().get::<Protocols>();
    if protocols.is_some_and(|protocols| protocols.has(protocol)) {
        return next.run(request).await;
    }
    let name = protocol.name();
    let refusal = Refusal::new(Reason::NotFound, format!("the protocol {name} is not served"))
        .hint(format!("event_source.protocols lists what is served: add {name} to it"));
    told(http_refusal(StatusCode::NOT_FOUND, "not_found", &refusal), Kind::NotServed)
}

impl Passed {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            asked: request.extensions().get().cloned(),
            method: method(request),
            route: request.extensions().get().cloned(),
            is_health: is_health(request),
        }
    }

    /// Logs the response if it is a refusal.
    pub(crate) fn log(&self, response: &Response) {
        let kind = response.extensions().get().copied().or(match response.status() {
            StatusCode::UNAUTHORIZED => Some(Kind::Unauthorized),
            StatusCode::FORBIDDEN => Some(Kind::Forbidden),
            StatusCode::TOO_MANY_REQUESTS => Some(Kind::TooMany),
            StatusCode::SERVICE_UNAVAILABLE => Some(Kind::Unavailable),
            _ => None,
        });
        if let Some(kind) = kind.filter(|_| !self.is_health)
            && let Some(asked) = &self.asked
        {
            let route = self.route.as_ref().map_or("another path", MatchedPath::as_str);
            log::refused(kind, asked.connection().peer(), self.method, route);
        }
    }
}

fn is_health(request: &Request) -> bool {
    matches!(request.uri().path(), HEALTH | READY)
}

/// A method that anybody made up is not written to the log.
fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "CONNECT" => "CONNECT",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "another method",
    }
}

/// The host of a request by which the server may not be addressed.
///
/// Where no name is listed, any may be used as long as nobody reads without a credential: a page of somebody
/// else's has none to give. With a role for those without one, names must be listed.
fn refused_host(config: &Config, request: &Request) -> Option<String> {
    let hosts = &config.allowed_hosts;
    if hosts.is_empty() && !config.has_anonymous_role {
        return None;
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let headers = request.headers().get_all(HOST).iter();
    let headers = headers.map(|host| host.to_str().unwrap_or("not a text"));
    let mut named = authority.into_iter().chain(headers);
    let refused = named.find(|host| !hosts::is_own(host) && !hosts.list(host));
    refused.map(|host| host.chars().take(LONGEST_HOST).collect())
}

fn misdirected(host: &str) -> Response {
    let message = format!("the server is not to be addressed as \"{host}\"");
    let refusal = Refusal::new(Reason::Forbidden, message)
        .hint("event_source.allowed_hosts lists the names that it may be addressed by");
    told(http_refusal(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", &refusal), Kind::Host)
}

fn too_often() -> Response {
    let refusal = Refusal::new(Reason::LimitExceeded, "too many requests from this address")
        .hint("event_source.max_requests_per_second limits them; try again later");
    told(refused(&refusal), Kind::Requests)
}

fn over_the_limit(over: Over, version: Version) -> Response {
    let (message, hint, kind) = match over {
        Over::Clients => (
            "too many clients",
            "event_source.max_clients limits them; try again later",
            Kind::Clients,
        ),
        Over::ClientsOfAddress => (
            "too many clients of this address",
            "event_source.max_clients_per_address limits them; try again later",
            Kind::ClientsOfAddress,
        ),
    };
    let mut response = refused(&Refusal::new(Reason::LimitExceeded, message).hint(hint));
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    told(response, kind)
}

fn told(mut response: Response, kind: Kind) -> Response {
    response.extensions_mut().insert(kind);
    response
}

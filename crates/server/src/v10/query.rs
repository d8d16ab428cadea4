//! Fauna v10's `/query/1`: queries that make event sources, and read what they will tell.
//!
//! The query is read and checked here, in the process that strangers can reach; the worker gets names and
//! constants. Errors show the place in the query's text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use event_source_fql::check::{Arguments, check};
use event_source_fql::parse::parse;
use event_source_fql::tagged;
use event_source_fql::template::Template;
use event_source_model::event::{Reason, Refusal};
use event_source_model::query::Failure;
use event_source_model::token::PREFIX;
use event_source_wire::v10::query as wire;
use serde_json::Value;

use super::headers;
use crate::answer::{counted, json, refused, status};
use crate::budget::Peer;
use crate::hub::Hub;
use crate::{clock, credentials, request};

pub(super) async fn query(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    let secret = match who(&hub, request.headers()) {
        Ok(secret) => secret,
        Err(refusal) => return refuse(&refusal),
    };
    let (parts, body) = match request::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let begun = Instant::now();
    let peer = Peer::of(&parts, &hub);
    let (template, arguments) = match hub.vouch_for(&peer, secret.as_deref(), &body).await {
        Ok(()) => match asked(&body) {
            Ok(asked) => asked,
            Err(refusal) => return refuse(&refusal),
        },
        Err(refusal) => return refuse(&refusal),
    };
    let time = match headers::time(&parts.headers) {
        Ok(time) => time,
        Err(wrong) => return wrong.into(),
    };
    let ask = parse(&template.text).and_then(|block| check(&block, &template, &arguments));
    let answer = match ask {
        Ok(ask) => {
            let answer = tokio::time::timeout(time, hub.query(&peer, secret, ask)).await;
            answer.unwrap_or_else(|_| Err(timed_out(time)))
        }
        Err(failure) => Ok(Err(failure)),
    };
    let elapsed = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    match answer {
        Ok(Ok((answered, purse))) => {
            counted(status(200), wire::answered(&answered, elapsed()), purse)
        }
        Ok(Err(failure)) => fail(&failure, &template.text, elapsed()),
        Err(refusal) => refuse(&refusal),
    }
}

/// The query and its arguments.
fn asked(body: &[u8]) -> Result<(Template, Arguments), Refusal> {
    let invalid = |message: String| Refusal::new(Reason::InvalidRequest, message);
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
        return Err(invalid("expected a JSON object.".to_owned()));
    };
    let query = fields.remove("query");
    let query = query.ok_or_else(|| invalid("Value for key query not found.".to_owned()))?;
    let template = Template::from_json(query).map_err(invalid)?;
    let arguments = match fields.remove("arguments") {
        None | Some(Value::Null) => Arguments::new(),
        Some(Value::Object(arguments)) => {
            let constants = arguments
                .into_iter()
                .map(|(name, value)| Ok((name, tagged::constant(value).map_err(invalid)?)));
            constants.collect::<Result<_, _>>()?
        }
        Some(_) => return Err(invalid("Unexpected value for key arguments.".to_owned())),
    };
    Ok((template, arguments))
}

/// Who asks: whoever does not look like somebody who may is refused before the query is read.
fn who(hub: &Hub, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let secret = credentials::given(headers, None)?;
    // A token says what may be followed, not what may be asked.
    if secret.as_deref().is_some_and(|secret| secret.starts_with(PREFIX)) {
        return Err(Refusal::new(Reason::Unauthorized, "a query needs a secret")
            .hint("event_source.create_secret makes one"));
    }
    credentials::of_query(hub, secret.as_deref())?;
    Ok(secret)
}

fn fail(failure: &Failure, text: &str, elapsed: u64) -> Response {
    let (code, body) = wire::failed(failure, text, clock::now(), elapsed);
    json(status(code), body)
}

fn timed_out(time: Duration) -> Refusal {
    let message = format!("the query took more than {} ms", time.as_millis());
    Refusal::new(Reason::TimedOut, message).hint("give it more time with x-query-timeout-ms")
}

fn refuse(refusal: &Refusal) -> Response {
    let (code, body) = wire::refused(refusal, clock::now());
    refused(code, body, refusal.reason)
}

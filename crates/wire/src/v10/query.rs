//! Answers to queries, in tagged values or plain ones.

use event_source_model::event::Refusal;
use event_source_model::query::{Answer, Answered, Constant, Failure, Fault};

use super::error::http;
use super::summary::{summary, title};
use super::{error, value};
use crate::json::{self, plain};
use crate::tags::{self, tagged};

/// A query's answer. `schema_version` is left out, which clients take for "not known".
pub fn answered(answered: &Answered, elapsed_ms: u64) -> String {
    let mut out = "{\"data\":".to_owned();
    answer(&mut out, &answered.answer, answered.txn_ts);
    out.push_str(",\"summary\":\"\"");
    let cost = Cost { reads: answered.reads, bytes: answered.bytes, elapsed_ms };
    end(&mut out, answered.txn_ts, cost);
    out
}

/// A query that is refused for what it says, with its HTTP status.
pub fn failed(failure: &Failure, text: &str, txn_ts: i64, elapsed_ms: u64) -> (u16, String) {
    let (status, code) = code(failure.fault);
    let mut out = "{\"error\":".to_owned();
    json::error(&mut out, code, title(failure));
    if let Some(value) = &failure.abort {
        // Inside of the error's object.
        out.pop();
        out.push_str(",\"abort\":");
        constant(&mut out, value);
        out.push('}');
    }
    out.push_str(",\"summary\":");
    json::string(&mut out, &summary(failure, text));
    end(&mut out, txn_ts, Cost { reads: 0, bytes: 0, elapsed_ms });
    (status, out)
}

/// A query that is refused for another reason, with its HTTP status.
pub fn refused(refusal: &Refusal, txn_ts: i64) -> (u16, String) {
    let (status, code) = http(refusal.reason);
    let mut out = "{\"error\":".to_owned();
    json::error(&mut out, code, &error::query_message(refusal));
    out.push_str(",\"summary\":\"\"");
    end(&mut out, txn_ts, Cost::default());
    (status, out)
}

/// The HTTP status and the code of a fault.
fn code(fault: Fault) -> (u16, &'static str) {
    match fault {
        Fault::InvalidQuery => (400, "invalid_query"),
        Fault::UnboundVariable => (400, "unbound_variable"),
        Fault::InvalidReceiver => (400, "invalid_receiver"),
        Fault::InvalidArgument => (400, "invalid_argument"),
        Fault::InvalidFunctionInvocation => (400, "invalid_function_invocation"),
        Fault::PermissionDenied => (400, "permission_denied"),
        Fault::TimeOut => (440, "time_out"),
        Fault::Contended => (409, "contended_transaction"),
        Fault::Abort => (400, "abort"),
    }
}

fn answer(out: &mut String, of: &Answer, txn_ts: i64) {
    match of {
        Answer::Constant(value) => constant(out, value),
        Answer::Array(items) => {
            json::list(out, items, |out, item| answer(out, item, txn_ts));
        }
        Answer::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.as_str(), field));
            value::object(out, fields, |out, field| answer(out, field, txn_ts));
        }
        Answer::Page { view, rows, is_next, after } => {
            // What Set.paginate gives has no tag: the Python driver reads a plain object.
            out.push_str(if *is_next { "{\"data\":[" } else { "{\"@set\":{\"data\":[" });
            for (at, row) in rows.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                value::data(out, view, row, txn_ts);
            }
            out.push(']');
            if let Some(after) = after {
                out.push_str(",\"after\":");
                json::string(out, after);
            }
            out.push_str(if *is_next { "}" } else { "}}" });
        }
        Answer::Row { view, row: Some(row), .. } | Answer::Version { view, row: Some(row), .. } => {
            value::data(out, view, row, txn_ts);
        }
        Answer::Row { view, row: None, key: Some(key) } if view.projection.is_none() => {
            out.push_str("{\"@ref\":{\"id\":");
            json::string(out, key);
            out.push_str(",\"coll\":{\"@mod\":");
            json::string(out, &view.collection);
            out.push_str("},\"exists\":false,\"cause\":\"not found\"}}");
        }
        Answer::Row { row: None, .. } | Answer::Version { row: None, .. } => out.push_str("null"),
        Answer::EventSource(token) => tagged(out, "@stream", token),
    }
}

fn constant(out: &mut String, of: &Constant) {
    match of {
        Constant::Null => out.push_str("null"),
        Constant::Bool(b) => plain(out, b),
        Constant::Number(digits) => value::digits(out, digits),
        Constant::NotFinite(text) => tagged(out, "@double", text),
        Constant::Text(text) => json::string(out, text),
        Constant::Time(text) => tagged(out, "@time", text),
        Constant::Date(text) => tagged(out, "@date", text),
        Constant::Bytes(bytes) => {
            tags::bytes(out, bytes);
        }
        Constant::Uuid(text) => tagged(out, "@uuid", text),
        Constant::Token(token) => tagged(out, "@stream", token),
        Constant::Array(items) => {
            json::list(out, items, constant);
        }
        Constant::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.as_str(), field));
            value::object(out, fields, constant);
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Cost {
    reads: u64,
    bytes: u64,
    elapsed_ms: u64,
}

fn end(out: &mut String, txn_ts: i64, cost: Cost) {
    let Cost { reads, bytes, elapsed_ms } = cost;
    plain(
        out,
        format_args!(
            ",\"txn_ts\":{txn_ts},\"stats\":{{\"compute_ops\":1,\"read_ops\":{reads},\
             \"write_ops\":0,\"query_time_ms\":{elapsed_ms},\"contention_retries\":0,\
             \"storage_bytes_read\":{bytes},\"storage_bytes_write\":0,\"rate_limits_hit\":[]}}}}"
        ),
    );
}

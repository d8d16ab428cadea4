//! What a query is answered with.

use event_source_model::event::View;
use event_source_model::image::Image;
use event_source_model::query::Constant;

use super::event::{body, document};
use super::value::{digits, document_ref_of, object};
use crate::json::{self, plain};
use crate::tags::{self, tagged};

/// A document. The client gives its `ts` a meaning: it drops every event of a stream up to there.
pub fn resource(view: &View, image: &Image, ts: i64) -> String {
    let mut out = "{\"resource\":".to_owned();
    document(&mut out, view, image.key().as_ref(), image, ts);
    out.push('}');
    body(&out)
}

/// A text alone.
pub fn text(text: &str) -> String {
    let mut out = "{\"resource\":".to_owned();
    json::string(&mut out, text);
    out.push('}');
    body(&out)
}

/// Appends a value that a request gave, in the form in which an answer has it.
pub fn constant(out: &mut String, of: &Constant) {
    match of {
        Constant::Null => out.push_str("null"),
        Constant::Bool(b) => plain(out, b),
        Constant::Number(text) => digits(out, text),
        Constant::NotFinite(text) | Constant::Text(text) | Constant::Token(text) => {
            json::string(out, text);
        }
        Constant::Time(text) => tagged(out, "@ts", text),
        Constant::Date(text) => tagged(out, "@date", text),
        Constant::Bytes(bytes) => {
            tags::bytes(out, bytes);
        }
        Constant::Uuid(text) => tagged(out, "@uuid", text),
        Constant::Array(items) => {
            json::list(out, items, constant);
        }
        Constant::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.as_str(), field));
            object(out, fields, constant);
        }
    }
}

/// Appends a ref that a request gave.
pub fn reference(out: &mut String, collection: &str, id: &str) {
    document_ref_of(out, collection, id);
}

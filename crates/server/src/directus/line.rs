//! What the renderer tells the connection, a line each: the hub shares these bytes between all connections
//! that follow the same, and each makes its own messages of them.
//!
//! The fields of a line are apart by tabs, which no JSON text of ours has within it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_source_model::value::Value;
use event_source_wire::directus::error::Problem;
use event_source_wire::directus::message::Kind;

/// A line, read.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Item {
        kind: Kind,
        txn_ts: i64,
        /// Behind the change.
        cursor: String,
        /// What items are sorted by.
        by: Vec<Value>,
        /// An item, or a key.
        json: String,
    },
    /// Where the stream is.
    At(String),
    /// Nothing more comes.
    End(Problem),
}

/// Begins the line of a change; the JSON and the end of the line are the caller's.
pub(super) fn begin(out: &mut String, kind: Kind, txn_ts: i64, cursor: &str, by: &[Value]) {
    out.push_str(kind.name());
    out.push('\t');
    out.push_str(&txn_ts.to_string());
    out.push('\t');
    out.push_str(cursor);
    out.push('\t');
    if !by.is_empty() {
        // JSON has no NaN.
        let bytes = postcard::to_stdvec(by).expect("values are plain data and encode");
        URL_SAFE_NO_PAD.encode_string(bytes, out);
    }
    out.push('\t');
}

pub(super) fn at(out: &mut String, cursor: &str) {
    out.push_str("at\t");
    out.push_str(cursor);
    out.push('\n');
}

pub(super) fn end(out: &mut String, code: &str, message: &str) {
    out.push_str("end\t");
    out.push_str(code);
    out.push('\t');
    out.push_str(&serde_json::to_string(message).expect("a text is always encoded"));
    out.push('\n');
}

/// Reads a line, without its end.
pub(super) fn read(line: &str) -> Line {
    const OURS: &str = "the renderer wrote the line";
    let mut fields = line.splitn(5, '\t');
    let mut field = || fields.next().expect(OURS);
    let kind = field();
    match kind {
        "at" => Line::At(field().to_owned()),
        "end" => {
            let code = field();
            let message: String = serde_json::from_str(field()).expect(OURS);
            Line::End(Problem::new(code, message))
        }
        name => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).expect(OURS);
            let txn_ts = field().parse().expect(OURS);
            let (cursor, by) = (field().to_owned(), field());
            let by = if by.is_empty() {
                Vec::new()
            } else {
                let bytes = URL_SAFE_NO_PAD.decode(by).expect(OURS);
                postcard::from_bytes(&bytes).expect(OURS)
            };
            Line::Item { kind, txn_ts, cursor, by, json: field().to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let by = vec![Value::Text("a\tb\n".to_owned()), Value::Null, Value::Float8(f64::NAN)];
        let mut out = String::new();
        begin(&mut out, Kind::Update, 7, "c_1", &by);
        out.push_str("{\"a\":1}");
        let (cursor, json) = ("c_1".to_owned(), "{\"a\":1}".to_owned());
        assert_eq!(read(&out), Line::Item { kind: Kind::Update, txn_ts: 7, cursor, by, json });
        let mut out = String::new();
        end(&mut out, "FORBIDDEN", "a\n\tb");
        assert_eq!(read(out.trim_end()), Line::End(Problem::new("FORBIDDEN", "a\n\tb")));
    }
}

//! JSON strings, and JSON texts put inline on one line.
//!
//! Beyond what JSON demands, U+0085, U+2028 and U+2029 are escaped: line readers that split as
//! Python's `str.splitlines` does would cut an event in two there.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Appends a JSON string.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    if is_clean(text) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut clean = 0;
    for (at, c) in text.char_indices() {
        let short = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            c if must_escape(c) => "",
            _ => continue,
        };
        out.push_str(&text[clean..at]);
        clean = at + c.len_utf8();
        if short.is_empty() { escape(out, c) } else { out.push_str(short) }
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// Appends a valid JSON text as it is, except that it stays on one line: line breaks and tabs,
/// which can only stand between its tokens, become spaces.
pub fn inline(out: &mut String, json: &str) {
    if json.bytes().all(|byte| !LOOKED_AT[usize::from(byte)] || matches!(byte, b'"' | b'\\')) {
        return out.push_str(json);
    }
    let mut clean = 0;
    for (at, c) in json.char_indices() {
        if !must_escape(c) {
            continue;
        }
        out.push_str(&json[clean..at]);
        clean = at + c.len_utf8();
        if matches!(c, '\n' | '\r' | '\t') { out.push(' ') } else { escape(out, c) }
    }
    out.push_str(&json[clean..]);
}

/// Appends bytes as a JSON string of standard base64.
pub fn base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// Appends an array.
pub(crate) fn list<T>(out: &mut String, items: &[T], mut each: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}

/// Appends `"name":`.
pub fn name(out: &mut String, name: &str) {
    string(out, name);
    out.push(':');
}

/// Appends whatever has a plain text form.
pub(crate) fn plain(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to a String cannot fail");
}

/// Appends a whole number.
pub(crate) fn integer(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Whether nothing in a text is escaped, as far as its bytes tell.
fn is_clean(text: &str) -> bool {
    // Eight at a time, since a loop that may end at each byte is not taken apart by the compiler.
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    let is_looked_at = |bytes: &[u8]| {
        bytes.iter().fold(false, |found, byte| found | LOOKED_AT[usize::from(*byte)])
    };
    !chunks.iter().any(|chunk| is_looked_at(chunk)) && !is_looked_at(rest)
}

/// The bytes with which a character that is escaped may begin.
const LOOKED_AT: [bool; 256] = {
    let mut looked_at = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // 0xc2 and 0xe2 begin U+0085, U+2028 and U+2029, and others.
        looked_at[byte] = byte < 0x20 || matches!(byte, 0x22 | 0x5c | 0x7f | 0xc2 | 0xe2);
        byte += 1;
    }
    looked_at
};

fn must_escape(c: char) -> bool {
    c < ' ' || matches!(c, '\u{7f}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn escape(out: &mut String, c: char) {
    plain(out, format_args!("\\u{:04x}", u32::from(c)));
}

/// Appends the object of an error that is a code and a message.
pub(crate) fn error(out: &mut String, code: &str, text: &str) {
    out.push_str("{\"code\":");
    string(out, code);
    out.push_str(",\"message\":");
    string(out, text);
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        string(&mut out, text);
        out
    }

    #[test]
    fn what_line_readers_split_at_is_escaped() {
        assert_eq!(written("a\u{2028}b\u{85}\u{1}\n"), r#""a\u2028b\u0085\u0001\n""#);
    }

    #[test]
    fn json_put_inline_stays_on_one_line() {
        let mut out = String::new();
        inline(&mut out, "{\n\t\"a\": \"x\u{2028}\"\r\n}");
        assert_eq!(out, "{  \"a\": \"x\\u2028\"  }");
    }

    proptest! {
        #[test]
        fn every_string_is_read_back_and_never_breaks_a_line(text: String) {
            let out = written(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).expect("valid"), text);
            let breaks = out.chars().any(must_escape);
            prop_assert!(!breaks);
        }
    }
}

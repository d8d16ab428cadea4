//! A text as a line of a stream.
//!
//! The Python driver understands a frame of HTTP/2 only if what it has read so far is exactly one JSON
//! text, or the beginning of one without a line end. It drops a frame that ends within a character,
//! and dies of a frame that holds nothing but the rest of a line end. Hence: nothing but ASCII, so that
//! HTTP/2 may cut a long line anywhere, and never a last frame of one or two bytes.

/// What a frame of HTTP/2 holds unless a peer allows more: neither driver does.
const FRAME: usize = 16_384;
/// Behind every text.
pub const END: &str = "\r\n";
/// Blanks before a text change nothing for any reader.
const PADDING: &str = "  ";

/// What says that the stream lives: a blank, which no parser minds. The Python driver looks only then
/// whether its user closed the stream.
pub const HEARTBEAT: &str = " ";

/// Appends a JSON text as a line.
pub fn line(out: &mut String, json: &str) {
    let begin = out.len();
    ascii(out, json);
    let length = out.len() - begin + END.len();
    if matches!(length % FRAME, 1 | 2) {
        out.insert_str(begin, PADDING);
    }
    out.push_str(END);
}

/// Appends a JSON text with every other character than ASCII's as `\uXXXX`: those stand only within
/// strings.
pub(super) fn ascii(out: &mut String, json: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(json.len() + END.len());
    let mut clean = 0;
    for (at, c) in json.char_indices().filter(|(_, c)| !c.is_ascii()) {
        out.push_str(&json[clean..at]);
        clean = at + c.len_utf8();
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str("\\u");
            for shift in [12, 8, 4, 0] {
                out.push(char::from(DIGITS[usize::from(*unit >> shift & 0xf)]));
            }
        }
    }
    out.push_str(&json[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(json: &str) -> String {
        let mut out = "before".to_owned();
        line(&mut out, json);
        out["before".len()..].to_owned()
    }

    #[test]
    fn a_line_is_never_cut_within_its_end() {
        for length in 16_380..16_390 {
            let json = format!("\"{}\"", "x".repeat(length - 2));
            let line = written(&json);
            assert_eq!(line.trim_start(), format!("{json}\r\n"));
            assert!(!matches!(line.len() % FRAME, 1 | 2), "{length}");
            let padded = matches!((length + 2) % FRAME, 1 | 2);
            assert_eq!(line.starts_with("  "), padded, "{length}");
        }
    }

    #[test]
    fn characters_beyond_sixteen_bits_are_pairs() {
        assert_eq!(written("\"ü\u{2028}😀\""), "\"\\u00fc\\u2028\\ud83d\\ude00\"\r\n");
    }

    proptest! {
        #[test]
        fn a_line_is_ascii_and_says_the_same(text: String) {
            let line = written(&serde_json::to_string(&text).expect("a string"));
            prop_assert!(line.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&line).expect("valid"), text);
        }
    }
}

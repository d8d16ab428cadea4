//! A `json` or `jsonb` value in Fauna's tagged form: numbers tagged, objects wrapped when a name
//! begins with `@`.
//!
//! It scans the text rather than building a tree, and without recursion: PostgreSQL accepts JSON
//! nested deeper than a stack may be.

use super::value::digits;
use crate::json;
use crate::tokens::Tokens;

/// Appends a JSON text, which PostgreSQL has found valid, in tagged form.
pub(crate) fn tagged(out: &mut String, text: &str) {
    let mut wraps = objects_to_wrap(text).into_iter();
    let mut open = Vec::new();
    for token in Tokens::of(text) {
        match token {
            "{" => {
                let wrap = wraps.next().unwrap_or(false);
                open.push(wrap);
                out.push_str(if wrap { "{\"@object\":{" } else { "{" });
            }
            "}" => out.push_str(if open.pop().unwrap_or(false) { "}}" } else { "}" }),
            token if token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                digits(out, token);
            }
            token => json::inline(out, token),
        }
    }
}

/// For each `{` in order of appearance: whether one of its names begins with `@`.
fn objects_to_wrap(text: &str) -> Vec<bool> {
    let mut wraps = Vec::new();
    // Indexes into `wraps`; an array stands as `None`.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut last = "";
    for token in Tokens::of(text) {
        match token {
            "{" => {
                open.push(Some(wraps.len()));
                wraps.push(false);
            }
            "[" => open.push(None),
            "}" | "]" => {
                open.pop();
            }
            ":" if last.starts_with("\"@") || last.starts_with("\"\\u0040") => {
                if let Some(Some(at)) = open.last() {
                    wraps[*at] = true;
                }
            }
            _ => {}
        }
        last = token;
    }
    wraps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        tagged(&mut out, text);
        out
    }

    #[test]
    fn numbers_are_tagged_and_strings_that_look_like_them_are_not() {
        assert_eq!(
            written(r#"{ "a": [1, 2.5, "3", true, null],"b":"\"{@" }"#),
            r#"{"a":[{"@int":"1"},{"@double":"2.5"},"3",true,null],"b":"\"{@"}"#
        );
    }

    #[test]
    fn only_the_object_with_the_name_is_wrapped() {
        assert_eq!(
            written(r#"{"x":{"@int":"1"},"y":{"\u0040z":{}}}"#),
            r#"{"x":{"@object":{"@int":"1"}},"y":{"@object":{"\u0040z":{}}}}"#
        );
    }

    #[test]
    fn nesting_deeper_than_a_stack_is_no_problem() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(written(&deep), deep);
    }
}

//! A `json` or `jsonb` value in v4's typed form: an object is wrapped when a name begins with `@`, and is
//! the string of its JSON when the drivers would misread it.
//!
//! It scans the text rather than building a tree, and without recursion: PostgreSQL accepts JSON nested
//! deeper than a stack may be.

use super::value::{Naming, digits};
use crate::json;
use crate::tokens::Tokens;

/// Appends a JSON text, which PostgreSQL has found valid.
pub(super) fn typed(out: &mut String, text: &str) {
    let mut namings = namings(text).into_iter();
    let mut naming = || namings.next().unwrap_or(Naming::Plain);
    let mut open = Vec::new();
    let mut tokens = Tokens::of(text);
    while let Some(token) = tokens.next() {
        match token {
            "{" => match naming() {
                Naming::Plain => {
                    open.push(Naming::Plain);
                    out.push('{');
                }
                Naming::Wrapped => {
                    open.push(Naming::Wrapped);
                    out.push_str("{\"@obj\":{");
                }
                Naming::Misread => {
                    let begin = text.len() - tokens.rest().len() - 1;
                    let mut depth = 1;
                    while depth > 0 {
                        match tokens.next() {
                            Some("{") => {
                                naming();
                                depth += 1;
                            }
                            Some("}") => depth -= 1,
                            Some(_) => {}
                            None => break,
                        }
                    }
                    json::string(out, &text[begin..text.len() - tokens.rest().len()]);
                }
            },
            "}" => out.push_str(if open.pop() == Some(Naming::Wrapped) { "}}" } else { "}" }),
            token if token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                digits(out, token);
            }
            token => json::inline(out, token),
        }
    }
}

/// For each `{` in order of appearance: what its names demand.
fn namings(text: &str) -> Vec<Naming> {
    let mut namings = Vec::new();
    // Indexes into `namings`; an array stands as `None`.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut last = "";
    for token in Tokens::of(text) {
        match token {
            "{" => {
                open.push(Some(namings.len()));
                namings.push(Naming::Plain);
            }
            "[" => open.push(None),
            "}" | "]" => {
                open.pop();
            }
            ":" => {
                if let Some(Some(at)) = open.last() {
                    namings[*at] = namings[*at].max(naming(last));
                }
            }
            _ => {}
        }
        last = token;
    }
    namings
}

/// What a name demands, given as a string of JSON.
fn naming(name: &str) -> Naming {
    if !name.starts_with("\"@") && !name.starts_with("\"\\u0040") {
        return Naming::Plain;
    }
    serde_json::from_str::<String>(name).map_or(Naming::Wrapped, |name| Naming::of(&name))
}

/// The members of an object, each name as a string of JSON and its value's text; `None` of what is no
/// object.
pub(super) fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut tokens = Tokens::of(text);
    if tokens.next() != Some("{") {
        return None;
    }
    let mut members = Vec::new();
    loop {
        let name = tokens.next().filter(|token| token.starts_with('"'));
        let Some(name) = name else { return Some(members) };
        tokens.next();
        let begin = text.len() - tokens.rest().len();
        let mut depth = 0_usize;
        let mut end = begin;
        loop {
            match tokens.peek()? {
                "," | "}" if depth == 0 => break,
                "{" | "[" => depth += 1,
                "}" | "]" => depth -= 1,
                _ => {}
            }
            tokens.next();
            end = text.len() - tokens.rest().len();
        }
        members.push((name, text[begin..end].trim()));
        if tokens.next() == Some("}") {
            return Some(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        typed(&mut out, text);
        out
    }

    #[test]
    fn only_the_object_with_the_name_is_wrapped() {
        assert_eq!(
            written(r#"{"x":{"@int": "1"},"y":{"\u0040z":{}}, "n": 1.50}"#),
            r#"{"x":{"@obj":{"@int":"1"}},"y":{"@obj":{"\u0040z":{}}},"n":1.50}"#
        );
    }

    #[test]
    fn what_the_drivers_would_fail_on_is_text() {
        assert_eq!(
            written(r#"[{"a": {"@ref": {"x": {}}}, "b": 1}, {"@x": {"c": 2}}]"#),
            r#"[{"a":"{\"@ref\": {\"x\": {}}}","b":1},{"@obj":{"@x":{"c":2}}}]"#
        );
    }

    #[test]
    fn a_number_that_no_double_holds_is_text() {
        assert_eq!(written("[9007199254740993, 1e400]"), r#"[9007199254740993,"1e400"]"#);
    }

    #[test]
    fn members_are_found_by_depth() {
        let text = r#"{ "a": {"b": [1, {"c": 2}]}, "d" : "}," , "e":null}"#;
        let expected =
            vec![("\"a\"", r#"{"b": [1, {"c": 2}]}"#), ("\"d\"", r#""},""#), ("\"e\"", "null")];
        assert_eq!(members(text), Some(expected));
        assert_eq!(members("{}"), Some(Vec::new()));
        assert_eq!(members("[1]"), None);
    }

    #[test]
    fn nesting_deeper_than_a_stack_is_no_problem() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(written(&deep), deep);
        let deep = "{\"a\":".repeat(200_000) + "1" + &"}".repeat(200_000);
        assert_eq!(written(&deep), deep);
        assert_eq!(members(&deep).map(|members| members.len()), Some(1));
    }
}

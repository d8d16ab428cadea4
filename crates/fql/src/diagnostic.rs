//! Errors of a query, and how a driver's user sees them.
//!
//! The code tells a driver which exception to raise, the summary shows the line with the place
//! underlined, as Fauna's did.

use event_source_model::query::Span;

use crate::template::shown;

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// One of Fauna's codes.
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
    pub span: Span,
}

impl Diagnostic {
    /// What the query's text alone shows to be wrong.
    pub fn syntax(message: impl Into<String>, span: Span) -> Self {
        Self { code: "invalid_query", message: message.into(), hint: None, span }
    }

    pub fn new(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        Self { code, message: message.into(), hint: None, span }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The `message` of the error's object.
    pub fn title(&self) -> &str {
        if self.code == "invalid_query" {
            "The query failed 1 validation check"
        } else {
            &self.message
        }
    }

    /// The `summary` beside the error's object: the message, and the place in the query's text.
    pub fn summary(&self, text: &str) -> String {
        let mut out = format!("error: {}", self.message);
        annotate(&mut out, text, self.span);
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\nhint: {hint}"));
        }
        out
    }
}

/// Appends the line in which the place begins, underlined as far as that line goes.
fn annotate(out: &mut String, text: &str, span: Span) {
    let start = floor(text, span.start as usize);
    let end = floor(text, span.end as usize).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count() + 1;
    let marks = text[start..end.min(line_end)].chars().count().max(1);
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let text = shown(text[line_start..line_end].trim_end_matches('\r'));
    let (indent, marks) = (" ".repeat(column - 1), "^".repeat(marks));
    out.push_str(&format!(
        "\nat *query*:{line}:{column}\n{gutter} |\n{number} | {text}\n{gutter} | {indent}{marks}\n{gutter} |"
    ));
}

/// The last place where a character begins, not behind `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_underlines_the_place_as_faunas_did() {
        let error =
            Diagnostic::new("unbound_variable", "Unbound variable `x`", Span { start: 2, end: 3 });
        let lines =
            ["error: Unbound variable `x`", "at *query*:1:3", "  |", "1 | { x }", "  |   ^", "  |"];
        assert_eq!(error.summary("{ x }"), lines.join("\n"));
    }

    #[test]
    fn a_place_in_a_later_line_behind_letters_of_several_bytes_is_counted_in_letters() {
        let text = "let ä = 1\nlet ö = 2; ü";
        let at = text.find('ü').expect("it is there") as u32;
        let error = Diagnostic::syntax("no", Span { start: at, end: at + 2 });
        assert!(error.summary(text).contains("at *query*:2:12\n"), "{}", error.summary(text));
    }

    #[test]
    fn a_place_behind_the_end_is_the_end() {
        let error = Diagnostic::syntax("no", Span { start: 90, end: 99 });
        assert!(error.summary("ab").contains("at *query*:1:3\n"));
    }
}

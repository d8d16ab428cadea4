//! Errors of a query as a driver's user sees them: the message, and the line with the place
//! underlined, as Fauna's were.

use event_source_model::query::{Failure, Fault, Span};

/// The `message` of the error's object.
pub fn title(failure: &Failure) -> &str {
    match failure.fault {
        Fault::InvalidQuery => "The query failed 1 validation check",
        _ => &failure.message,
    }
}

/// The `summary` beside the error's object: the message, and the place in the query's text.
pub fn summary(failure: &Failure, text: &str) -> String {
    let mut out = format!("error: {}", failure.message);
    annotate(&mut out, text, failure.span);
    if let Some(hint) = &failure.hint {
        out.push_str("\nhint: ");
        out.push_str(hint);
    }
    out
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
    // A value's place begins with a character that nobody can write.
    let text = text[line_start..line_end].trim_end_matches('\r').replace('\0', "<");
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
        let span = Span { start: 2, end: 3 };
        let error = Failure::new(Fault::UnboundVariable, "Unbound variable `x`", span);
        let lines =
            ["error: Unbound variable `x`", "at *query*:1:3", "  |", "1 | { x }", "  |   ^", "  |"];
        assert_eq!(summary(&error, "{ x }"), lines.join("\n"));
    }

    #[test]
    fn a_place_in_a_later_line_behind_letters_of_several_bytes_is_counted_in_letters() {
        let text = "let ä = 1\nlet ö = 2; ü";
        let at = text.find('ü').expect("it is there") as u32;
        let summary = summary(&Failure::syntax("no", Span { start: at, end: at + 2 }), text);
        assert!(summary.contains("at *query*:2:12\n"), "{summary}");
    }

    #[test]
    fn a_place_behind_the_end_is_the_end() {
        let error = Failure::syntax("no", Span { start: 90, end: 99 });
        assert!(summary(&error, "ab").contains("at *query*:1:3\n"));
    }
}

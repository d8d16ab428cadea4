//! Searches in a text: `_contains`, `_nistarts_with` and the rest of that family.

use event_source_model::query::{Binary, Function, Span, Test};

/// A search, by its operator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    pub negated: bool,
    ignores_case: bool,
    /// `None` for the whole text.
    function: Option<Function>,
}

impl Search {
    /// Not, ignoring case, and how the text is searched; `None` for what is no search.
    pub(super) fn of(operator: &str) -> Option<Self> {
        let name = operator.strip_prefix('_')?;
        if name == "regex" {
            let function = Some(Function::IncludesRegex);
            return Some(Self { negated: false, ignores_case: false, function });
        }
        let (negated, name) = stripped(name, 'n');
        let (ignores_case, name) = stripped(name, 'i');
        let function = match name {
            "contains" => Some(Function::Includes),
            "starts_with" => Some(Function::StartsWith),
            "ends_with" => Some(Function::EndsWith),
            "eq" if ignores_case => None,
            _ => return None,
        };
        Some(Self { negated, ignores_case, function })
    }

    /// Whether it is found, whatever [`Search::negated`] says.
    pub(super) fn test(self, column: Test, value: Test, span: Span) -> Test {
        let folded = |of| {
            if self.ignores_case { Test::Call(Function::ToLowerCase, vec![of], span) } else { of }
        };
        let (column, value) = (folded(column), folded(value));
        match self.function {
            Some(function) => Test::Call(function, vec![column, value], span),
            None => Test::Binary(Binary::Equal, Box::new(column), Box::new(value)),
        }
    }
}

fn stripped(name: &str, letter: char) -> (bool, &str) {
    name.strip_prefix(letter).map_or((false, name), |rest| (true, rest))
}

//! The tokens of a JSON text that is known to be valid: for wires that rewrite one without building a
//! tree, whose depth a stack may not have.

/// The tokens, white space left out.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self(text)
    }

    /// What is behind the last token that was given.
    pub(crate) fn rest(&self) -> &'a str {
        self.0
    }

    /// The next token, which stays the next one.
    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.clone().next()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        let first = rest.chars().next()?;
        let length = match first {
            '"' => string_length(rest),
            '{' | '}' | '[' | ']' | ':' | ',' => 1,
            _ => {
                let ends = |c: char| " \t\n\r{}[]:,\"".contains(c);
                rest.find(ends).unwrap_or(rest.len())
            }
        };
        let (token, rest) = rest.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

/// The length of the string literal that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

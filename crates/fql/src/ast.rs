//! Parsed FQL.
//!
//! A tree is never deeper than [`DEEPEST`]: what would be is cut to [`Kind::TooDeep`] when it is made, so
//! that nothing that walks or drops a tree can run out of stack.

use std::fmt;

use event_source_model::query::{Binary, Name, Span};

/// Levels of an expression.
pub const DEEPEST: u8 = 64;

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: Kind,
    pub span: Span,
    depth: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Null,
    Bool(bool),
    /// Digits, perhaps with a point and an exponent; never a sign.
    Number(String),
    Text(String),
    /// A place for a value; the span tells which.
    Value,
    Name(String),
    /// What a leading dot is a field of, as in `.price`.
    This,
    Field {
        of: Box<Expr>,
        name: Name,
        optional: bool,
    },
    /// `of[argument]`.
    Access {
        of: Box<Expr>,
        arguments: Vec<Expr>,
    },
    Call {
        function: Box<Expr>,
        arguments: Vec<Expr>,
    },
    /// `of!`: not null.
    Assert(Box<Expr>),
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Lambda {
        parameters: Vec<Name>,
        body: Box<Expr>,
    },
    Object(Vec<(Name, Expr)>),
    Array(Vec<Expr>),
    /// Anything in parentheses but exactly one expression.
    Tuple(Vec<Expr>),
    Block(Block),
    /// `of { name, other: .name }`.
    Project {
        of: Box<Expr>,
        fields: Vec<(Name, Expr)>,
    },
    /// Deeper than [`DEEPEST`].
    TooDeep,
}

/// Definitions, then an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub lets: Vec<(Name, Expr)>,
    /// An expression whose value is not used has no place here: nothing has effects.
    pub result: Box<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Not,
    Minus,
}

/// How an operator is written.
pub fn symbol(operator: Binary) -> &'static str {
    match operator {
        Binary::Otherwise => "??",
        Binary::Or => "||",
        Binary::And => "&&",
        Binary::Equal => "==",
        Binary::Unequal => "!=",
        Binary::Less => "<",
        Binary::LessOrEqual => "<=",
        Binary::Greater => ">",
        Binary::GreaterOrEqual => ">=",
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::Modulo => "%",
    }
}

impl Expr {
    pub fn new(kind: Kind, span: Span) -> Self {
        let depth = 1 + kind.children().map(|child| child.depth).max().unwrap_or(0);
        if depth > DEEPEST {
            // As deep as can be, so that what contains it is too deep as well.
            return Self { kind: Kind::TooDeep, span, depth: DEEPEST };
        }
        Self { kind, span, depth }
    }
}

impl Kind {
    fn children(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::Value
            | Self::Name(_)
            | Self::This
            | Self::TooDeep => Box::new(std::iter::empty()),
            Self::Field { of, .. } | Self::Assert(of) | Self::Unary(_, of) => {
                Box::new(std::iter::once(&**of))
            }
            Self::Access { of: first, arguments } | Self::Call { function: first, arguments } => {
                Box::new(std::iter::once(&**first).chain(arguments))
            }
            Self::Binary(_, left, right) => Box::new([&**left, &**right].into_iter()),
            Self::Lambda { body, .. } => Box::new(std::iter::once(&**body)),
            Self::Object(fields) => Box::new(fields.iter().map(|(_, value)| value)),
            Self::Array(items) | Self::Tuple(items) => Box::new(items.iter()),
            Self::Block(block) => {
                let lets = block.lets.iter().map(|(_, value)| value);
                Box::new(lets.chain(std::iter::once(&*block.result)))
            }
            Self::Project { of, fields } => {
                Box::new(std::iter::once(&**of).chain(fields.iter().map(|(_, value)| value)))
            }
        }
    }
}

/// FQL that is parsed to the same tree again, but for its spans. Values are written as placeholders.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Null => f.write_str("null"),
            Kind::Bool(b) => write!(f, "{b}"),
            Kind::Number(digits) => f.write_str(digits),
            Kind::Text(text) => Quoted(text).fmt(f),
            Kind::Value => f.write_str(crate::template::PLACE),
            Kind::Name(name) => f.write_str(name),
            Kind::This => Ok(()),
            Kind::Field { of, name, optional } => {
                write!(f, "{of}{}{}", if *optional { "?." } else { "." }, name.text)
            }
            Kind::Access { of, arguments } => {
                write!(f, "{of}{}[", if matches!(of.kind, Kind::This) { "." } else { "" })?;
                list(f, arguments)?;
                f.write_str("]")
            }
            Kind::Call { function, arguments } => {
                write!(f, "{function}(")?;
                list(f, arguments)?;
                f.write_str(")")
            }
            Kind::Assert(of) => write!(f, "{of}!"),
            Kind::Unary(Unary::Not, of) => write!(f, "(!{of})"),
            Kind::Unary(Unary::Minus, of) => write!(f, "(-{of})"),
            Kind::Binary(operator, left, right) => {
                write!(f, "({left} {} {right})", symbol(*operator))
            }
            Kind::Lambda { parameters, body } => {
                let names: Vec<&str> = parameters.iter().map(|p| &*p.text).collect();
                write!(f, "(({}) => {body})", names.join(", "))
            }
            Kind::Object(fields) => {
                f.write_str("{")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { " " })?;
                    write!(f, "{}: {value}", Quoted(&name.text))?;
                }
                f.write_str(" }")
            }
            Kind::Array(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Kind::Tuple(items) => {
                f.write_str("(")?;
                list(f, items)?;
                f.write_str(")")
            }
            Kind::Block(block) => write!(f, "{{ {block} }}"),
            Kind::Project { of, fields } => {
                write!(f, "({of} {{")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{}: {value}", if at > 0 { ", " } else { " " }, name.text)?;
                }
                f.write_str(" })")
            }
            Kind::TooDeep => f.write_str("…"),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.lets {
            write!(f, "let {} = {value}; ", name.text)?;
        }
        write!(f, "{}", self.result)
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[Expr]) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if at > 0 { ", " } else { "" })?;
    }
    Ok(())
}

/// A string as FQL writes it.
pub(crate) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' | '#' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

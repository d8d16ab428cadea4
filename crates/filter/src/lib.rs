//! A query's test over a row as a filter of an event source: SQL with quoted names and numbered
//! parameters.
//!
//! Guarantees that nothing of the test is in the text but the names of columns, in quotes: every value is
//! a parameter, and every other word is one of this file's. It runs in the worker, and as it is in tests; it
//! cannot touch PostgreSQL.
//!
//! FQL knows of two truth values and SQL of three. Where null counts as false anyway, at the top and
//! under `&&` and `||`, a comparison is written as PostgreSQL's own, which indexes know; under `!` it
//! says which it is.

#![forbid(unsafe_code)]

use event_source_model::query::{Binary, Constant, Failure, Fault, Function, Name, Span, Test};
use event_source_model::value::Value;

/// A filter and its parameters.
#[derive(Debug)]
pub struct Filter {
    pub text: String,
    pub values: Vec<Option<String>>,
    /// Of the test.
    pub span: Span,
}

impl Filter {
    /// `column` finds the column that a name means.
    ///
    /// # Errors
    /// Those of `column`, and a value that no column holds.
    pub fn of(
        test: &Test,
        column: impl FnMut(&Name) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let mut writer = Writer { column, values: Vec::new() };
        let text = writer.write(test, Null::IsFalse)?;
        Ok(Self { text, values: writer.values, span: span(test) })
    }
}

/// The text of a constant as PostgreSQL's input functions take it; `None` for null, and for what no
/// column holds.
pub fn text(constant: &Constant) -> Option<String> {
    match constant {
        Constant::Bool(b) => Some(b.to_string()),
        Constant::Bytes(bytes) => Value::Bytes(bytes.clone()).text(),
        other => other.text().map(str::to_owned),
    }
}

/// What null means where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Null {
    IsFalse,
    IsNull,
}

struct Writer<C> {
    column: C,
    values: Vec<Option<String>>,
}

impl<C: FnMut(&Name) -> Result<String, Failure>> Writer<C> {
    fn write(&mut self, test: &Test, null: Null) -> Result<String, Failure> {
        Ok(match test {
            Test::Column(name) => quoted(&(self.column)(name)?),
            Test::Constant(constant, span) => self.constant(constant, *span, "")?,
            Test::Not(of) => format!("(not {})", self.write(of, Null::IsNull)?),
            Test::Minus(of) => format!("(- {})", self.write(of, Null::IsNull)?),
            Test::Binary(operator, left, right) => self.binary(*operator, left, right, null)?,
            Test::In(of, list, span) => self.list(of, list, *span, null)?,
            Test::Call(function, operands, span) => self.call(*function, operands, *span)?,
        })
    }

    fn binary(
        &mut self,
        operator: Binary,
        left: &Test,
        right: &Test,
        null: Null,
    ) -> Result<String, Failure> {
        match operator {
            Binary::Equal => self.equal(true, left, right, null),
            Binary::Unequal => self.equal(false, left, right, null),
            Binary::Otherwise => {
                let (left, right) = self.both(left, right, Null::IsNull)?;
                Ok(format!("coalesce({left}, {right})"))
            }
            Binary::Or => self.infix("or", left, right, null),
            Binary::And => self.infix("and", left, right, null),
            Binary::Less => self.infix("<", left, right, Null::IsNull),
            Binary::LessOrEqual => self.infix("<=", left, right, Null::IsNull),
            Binary::Greater => self.infix(">", left, right, Null::IsNull),
            Binary::GreaterOrEqual => self.infix(">=", left, right, Null::IsNull),
            Binary::Add => self.infix("+", left, right, Null::IsNull),
            Binary::Subtract => self.infix("-", left, right, Null::IsNull),
            Binary::Multiply => self.infix("*", left, right, Null::IsNull),
            Binary::Divide => self.infix("/", left, right, Null::IsNull),
            Binary::Modulo => self.infix("%", left, right, Null::IsNull),
        }
    }

    fn infix(
        &mut self,
        operator: &str,
        left: &Test,
        right: &Test,
        null: Null,
    ) -> Result<String, Failure> {
        let (left, right) = self.both(left, right, null)?;
        Ok(format!("({left} {operator} {right})"))
    }

    fn both(&mut self, left: &Test, right: &Test, null: Null) -> Result<(String, String), Failure> {
        Ok((self.write(left, null)?, self.write(right, null)?))
    }

    /// Null is equal to null and to nothing else.
    fn equal(
        &mut self,
        wanted: bool,
        left: &Test,
        right: &Test,
        null: Null,
    ) -> Result<String, Failure> {
        let is_null = |test: &Test| matches!(test, Test::Constant(Constant::Null, _));
        let not = if wanted { "" } else { "not " };
        match (is_null(left), is_null(right)) {
            (true, true) => return Ok(wanted.to_string()),
            (true, false) => {
                return Ok(format!("({} is {not}null)", self.write(right, Null::IsNull)?));
            }
            (false, true) => {
                return Ok(format!("({} is {not}null)", self.write(left, Null::IsNull)?));
            }
            (false, false) => {}
        }
        let constant = |test: &Test| matches!(test, Test::Constant(..));
        let (a, b) = (self.write(left, Null::IsNull)?, self.write(right, Null::IsNull)?);
        let equal = format!("({a} = {b})");
        if constant(left) || constant(right) {
            return Ok(match (wanted, null) {
                (true, Null::IsFalse) => equal,
                (true, Null::IsNull) => format!("({equal} is true)"),
                (false, _) => format!("({equal} is not true)"),
            });
        }
        let both = format!("(({equal} is true) or ({a} is null and {b} is null))");
        Ok(if wanted { both } else { format!("(not {both})") })
    }

    fn list(
        &mut self,
        of: &Test,
        list: &[Constant],
        span: Span,
        null: Null,
    ) -> Result<String, Failure> {
        let value = self.write(of, Null::IsNull)?;
        let mut values = Vec::new();
        for constant in list.iter().filter(|constant| **constant != Constant::Null) {
            values.push(self.constant(constant, span, "")?);
        }
        let mut any = match (values.is_empty(), null) {
            (true, _) => "false".to_owned(),
            (false, Null::IsFalse) => format!("({value} in ({}))", values.join(", ")),
            (false, Null::IsNull) => format!("(({value} in ({})) is true)", values.join(", ")),
        };
        if list.contains(&Constant::Null) {
            any = format!("({any} or {value} is null)");
        }
        Ok(any)
    }

    fn call(
        &mut self,
        function: Function,
        operands: &[Test],
        span: Span,
    ) -> Result<String, Failure> {
        if operands.len() != function.operands() {
            let message = format!("expected {} operands", function.operands());
            return Err(Failure::new(Fault::InvalidFunctionInvocation, message, span));
        }
        let cast = match function {
            // The array of texts, by its own name.
            Function::At | Function::TextAt => "::pg_catalog._text",
            _ => "::pg_catalog.text",
        };
        let operands = operands.iter().map(|operand| match operand {
            Test::Constant(constant, span) => self.constant(constant, *span, cast),
            other => self.write(other, Null::IsNull),
        });
        let operands: Vec<String> = operands.collect::<Result<_, _>>()?;
        let call = |name: &str| format!("pg_catalog.{name}({})", operands.join(", "));
        let infix = |operator: &str| {
            format!("({})", operands.join(&format!(" operator(pg_catalog.{operator}) ")))
        };
        Ok(match function {
            Function::StartsWith => call("starts_with"),
            Function::EndsWith => {
                let (of, end) = (&operands[0], &operands[1]);
                format!("(pg_catalog.right({of}, pg_catalog.length({end})) = {end})")
            }
            Function::Includes => format!("({} > 0)", call("strpos")),
            Function::IncludesRegex => infix("~"),
            Function::ToLowerCase => call("lower"),
            Function::ToUpperCase => call("upper"),
            Function::Length => call("length"),
            Function::ReplaceAll => call("replace"),
            Function::Concat => infix("||"),
            Function::Like => infix("~~"),
            Function::LikeAnyCase => infix("~~*"),
            Function::At => infix("#>"),
            Function::TextAt => infix("#>>"),
        })
    }

    /// A parameter. A text takes the type of what it is compared with, unless there is a cast.
    fn constant(
        &mut self,
        constant: &Constant,
        span: Span,
        cast: &'static str,
    ) -> Result<String, Failure> {
        let cast = match constant {
            Constant::Null => return Ok("null".to_owned()),
            Constant::Bool(b) => return Ok(b.to_string()),
            Constant::Array(_) | Constant::Object(_) | Constant::Token(_) => {
                let message = "an array or an object cannot be compared with a field";
                return Err(Failure::new(Fault::InvalidArgument, message, span));
            }
            Constant::Text(_) => cast,
            Constant::Number(digits) if digits.parse::<i64>().is_ok() => "::pg_catalog.int8",
            Constant::Number(_) => "::pg_catalog.numeric",
            Constant::NotFinite(_) => "::pg_catalog.float8",
            Constant::Time(_) => "::pg_catalog.timestamptz",
            Constant::Date(_) => "::pg_catalog.date",
            Constant::Bytes(_) => "::pg_catalog.bytea",
            Constant::Uuid(_) => "::pg_catalog.uuid",
        };
        self.values.push(text(constant));
        Ok(format!("${}{cast}", self.values.len()))
    }
}

/// A name in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The whole place of a test.
fn span(test: &Test) -> Span {
    let over = |a: Span, b: Span| Span { start: a.start.min(b.start), end: a.end.max(b.end) };
    match test {
        Test::Column(name) => name.span,
        Test::Constant(_, span) | Test::Call(_, _, span) => *span,
        Test::Not(of) | Test::Minus(of) => span(of),
        Test::Binary(_, left, right) => over(span(left), span(right)),
        Test::In(of, _, list) => over(*list, span(of)),
    }
}

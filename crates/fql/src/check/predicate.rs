//! Predicates: expressions over a row.

use event_source_model::query::{Constant, Failure, Function, Name, Span, Test};

use super::meaning::{negated, too_deep};
use super::shown::{column, is_row, row_and_body};
use super::{Scope, unsupported, wrong_count};
use crate::ast::{Expr, Kind, Unary};

impl<'a> Scope<'a> {
    /// The argument of `where`.
    pub(super) fn predicate(&self, argument: &'a Expr) -> Result<Test, Failure> {
        let (row, body) = row_and_body(argument)?;
        self.test(body, row)
    }

    fn test(&self, expr: &'a Expr, row: Option<&str>) -> Result<Test, Failure> {
        let span = expr.span;
        if let Some(name) = column(expr, row) {
            return Ok(Test::Column(name));
        }
        Ok(match &expr.kind {
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.test(left, row)?, self.test(right, row)?);
                Test::Binary(*operator, Box::new(left), Box::new(right))
            }
            Kind::Unary(Unary::Not, of) => Test::Not(Box::new(self.test(of, row)?)),
            Kind::Unary(Unary::Minus, of) => match self.test(of, row)? {
                Test::Constant(Constant::Number(digits), _) => {
                    Test::Constant(Constant::Number(negated(&digits)), span)
                }
                other => Test::Minus(Box::new(other)),
            },
            Kind::Assert(of) => self.test(of, row)?,
            Kind::Field { of, name, .. } if name.text == "length" => {
                let text = self.test(of, row)?;
                Test::Call(Function::Length, vec![text], span)
            }
            Kind::Call { function, arguments } => match &function.kind {
                Kind::Field { of, name, .. } => self.method(of, name, arguments, span, row)?,
                _ => return Err(unsupported("Calling this", function.span)),
            },
            Kind::Block(block) if block.lets.is_empty() => self.test(&block.result, row)?,
            _ if is_row(expr, row) => {
                return Err(unsupported("A document in a predicate", span)
                    .hint("compare its fields, as in .id == \"1\""));
            }
            Kind::Field { name, .. } => {
                return Err(unsupported("A field of a field", name.span));
            }
            Kind::TooDeep => return Err(too_deep(span)),
            _ => Test::Constant(self.constant(expr)?, span),
        })
    }

    fn method(
        &self,
        of: &'a Expr,
        name: &'a Name,
        arguments: &'a [Expr],
        span: Span,
        row: Option<&str>,
    ) -> Result<Test, Failure> {
        if name.text == "includes"
            && let Some(list) = self.list(of)
        {
            let [value] = arguments else { return Err(unsupported("This call", span)) };
            return Ok(Test::In(Box::new(self.test(value, row)?), list, of.span));
        }
        let function = match name.text.as_str() {
            "startsWith" => Function::StartsWith,
            "endsWith" => Function::EndsWith,
            "includes" => Function::Includes,
            "includesRegex" => Function::IncludesRegex,
            "toLowerCase" => Function::ToLowerCase,
            "toUpperCase" => Function::ToUpperCase,
            "concat" => Function::Concat,
            "replaceAll" => Function::ReplaceAll,
            other => {
                let what = format!("`.{other}()` in a predicate");
                return Err(unsupported(&what, name.span));
            }
        };
        let count = function.operands() - 1;
        if arguments.len() != count {
            return Err(wrong_count(count, arguments.len(), span));
        }
        let operands = std::iter::once(of).chain(arguments).map(|operand| self.test(operand, row));
        Ok(Test::Call(function, operands.collect::<Result<_, _>>()?, span))
    }

    /// The list that an expression is, if it is one.
    fn list(&self, of: &'a Expr) -> Option<Vec<Constant>> {
        match self.constant(of) {
            Ok(Constant::Array(items)) => Some(items),
            _ => None,
        }
    }
}

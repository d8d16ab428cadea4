//! Directus' filters as tests of a row, which PostgreSQL evaluates.
//!
//! Guarantees that a value never becomes anything but a parameter, and that a test is neither deep nor
//! long. Values are texts that PostgreSQL reads by the type of the column, as it does for Directus.
//!
//! Directus writes SQL, so a comparison with null is not true there: `_neq`, `_nin` and the negated searches
//! leave out rows where the field is null, which a test by itself would let in.

use event_source_model::query::{Binary, Constant, Span, Test};
use event_source_wire::directus::error::Problem;
use serde_json::{Map, Value};

use super::names::Names;
use super::now;
use super::search::Search;

const DEEPEST: usize = 16;
const MOST_TESTS: usize = 1000;
const MOST_VALUES: usize = 10_000;

/// # Errors
/// It is no filter, or uses what is not served.
pub(super) fn read(given: Value, names: &mut Names) -> Result<Option<Test>, Problem> {
    let filter = match given {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => serde_json::from_str(&text).map_err(|_| no_filter())?,
        other => other,
    };
    let Value::Object(filter) = filter else { return Err(no_filter()) };
    let mut reader = Reader { names, tests: 0, values: 0 };
    let tests = reader.all(&filter, 0)?;
    Ok(Test::joined(Binary::And, tests))
}

fn no_filter() -> Problem {
    Problem::query("Invalid JSON for filter object.")
}

struct Reader<'a> {
    names: &'a mut Names,
    tests: usize,
    values: usize,
}

impl Reader<'_> {
    fn all(&mut self, filter: &Map<String, Value>, depth: usize) -> Result<Vec<Test>, Problem> {
        if depth > DEEPEST {
            return Err(Problem::query(format_args!(
                "The filter is deeper than {DEEPEST} levels."
            )));
        }
        let mut tests = Vec::new();
        for (name, value) in filter {
            match name.as_str() {
                "_and" => tests.extend(self.group(Binary::And, name, value, depth)?),
                "_or" => tests.extend(self.group(Binary::Or, name, value, depth)?),
                operator if operator.starts_with('_') => {
                    return Err(Problem::query(format_args!(
                        "\"{operator}\" has to be within a field."
                    )));
                }
                field => self.field(field, value, &mut tests)?,
            }
        }
        Ok(tests)
    }

    fn group(
        &mut self,
        operator: Binary,
        name: &str,
        value: &Value,
        depth: usize,
    ) -> Result<Option<Test>, Problem> {
        let Value::Array(filters) = value else {
            return Err(Problem::query(format_args!("\"{name}\" has to be an array of filters.")));
        };
        let mut tests = Vec::new();
        for filter in filters {
            let Value::Object(filter) = filter else { return Err(no_filter()) };
            self.count()?;
            let all = self.all(filter, depth + 1)?;
            // An empty filter is true, and so is an `_or` that has one.
            tests.push(Test::joined(Binary::And, all).unwrap_or_else(|| constant_bool(true)));
        }
        Ok(Test::joined(operator, tests))
    }

    fn field(&mut self, field: &str, value: &Value, tests: &mut Vec<Test>) -> Result<(), Problem> {
        if field.contains('(') {
            return Err(Problem::query(format_args!("\"{field}\": functions are not supported.")));
        }
        match value {
            Value::Object(operators) => {
                for (operator, value) in operators {
                    if !operator.starts_with('_') || matches!(operator.as_str(), "_some" | "_none")
                    {
                        return Err(Problem::query(format_args!(
                            "\"{field}.{operator}\": filters over related collections are not supported."
                        )));
                    }
                    tests.push(self.test(field, operator, value)?);
                }
            }
            implied => tests.push(self.test(field, "_eq", implied)?),
        }
        Ok(())
    }

    /// One condition more, or a filter in a group, which may be empty.
    fn count(&mut self) -> Result<(), Problem> {
        self.tests += 1;
        if self.tests > MOST_TESTS {
            return Err(Problem::query(format_args!(
                "The filter has more than {MOST_TESTS} conditions."
            )));
        }
        Ok(())
    }

    fn test(&mut self, field: &str, operator: &str, value: &Value) -> Result<Test, Problem> {
        self.count()?;
        let column = Test::Column(self.names.name(field));
        let span = column_span(&column);
        let null = || Test::Constant(Constant::Null, span);
        let text = |text: &str| Test::Constant(Constant::Text(text.to_owned()), span);
        let known =
            |test| binary(Binary::And, binary(Binary::Unequal, column.clone(), null()), test);
        let is_null = |wanted: bool| {
            let operator = if wanted { Binary::Equal } else { Binary::Unequal };
            binary(operator, column.clone(), null())
        };
        let is_empty = |wanted: bool| {
            let operators =
                if wanted { (Binary::Equal, Binary::Or) } else { (Binary::Unequal, Binary::And) };
            let of_text = binary(operators.0, column.clone(), text(""));
            binary(operators.1, is_null(wanted), of_text)
        };
        Ok(match operator {
            "_null" => is_null(flag(operator, value)?),
            "_nnull" => is_null(!flag(operator, value)?),
            "_empty" => is_empty(flag(operator, value)?),
            "_nempty" => is_empty(!flag(operator, value)?),
            "_eq" if value.is_null() => is_null(true),
            "_neq" if value.is_null() => is_null(false),
            "_in" => Test::In(Box::new(column.clone()), self.list(operator, value)?, span),
            "_nin" => {
                let list = Test::In(Box::new(column.clone()), self.list(operator, value)?, span);
                known(Test::Not(Box::new(list)))
            }
            "_between" | "_nbetween" => {
                let mut bounds = self.list(operator, value)?.into_iter();
                let (Some(low), Some(high), None) = (bounds.next(), bounds.next(), bounds.next())
                else {
                    return Err(Problem::query(format_args!(
                        "\"{operator}\" has to be an array of two values."
                    )));
                };
                let operators = if operator == "_between" {
                    (Binary::GreaterOrEqual, Binary::And, Binary::LessOrEqual)
                } else {
                    (Binary::Less, Binary::Or, Binary::Greater)
                };
                let low = binary(operators.0, column.clone(), Test::Constant(low, span));
                let high = binary(operators.2, column.clone(), Test::Constant(high, span));
                binary(operators.1, low, high)
            }
            _ => {
                let given = scalar(operator, value)?;
                let value = Test::Constant(given, span);
                match operator {
                    "_eq" => binary(Binary::Equal, column, value),
                    "_neq" => known(binary(Binary::Unequal, column.clone(), value)),
                    "_lt" => binary(Binary::Less, column, value),
                    "_lte" => binary(Binary::LessOrEqual, column, value),
                    "_gt" => binary(Binary::Greater, column, value),
                    "_gte" => binary(Binary::GreaterOrEqual, column, value),
                    other => {
                        let search = Search::of(other).ok_or_else(|| {
                            Problem::query(format_args!(
                                "\"{other}\" is not a filter operator that is supported."
                            ))
                        })?;
                        let found = search.test(column.clone(), value, span);
                        if search.negated { known(Test::Not(Box::new(found))) } else { found }
                    }
                }
            }
        })
    }

    /// The values of a list, or of a text with commas.
    fn list(&mut self, operator: &str, value: &Value) -> Result<Vec<Constant>, Problem> {
        let items = match value {
            Value::Array(items) => items
                .iter()
                .filter(|item| !item.is_null())
                .map(|item| scalar(operator, item))
                .collect::<Result<_, _>>()?,
            Value::String(text) => text
                .split(',')
                .map(|item| scalar(operator, &Value::String(item.to_owned())))
                .collect::<Result<Vec<_>, _>>()?,
            _ => {
                return Err(Problem::query(format_args!(
                    "\"{operator}\" has to be an array of values."
                )));
            }
        };
        self.values += items.len();
        if self.values > MOST_VALUES {
            return Err(Problem::query(format_args!(
                "The filter has more than {MOST_VALUES} values."
            )));
        }
        Ok(items)
    }
}

/// Whether a test that takes a flag is meant, or its opposite.
fn flag(operator: &str, value: &Value) -> Result<bool, Problem> {
    match value {
        Value::Bool(wanted) => Ok(*wanted),
        Value::Null => Ok(true),
        Value::String(text) => Ok(text != "false"),
        _ => Err(Problem::query(format_args!("\"{operator}\" has to be a boolean."))),
    }
}

fn scalar(operator: &str, value: &Value) -> Result<Constant, Problem> {
    Ok(match value {
        Value::String(text) if text.starts_with('$') => Constant::Text(now::variable(text)?),
        Value::String(text) => Constant::Text(text.clone()),
        Value::Number(number) => Constant::Text(number.to_string()),
        Value::Bool(flag) => Constant::Text(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err(Problem::query(format_args!(
                "The filter value for \"{operator}\" has to be a string, number, or boolean."
            )));
        }
    })
}

fn constant_bool(value: bool) -> Test {
    Test::Constant(Constant::Bool(value), Span::default())
}

fn column_span(column: &Test) -> Span {
    match column {
        Test::Column(name) => name.span,
        _ => Span::default(),
    }
}

fn binary(operator: Binary, left: Test, right: Test) -> Test {
    Test::Binary(operator, Box::new(left), Box::new(right))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;

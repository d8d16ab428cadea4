//! LoopBack's `where` as a test over a row, which PostgreSQL evaluates.
//!
//! Guarantees that nothing of it is passed over: what is no condition is refused by name. Constants are as
//! loose as LoopBack's: one fits a column of any type that can read its text. What negates (`neq`, `nin`,
//! `nlike`, `nor`) holds for null as well, as it does there.

use event_source_model::query::{Binary, Constant, Function, Name, Span, Test};
use serde_json::{Map, Value};

/// More conditions, deeper ones, or a longer list, are nobody's filter, and would be work for the worker.
const MOST_CONDITIONS: usize = 100;
const DEEPEST: usize = 16;
const LONGEST_LIST: usize = 1000;

/// The test; `None` for a `where` without a condition.
///
/// # Errors
/// What is wrong with it.
pub(super) fn test(conditions: &Map<String, Value>) -> Result<Option<Test>, String> {
    Reader { left: MOST_CONDITIONS }.all(conditions, 0)
}

struct Reader {
    /// How many conditions there may still be.
    left: usize,
}

/// What a condition is about.
enum Subject {
    Column(Test),
    /// What is at a path in a column of JSON, to be compared as text or as JSON.
    Path {
        column: Test,
        path: Test,
    },
}

impl Reader {
    /// All of an object's conditions.
    fn all(
        &mut self,
        conditions: &Map<String, Value>,
        depth: usize,
    ) -> Result<Option<Test>, String> {
        if depth > DEEPEST {
            return Err(format!("where is deeper than {DEEPEST} levels"));
        }
        let mut tests = Vec::new();
        for (name, value) in conditions {
            self.count(1)?;
            tests.push(match name.as_str() {
                "and" => self.group(name, value, Binary::And, depth)?,
                "or" => self.group(name, value, Binary::Or, depth)?,
                "nor" => not(self.group(name, value, Binary::Or, depth)?),
                _ => self.condition(&Subject::of(name)?, name, value)?,
            });
        }
        Ok(Test::joined(Binary::And, tests))
    }

    /// So many conditions more.
    fn count(&mut self, more: usize) -> Result<(), String> {
        self.left = self
            .left
            .checked_sub(more)
            .ok_or_else(|| format!("where has more than {MOST_CONDITIONS} conditions"))?;
        Ok(())
    }

    /// A value that the column equals, or operators that all hold.
    fn condition(&mut self, subject: &Subject, name: &str, value: &Value) -> Result<Test, String> {
        let Value::Object(operators) = value else {
            return Ok(binary(Binary::Equal, subject.text(), constant(scalar(name, value)?)));
        };
        // The first is the condition's own.
        self.count(operators.len().saturating_sub(1))?;
        let tests = operators.iter().map(|(operator, value)| operation(subject, operator, value));
        let tests = tests.collect::<Result<_, _>>()?;
        Test::joined(Binary::And, tests).ok_or_else(|| format!("\"{name}\" has no operator"))
    }

    fn group(
        &mut self,
        name: &str,
        value: &Value,
        by: Binary,
        depth: usize,
    ) -> Result<Test, String> {
        let wrong = || format!("\"{name}\" must be a list of conditions");
        let items = value.as_array().ok_or_else(wrong)?;
        let mut tests = Vec::new();
        for item in items {
            let conditions = item.as_object().ok_or_else(wrong)?;
            // An item may be empty, and is a condition then.
            if conditions.is_empty() {
                self.count(1)?;
            }
            tests.push(
                self.all(conditions, depth + 1)?.unwrap_or_else(|| constant(Constant::Bool(true))),
            );
        }
        // Of no conditions all hold, and none does.
        Ok(Test::joined(by, tests).unwrap_or_else(|| constant(Constant::Bool(by == Binary::And))))
    }
}

impl Subject {
    /// A column, or a path into one.
    fn of(name: &str) -> Result<Self, String> {
        let column =
            |text: &str| Test::Column(Name { text: text.to_owned(), span: Span::default() });
        let Some((first, path)) = name.split_once('.') else {
            return Ok(Self::Column(column(name)));
        };
        if first.is_empty() || path.split('.').any(str::is_empty) {
            return Err(format!("\"{name}\" is no path"));
        }
        let steps: Vec<String> = path.split('.').map(element).collect();
        let path = constant(Constant::Text(format!("{{{}}}", steps.join(","))));
        Ok(Self::Path { column: column(first), path })
    }

    fn text(&self) -> Test {
        self.at(Function::TextAt)
    }

    fn at(&self, function: Function) -> Test {
        match self {
            Self::Column(column) => column.clone(),
            Self::Path { column, path } => {
                Test::Call(function, vec![column.clone(), path.clone()], Span::default())
            }
        }
    }

    /// Compares by order. In JSON numbers and texts have an order each.
    fn compared(&self, by: Binary, name: &str, value: &Value) -> Result<Test, String> {
        let right = match self {
            Self::Column(_) => scalar(name, value)?,
            Self::Path { .. } => {
                scalar(name, value)?;
                Constant::Text(value.to_string())
            }
        };
        Ok(binary(by, self.at(Function::At), constant(right)))
    }
}

fn operation(subject: &Subject, operator: &str, value: &Value) -> Result<Test, String> {
    let matched = |function| -> Result<Test, String> {
        let pattern = constant(Constant::Text(text(operator, value)?.to_owned()));
        Ok(Test::Call(function, vec![subject.text(), pattern], Span::default()))
    };
    Ok(match operator {
        "gt" => subject.compared(Binary::Greater, operator, value)?,
        "gte" => subject.compared(Binary::GreaterOrEqual, operator, value)?,
        "lt" => subject.compared(Binary::Less, operator, value)?,
        "lte" => subject.compared(Binary::LessOrEqual, operator, value)?,
        "between" => {
            let Some([from, to]) = value.as_array().map(Vec::as_slice) else {
                return Err("\"between\" must be a list of two values".to_owned());
            };
            let from = subject.compared(Binary::GreaterOrEqual, operator, from)?;
            binary(Binary::And, from, subject.compared(Binary::LessOrEqual, operator, to)?)
        }
        "neq" => binary(Binary::Unequal, subject.text(), constant(scalar(operator, value)?)),
        "inq" => one_of(subject, operator, value)?,
        "nin" => not(one_of(subject, operator, value)?),
        "like" => matched(Function::Like)?,
        "nlike" => not(matched(Function::Like)?),
        "ilike" => matched(Function::LikeAnyCase)?,
        "nilike" => not(matched(Function::LikeAnyCase)?),
        "regexp" => {
            let pattern = constant(Constant::Text(pattern(text(operator, value)?)?));
            let matched = |text, pattern| {
                Test::Call(Function::IncludesRegex, vec![text, pattern], Span::default())
            };
            // Of constants alone, it is evaluated now: a pattern that is none is refused before the
            // stream rather than at its first event.
            let empty = constant(Constant::Text(String::new()));
            let is_one =
                binary(Binary::Unequal, matched(empty, pattern.clone()), constant(Constant::Null));
            binary(Binary::And, matched(subject.text(), pattern), is_one)
        }
        _ => return Err(format!("operator \"{operator}\" is not supported")),
    })
}

fn one_of(subject: &Subject, operator: &str, value: &Value) -> Result<Test, String> {
    let items = value.as_array().ok_or_else(|| format!("\"{operator}\" must be a list"))?;
    if items.len() > LONGEST_LIST {
        return Err(format!("\"{operator}\" has more than {LONGEST_LIST} values"));
    }
    let items = items.iter().map(|item| scalar(operator, item)).collect::<Result<_, _>>()?;
    Ok(Test::In(Box::new(subject.text()), items, Span::default()))
}

/// A constant that takes the type of the column. A number that no `integer` holds keeps its own.
fn scalar(name: &str, value: &Value) -> Result<Constant, String> {
    Ok(match value {
        Value::Null => Constant::Null,
        Value::Bool(b) => Constant::Text(b.to_string()),
        Value::Number(n) if n.to_string().parse::<i32>().is_ok() => Constant::Text(n.to_string()),
        Value::Number(n) => Constant::Number(n.to_string()),
        Value::String(s) => Constant::Text(s.clone()),
        Value::Array(_) | Value::Object(_) => {
            return Err(format!("\"{name}\" must be a text, a number, a boolean or null"));
        }
    })
}

fn text<'a>(operator: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("\"{operator}\" must be a text"))
}

/// A pattern, or one between slashes with flags behind it.
fn pattern(text: &str) -> Result<String, String> {
    let parts = text.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let Some((pattern, flags)) = parts else { return Ok(text.to_owned()) };
    let mut options = String::new();
    for flag in flags.chars() {
        match flag {
            'i' => options.push('i'),
            // Lines begin and end at line ends, too.
            'm' => options.push('n'),
            // Where else it matches is of no interest.
            'g' => {}
            _ => return Err(format!("the flags of \"{text}\" are not g, i or m")),
        }
    }
    Ok(if options.is_empty() { pattern.to_owned() } else { format!("(?{options}){pattern}") })
}

/// One step of a path, as an array's text has it.
fn element(step: &str) -> String {
    format!("\"{}\"", step.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What is not known counts as false, and so its contrary holds.
fn not(test: Test) -> Test {
    let known = binary(Binary::Otherwise, test, constant(Constant::Bool(false)));
    Test::Not(Box::new(known))
}

fn binary(by: Binary, left: Test, right: Test) -> Test {
    Test::Binary(by, Box::new(left), Box::new(right))
}

fn constant(constant: Constant) -> Test {
    Test::Constant(constant, Span::default())
}

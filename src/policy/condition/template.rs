//! Texts with expressions in them: `ns-${params.namespace}`.

use std::collections::BTreeSet;

use cel::Value;

use super::super::Code;
use super::check::Wanted;
use super::{Checked, Environment, Expression, ExpressionError, Problem, Scope, Span, failure};

/// A text with `${EXPRESSION}` in it, such as `ns-${params.namespace}`. `$${` stands for a literal `${`.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// Compiles `source`. With `many` it may also be one expression that gives a list of texts, see [`Template::render_all`].
    pub fn compile(source: &str, environment: &Environment<'_>, many: bool) -> Checked<Self> {
        let mut problems = Vec::new();
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('$') {
            text.push_str(rest.get(..at).unwrap_or_default());
            rest = rest.get(at..).unwrap_or_default();
            if let Some(after) = rest.strip_prefix("$${") {
                text.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let before = source.get(..source.len() - after.len()).map_or(0, |before| before.chars().count());
                let Some(end) = closing(after) else {
                    let span = Span { start: before - 2, length: 2 };
                    problems.push(Problem::error(Code::BadExpression, span, "`${` is never closed by `}`"));
                    break;
                };
                let inner = after.get(..end).unwrap_or_default();
                let alone = many && before == 2 && after.len() == end + 1;
                let wanted = if alone { Wanted::Texts } else { Wanted::Text };
                let compiled = Expression::compile_as(inner, environment, wanted);
                problems.extend(compiled.problems.into_iter().map(|problem| {
                    let span = Span { start: problem.span.start + before, ..problem.span };
                    Problem { span, ..problem }
                }));
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.extend(compiled.value.map(Part::Expression));
                rest = after.get(end + 1..).unwrap_or_default();
            } else {
                text.push('$');
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        text.push_str(rest);
        if !text.is_empty() || parts.is_empty() {
            parts.push(Part::Text(text));
        }
        Checked::new(Some(Self { source: source.to_owned(), parts }), problems)
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parameters it asks for.
    pub fn params(&self) -> BTreeSet<String> {
        self.expressions().flat_map(Expression::params).cloned().collect()
    }

    /// The expressions in it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }

    /// The texts between its expressions, as they will be.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Expression(_) => None,
        })
    }

    /// What it always gives, if there is no expression in it.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What another template has, too, only if it says the same, however its expressions are written.
    pub fn shape(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => format!("{text:?}"),
            Part::Expression(expression) => format!("${{{}}}", expression.shape()),
        };
        self.parts.iter().map(part).collect()
    }

    /// The text with its expressions evaluated: texts, numbers and booleans may be inserted, nothing else.
    pub fn render(&self, scope: &Scope) -> Result<String, ExpressionError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression(expression) => out.push_str(&text_of(&expression.value(scope)?)?),
            }
        }
        Ok(out)
    }

    /// Like [`Template::render`], but a template that is one expression and yields a list gives each of its texts.
    pub fn render_all(&self, scope: &Scope) -> Result<Vec<String>, ExpressionError> {
        if let [Part::Expression(expression)] = self.parts.as_slice()
            && let Value::List(list) = expression.value(scope)?
        {
            return list.iter().map(text_of).collect();
        }
        self.render(scope).map(|text| vec![text])
    }
}

/// The end of an expression inside a template: the first `}` outside of texts and inner braces.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

fn text_of(value: &Value) -> Result<String, ExpressionError> {
    match value {
        Value::String(text) => Ok(text.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::UInt(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        other => {
            let message = format!("it gives {}, which cannot be put into a text", failure::kind_of(other));
            Err(ExpressionError(message))
        }
    }
}

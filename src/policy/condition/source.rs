//! Where the nodes of an expression stand in its text.

use cel::IdedExpr;
use cel::common::ast::{Expr, SourceInfo};

use super::limits;

/// Characters of an expression: where they begin, counted from 0, and how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first of them.
    pub start: usize,
    /// How many; 0 if that is not known.
    pub length: usize,
}

/// The text of an expression, with the places of its nodes.
pub(super) struct Source<'a> {
    text: &'a str,
    places: SourceInfo,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, places: SourceInfo) -> Self {
        Self { text, places }
    }

    /// What a node and everything below it covers.
    pub(super) fn span(&self, node: &IdedExpr) -> Span {
        let (start, end) = self.bytes(node);
        if start >= end {
            return Span::default();
        }
        let characters = |bytes: usize| self.text.char_indices().take_while(|(at, _)| *at < bytes).count();
        let start = characters(start);
        Span { start, length: characters(end) - start }
    }

    /// The library places a node by one token, counted in bytes: a call by its bracket, a selection by its dot.
    fn bytes(&self, node: &IdedExpr) -> (usize, usize) {
        let (mut start, mut end) = (usize::MAX, 0);
        for part in limits::parts(node) {
            let (first, last) = self.bytes(part);
            start = start.min(first);
            end = end.max(last);
        }
        if let Expr::Select(select) = &node.expr {
            let field = self.text.get(end..).and_then(|rest| rest.find(&select.field));
            end += field.map_or(0, |at| at + select.field.len());
        }
        if let Some((first, last)) = self.places.offset_for(node.id) {
            let (mut first, last) = (first as usize, last as usize);
            // The name before the bracket belongs to it.
            if self.text.get(first..).is_some_and(|rest| rest.starts_with(['(', '{'])) {
                let name = self.text.get(..first).unwrap_or_default().trim_end();
                first = name.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
            }
            start = start.min(first);
            end = end.max(self.text.ceil_char_boundary(last + 1));
        }
        // What it opens is closed further on.
        let rest = self.text.get(end..).unwrap_or_default();
        let mut open = brackets(self.text.get(start..end).unwrap_or_default());
        for c in rest.chars().take_while(|c| c.is_whitespace() || matches!(c, ')' | ']' | '}')) {
            if open <= 0 {
                break;
            }
            open += opens(c);
            end += c.len_utf8();
        }
        (start, end)
    }

    /// The text of a node.
    pub(super) fn of(&self, node: &IdedExpr) -> String {
        let span = self.span(node);
        self.text.chars().skip(span.start).take(span.length).collect()
    }
}

/// How many brackets are open at the end of `text`, those in quotes left aside.
fn brackets(text: &str) -> i32 {
    let (mut open, mut quote, mut escaped) = (0, None, false);
    for c in text.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None => open += opens(c),
        }
    }
    open
}

fn opens(c: char) -> i32 {
    match c {
        '(' | '[' | '{' => 1,
        ')' | ']' | '}' => -1,
        _ => 0,
    }
}

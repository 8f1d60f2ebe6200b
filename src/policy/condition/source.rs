//! Where the nodes of an expression stand in its text.

use cel::IdedExpr;
use cel::common::ast::SourceInfo;

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
        let (mut start, mut end) = (usize::MAX, 0);
        let mut waiting = vec![node];
        while let Some(node) = waiting.pop() {
            if let Some((first, last)) = self.places.offset_for(node.id) {
                start = start.min(first as usize);
                end = end.max(last as usize + 1);
            }
            waiting.extend(limits::parts(node));
        }
        if start >= end {
            return Span::default();
        }
        // The places are those of the first token of each node: what it opens is closed further on.
        let mut open = self.text.chars().skip(start).take(end - start).fold(0_i32, |open, c| open + opens(c));
        for c in self.text.chars().skip(end) {
            if open <= 0 {
                break;
            }
            open += opens(c);
            end += 1;
        }
        Span { start, length: end - start }
    }

    /// The text of a node.
    pub(super) fn of(&self, node: &IdedExpr) -> String {
        let span = self.span(node);
        self.text.chars().skip(span.start).take(span.length).collect()
    }
}

fn opens(c: char) -> i32 {
    match c {
        '(' | '[' | '{' => 1,
        ')' | ']' | '}' => -1,
        _ => 0,
    }
}

//! Where the characters of a text stand, however it is written.

use super::At;
use crate::policy::Place;

impl At<String> {
    /// Where characters of the text stand in `file`, from which it was read: on the right line of a text of several lines,
    /// behind the quotes of a quoted one. The place of the whole text if that cannot be told.
    pub fn place_of(&self, file: &str, start: usize, length: usize) -> Place {
        let whole = self.place();
        let text = self.as_str();
        let places = Written::All.places(file, whole, text).or_else(|| {
            let quoted = Place { column: whole.column + 1, ..whole };
            Written::Single.places(file, quoted, text).or_else(|| Written::Double.places(file, quoted, text))
        });
        let Some(places) = places else { return whole };
        let Some(first) = places.get(start).or(places.last()) else { return whole };
        let last =
            length.checked_sub(1).and_then(|more| places.get(start + more)).filter(|last| last.line == first.line);
        let length = last.map_or(0, |last| last.column.saturating_sub(first.column) + 1);
        Place { length, ..*first }
    }
}

/// How a text is written in YAML.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    /// Without quotes, or as a block: every character stands for itself, but for white space.
    All,
    /// In single quotes, where `''` is a quote.
    Single,
    /// In double quotes, where `\` begins an escape.
    Double,
}

impl Written {
    /// The place of each character of `text`, which begins at `start`; `None` if it is not written like this.
    fn places(self, file: &str, start: Place, text: &str) -> Option<Vec<Place>> {
        let lines = file.split('\n').enumerate().skip(usize::try_from(start.line.checked_sub(1)?).ok()?);
        let mut raw = lines
            .flat_map(|(line, content)| content.chars().chain(['\n']).enumerate().map(move |at| (line, at)))
            .skip(usize::try_from(start.column.checked_sub(1)?).ok()?)
            .peekable();
        let mut places = Vec::new();
        let mut in_space = false;
        for c in text.chars() {
            let space = c.is_whitespace();
            if space && in_space {
                places.push(*places.last()?);
                continue;
            }
            while in_space && raw.next_if(|(_, (_, found))| found.is_whitespace()).is_some() {}
            in_space = space;
            let (line, (column, mut found)) = raw.next()?;
            match self {
                Self::Single if found == '\'' => found = raw.next()?.1.1,
                Self::Double if found == '\\' => {
                    found = match raw.next()?.1.1 {
                        'n' | 't' | 'r' => ' ',
                        other => other,
                    }
                }
                _ => {}
            }
            if found != c && !(space && found.is_whitespace()) {
                return None;
            }
            let number = |n: usize| u32::try_from(n + 1).unwrap_or(0);
            places.push(Place { line: number(line), column: number(column), length: 0 });
        }
        Some(places)
    }
}

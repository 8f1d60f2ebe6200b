//! What the next commit on the ledger's branch adds.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::chain::{Link, link};
use super::file::LedgerFile;

/// Where the ledger of a repository stands, as far as this installation wrote it or took it in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tip {
    /// The last event.
    pub last: Link,
    /// The file it is in.
    pub file: Option<LedgerFile>,
    /// What that file holds.
    pub content: String,
}

/// An event that waits to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// Its key in the database.
    pub key: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The event as JSON.
    pub body: Value,
}

/// What a commit adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The files it changes, whole, in order.
    pub files: Vec<(LedgerFile, String)>,
    /// The place each event got, by its key.
    pub placed: Vec<(String, Link)>,
    /// The number of the first event in the last of the files.
    pub first_in_file: u64,
    /// The last event.
    pub last: Link,
}

impl Tip {
    /// The batch that writes `pending` after it, in this order. `first_in_file` is the number of the first event in its file.
    pub fn append(&self, first_in_file: u64, pending: &[Pending]) -> Batch {
        let mut batch = Batch { first_in_file, last: self.last.clone(), ..Batch::default() };
        let mut open = self.file.map(|file| (file, self.content.clone()));
        let mut touched = false;
        for event in pending {
            let (current, size) =
                (open.as_ref().map(|(file, _)| *file), open.as_ref().map_or(0, |(_, text)| text.len()));
            let file = LedgerFile::next(current, size, event.at);
            let (line, next) = link(&batch.last, &event.body);
            if current != Some(file) {
                batch.files.extend(open.take().filter(|_| touched));
                batch.first_in_file = next.seq;
            }
            let (_, content) = open.get_or_insert_with(|| (file, String::new()));
            content.push_str(&line);
            content.push('\n');
            touched = true;
            batch.placed.push((event.key.clone(), next.clone()));
            batch.last = next;
        }
        batch.files.extend(open.filter(|_| touched));
        batch
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::chain::Entry;

    fn pending(number: i64) -> Pending {
        let at = DateTime::from_timestamp(1_800_000_000 + number * 3_600, 0).unwrap();
        let body = json!({ "v": 1, "id": format!("e{number}"), "at": at, "repository": "acme/access", "kind": "started", "details": {} });
        Pending { key: format!("e{number}"), at, body }
    }

    #[test]
    fn however_events_are_cut_into_batches_the_files_are_the_same() {
        let events: Vec<Pending> = (0..60).map(pending).collect();
        let whole = Tip::default().append(1, &events);
        assert_eq!(whole.files.len(), 3, "two days and a bit");
        for size in [1, 7, 59] {
            let (mut tip, mut first, mut files) = (Tip::default(), 1, std::collections::BTreeMap::new());
            for part in events.chunks(size) {
                let batch = tip.append(first, part);
                files.extend(batch.files.iter().cloned());
                let (file, content) = batch.files.last().unwrap().clone();
                (tip, first) = (Tip { last: batch.last, file: Some(file), content }, batch.first_in_file);
            }
            assert_eq!(files.into_iter().collect::<Vec<_>>(), whole.files);
        }
        let lines = whole.files.iter().flat_map(|(_, content)| content.lines());
        let last = lines.fold(Link::default(), |last, line| {
            let entry = Entry::read(line.as_bytes()).unwrap();
            assert!(entry.follows(&last));
            entry.link()
        });
        assert_eq!(last, whole.last);
        let of_last = whole.files.last().unwrap().1.lines().next().unwrap();
        assert_eq!(Entry::read(of_last.as_bytes()).unwrap().seq, whole.first_in_file);
    }
}

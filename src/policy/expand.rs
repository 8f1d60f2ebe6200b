//! What is written once and means many: `for_each` makes entries from the rows of a table, `extends` fills in what a role has
//! in common with others. Both happen on the tree, before it is read: whatever is wrong in what comes out is reported where it
//! is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Code;
use super::lint::Remark;
use super::yaml::decode::{did_you_mean, shortened};
use super::yaml::node::{Kind, Scalar};
use super::yaml::{Made, Node, Report, Spot, Value};

/// Values all entries made from tables may have together. A policy has a few thousand.
const MOST_VALUES: usize = 200_000;
/// How many may extend each other in a row.
const DEEPEST_CHAIN: usize = 32;
/// The sections whose entries `for_each` can make.
const REPEATED: [&str; 4] = ["targets", "templates", "roles", "approvals"];
/// What belongs to an entry alone.
const NOT_INHERITED: [&str; 3] = ["allow", "extends", "for_each"];
/// What restricts adds up: whoever extends a role must not lose its conditions by adding one.
const ADDS_UP: [&str; 2] = ["requires", "conditions"];

/// Columns with their values, and where these stand.
type Row = BTreeMap<String, (Scalar, Spot)>;

/// The tables by name; `None` if there is a mistake in one, which is enough said about it.
type Tables = BTreeMap<String, Option<Vec<Row>>>;

/// What is known after `for_each` and `extends` are replaced.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    /// What is never used.
    pub remarks: Vec<Remark>,
    /// Sections in which entries could not be made: a name that is missing there may not be a mistake of its own.
    pub incomplete: BTreeSet<&'static str>,
    /// Where the roles and templates stand that lack what they should inherit.
    pub unfinished: Vec<Spot>,
}

/// Replaces `for_each` and `extends` in the files of a policy. `whole`: there are no others that could not be read.
pub(super) fn expand(files: &mut [Node], whole: bool, report: &mut Report) -> Expanded {
    let mut expanded = Expanded { remarks: unused_tables(files), ..Expanded::default() };
    if !whole {
        expanded.incomplete.extend(REPEATED);
    }
    let tables = tables(files, report);
    let mut making = Making { tables: &tables, whole, left: MOST_VALUES, report };
    for file in files.iter_mut() {
        for section in REPEATED {
            if let Some(Value::Map(entries)) = section_of(file, section) {
                for entry in std::mem::take(entries) {
                    let (made, complete) = making.repeat(entry);
                    entries.extend(made);
                    if !complete {
                        expanded.incomplete.insert(section);
                    }
                }
            }
        }
    }
    inherit(files, &mut expanded, report);
    expanded
}

/// Tables no `for_each` names.
fn unused_tables(files: &[Node]) -> Vec<Remark> {
    let entries = REPEATED.iter().flat_map(|section| files.iter().filter_map(|file| file.get(section)));
    let used: BTreeSet<&str> =
        entries.flat_map(entries_of).filter_map(|(_, entry)| entry.get("for_each")?.text()).collect();
    let tables = files.iter().filter_map(|file| file.get("tables")).flat_map(entries_of);
    let unused = tables.filter(|(name, _)| name.text().is_some_and(|name| !used.contains(name)));
    unused.map(|(name, _)| never_used("table", name)).collect()
}

fn never_used(what: &str, name: &Node) -> Remark {
    let message = format!("{what} `{}` is never used", shortened(name.text().unwrap_or_default()));
    Remark::new(Some(&name.spot), &name.spot, Code::UnusedTemplate, message, Code::UnusedTemplate.explanation())
}

fn section_of<'n>(file: &'n mut Node, section: &str) -> Option<&'n mut Value> {
    let Value::Map(entries) = &mut file.value else { return None };
    entries.iter_mut().find(|(key, _)| key.text() == Some(section)).map(|(_, node)| &mut node.value)
}

/// The tables of all files, by name.
fn tables(files: &[Node], report: &mut Report) -> Tables {
    let mut tables = Tables::new();
    for (key, node) in files.iter().filter_map(|file| file.get("tables")).flat_map(entries_of) {
        let Some(name) = key.text() else { continue };
        if tables.contains_key(name) {
            let message = format!("table `{}` is defined already", shortened(name));
            report.error(&key.spot, Code::DefinedTwice, message, Code::DefinedTwice.explanation());
            continue;
        }
        tables.insert(name.to_owned(), rows(node, report));
    }
    tables
}

fn entries_of(node: &Node) -> &[(Node, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

/// The rows of a table: a list of columns with values.
fn rows(node: &Node, report: &mut Report) -> Option<Vec<Row>> {
    const SHAPE: &str = "A table is a list of rows, such as `- { service: orders, owner: shop }`.";
    let Value::List(items) = &node.value else {
        report.error(
            node.named_at(),
            Code::BadTable,
            format!("this is {}; expected a list of rows", node.what()),
            SHAPE,
        );
        return None;
    };
    if items.is_empty() {
        report.error(node.named_at(), Code::BadTable, "the table has no rows: nothing would be made from it", SHAPE);
        return None;
    }
    let (mut rows, found) = (Vec::new(), report.findings.len());
    for item in items {
        if !matches!(item.value, Value::Map(_)) {
            report.error(&item.spot, Code::BadTable, format!("this is {}; expected a row", item.what()), SHAPE);
            continue;
        }
        let mut row = Row::new();
        for (key, value) in entries_of(item) {
            let (Some(column), Value::Scalar(scalar), Some(text)) = (key.text(), &value.value, value.text()) else {
                report.error(&value.spot, Code::BadTable, "a row has plain values only", SHAPE);
                continue;
            };
            // It is put into names and expressions: it must not be able to end a text there.
            if text.is_empty() || text.chars().any(|c| c.is_control() || "'\"\\`${}".contains(c)) {
                let message = format!("`{}` cannot be a value of a table", shortened(text));
                let help = "Values are not empty and have no quotes, backslashes, braces, `$` or control characters.";
                report.error(&value.spot, Code::BadTable, message, help);
            } else if row.insert(column.to_owned(), (scalar.clone(), value.spot.clone())).is_some() {
                let message = format!("column `{}` is there twice", shortened(column));
                report.error(&key.spot, Code::DuplicateKey, message, Code::DuplicateKey.explanation());
            }
        }
        rows.push(row);
    }
    (report.findings.len() == found).then_some(rows)
}

/// Entries on their way to being made.
struct Making<'a> {
    tables: &'a Tables,
    /// Whether every file could be read.
    whole: bool,
    /// Values that may still be made.
    left: usize,
    report: &'a mut Report,
}

impl Making<'_> {
    /// One entry, or one for each row of its table, and whether all of them could be made.
    fn repeat(&mut self, (key, mut node): (Node, Node)) -> (Vec<(Node, Node)>, bool) {
        let Some(table) = node.get("for_each").cloned() else {
            self.no_row(&mut node);
            return (vec![(key, node)], true);
        };
        let named = key.text().is_some_and(|name| name.contains("${each."));
        let Some(rows) = self.rows_of(&table, &key, &node, named) else {
            // Its name is known all the same, unless it is made from the row, too.
            let told = Node { value: Value::Told, ..node };
            return if named { (Vec::new(), false) } else { (vec![(key, told)], true) };
        };
        let (mut made, mut complete, mut missing) = (Vec::new(), true, BTreeSet::new());
        for row in &rows {
            let (mut key, mut node) = (key.clone(), node.clone());
            let filling = Filling { row, rows: rows.len() };
            let known = filling.fill_in(&mut key, &mut missing);
            if !filling.fill_in(&mut node, &mut missing) {
                node.value = Value::Told;
            }
            complete &= known;
            made.extend(known.then_some((key, node)));
        }
        for (file, place, column) in missing {
            let columns = rows.iter().flat_map(Row::keys).map(String::as_str);
            let help = did_you_mean(&column, columns, "Every row needs every column that is used.");
            let message = format!("a row has no column `{}`", shortened(&column));
            self.report.error(&Spot::new(&file, place), Code::BadTable, message, help);
        }
        (made, complete)
    }

    /// What is made from no table has no row to take values from.
    fn no_row(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Scalar(scalar) if scalar.text.replace("$${", "").contains("${each.") => {
                let message = format!("`{}` stands in what is made from no table", shortened(&scalar.text));
                let help = "`${each.COLUMN}` is filled in beside `for_each`, in what has it itself; not in a template it extends.";
                self.report.error(&node.spot, Code::BadTable, message, help);
                node.value = Value::Told;
            }
            Value::List(items) => items.iter_mut().for_each(|item| self.no_row(item)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| self.no_row(value)),
            Value::Scalar(_) | Value::Told => {}
        }
    }

    /// The rows an entry is made from, if it can be.
    fn rows_of(&mut self, table: &Node, key: &Node, node: &Node, named: bool) -> Option<Vec<Row>> {
        let rows = match table.text().map(|name| (name, self.tables.get(name))) {
            None => rows(table, self.report)?,
            Some((_, Some(rows))) => rows.clone()?,
            Some((_, None)) if !self.whole => return None,
            Some((name, None)) => {
                let known = self.tables.keys().map(String::as_str);
                let help = did_you_mean(name, known, "Define it under `tables`.");
                let message = format!("table `{}` does not exist", shortened(name));
                self.report.error(&table.spot, Code::BadTable, message, help);
                return None;
            }
        };
        if rows.len() > 1 && !named {
            let name = shortened(key.text().unwrap_or_default());
            let message = format!("`{name}` would be made {} times", rows.len());
            let help = "Put a column into the name, such as `${each.service}-reader`.";
            self.report.error(&key.spot, Code::BadTable, message, help);
            return None;
        }
        let size = size_of(node).saturating_mul(rows.len());
        if size > self.left {
            let message = format!("the tables make more than {MOST_VALUES} values");
            self.report.error(&table.spot, Code::TooLarge, message, "Use shorter tables.");
            return None;
        }
        self.left -= size;
        Some(rows)
    }
}

fn size_of(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) | Value::Told => 0,
        Value::List(items) => items.iter().map(size_of).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| size_of(key) + size_of(value)).sum(),
    }
}

/// A row that is put into what is made from it.
struct Filling<'a> {
    row: &'a Row,
    /// How many rows the table has.
    rows: usize,
}

impl Filling<'_> {
    /// Puts the values of the row where `${each.COLUMN}` stands. False if one is missing.
    fn fill_in(&self, node: &mut Node, missing: &mut BTreeSet<(String, super::Place, String)>) -> bool {
        match &mut node.value {
            Value::Scalar(scalar) => match only_column(&scalar.text).and_then(|column| self.row.get(column)) {
                // A number stays a number.
                Some((value, spot)) => {
                    *scalar = value.clone();
                    node.spot.made = self.made(spot);
                    true
                }
                None if scalar.kind == Kind::Text && scalar.text.contains("${each.") => self.text(node, missing),
                None => true,
            },
            Value::List(items) => {
                items.iter_mut().map(|item| self.fill_in(item, missing)).fold(true, |all, one| all & one)
            }
            Value::Map(entries) => entries.iter_mut().fold(true, |all, (key, value)| {
                let (key, value) = (self.fill_in(key, missing), self.fill_in(value, missing));
                all && key && value
            }),
            Value::Told => true,
        }
    }

    fn text(&self, node: &mut Node, missing: &mut BTreeSet<(String, super::Place, String)>) -> bool {
        let Value::Scalar(scalar) = &mut node.value else { return true };
        let written = std::mem::take(&mut scalar.text);
        let (mut rest, mut complete) = (written.as_str(), true);
        while let Some((before, after)) = rest.split_once("${each.") {
            scalar.text.push_str(before);
            let (column, after) = after.split_once('}').unwrap_or((after, ""));
            match self.row.get(column.trim()) {
                Some((value, spot)) => {
                    scalar.text.push_str(&value.text);
                    node.spot.made = node.spot.made.take().or_else(|| self.made(spot));
                }
                None => {
                    complete = false;
                    missing.insert((node.spot.file.to_string(), node.spot.place, column.trim().to_owned()));
                }
            }
            rest = after;
        }
        scalar.text.push_str(rest);
        complete
    }

    fn made(&self, spot: &Spot) -> Option<Arc<Made>> {
        Some(Arc::new(Made { file: Arc::clone(&spot.file), place: spot.place, rows: self.rows }))
    }
}

/// The column, if the text is nothing but `${each.COLUMN}`.
fn only_column(text: &str) -> Option<&str> {
    let column = text.strip_prefix("${each.")?.strip_suffix('}')?;
    (!column.contains(['$', '{', '}'])).then(|| column.trim())
}

/// What can be extended, by name.
struct Heritage {
    written: BTreeMap<String, Written>,
    complete: BTreeMap<String, Node>,
    /// Those that are being completed: whoever is met again is in a circle.
    open: Vec<String>,
    /// Whether a chain was too long to follow; told once.
    too_deep: bool,
    /// Whether there may be templates or roles that are not known.
    incomplete: bool,
    unfinished: Vec<Spot>,
    /// What looks wrong about what is inherited.
    remarks: Vec<Remark>,
}

/// A template or role as it is written.
struct Written {
    key: Spot,
    node: Node,
    parents: Vec<Node>,
    /// The template every role extends, if it does.
    default: Option<Node>,
    is_template: bool,
}

fn inherit(files: &mut [Node], expanded: &mut Expanded, report: &mut Report) {
    let default = files.iter().find_map(|file| file.get("settings")?.get("role_defaults").cloned());
    let mut heritage = Heritage {
        written: BTreeMap::new(),
        complete: BTreeMap::new(),
        open: Vec::new(),
        too_deep: false,
        incomplete: ["templates", "roles"].iter().any(|section| expanded.incomplete.contains(section)),
        unfinished: Vec::new(),
        remarks: Vec::new(),
    };
    for file in files.iter_mut() {
        for section in ["templates", "roles"] {
            let Some(Value::Map(entries)) = section_of(file, section) else { continue };
            for (key, node) in entries {
                let parents = node.get("extends").cloned().map_or_else(Vec::new, parents);
                let Some(name) = key.text() else { continue };
                if let Some(first) = heritage.written.get(name) {
                    if first.is_template != (section == "templates") {
                        // Two of a kind are reported by whoever reads them; a role and a template only here.
                        twice(name, &key.spot, first, report);
                    }
                    continue;
                }
                let default = default.clone().filter(|_| section == "roles");
                let is_template = section == "templates";
                let written = Written { key: key.spot.clone(), node: node.clone(), parents, default, is_template };
                heritage.written.insert(name.to_owned(), written);
            }
        }
    }
    let extended: BTreeSet<String> = heritage
        .written
        .values()
        .flat_map(|written| written.parents.iter().chain(&written.default))
        .filter_map(|parent| parent.text().map(str::to_owned))
        .collect();
    let names: Vec<String> = heritage.written.keys().cloned().collect();
    for name in &names {
        heritage.complete(name, report);
    }
    for file in files.iter_mut() {
        for section in ["templates", "roles"] {
            let Some(Value::Map(entries)) = section_of(file, section) else { continue };
            for (key, node) in entries {
                let name = key.text().unwrap_or_default();
                let ours = heritage.written.get(name).is_some_and(|written| written.key == key.spot);
                if let Some(complete) = heritage.complete.get(name).filter(|_| ours) {
                    *node = complete.clone();
                }
            }
        }
    }
    let templates = files.iter().filter_map(|file| file.get("templates")).flat_map(entries_of);
    let unused = templates.filter(|(name, _)| name.text().is_some_and(|name| !extended.contains(name)));
    expanded.remarks.extend(unused.map(|(name, _)| never_used("template", name)));
    expanded.unfinished = heritage.unfinished;
    expanded.remarks.append(&mut heritage.remarks);
}

fn twice(name: &str, spot: &Spot, first: &Written, report: &mut Report) {
    let message = format!("`{}` is defined already, at {}", shortened(name), first.key);
    report.error(spot, Code::DefinedTwice, message, Code::DefinedTwice.explanation());
}

/// The names in `extends`.
fn parents(extends: Node) -> Vec<Node> {
    match extends.value {
        Value::List(items) => items,
        _ => vec![extends],
    }
}

impl Heritage {
    /// The role or template with everything it inherits; `None` if it does not exist or cannot be completed.
    fn complete(&mut self, name: &str, report: &mut Report) -> Option<Node> {
        if let Some(complete) = self.complete.get(name) {
            return Some(complete.clone());
        }
        let written = self.written.get(name)?;
        let (mut node, key) = (written.node.clone(), written.key.clone());
        let (parents, default) = (written.parents.clone(), written.default.clone());
        if matches!(node.value, Value::Told) {
            return None;
        }
        if let Some(first) = self.open.iter().position(|open| open == name) {
            let circle: Vec<String> = self.open.iter().skip(first).map(|open| self.with_place(open)).collect();
            let message = format!("{} extends `{}`: a circle", circle.join(" extends "), shortened(name));
            report.error(&key, Code::ExtendsCircle, message, Code::ExtendsCircle.explanation());
            return None;
        }
        if self.open.len() >= DEEPEST_CHAIN {
            if !std::mem::replace(&mut self.too_deep, true) {
                let message = format!("`{}` extends more than {DEEPEST_CHAIN} others in a row", shortened(name));
                report.error(
                    &key,
                    Code::ExtendsCircle,
                    message,
                    "Extend fewer templates, or extend them side by side.",
                );
            }
            return None;
        }
        self.open.push(name.to_owned());
        let default = default.filter(|default| default.text() != Some(name));
        let wanted = parents.len() + usize::from(default.is_some());
        let inherited: Vec<(Node, Node)> =
            parents.into_iter().filter_map(|parent| Some((self.parent(&parent, report)?, parent))).collect();
        let default = default.and_then(|default| self.parent(&default, report));
        self.open.pop();
        if inherited.len() + usize::from(default.is_some()) < wanted {
            self.unfinished.push(key.clone());
        }
        self.unclear(&node, &inherited, report);
        let parents = || inherited.iter().map(|(parent, _)| parent).chain(&default);
        self.remarks.extend(parents().find_map(|parent| sponsors_dropped(&key, &node, parent)));
        for parent in inherited.into_iter().map(|(parent, _)| parent).chain(default) {
            add(&mut node, parent);
        }
        self.complete.insert(name.to_owned(), node.clone());
        Some(node)
    }

    fn parent(&mut self, name: &Node, report: &mut Report) -> Option<Node> {
        // What is no text at all is told by whoever reads it.
        let text = name.text()?.to_owned();
        if !self.written.contains_key(&text) {
            if self.incomplete {
                return None;
            }
            let message = format!("there is no template or role `{}`", shortened(&text));
            let help = did_you_mean(&text, self.written.keys().map(String::as_str), "Define it under `templates`.");
            report.error(&name.spot, Code::UnknownTemplate, message, help);
            return None;
        }
        let complete = self.complete(&text, report)?;
        let unfinished = self.written.get(&text).is_some_and(|written| self.unfinished.contains(&written.key));
        if unfinished && let Some(child) = self.open.last().and_then(|child| self.written.get(child)) {
            // What its parent lacks, it lacks.
            self.unfinished.push(child.key.clone());
        }
        Some(complete)
    }

    /// A name with the place it is written at.
    fn with_place(&self, name: &str) -> String {
        let place = self.written.get(name).map(|written| format!(" ({})", written.key)).unwrap_or_default();
        format!("`{}`{place}", shortened(name))
    }

    /// Two parents that say different things where their child says nothing.
    fn unclear(&self, node: &Node, inherited: &[(Node, Node)], report: &mut Report) {
        for (index, (parent, extends)) in inherited.iter().enumerate() {
            for (key, value) in entries_of(parent) {
                let name = key.text().unwrap_or_default();
                let other = inherited.iter().take(index).find_map(|(other, _)| other.get(name));
                let Some(other) = other.filter(|other| !other.says_the_same(value)) else { continue };
                if ADDS_UP.contains(&name) || node.get(name).is_some() {
                    continue;
                }
                let (here, there) = (value.named_at(), other.named_at());
                let message = format!("`{}` is said differently at {there} and at {here}", shortened(name));
                let help = format!("Say in this role which `{}` it has.", shortened(name));
                report.error(&extends.spot, Code::UnclearInheritance, message, help);
            }
        }
    }
}

/// A role that says something of its own about machines does not have the sponsors of what it extends.
fn sponsors_dropped(owner: &Spot, node: &Node, parent: &Node) -> Option<Remark> {
    let (own, theirs) = (node.get("machines")?, parent.get("machines")?.get("sponsors")?);
    let named = matches!(&theirs.value, Value::List(sponsors) if !sponsors.is_empty());
    (named && own.get("sponsors").is_none()).then(|| {
        let message = format!("the sponsors at {} are not those of this role", theirs.named_at());
        let (code, help) = (Code::SponsorsDropped, Code::SponsorsDropped.explanation());
        Remark::new(Some(owner), own.named_at(), code, message, help)
    })
}

/// Gives `node` what only `parent` has, and both's restrictions.
fn add(node: &mut Node, parent: Node) {
    let (Value::Map(own), Value::Map(theirs)) = (&mut node.value, parent.value) else { return };
    for (key, value) in theirs {
        let name = key.text().unwrap_or_default().to_owned();
        if NOT_INHERITED.contains(&name.as_str()) {
            continue;
        }
        match own.iter_mut().find(|(own, _)| own.text() == Some(&name)) {
            None => own.push((key, value)),
            Some((_, own)) if ADDS_UP.contains(&name.as_str()) => {
                if let (Value::List(own), Value::List(theirs)) = (&mut own.value, value.value) {
                    let new: Vec<Node> =
                        theirs.into_iter().filter(|item| !own.iter().any(|own| own.says_the_same(item))).collect();
                    own.splice(0..0, new);
                }
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;

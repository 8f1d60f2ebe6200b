//! JUnit XML, as test reporters of CI systems read it.

use std::fmt::Write as _;

/// A test for the report.
pub(super) struct Case<'a> {
    /// The suite it belongs to: its file.
    pub suite: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The line it stands on; 0 if unknown.
    pub line: u32,
    /// Why it fails, if it does: one line, and everything.
    pub failure: Option<(String, String)>,
}

/// The report.
pub(super) fn report(cases: &[Case<'_>]) -> String {
    let failures = |cases: &[&Case<'_>]| cases.iter().filter(|case| case.failure.is_some()).count();
    let all: Vec<&Case<'_>> = cases.iter().collect();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(xml, "<testsuites name=\"daypass\" tests=\"{}\" failures=\"{}\">", all.len(), failures(&all));
    for suite in all.chunk_by(|one, other| one.suite == other.suite) {
        let name = suite.first().map(|case| escaped(case.suite)).unwrap_or_default();
        let (tests, failed) = (suite.len(), failures(suite));
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\">");
        for case in suite {
            let line = if case.line > 0 { format!(" line=\"{}\"", case.line) } else { String::new() };
            let _ =
                write!(xml, "    <testcase name=\"{}\" classname=\"{name}\" file=\"{name}\"{line}", escaped(case.name));
            let _ = match &case.failure {
                None => writeln!(xml, "/>"),
                Some((message, all)) => writeln!(
                    xml,
                    ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                    escaped(message),
                    escaped(all)
                ),
            };
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text as XML 1.0 can carry it, in an element or an attribute. Most control characters have no place in XML, escaped or not.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // An attribute would turn them into spaces.
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(c))),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn whatever_a_test_is_called_a_parser_reads_it(name in ".{0,40}", why in "(?s).{0,40}") {
            let case = Case { suite: "policies/a.yaml", name: &name, line: 7, failure: Some((why.clone(), why.clone())) };
            let xml = report(&[case]);
            let document = roxmltree::Document::parse(&xml).unwrap();
            let legal = |text: &str| -> String {
                let legal = |c: char| matches!(c, '\t' | '\n' | '\r') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
                text.chars().map(|c| if legal(c) { c } else { '\u{fffd}' }).collect()
            };
            let case = document.descendants().find(|node| node.has_tag_name("testcase")).unwrap();
            proptest::prop_assert_eq!(case.attribute("name").unwrap(), legal(&name));
            let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
            proptest::prop_assert_eq!(failure.attribute("message").unwrap(), legal(&why));
            proptest::prop_assert_eq!(failure.text().unwrap_or_default(), legal(&why));
        }
    }
}

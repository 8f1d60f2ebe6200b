//! Hostile text in Markdown. Whatever comes from a request, a path or a login is shown as text: it can neither format, nor
//! mention anybody, nor link, nor hide.

use crate::access::facts::Account;
use crate::access::text::{Piece, Text};

/// A sentence, each of its parts escaped as it needs to be.
pub(super) fn sentence(text: &Text) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Words(words) => words.clone(),
        Piece::Strong(words) => format!("**{words}**"),
        Piece::Name(name) => code(name),
        Piece::Foreign(text) => plain(text),
    };
    text.pieces().iter().map(piece).collect()
}

/// `text` as plain text in Markdown: one line, every special character escaped, mentions broken, invisible characters shown.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            // A zero-width non-joiner after it: GitHub then sees no mention, issue reference or address.
            '@' => out.push_str("@\u{200c}"),
            '#' => out.push_str("\\#\u{200c}"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            ':' => out.push_str(":\u{200c}"),
            c if is_invisible(c) => out.push_str(&format!("[U+{:04X}]", u32::from(c))),
            c if c.is_ascii_punctuation() && !matches!(c, ',' | '.' | '/' | '\'' | '"' | '?' | ';' | '%' | '=') => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// `text` as code: nothing in it is interpreted.
pub(super) fn code(text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c == '\n' || c == '\r' || is_invisible(c) { '\u{fffd}' } else { c }).collect();
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') || line.is_empty() { " " } else { "" };
    // A `|` would end a table cell even inside code.
    format!("{fence}{pad}{}{pad}{fence}", line.replace('|', "\\|"))
}

/// Somebody, so that GitHub tells them. Only people are, and a login has nothing in it that could be anything else; a bot is named.
pub(super) fn mention(account: &Account) -> String {
    if account.bot { code(account.login.as_str()) } else { format!("@{}", account.login) }
}

/// A code block that ends where it should, whatever is in it.
pub(super) fn block(text: &str) -> String {
    let longest = text.lines().map(|line| line.chars().take_while(|c| *c == '`').count()).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}", text.trim_end())
}

/// Control characters, and characters that turn, join or hide text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{00ad}'
            | '\u{061c}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        insta::assert_snapshot!(plain("@acme/security <img src=x> [ok](http://evil) **bold** `x` #12 a|b\n# head"),
            @r"@‌acme/security &lt;img src=x&gt; \[ok\]\(http:‌//evil\) \*\*bold\*\* \`x\` \#‌12 a\|b \#‌ head");
        assert_eq!(plain("a\u{202e}b"), "a[U+202E]b");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert!(block("```\nx").starts_with("````text"));
    }

    proptest::proptest! {
        #[test]
        fn no_mention_and_no_tag_survives(text in ".{0,60}") {
            let shown = plain(&text);
            proptest::prop_assert!(!shown.contains('<') && !shown.contains('\n'));
            let mention = shown.as_bytes().windows(2).any(|pair| pair[0] == b'@' && pair[1].is_ascii_alphanumeric());
            proptest::prop_assert!(!mention);
        }
    }
}

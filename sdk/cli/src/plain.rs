//! Text of others (a vault, a sealed file, a policy), made so that it cannot steer a terminal, forge a
//! line or turn a name around: whatever has no glyph of its own is shown as its escape.

use std::fmt::Write as _;

/// Characters that do something instead of being seen: controls of both sets, marks of direction,
/// spaces without width, line and paragraph separators, tags.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A piece of one line: newlines are escaped too.
pub(crate) fn line(text: &str) -> String {
    escaped(text, steers, |out, c| out.extend(c.escape_default()))
}

/// Whole output of several lines.
pub(crate) fn lines(text: &str) -> String {
    escaped(text, |c| steers(c) && c != '\n' && c != '\t', |out, c| out.extend(c.escape_default()))
}

/// A JSON document, as JSON: such characters stand in its strings only, where they may be escaped.
pub(crate) fn json(document: &str) -> String {
    escaped(
        document,
        |c| steers(c) && c != '\n',
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

fn escaped(text: &str, steers: impl Fn(char) -> bool, escape: impl Fn(&mut String, char)) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        let bad = "a\u{1b}[2Jb\u{9b}31mc\rd\u{7}e\u{202e}f\u{2066}g\u{200b}h\u{feff}i\u{e0041}j\u{2028}k\u{8}";
        for shown in [line(bad), lines(bad), json(bad)] {
            assert!(!shown.chars().any(steers), "{shown}");
            for letter in 'a'..='k' {
                assert!(shown.contains(letter), "{shown}");
            }
        }
        assert!(line(bad).starts_with("a\\u{1b}[2Jb\\u{9b}31mc\\rd"), "{}", line(bad));
        assert_eq!(line("one\ntwo\tthree"), "one\\ntwo\\tthree");
        assert_eq!(lines("one\ntwo\tthree"), "one\ntwo\tthree");
        assert_eq!(line("minilm größe 模型 🦀"), "minilm größe 模型 🦀");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!({ "name": "a\u{202e}b\u{9b}c\u{e0041}\n\u{1b}" });
        let shown = json(&format!("{value:#}"));
        assert!(!shown.chars().any(|c| steers(c) && c != '\n'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}

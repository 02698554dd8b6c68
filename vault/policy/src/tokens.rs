//! The words of a Rego file, as far as [`crate::source`] needs them: enough to know what is a
//! string, a comment, a name, a bracket. The engine has its own lexer; this one runs before it.

use crate::error::PolicyError;

/// Bidirectional controls: with them a reviewer reads other code than the engine does (CVE-2021-42574).
const DECEPTIVE: [char; 11] = [
    '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}',
    '\u{2068}', '\u{2069}',
];

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A name or a keyword.
    Word(&'a str),
    /// A string, without its quotes and with its escapes as written.
    Text(&'a str),
    /// A number.
    Number,
    /// Punctuation: one character, or one of `:=`, `==`, `!=`, `<=`, `>=`.
    Mark(&'a str),
}

/// A token and the line that it starts on, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) line: u32,
}

/// Splits a file into tokens; comments are dropped.
pub(crate) fn tokens<'a>(path: &str, text: &'a str) -> Result<Vec<Token<'a>>, PolicyError> {
    let mut line = 1;
    let mut rest = text;
    let mut out = Vec::new();
    while let Some(first) = rest.chars().next() {
        let refuse = |problem: String| PolicyError::Source { path: path.to_owned(), line, problem };
        let (length, kind) = match first {
            '\n' | '\r' | '\t' | ' ' => (1, None),
            '#' => (rest.find('\n').unwrap_or(rest.len()), None),
            '"' => {
                let inside = text_length(rest).ok_or_else(|| refuse("a string does not end on its line".to_owned()))?;
                (inside + 2, rest.get(1..=inside).map(Kind::Text))
            }
            '`' => {
                let end = rest.get(1..).and_then(|r| r.find('`'));
                let inside = end.ok_or_else(|| refuse("a raw string does not end".to_owned()))?;
                (inside + 2, rest.get(1..=inside).map(Kind::Text))
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = run(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                (length, rest.get(..length).map(Kind::Word))
            }
            c if c.is_ascii_digit() => {
                // A sign inside an exponent ends the run here and is then counted as an operator, which is harmless.
                (run(rest, |c| c.is_ascii_alphanumeric() || c == '.'), Some(Kind::Number))
            }
            c if "()[]{}.,;:=!<>+-*/%&|".contains(c) => {
                let pair = rest.get(..2).filter(|p| [":=", "==", "!=", "<=", ">="].contains(p));
                let mark = pair.or_else(|| rest.get(..1));
                (mark.map_or(1, str::len), mark.map(Kind::Mark))
            }
            c => return Err(refuse(format!("{c:?} has no meaning outside of strings and comments"))),
        };
        let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if let Some(c) = taken.chars().find(|c| DECEPTIVE.contains(c) || (c.is_control() && !"\n\r\t".contains(*c))) {
            return Err(refuse(format!(
                "{c:?} is invisible and can make code read other than it runs; write it as an escape"
            )));
        }
        if let Some(kind) = kind {
            out.push(Token { kind, line });
        }
        line = line.saturating_add(u32::try_from(taken.matches('\n').count()).unwrap_or(u32::MAX));
        rest = after;
    }
    Ok(out)
}

/// Bytes between the quotes of the string that `rest` starts with.
fn text_length(rest: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'\n' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i - 1),
            _ => {}
        }
    }
    None
}

fn run(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind<'_>> {
        tokens("t.rego", text).unwrap().into_iter().map(|t| t.kind).collect()
    }

    #[test]
    fn strings_and_comments_hide_their_words() {
        use Kind::{Mark, Number, Text, Word};
        assert_eq!(
            kinds("a.b(\"x(\\\" # no\", `raw\n(`) := 1.5e3 # c(\n!="),
            [
                Word("a"),
                Mark("."),
                Word("b"),
                Mark("("),
                Text("x(\\\" # no"),
                Mark(","),
                Text("raw\n("),
                Mark(")"),
                Mark(":="),
                Number,
                Mark("!=")
            ]
        );
    }

    #[test]
    fn lines_are_counted_through_raw_strings() {
        let all = tokens("t.rego", "a\n`x\n\n`\nb").unwrap();
        assert_eq!(all.iter().map(|t| t.line).collect::<Vec<_>>(), [1, 2, 5]);
    }

    #[test]
    fn text_that_reads_otherwise_than_it_runs_is_refused() {
        for wrong in ["\"open", "\"open\nend\"", "`open", "a := é", "# \u{202e}x", "\"\u{2066}\"", "a\u{0}", "$\"x\""]
        {
            assert!(matches!(tokens("t.rego", wrong), Err(PolicyError::Source { .. })), "{wrong:?}");
        }
        assert!(tokens("t.rego", "# é\n\"é\"").is_ok());
    }
}

//! Reference pages written from code.
//!
//! A page says what it is about in words of its own, and holds parts between two comments that code
//! writes:
//!
//! ```text
//! <!-- generated: input -->
//! ...
//! <!-- end of input -->
//! ```
//!
//! A test of the crate that knows the facts makes the text ([`commands`] from `clap`, [`keys`] from a
//! JSON schema) and hands it to [`keep_part`] or [`keep_file`]: the test fails while the tree has another
//! text. `make docs` runs the same tests with `STRONGROOM_REGENERATE=1`, and then they write instead.
//! All such tests have the word `generated` in their names. Nothing of this is part of a program.
//!
//! To generate another table: put the two comments into the page, and write a test of that name where
//! the types are.

mod commands;
mod keys;
mod page;

pub use commands::commands;
pub use keys::{Key, first, keys, table};
pub use page::{keep_file, keep_part};

/// Text as it stands in a cell of a table.
pub fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut code = false;
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        code ^= c == '`';
        match c {
            '|' => out.push_str("\\|"),
            '<' if !code => out.push_str("&lt;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_stays_one() {
        assert_eq!(cell("a\n  b | c"), "a b \\| c");
        assert_eq!(cell("`<a>` and <b>"), "`<a>` and &lt;b>");
    }
}

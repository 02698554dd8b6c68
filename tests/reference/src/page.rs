//! Pages and files of the tree, and the parts of them that code writes.

use anyhow::{Context as _, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Two tests of one program may write parts of one page.
static WRITING: Mutex<()> = Mutex::new(());

/// An error unless the part of this name in the page holds this text; writes it if that is asked for.
/// `page` is relative to the project's root.
pub fn keep_part(page: &str, part: &str, text: &str) -> anyhow::Result<()> {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let held = read(page)?;
    keep(page, &held, &with_part(&held, part, text).with_context(|| page.to_owned())?)
}

/// An error unless the file holds this text; writes it if that is asked for. `file` is relative to the
/// project's root.
pub fn keep_file(file: &str, text: &str) -> anyhow::Result<()> {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    keep(file, &read(file).unwrap_or_default(), text)
}

#[expect(clippy::disallowed_methods, reason = "a switch for the person who regenerates the files")]
fn keep(file: &str, held: &str, current: &str) -> anyhow::Result<()> {
    if held == current {
        return Ok(());
    }
    if std::env::var("STRONGROOM_REGENERATE").is_ok() {
        return fs::write(root().join(file), current).with_context(|| file.to_owned());
    }
    bail!("{file} is stale: run `make docs`\n{}", difference(held, current))
}

/// The page with this text in its part.
fn with_part(page: &str, part: &str, text: &str) -> anyhow::Result<String> {
    let (opening, closing) = (format!("<!-- generated: {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let (before, rest) = page.split_once(&opening).with_context(|| format!("there is no line {opening}"))?;
    let (_, after) = rest.split_once(&closing).with_context(|| format!("there is no line {closing}"))?;
    Ok(format!("{before}{opening}\n{}\n\n{closing}{after}", text.trim()))
}

/// The first line that differs, both ways.
fn difference(held: &str, current: &str) -> String {
    let same = held.lines().zip(current.lines()).take_while(|(held, current)| held == current).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(the end)").to_owned();
    format!("line {}:\n- {}\n+ {}", same + 1, line(held), line(current))
}

fn read(file: &str) -> anyhow::Result<String> {
    fs::read_to_string(root().join(file)).with_context(|| file.to_owned())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_nothing_else() {
        let page = "# A\n<!-- generated: b -->\nold\n<!-- end of b -->\nmore\n";
        let new = with_part(page, "b", "new\n").unwrap();
        assert_eq!(new, "# A\n<!-- generated: b -->\n\nnew\n\n<!-- end of b -->\nmore\n");
        assert_eq!(with_part(&new, "b", "new").unwrap(), new);
        assert!(with_part(page, "c", "new").is_err());
        assert!(with_part("<!-- generated: b -->\n", "b", "new").is_err());
    }

    #[test]
    fn what_is_stale_is_an_error_that_shows_the_line() {
        let error = keep("docs/none.md", "a\nb\n", "a\nc\n").unwrap_err().to_string();
        assert!(error.contains("docs/none.md is stale") && error.contains("line 2:\n- b\n+ c"), "{error}");
        assert!(keep("docs/none.md", "a", "a").is_ok());
    }
}

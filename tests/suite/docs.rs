//! The documents are true: commands parse, links resolve, tables are those of the code.
//!
//! Every command in a `sh` or `console` block is run in a directory of its own, with a client that has
//! joined nothing: what clap refuses is a fault of the document, everything else ends before it could
//! reach a network. Commands that need no vault must succeed. Commands that need one are also run
//! by the demo, the tutorials or other suites: `runs` compares, and a comment before a block says where.

mod commands;
mod fixtures;
#[expect(dead_code, reason = "compiled, and compared with the document that shows it")]
mod open_in_rust;
mod pages;
mod runs;
mod tables;
mod threats;

use std::path::{Path, PathBuf};

/// The project's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A document, relative to the root, with its text.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self { path: path.into(), text }
    }

    /// Every document that users read.
    fn all() -> Vec<Self> {
        let mut pages = vec![Self::read("README.md"), Self::read("policies/README.md"), Self::read("deploy/README.md")];
        let mut directories = vec![PathBuf::from("docs")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(root().join(&directory)).unwrap() {
                let path = directory.join(entry.unwrap().file_name());
                if root().join(&path).is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|e| e == "md") {
                    pages.push(Self::read(path.to_str().unwrap()));
                }
            }
        }
        assert!(pages.len() > 20, "documents are missing");
        pages
    }

    /// Blocks fenced with one of these languages, without their fences.
    fn blocks(&self, languages: &[&str]) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut open: Option<(bool, String)> = None;
        for line in self.text.lines() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(language)) => open = Some((languages.contains(&language), String::new())),
                (Some((wanted, text)), Some(_)) => {
                    if *wanted {
                        blocks.push(std::mem::take(text));
                    }
                    open = None;
                }
                (Some((_, text)), None) => {
                    text.push_str(line);
                    text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.path.display());
        blocks
    }

    /// The text outside of blocks.
    fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        prose
    }
}

/// A program of the workspace, which `make build` has built beside this test.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is not there: run `make build` first", path.display());
    path
}

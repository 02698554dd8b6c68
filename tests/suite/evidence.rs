//! `strongroom evidence` and `strongroom reference` on real evidence: a software TPM's, and that of machines and
//! clouds in `../shared/vectors`.

mod decisions;
mod hardware;
mod launch;
mod logs;
mod open;
mod quotes;
mod reference;

use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};
use strongroom_tests::{Cli, Ran};
use tempfile::TempDir;

/// A person with files, and no vault.
struct Desk {
    dir: TempDir,
    cli: Cli,
}

/// What `evidence verify --json` said, and how it ended.
struct Judged {
    code: Option<i32>,
    document: Value,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let cli = Cli::new(dir.path().join("home")).unwrap();
        Self { dir, cli }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn json(&self, name: &str, document: &impl serde::Serialize) -> PathBuf {
        self.file(name, serde_json::to_vec(document).unwrap())
    }

    fn run(&self, arguments: &[&OsStr]) -> Ran {
        self.cli.run(arguments).unwrap()
    }

    fn verify(&self, kind: &str, files: &[&Path], options: &[&str]) -> Judged {
        let mut arguments: Vec<&OsStr> = ["--json", "evidence", "verify", "--kind", kind].map(OsStr::new).to_vec();
        arguments.extend(files.iter().map(|file| file.as_os_str()));
        arguments.extend(options.iter().map(OsStr::new));
        let ran = self.run(&arguments);
        Judged { code: ran.code, document: serde_json::from_str(&ran.stdout).unwrap_or_default(), stderr: ran.stderr }
    }
}

impl Judged {
    /// The verdict of a row; empty if the report does not have it.
    fn row(&self, row: &str) -> &str {
        let rows = self.document["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().find(|found| found["row"] == row).and_then(|found| found["verdict"].as_str()).unwrap_or_default()
    }

    fn note(&self, row: &str) -> &str {
        let rows = self.document["rows"].as_array().unwrap();
        rows.iter().find(|found| found["row"] == row).and_then(|found| found["note"].as_str()).unwrap_or_default()
    }

    /// The rows that refused and were not allowed.
    fn refused(&self) -> Vec<&str> {
        self.document["refused"].as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect()
    }

    #[track_caller]
    fn holds(&self) {
        assert_eq!(self.code, Some(0), "{:#}{}", self.document, self.stderr);
        assert_eq!(self.document["holds"], true);
    }

    #[track_caller]
    fn refused_by(&self, rows: &[&str]) {
        assert_eq!(self.code, Some(1), "{:#}{}", self.document, self.stderr);
        assert_eq!(self.refused(), rows, "{:#}", self.document["rows"]);
        assert_eq!(self.document["holds"], false);
    }

    /// Said to be no such evidence, in words that have this in them.
    #[track_caller]
    fn malformed(&self, words: &str) {
        assert_eq!(self.code, Some(2), "{:#}{}", self.document, self.stderr);
        assert!(self.document.is_null() && self.stderr.contains(words), "{}", self.stderr);
    }
}

/// A folder of the vectors; none, said aloud, where it is absent.
fn vectors(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
    }
    path.exists().then_some(path)
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

//! A directory of a bundle with its tests, as people keep it under version control.

use crate::{
    bundle::{BUNDLE_BYTES, DATA_FILE, FILE_BYTES, FILES, RULES_SUFFIX, Sources, check_cap},
    error::PolicyError,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::Path,
};

/// Directories in directories.
const DEPTH: usize = 4;
/// Entries that are looked at.
const ENTRIES: usize = 1024;

/// Reads `*.rego` and `data.json` below `directory`. Other files are left out, and so is whatever
/// begins with a dot. A symbolic link is an error: it could bring in what nobody reviewed.
pub fn load_dir(directory: &Path) -> Result<Sources, PolicyError> {
    let mut files = BTreeMap::new();
    let mut entries = 0;
    let mut waiting = vec![(directory.to_owned(), String::new(), 0_usize)];
    while let Some((here, prefix, depth)) = waiting.pop() {
        let failed = |e: std::io::Error| read_error(&here, &e.to_string());
        for entry in fs::read_dir(&here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            entries += 1;
            check_cap("the number of entries in the directory", entries, ENTRIES)?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| read_error(&entry.path(), "its name is not UTF-8"))?;
            if name.starts_with('.') {
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(failed)?;
            let wanted = path.ends_with(RULES_SUFFIX) || path == DATA_FILE;
            if kind.is_symlink() {
                return Err(read_error(&entry.path(), "it is a symbolic link; put the file itself here"));
            } else if kind.is_dir() {
                check_cap("the depth of directories", depth + 1, DEPTH)?;
                waiting.push((entry.path(), format!("{path}/"), depth + 1));
            } else if wanted && !kind.is_file() {
                return Err(read_error(&entry.path(), "it is no file: what a pipe or a device gives nobody reviewed"));
            } else if wanted {
                files.insert(path, read(&entry.path())?);
                check_cap("the number of files", files.len(), 2 * FILES)?;
                check_cap("the bytes of bundle and tests", files.values().map(String::len).sum(), 2 * BUNDLE_BYTES)?;
            }
        }
    }
    Ok(Sources::split(files))
}

fn read(path: &Path) -> Result<String, PolicyError> {
    let failed = |e: std::io::Error| read_error(path, &e.to_string());
    let mut text = String::new();
    let limit = u64::try_from(FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(failed)?.take(limit).read_to_string(&mut text).map_err(failed)?;
    check_cap(&format!("{}, bytes", path.display()), text.len(), FILE_BYTES)?;
    Ok(text)
}

fn read_error(path: &Path, problem: &str) -> PolicyError {
    PolicyError::Read { path: path.display().to_string(), problem: problem.to_owned() }
}

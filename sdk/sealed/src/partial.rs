//! A file that comes into being whole or not at all.

use crate::SealedError;
use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A sink for a [`Writer`](crate::Writer): bytes go to a hidden file beside the final name, and
/// [`Self::commit`] gives them that name when all are safely on the disk.
///
/// Dropped without that, the hidden file is removed. A killed process leaves it behind
/// (`.NAME.*.partial`), but nothing under the final name.
pub struct PartialFile {
    file: NamedTempFile,
    target: PathBuf,
    replace: bool,
}

impl PartialFile {
    /// Makes the hidden file in the directory of `target`. `replace`: whether a file that has the
    /// final name already, now or at the end, is replaced; otherwise that is `TargetExists`.
    pub fn create(target: &Path, replace: bool) -> Result<Self, SealedError> {
        let name = target.file_name().ok_or(SealedError::NotWritable { what: "the final name is not a file's" })?;
        if !replace && target.symlink_metadata().is_ok() {
            return Err(SealedError::TargetExists { path: target.to_owned() });
        }
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            // What is written is ciphertext: readable as the user's umask says.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory(target))
            .map_err(|e| SealedError::from_io("create a file beside the final name", e))?;
        Ok(Self { file, target: target.to_owned(), replace })
    }

    /// The hidden file.
    pub(crate) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Brings the bytes to the disk, then gives them the final name, then brings that to the disk.
    pub fn commit(self) -> Result<(), SealedError> {
        let Self { file, target, replace } = self;
        file.as_file().sync_all().map_err(|e| SealedError::from_io("bring the sealed file to the disk", e))?;
        let named = if replace { file.persist(&target) } else { file.persist_noclobber(&target) };
        named.map_err(|failed| match failed.error.kind() {
            io::ErrorKind::AlreadyExists => SealedError::TargetExists { path: target.clone() },
            _ => SealedError::from_io("give the sealed file its name", failed.error),
        })?;
        File::open(directory(&target))
            .and_then(|directory| directory.sync_all())
            .map_err(|e| SealedError::from_io("bring the sealed file's name to the disk", e))
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_name_comes_with_the_commit_only() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x.sealed");
        let mut partial = PartialFile::create(&target, false).unwrap();
        partial.write_all(b"bytes").unwrap();
        let [hidden] = names(directory.path()).try_into().unwrap();
        assert!(hidden.starts_with(".x.sealed.") && hidden.ends_with(".partial"), "{hidden}");
        partial.commit().unwrap();
        assert_eq!(names(directory.path()), ["x.sealed"]);
        assert_eq!(fs::read(&target).unwrap(), b"bytes");

        drop(PartialFile::create(&target, true).unwrap());
        assert_eq!(names(directory.path()), ["x.sealed"]);
    }

    #[test]
    fn a_file_that_stands_there_is_replaced_only_if_asked() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x");
        let late = PartialFile::create(&target, false).unwrap();
        fs::write(&target, "old").unwrap();
        assert!(matches!(late.commit(), Err(SealedError::TargetExists { .. })));
        assert!(matches!(PartialFile::create(&target, false), Err(SealedError::TargetExists { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"old");

        let mut replacing = PartialFile::create(&target, true).unwrap();
        replacing.write_all(b"new").unwrap();
        replacing.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        assert!(matches!(PartialFile::create(Path::new("/"), true), Err(SealedError::NotWritable { .. })));
        let error = PartialFile::create(Path::new("/proc/no/such/x"), true).err();
        assert!(matches!(error, Some(SealedError::Io { .. })));
    }
}

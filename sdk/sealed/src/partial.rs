//! A file that comes into being whole or not at all.

use crate::SealedError;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};
use tempfile::{Builder, NamedTempFile};

/// A sink for a [`Writer`](crate::Writer): bytes go to a file without a name, and [`Self::commit`]
/// gives it the final one when all are safely on the disk.
///
/// Dropped without that it is gone, and so it is when the process is killed. A file system that knows
/// no files without a name (some network file systems) has it under a hidden one, which a killed process
/// leaves behind: `.NAME.*.partial`, and nothing under the final name.
pub struct PartialFile {
    form: Form,
    target: PathBuf,
    replace: bool,
}

enum Form {
    /// `O_TMPFILE`.
    Nameless(File),
    /// Under a hidden name beside the final one.
    Hidden(NamedTempFile),
}

impl PartialFile {
    /// Makes the file in the directory of `target`. `replace`: whether a file that has the final name
    /// already, now or at the end, is replaced; otherwise that is `TargetExists`.
    pub fn create(target: &Path, replace: bool) -> Result<Self, SealedError> {
        let name = target.file_name().ok_or(SealedError::NotWritable { what: "the final name is not a file's" })?;
        if !replace && target.symlink_metadata().is_ok() {
            return Err(SealedError::TargetExists { path: target.to_owned() });
        }
        let form = match nameless(directory(target)) {
            Some(file) => Form::Nameless(file),
            None => hidden(target, name).map_err(|e| SealedError::from_io("create a file beside the final name", e))?,
        };
        Ok(Self { form, target: target.to_owned(), replace })
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        match &self.form {
            Form::Nameless(file) => file,
            Form::Hidden(file) => file.as_file(),
        }
    }

    /// Brings the bytes to the disk.
    pub fn sync(&self) -> Result<(), SealedError> {
        self.file().sync_all().map_err(|e| SealedError::from_io("bring the sealed file to the disk", e))
    }

    /// Brings the bytes to the disk, then gives them the final name, then brings that to the disk.
    pub fn commit(self) -> Result<(), SealedError> {
        self.sync()?;
        let Self { form, target, replace } = self;
        let named = match form {
            Form::Nameless(file) if replace => replace_by(&file, &target),
            Form::Nameless(file) => link(&file, &target),
            Form::Hidden(file) if replace => file.persist(&target).map(drop).map_err(|failed| failed.error),
            Form::Hidden(file) => file.persist_noclobber(&target).map(drop).map_err(|failed| failed.error),
        };
        named.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SealedError::TargetExists { path: target.clone() },
            _ => SealedError::from_io("give the sealed file its name", error),
        })?;
        File::open(directory(&target))
            .and_then(|directory| directory.sync_all())
            .map_err(|e| SealedError::from_io("bring the sealed file's name to the disk", e))
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written is ciphertext: readable as the user's umask says.
const MODE: u32 = 0o666;

/// A file without a name, where there can be one: the kernel, the file system and `/proc` allow it.
fn nameless(directory: &Path) -> Option<File> {
    if !Path::new("/proc/self/fd").exists() {
        return None;
    }
    // Whatever else is wrong with the directory is said by the other way, which is tried then.
    open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::from_bits_truncate(MODE))
        .ok()
        .map(File::from)
}

fn hidden(target: &Path, name: &OsStr) -> io::Result<Form> {
    let permissions = Permissions::from_mode(MODE);
    hidden_name(name, |builder| builder.permissions(permissions).tempfile_in(directory(target))).map(Form::Hidden)
}

/// A name that nobody looks at, of the final one.
fn hidden_name<T>(name: &OsStr, make: impl FnOnce(&mut Builder<'_, '_>) -> io::Result<T>) -> io::Result<T> {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    make(Builder::new().prefix(&prefix).suffix(".partial"))
}

/// Gives a file without a name this one, which must not be there yet.
fn link(file: &File, target: &Path) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, path, CWD, target, AtFlags::SYMLINK_FOLLOW)?)
}

/// The same for a name that may be there: a link replaces nothing, a rename does.
fn replace_by(file: &File, target: &Path) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default();
    let hidden = hidden_name(name, |builder| builder.make_in(directory(target), |path| link(file, path)))?;
    hidden.persist(target).map(drop).map_err(|failed| failed.error)
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

    /// As on a file system that knows no files without a name.
    fn with_a_hidden_name(target: &Path, replace: bool) -> PartialFile {
        let form = hidden(target, target.file_name().unwrap()).unwrap();
        PartialFile { form, target: target.to_owned(), replace }
    }

    #[test]
    fn the_name_comes_with_the_commit_only() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x.sealed");
        for replace in [false, true] {
            let mut partial = PartialFile::create(&target, replace).unwrap();
            assert!(matches!(partial.form, Form::Nameless(_)), "/tmp knows files without a name");
            partial.write_all(b"bytes").unwrap();
            partial.sync().unwrap();
            assert_eq!(names(directory.path()), [""; 0], "a killed process would leave something");
            partial.commit().unwrap();
            assert_eq!(names(directory.path()), ["x.sealed"]);
            assert_eq!(fs::read(&target).unwrap(), b"bytes");
            fs::remove_file(&target).unwrap();
        }
    }

    #[test]
    fn without_such_files_the_name_is_hidden_until_then() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x.sealed");
        for replace in [false, true] {
            let mut partial = with_a_hidden_name(&target, replace);
            partial.write_all(b"bytes").unwrap();
            let [name] = names(directory.path()).try_into().unwrap();
            assert!(name.starts_with(".x.sealed.") && name.ends_with(".partial"), "{name}");
            partial.commit().unwrap();
            assert_eq!(names(directory.path()), ["x.sealed"]);
            fs::remove_file(&target).unwrap();
        }
        drop(with_a_hidden_name(&target, true));
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn what_is_written_is_readable_as_the_umask_says_in_both_forms() {
        let directory = tempfile::tempdir().unwrap();
        let modes = ["nameless", "hidden"].map(|name| {
            let target = directory.path().join(name);
            let file = if name == "hidden" {
                with_a_hidden_name(&target, false)
            } else {
                PartialFile::create(&target, false).unwrap()
            };
            file.commit().unwrap();
            fs::metadata(target).unwrap().permissions().mode() & 0o777
        });
        assert_eq!(modes[0], modes[1]);
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

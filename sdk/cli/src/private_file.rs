//! A file for its owner's eyes: mode 0600 from its first byte, and there whole or not at all.

use crate::output::{Exit, Failure};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file in the making. Dropped without [`Self::commit`], it is gone; so it is when the process is
/// killed, where the file system knows files without a name. Elsewhere a killed process leaves
/// `PREFIX*` in the directory.
pub(crate) struct PrivateFile {
    form: Form,
    target: PathBuf,
    replace: bool,
}

enum Form {
    /// `O_TMPFILE`: gets its name when it is whole. It can replace nothing.
    Nameless(File),
    /// Under a hidden name until then.
    Hidden(NamedTempFile),
}

impl PrivateFile {
    /// Begins a file that will be called `target`; `replace`: whether one that is there already, now
    /// or at the end, is replaced.
    pub(crate) fn create(target: &Path, replace: bool, prefix: &str) -> Result<Self, Failure> {
        if !replace && target.symlink_metadata().is_ok() {
            return Err(is_there(target));
        }
        let nameless = if replace { None } else { nameless(directory(target)) };
        let form = match nameless {
            Some(file) => Form::Nameless(file),
            None => Form::Hidden(
                NamedTempFile::with_prefix_in(OsString::from(prefix), directory(target))
                    .map_err(|e| Failure::file(target, e))?,
            ),
        };
        Ok(Self { form, target: target.to_owned(), replace })
    }

    /// Brings the bytes to the disk.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        let file = match &self.form {
            Form::Nameless(file) => file,
            Form::Hidden(file) => file.as_file(),
        };
        file.sync_all().map_err(|e| Failure::file(&self.target, e))
    }

    /// Brings the bytes to the disk, then gives them their name, then brings that to the disk.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        self.sync()?;
        let Self { form, target, replace } = self;
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => is_there(&target),
            _ => Failure::file(&target, e),
        };
        match form {
            Form::Nameless(file) => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(CWD, path, CWD, &target, AtFlags::SYMLINK_FOLLOW).map_err(|e| failed(e.into()))?;
            }
            Form::Hidden(file) => {
                let named = if replace { file.persist(&target) } else { file.persist_noclobber(&target) };
                named.map_err(|e| failed(e.error))?;
            }
        }
        File::open(directory(&target)).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

impl Write for PrivateFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.form {
            Form::Nameless(file) => file.write(bytes),
            Form::Hidden(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file without a name, where there can be one: the kernel, the file system and `/proc` allow it.
fn nameless(directory: &Path) -> Option<File> {
    if !Path::new("/proc/self/fd").exists() {
        return None;
    }
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    // Whatever else is wrong with the directory is said by the other way, which is tried then.
    open(directory, flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
}

fn is_there(target: &Path) -> Failure {
    Failure::new(Exit::Usage, format!("{} is there already", target.display()))
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
    use std::{fs, os::unix::fs::PermissionsExt};

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_its_owners_and_whole_in_both_forms() {
        for replace in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("x");
            let mut file = PrivateFile::create(&target, replace, ".x.").unwrap();
            file.write_all(b"bytes").unwrap();
            assert!(!target.exists());
            if let Form::Hidden(hidden) = &file.form {
                assert_eq!(mode(hidden.path()), 0o600);
            }
            file.commit().unwrap();
            assert_eq!((fs::read(&target).unwrap().as_slice(), mode(&target)), (b"bytes".as_slice(), 0o600));
            assert_eq!(names(dir.path()), ["x"]);
        }
    }

    #[test]
    fn what_is_there_is_replaced_only_if_asked_and_is_private_then() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let late = PrivateFile::create(&target, false, ".x.").unwrap();
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(late.commit().err().unwrap().exit, Exit::Usage);
        assert_eq!(PrivateFile::create(&target, false, ".x.").err().unwrap().exit, Exit::Usage);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut replacing = PrivateFile::create(&target, true, ".x.").unwrap();
        replacing.write_all(b"new").unwrap();
        replacing.commit().unwrap();
        assert_eq!((fs::read(&target).unwrap().as_slice(), mode(&target)), (b"new".as_slice(), 0o600));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = PrivateFile::create(Path::new("/proc/no/such/x"), false, ".x.").err().unwrap();
        assert!(error.exit == Exit::Machine && error.message.contains("/proc/no/such/x"), "{}", error.message);
    }
}

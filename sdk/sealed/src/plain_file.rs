//! The file that plaintext comes from: what must hold of it before it is sealed, and before the result gets
//! its name.

use crate::SealedError;
use std::{
    fs::{File, Metadata},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

/// Its size says less than it has.
const GOES_ON: &str =
    "the file goes on where its size says that it ends, as files of /proc do: copy it into another first";
/// Its size says more than it has.
pub(crate) const ENDS_EARLY: &str =
    "the file ends before its size says that it does, as files of /sys do: copy it into another first";

/// Refuses, as [`SealedError::NotWritable`], a file that cannot be sealed to `target` without loss: a pipe or
/// a device, which tell no length; one that goes on after the length that it tells; and `target` itself,
/// whichever name or link leads there. Gives the length, bytes.
pub fn check_plain_file(file: &File, target: &Path) -> Result<u64, SealedError> {
    let refused = |what| Err(SealedError::NotWritable { what });
    let seen = file.metadata().map_err(|e| SealedError::from_io("look at the plaintext's file", e))?;
    if !seen.is_file() {
        return refused("the plaintext is no regular file: put what a pipe or a device gives into one first");
    }
    let identity = |seen: &Metadata| (seen.dev(), seen.ino());
    if target.metadata().is_ok_and(|taken| identity(&taken) == identity(&seen)) {
        return refused(
            "the target is the file that is to be sealed: its plaintext would be lost; seal it into another, then remove it",
        );
    }
    let beyond = file.read_at(&mut [0], seen.len()).map_err(|e| SealedError::from_io("read the plaintext", e))?;
    if beyond > 0 {
        return refused(GOES_ON);
    }
    Ok(seen.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadAt, WriteSpec, seal_file};
    use std::{fs, io, os::unix::fs::symlink, path::PathBuf};
    use strongroom_envelope::{Secret, WriterKey};
    use strongroom_protocol::WriterId;

    fn seal(source: &(impl ReadAt + ?Sized), target: &Path) -> Result<u64, SealedError> {
        let spec = WriteSpec::new("a", 1, WriterId::from([1; 16]));
        let key = WriterKey::new(Secret::take(&mut [7; 32]));
        seal_file(source, target, true, &key, &spec, 1, &()).map(|written| written.len)
    }

    fn refused(source: &Path, target: &Path) -> &'static str {
        let before = target.metadata().is_ok().then(|| fs::read(target).unwrap());
        let refused = match seal(&File::open(source).unwrap(), target) {
            Err(SealedError::NotWritable { what }) => what,
            other => panic!("{}: {other:?}", source.display()),
        };
        assert_eq!(target.metadata().is_ok().then(|| fs::read(target).unwrap()), before, "{refused}");
        refused
    }

    #[test]
    fn devices_and_directories_are_not_sealed_as_if_they_were_empty() {
        let dir = tempfile::tempdir().unwrap();
        for other in [Path::new("/dev/null"), Path::new("/dev/zero"), dir.path()] {
            assert!(refused(other, &dir.path().join("x.sealed")).contains("regular file"), "{}", other.display());
        }
    }

    #[test]
    fn what_has_another_length_than_it_says_is_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x.sealed");
        assert_eq!(refused(Path::new("/proc/self/status"), &target), GOES_ON);
        let attribute = Path::new("/sys/kernel/mm/transparent_hugepage/enabled");
        match attribute.metadata() {
            Ok(seen) if seen.len() > 0 => assert_eq!(refused(attribute, &target), ENDS_EARLY),
            _ => println!("skipped: no {}", attribute.display()),
        }
    }

    #[test]
    fn the_plaintext_is_not_replaced_by_what_it_became() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| dir.path().join(name);
        fs::write(at("plain"), b"a secret").unwrap();
        symlink(at("plain"), at("symlink")).unwrap();
        fs::hard_link(at("plain"), at("link")).unwrap();
        for (source, target) in [("plain", "plain"), ("plain", "symlink"), ("symlink", "plain"), ("plain", "link")] {
            assert!(refused(&at(source), &at(target)).contains("would be lost"), "{source} to {target}");
        }
        fs::write(at("other"), b"a secret").unwrap();
        assert_eq!(seal(&File::open(at("plain")).unwrap(), &at("other")).unwrap(), 8);
    }

    /// Makes a link to its file at `target` as soon as it is read.
    struct Linking {
        file: File,
        path: PathBuf,
        target: PathBuf,
    }

    impl ReadAt for Linking {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let _ = fs::hard_link(&self.path, &self.target);
            ReadAt::read_exact_at(&self.file, buffer, offset)
        }

        fn len(&self) -> io::Result<u64> {
            ReadAt::len(&self.file)
        }

        fn as_file(&self) -> Option<&File> {
            Some(&self.file)
        }
    }

    #[test]
    fn a_link_that_comes_while_it_is_sealed_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("plain"), dir.path().join("x.sealed"));
        fs::write(&path, b"a secret").unwrap();
        let source = Linking { file: File::open(&path).unwrap(), path, target: target.clone() };
        match seal(&source, &target) {
            Err(SealedError::NotWritable { what }) => assert!(what.contains("would be lost"), "{what}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read(&target).unwrap(), b"a secret");
    }
}

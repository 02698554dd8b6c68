//! Files that callers name.

use crate::Error;
use std::{fs::File, path::Path};
use strongroom_sealed::{NotRegular, open_regular};

/// Opens a file that a caller named, to be read at positions: plaintext that is to be sealed, or a sealed
/// file. What is there and is no regular file is [`Error::NotRegular`] at once: a pipe would be waited for,
/// and a device has no length.
pub fn open_input(path: &Path) -> Result<File, Error> {
    open_regular(path).map_err(|source| match source.get_ref() {
        Some(inner) if inner.is::<NotRegular>() => Error::NotRegular(path.to_owned()),
        _ => Error::File { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};

    #[test]
    fn a_pipe_has_another_name_than_a_file_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        for other in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
            assert!(matches!(open_input(other), Err(Error::NotRegular(path)) if path == other), "{}", other.display());
        }
        assert!(matches!(open_input(&dir.path().join("none")), Err(Error::File { .. })));
        // A name that the system does not take is of the same kind, and not that.
        assert!(matches!(open_input(Path::new("a\0b")), Err(Error::File { .. })));
        let file = dir.path().join("file");
        std::fs::write(&file, b"plain").unwrap();
        assert_eq!(open_input(&file).unwrap().metadata().unwrap().len(), 5);
    }
}

//! configfs as the kernel mounts it.

use super::TsmFiles;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Where Linux has configfs-tsm.
pub const TSM_REPORTS: &str = "/sys/kernel/config/tsm/report";

/// A directory in which `mkdir` makes a report.
#[derive(Debug, Clone)]
pub struct ConfigFs {
    root: PathBuf,
}

impl ConfigFs {
    /// The kernel's own, at [`TSM_REPORTS`].
    pub fn system() -> Self {
        Self::at(TSM_REPORTS.into())
    }

    /// Another directory, for tests: configuration cannot name one.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    fn attribute(&self, name: &str, attribute: &str) -> PathBuf {
        self.root.join(name).join(attribute)
    }
}

impl TsmFiles for ConfigFs {
    fn path(&self) -> &Path {
        &self.root
    }

    fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.root)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn make(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.root.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_dir(self.root.join(name))
    }

    fn write(&self, name: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        // Neither made nor cut off: attributes are the kernel's. What is written counts once it is closed.
        OpenOptions::new().write(true).open(self.attribute(name, attribute))?.write_all(bytes)
    }

    fn read(&self, name: &str, attribute: &str, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.attribute(name, attribute))?.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn attributes_are_written_and_read_and_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let files = ConfigFs::at(dir.path().to_owned());
        files.make("a").unwrap();
        assert_eq!(files.make("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(files.write("a", "inblob", b"x").unwrap_err().kind(), ErrorKind::NotFound);
        fs::write(dir.path().join("a/inblob"), b"longer").unwrap();
        files.write("a", "inblob", b"x").unwrap();
        // Plain files are not cut off; the kernel's attributes have no length to be.
        assert_eq!(files.read("a", "inblob", 64).unwrap(), b"xonger");
        assert_eq!(
            files.read("a", "inblob", 3).unwrap(),
            b"xong",
            "one byte more than the cap tells that there is more"
        );
        assert_eq!(files.names().unwrap(), ["a"]);
        fs::remove_file(dir.path().join("a/inblob")).unwrap();
        files.remove("a").unwrap();
        assert_eq!(files.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    }
}

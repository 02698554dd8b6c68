//! How the root key is kept.

use crate::RootKey;
use serde::{Deserialize, Serialize};
use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use strongroom_envelope::Secret;
use zeroize::Zeroizing;

/// What a configuration has to say, word for word, before `file` custody is used.
pub const FILE_ACKNOWLEDGEMENT: &str = "the root key lies unprotected on this disk";

/// Yields the root key, or says why not. Until then the vault is locked.
pub trait Custody: Send + Sync {
    /// The custody's name, as it stands in the ledger: `file`, `tpm`, `pkcs11`, `shamir`.
    fn name(&self) -> &'static str;
    /// Yields the root key.
    fn unlock(&self) -> Result<RootKey, CustodyError>;
}

/// Why custody did not yield the root key.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The configuration does not acknowledge what `file` custody means.
    #[error(
        "file custody is for development: to use it, write `acknowledge = \"{FILE_ACKNOWLEDGEMENT}\"` under [custody] in the configuration"
    )]
    NotAcknowledged,
    /// The file cannot be read or written.
    #[error("root key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read the file.
    #[error(
        "root key file {path} has mode {mode:o}: others may read it; run `chmod 600` on it, and rotate the root if they did"
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a root key.
    #[error("root key file {path} does not hold a root key of 32 bytes")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

/// How `file` custody is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCustodyConfig {
    /// The file, mode 0600, 32 raw bytes.
    pub path: PathBuf,
    /// [`FILE_ACKNOWLEDGEMENT`], word for word.
    #[serde(default)]
    pub acknowledge: String,
}

/// The root key in a file. For development: whoever reads the disk has every key.
#[derive(Debug)]
pub struct FileCustody {
    path: PathBuf,
}

impl FileCustody {
    /// Refuses unless the configuration says in plain words what it means.
    pub fn new(config: &FileCustodyConfig) -> Result<Self, CustodyError> {
        if config.acknowledge == FILE_ACKNOWLEDGEMENT {
            Ok(Self { path: config.path.clone() })
        } else {
            Err(CustodyError::NotAcknowledged)
        }
    }

    /// Makes a root key and writes it to a new file; an existing file is never overwritten.
    pub fn create(&self) -> Result<RootKey, CustodyError> {
        let root = RootKey::generate().map_err(|_| CustodyError::NoRandomness)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path).map_err(|e| self.io(e))?;
        file.write_all(root.expose()).and_then(|()| file.sync_all()).map_err(|e| self.io(e))?;
        let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(directory).and_then(|d| d.sync_all()).map_err(|e| self.io(e))?;
        Ok(root)
    }

    fn io(&self, source: io::Error) -> CustodyError {
        CustodyError::Io { path: self.path.clone(), source }
    }
}

impl Custody for FileCustody {
    fn name(&self) -> &'static str {
        "file"
    }

    fn unlock(&self) -> Result<RootKey, CustodyError> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW) // A link could point to a file of somebody else's choice.
            .open(&self.path)
            .map_err(|e| self.io(e))?;
        let metadata = file.metadata().map_err(|e| self.io(e))?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CustodyError::TooOpen { path: self.path.clone(), mode });
        }
        let malformed = || CustodyError::Malformed { path: self.path.clone() };
        if metadata.len() != 32 {
            return Err(malformed());
        }
        let mut bytes = Zeroizing::new([0; 32]);
        file.read_exact(bytes.as_mut_slice()).map_err(|e| self.io(e))?;
        Secret::copy_from(bytes.as_slice()).map(RootKey::new).ok_or_else(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn custody(directory: &Path) -> FileCustody {
        let config =
            FileCustodyConfig { path: directory.join("root.key"), acknowledge: FILE_ACKNOWLEDGEMENT.to_owned() };
        FileCustody::new(&config).unwrap()
    }

    #[test]
    fn without_the_plain_words_there_is_no_file_custody() {
        let config = FileCustodyConfig { path: "root.key".into(), acknowledge: "yes".into() };
        assert!(matches!(FileCustody::new(&config), Err(CustodyError::NotAcknowledged)));
    }

    #[test]
    fn what_was_created_is_unlocked_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let custody = custody(directory.path());
        let root = custody.create().unwrap();
        assert_eq!(custody.unlock().unwrap().expose(), root.expose());
        assert!(matches!(custody.create(), Err(CustodyError::Io { .. })));
        assert_eq!(custody.unlock().unwrap().expose(), root.expose());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let custody = custody(directory.path());
        custody.create().unwrap();
        std::fs::set_permissions(&custody.path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(custody.unlock(), Err(CustodyError::TooOpen { mode: 0o640, .. })));
    }

    #[test]
    fn a_short_file_and_a_link_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let custody = custody(directory.path());
        custody.create().unwrap();
        let moved = directory.path().join("moved");
        std::fs::rename(&custody.path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &custody.path).unwrap();
        assert!(matches!(custody.unlock(), Err(CustodyError::Io { .. })));
        std::fs::remove_file(&custody.path).unwrap();
        std::fs::write(&custody.path, [0; 31]).unwrap();
        std::fs::set_permissions(&custody.path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(custody.unlock(), Err(CustodyError::Malformed { .. })));
    }
}

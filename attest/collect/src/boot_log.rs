//! The firmware's event log, as the kernel shows it.

use crate::error::CollectError;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};
use strongroom_protocol::limits;

/// Where Linux shows the firmware's event log (securityfs).
pub const KERNEL_BOOT_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// Where the boot log comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BootLog {
    /// The kernel's (`/sys/kernel/security/tpm0/binary_bios_measurements`), if it shows one.
    #[default]
    Kernel,
    /// This file, which must exist.
    File(PathBuf),
    /// Evidence without a log.
    Omit,
}

impl BootLog {
    /// The log's bytes, at most [`limits::BOOT_LOG`]; `None` if there is none to send.
    pub fn read(&self) -> Result<Option<Vec<u8>>, CollectError> {
        match self {
            Self::Omit => Ok(None),
            Self::File(path) => read(path).map(Some),
            Self::Kernel => match read(Path::new(KERNEL_BOOT_LOG)) {
                Err(CollectError::BootLog { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
                other => other.map(Some),
            },
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CollectError> {
    let failed = |source| CollectError::BootLog { path: path.to_owned(), source };
    // securityfs gives no size: read one byte more than the cap to see that there is more.
    let mut log = Vec::new();
    let cap = limits::BOOT_LOG as u64 + 1;
    File::open(path).map_err(failed)?.take(cap).read_to_end(&mut log).map_err(failed)?;
    if log.len() > limits::BOOT_LOG {
        return Err(CollectError::BootLogTooLarge { path: path.to_owned(), limit: limits::BOOT_LOG });
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_log_must_exist_and_fit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = BootLog::File(path.clone());
        assert!(matches!(log.read(), Err(CollectError::BootLog { .. })));
        std::fs::write(&path, vec![7; limits::BOOT_LOG]).unwrap();
        assert_eq!(log.read().unwrap().unwrap().len(), limits::BOOT_LOG);
        std::fs::write(&path, vec![7; limits::BOOT_LOG + 1]).unwrap();
        assert!(matches!(log.read(), Err(CollectError::BootLogTooLarge { .. })));
    }

    #[test]
    fn omitting_reads_nothing() {
        assert!(BootLog::Omit.read().unwrap().is_none());
    }
}

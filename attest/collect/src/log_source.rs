//! The logs that the kernel keeps beside the TPM and the TDX module: the firmware's events, and IMA's measurements.

use crate::error::CollectError;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};
use strongroom_protocol::limits;

/// Where Linux shows the firmware's event log (securityfs).
pub const KERNEL_BOOT_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Where Linux shows what IMA measured (securityfs).
pub const KERNEL_IMA_LOG: &str = "/sys/kernel/security/ima/binary_runtime_measurements";

/// Where Linux shows the event log of a TDX guest (ACPI's table CCEL names its place).
pub const KERNEL_CCEL: &str = "/sys/firmware/acpi/tables/data/CCEL";

/// Where a log comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LogSource {
    /// The kernel's, if it shows one.
    #[default]
    Kernel,
    /// This file, which must exist.
    File(PathBuf),
    /// Evidence without a log.
    Omit,
}

/// A file that was named, or the kernel's log.
impl From<Option<PathBuf>> for LogSource {
    fn from(path: Option<PathBuf>) -> Self {
        path.map_or(Self::Kernel, Self::File)
    }
}

/// Which log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Boot,
    Ima,
    Ccel,
}

impl LogSource {
    /// The boot log's bytes, at most [`limits::BOOT_LOG`]; `None` if there is none to send.
    pub fn boot_log(&self) -> Result<Option<Vec<u8>>, CollectError> {
        self.read(Log::Boot, 0)
    }

    /// What the IMA log holds from `offset` bytes on, at most [`limits::IMA_LOG`]; `None` if there is none to send.
    pub fn ima_log(&self, offset: u64) -> Result<Option<Vec<u8>>, CollectError> {
        self.read(Log::Ima, offset)
    }

    /// The bytes of a TDX guest's event log, at most [`limits::BOOT_LOG`]; `None` if there is none to send.
    pub fn ccel(&self) -> Result<Option<Vec<u8>>, CollectError> {
        self.read(Log::Ccel, 0)
    }

    fn read(&self, log: Log, offset: u64) -> Result<Option<Vec<u8>>, CollectError> {
        match self {
            Self::Omit => Ok(None),
            Self::File(path) => log.read(path, offset).map(Some),
            Self::Kernel => match log.read(Path::new(log.kernel()), offset) {
                Err(
                    CollectError::BootLog { source, .. }
                    | CollectError::ImaLog { source, .. }
                    | CollectError::Ccel { source, .. },
                ) if source.kind() == ErrorKind::NotFound => Ok(None),
                other => other.map(Some),
            },
        }
    }
}

impl Log {
    fn kernel(self) -> &'static str {
        match self {
            Self::Boot => KERNEL_BOOT_LOG,
            Self::Ima => KERNEL_IMA_LOG,
            Self::Ccel => KERNEL_CCEL,
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Boot | Self::Ccel => limits::BOOT_LOG,
            Self::Ima => limits::IMA_LOG,
        }
    }

    fn read(self, path: &Path, offset: u64) -> Result<Vec<u8>, CollectError> {
        let (path, limit) = (path.to_owned(), self.limit());
        match bytes(&path, offset, limit) {
            Ok(log) if log.len() <= limit => Ok(log),
            Ok(_) => Err(match self {
                Self::Boot => CollectError::BootLogTooLarge { path, limit },
                Self::Ima => CollectError::ImaLogTooLarge { path, limit },
                Self::Ccel => CollectError::CcelTooLarge { path, limit },
            }),
            Err(source) => Err(match self {
                Self::Boot => CollectError::BootLog { path, source },
                Self::Ima => CollectError::ImaLog { path, source },
                Self::Ccel => CollectError::Ccel { path, source },
            }),
        }
    }
}

/// From `offset` on, one byte more than the limit, to see that there is more: securityfs gives no size.
fn bytes(path: &Path, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut log = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut log)?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_log_must_exist_and_fit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = LogSource::File(path.clone());
        assert!(matches!(log.boot_log(), Err(CollectError::BootLog { .. })));
        assert!(matches!(log.ima_log(0), Err(CollectError::ImaLog { .. })));
        assert!(matches!(log.ccel(), Err(CollectError::Ccel { .. })));
        std::fs::write(&path, vec![7; limits::BOOT_LOG]).unwrap();
        assert_eq!(log.boot_log().unwrap().unwrap().len(), limits::BOOT_LOG);
        std::fs::write(&path, vec![7; limits::BOOT_LOG + 1]).unwrap();
        assert!(matches!(log.boot_log(), Err(CollectError::BootLogTooLarge { .. })));
        assert!(matches!(log.ccel(), Err(CollectError::CcelTooLarge { .. })));
        std::fs::write(&path, vec![7; limits::IMA_LOG + 1]).unwrap();
        assert!(matches!(log.ima_log(0), Err(CollectError::ImaLogTooLarge { .. })));
    }

    #[test]
    fn what_the_vault_has_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut long = vec![1; limits::IMA_LOG];
        long.extend(b"new");
        std::fs::write(&path, long).unwrap();
        let source = LogSource::File(path);
        assert_eq!(source.ima_log(limits::IMA_LOG as u64).unwrap().unwrap(), b"new");
        assert_eq!(source.ima_log(u64::from(u32::MAX)).unwrap().unwrap(), b"");
        assert!(source.ima_log(u64::MAX).is_err());
    }

    #[test]
    fn omitting_reads_nothing() {
        assert!(LogSource::Omit.boot_log().unwrap().is_none());
        assert!(LogSource::Omit.ima_log(0).unwrap().is_none());
        assert!(LogSource::Omit.ccel().unwrap().is_none());
    }
}

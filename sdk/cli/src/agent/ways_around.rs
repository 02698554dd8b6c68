//! Whether a process could go around the agent.

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    process::geteuid,
};
use std::path::{Path, PathBuf};
use strongroom::collect::{SEV_GUEST, TDX_GUEST, TSM_REPORTS};

/// Where evidence comes from that an agent alone should ask for. Not the GPUs: jobs use them, and their evidence counts
/// only beside that of one of these.
const DEVICES: [&str; 5] = ["/dev/tpmrm0", "/dev/tpm0", SEV_GUEST, TDX_GUEST, TSM_REPORTS];

/// The devices that this process could open itself, and so bind any caller; none for root, who always can.
pub(crate) fn open_devices() -> Vec<PathBuf> {
    if geteuid().is_root() { Vec::new() } else { DEVICES.iter().map(PathBuf::from).filter(|d| is_open(d)).collect() }
}

fn is_open(path: &Path) -> bool {
    accessat(CWD, path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_or_not() {
        assert!(is_open(Path::new("/dev/null")));
        assert!(!is_open(Path::new("/dev/no-such-device")));
    }
}

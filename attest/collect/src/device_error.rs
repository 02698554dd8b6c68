//! What can go wrong with confidential hardware, with what to do about it.

use std::{io, path::PathBuf, time::Duration};
use strongroom_protocol::evidence::EvidenceKind;

/// Why a device gave no evidence.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no configfs-tsm.
    #[error(
        "{}: not there: run this in a confidential guest with Linux 6.7 or newer, mount configfs (`mount -t configfs none /sys/kernel/config`), and load the guest's driver (`modprobe sev-guest` or `modprobe tdx-guest`)", path.display()
    )]
    TsmMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// configfs-tsm is there, and no driver gives reports by it.
    #[error(
        "{}: no driver gives reports here: `modprobe sev-guest` or `modprobe tdx-guest`; is this a confidential guest?", path.display()
    )]
    TsmWithoutProvider {
        /// Where configfs-tsm is.
        path: PathBuf,
    },
    /// The process may not make reports.
    #[error(
        "{}: {doing}: {source}: the kernel gives reports to root only; run the agent as root, with this path writable (deploy/README.md has a drop-in for its unit)", path.display()
    )]
    TsmPermission {
        /// Where configfs-tsm is.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Another kind of machine than configuration says.
    #[error("{}: reports come from `{found}`, not from `{expected}`: correct `devices`", path.display())]
    TsmProvider {
        /// Where configfs-tsm is.
        path: PathBuf,
        /// The provider that the kind has.
        expected: &'static str,
        /// The provider that the kernel names.
        found: String,
    },
    /// Somebody else wrote to this process's own report, each time.
    #[error(
        "{}: another process writes to the reports of this one (generation {expected} expected, {found} found, {attempts} times): find out which, it runs as root", path.display()
    )]
    TsmContended {
        /// Where configfs-tsm is.
        path: PathBuf,
        /// Reports asked for.
        attempts: u32,
        /// The generation that this process's writes lead to.
        expected: u64,
        /// The generation that there was, as the kernel wrote it.
        found: String,
    },
    /// The report is of something else than what this process wrote, each time.
    #[error(
        "{}: the {device} report is not of what was written, {attempts} times: another process removes and makes the reports of this one, or the driver is at fault", path.display()
    )]
    TsmForeign {
        /// Where configfs-tsm is.
        path: PathBuf,
        /// The device.
        device: EvidenceKind,
        /// Reports asked for.
        attempts: u32,
    },
    /// Another report was being made, each time.
    #[error("{}: busy after {attempts} attempts: another report is being made, or hangs: {source}", path.display())]
    TsmBusy {
        /// Where configfs-tsm is.
        path: PathBuf,
        /// Reports asked for.
        attempts: u32,
        /// The system's last reason.
        source: io::Error,
    },
    /// The kernel gave no report.
    #[error("{}: {doing}: {source}{}", path.display(), what_it_means(source))]
    Tsm {
        /// Where configfs-tsm is.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A device did not answer in time; it was given up.
    #[error("{device}: {doing}: no answer within {} s: the host or the driver hangs; see `dmesg`", .timeout.as_secs_f32())]
    Timeout {
        /// The device.
        device: EvidenceKind,
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        timeout: Duration,
    },
    /// What the device gave cannot be what it should be, by its size.
    #[error(
        "{device}: {what} has {length} bytes, and should have {expected}: the host or the driver is at fault; see `dmesg`"
    )]
    Size {
        /// The device.
        device: EvidenceKind,
        /// What it gave, such as `the report`.
        what: &'static str,
        /// Its bytes.
        length: usize,
        /// How many it should have.
        expected: String,
    },
    /// The guest device can be used neither by configfs-tsm nor by itself.
    #[error("{tsm}. The older way is closed too: {}: {reason}", path.display())]
    SevGuest {
        /// Why configfs-tsm cannot be used.
        tsm: Box<DeviceError>,
        /// The guest device.
        path: PathBuf,
        /// Why that cannot be used.
        reason: String,
    },
    /// The kernel gives TD reports and no quotes.
    #[error(
        "{}: gives reports that only this very machine can check, and {} is not there, which turns them into quotes: run Linux 6.7 or newer, on a host with a quote generation service", device.display(), tsm.display()
    )]
    TdxWithoutQuotes {
        /// The guest device.
        device: PathBuf,
        /// Where configfs-tsm should be.
        tsm: PathBuf,
    },
    /// NVIDIA's management library is not there.
    #[error(
        "libnvidia-ml.so.1 cannot be loaded ({reason}): install the package of the driver that brings NVML (often libnvidia-compute or nvidia-driver-cuda-libs)"
    )]
    NvmlMissing {
        /// The loader's reason.
        reason: String,
    },
    /// NVML refused.
    #[error("NVML: {doing}: {reason}{remedy}")]
    Nvml {
        /// What was being done.
        doing: &'static str,
        /// Its reason.
        reason: String,
        /// What to do, after a colon; empty where nothing is known.
        remedy: &'static str,
    },
    /// There is no GPU.
    #[error("NVML shows no GPU: are they passed through to this machine, and is the driver theirs (`nvidia-smi`)?")]
    NoGpu,
    /// There are fewer GPUs than when the devices were opened.
    #[error("NVML shows {found} GPUs, and showed {expected} when this process began: see `nvidia-smi` and `dmesg`")]
    GpusLost {
        /// How many there were.
        expected: u32,
        /// How many there are.
        found: u32,
    },
    /// The GPUs are not in confidential mode, so that they sign nothing.
    #[error("the GPUs are not in confidential mode: have the host switch it on (CC mode) and start the guest anew")]
    GpusNotConfidential,
    /// A GPU's certificate chain is not what NVML says that it is.
    #[error("GPU {index}: its certificate chain is not PEM within the caps ({what}): update the driver")]
    GpuCertificates {
        /// Which GPU, from 0.
        index: usize,
        /// What is wrong.
        what: String,
    },
    /// The vTPM keeps no report of the machine below it.
    #[error(
        "NV index {index:#010x} is not there ({reason}): this TPM is not the vTPM of a confidential Azure machine; leave azure-snp-vtpm out of `devices`"
    )]
    HclMissing {
        /// The index.
        index: u32,
        /// The TPM's answer.
        reason: String,
    },
    /// The vTPM has no key that its report names.
    #[error(
        "there is no key at {handle:#010x} ({reason}), which a confidential Azure machine has: was the TPM cleared?"
    )]
    HclKeyMissing {
        /// The persistent handle.
        handle: u32,
        /// The TPM's answer.
        reason: String,
    },
    /// Configuration names no device.
    #[error("`devices` is empty: name at least one of tpm2, sev-snp, tdx, nvidia-gpu, azure-snp-vtpm")]
    NoneNamed,
    /// Configuration names a device twice.
    #[error("`devices` names {device} twice")]
    NamedTwice {
        /// The device.
        device: EvidenceKind,
    },
    /// The devices give more items than a vault accepts.
    #[error("the devices give {items} items of evidence, and a vault accepts {most}: name fewer in `devices`")]
    TooManyItems {
        /// What there is.
        items: usize,
        /// The cap.
        most: usize,
    },
}

impl DeviceError {
    /// Whether configfs-tsm is not there, or closed to this process: there may be another way.
    pub(crate) fn is_without_tsm(&self) -> bool {
        matches!(self, Self::TsmMissing { .. } | Self::TsmPermission { .. })
    }
}

/// What the errors of `outblob` say (Linux, `Documentation/ABI/testing/configfs-tsm-report`, and the drivers).
fn what_it_means(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::FileTooLarge => {
            "; the report is larger than the kernel passes on: ask the provider of the machine"
        }
        io::ErrorKind::TimedOut => {
            "; the host did not answer: does its quote generation service run, and is the guest's vsock open to it?"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; /sys is closed to this service: add it to ReadWritePaths= of the unit (deploy/README.md has a drop-in)"
        }
        _ => "; see `dmesg`",
    }
}

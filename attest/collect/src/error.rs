//! What can go wrong, with the device and the remedy.

use crate::{agent::AgentRefusal, device_error::DeviceError, ek::EkKind, tcti::TctiConfig};
use std::{io, path::PathBuf, time::Duration};

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// No such device node.
    #[error("{device}: no such device; is the TPM enabled in the firmware, and is the path right?")]
    DeviceMissing {
        /// The TPM.
        device: TctiConfig,
    },
    /// The process may not open the device.
    #[error("{device}: permission denied; run the agent as root or add its user to group `tss`")]
    DevicePermission {
        /// The TPM.
        device: TctiConfig,
    },
    /// Another process has the device open, which `/dev/tpm0` allows to one only.
    #[error("{device}: in use by another process; configure `device:/dev/tpmrm0`, which processes can share")]
    DeviceBusy {
        /// The TPM.
        device: TctiConfig,
    },
    /// The path is not a device node.
    #[error("{device}: not a character device")]
    NotADevice {
        /// The TPM.
        device: TctiConfig,
    },
    /// The device cannot be opened for another reason.
    #[error("{device}: cannot be opened: {source}")]
    DeviceUnavailable {
        /// The TPM.
        device: TctiConfig,
        /// The system's reason.
        source: io::Error,
    },
    /// Nothing listens where swtpm should.
    #[error("{device}: cannot connect: {source}; start swtpm with `--server type=tcp,port=P --ctrl type=tcp,port=P+1`")]
    SwtpmUnreachable {
        /// The TPM.
        device: TctiConfig,
        /// The system's reason.
        source: io::Error,
    },
    /// The TPM or the stack below it refused a command.
    #[error("{device}: {doing}: {source}")]
    Tpm {
        /// The TPM.
        device: TctiConfig,
        /// What was being done, such as `quoting`.
        doing: &'static str,
        /// The TPM's answer.
        source: tss_esapi::Error,
    },
    /// The TPM stayed busy (retry, testing, or out of slots) for all attempts.
    #[error("{device}: {doing}: still busy after {attempts} attempts: {source}; find the process that holds the TPM")]
    TpmBusy {
        /// The TPM.
        device: TctiConfig,
        /// What was being done.
        doing: &'static str,
        /// Attempts made.
        attempts: u32,
        /// The TPM's last answer.
        source: tss_esapi::Error,
    },
    /// The TPM did not answer in time; the operation was given up.
    #[error(
        "{device}: {doing}: no answer within {} s; find the process that holds the TPM, or restart what emulates it; for a slow TPM raise `tpm_timeout_s` in node.json", .timeout.as_secs_f32()
    )]
    TpmTimeout {
        /// The TPM.
        device: TctiConfig,
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        timeout: Duration,
    },
    /// The TPM gave something that its own description does not allow.
    #[error("{device}: {doing}: the TPM answered with {what}")]
    UnexpectedAnswer {
        /// The TPM.
        device: TctiConfig,
        /// What was being done.
        doing: &'static str,
        /// What came.
        what: &'static str,
    },
    /// No EK certificate where the TCG EK Credential Profile puts them.
    #[error(
        "{device}: no EK certificate in NV index {tried}; the vendor may offer it for download, or the firmware may hide it"
    )]
    NoEkCertificate {
        /// The TPM.
        device: TctiConfig,
        /// The NV indices looked at.
        tried: String,
    },
    /// An EK certificate, or the chain beside it, is not a sequence of DER certificates within the caps.
    #[error("{device}: NV index {index:#010x} does not hold DER certificates within the caps ({what})")]
    EkCertificateUnreadable {
        /// The TPM.
        device: TctiConfig,
        /// The (first) index.
        index: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// The TPM cannot make this kind of EK.
    #[error("{device}: has no {kind} endorsement key: {source}; choose another with `ek`")]
    NoEk {
        /// The TPM.
        device: TctiConfig,
        /// The kind asked for.
        kind: EkKind,
        /// The TPM's answer.
        source: tss_esapi::Error,
    },
    /// The endorsement hierarchy has an authorisation value.
    #[error("{device}: the endorsement hierarchy has an authorisation value; clear it, Strongroom holds none")]
    EndorsementAuthorisation {
        /// The TPM.
        device: TctiConfig,
    },
    /// The AK in the state directory was made by another TPM, or this TPM's endorsement seed was changed.
    #[error("{device}: the AK was not made by this TPM; move {file} away and enrol the node again")]
    AkOfAnotherTpm {
        /// The TPM.
        device: TctiConfig,
        /// The AK's file, or `the AK` where it came from none.
        file: String,
    },
    /// The AK's file cannot be read or written.
    #[error("AK file {}: {doing}: {source}{}", path.display(), whose(source))]
    AkFile {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Others than its owner may read or write the AK's file.
    #[error("AK file {} has mode {mode:04o}: others may use it; run `chmod 600` on it", path.display())]
    AkFileExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// An enrolled node's AK is not where its configuration says.
    #[error("no AK in {}: was the directory moved, or the configuration copied? Put it back, correct `state_dir`, or enrol the node again", state_dir.display())]
    AkMissing {
        /// Where it should be.
        state_dir: PathBuf,
    },
    /// The AK's file is not one.
    #[error("AK file {} is damaged ({what}); move it away and enrol the node again", path.display())]
    AkFileDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A credential or its encrypted seed is longer than a TPM structure can be.
    #[error("the vault's credential is malformed: {what}")]
    CredentialMalformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The credential was made for another EK or another AK.
    #[error("{device}: the vault's credential is not for this TPM's EK and AK; start the enrolment again")]
    CredentialRefused {
        /// The TPM.
        device: TctiConfig,
    },
    /// The selection of PCRs is empty, out of range or not ascending.
    #[error("the PCR selection is not an ascending list of indices 0 to 23")]
    Selection,
    /// The TPM has no values in this bank.
    #[error("{device}: bank {bank} has no PCR {pcr}; enable the bank in the firmware")]
    BankInactive {
        /// The TPM.
        device: TctiConfig,
        /// The bank.
        bank: &'static str,
        /// The first PCR without a value.
        pcr: u8,
    },
    /// The PCRs changed between reading and quoting, every time.
    #[error("{device}: PCRs kept changing during {attempts} quotes; leave out those that programs extend")]
    PcrsUnstable {
        /// The TPM.
        device: TctiConfig,
        /// Quotes made.
        attempts: u32,
    },
    /// The boot log cannot be read.
    #[error("boot log {}: {source}; the kernel shows it to root only, run the agent as root", path.display())]
    BootLog {
        /// The log.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The boot log is larger than a vault accepts.
    #[error("boot log {} is larger than {limit} bytes, the most that a vault accepts", path.display())]
    BootLogTooLarge {
        /// The log.
        path: PathBuf,
        /// The cap, bytes.
        limit: usize,
    },
    /// The IMA log cannot be read.
    #[error("IMA log {}: {source}; the kernel shows it to root only, run the agent as root", path.display())]
    ImaLog {
        /// The log.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What has to be sent of the IMA log is more than a vault accepts.
    #[error("IMA log {}: more than {limit} bytes have to be sent, the most that a vault accepts at one time: measure less (`ima_policy`), or restart the node", path.display())]
    ImaLogTooLarge {
        /// The log.
        path: PathBuf,
        /// The cap, bytes.
        limit: usize,
    },
    /// The event log of a TDX guest cannot be read.
    #[error("event log {}: {source}; the kernel shows it to root only, run the agent as root", path.display())]
    Ccel {
        /// The log.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The event log of a TDX guest is larger than a vault accepts.
    #[error("event log {} is larger than {limit} bytes, the most that a vault accepts", path.display())]
    CcelTooLarge {
        /// The log.
        path: PathBuf,
        /// The cap, bytes.
        limit: usize,
    },
    /// Confidential hardware gave no evidence.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No agent listens where it should.
    #[error("{}: no agent listens here; start it (`systemctl start strongroom-agent.socket`), or see whether `agent` in node.json names its socket", socket.display())]
    AgentMissing {
        /// The agent's socket.
        socket: PathBuf,
    },
    /// The process may not connect to the agent.
    #[error("{}: permission denied; add this user to the group that may use the socket (`ls -l` names it), or start the job by `strongroom run`", socket.display())]
    AgentPermission {
        /// The agent's socket.
        socket: PathBuf,
    },
    /// The connection to the agent could not be made, or broke.
    #[error("{}: {doing}: the agent went away ({source}); see its log, and ask again", socket.display())]
    AgentLost {
        /// The agent's socket.
        socket: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The agent did not answer in time.
    #[error("{}: {doing}: no answer within {} s; see whether the agent's TPM is held by another", socket.display(), .timeout.as_secs())]
    AgentTimeout {
        /// The agent's socket.
        socket: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        timeout: Duration,
    },
    /// What answers is not an agent of this version.
    #[error("{}: not an agent's answer: {what}", socket.display())]
    AgentMalformed {
        /// The agent's socket.
        socket: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The agent refused.
    #[error("{}: the agent refused [{}]: {message}", socket.display(), code.as_str())]
    AgentRefused {
        /// The agent's socket.
        socket: PathBuf,
        /// Why, for programs.
        code: AgentRefusal,
        /// Why, for people.
        message: String,
    },
    /// Evidence was asked for without a caller, which an agent's always names.
    #[error("{}: an agent's evidence names its caller; ask `Attester::caller` and name it in the statement", socket.display())]
    AgentNeedsCaller {
        /// The agent's socket.
        socket: PathBuf,
    },
    /// The enrolment statement could not be written as JSON.
    #[error("the enrolment statement cannot be written: {0}")]
    Statement(serde_json::Error),
}

/// What to do about a file that belongs to somebody else.
fn whose(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run this as the user to whom the AK's directory belongs (the agent's unit does: strongroom-agent)"
        }
        _ => "",
    }
}

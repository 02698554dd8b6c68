//! Why TDX evidence was refused.

use crate::{log::LogRefused, x509::instant};
use strongroom_protocol::claims::TdxTcbStatus;

/// A part of row T1 that did not hold. The message says what was wrong and what to do. Nothing in it is secret, but
/// expected values in it are for authorised people: a node is told [`Self::row`] only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TdxRefused {
    /// Larger than any quote.
    #[error("T1: {actual} bytes are more than the {limit} that a quote may have: send the quote alone")]
    T1TooLong {
        /// The cap, bytes.
        limit: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// Not laid out as a quote.
    #[error("T1: the bytes are no quote: {problem}; send the quote as the guest's driver gave it")]
    T1Malformed {
        /// What was wrong.
        problem: String,
    },
    /// A quote of another kind than is verified here.
    #[error(
        "T1: the quote's {field} is {got}, expected is {expected}: quote a TDX guest by Intel's quoting enclave, with the certificates in the quote"
    )]
    T1Kind {
        /// The field.
        field: &'static str,
        /// What is verified here.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// The certificates in the quote cannot be used.
    #[error(
        "T1: the certificates in the quote cannot be used: {problem}; a quote has the PCK certificate, its CA and the root"
    )]
    T1Certificates {
        /// What was wrong.
        problem: String,
    },
    /// An input without which nothing can be released.
    #[error("T1: {input} was not given: import or give it, and verify again")]
    T1NotGiven {
        /// The input.
        input: &'static str,
    },
    /// The quote binds something else.
    #[error("T1: report_data is {got}, not {expected}: the quote is of another request; collect it for this statement")]
    T1ReportData {
        /// Lower-case hexadecimal.
        expected: String,
        /// Lower-case hexadecimal.
        got: String,
    },
    /// The root is not one that is trusted.
    #[error(
        "T1: the root of the collateral (SHA-256 {sha256}) is not pinned as intel-sgx-root: import Intel's own collateral"
    )]
    T1Root {
        /// The root's fingerprint, lower-case hexadecimal.
        sha256: String,
    },
    /// The collateral is of another kind of platform.
    #[error("T1: the collateral is of {got}, the quote's platform is {expected}: import the collateral for {expected}")]
    T1CollateralOfOther {
        /// FMSPC and CA of the quote's platform.
        expected: String,
        /// Those of the collateral.
        got: String,
    },
    /// Collateral of the past.
    #[error(
        "T1: {what} expired at {} (judged at {}): fetch and import newer collateral",
        instant(*.until), instant(*.at)
    )]
    T1CollateralExpired {
        /// Which part of it.
        what: &'static str,
        /// Its end, Unix seconds.
        until: u64,
        /// The time of judgement, Unix seconds.
        at: u64,
    },
    /// Collateral of the future.
    #[error("T1: {what} is not valid before {} (judged at {}): check the clock", instant(*.from), instant(*.at))]
    T1CollateralEarly {
        /// Which part of it.
        what: &'static str,
        /// Its beginning, Unix seconds.
        from: u64,
        /// The time of judgement, Unix seconds.
        at: u64,
    },
    /// A signature, a certificate, its revocation, the quoting enclave, the module's identity or the platform's level.
    #[error(
        "T1: the quote does not verify: {problem}; send the quote as the hardware gave it, or import the collateral for its platform"
    )]
    T1Unverified {
        /// What `dcap-qvl` says.
        problem: String,
    },
    /// The platform's firmware meets no level that Intel lists, not even one that is out of date.
    #[error(
        "T1: the platform's firmware is older than every TCB level of Intel's data for {platform}, those that are OutOfDate too, which Intel calls not supported; {lacks}: update the machine's firmware"
    )]
    T1TcbBelow {
        /// FMSPC and CA of the platform.
        platform: String,
        /// The level that it comes nearest to, and what it lacks of it.
        lacks: String,
    },
    /// The platform's firmware is not in a state that is accepted.
    #[error(
        "T1: the platform's TCB is {got} (advisories: {advisories}), accepted are {accepted}: update the machine's firmware, or accept this status"
    )]
    T1TcbStatus {
        /// The status.
        got: TdxTcbStatus,
        /// What applies at this level.
        advisories: String,
        /// What is accepted.
        accepted: String,
    },
    /// Intel's data are older than is accepted.
    #[error(
        "T1: the collateral's tcbEvaluationDataNumber is {got}, at least {minimum} is required: fetch and import newer collateral"
    )]
    T1EvaluationData {
        /// The lower of TCB info and enclave identity.
        got: u32,
        /// What is required.
        minimum: u32,
    },
    /// The guest can be read by its host.
    #[error("T1: the guest is under {what} (attributes {attributes}): start it without")]
    T1Debug {
        /// `debug` or `profiling`.
        what: &'static str,
        /// The attributes, 16 digits.
        attributes: String,
    },
    /// The host can make the guest take exceptions on pages that it took away.
    #[error("T1: SEPT_VE_DISABLE is not set (attributes {attributes}): start the guest with it")]
    T1SeptVe {
        /// The attributes, 16 digits.
        attributes: String,
    },
    /// Bits that are reserved, or not permitted.
    #[error(
        "T1: attribute bits {bits} are set and not permitted (attributes {attributes}): start the guest without them, or permit them"
    )]
    T1Attributes {
        /// Which, 16 digits.
        bits: String,
        /// The attributes, 16 digits.
        attributes: String,
    },
    /// The module is not Intel's, or not one that is accepted.
    #[error("T1: the TDX module's {register} is {got}, accepted are {accepted}")]
    T1Module {
        /// MRSIGNERSEAM or MRSEAM.
        register: &'static str,
        /// Lower-case hexadecimal.
        got: String,
        /// What is accepted.
        accepted: String,
    },
    /// A service domain may change the guest, or the report is of a part of it.
    #[error(
        "T1: {field} is {got}, not zero: the guest is bound to a service domain or partitioned, which is not accepted"
    )]
    T1ServiceTd {
        /// The field.
        field: &'static str,
        /// Lower-case hexadecimal.
        got: String,
    },
    /// Features that are not permitted, or the two that every guest has are missing.
    #[error(
        "T1: XFAM is {got}, permitted is {permitted} with bits 0 and 1 set: start the guest with other features, or permit them"
    )]
    T1Xfam {
        /// 16 digits.
        got: String,
        /// 16 digits.
        permitted: String,
    },
    /// A register does not hold what is accepted.
    #[error("T1: {register} is {got}, accepted are {accepted}")]
    T1Register {
        /// Its name.
        register: &'static str,
        /// Lower-case hexadecimal.
        got: String,
        /// What is accepted.
        accepted: String,
    },
    /// The platform has no identity.
    #[error("T1: the PPID of the PCK certificate is {got}: {problem}; this machine cannot be told from others")]
    T1Ppid {
        /// Lower-case hexadecimal.
        got: String,
        /// What was wrong.
        problem: &'static str,
    },
    /// The event log cannot be read.
    #[error("T1: the event log (CCEL) cannot be used: {0}")]
    T1Log(LogRefused),
    /// The event log has no digests of the RTMRs' algorithm.
    #[error("T1: the event log has no SHA-384 digests, which RTMRs are extended with: send the guest's CCEL")]
    T1LogBank,
    /// An event of a register that a log cannot extend.
    #[error("T1: event {event} of the log is of register {index}: a log extends registers 1 to 4, RTMR0 to RTMR3")]
    T1LogIndex {
        /// The event.
        event: u32,
        /// The register, as logs count them.
        index: u32,
    },
    /// The log is of something else.
    #[error(
        "T1: RTMR{rtmr} is {quoted}, and the log leads to {replayed}: the log is of another boot or guest, was changed, or is not whole"
    )]
    T1LogDiffers {
        /// 0 to 3.
        rtmr: u8,
        /// Lower-case hexadecimal.
        quoted: String,
        /// Lower-case hexadecimal.
        replayed: String,
    },
}

impl TdxRefused {
    /// The row that refused.
    pub fn row(&self) -> &'static str {
        "T1"
    }

    /// True when a platform that Intel vouches for has signed *this* request, so that the refusal is a denial and
    /// belongs into the ledger once its PPID is found to be an enrolled one. False for everything that anybody can
    /// send, and for platforms that Intel's data do not know or have revoked: those vouch for nothing.
    pub fn is_signed_for_this_request(&self) -> bool {
        matches!(
            self,
            Self::T1TcbStatus { .. }
                | Self::T1EvaluationData { .. }
                | Self::T1Debug { .. }
                | Self::T1SeptVe { .. }
                | Self::T1Attributes { .. }
                | Self::T1Module { .. }
                | Self::T1ServiceTd { .. }
                | Self::T1Xfam { .. }
                | Self::T1Register { .. }
                | Self::T1Log(_)
                | Self::T1LogBank
                | Self::T1LogIndex { .. }
                | Self::T1LogDiffers { .. }
        )
    }
}

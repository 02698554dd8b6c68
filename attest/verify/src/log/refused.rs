//! Why a boot log was refused: one variant or more for each row.

use super::{event::Event, kind::EventType};
use crate::tpm::HashAlg;

/// A check of a boot log that did not hold. The variant's name starts with the row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogRefused {
    /// L1: longer than any log.
    #[error(
        "L1: {actual} bytes are more than the {limit} that a boot log may have: give the log of one boot, as the kernel shows it"
    )]
    L1TooLong {
        /// The cap, bytes.
        limit: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// L1: more events than any log.
    #[error("L1: the log has more than {limit} events: give the log of one boot, as the kernel shows it")]
    L1TooManyEvents {
        /// The cap.
        limit: usize,
    },
    /// L1: a log in the format of TPM 1.2.
    #[error(
        "L1: the log is in the SHA-1 format of TPM 1.2, not crypto-agile: set firmware to TPM 2.0 and a SHA-256 bank"
    )]
    L1Sha1Format,
    /// L1: the log is crypto-agile, and has only digests that prove nothing.
    #[error(
        "L1: the log has no digests of SHA-256, SHA-384 or SHA-512 (only {banks:?}): activate a SHA-256 bank in firmware"
    )]
    L1NoBank {
        /// The algorithms that it has, as far as they are known.
        banks: Vec<HashAlg>,
    },
    /// L1: a log of the measurement registers of a confidential guest (CCEL), which are not PCRs.
    #[error(
        "L1: the log is of a measurement register {index}, not of a TPM's PCRs: give the TPM's log, not the CCEL table"
    )]
    L1NotOfPcrs {
        /// The register that its header names.
        index: u32,
    },
    /// L1: the header is not that of a crypto-agile log.
    #[error("L1: the log's header is malformed: {problem}: read the log again from the kernel")]
    L1Header {
        /// What was wrong.
        problem: &'static str,
    },
    /// L1: the log ends inside an event, or inside the header (event 0).
    #[error("L1: the log ends inside {field} of event {event}: read the whole log again from the kernel")]
    L1Truncated {
        /// The event, from 1.
        event: u32,
        /// The field.
        field: &'static str,
    },
    /// L1: an event does not have exactly one digest of each algorithm of the header.
    #[error(
        "L1: event {event} has {count} digests, the last by algorithm {got:04x?}; the header wants one each of {expected:04x?}"
    )]
    L1Digests {
        /// The event.
        event: u32,
        /// The header's algorithms.
        expected: Vec<u16>,
        /// The algorithms up to the wrong one; empty where the count alone was wrong.
        got: Vec<u16>,
        /// The count that the event gives.
        count: u32,
    },
    /// L1: an event extends a PCR that a TPM does not have.
    #[error("L1: event {event} extends PCR {pcr}, and TPMs of PCs have 24")]
    L1Pcr {
        /// The event.
        event: u32,
        /// The PCR.
        pcr: u32,
    },
    /// L2: the event that gives the startup locality is wrong.
    #[error("L2: the startup locality in event {event} {problem}: the log was changed, or firmware is faulty")]
    L2Locality {
        /// The event.
        event: u32,
        /// What was wrong.
        problem: &'static str,
    },
    /// L3: a type stands where it has no place.
    #[error("L3: event {event} is an {kind}, which has no place in PCR {pcr}{}: the log was changed, or firmware does not follow the profile", if *closed { " after its separator" } else { "" })]
    L3Misplaced {
        /// The event.
        event: u32,
        /// The PCR.
        pcr: u32,
        /// What it says it is.
        kind: EventType,
        /// Whether the PCR's separator came before.
        closed: bool,
    },
    /// L3: the digests are not of what the type promises.
    #[error("L3: the digests of event {event} ({kind}, PCR {pcr}) are not of its data: the log was changed")]
    L3Digest {
        /// The event.
        event: u32,
        /// The PCR.
        pcr: u32,
        /// What it says it is.
        kind: EventType,
    },
    /// L3: a separator is wrong, or one too many.
    #[error("L3: the separator in event {event} of PCR {pcr}: {problem}")]
    L3Separator {
        /// The event.
        event: u32,
        /// The PCR.
        pcr: u32,
        /// What was wrong.
        problem: &'static str,
    },
    /// L3: an event of another type extends by a separator's digest.
    #[error(
        "L3: event {event} of PCR {pcr} says it is an {kind} and extends by a separator's digest: the log was changed"
    )]
    L3Disguised {
        /// The event.
        event: u32,
        /// The PCR.
        pcr: u32,
        /// What it says it is.
        kind: EventType,
    },
    /// L3: a PCR of the firmware was never closed.
    #[error("L3: PCR {pcr} has no separator: the log was cut, or firmware does not follow the profile")]
    L3NoSeparator {
        /// The PCR.
        pcr: u32,
    },
    /// L4: a variable that firmware must measure is not there.
    #[error(
        "L4: PCR 7 does not show the variable {variable}: firmware does not measure Secure Boot as the profile says"
    )]
    L4Missing {
        /// Its name.
        variable: &'static str,
    },
    /// L4: an event of PCR 7 cannot be read, or comes once too often.
    #[error("L4: event {event} of PCR 7 {problem}")]
    L4Malformed {
        /// The event.
        event: u32,
        /// What was wrong.
        problem: &'static str,
    },
    /// L4: a variable's value is not what it must be.
    #[error("L4: the value of {variable} in PCR 7 cannot be read")]
    L4Database {
        /// Its name.
        variable: &'static str,
    },
    /// L4: firmware ran in debug mode.
    #[error(
        "L4: event {event} of PCR 7 says that firmware ran in debug mode: take a machine out of it before you trust it"
    )]
    L4Debug {
        /// The event.
        event: u32,
    },
    /// L4: Secure Boot says that it is on, and the rest does not bear that out.
    #[error("L4: SecureBoot is 1 and {missing}: what is called Secure Boot there let anything in")]
    L4Inconsistent {
        /// What was missing.
        missing: &'static str,
    },
    /// L5: no program was loaded.
    #[error("L5: PCR 4 shows no program that was loaded: the log is not of a boot by UEFI")]
    L5NoImage,
    /// L5: the steps of leaving firmware are out of order.
    #[error("L5: event {event} of PCR 5 is out of order: ExitBootServices is announced, then succeeds or fails")]
    L5Exit {
        /// The event.
        event: u32,
    },
    /// L5: a program was loaded after there was nobody to load it.
    #[error("L5: event {event} loads a program after ExitBootServices had succeeded")]
    L5AfterExit {
        /// The event.
        event: u32,
    },
    /// L6: the sections of a unified kernel image are not as systemd-stub measures them.
    #[error("L6: event {event} of PCR 11 {problem}")]
    L6Section {
        /// The event.
        event: u32,
        /// What was wrong.
        problem: &'static str,
    },
    /// L7: the log has no such bank.
    #[error("L7: the log has no {bank} digests, and the values are of that bank: quote a bank that firmware measures")]
    L7Bank {
        /// The bank.
        bank: HashAlg,
    },
    /// L7: a PCR that policy reads was not quoted.
    #[error("L7: PCR {pcr} is to be explained by the log and was not quoted")]
    L7NotQuoted {
        /// The PCR.
        pcr: u8,
    },
    /// L7: the log does not lead to the value.
    #[error(
        "L7: PCR {pcr} holds {quoted}, and the log leads to {replayed}: the log is of another boot or machine, was changed, or is not whole"
    )]
    L7Differs {
        /// The PCR.
        pcr: u8,
        /// What the TPM holds, lower-case hexadecimal.
        quoted: String,
        /// What the log leads to.
        replayed: String,
    },
}

impl LogRefused {
    pub(super) fn misplaced(event: &Event<'_>, closed: bool) -> Self {
        Self::L3Misplaced { event: event.number(), pcr: event.pcr(), kind: event.kind(), closed }
    }

    /// The row that refused, such as `L3`.
    pub fn row(&self) -> &'static str {
        match self {
            Self::L1TooLong { .. }
            | Self::L1TooManyEvents { .. }
            | Self::L1Sha1Format
            | Self::L1NoBank { .. }
            | Self::L1NotOfPcrs { .. }
            | Self::L1Header { .. }
            | Self::L1Truncated { .. }
            | Self::L1Digests { .. }
            | Self::L1Pcr { .. } => "L1",
            Self::L2Locality { .. } => "L2",
            Self::L3Misplaced { .. }
            | Self::L3Digest { .. }
            | Self::L3Separator { .. }
            | Self::L3Disguised { .. }
            | Self::L3NoSeparator { .. } => "L3",
            Self::L4Missing { .. }
            | Self::L4Malformed { .. }
            | Self::L4Database { .. }
            | Self::L4Debug { .. }
            | Self::L4Inconsistent { .. } => "L4",
            Self::L5NoImage | Self::L5Exit { .. } | Self::L5AfterExit { .. } => "L5",
            Self::L6Section { .. } => "L6",
            Self::L7Bank { .. } | Self::L7NotQuoted { .. } | Self::L7Differs { .. } => "L7",
        }
    }

    /// True when the bytes are no crypto-agile log at all: there is nothing to judge.
    pub fn is_malformed(&self) -> bool {
        self.row() == "L1" && !matches!(self, Self::L1Sha1Format | Self::L1NoBank { .. })
    }
}

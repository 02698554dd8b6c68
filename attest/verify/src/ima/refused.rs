//! Why an IMA log was refused: row L8.

use crate::tpm::HashAlg;

/// A check of an IMA log that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImaRefused {
    /// Longer than any part of a log that is taken at one time.
    #[error(
        "L8: {actual} bytes are more than the {limit} that may be sent at one time: measure less (`ima_policy`), or restart the node"
    )]
    L8TooLong {
        /// The cap, bytes.
        limit: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// More entries than are taken at one time.
    #[error("L8: more than {limit} entries at one time: measure less (`ima_policy`), or restart the node")]
    L8TooManyEntries {
        /// The cap.
        limit: usize,
    },
    /// The log ends inside an entry.
    #[error("L8: the IMA log ends inside {field} of entry {entry}: read it again from the kernel")]
    L8Truncated {
        /// The entry, from 1.
        entry: u64,
        /// The field.
        field: &'static str,
    },
    /// An entry cannot be read.
    #[error("L8: entry {entry} of the IMA log {problem}: read it again from the kernel")]
    L8Malformed {
        /// The entry.
        entry: u64,
        /// What was wrong.
        problem: &'static str,
    },
    /// An entry of another PCR.
    #[error("L8: entry {entry} of the IMA log is of PCR {pcr}, not 10: measure into PCR 10 only")]
    L8Pcr {
        /// The entry.
        entry: u64,
        /// The PCR.
        pcr: u32,
    },
    /// A template whose fields are not known.
    #[error(
        "L8: entry {entry} of the IMA log follows the template {template:?}, which is not known: boot with ima_template=ima-ng or ima-sig"
    )]
    L8Template {
        /// The entry.
        entry: u64,
        /// Its name.
        template: String,
    },
    /// The hash beside an entry is not of it.
    #[error("L8: the hash of entry {entry} of the IMA log is not of its data: the log was changed")]
    L8Hash {
        /// The entry.
        entry: u64,
    },
    /// A file was measured while it could change.
    #[error(
        "L8: entry {entry} of the IMA log, {path}, is a violation: the file was written while it was read, so what ran is not known"
    )]
    L8Violation {
        /// The entry.
        entry: u64,
        /// The file.
        path: String,
    },
    /// The log does not begin with what the boot left in the PCRs.
    #[error(
        "L8: the IMA log does not begin with boot_aggregate: send the whole log, or what follows what the vault has"
    )]
    L8NoBootAggregate,
    /// The first entry is not of the PCRs that were quoted.
    #[error(
        "L8: boot_aggregate is {got}, and the quoted PCRs 0 to {last} make {expected}: the IMA log is of another boot"
    )]
    L8BootAggregate {
        /// The last PCR in it: 7 or 9.
        last: u8,
        /// What the PCRs make.
        expected: String,
        /// What the entry holds.
        got: String,
    },
    /// No prefix of the log leads to PCR 10.
    #[error(
        "L8: no part of the IMA log leads to {quoted} in PCR 10 ({bank}): the log is of another machine, was changed, or is older than the quote"
    )]
    L8NotCovered {
        /// The bank.
        bank: HashAlg,
        /// What PCR 10 holds, lower-case hexadecimal.
        quoted: String,
    },
}

impl ImaRefused {
    /// The row that refused.
    pub fn row(&self) -> &'static str {
        "L8"
    }

    /// True when the bytes are no IMA log: there is nothing to judge.
    pub fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::L8TooLong { .. }
                | Self::L8TooManyEntries { .. }
                | Self::L8Truncated { .. }
                | Self::L8Malformed { .. }
        )
    }
}

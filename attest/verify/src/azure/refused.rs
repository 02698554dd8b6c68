//! Why the evidence of an Azure machine was refused.

use crate::{Refused, snp::SnpRefused};

/// A check of Azure's evidence that did not hold: of its report, of its quote, or of the envelope that joins them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AzureRefused {
    /// A row of the report in the envelope.
    #[error(transparent)]
    Snp(#[from] SnpRefused),
    /// A row of the quote.
    #[error(transparent)]
    Quote(#[from] Refused),
    /// S12: larger than any envelope, or cut short.
    #[error("S12: the envelope has {actual} bytes, {limit}: read NV index 0x01400001 of the vTPM again, whole")]
    S12Length {
        /// What it may have, or must have at least.
        limit: String,
        /// Bytes that were given.
        actual: usize,
    },
    /// S12: a field of the envelope is not what it must be.
    #[error("S12: the envelope's {field} is {got}, expected is {expected}: read NV index 0x01400001 of the vTPM")]
    S12Envelope {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// S12: the report does not vouch for the runtime data.
    #[error(
        "S12: the report holds {got}, and SHA-256 of the runtime data with 32 zeros is {expected}: the runtime data are not those of this machine"
    )]
    S12RuntimeData {
        /// Hexadecimal.
        expected: String,
        /// Hexadecimal.
        got: String,
    },
    /// S12: the guest that vouches for the vTPM is no paravisor that is accepted.
    #[error(
        "S12: what vouches for the vTPM measures {measured}, which is none of the {accepted} paravisors that are accepted: if it is Azure's, put it into settings.snp.paravisors of the policy"
    )]
    S12Paravisor {
        /// Hexadecimal.
        measured: String,
        /// How many are.
        accepted: usize,
    },
    /// S12: the runtime data cannot be read.
    #[error("S12: the runtime data are not the JSON that they must be: {problem}")]
    S12Json {
        /// What is wrong.
        problem: String,
    },
    /// S12: there is no key that quotes.
    #[error("S12: the runtime data's key HCLAkPub {problem}: nothing says whose quote is this machine's")]
    S12Key {
        /// What is wrong.
        problem: &'static str,
    },
}

impl AzureRefused {
    /// The row that refused: `S12`, one of SEV-SNP, or one of the quote.
    pub fn row(&self) -> &'static str {
        match self {
            Self::Snp(refused) => refused.row(),
            Self::Quote(refused) => refused.row(),
            Self::S12Length { .. }
            | Self::S12Envelope { .. }
            | Self::S12RuntimeData { .. }
            | Self::S12Paravisor { .. }
            | Self::S12Json { .. }
            | Self::S12Key { .. } => "S12",
        }
    }

    /// True when a key of AMD's vouches for the AK, and the AK signed *this* request, so that the refusal is a denial
    /// of a machine. The quote is what is fresh: the report in the envelope was made when the machine was started.
    pub fn is_signed_for_this_request(&self) -> bool {
        match self {
            Self::Snp(refused) => refused.is_signed_for_this_request(),
            Self::Quote(refused) => refused.is_signed_for_this_request(),
            _ => false,
        }
    }
}

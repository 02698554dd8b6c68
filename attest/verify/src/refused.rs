//! Why evidence was refused: one variant or more for each row.

use crate::quote::BootCounters;
use crate::tpm::{HashAlg, ParseError, SigningScheme};
use crate::x509::instant;
use strongroom_protocol::NodeId;

/// A check that did not hold. The variant's name starts with the row; the message says what was
/// wrong and what to do. Nothing in it is secret, but the expected values in it are for authorised
/// people: a node is told [`Self::row`] only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// E1: the chain is empty, too long, or a certificate in it too large.
    #[error("E1: {problem}: send the EK certificate first, then its intermediates")]
    E1Chain {
        /// What was wrong.
        problem: String,
    },
    /// E1: not a certificate, or a field of it cannot be read.
    #[error(
        "E1: the EK certificate is malformed at {field}: read it again from the TPM's NV index, or from the vendor"
    )]
    E1Malformed {
        /// Where.
        field: &'static str,
    },
    /// E1: the certificate is not one for an endorsement key (EK Credential Profile 2.6, §3.2).
    #[error("E1: the EK certificate's {field} {problem}: give the certificate of the endorsement key itself")]
    E1Profile {
        /// The field.
        field: &'static str,
        /// What was wrong with it.
        problem: String,
    },
    /// E2: no path to a pinned root.
    #[error(
        "E2: no path from the EK certificate (issuer {issuer}) to a pinned root: {problem}; import the vendor's root, and send or import the intermediates"
    )]
    E2Path {
        /// The certificate's issuer.
        issuer: String,
        /// What the path builder says.
        problem: String,
    },
    /// E2: a certificate of the path is not valid at the given time.
    #[error(
        "E2: a certificate of the path {problem} (judged at {}): check the clock, or ask the vendor for a newer certificate",
        instant(*.at)
    )]
    E2Validity {
        /// Which bound was passed, RFC 3339.
        problem: String,
        /// The time of judgement, Unix seconds.
        at: u64,
    },
    /// E2: a certificate of the path is revoked.
    #[error(
        "E2: a certificate of the EK's path (issuer {issuer}) is revoked by its vendor: the TPM is not to be trusted"
    )]
    E2Revoked {
        /// The EK certificate's issuer.
        issuer: String,
    },
    /// E2: a CRL that was supplied cannot be used.
    #[error("E2: a CRL that was supplied cannot be used: {problem}; import a current one")]
    E2Crl {
        /// What was wrong.
        problem: String,
    },
    /// E3: the certificate is of another key.
    #[error(
        "E3: the EK's public area is not of the certificate's key: {problem}; read both from the same TPM and the same kind of key"
    )]
    E3KeyMismatch {
        /// What differs.
        problem: &'static str,
    },
    /// E3: the public area does not follow an EK template (EK Credential Profile 2.6, annex B).
    #[error(
        "E3: the EK's {field} is {got}, the profile's templates have {expected}: create the EK from a default template"
    )]
    E3Template {
        /// The field.
        field: &'static str,
        /// What the templates for this kind of key have.
        expected: String,
        /// What was given.
        got: String,
    },
    /// E4: the AK lacks attributes, or has some that it must not have.
    #[error(
        "E4: the AK's attributes lack [{missing}] and must not have [{forbidden}]: create a restricted signing key under the EK"
    )]
    E4Attributes {
        /// Attributes that it lacks.
        missing: String,
        /// Attributes that it must not have.
        forbidden: String,
    },
    /// E4: the AK's key, scheme or cipher is not acceptable.
    #[error(
        "E4: the AK's {field} {problem}: create it as ECDSA P-256 with SHA-256, or RSA of 2048 bits and more with RSASSA or RSAPSS"
    )]
    E4Key {
        /// The field.
        field: &'static str,
        /// What was wrong with it.
        problem: String,
    },
    /// E4: the AK uses SHA-1.
    #[error("E4: the AK's {field} is SHA-1: create an AK with SHA-256")]
    E4Sha1 {
        /// The field.
        field: &'static str,
    },
    /// E5: the credential could not be made.
    #[error("E5: no credential can be made for this EK: {problem}")]
    E5Credential {
        /// What was wrong.
        problem: &'static str,
    },
    /// E5: the secret is not the one in the credential.
    #[error(
        "E5: the activation secret is wrong: the TPM that was asked does not hold both EK and AK; start a new enrolment"
    )]
    E5Secret,
    /// E5: the secret came too late.
    #[error("E5: the activation secret expired at {} (now {}): start a new enrolment", instant(*.expired_at), instant(*.now))]
    E5Expired {
        /// Unix seconds.
        expired_at: u64,
        /// Unix seconds.
        now: u64,
    },
    /// E6: another EK than the one that the node was enrolled with.
    #[error("E6: the EK is of node {presented}, not of {enrolled}: a node's EK never changes; enrol the machine anew")]
    E6OtherEk {
        /// The node in the record.
        enrolled: NodeId,
        /// The node that the presented EK is.
        presented: NodeId,
    },
    /// E6: another AK than the one that was activated.
    #[error("E6: the AK is {presented}, not {enrolled}: another AK needs activation and approval again")]
    E6OtherAk {
        /// Name in the record, hexadecimal.
        enrolled: String,
        /// Name of the presented AK, hexadecimal.
        presented: String,
    },
    /// Q1: the signature is not a `TPMT_SIGNATURE` that can be read.
    #[error("Q1: the signature cannot be read: {0}")]
    Q1Malformed(ParseError),
    /// Q1: the signature is of another scheme than the AK's.
    #[error("Q1: the signature is {got}, the AK signs {expected}: quote with the AK that was enrolled")]
    Q1Scheme {
        /// The scheme that the AK is fixed to.
        expected: String,
        /// The scheme of the signature.
        got: SigningScheme,
    },
    /// Q1: SHA-1.
    #[error("Q1: the quote is signed with SHA-1: enrol an AK with SHA-256")]
    Q1Sha1,
    /// Q1: the signature does not verify.
    #[error("Q1: the AK's signature over the quote does not verify: send the quote's bytes as the TPM gave them")]
    Q1Signature,
    /// Q2: not a quote, or not only a quote.
    #[error("Q2: the signed structure is not a quote: {0}")]
    Q2Structure(ParseError),
    /// Q3: the quote binds something else.
    #[error("Q3: extraData is {got}, not {expected}: the quote is of another request; collect it for this statement")]
    Q3ExtraData {
        /// Hexadecimal.
        expected: String,
        /// Hexadecimal.
        got: String,
    },
    /// Q4: the signer is not the enrolled AK in the endorsement hierarchy.
    #[error(
        "Q4: qualifiedSigner is {got}, an AK under this EK in the endorsement hierarchy is {expected}: create the AK under the EK"
    )]
    Q4Signer {
        /// Hexadecimal.
        expected: String,
        /// Hexadecimal.
        got: String,
    },
    /// Q4: the EK name in the record is not a name.
    #[error("Q4: the recorded EK name {ek_name} is not a TPM name: the node's record is damaged")]
    Q4Record {
        /// Hexadecimal.
        ek_name: String,
    },
    /// Q5: the machine was rebooted or resumed under its lease.
    #[error("Q5: rebooted: the lease began at {expected}, the TPM is now at {got}: ask for a new lease")]
    Q5Rebooted {
        /// Counters at the lease's start.
        expected: BootCounters,
        /// Counters in the quote.
        got: BootCounters,
    },
    /// Q6: policy's selection is not a selection.
    #[error(
        "Q6: the expected selection of PCRs is not ascending, without repetition and below 24: correct the configuration"
    )]
    Q6Expectation,
    /// Q6: the quote selects something else.
    #[error(
        "Q6: the quote selects [{got}], exactly [{expected}] is wanted: quote one bank with these PCRs, in a bitmap of three bytes"
    )]
    Q6Selection {
        /// Bank and PCRs that are wanted.
        expected: String,
        /// Banks and PCRs that were quoted.
        got: String,
    },
    /// Q6: the values beside the quote are of another bank.
    #[error(
        "Q6: the values beside the quote are of bank {got}, quoted is {expected}: send the values of the quoted bank"
    )]
    Q6Bank {
        /// The quoted bank.
        expected: HashAlg,
        /// The bank of the values.
        got: HashAlg,
    },
    /// Q6: values are missing, or there are some that were not quoted.
    #[error(
        "Q6: values of PCRs {missing:?} are missing and those of {extra:?} were not quoted: send exactly the quoted PCRs"
    )]
    Q6Values {
        /// Quoted, and no value given.
        missing: Vec<u8>,
        /// A value given, and not quoted.
        extra: Vec<u8>,
    },
    /// Q6: a value does not have the bank's length.
    #[error("Q6: the value of PCR {pcr} has {actual} bytes, the bank's have {expected}")]
    Q6Length {
        /// The PCR.
        pcr: u8,
        /// Bytes of the bank's digests.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// Q7: the values are not those that were quoted.
    #[error(
        "Q7: the digest of the values is {got}, the TPM signed {expected}: the values are not those that were quoted; read them again around the quote"
    )]
    Q7Digest {
        /// What the TPM signed, hexadecimal.
        expected: String,
        /// What the values give, hexadecimal.
        got: String,
    },
    /// Q8: firmware did not measure.
    #[error(
        "Q8: PCR {pcr} is all {byte:#04x}: firmware did not measure the boot; enable the TPM and measured boot in firmware"
    )]
    Q8NotMeasured {
        /// The PCR.
        pcr: u8,
        /// 0x00 or 0xff.
        byte: u8,
    },
    /// Q8: the selection leaves out what would show that firmware measured.
    #[error(
        "Q8: the selection leaves out PCR {pcr}, so nothing shows that firmware measured the boot: select PCRs 0 and 4"
    )]
    Q8NotSelected {
        /// The PCR.
        pcr: u8,
    },
}

impl Refused {
    /// The row that refused, such as `Q3`.
    pub fn row(&self) -> &'static str {
        match self {
            Self::E1Chain { .. } | Self::E1Malformed { .. } | Self::E1Profile { .. } => "E1",
            Self::E2Path { .. } | Self::E2Validity { .. } | Self::E2Revoked { .. } | Self::E2Crl { .. } => "E2",
            Self::E3KeyMismatch { .. } | Self::E3Template { .. } => "E3",
            Self::E4Attributes { .. } | Self::E4Key { .. } | Self::E4Sha1 { .. } => "E4",
            Self::E5Credential { .. } | Self::E5Secret | Self::E5Expired { .. } => "E5",
            Self::E6OtherEk { .. } | Self::E6OtherAk { .. } => "E6",
            Self::Q1Malformed(_) | Self::Q1Scheme { .. } | Self::Q1Sha1 | Self::Q1Signature => "Q1",
            Self::Q2Structure(_) => "Q2",
            Self::Q3ExtraData { .. } => "Q3",
            Self::Q4Signer { .. } | Self::Q4Record { .. } => "Q4",
            Self::Q5Rebooted { .. } => "Q5",
            Self::Q6Expectation
            | Self::Q6Selection { .. }
            | Self::Q6Bank { .. }
            | Self::Q6Values { .. }
            | Self::Q6Length { .. } => "Q6",
            Self::Q7Digest { .. } => "Q7",
            Self::Q8NotMeasured { .. } | Self::Q8NotSelected { .. } => "Q8",
        }
    }

    /// True when the enrolled AK has signed *this* request, so that the refusal is a denial of an
    /// enrolled node and belongs into the ledger. False for everything that anybody can send: a
    /// forged quote, or a genuine one of another request.
    pub fn is_signed_for_this_request(&self) -> bool {
        matches!(self.row(), "Q4" | "Q5" | "Q6" | "Q7" | "Q8")
    }
}

//! Why a report was refused: one variant or more for each row.

use crate::x509::{X509Problem, instant};
use strongroom_protocol::claims::{SnpProduct, SnpSigningKey};

/// A check of SEV-SNP evidence that did not hold. The variant's name starts with the row; the message says what was
/// wrong and what to do. The expected values in it are for authorised people: a node is told [`Self::row`] only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnpRefused {
    /// S1: not of a report's length.
    #[error(
        "S1: the report has {actual} bytes, not {expected}: send it as the firmware gave it, without what is around"
    )]
    S1Length {
        /// Bytes of a report.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// S1: a version that is not judged, or not here.
    #[error(
        "S1: the report is of version {got}, accepted are 3 to 5 (2 only inside the envelope of Azure): update the host's SEV-SNP firmware"
    )]
    S1Version {
        /// The report's.
        got: u32,
    },
    /// S1: a reserved byte is not zero.
    #[error(
        "S1: the reserved byte at {at:#05x} is {got:#04x}: the report is damaged, or of a format that is not known"
    )]
    S1Reserved {
        /// Its offset.
        at: usize,
        /// Its value.
        got: u8,
    },
    /// S1: bits that are not known are set.
    #[error("S1: {field} has the unknown bits {unknown:#x}: what they allow is not known; update the verifier")]
    S1Bits {
        /// The field.
        field: &'static str,
        /// The bits.
        unknown: u64,
    },
    /// S1: the policy's bit 17, which is always one, is not.
    #[error("S1: bit 17 of POLICY is zero, and must be one: the report is damaged")]
    S1PolicyOne,
    /// S1: another signature algorithm.
    #[error("S1: SIGNATURE_ALGO is {got}, not 1 (ECDSA P-384 with SHA-384): update the verifier")]
    S1Algorithm {
        /// The report's.
        got: u32,
    },
    /// S1: a kind of signing key that is reserved.
    #[error("S1: SIGNING_KEY is {got}, which is reserved: update the verifier")]
    S1SigningKey {
        /// The report's.
        got: u32,
    },
    /// S2: a processor that is not known.
    #[error("S2: the processor is of family {family:#x}, model {model:#x}: known are Milan, Genoa and Turin")]
    S2Unknown {
        /// Family.
        family: u8,
        /// Model.
        model: u8,
    },
    /// S2: policy refuses the product line.
    #[error("S2: policy refuses {product} processors: run the job on another product line")]
    S2Refused {
        /// The product.
        product: SnpProduct,
    },
    /// S3: nothing signed the report.
    #[error("S3: firmware did not sign the report ({why}): let the host's firmware use the chip's key")]
    S3Unsigned {
        /// Which field says so.
        why: &'static str,
    },
    /// S3: the certificate is of another kind of key than the report says.
    #[error(
        "S3: the report says that a {report} signed it, and a {certificate} was sent: send the {report}'s certificate"
    )]
    S3Kind {
        /// By the report.
        report: SnpSigningKey,
        /// By the certificate.
        certificate: SnpSigningKey,
    },
    /// S3: a certificate does not hold.
    #[error("S3: the {link} does not hold: {problem}; get AMD's certificates for this chip and its reported TCB")]
    S3Certificate {
        /// Which of the chain.
        link: &'static str,
        /// What is wrong.
        problem: X509Problem,
    },
    /// S3: a certificate is named as none of AMD's is.
    #[error("S3: the {link}'s {field} is {got:?}, expected is {expected:?}: get AMD's certificates for this product")]
    S3Name {
        /// Which of the chain.
        link: &'static str,
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// S3: the signing key is not on P-384.
    #[error("S3: the {0}'s key is not on P-384: get AMD's certificate for this chip and its reported TCB")]
    S3Curve(SnpSigningKey),
    /// S3: no root of the product is trusted.
    #[error("S3: no root of {product} is pinned: add its ARK to the pins, by four eyes")]
    S3NoRoot {
        /// The product.
        product: SnpProduct,
    },
    /// S3: a chain that was verified before is used outside its time.
    #[error(
        "S3: the chain holds from {} to {} (judged at {}): get newer certificates, or a newer CRL",
        instant(*.from), instant(*.until), instant(*.at)
    )]
    S3Time {
        /// Unix seconds.
        from: i64,
        /// Unix seconds.
        until: i64,
        /// Unix seconds.
        at: u64,
    },
    /// S3: policy does not let VLEKs count.
    #[error(
        "S3: a VLEK signed the report, and policy accepts VCEKs only: use a VCEK, or allow them by settings.snp.allow_vlek"
    )]
    S3Vlek,
    /// S4: a list cannot be used.
    #[error("S4: the CRL of {issuer} does not hold: {problem}; import a current one")]
    S4Crl {
        /// Whose.
        issuer: String,
        /// What is wrong.
        problem: X509Problem,
    },
    /// S4: revoked.
    #[error("S4: AMD has revoked {subject}: no report under it is to be trusted")]
    S4Revoked {
        /// The certificate's subject.
        subject: String,
    },
    /// S4: no list was given.
    #[error("S4: there is no CRL of {product}'s ARK: import {file} into the endorsement store")]
    S4Missing {
        /// The product.
        product: SnpProduct,
        /// Where the store should have it.
        file: String,
    },
    /// S5: an extension is missing, not allowed, or unreadable.
    #[error("S5: extension {name} of the {key}'s certificate {problem}: get AMD's certificate for this chip")]
    S5Extension {
        /// The kind of key.
        key: SnpSigningKey,
        /// The extension.
        name: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// S5: the certificate is for another TCB than the report says.
    #[error(
        "S5: the certificate is for {certificate}, the report is of {report}: get the certificate for the reported TCB"
    )]
    S5Tcb {
        /// By the certificate.
        certificate: String,
        /// By the report.
        report: String,
    },
    /// S5: the certificate is of another chip than the report.
    #[error("S5: the certificate is of chip {certificate}, the report of {report}: get the certificate of this chip")]
    S5ChipId {
        /// By the certificate, hexadecimal.
        certificate: String,
        /// By the report, hexadecimal.
        report: String,
    },
    /// S5: a VCEK names its chip, and the report does not.
    #[error("S5: the report's chip id is masked, and a VCEK signed it: nothing shows whose; unmask the id on the host")]
    S5Masked,
    /// S6: reserved bytes of a TCB are not zero.
    #[error("S6: the {which} TCB {got} has reserved bytes that are not zero on {product}")]
    S6Reserved {
        /// Which.
        which: &'static str,
        /// By whose layout.
        product: SnpProduct,
        /// Hexadecimal.
        got: String,
    },
    /// S6: a TCB is above one that it cannot be above.
    #[error(
        "S6: {part} of the {low} TCB is {low_value}, above the {high} TCB's {high_value}: firmware never says that"
    )]
    S6Order {
        /// The part.
        part: &'static str,
        /// The one that should be lower.
        low: &'static str,
        /// Its value.
        low_value: u8,
        /// The one that should be higher.
        high: &'static str,
        /// Its value.
        high_value: u8,
    },
    /// S6: below policy's minimum.
    #[error("S6: {part} of the {which} TCB is {got} on {product}, at least {expected} is wanted: update the host and {action}", action = action(which))]
    S6Minimum {
        /// Which TCB.
        which: &'static str,
        /// The product.
        product: SnpProduct,
        /// The part.
        part: &'static str,
        /// The minimum.
        expected: u8,
        /// The report's.
        got: u8,
    },
    /// S6: policy has minima, and none for this product.
    #[error("S6: policy has minimum TCBs, and none for {product}: add one, or refuse the product by name")]
    S6NoMinimum {
        /// The product.
        product: SnpProduct,
    },
    /// S6: a mitigation is not in force.
    #[error("S6: bit {bit} of the {which} mitigation vector is not set: update the host, and launch the guest anew")]
    S6Mitigation {
        /// `launch` or `current`.
        which: &'static str,
        /// The bit.
        bit: u8,
    },
    /// S6: the report has no mitigation vectors.
    #[error(
        "S6: policy asks for mitigations, and a report of version {version} names none: update the host's firmware"
    )]
    S6NoMitigations {
        /// The report's version.
        version: u32,
    },
    /// S7: debugging is allowed.
    #[error(
        "S7: the guest's policy allows debugging, so the host can read its memory: launch it without policy bit 19"
    )]
    S7Debug,
    /// S7: a migration agent is allowed, or there is one.
    #[error("S7: {what}: launch the guest without policy bit 18, and without a migration agent")]
    S7Migration {
        /// What shows it.
        what: &'static str,
    },
    /// S7: a requirement of policy is not met.
    #[error("S7: {requirement} does not hold: {action}")]
    S7Setup {
        /// The requirement.
        requirement: &'static str,
        /// What to do.
        action: &'static str,
    },
    /// S8: another privilege level asked.
    #[error("S8: the report was asked for at VMPL {got}, policy wants {expected}: collect it at that level")]
    S8Vmpl {
        /// Policy's.
        expected: u32,
        /// The report's.
        got: u32,
    },
    /// S9: the report binds something else.
    #[error(
        "S9: report_data is {got}, not {expected}: the report is of another request; collect it for this statement"
    )]
    S9ReportData {
        /// Hexadecimal.
        expected: String,
        /// Hexadecimal.
        got: String,
    },
    /// S9: what the report must bind was not given.
    #[error("S9: what the report must bind was not given: a report that binds nothing is of any request")]
    S9NotGiven,
    /// S11: the signature's bytes are not laid out as they must be.
    #[error("S11: {field} of the signature is not zero where it must be: the report is damaged")]
    S11Encoding {
        /// Where.
        field: &'static str,
    },
    /// S11: the signature does not verify.
    #[error("S11: the {0}'s signature over the report does not verify: send the report as the firmware gave it")]
    S11Signature(SnpSigningKey),
    /// S13: a certificate that was neither sent nor is in the store.
    #[error("S13: the {what} was not sent and is not in the endorsement store: import {file}")]
    S13Missing {
        /// Which.
        what: &'static str,
        /// Where the store should have it.
        file: String,
    },
}

fn action(which: &str) -> &'static str {
    match which {
        "reported" => "raise the reported TCB",
        "committed" => "commit its firmware",
        _ => "launch the guest anew",
    }
}

impl SnpRefused {
    /// The row that refused, such as `S3`.
    pub fn row(&self) -> &'static str {
        match self {
            Self::S1Length { .. }
            | Self::S1Version { .. }
            | Self::S1Reserved { .. }
            | Self::S1Bits { .. }
            | Self::S1PolicyOne
            | Self::S1Algorithm { .. }
            | Self::S1SigningKey { .. } => "S1",
            Self::S2Unknown { .. } | Self::S2Refused { .. } => "S2",
            Self::S3Unsigned { .. }
            | Self::S3Kind { .. }
            | Self::S3Certificate { .. }
            | Self::S3Name { .. }
            | Self::S3Curve(_)
            | Self::S3NoRoot { .. }
            | Self::S3Time { .. }
            | Self::S3Vlek => "S3",
            Self::S4Crl { .. } | Self::S4Revoked { .. } | Self::S4Missing { .. } => "S4",
            Self::S5Extension { .. } | Self::S5Tcb { .. } | Self::S5ChipId { .. } | Self::S5Masked => "S5",
            Self::S6Reserved { .. }
            | Self::S6Order { .. }
            | Self::S6Minimum { .. }
            | Self::S6NoMinimum { .. }
            | Self::S6Mitigation { .. }
            | Self::S6NoMitigations { .. } => "S6",
            Self::S7Debug | Self::S7Migration { .. } | Self::S7Setup { .. } => "S7",
            Self::S8Vmpl { .. } => "S8",
            Self::S9ReportData { .. } | Self::S9NotGiven => "S9",
            Self::S11Encoding { .. } | Self::S11Signature(_) => "S11",
            Self::S13Missing { .. } => "S13",
        }
    }

    /// True when a key of AMD's has signed *this* request, so that the refusal is a denial of a machine and belongs
    /// into the ledger. False for everything that anybody can send.
    pub fn is_signed_for_this_request(&self) -> bool {
        matches!(self, Self::S2Refused { .. } | Self::S3Vlek) || matches!(self.row(), "S6" | "S7" | "S8")
    }
}

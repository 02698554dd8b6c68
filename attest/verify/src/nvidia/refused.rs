//! Why a report of a GPU, or a manifest, was refused: one variant or more for each row.

use super::rim::RimKind;
use strongroom_protocol::claims::GpuMode;

/// A check that did not hold. The variant's name starts with the row; the message says what was wrong and what to do.
/// The expected values in it are for authorised people: a node is told [`Self::row`] only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuRefused {
    /// G1: more bytes than any report has.
    #[error(
        "G1: a report of {actual} bytes is larger than {limit}: send request and response of one GPU, and nothing else"
    )]
    G1TooLong {
        /// The cap, bytes.
        limit: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// G1: the report ends early.
    #[error("G1: the report ends inside {field}: collect it again")]
    G1Truncated {
        /// Where.
        field: &'static str,
    },
    /// G1: something follows the signature.
    #[error("G1: {extra} bytes follow the report's signature: send request and response of one GPU, and nothing else")]
    G1Trailing {
        /// Bytes that follow.
        extra: usize,
    },
    /// G1: a header is not that of the one request and response that are accepted.
    #[error("G1: {field} is {got}, expected {expected}: ask for all measurements, signed, by SPDM 1.1")]
    G1Frame {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// G1: the report is of another request.
    #[error("G1: the report binds {got}, this request wants {expected}: collect a report for this request")]
    G1Nonce {
        /// The binding of this request, lower-case hexadecimal.
        expected: String,
        /// The report's nonce, lower-case hexadecimal.
        got: String,
    },
    /// G1: the caller did not say what the report must bind.
    #[error(
        "G1: what this request binds was not given: a report without that shows a GPU at some time, and nothing of this request"
    )]
    G1NoNonce,
    /// G1: a measurement block is not as it should be.
    #[error("G1: measurement block {block} {problem}: the GPU's firmware or driver is not one that is understood here")]
    G1Measurement {
        /// Its index, from 1.
        block: u8,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// G1: the record has more than its blocks.
    #[error("G1: {extra} bytes of the measurement record are in no block: collect the report again")]
    G1Record {
        /// Bytes that are left.
        extra: usize,
    },
    /// G1: nothing was measured.
    #[error("G1: the report has no measurement: ask for all of them")]
    G1NoMeasurements,
    /// G1: an opaque field is not as it should be.
    #[error("G1: opaque field {kind} {problem}: the driver is not one that is understood here")]
    G1Opaque {
        /// Its type.
        kind: u16,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// G2: what was sent is no chain of a device.
    #[error(
        "G2: the device's certificate chain cannot be used: {problem}; send the five certificates that the driver gives"
    )]
    G2Chain {
        /// What is wrong.
        problem: String,
    },
    /// G2: the chain does not end at a pinned root.
    #[error(
        "G2: the device's chain ends at a certificate (SHA-256 {got}) that is not pinned as NVIDIA's device root: the GPU is not one of NVIDIA's, or its root must be pinned first"
    )]
    G2Root {
        /// SHA-256 of its end, lower-case hexadecimal.
        got: String,
    },
    /// G2: a certificate is not valid at the time of judgement.
    #[error("G2: not every certificate of the device's chain is in its time: {problem}; check the clock")]
    G2Validity {
        /// Which bound was passed, and the time of judgement, Unix seconds.
        problem: String,
    },
    /// G2: no path.
    #[error("G2: the device's chain does not hold: {problem}; the GPU is not one of NVIDIA's")]
    G2Path {
        /// What is wrong.
        problem: String,
    },
    /// G2: the signature is not by the chain's key.
    #[error(
        "G2: the report is not signed by the key of its certificate: it was changed, or the chain is of another GPU"
    )]
    G2Signature,
    /// G2: the certificate does not say which firmware holds the key.
    #[error(
        "G2: the reporting key's certificate has no readable firmware id (2.23.133.5.4.1): the chain is not one of a GPU's"
    )]
    G2NoFwid,
    /// G2: the certificate is of other firmware.
    #[error(
        "G2: the certificate is of firmware {expected}, the report of {got}: collect both again after the firmware was changed"
    )]
    G2Fwid {
        /// The certificate's, lower-case hexadecimal.
        expected: String,
        /// The report's, lower-case hexadecimal.
        got: String,
    },
    /// G2: the certificate's device is not its issuer.
    #[error(
        "G2: the reporting key's certificate names another device key than its issuer's: the chain is put together of several"
    )]
    G2Device,
    /// G3: more than any manifest has.
    #[error("G3: {rim} manifest: {problem}: it is not one of NVIDIA's")]
    G3Bounds {
        /// Which.
        rim: RimKind,
        /// What is too much.
        problem: String,
    },
    /// G3: not a manifest.
    #[error("G3: {rim} manifest: {problem}: get it again from NVIDIA's service")]
    G3Malformed {
        /// Which.
        rim: RimKind,
        /// What is wrong.
        problem: String,
    },
    /// G3: the signature is of another shape than the one that is accepted.
    #[error(
        "G3: {rim} manifest: its signature {problem}: only one over the whole document, as NVIDIA makes it, is accepted"
    )]
    G3Shape {
        /// Which.
        rim: RimKind,
        /// What is wrong.
        problem: String,
    },
    /// G3: the signer's chain cannot be used, or does not hold.
    #[error("G3: {rim} manifest: the signer's certificate chain does not hold: {problem}")]
    G3Chain {
        /// Which.
        rim: RimKind,
        /// What is wrong.
        problem: String,
    },
    /// G3: the signer's chain does not end at a pinned root.
    #[error(
        "G3: {rim} manifest: the signer's chain ends at a certificate (SHA-256 {got}) that is not pinned as NVIDIA's root of manifests"
    )]
    G3Root {
        /// Which.
        rim: RimKind,
        /// SHA-256 of its end, lower-case hexadecimal.
        got: String,
    },
    /// G3: a certificate of the signer is not valid at the time of judgement.
    #[error(
        "G3: {rim} manifest: not every certificate of its signer is in its time: {problem}; get the manifest again from NVIDIA's service"
    )]
    G3Validity {
        /// Which.
        rim: RimKind,
        /// Which bound was passed, and the time of judgement, Unix seconds.
        problem: String,
    },
    /// G3: the signature is not by the signer.
    #[error("G3: {rim} manifest: its signature is not by the key of its signer: it was changed")]
    G3Signature {
        /// Which.
        rim: RimKind,
    },
    /// G3: the signature is of another document.
    #[error("G3: {rim} manifest: what is signed has the digest {expected}, the document has {got}: it was changed")]
    G3Digest {
        /// Which.
        rim: RimKind,
        /// What the signature says, lower-case hexadecimal.
        expected: String,
        /// What the document has, lower-case hexadecimal.
        got: String,
    },
    /// G3: a golden value cannot be used.
    #[error("G3: {rim} manifest: the golden value of index {index} {problem}: it is not one of NVIDIA's")]
    G3Golden {
        /// Which.
        rim: RimKind,
        /// As the manifest writes it.
        index: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// G3: there is no manifest to compare with.
    #[error("G3: the {rim} manifest {id} was not given: import it")]
    G3Missing {
        /// Which.
        rim: RimKind,
        /// The id under which NVIDIA publishes it.
        id: String,
    },
    /// G3: a manifest of another version, board or chip.
    #[error("G3: the {rim} manifest is {got}, the report wants {expected}: import the one of the installed version")]
    G3Id {
        /// Which.
        rim: RimKind,
        /// The id that follows from the report.
        expected: String,
        /// The id of the manifest.
        got: String,
    },
    /// G3: a manifest that says another version than its id.
    #[error("G3: {rim} manifest {id}: it is of version {got}: it was stored under a false id")]
    G3Version {
        /// Which.
        rim: RimKind,
        /// Its id.
        id: String,
        /// The version in it.
        got: String,
    },
    /// G3: both manifests have a golden value for one index.
    #[error("G3: both manifests have an active golden value for index {index}: they do not belong together")]
    G3Conflict {
        /// The index, from 0.
        index: u8,
    },
    /// G3: a manifest compares nothing.
    #[error("G3: the {rim} manifest has no active golden value: it says nothing of the GPU")]
    G3Empty {
        /// Which.
        rim: RimKind,
    },
    /// G3: a measurement is not the golden one.
    #[error("G3: measurement {index} is {got}, the {rim} manifest wants {}: firmware or driver are not NVIDIA's, or the GPU is in DEVTOOLS mode", .expected.join(" or "))]
    G3Measurement {
        /// The manifest.
        rim: RimKind,
        /// The index, from 0.
        index: u8,
        /// The golden values, lower-case hexadecimal.
        expected: Vec<String>,
        /// The measurement, lower-case hexadecimal; empty where it is missing.
        got: String,
    },
    /// G4: a device of another machine.
    #[error("G4: the GPU {device} is not in the node's approved record: register it, or find out how it came there")]
    G4Unknown {
        /// Its id.
        device: String,
    },
    /// G4: a device is counted twice.
    #[error("G4: the GPU {device} reported twice: each GPU of the node must report once")]
    G4Twice {
        /// Its id.
        device: String,
    },
    /// G4: devices are missing.
    #[error("G4: {} of the {expected} GPUs in the node's record did not report: {}", .missing.len(), .missing.join(", "))]
    G4Missing {
        /// Their ids.
        missing: Vec<String>,
        /// How many the record has.
        expected: usize,
    },
    /// G4: there is nothing to count.
    #[error("G4: neither the node's record nor the request has a GPU: register the node's GPUs")]
    G4None,
    /// G4: reports of several requests.
    #[error("G4: the report of GPU {device} binds something else than the others: collect all reports for one request")]
    G4Nonce {
        /// Its id.
        device: String,
    },
    /// G5: a mode that is not accepted.
    #[error("G5: the GPU is in mode {got}, accepted are {}: change the mode, or the policy", .accepted.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(", "))]
    G5Mode {
        /// The accepted ones.
        accepted: Vec<GpuMode>,
        /// The GPU's.
        got: GpuMode,
    },
    /// G5: the measured guest says that confidential mode is off.
    #[error("G5: the guest says that the GPU's confidential mode is off: switch it on and reset the GPU")]
    G5Off,
    /// G5: the measured guest says that the GPU can be debugged.
    #[error("G5: the guest says that the GPU is in DEVTOOLS mode: switch it off and reset the GPU")]
    G5Devtools,
    /// G5: something that was asked for is not known.
    #[error("G5: {what}: {remedy}")]
    G5Unknown {
        /// What is not known.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// G5: a manifest that is not pinned.
    #[error("G5: the {rim} manifest {id} is not among the pinned ones: approve it, or change to a version that is")]
    G5ManifestId {
        /// Which.
        rim: RimKind,
        /// Its id.
        id: String,
    },
    /// G5: a certificate is revoked.
    #[error("G5: the certificate {serial} of {of} is revoked: it is not to be trusted any more")]
    G5Revoked {
        /// Of the device, or of a manifest's signer.
        of: &'static str,
        /// Its serial number, lower-case hexadecimal.
        serial: String,
    },
    /// G5: a revocation list or answer cannot be used.
    #[error("G5: a revocation list or answer for {of} cannot be used: {problem}; import a newer one")]
    G5Revocation {
        /// Of the device, or of a manifest's signer.
        of: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl GpuRefused {
    /// The row that refused, such as `G3`.
    pub fn row(&self) -> &'static str {
        match self {
            Self::G1TooLong { .. }
            | Self::G1Truncated { .. }
            | Self::G1Trailing { .. }
            | Self::G1Frame { .. }
            | Self::G1Nonce { .. }
            | Self::G1NoNonce
            | Self::G1Measurement { .. }
            | Self::G1Record { .. }
            | Self::G1NoMeasurements
            | Self::G1Opaque { .. } => "G1",
            Self::G2Chain { .. }
            | Self::G2Root { .. }
            | Self::G2Validity { .. }
            | Self::G2Path { .. }
            | Self::G2Signature
            | Self::G2NoFwid
            | Self::G2Fwid { .. }
            | Self::G2Device => "G2",
            Self::G3Bounds { .. }
            | Self::G3Malformed { .. }
            | Self::G3Shape { .. }
            | Self::G3Chain { .. }
            | Self::G3Root { .. }
            | Self::G3Validity { .. }
            | Self::G3Signature { .. }
            | Self::G3Digest { .. }
            | Self::G3Golden { .. }
            | Self::G3Missing { .. }
            | Self::G3Id { .. }
            | Self::G3Version { .. }
            | Self::G3Conflict { .. }
            | Self::G3Empty { .. }
            | Self::G3Measurement { .. } => "G3",
            Self::G4Unknown { .. }
            | Self::G4Twice { .. }
            | Self::G4Missing { .. }
            | Self::G4None
            | Self::G4Nonce { .. } => "G4",
            Self::G5Mode { .. }
            | Self::G5Off
            | Self::G5Devtools
            | Self::G5Unknown { .. }
            | Self::G5ManifestId { .. }
            | Self::G5Revoked { .. }
            | Self::G5Revocation { .. } => "G5",
        }
    }

    /// True when a key of a genuine GPU has signed *this* request, so that the refusal is a denial and belongs into
    /// the ledger where the GPU is enrolled. False for everything that anybody can send: forged or cut reports,
    /// chains that do not hold, genuine reports of another request, manifests that cannot be used.
    pub fn is_signed_for_this_request(&self) -> bool {
        match self {
            Self::G1Measurement { .. }
            | Self::G1Record { .. }
            | Self::G1NoMeasurements
            | Self::G1Opaque { .. }
            | Self::G2NoFwid
            | Self::G2Fwid { .. }
            | Self::G2Device
            | Self::G3Missing { .. }
            | Self::G3Id { .. }
            | Self::G3Validity { .. }
            | Self::G3Conflict { .. }
            | Self::G3Empty { .. }
            | Self::G3Measurement { .. } => true,
            _ => matches!(self.row(), "G4" | "G5"),
        }
    }

    /// True where such a refusal tells of the GPU. False where manifests or what is known of revocation are missing,
    /// past or of no use: whoever imports endorsements mends that, and the GPU is what it was.
    pub fn tells_of_the_device(&self) -> bool {
        let of_endorsements = matches!(
            self,
            Self::G3Missing { .. }
                | Self::G3Validity { .. }
                | Self::G3Conflict { .. }
                | Self::G3Empty { .. }
                | Self::G5Unknown { .. }
                | Self::G5Revocation { .. }
        );
        self.is_signed_for_this_request() && !of_endorsements
    }
}

//! Reports of AMD SEV-SNP: rows S1 to S9, S11 and S13, and the launch measurement ahead of time (S10).
//!
//! ```text
//! report ──AttestationReport::parse (S1, S2)──> AttestationReport
//! sent, stored, built in ──Candidates::gather──Chain::find (S13)──verify (S3, S4)──> VerifiedChain   (kept by cache_key)
//! both + SnpExpectation ──verify_with (S5, S11, S9, then S2, S3, S6, S7, S8 by policy)──> SnpClaims
//! ```
//!
//! [`verify`] does all of it. The received bytes are what is verified; nothing is encoded anew. The signature comes
//! before any judgement by policy, so that a refusal by policy is a denial of a machine that AMD's key vouches for
//! (see [`SnpRefused::is_signed_for_this_request`]). Whether the machine is the one in a node's record is row E7, of
//! [`crate::composite`], by [`SnpClaims::identity`].

mod bits;
mod chain;
mod endorsement;
mod examine;
pub mod launch;
mod refused;
mod report;
mod requirements;
mod roots;
mod store;
mod table;
mod tcb;

pub use bits::{GuestPolicy, KeyInfo, PlatformInfo};
pub use chain::{Candidates, Chain, VerifiedChain, cache_key};
pub(crate) use examine::examine_at;
pub use examine::{ExaminedSnp, examine};
pub use refused::SnpRefused;
pub use report::{AttestationReport, Cpu, FirmwareVersion, MitigationVectors, SIGNED};
pub use requirements::{MinimumTcb, MinimumTcbs, SnpRequirements};
pub use roots::SnpRoots;
pub use store::{SnpStore, crl_file, files, intermediate_file, leaf_file};
pub use tcb::RawTcb;

use crate::{
    quote::hex,
    x509::{P384_POINT, verify_p384},
};
use strongroom_protocol::{
    bytes::Bytes,
    claims::{SnpClaims, SnpFirmware, SnpMitigations, SnpProduct, SnpSigningKey, SnpTcbs},
    evidence::SevSnpEvidence,
};
use tcb::above;

/// A report as it was received.
#[derive(Debug, Clone, Copy)]
pub struct SnpEvidence<'a> {
    /// `ATTESTATION_REPORT`.
    pub report: &'a [u8],
    /// VCEK or VLEK and what is above it (DER or PEM), in any order.
    pub certificates: &'a [Bytes],
    /// The host's certificate table.
    pub aux: Option<&'a [u8]>,
}

impl<'a> From<&'a SevSnpEvidence> for SnpEvidence<'a> {
    fn from(evidence: &'a SevSnpEvidence) -> Self {
        Self {
            report: evidence.report.as_slice(),
            certificates: &evidence.certificates,
            aux: evidence.aux.as_ref().map(Bytes::as_slice),
        }
    }
}

/// What a report must be.
#[derive(Debug, Clone, Copy)]
pub struct SnpExpectation<'a> {
    /// What the request binds (`strongroom_protocol::binding::report_data`). [`verify`] refuses where it is `None`;
    /// [`examine`] does not check row S9 then.
    pub report_data: Option<[u8; 64]>,
    /// What policy asks for.
    pub requirements: &'a SnpRequirements,
}

/// Where a report was found: that decides which versions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// By itself.
    Bare,
    /// In the envelope of Azure's vTPM, where reports of version 2 are still made.
    Azure,
}

/// Verifies a report at `at` (Unix seconds). Refuses at the first row that does not hold.
pub fn verify(
    evidence: &SnpEvidence<'_>,
    expect: &SnpExpectation<'_>,
    roots: &SnpRoots,
    store: &SnpStore<'_>,
    at: u64,
) -> Result<SnpClaims, SnpRefused> {
    let report = parse(evidence.report, Place::Bare)?;
    let chain = verify_chain(&report, evidence, roots, store, at)?;
    authenticate(evidence.report, &report, &chain, at)?;
    judge(&report, &chain, expect)
}

/// [`verify`] with a chain that was verified before: parsing and one signature.
pub fn verify_with(
    report: &[u8],
    chain: &VerifiedChain,
    expect: &SnpExpectation<'_>,
    at: u64,
) -> Result<SnpClaims, SnpRefused> {
    let parsed = parse(report, Place::Bare)?;
    authenticate(report, &parsed, chain, at)?;
    judge(&parsed, chain, expect)
}

/// Rows S13, S3 and S4 for a report: the chain of its key, to be kept by [`cache_key`].
pub fn verify_chain(
    report: &AttestationReport,
    evidence: &SnpEvidence<'_>,
    roots: &SnpRoots,
    store: &SnpStore<'_>,
    at: u64,
) -> Result<VerifiedChain, SnpRefused> {
    let candidates = Candidates::gather(evidence, store, roots)?;
    Chain::find(report, &candidates, roots)?.verify(store.crls, at)
}

/// Row S1, with what the place of the report decides.
pub(crate) fn parse(bytes: &[u8], place: Place) -> Result<AttestationReport, SnpRefused> {
    let report = AttestationReport::parse(bytes)?;
    if report.version < 3 && place == Place::Bare {
        return Err(SnpRefused::S1Version { got: report.version });
    }
    Ok(report)
}

/// Rows S5 and S11: the chain's key is of this chip and TCB, and signed these bytes.
pub(crate) fn authenticate(
    bytes: &[u8],
    report: &AttestationReport,
    chain: &VerifiedChain,
    at: u64,
) -> Result<(), SnpRefused> {
    chain.check_use(report, at)?;
    chain.endorsement().check(report, chain.product())?;
    check_signature(bytes, chain.key(), chain.kind())
}

/// What is left once a key of AMD's is known to have signed: row S9, and then policy's.
pub(crate) fn judge(
    report: &AttestationReport,
    chain: &VerifiedChain,
    expect: &SnpExpectation<'_>,
) -> Result<SnpClaims, SnpRefused> {
    let requirements = expect.requirements;
    check_report_data(report, &expect.report_data.ok_or(SnpRefused::S9NotGiven)?)?;
    requirements::check_product(requirements, chain.product())?;
    requirements::check_key(requirements, chain.kind())?;
    if chain.crl_made_at().is_none() && !requirements.allow_missing_crl {
        let product = chain.product();
        return Err(SnpRefused::S4Missing { product, file: crl_file(product, chain.kind()) });
    }
    let csp_id = chain.endorsement().csp_id.clone();
    let claims = claims(report, chain.product(), chain.kind(), csp_id, chain.crl_made_at())?;
    check_tcbs(&claims, report, requirements)?;
    check_setup(&claims, report, requirements)?;
    requirements::check_vmpl(requirements, report.vmpl)?;
    Ok(claims)
}

/// Row S6.
fn check_tcbs(
    claims: &SnpClaims,
    report: &AttestationReport,
    requirements: &SnpRequirements,
) -> Result<(), SnpRefused> {
    let SnpTcbs { current, committed, reported, .. } = claims.tcb;
    for (low, low_tcb, high, high_tcb) in
        [("reported", reported, "committed", committed), ("committed", committed, "current", current)]
    {
        if let Some((part, low_value, high_value)) = above(low_tcb, high_tcb) {
            return Err(SnpRefused::S6Order { part, low, low_value, high, high_value });
        }
    }
    requirements::check_tcbs(requirements, claims, report.mitigations)
}

/// Row S7.
fn check_setup(
    claims: &SnpClaims,
    report: &AttestationReport,
    requirements: &SnpRequirements,
) -> Result<(), SnpRefused> {
    if report.policy.debug() {
        return Err(SnpRefused::S7Debug);
    }
    if report.policy.migration_agent() {
        return Err(SnpRefused::S7Migration { what: "the guest's policy allows a migration agent" });
    }
    if report.has_migration_agent() {
        return Err(SnpRefused::S7Migration { what: "a migration agent is bound to the guest" });
    }
    requirements::check_setup(requirements, claims.policy, claims.platform)
}

/// Row S9.
fn check_report_data(report: &AttestationReport, expected: &[u8; 64]) -> Result<(), SnpRefused> {
    if report.report_data == *expected {
        Ok(())
    } else {
        Err(SnpRefused::S9ReportData { expected: hex(expected), got: hex(&report.report_data) })
    }
}

/// Row S11: ECDSA P-384 over the bytes 0 to 29Fh. r and s are little-endian, 72 bytes each, of which P-384 fills 48.
fn check_signature(bytes: &[u8], key: &[u8; P384_POINT], kind: SnpSigningKey) -> Result<(), SnpRefused> {
    let refused = |field| SnpRefused::S11Encoding { field };
    let (signed, rest) = bytes.split_at_checked(SIGNED).ok_or_else(|| refused("the length"))?;
    let (r, rest) = rest.split_first_chunk::<72>().ok_or_else(|| refused("the length"))?;
    let (s, rest) = rest.split_first_chunk::<72>().ok_or_else(|| refused("the length"))?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(refused("what follows r and s"));
    }
    let mut signature = [0; 96];
    let (big_r, big_s) = signature.split_at_mut(48);
    for (field, number, big) in [("the top of r", r, big_r), ("the top of s", s, big_s)] {
        let (value, top) = number.split_at(48);
        if top.iter().any(|byte| *byte != 0) {
            return Err(refused(field));
        }
        big.iter_mut().zip(value.iter().rev()).for_each(|(to, from)| *to = *from);
    }
    if verify_p384(key, signed, &signature) { Ok(()) } else { Err(SnpRefused::S11Signature(kind)) }
}

/// What a report says, by name. Of a report that was verified these are claims; of another they are words.
fn claims(
    report: &AttestationReport,
    product: SnpProduct,
    signing_key: SnpSigningKey,
    csp_id: Option<String>,
    crl_made_at: Option<i64>,
) -> Result<SnpClaims, SnpRefused> {
    let bits = |vector: u64| (0..64).filter(|bit| vector >> bit & 1 == 1).collect();
    Ok(SnpClaims {
        version: report.version,
        product,
        chip_id: report.chip_id().map(|chip_id| hex(chip_id)),
        signing_key,
        csp_id,
        vmpl: report.vmpl,
        measurement: hex(&report.measurement),
        host_data: hex(&report.host_data),
        report_data: hex(&report.report_data),
        id_key_digest: hex(&report.id_key_digest),
        author_key_digest: report.key_info.author_key.then(|| hex(&report.author_key_digest)),
        family_id: hex(&report.family_id),
        image_id: hex(&report.image_id),
        guest_svn: report.guest_svn,
        report_id: hex(&report.report_id),
        tcb: SnpTcbs {
            current: report.current_tcb.read(product, "current")?,
            committed: report.committed_tcb.read(product, "committed")?,
            reported: report.reported_tcb.read(product, "reported")?,
            launch: report.launch_tcb.read(product, "launch")?,
        },
        firmware: SnpFirmware {
            current: report.current_version.to_string(),
            committed: report.committed_version.to_string(),
        },
        mitigations: report
            .mitigations
            .map(|vectors| SnpMitigations { launch: bits(vectors.launch), current: bits(vectors.current) }),
        policy: report.policy.claims(),
        platform: report.platform.claims(),
        crl_made_at,
    })
}

#[cfg(test)]
mod tests;

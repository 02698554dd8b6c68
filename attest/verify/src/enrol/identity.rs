//! From an EK certificate to the identity of a node: rows E1, E2, E3, and E6.

use super::{AkProfile, TrustAnchors, certificate, check_ak, path, template};
use crate::{Refused, Report, Tolerance, Verdict, quote::hex, rows, tpm::Public};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use strongroom_protocol::{NodeId, sha256};

/// Who a TPM is, as its vendor certifies. [`verify_ek_certificate`] alone makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EkIdentity {
    node_id: NodeId,
    ek_name: String,
    manufacturer: String,
    manufacturer_id: String,
    model: String,
    version: String,
    template: &'static str,
    root_sha256: String,
    revocation: Verdict,
    tolerances: Vec<Tolerance>,
    #[serde(skip)]
    ek_name_bytes: Vec<u8>,
}

impl EkIdentity {
    /// SHA-256 of the EK's `TPMT_PUBLIC`: the node (E6).
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The EK's name; to be kept in the node's record, for row Q4.
    pub fn ek_name(&self) -> &[u8] {
        &self.ek_name_bytes
    }

    /// The manufacturer, such as `IFX`: decoded from `id:49465800` where that is text.
    pub fn manufacturer(&self) -> &str {
        &self.manufacturer
    }

    /// The manufacturer as the certificate has it, such as `id:49465800`.
    pub fn manufacturer_id(&self) -> &str {
        &self.manufacturer_id
    }

    /// The model as the certificate has it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The version as the certificate has it, such as `id:00070055`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The template that the EK follows, such as `L-1` (EK Credential Profile 2.6, annex B).
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// SHA-256 of the pinned root certificate that the path ends at, lower-case hexadecimal.
    pub fn root_sha256(&self) -> &str {
        &self.root_sha256
    }

    /// Passed when a CRL covered every certificate of the path; otherwise not checked.
    pub fn revocation(&self) -> Verdict {
        self.revocation
    }

    /// Deviations that were accepted.
    pub fn tolerances(&self) -> &[Tolerance] {
        &self.tolerances
    }
}

impl fmt::Display for EkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.manufacturer, self.model, self.version)
    }
}

/// Verifies that a vendor certifies `ek_public` as an endorsement key: rows E1, E2 and E3.
///
/// `chain` is the EK certificate, then intermediates in any order, DER each; `roots` are the pinned
/// roots with the intermediates that were imported beside them; `crls` are DER, and may be none: then
/// (or where none covers the path) revocation is `not_checked`. `at_unix_seconds` is the time of judgement.
pub fn verify_ek_certificate(
    chain: &[&[u8]],
    ek_public: &Public,
    roots: &TrustAnchors,
    crls: &[&[u8]],
    at_unix_seconds: u64,
) -> Result<EkIdentity, Refused> {
    let chain = certificate::capped(chain)?;
    let profile = certificate::check_profile(chain.leaf)?;
    let path = path::verify(profile.der, chain.intermediates, roots, crls, at_unix_seconds, &profile.issuer)?;
    profile.key.check_equals(ek_public)?;
    let template = template::check(ek_public)?;
    let ek_name_bytes = ek_public.name();
    Ok(EkIdentity {
        node_id: node_id(ek_public),
        ek_name: hex(&ek_name_bytes),
        manufacturer: profile.manufacturer,
        manufacturer_id: profile.manufacturer_id,
        model: profile.model,
        version: profile.version,
        template,
        root_sha256: hex(&path.root_sha256),
        revocation: path.revocation,
        tolerances: profile.tolerances,
        ek_name_bytes,
    })
}

/// The id of the node whose EK this is: SHA-256 of its `TPMT_PUBLIC` as the TPM marshalled it (E6).
///
/// One key can be written as several public areas. That gives no second identity: the areas that E3
/// accepts differ in bytes that go into the EK's name, and the enrolment quote's qualifiedSigner (Q4)
/// holds only for the name that the TPM itself computes.
pub fn node_id(ek_public: &Public) -> NodeId {
    NodeId::from(sha256(ek_public.as_bytes()))
}

/// E6: the machine that comes back is the one that was enrolled, with the AK that was activated.
pub fn check_same_identity(enrolled: NodeId, ak_name: &[u8], ek: &Public, ak: &Public) -> Result<(), Refused> {
    let presented = node_id(ek);
    if presented != enrolled {
        return Err(Refused::E6OtherEk { enrolled, presented });
    }
    let presented = ak.name();
    if presented == ak_name {
        Ok(())
    } else {
        Err(Refused::E6OtherAk { enrolled: hex(ak_name), presented: hex(&presented) })
    }
}

/// Rows E1 to E4 for people: every row of an enrolment with its verdict. E5 needs the TPM, E6 a record.
pub fn examine(
    chain: &[&[u8]],
    ek_public: &Public,
    ak_public: &Public,
    roots: &TrustAnchors,
    crls: &[&[u8]],
    at_unix_seconds: u64,
) -> (Report, Option<(EkIdentity, AkProfile)>) {
    let mut not_checked =
        vec![("E5", "only the TPM itself can answer a credential"), ("E6", "no record of this node was given")];
    let outcome = verify_ek_certificate(chain, ek_public, roots, crls, at_unix_seconds)
        .and_then(|ek| check_ak(ak_public).map(|ak| (ek, ak)));
    if let Ok((ek, _)) = &outcome
        && ek.revocation != Verdict::Passed
    {
        not_checked.push(("E2", "path and validity hold; revocation was not checked: no CRL covers the whole path"));
    }
    match outcome {
        Ok(found) => (Report::new(&rows::ENROLMENT, &not_checked, None), Some(found)),
        Err(refused) => (Report::new(&rows::ENROLMENT, &not_checked, Some(&refused)), None),
    }
}

#[cfg(test)]
mod tests;

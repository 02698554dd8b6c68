//! Asking a responder about a chain's certificates (RFC 6960 §4.1), and finding what it answered in a store.
//!
//! ```text
//! chain ──status_requests──> (name, request) ──responder──> answer ──Store::import──> name ──answers──> Revocation
//! ```
//!
//! A request has no nonce: an answer is kept and judged by its own dates, for everybody who needs it. It names the
//! issuer by SHA-384, as NVIDIA's own verifier does.

use super::ocsp::{self, Answer};
use crate::{
    der,
    endorsements::{Content, Store},
    nvidia::{GpuEvidence, GpuRefused, VerifiedRim, chain},
    quote::hex,
    x509::Certificate,
};
use aws_lc_rs::digest::{SHA384, digest};
use std::collections::BTreeSet;
use strongroom_protocol::{limits, sha256};

/// What to ask a responder about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRequest {
    /// The name under which a store keeps the answer.
    pub name: String,
    /// Whom the certificate is of.
    pub subject: String,
    /// The issuer's certificate (DER): a store takes an answer when it has that.
    pub issuer: Vec<u8>,
    /// `OCSPRequest` (DER), to be sent as `application/ocsp-request`.
    pub bytes: Vec<u8>,
}

/// What to ask about a chain (DER, in any order, root included), a device's or a manifest's signer's: of every
/// certificate whose issuer says who is revoked, from the leaf up. Nothing of the chain is verified by this.
pub fn status_requests(certificates: &[&[u8]]) -> Result<Vec<StatusRequest>, GpuRefused> {
    let chain = read(certificates).map_err(|problem| GpuRefused::G2Chain { problem })?;
    let request = |(certificate, issuer): (&Certificate<'_>, &Certificate<'_>)| StatusRequest {
        name: name(certificate, issuer),
        subject: certificate.subject(),
        issuer: issuer.der().to_vec(),
        bytes: encoded(certificate, issuer),
    };
    Ok(judged(&chain).map(request).collect())
}

/// The answers in a store about the chains of a report and of its manifests' signers, by their names: a store has those
/// of a whole site. For [`super::Revocation`], which judges them.
pub fn answers<'a>(
    store: &'a Store,
    evidence: &GpuEvidence<'_>,
    manifests: [Option<&VerifiedRim>; 2],
) -> Vec<&'a [u8]> {
    let signers = manifests.into_iter().flatten().map(|rim| rim.chain().iter().map(Vec::as_slice).collect());
    let chains = signers.chain([evidence.certificates.clone()]);
    let mut names = BTreeSet::new();
    for sent in chains {
        // What is no chain is refused elsewhere.
        let chain = read(&sent).unwrap_or_default();
        names.extend(judged(&chain).map(|(certificate, issuer)| name(certificate, issuer)));
    }
    let stored = names.iter().filter_map(|name| store.get(name)).filter(|one| one.content == Content::Answer);
    stored.map(|one| one.bytes.as_slice()).collect()
}

/// Whether an answer (DER) says of any certificate that it is revoked. Who signed it is not asked here.
pub fn says_revoked(answer: &[u8]) -> bool {
    Answer::read(answer).is_some_and(|answer| answer.says_revoked())
}

/// What a responder says instead of an answer, where it gives none (RFC 6960 §4.2.1, `OCSPResponseStatus`).
pub fn unsuccessful(response: &[u8]) -> Option<&'static str> {
    ocsp::unsuccessful(response)
}

fn read<'a>(sent: &[&'a [u8]]) -> Result<Vec<Certificate<'a>>, String> {
    if sent.len() > limits::CERTIFICATES || sent.iter().any(|der| der.len() > limits::CERTIFICATE) {
        return Err("there are more certificates, or larger ones, than any chain has".to_owned());
    }
    chain::in_order(sent)
}

/// Certificates with their issuers, where the issuer says who is revoked: those that row G5 wants covered.
fn judged<'c, 'a>(chain: &'c [Certificate<'a>]) -> impl Iterator<Item = (&'c Certificate<'a>, &'c Certificate<'a>)> {
    let pairs = chain.iter().zip(chain.iter().skip(1));
    pairs.filter(|(_, issuer)| issuer.may_sign_lists())
}

/// Where a store keeps an answer: by the serial number, and the issuer's key.
fn name(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> String {
    let key = hex(&sha256(issuer.spki()));
    format!("nvidia/ocsp/{}-{}.ocsp", hex(certificate.serial()), key.get(..16).unwrap_or_default())
}

/// `OCSPRequest` with one `Request`.
fn encoded(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Vec<u8> {
    const NULL: &[u8] = &[0x05, 0];
    let hash = |bytes: &[u8]| der::tagged(der::OCTET_STRING, &[digest(&SHA384, bytes).as_ref()]);
    let algorithm = der::sequence(&[&der::tagged(der::OID, &[ocsp::SHA384]), NULL]);
    let serial = der::tagged(der::INTEGER, &[certificate.serial()]);
    let id = der::sequence(&[&algorithm, &hash(issuer.subject_der()), &hash(issuer.bare_key()), &serial]);
    let list = der::sequence(&[&der::sequence(&[&id])]);
    der::sequence(&[&der::sequence(&[&list])])
}

//! E2: the path from the EK certificate to a pinned root.
//!
//! rustls-webpki builds and verifies the path; what it leaves to its caller is done here: the
//! root's own validity and path length, keyUsage of intermediates, and saying truthfully whether
//! revocation was checked.

use super::anchors::{Root, TrustAnchors};
use crate::{Refused, Verdict, x509::instant};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeId,
    KeyPurposeIdIter, KeyUsage, OwnedCertRevocationList, RequiredEkuNotFoundContext, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath, ring as algorithms,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// tcg-kp-EKCertificate, 2.23.133.8.1, as the contents of its DER.
const EK_PURPOSE: &[u8] = b"\x67\x81\x05\x08\x01";
const EK_CERTIFICATE: KeyPurposeId<'static> = KeyPurposeId::new(EK_PURPOSE);
/// anyExtendedKeyUsage, 2.5.29.37.0.
const ANY: KeyPurposeId<'static> = KeyPurposeId::new(b"\x55\x1d\x25\x00");

/// What certificates may be signed with. No SHA-1, no RSA below 2,048 bits.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// A path that holds.
pub(super) struct Path {
    /// Fingerprint of the root that it ends at.
    pub(super) root_sha256: [u8; 32],
    /// Passed when CRLs covered every certificate below the root.
    pub(super) revocation: Verdict,
}

/// Verifies the path of `leaf` to one of the roots. `issuer` is for messages.
pub(super) fn verify(
    leaf: &[u8],
    intermediates: &[&[u8]],
    anchors: &TrustAnchors,
    crls: &[&[u8]],
    at: u64,
    issuer: &str,
) -> Result<Path, Refused> {
    let refuse = |error: Error| refusal(&error, at, issuer);
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(refuse)?;
    let sent = intermediates.iter().map(|der| CertificateDer::from(*der));
    let candidates: Vec<_> = sent.chain(anchors.intermediates.iter().cloned()).collect();
    let trusted: Vec<TrustAnchor<'_>> = anchors.roots.iter().map(|root| root.anchor.clone()).collect();
    let crls = read_crls(crls)?;
    let crls: Vec<_> = crls.iter().collect();

    let build = |unknown: UnknownStatusPolicy| {
        let path = leaf.verify_for_usage(
            ALGORITHMS,
            &trusted,
            &candidates,
            UnixTime::since_unix_epoch(Duration::from_secs(at)),
            EkUsage,
            revocation(&crls, unknown),
            Some(&|path: &VerifiedPath<'_>| check_path(path, &anchors.roots, at)),
        )?;
        find_root(&path, &anchors.roots, at).map(|root| root.sha256)
    };
    match build(UnknownStatusPolicy::Deny) {
        Ok(root_sha256) if !crls.is_empty() => Ok(Path { root_sha256, revocation: Verdict::Passed }),
        Ok(root_sha256) => Ok(Path { root_sha256, revocation: Verdict::NotChecked }),
        // Some certificate of the path has no CRL among those supplied. The others still count.
        Err(Error::UnknownRevocationStatus) => build(UnknownStatusPolicy::Allow)
            .map(|root_sha256| Path { root_sha256, revocation: Verdict::NotChecked })
            .map_err(refuse),
        Err(error) => Err(refuse(error)),
    }
}

/// Whether a revocation list (DER) is one that row E2 can read. Whose it is, its signature and its
/// time are judged when a certificate is; one that cannot be read would refuse every certificate.
pub fn check_crl(der: &[u8]) -> Result<(), Refused> {
    read_crls(&[der]).map(|_| ())
}

fn read_crls(crls: &[&[u8]]) -> Result<Vec<CertRevocationList<'static>>, Refused> {
    let read = |der: &&[u8]| OwnedCertRevocationList::from_der(der).map(CertRevocationList::from);
    crls.iter().map(read).collect::<Result<_, _>>().map_err(|error| Refused::E2Crl { problem: error.to_string() })
}

fn revocation<'a>(
    crls: &'a [&'a CertRevocationList<'a>],
    unknown: UnknownStatusPolicy,
) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(crls).ok()?;
    let builder = builder.with_depth(RevocationCheckDepth::Chain).with_status_policy(unknown);
    Some(builder.with_expiration_policy(ExpirationPolicy::Enforce).build())
}

/// What webpki leaves to its caller, for one candidate path.
fn check_path(path: &VerifiedPath<'_>, roots: &[Root], at: u64) -> Result<(), Error> {
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| Error::BadDer)?;
        let usage = certificate.key_usage().map_err(|_| Error::ExtensionValueInvalid)?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(Error::EndEntityUsedAsCa);
        }
    }
    find_root(path, roots, at).map(|_| ())
}

/// The root that the path ends at: one name and key may stand in several certificates.
fn find_root<'r>(path: &VerifiedPath<'_>, roots: &'r [Root], at: u64) -> Result<&'r Root, Error> {
    let mut error = Error::UnknownIssuer;
    for root in roots.iter().filter(|root| root.anchor == *path.anchor()) {
        match root.check(path.intermediate_certificates().count(), at) {
            Ok(()) => return Ok(root),
            Err(why) => error = why,
        }
    }
    Err(error)
}

impl Root {
    fn check(&self, intermediates: usize, at: u64) -> Result<(), Error> {
        let time = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let seconds = i64::try_from(at).unwrap_or(i64::MAX);
        if seconds < self.not_before {
            let not_before = time(u64::try_from(self.not_before).unwrap_or_default());
            return Err(Error::CertNotValidYet { time: time(at), not_before });
        }
        if seconds > self.not_after {
            let not_after = time(u64::try_from(self.not_after).unwrap_or_default());
            return Err(Error::CertExpired { time: time(at), not_after });
        }
        let allowed = self.path_length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        if intermediates > allowed { Err(Error::PathLenConstraintViolated) } else { Ok(()) }
    }
}

/// extKeyUsage along the path: absent, or with the EK purpose, or (in CAs) with any purpose. What the
/// EK certificate itself must have is row E1, which has judged it before.
struct EkUsage;

impl ExtendedKeyUsageValidator for EkUsage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if purpose == EK_CERTIFICATE || purpose == ANY {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = KeyUsage::required_if_present(EK_PURPOSE);
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}

fn refusal(error: &Error, at: u64, issuer: &str) -> Refused {
    let issuer = issuer.to_owned();
    match error {
        Error::CertRevoked => Refused::E2Revoked { issuer },
        Error::CertExpired { not_after, .. } => {
            Refused::E2Validity { problem: format!("expired at {}", instant(not_after.as_secs())), at }
        }
        Error::CertNotValidYet { not_before, .. } => {
            Refused::E2Validity { problem: format!("is not valid before {}", instant(not_before.as_secs())), at }
        }
        Error::CrlExpired { next_update, .. } => Refused::E2Crl {
            problem: format!("it expired at {} (judged at {})", instant(next_update.as_secs()), instant(at)),
        },
        Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            Refused::E2Crl { problem: error.to_string() }
        }
        Error::UnsupportedSignatureAlgorithmContext(_) => {
            let problem =
                "a certificate of it is signed with SHA-1 or another algorithm that is not accepted".to_owned();
            Refused::E2Path { issuer, problem }
        }
        error => Refused::E2Path { issuer, problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests;

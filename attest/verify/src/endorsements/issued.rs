//! Who issued it: the way from a certificate or a list up to a pinned root. Dates are not judged here: what expired is
//! still its vendor's, and is found by [`super::Store::check`].

use crate::x509::Certificate;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use strongroom_protocol::sha256;
use x509_parser::{
    prelude::{AlgorithmIdentifier, CertificateRevocationList, FromDer, X509Certificate},
    x509::SubjectPublicKeyInfo,
};

/// Most certificates between anything and its root.
const MAX_STEPS: usize = 6;
/// Most certificates of one name whose signature is tried: a name costs nothing, and a signature does. Vendors give one
/// name to two or three keys.
const MAX_NAMESAKES: usize = 8;

const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
const RSA_SHA256: &str = "1.2.840.113549.1.1.11";
const RSA_SHA384: &str = "1.2.840.113549.1.1.12";
const RSA_SHA512: &str = "1.2.840.113549.1.1.13";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";

/// Certificates that may have issued others, by their subject (DER of the name).
pub(super) trait Issuers<'a> {
    /// Those of this name.
    fn named(&self, subject: &[u8]) -> Vec<&'a [u8]>;
}

/// A short chain: looked through.
impl<'a> Issuers<'a> for [&'a [u8]] {
    fn named(&self, subject: &[u8]) -> Vec<&'a [u8]> {
        self.iter().copied().filter(|der| subject_of(der).is_some_and(|name| name == subject)).collect()
    }
}

/// What `known` says of the first certificate that it knows, on the way up from `der` by way of `issuers`.
pub(super) fn way_up<'a, T>(
    der: &'a [u8],
    issuers: &(impl Issuers<'a> + ?Sized),
    known: &dyn Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut now = der;
    for _ in 0..MAX_STEPS {
        if let Some(known) = known(now) {
            return Some(known);
        }
        let named = issuers.named(issuer_of(now)?).into_iter().filter(|issuer| *issuer != now);
        now = named.take(MAX_NAMESAKES).find(|issuer| issued(now, issuer))?;
    }
    None
}

/// The certificate (DER) of `issuers` that signed a list.
pub(super) fn signer_of<'a>(list: &[u8], issuers: &(impl Issuers<'a> + ?Sized)) -> Option<&'a [u8]> {
    let (_, parsed) = CertificateRevocationList::from_der(list).ok()?;
    let named = issuers.named(parsed.tbs_cert_list.issuer.as_raw()).into_iter();
    named.take(MAX_NAMESAKES).find(|issuer| listed(list, issuer).unwrap_or(false))
}

/// The subject (DER) of a certificate.
pub(super) fn subject_of(der: &[u8]) -> Option<&[u8]> {
    Some(X509Certificate::from_der(der).ok()?.1.tbs_certificate.subject.as_raw())
}

/// The issuer (DER) that a certificate names. Nothing is known by that.
fn issuer_of(der: &[u8]) -> Option<&[u8]> {
    Some(X509Certificate::from_der(der).ok()?.1.tbs_certificate.issuer.as_raw())
}

/// SHA-256 of a certificate's key (`SubjectPublicKeyInfo`, DER): two authorities may have one name, and no two have
/// one key.
pub(super) fn key_of(der: &[u8]) -> Option<[u8; 32]> {
    Some(sha256(X509Certificate::from_der(der).ok()?.1.public_key().raw))
}

/// Whether a certificate (DER) may issue others.
pub(super) fn may_issue(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| is_authority(&certificate))
}

/// Whether the second certificate issued the first.
fn issued(der: &[u8], issuer: &[u8]) -> bool {
    certified(der, issuer).unwrap_or(false)
}

fn certified(der: &[u8], issuer: &[u8]) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (_, authority) = X509Certificate::from_der(issuer).ok()?;
    if certificate.issuer().as_raw() != authority.subject().as_raw() || !is_authority(&authority) {
        return Some(false);
    }
    if certificate.signature_algorithm.algorithm.to_id_string() == RSA_PSS {
        // AMD's, whose parameters are read byte for byte.
        let (certificate, authority) = (Certificate::parse(der).ok()?, Certificate::parse(issuer).ok()?);
        return Some(certificate.check_signed_by(&authority).is_ok());
    }
    if certificate.tbs_certificate.signature != certificate.signature_algorithm {
        return Some(false);
    }
    let (message, signature) = (certificate.tbs_certificate.as_ref(), certificate.signature_value.data.as_ref());
    Some(signed(&certificate.signature_algorithm, authority.public_key(), message, signature))
}

fn listed(list: &[u8], issuer: &[u8]) -> Option<bool> {
    let (_, parsed) = CertificateRevocationList::from_der(list).ok()?;
    let (_, authority) = X509Certificate::from_der(issuer).ok()?;
    let usage = authority.key_usage().ok()?;
    if parsed.issuer().as_raw() != authority.subject().as_raw() || usage.is_some_and(|usage| !usage.value.crl_sign()) {
        return Some(false);
    }
    if parsed.signature_algorithm.algorithm.to_id_string() == RSA_PSS {
        let authority = Certificate::parse(issuer).ok()?;
        let list = crate::x509::Crl::parse(list).ok()?;
        // Judged at its own beginning: a list that is past is still its issuer's.
        let from = u64::try_from(list.validity().ok()?.0).ok()?;
        return Some(list.check(&authority, from).is_ok());
    }
    let (message, signature) = (parsed.tbs_cert_list.as_ref(), parsed.signature_value.data.as_ref());
    Some(signed(&parsed.signature_algorithm, authority.public_key(), message, signature))
}

fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let constraints = certificate.basic_constraints().ok().flatten();
    let usage = certificate.key_usage();
    constraints.is_some_and(|constraints| constraints.value.ca)
        && usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

/// Whether a key signed the message. No SHA-1, no RSA below 2,048 bits, no curve but P-256 and P-384.
fn signed(
    algorithm: &AlgorithmIdentifier<'_>,
    key: &SubjectPublicKeyInfo<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let kind = key.algorithm.algorithm.to_id_string();
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
    let algorithm = algorithm.algorithm.to_id_string();
    let verifier: &'static dyn VerificationAlgorithm = match (kind.as_str(), curve.as_str(), algorithm.as_str()) {
        (EC, P256, ECDSA_SHA256) => &ECDSA_P256_SHA256_ASN1,
        (EC, P256, ECDSA_SHA384) => &ECDSA_P256_SHA384_ASN1,
        (EC, P384, ECDSA_SHA256) => &ECDSA_P384_SHA256_ASN1,
        (EC, P384, ECDSA_SHA384) => &ECDSA_P384_SHA384_ASN1,
        (RSA, _, RSA_SHA256) => &RSA_PKCS1_2048_8192_SHA256,
        (RSA, _, RSA_SHA384) => &RSA_PKCS1_2048_8192_SHA384,
        (RSA, _, RSA_SHA512) => &RSA_PKCS1_2048_8192_SHA512,
        _ => return false,
    };
    UnparsedPublicKey::new(verifier, key.subject_public_key.data.as_ref()).verify(message, signature).is_ok()
}

/// Whether the key of a certificate (DER) signed a message: ECDSA on P-256 with SHA-256, r and s of 32 bytes each, as
/// Intel signs its documents.
pub(super) fn signed_document(signer: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok((_, signer)) = X509Certificate::from_der(signer) else { return false };
    let key = signer.public_key().subject_public_key.data.as_ref();
    UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, key).verify(message, signature).is_ok()
}

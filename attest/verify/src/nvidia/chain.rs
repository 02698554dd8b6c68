//! Certificate chains to a pinned root of NVIDIA's: of a device (G2), and of the signer of a manifest (G3).
//!
//! rustls-webpki verifies signatures, dates and constraints along the path. What it leaves to its caller is done here:
//! the order (certificates come in any), the pin of the root and the root's own dates, keyUsage, and that every
//! certificate that was sent stands in the path.

use crate::{PinKind, Pins, quote::hex};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime, alg_id,
};
use std::time::Duration;
use strongroom_protocol::{limits, sha256};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A chain that held at the time that it was verified at.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    /// From the leaf to the root.
    pub(super) certificates: Vec<X509Certificate<'a>>,
    /// The same, as DER.
    pub(super) ders: Vec<&'a [u8]>,
    /// SHA-256 of the root.
    pub(super) root_sha256: [u8; 32],
    /// When the last of them begins to be valid, Unix seconds.
    pub(super) not_before: i64,
    /// When the first of them ends, Unix seconds.
    pub(super) not_after: i64,
}

/// Why a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// What was sent is no chain.
    Shape(String),
    /// It ends elsewhere.
    NotPinned {
        /// SHA-256 of the certificate that would be the root, lower-case hexadecimal.
        sha256: String,
    },
    /// A certificate is not valid at the time of judgement.
    Validity(String),
    /// A certificate may not do what it does here, or its signature does not hold.
    Path(String),
}

impl<'a> Chain<'a> {
    /// Puts certificates (DER) in their order and verifies them. `length` is how many there may be, root included.
    pub(super) fn verify(
        sent: &[&'a [u8]],
        length: std::ops::RangeInclusive<usize>,
        (pins, kind): (&Pins, PinKind),
        at: u64,
    ) -> Result<Self, Broken> {
        if !length.contains(&sent.len()) {
            let (least, most) = length.into_inner();
            let wanted = if least == most { most.to_string() } else { format!("{least} to {most}") };
            return Err(Broken::Shape(format!("it has {} certificates, not {wanted}", sent.len())));
        }
        if let Some(large) = sent.iter().find(|der| der.len() > limits::CERTIFICATE) {
            let problem = format!("a certificate of {} bytes is larger than {}", large.len(), limits::CERTIFICATE);
            return Err(Broken::Shape(problem));
        }
        // Before anything is parsed: without a pinned root among them, there is nothing to verify.
        let Some(root) = sent.iter().find(|der| pins.of_certificate(kind, der).is_some()) else {
            return Err(Broken::NotPinned { sha256: would_be_root(sent) });
        };
        let root_sha256 = sha256(root);
        let (certificates, ders) = ordered(sent)?;
        if ders.last() != Some(root) {
            return Err(Broken::Shape("the pinned root is not where it ends".to_owned()));
        }
        check_usage(&certificates)?;
        let dates = |certificate: &X509Certificate<'_>| {
            let validity = certificate.validity();
            (validity.not_before.timestamp(), validity.not_after.timestamp())
        };
        let not_before = certificates.iter().map(|certificate| dates(certificate).0).max().unwrap_or(i64::MAX);
        let not_after = certificates.iter().map(|certificate| dates(certificate).1).min().unwrap_or(i64::MIN);
        let chain = Self { certificates, ders, root_sha256, not_before, not_after };
        chain.check_time(at)?;
        chain.check_path(at)?;
        Ok(chain)
    }

    /// The leaf and the certificate of its issuer.
    pub(super) fn leaf_and_issuer(&self) -> Option<(&X509Certificate<'a>, &X509Certificate<'a>)> {
        match self.certificates.as_slice() {
            [leaf, issuer, ..] => Some((leaf, issuer)),
            _ => None,
        }
    }

    /// Whether the leaf's key signed the message: ECDSA on P-384 with SHA-384, r and s of 48 bytes each.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some(leaf) = self.certificates.first() else { return false };
        let key = leaf.public_key().subject_public_key.data.as_ref();
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).verify(message, signature).is_ok()
    }

    fn check_time(&self, at: u64) -> Result<(), Broken> {
        check_time(self.not_before, self.not_after, at).map_err(Broken::Validity)
    }

    fn check_path(&self, at: u64) -> Result<(), Broken> {
        let broken = |error: Error| Broken::Path(error.to_string());
        let [leaf, intermediates @ .., root] = self.ders.as_slice() else {
            return Err(Broken::Shape("it is too short".to_owned()));
        };
        let root = CertificateDer::from(*root);
        let anchors = [webpki::anchor_from_trusted_cert(&root).map_err(broken)?];
        let leaf = CertificateDer::from(*leaf);
        let leaf = EndEntityCert::try_from(&leaf).map_err(broken)?;
        let between: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(*der)).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let path = leaf.verify_for_usage(&[&P384], &anchors, &between, time, AnyUsage, None, None).map_err(broken)?;
        if path.intermediate_certificates().count() == between.len() {
            Ok(())
        } else {
            Err(Broken::Shape("not every certificate stands in the path".to_owned()))
        }
    }
}

/// Whether a time lies between two, Unix seconds.
pub(super) fn check_time(not_before: i64, not_after: i64, at: u64) -> Result<(), String> {
    let at = i64::try_from(at).unwrap_or(i64::MAX);
    if at < not_before {
        Err(format!("is not valid before {not_before}"))
    } else if at > not_after {
        Err(format!("expired at {not_after}"))
    } else {
        Ok(())
    }
}

/// Whether a key (the point of P-384) signed the message: a signature as certificates have it.
pub(super) fn certificate_signed(key: &X509Certificate<'_>, message: &[u8], signature: &[u8]) -> bool {
    let key = key.public_key().subject_public_key.data.as_ref();
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, key).verify(message, signature).is_ok()
}

/// The common name of a subject, as far as it can be printed.
pub(super) fn common_name(certificate: &X509Certificate<'_>) -> String {
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(128).collect()
}

/// The model in certificates that nothing was verified of.
pub(super) fn model_of_sent(sent: &[&[u8]]) -> String {
    let sent = sent.get(..sent.len().min(limits::CERTIFICATES)).unwrap_or_default();
    let Ok((certificates, _)) = ordered(sent) else { return String::new() };
    certificates.get(1).map(common_name).unwrap_or_default()
}

/// For a message: the certificate that names itself as its issuer, else the last.
fn would_be_root(sent: &[&[u8]]) -> String {
    let own = |der: &&&[u8]| {
        X509Certificate::from_der(der).is_ok_and(|(_, found)| found.subject().as_raw() == found.issuer().as_raw())
    };
    sent.iter().find(own).or(sent.last()).map_or_else(String::new, |der| hex(&sha256(der)))
}

type Ordered<'a> = (Vec<X509Certificate<'a>>, Vec<&'a [u8]>);

/// From the leaf, which issued none of the others, up to the certificate that is its own issuer.
fn ordered<'a>(sent: &[&'a [u8]]) -> Result<Ordered<'a>, Broken> {
    let shape = |problem: &str| Broken::Shape(problem.to_owned());
    let mut left = Vec::with_capacity(sent.len());
    for der in sent {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => left.push((certificate, *der)),
            Ok(_) => return Err(shape("bytes follow a certificate")),
            Err(error) => return Err(Broken::Shape(format!("a certificate cannot be read: {error}"))),
        }
    }
    let issued = |at: usize| {
        let subject = left.get(at).map(|(certificate, _)| certificate.subject().as_raw());
        left.iter()
            .enumerate()
            .any(|(other, (certificate, _))| other != at && Some(certificate.issuer().as_raw()) == subject)
    };
    let leaves: Vec<usize> = (0..left.len()).filter(|&at| !issued(at)).collect();
    let &[leaf] = leaves.as_slice() else {
        return Err(shape("not exactly one certificate of it issued none of the others"));
    };
    let (mut certificates, mut ders) = (Vec::with_capacity(sent.len()), Vec::with_capacity(sent.len()));
    let mut next = Some(leaf);
    while let Some(at) = next {
        let (certificate, der) = left.swap_remove(at);
        let above = certificate.issuer().as_raw().to_vec();
        certificates.push(certificate);
        ders.push(der);
        next = left.iter().position(|(candidate, _)| candidate.subject().as_raw() == above);
    }
    if left.is_empty() { Ok((certificates, ders)) } else { Err(shape("a certificate of it belongs to no other")) }
}

/// keyUsage, which webpki does not look at: the leaf signs, the others sign certificates.
fn check_usage(certificates: &[X509Certificate<'_>]) -> Result<(), Broken> {
    for (place, certificate) in certificates.iter().enumerate() {
        let usage = certificate.key_usage().map_err(|error| Broken::Path(format!("keyUsage: {error}")))?;
        let right = usage.is_some_and(|usage| {
            if place == 0 {
                usage.value.digital_signature() && !usage.value.key_cert_sign()
            } else {
                usage.value.key_cert_sign()
            }
        });
        if !right {
            let what = if place == 0 { "is not for signatures only" } else { "is not for signing certificates" };
            return Err(Broken::Path(format!("certificate {place} above the leaf {what} (keyUsage)")));
        }
    }
    Ok(())
}

/// NVIDIA's certificates have no extended key usage: what they are for is said by the root that is pinned for it.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

/// ECDSA on P-384 with SHA-384, the only algorithm of these chains, by aws-lc-rs: five times as fast as by ring.
#[derive(Debug)]
struct EcdsaP384;

static P384: EcdsaP384 = EcdsaP384;

impl SignatureVerificationAlgorithm for EcdsaP384 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P384
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA384
    }
}

//! X.509 certificates of confidential hardware, for chains whose path is fixed and short.
//!
//! Path building is for TPM vendors ([`crate::enrol`]), who have many roots and any number of intermediates. Here each
//! link is known beforehand (VCEK, ASK, ARK), and what matters is that nothing in a link is left unread: the
//! algorithm's parameters byte for byte, critical extensions, constraints, dates. AMD's certificates carry an explicit
//! `trailerField` in their RSA-PSS parameters and serial 0, which rustls-webpki refuses.
//!
//! ```text
//! bytes ──certificates(DER or PEM)──> DER ──Certificate::parse──> Certificate ──check_signed_by(issuer)──> Ok
//! bytes ──Crl::parse──> Crl ──check(issuer, at)──> Ok ──revokes(serial)
//! ```

mod algorithm;
mod crl;
mod encoding;

pub use algorithm::{P384_POINT, verify_p384};
pub(crate) use crl::MAX_CRLS;
pub use crl::{Crl, MAX_CRL};
pub use encoding::certificates;

use crate::der::{OCTET_STRING, Reader, bit_string, sequence};
use algorithm::Algorithm;
use strongroom_protocol::{limits, sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::{
    prelude::{FromDer, ParsedExtension, X509Certificate, X509Version},
    x509::X509Name,
};

/// Bytes of a serial number, at the most (RFC 5280 §4.1.2.2).
const MAX_SERIAL: usize = 20;
/// Extensions of a certificate, at the most: AMD's have 12.
const MAX_EXTENSIONS: usize = 32;
/// Characters of a text of somebody else's that go into a message.
const PRINTED: usize = 256;
/// basicConstraints and keyUsage: the critical extensions that are judged here.
const JUDGED: [&str; 2] = ["2.5.29.19", "2.5.29.15"];

/// Why a certificate, or a list of revoked ones, does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Problem {
    /// Larger than any.
    #[error("{actual} bytes are more than the {limit} that it may have")]
    TooLarge {
        /// The cap, bytes.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// More certificates than any chain has.
    #[error("there are more than {limit} certificates")]
    TooMany {
        /// The cap.
        limit: usize,
    },
    /// It cannot be read.
    #[error("it is malformed at {field}")]
    Malformed {
        /// Where.
        field: &'static str,
    },
    /// Signed in a way that is not accepted.
    #[error("it is signed by {got}; accepted are RSA-PSS with SHA-384 and ECDSA P-384 with SHA-384")]
    Algorithm {
        /// The object identifier.
        got: String,
    },
    /// It names another issuer.
    #[error("its issuer is {got}, not {expected}")]
    Issuer {
        /// The subject of the certificate that it was held against.
        expected: String,
        /// What it names.
        got: String,
    },
    /// The signature is not the issuer's.
    #[error("its signature is not by the key of {issuer}")]
    Signature {
        /// The issuer's name.
        issuer: String,
    },
    /// Too early.
    #[error("it is not valid before {} (judged at {})", instant(*.from), instant(*.at))]
    NotYetValid {
        /// Unix seconds.
        from: i64,
        /// Unix seconds.
        at: u64,
    },
    /// Too late.
    #[error("it expired at {} (judged at {})", instant(*.until), instant(*.at))]
    Expired {
        /// Unix seconds.
        until: i64,
        /// Unix seconds.
        at: u64,
    },
    /// A certificate that may not sign others signs one.
    #[error("{field} does not let it sign certificates")]
    NotAuthority {
        /// The extension.
        field: &'static str,
    },
    /// More certificates follow than it allows.
    #[error("it allows {allowed} authorities below it, and has {below}")]
    PathLength {
        /// By its basicConstraints.
        allowed: u32,
        /// In the chain.
        below: u32,
    },
    /// An authority stands where a key that signs reports must.
    #[error("it is of an authority, not of a key that signs reports")]
    Authority,
    /// An extension that must be understood, and is not.
    #[error("its critical extension {oid} is not one that is understood here")]
    Critical {
        /// The object identifier.
        oid: String,
    },
    /// The same extension twice.
    #[error("its extension {oid} stands twice")]
    Twice {
        /// The object identifier.
        oid: String,
    },
    /// A list of revoked certificates that does not say when the next comes.
    #[error("it does not say until when it is valid")]
    Undated,
}

/// A certificate whose form holds. That says nothing of who signed it.
#[derive(Debug, Clone)]
pub struct Certificate<'a> {
    der: &'a [u8],
    parsed: X509Certificate<'a>,
    algorithm: Algorithm,
}

impl<'a> Certificate<'a> {
    /// Reads one certificate (DER, at most [`limits::CERTIFICATE`] bytes, nothing after it): version 3, an algorithm
    /// that is accepted and is the same inside and outside, no extension twice, no critical one that is unknown.
    pub fn parse(der: &'a [u8]) -> Result<Self, X509Problem> {
        if der.len() > limits::CERTIFICATE {
            return Err(X509Problem::TooLarge { limit: limits::CERTIFICATE, actual: der.len() });
        }
        let malformed = |field| X509Problem::Malformed { field };
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| malformed("its DER"))?;
        if !rest.is_empty() {
            return Err(malformed("its end: something follows it"));
        }
        if parsed.version() != X509Version::V3 {
            return Err(malformed("version"));
        }
        if parsed.raw_serial().len() > MAX_SERIAL {
            return Err(malformed("serialNumber"));
        }
        if parsed.tbs_certificate.signature != parsed.signature_algorithm {
            return Err(malformed("signatureAlgorithm: it is another inside"));
        }
        let algorithm = Algorithm::read(&parsed.signature_algorithm)?;
        // No signature covers what is around the body, and the parser takes more there than DER: a SEQUENCE without
        // the bit of constructed encodings, for one. One certificate has one spelling, so it is spelled again.
        let (body, signature) = (parsed.tbs_certificate.as_ref(), bit_string(&parsed.signature_value.data));
        if !algorithm.spellings().iter().any(|written| sequence(&[body, written, &signature]) == der) {
            return Err(malformed("its DER"));
        }
        check_extensions(&parsed)?;
        Ok(Self { der, parsed, algorithm })
    }

    /// The certificate's DER.
    pub fn der(&self) -> &'a [u8] {
        self.der
    }

    /// SHA-256 of the DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(self.der)
    }

    /// The subject's one common name; `None` where it has none or several.
    pub fn common_name(&self) -> Option<&str> {
        let mut names = self.parsed.subject().iter_common_name();
        let name = names.next()?.as_str().ok()?;
        names.next().is_none().then_some(name)
    }

    /// The subject, as people read it: without control characters, and not without end.
    pub fn subject(&self) -> String {
        named(self.parsed.subject())
    }

    /// The subject (DER): issuers and subjects are compared by it.
    pub(crate) fn subject_der(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.subject.as_raw()
    }

    /// The issuer (DER).
    pub(crate) fn issuer_der(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.issuer.as_raw()
    }

    /// The issuer's one common name; `None` where it has none or several.
    pub fn issuer_common_name(&self) -> Option<&str> {
        let mut names = self.parsed.issuer().iter_common_name();
        let name = names.next()?.as_str().ok()?;
        names.next().is_none().then_some(name)
    }

    /// The contents of the serial number's INTEGER, big-endian.
    pub fn serial(&self) -> &'a [u8] {
        self.parsed.raw_serial()
    }

    /// The contents of an extension, by the dotted numbers of its object identifier.
    pub fn extension(&self, oid: &str) -> Option<&'a [u8]> {
        let found = self.parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == oid)?;
        Some(found.value)
    }

    /// How lists and certificates name its key (subjectKeyIdentifier).
    pub(crate) fn key_id(&self) -> Option<&'a [u8]> {
        Reader::new(self.extension("2.5.29.14")?).take(OCTET_STRING)
    }

    /// The public key (`SubjectPublicKeyInfo`, DER).
    pub(crate) fn spki(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.subject_pki.raw
    }

    /// The public key alone, without its algorithm.
    pub(crate) fn bare_key(&self) -> &[u8] {
        self.parsed.public_key().subject_public_key.data.as_ref()
    }

    /// The public key, if it is on P-384: an uncompressed point of [`P384_POINT`] bytes.
    pub fn p384_key(&self) -> Option<[u8; P384_POINT]> {
        algorithm::p384_key(self.parsed.public_key())
    }

    /// First and last second of the certificate's validity, Unix seconds.
    pub fn validity(&self) -> (i64, i64) {
        let validity = self.parsed.validity();
        (validity.not_before.timestamp(), validity.not_after.timestamp())
    }

    /// Whether `at` (Unix seconds) lies in the certificate's validity.
    pub fn check_valid_at(&self, at: u64) -> Result<(), X509Problem> {
        let (from, until) = self.validity();
        check_dates(from, until, at)
    }

    /// Whether it names `issuer`, and the key of `issuer` signed it.
    pub fn check_signed_by(&self, issuer: &Certificate<'_>) -> Result<(), X509Problem> {
        if self.issuer_der() != issuer.subject_der() {
            return Err(X509Problem::Issuer { expected: issuer.subject(), got: named(self.parsed.issuer()) });
        }
        let signature = &self.parsed.signature_value;
        issuer.check_signature(self.algorithm, self.parsed.tbs_certificate.as_ref(), signature.data.as_ref())
    }

    /// Whether the certificate may sign others, with `below` authorities between it and the leaf.
    pub fn check_authority(&self, below: u32) -> Result<(), X509Problem> {
        let malformed = |field| X509Problem::Malformed { field };
        let constraints = self.parsed.basic_constraints().map_err(|_| malformed("basicConstraints"))?;
        let Some(constraints) = constraints.filter(|constraints| constraints.value.ca) else {
            return Err(X509Problem::NotAuthority { field: "basicConstraints" });
        };
        let usage = self.parsed.key_usage().map_err(|_| malformed("keyUsage"))?;
        if !usage.is_some_and(|usage| usage.value.key_cert_sign()) {
            return Err(X509Problem::NotAuthority { field: "keyUsage" });
        }
        match constraints.value.path_len_constraint {
            Some(allowed) if allowed < below => Err(X509Problem::PathLength { allowed, below }),
            _ => Ok(()),
        }
    }

    /// Whether the certificate is of a key that signs no others.
    pub fn check_leaf(&self) -> Result<(), X509Problem> {
        let malformed = |field| X509Problem::Malformed { field };
        let constraints = self.parsed.basic_constraints().map_err(|_| malformed("basicConstraints"))?;
        let usage = self.parsed.key_usage().map_err(|_| malformed("keyUsage"))?;
        let authority = constraints.is_some_and(|constraints| constraints.value.ca)
            || usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign());
        if authority { Err(X509Problem::Authority) } else { Ok(()) }
    }

    /// Whether its key is for signatures (keyUsage): of reports, of documents.
    pub(crate) fn may_sign_documents(&self) -> bool {
        self.parsed.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.value.digital_signature()))
    }

    /// Whether its key may sign lists of revoked certificates (keyUsage).
    pub(crate) fn may_sign_lists(&self) -> bool {
        self.parsed.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.value.crl_sign()))
    }

    /// Whether its key may answer for its issuer (id-kp-OCSPSigning, RFC 6960 §4.2.2.2).
    pub(crate) fn may_answer(&self) -> bool {
        self.parsed.extended_key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.value.ocsp_signing))
    }

    /// Whether this certificate's key signed a message: ECDSA with SHA-384 as DER, of a key on P-384.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Algorithm::EcdsaP384.verify(self.parsed.public_key(), message, signature)
    }

    /// Whether this certificate's key signed `message`.
    fn check_signature(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), X509Problem> {
        if algorithm.verify(self.parsed.public_key(), message, signature) {
            Ok(())
        } else {
            Err(X509Problem::Signature { issuer: self.subject() })
        }
    }
}

/// A name, for messages.
fn named(name: &X509Name<'_>) -> String {
    printable(&name.to_string())
}

/// A text of somebody else's, for messages: no control characters, and not without end.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(PRINTED).collect()
}

/// A time (Unix seconds) for messages, RFC 3339.
pub(crate) fn instant(seconds: impl TryInto<i64>) -> String {
    let time = seconds.try_into().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "a time beyond the calendar".to_owned())
}

/// Whether `at` (Unix seconds) lies between two times.
pub(crate) fn check_dates(from: i64, until: i64, at: u64) -> Result<(), X509Problem> {
    let seconds = i64::try_from(at).unwrap_or(i64::MAX);
    if seconds < from {
        Err(X509Problem::NotYetValid { from, at })
    } else if seconds > until {
        Err(X509Problem::Expired { until, at })
    } else {
        Ok(())
    }
}

fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), X509Problem> {
    let extensions = certificate.extensions();
    if extensions.len() > MAX_EXTENSIONS {
        return Err(X509Problem::Malformed { field: "extensions: there are too many" });
    }
    for (at, extension) in extensions.iter().enumerate() {
        let oid = || extension.oid.to_id_string();
        if extensions.iter().take(at).any(|before| before.oid == extension.oid) {
            return Err(X509Problem::Twice { oid: oid() });
        }
        if extension.critical && !JUDGED.contains(&oid().as_str()) {
            return Err(X509Problem::Critical { oid: oid() });
        }
        if extension.critical && matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. }) {
            return Err(X509Problem::Malformed { field: "a critical extension" });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

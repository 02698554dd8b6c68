//! By what certificates are signed, and verifying it.

use super::X509Problem;
use crate::der::sequence;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, RSA_PSS_2048_8192_SHA384, VerificationAlgorithm,
};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Bytes of an uncompressed point on P-384.
pub const P384_POINT: usize = 97;

const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
const ECDSA_WITH_SHA384: &str = "1.2.840.10045.4.3.3";
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const SECP384R1: &str = "1.3.132.0.34";

/// The contents of `RSASSA-PSS-params` (RFC 4055 §3.1): SHA-384, MGF1 with SHA-384, a salt of 48 bytes. All but some of
/// AMD's certificates add the trailer field, although it is the default.
const PSS_SHA384: &[u8] = b"\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
      \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
      \xa2\x03\x02\x01\x30";
const TRAILER: &[u8] = b"\xa3\x03\x02\x01\x01";

/// What a certificate may be signed by. Nothing of an algorithm is left to its default but what is written above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSA-PSS, SHA-384.
    PssSha384,
    /// ECDSA on P-384, SHA-384.
    EcdsaP384,
}

impl Algorithm {
    pub(super) fn read(identifier: &AlgorithmIdentifier<'_>) -> Result<Self, X509Problem> {
        let oid = identifier.algorithm.to_id_string();
        let parameters = identifier.parameters.as_ref();
        match (oid.as_str(), parameters) {
            (ECDSA_WITH_SHA384, None) => Ok(Self::EcdsaP384),
            (RSASSA_PSS, Some(parameters)) if is_pss_sha384(parameters.data) => Ok(Self::PssSha384),
            (RSASSA_PSS, _) => Err(X509Problem::Algorithm { got: "RSA-PSS with other parameters".to_owned() }),
            _ => Err(X509Problem::Algorithm { got: oid }),
        }
    }

    /// Every `AlgorithmIdentifier` that is taken for it (DER).
    pub(super) fn spellings(self) -> Vec<Vec<u8>> {
        const PSS: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
        const ECDSA: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
        match self {
            Self::PssSha384 => {
                let with = |trailer: &[u8]| sequence(&[PSS, &sequence(&[PSS_SHA384, trailer])]);
                vec![with(TRAILER), with(&[])]
            }
            Self::EcdsaP384 => vec![sequence(&[ECDSA])],
        }
    }

    pub(super) fn verify(self, key: &SubjectPublicKeyInfo<'_>, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::PssSha384 => {
                let rsa = key.algorithm.algorithm.to_id_string() == RSA_ENCRYPTION;
                let public = key.subject_public_key.data.as_ref();
                rsa && RSA_PSS_2048_8192_SHA384.verify_sig(public, message, signature).is_ok()
            }
            Self::EcdsaP384 => {
                p384_key(key).is_some_and(|point| ECDSA_P384_SHA384_ASN1.verify_sig(&point, message, signature).is_ok())
            }
        }
    }
}

fn is_pss_sha384(parameters: &[u8]) -> bool {
    parameters.strip_prefix(PSS_SHA384).is_some_and(|rest| rest.is_empty() || rest == TRAILER)
}

pub(super) fn p384_key(key: &SubjectPublicKeyInfo<'_>) -> Option<[u8; P384_POINT]> {
    if key.algorithm.algorithm.to_id_string() != EC_PUBLIC_KEY {
        return None;
    }
    let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let point: [u8; P384_POINT] = key.subject_public_key.data.as_ref().try_into().ok()?;
    (curve.to_id_string() == SECP384R1 && point.first() == Some(&4)).then_some(point)
}

/// Verifies ECDSA on P-384 with SHA-384 over `message`: `signature` is r and s, big-endian, 48 bytes each; `key` an
/// uncompressed point.
pub fn verify_p384(key: &[u8; P384_POINT], message: &[u8], signature: &[u8; 96]) -> bool {
    ECDSA_P384_SHA384_FIXED.verify_sig(key, message, signature).is_ok()
}

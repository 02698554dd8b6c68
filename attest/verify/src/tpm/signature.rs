//! `TPMT_SIGNATURE` (TCG TPM 2.0 Library, Part 2, §11.3.4), and verifying one with a TPM key.

use super::{
    algorithm::{Curve, HashAlg, SigningAlg, SigningScheme, unsupported},
    public::{Key, Public, uncompressed_point},
    reader::{ParseError, Reader},
};
use crate::{Tolerance, der};
use aws_lc_rs::signature::{self as aws, RsaPssSaltLength};

/// Bytes of an RSA signature (4,096 bits), and of a coordinate (P-521).
const MAX_RSA: usize = 512;
const MAX_COORDINATE: usize = 66;
const EXPONENT: &[u8] = &[1, 0, 1];

/// The signature proper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureValue {
    /// RSA, as long as the modulus.
    Rsa(Vec<u8>),
    /// ECDSA: r and s, big-endian; TPMs may leave leading zeros out.
    Ecdsa {
        /// The number r.
        r: Vec<u8>,
        /// The number s.
        s: Vec<u8>,
    },
}

/// A signature with the scheme that it says it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    scheme: SigningScheme,
    value: SignatureValue,
}

/// How far a signature was from the rule, when it was good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    /// As the standards have it.
    Plain,
    /// RSAPSS with the longest salt that fits.
    PssLongestSalt,
}

impl Good {
    /// The deviation that was accepted, if there was one.
    pub(crate) fn tolerance(self) -> Option<Tolerance> {
        match self {
            Self::Plain => None,
            Self::PssLongestSalt => Some(Tolerance::PssLongestSalt),
        }
    }
}

impl Signature {
    /// Reads a `TPMT_SIGNATURE` of RSASSA, RSAPSS or ECDSA. Other kinds are refused by name, and trailing bytes too.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes)?;
        let field = "signature algorithm";
        let algorithm = match reader.u16(field)? {
            0x0014 => SigningAlg::RsaSsa,
            0x0016 => SigningAlg::RsaPss,
            0x0018 => SigningAlg::Ecdsa,
            id => return Err(unsupported(field, id)),
        };
        let hash = HashAlg::read(&mut reader, "signature hash")?;
        let value = match algorithm {
            SigningAlg::RsaSsa | SigningAlg::RsaPss => {
                SignatureValue::Rsa(reader.sized("signature", MAX_RSA)?.to_vec())
            }
            SigningAlg::Ecdsa => {
                let r = reader.sized("r", MAX_COORDINATE)?.to_vec();
                SignatureValue::Ecdsa { r, s: reader.sized("s", MAX_COORDINATE)?.to_vec() }
            }
        };
        reader.finish()?;
        Ok(Self { scheme: SigningScheme { algorithm, hash }, value })
    }

    /// The scheme that the signature says it was made with.
    pub fn scheme(&self) -> SigningScheme {
        self.scheme
    }

    /// The signature proper.
    pub fn value(&self) -> &SignatureValue {
        &self.value
    }

    /// Verifies the signature over `message` with `key`, whatever scheme the key is fixed to: the
    /// caller compares schemes first. `None` if it is not good, or if it is of SHA-1.
    pub(crate) fn verify(&self, key: &Public, message: &[u8]) -> Option<Good> {
        match (key.key(), &self.value) {
            (Key::Rsa { modulus, .. }, SignatureValue::Rsa(signature)) => self.verify_rsa(modulus, message, signature),
            (Key::Ecc { curve, x, y }, SignatureValue::Ecdsa { r, s }) => {
                let point = uncompressed_point(*curve, x, y);
                let signature = der::sequence(&[&der::unsigned(r), &der::unsigned(s)]);
                verify_ecdsa(*curve, self.scheme.hash, &point, message, &signature).then_some(Good::Plain)
            }
            _ => None,
        }
    }

    fn verify_rsa(&self, modulus: &[u8], message: &[u8], signature: &[u8]) -> Option<Good> {
        use ring::signature as ring;
        let parameters = match (self.scheme.algorithm, self.scheme.hash) {
            (SigningAlg::RsaSsa, HashAlg::Sha256) => &ring::RSA_PKCS1_2048_8192_SHA256,
            (SigningAlg::RsaSsa, HashAlg::Sha384) => &ring::RSA_PKCS1_2048_8192_SHA384,
            (SigningAlg::RsaSsa, HashAlg::Sha512) => &ring::RSA_PKCS1_2048_8192_SHA512,
            (SigningAlg::RsaPss, HashAlg::Sha256) => &ring::RSA_PSS_2048_8192_SHA256,
            (SigningAlg::RsaPss, HashAlg::Sha384) => &ring::RSA_PSS_2048_8192_SHA384,
            (SigningAlg::RsaPss, HashAlg::Sha512) => &ring::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        };
        let key = ring::RsaPublicKeyComponents { n: modulus, e: EXPONENT };
        if key.verify(parameters, message, signature).is_ok() {
            return Some(Good::Plain);
        }
        // Part 1, annex B.7, before revision 1.59: the salt is the longest that fits.
        let longest = match (self.scheme.algorithm, self.scheme.hash) {
            (SigningAlg::RsaPss, HashAlg::Sha256) => aws::RSA_PSS_2048_8192_SHA256,
            (SigningAlg::RsaPss, HashAlg::Sha384) => aws::RSA_PSS_2048_8192_SHA384,
            (SigningAlg::RsaPss, HashAlg::Sha512) => aws::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        }
        .with_pss_salt_length(RsaPssSaltLength::Max);
        let key = aws::RsaPublicKeyComponents { n: modulus, e: EXPONENT };
        key.verify(&longest, message, signature).ok().map(|()| Good::PssLongestSalt)
    }
}

/// P-256 by ring, P-384 by aws-lc-rs, which is several times as fast there.
fn verify_ecdsa(curve: Curve, hash: HashAlg, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    use ring::signature as ring;
    let algorithm: &dyn aws::VerificationAlgorithm = match (curve, hash) {
        (_, HashAlg::Sha1) => return false,
        (Curve::P256, HashAlg::Sha256) => {
            let key = ring::UnparsedPublicKey::new(&ring::ECDSA_P256_SHA256_ASN1, point);
            return key.verify(message, signature).is_ok();
        }
        (Curve::P256, HashAlg::Sha384) => &aws::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, HashAlg::Sha512) => &aws::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, HashAlg::Sha256) => &aws::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, HashAlg::Sha384) => &aws::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, HashAlg::Sha512) => &aws::ECDSA_P384_SHA512_ASN1,
    };
    algorithm.verify_sig(point, message, signature).is_ok()
}

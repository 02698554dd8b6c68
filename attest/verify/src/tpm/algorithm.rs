//! Algorithm identifiers (TCG TPM 2.0 Library, Part 2, §6.3) that this crate knows.

use super::reader::{ParseError, Reader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A hash algorithm. SHA-1 is known so that it can be refused by name; nothing is verified with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HashAlg {
    /// `TPM_ALG_SHA1`.
    Sha1,
    /// `TPM_ALG_SHA256`.
    Sha256,
    /// `TPM_ALG_SHA384`.
    Sha384,
    /// `TPM_ALG_SHA512`.
    Sha512,
}

impl HashAlg {
    /// The algorithm of a `TPM_ALG_ID`; `None` if it is not one of these.
    pub fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0004 => Some(Self::Sha1),
            0x000b => Some(Self::Sha256),
            0x000c => Some(Self::Sha384),
            0x000d => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The `TPM_ALG_ID`.
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    /// The name in lower case, as `sha256`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    pub fn digest_length(self) -> usize {
        self.algorithm().output_len()
    }

    /// The digest of the parts, one after the other.
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        self.hash(parts).as_ref().to_vec()
    }

    /// The same on the stack: logs have tens of thousands of digests.
    pub(crate) fn hash(self, parts: &[&[u8]]) -> ring::digest::Digest {
        let mut context = ring::digest::Context::new(self.algorithm());
        for part in parts {
            context.update(part);
        }
        context.finish()
    }

    /// The HMAC algorithm; `None` for SHA-1.
    pub(crate) fn hmac(self) -> Option<ring::hmac::Algorithm> {
        match self {
            Self::Sha1 => None,
            Self::Sha256 => Some(ring::hmac::HMAC_SHA256),
            Self::Sha384 => Some(ring::hmac::HMAC_SHA384),
            Self::Sha512 => Some(ring::hmac::HMAC_SHA512),
        }
    }

    fn algorithm(self) -> &'static ring::digest::Algorithm {
        match self {
            // Only names are computed with it, so that a refusal can say whose key it was.
            Self::Sha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, ParseError> {
        let id = reader.u16(field)?;
        Self::from_id(id).ok_or_else(|| unsupported(field, id))
    }
}

impl fmt::Display for HashAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a TPM key signs, without the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SigningAlg {
    /// RSASSA-PKCS1-v1_5.
    RsaSsa,
    /// RSASSA-PSS.
    RsaPss,
    /// ECDSA.
    Ecdsa,
}

/// A signing scheme with its hash (`TPMT_SIG_SCHEME` of the kinds that this crate verifies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SigningScheme {
    /// The algorithm.
    pub algorithm: SigningAlg,
    /// The hash.
    pub hash: HashAlg,
}

impl fmt::Display for SigningScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.algorithm {
            SigningAlg::RsaSsa => "rsassa",
            SigningAlg::RsaPss => "rsapss",
            SigningAlg::Ecdsa => "ecdsa",
        };
        write!(f, "{algorithm}-{}", self.hash)
    }
}

/// A curve of an ECC key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Curve {
    /// `TPM_ECC_NIST_P256`.
    P256,
    /// `TPM_ECC_NIST_P384`.
    P384,
}

impl Curve {
    /// Bytes of a coordinate.
    pub fn field_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// The curve's `TPM_ECC_CURVE`.
    pub fn id(self) -> u16 {
        match self {
            Self::P256 => 0x0003,
            Self::P384 => 0x0004,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let field = "curve";
        match reader.u16(field)? {
            0x0003 => Ok(Self::P256),
            0x0004 => Ok(Self::P384),
            id => {
                let name = match id {
                    0x0001 => "P-192",
                    0x0002 => "P-224",
                    0x0005 => "P-521",
                    0x0010 => "BN P-256",
                    0x0011 => "BN P-638",
                    0x0020 => "SM2 P-256",
                    _ => "unknown",
                };
                Err(ParseError::Unsupported { field, value: id.into(), name })
            }
        }
    }
}

/// A symmetric cipher with key size and mode (`TPMT_SYM_DEF_OBJECT`), as marshalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symmetric {
    /// `TPM_ALG_ID` of the cipher; 0x0006 is AES.
    pub algorithm: u16,
    /// Bits of the key.
    pub key_bits: u16,
    /// `TPM_ALG_ID` of the mode; 0x0043 is CFB.
    pub mode: u16,
}

impl Symmetric {
    /// AES-128 in CFB mode.
    pub const AES_128_CFB: Self = Self { algorithm: 0x0006, key_bits: 128, mode: 0x0043 };
    /// AES-256 in CFB mode.
    pub const AES_256_CFB: Self = Self { algorithm: 0x0006, key_bits: 256, mode: 0x0043 };

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, ParseError> {
        let field = "symmetric algorithm";
        match reader.u16(field)? {
            ALG_NULL => Ok(None),
            // TDES, AES, SM4, Camellia: the block ciphers, which alone have key size and mode.
            algorithm @ (0x0003 | 0x0006 | 0x0013 | 0x0026) => {
                Ok(Some(Self { algorithm, key_bits: reader.u16("symmetric key bits")?, mode: reader.u16("mode")? }))
            }
            id => Err(unsupported(field, id)),
        }
    }
}

/// `TPM_ALG_NULL`.
pub(super) const ALG_NULL: u16 = 0x0010;

/// A refusal that gives the algorithm's name where the specification has one.
pub(super) fn unsupported(field: &'static str, id: u16) -> ParseError {
    let name = match id {
        0x0001 => "RSA",
        0x0004 => "SHA-1",
        0x0005 => "HMAC",
        0x0008 => "keyedhash",
        0x000a => "XOR",
        0x0010 => "null",
        0x0012 => "SM3-256",
        0x0014 => "RSASSA",
        0x0015 => "RSAES",
        0x0016 => "RSAPSS",
        0x0017 => "OAEP",
        0x0018 => "ECDSA",
        0x0019 => "ECDH",
        0x001a => "ECDAA",
        0x001b => "SM2",
        0x001c => "ECSCHNORR",
        0x001d => "ECMQV",
        0x0023 => "ECC",
        0x0025 => "symcipher",
        0x0027 => "SHA3-256",
        0x0028 => "SHA3-384",
        0x0029 => "SHA3-512",
        _ => "unknown",
    };
    ParseError::Unsupported { field, value: id.into(), name }
}

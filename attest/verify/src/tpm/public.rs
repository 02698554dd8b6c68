//! `TPMT_PUBLIC` (TCG TPM 2.0 Library, Part 2, §12.2.4): a key's public area, its name, its key for verifiers.

use super::{
    algorithm::{ALG_NULL, Curve, HashAlg, SigningAlg, SigningScheme, Symmetric, unsupported},
    reader::{ParseError, Reader},
};
use crate::der;
use std::fmt;

/// `TPM_RH_ENDORSEMENT`, the handle that is the parent name of a primary key in the endorsement hierarchy.
const RH_ENDORSEMENT: [u8; 4] = 0x4000_000b_u32.to_be_bytes();
/// The exponent that a TPM writes as 0.
const DEFAULT_EXPONENT: u32 = 65_537;
/// Bytes of the largest RSA modulus (4,096 bits).
const MAX_MODULUS: usize = 512;
/// Bytes of the largest digest.
const MAX_DIGEST: usize = 64;

/// `TPMA_OBJECT`: a key's attributes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes(pub u32);

impl Attributes {
    /// The key never leaves its TPM.
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// The key is gone after a TPM reset or restart.
    pub const ST_CLEAR: Self = Self(1 << 2);
    /// The key cannot be moved under another parent.
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// The TPM made the private part itself.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// The user role may use a password or HMAC.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// The administrator role needs a policy.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// Exempt from dictionary attack protection.
    pub const NO_DA: Self = Self(1 << 10);
    /// Duplication must be encrypted.
    pub const ENCRYPTED_DUPLICATION: Self = Self(1 << 11);
    /// Signs or decrypts only what the TPM has formed.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// Decrypts.
    pub const DECRYPT: Self = Self(1 << 17);
    /// Signs.
    pub const SIGN: Self = Self(1 << 18);
    /// Signs X.509 structures of its own making.
    pub const X509_SIGN: Self = Self(1 << 19);

    const NAMES: [(Self, &'static str); 12] = [
        (Self::FIXED_TPM, "fixedTPM"),
        (Self::ST_CLEAR, "stClear"),
        (Self::FIXED_PARENT, "fixedParent"),
        (Self::SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
        (Self::USER_WITH_AUTH, "userWithAuth"),
        (Self::ADMIN_WITH_POLICY, "adminWithPolicy"),
        (Self::NO_DA, "noDA"),
        (Self::ENCRYPTED_DUPLICATION, "encryptedDuplication"),
        (Self::RESTRICTED, "restricted"),
        (Self::DECRYPT, "decrypt"),
        (Self::SIGN, "sign"),
        (Self::X509_SIGN, "x509sign"),
    ];

    /// True when every attribute of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is set here and not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut separator = "";
        for (attribute, name) in Self::NAMES {
            if self.contains(attribute) {
                write!(f, "{separator}{name}")?;
                separator = ", ";
                rest &= !attribute.0;
            }
        }
        if rest == 0 { Ok(()) } else { write!(f, "{separator}unknown bits {rest:#010x}") }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({:#010x}: {self})", self.0)
    }
}

/// What a key's scheme field fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Nothing: whoever uses the key chooses.
    Null,
    /// One signing scheme with its hash.
    Signing(SigningScheme),
    /// Another scheme, by its `TPM_ALG_ID`: this crate verifies nothing made with it.
    Other(u16),
}

/// The key proper.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An RSA key.
    Rsa {
        /// Big-endian modulus, as long as the key size says, without leading zeros.
        modulus: Vec<u8>,
        /// The exponent as marshalled: 0 stands for 65,537, and nothing else is accepted.
        exponent: u32,
    },
    /// A key on a curve.
    Ecc {
        /// The curve.
        curve: Curve,
        /// Big-endian x as marshalled; old TPMs leave leading zeros out.
        x: Vec<u8>,
        /// Big-endian y as marshalled.
        y: Vec<u8>,
    },
}

/// A key's public area, with the bytes that it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Public {
    raw: Vec<u8>,
    name_alg: HashAlg,
    attributes: Attributes,
    auth_policy: Vec<u8>,
    symmetric: Option<Symmetric>,
    scheme: Scheme,
    key: Key,
}

impl Public {
    /// Reads a `TPMT_PUBLIC` of an RSA or ECC key, without a `TPM2B` size before it.
    ///
    /// Refuses keyed-hash and symmetric objects by name, exponents other than 65,537, moduli that
    /// are not as long as they say, curves other than P-256 and P-384, and trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes)?;
        let kind = reader.u16("type")?;
        let name_alg = HashAlg::read(&mut reader, "nameAlg")?;
        let attributes = Attributes(reader.u32("objectAttributes")?);
        let auth_policy = reader.sized("authPolicy", MAX_DIGEST)?.to_vec();
        let (symmetric, scheme, key) = match kind {
            0x0001 => read_rsa(&mut reader)?,
            0x0023 => read_ecc(&mut reader)?,
            _ => return Err(unsupported("type", kind)),
        };
        reader.finish()?;
        Ok(Self { raw: bytes.to_vec(), name_alg, attributes, auth_policy, symmetric, scheme, key })
    }

    /// The bytes that this was read from.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The hash that the key's name is made with.
    pub fn name_alg(&self) -> HashAlg {
        self.name_alg
    }

    /// The key's attributes.
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The policy digest; empty if there is none.
    pub fn auth_policy(&self) -> &[u8] {
        &self.auth_policy
    }

    /// The symmetric cipher that protects what this key is the parent of.
    pub fn symmetric(&self) -> Option<Symmetric> {
        self.symmetric
    }

    /// The scheme that the key is fixed to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The key proper.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The key's name: `nameAlg || H(TPMT_PUBLIC)` (Part 1, §16).
    pub fn name(&self) -> Vec<u8> {
        prefixed_digest(self.name_alg, &[&self.raw])
    }

    /// The qualified name of this key as a child of `ek`, which is a primary key of the endorsement hierarchy.
    pub fn qualified_name_under_endorsement(&self, ek: &Self) -> Vec<u8> {
        let ek = prefixed_digest(ek.name_alg, &[&RH_ENDORSEMENT, &ek.name()]);
        prefixed_digest(self.name_alg, &[&ek, &self.name()])
    }

    /// The key as a DER `SubjectPublicKeyInfo` (RFC 5280, RFC 3279, RFC 5480).
    pub fn spki_der(&self) -> Vec<u8> {
        // Object identifiers with their tag and length.
        const RSA_ENCRYPTION: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
        const EC_PUBLIC_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
        const PRIME256V1: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        const SECP384R1: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
        const NULL: &[u8] = b"\x05\x00";
        match &self.key {
            Key::Rsa { modulus, .. } => {
                let exponent = der::unsigned(&DEFAULT_EXPONENT.to_be_bytes());
                let key = der::sequence(&[&der::unsigned(modulus), &exponent]);
                der::sequence(&[&der::sequence(&[RSA_ENCRYPTION, NULL]), &der::bit_string(&key)])
            }
            Key::Ecc { curve, x, y } => {
                let id = match curve {
                    Curve::P256 => PRIME256V1,
                    Curve::P384 => SECP384R1,
                };
                let point = uncompressed_point(*curve, x, y);
                der::sequence(&[&der::sequence(&[EC_PUBLIC_KEY, id]), &der::bit_string(&point)])
            }
        }
    }

    /// Bits of the key: the modulus, or the field.
    pub fn key_bits(&self) -> usize {
        match &self.key {
            Key::Rsa { modulus, .. } => modulus.len() * 8,
            Key::Ecc { curve, .. } => curve.field_length() * 8,
        }
    }
}

/// The qualified name of a key called `name`, whose parent is the primary key `ek_name` of the endorsement
/// hierarchy. Both are names as the TPM forms them, algorithm first; `None` if either is not.
pub fn qualified_name(ek_name: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let ek = prefixed_digest(name_algorithm(ek_name)?, &[&RH_ENDORSEMENT, ek_name]);
    Some(prefixed_digest(name_algorithm(name)?, &[&ek, name]))
}

/// The uncompressed point of SEC 1, §2.3.3.
pub(crate) fn uncompressed_point(curve: Curve, x: &[u8], y: &[u8]) -> Vec<u8> {
    let length = curve.field_length();
    let mut point = vec![0x04];
    for coordinate in [x, y] {
        // The parser has refused longer ones.
        point.resize(point.len() + length.saturating_sub(coordinate.len()), 0);
        point.extend_from_slice(coordinate);
    }
    point
}

fn name_algorithm(name: &[u8]) -> Option<HashAlg> {
    let (id, digest) = name.split_first_chunk()?;
    let algorithm = HashAlg::from_id(u16::from_be_bytes(*id))?;
    (digest.len() == algorithm.digest_length()).then_some(algorithm)
}

fn prefixed_digest(algorithm: HashAlg, parts: &[&[u8]]) -> Vec<u8> {
    let mut name = algorithm.id().to_be_bytes().to_vec();
    name.extend_from_slice(&algorithm.digest(parts));
    name
}

fn read_rsa(reader: &mut Reader<'_>) -> Result<(Option<Symmetric>, Scheme, Key), ParseError> {
    let symmetric = Symmetric::read(reader)?;
    let field = "RSA scheme";
    let scheme = match reader.u16(field)? {
        ALG_NULL => Scheme::Null,
        0x0014 => signing(SigningAlg::RsaSsa, reader)?,
        0x0016 => signing(SigningAlg::RsaPss, reader)?,
        id @ 0x0015 => Scheme::Other(id),
        id @ 0x0017 => {
            HashAlg::read(reader, "scheme hash")?;
            Scheme::Other(id)
        }
        id => return Err(unsupported(field, id)),
    };
    let bits = reader.u16("keyBits")?;
    let exponent = reader.u32("exponent")?;
    if !matches!(exponent, 0 | DEFAULT_EXPONENT) {
        return Err(ParseError::Unsupported { field: "exponent", value: exponent, name: "not 65537" });
    }
    let modulus = reader.sized("modulus", MAX_MODULUS)?;
    let expected = usize::from(bits / 8);
    if modulus.len() != expected || expected < 128 || bits % 8 != 0 {
        return Err(ParseError::Length { field: "modulus", expected, actual: modulus.len() });
    }
    if modulus.first().is_none_or(|&byte| byte < 0x80) {
        return Err(ParseError::Invalid { field: "first byte of the modulus", value: 0 });
    }
    Ok((symmetric, scheme, Key::Rsa { modulus: modulus.to_vec(), exponent }))
}

fn read_ecc(reader: &mut Reader<'_>) -> Result<(Option<Symmetric>, Scheme, Key), ParseError> {
    let symmetric = Symmetric::read(reader)?;
    let field = "ECC scheme";
    let scheme = match reader.u16(field)? {
        ALG_NULL => Scheme::Null,
        0x0018 => signing(SigningAlg::Ecdsa, reader)?,
        id @ 0x001a => {
            HashAlg::read(reader, "scheme hash")?;
            reader.u16("ECDAA count")?;
            Scheme::Other(id)
        }
        id @ (0x0019 | 0x001b..=0x001d) => {
            HashAlg::read(reader, "scheme hash")?;
            Scheme::Other(id)
        }
        id => return Err(unsupported(field, id)),
    };
    let curve = Curve::read(reader)?;
    match reader.u16("kdf")? {
        ALG_NULL => {}
        0x0007 | 0x0020..=0x0022 => {
            HashAlg::read(reader, "kdf hash")?;
        }
        id => return Err(unsupported("kdf", id)),
    }
    let limit = curve.field_length();
    let x = reader.sized("x", limit)?.to_vec();
    let y = reader.sized("y", limit)?.to_vec();
    Ok((symmetric, scheme, Key::Ecc { curve, x, y }))
}

fn signing(algorithm: SigningAlg, reader: &mut Reader<'_>) -> Result<Scheme, ParseError> {
    Ok(Scheme::Signing(SigningScheme { algorithm, hash: HashAlg::read(reader, "scheme hash")? }))
}

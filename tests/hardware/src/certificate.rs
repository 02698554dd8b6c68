//! X.509 as it is written, byte for byte: what a library would put right can be left wrong here.
//!
//! ```text
//! Certificate { plain fields, extensions, key, signed_by, algorithm } ──der()──> DER
//! Crl { issuer, revoked, dates, signed_by } ──der()──> DER
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a stand-in that cannot be made ends the test that wants it"
)]

pub use crate::text::pem;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self, EcdsaKeyPair, KeyPair as _},
};
use yasna::{
    DERWriter, Tag, construct_der,
    models::{ObjectIdentifier, UTCTime},
};

/// A key pair.
pub enum Key {
    /// RSA.
    Rsa(Box<RsaKeyPair>),
    /// P-384, as PKCS #8.
    P384(Vec<u8>),
    /// P-256, as PKCS #8: where P-384 must be.
    P256(Vec<u8>),
}

impl Key {
    /// A new RSA key of 4,096 bits. It takes a second: keep it.
    pub fn rsa_4096() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa4096).unwrap()))
    }

    /// A new RSA key of 2,048 bits.
    pub fn rsa_2048() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    /// A new key on P-384.
    pub fn p384() -> Self {
        let algorithm = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        Self::P384(EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref().to_vec())
    }

    /// A new key on P-256.
    pub fn p256() -> Self {
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        Self::P256(EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref().to_vec())
    }

    /// The public key as `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Vec<u8> {
        let of = |algorithm, pkcs8: &[u8]| -> Vec<u8> {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap();
            let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            der.as_ref().to_vec()
        };
        match self {
            Self::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                der.as_ref().to_vec()
            }
            Self::P384(pkcs8) => of(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8),
            Self::P256(pkcs8) => of(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8),
        }
    }

    /// An RSA key's modulus, big-endian.
    pub fn modulus(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().modulus().big_endian_without_leading_zero().to_vec(),
            Self::P384(_) | Self::P256(_) => Vec::new(),
        }
    }

    /// Signs in the form that X.509 has: RSA-PSS with SHA-384, or ECDSA as DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(_) => self.sign_rsa(&signature::RSA_PSS_SHA384, message),
            Self::P384(pkcs8) => sign_ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8, message),
            Self::P256(pkcs8) => sign_ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, message),
        }
    }

    /// Signs as a TPM does with RSASSA and SHA-256.
    pub fn sign_rsassa_sha256(&self, message: &[u8]) -> Vec<u8> {
        self.sign_rsa(&signature::RSA_PKCS1_SHA256, message)
    }

    /// r and s, big-endian, side by side.
    pub fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(_) => Vec::new(),
            Self::P384(pkcs8) => sign_ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8, message),
            Self::P256(pkcs8) => sign_ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, message),
        }
    }

    fn sign_rsa(&self, padding: &'static dyn signature::RsaEncoding, message: &[u8]) -> Vec<u8> {
        let Self::Rsa(pair) = self else { return Vec::new() };
        let mut out = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut out).unwrap();
        out
    }
}

/// `SubjectPublicKeyInfo` of an RSA key with these numbers, whatever they are.
pub fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_bigint_bytes(modulus, true);
            writer.next().write_bigint_bytes(exponent, true);
        });
    });
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 1, 1]));
                writer.next().write_null();
            });
            writer.next().write_bitvec_bytes(&key, key.len() * 8);
        });
    })
}

fn sign_ecdsa(algorithm: &'static signature::EcdsaSigningAlgorithm, pkcs8: &[u8], message: &[u8]) -> Vec<u8> {
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap();
    pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

/// How a signature's algorithm is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// RSA-PSS with SHA-384 and an explicit trailer field, as AMD's older certificates have it.
    PssTrailer,
    /// The same without the trailer field.
    Pss,
    /// RSA-PSS that says SHA-256 for the mask.
    PssOtherMask,
    /// RSA PKCS #1 with SHA-384.
    Pkcs1,
    /// ECDSA with SHA-384.
    Ecdsa,
}

impl Written {
    fn write(self, writer: DERWriter<'_>) {
        let hash = |writer: DERWriter<'_>, last: u64| {
            writer.write_sequence(|writer| {
                writer.next().write_oid(&oid(&[2, 16, 840, 1, 101, 3, 4, 2, last]));
                writer.next().write_null();
            });
        };
        writer.write_sequence(|writer| match self {
            Self::PssTrailer | Self::Pss | Self::PssOtherMask => {
                writer.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 1, 10]));
                writer.next().write_sequence(|writer| {
                    writer.next().write_tagged(Tag::context(0), |writer| hash(writer, 2));
                    writer.next().write_tagged(Tag::context(1), |writer| {
                        writer.write_sequence(|writer| {
                            writer.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 1, 8]));
                            hash(writer.next(), if self == Self::PssOtherMask { 1 } else { 2 });
                        });
                    });
                    writer.next().write_tagged(Tag::context(2), |writer| writer.write_u8(48));
                    if self == Self::PssTrailer {
                        writer.next().write_tagged(Tag::context(3), |writer| writer.write_u8(1));
                    }
                });
            }
            Self::Pkcs1 => {
                writer.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 1, 12]));
                writer.next().write_null();
            }
            Self::Ecdsa => writer.next().write_oid(&oid(&[1, 2, 840, 10_045, 4, 3, 3])),
        });
    }
}

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}

/// A distinguished name as AMD writes it, with its common names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub Vec<String>);

impl Name {
    /// A name with one common name.
    pub fn of(common_name: &str) -> Self {
        Self(vec![common_name.to_owned()])
    }

    fn write(&self, writer: DERWriter<'_>) {
        let fixed = [(11, "Engineering"), (6, "US"), (7, "Santa Clara"), (8, "CA"), (10, "Advanced Micro Devices")];
        let names = self.0.iter().map(|name| (3, name.as_str()));
        writer.write_sequence(|writer| {
            for (kind, text) in fixed.into_iter().chain(names) {
                writer.next().write_set(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(&[2, 5, 4, kind]));
                        if kind == 6 {
                            writer.next().write_printable_string(text);
                        } else {
                            writer.next().write_utf8_string(text);
                        }
                    });
                });
            }
        });
    }
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its object identifier.
    pub oid: Vec<u64>,
    /// Whether it must be understood.
    pub critical: bool,
    /// Its contents, inside the OCTET STRING.
    pub value: Vec<u8>,
}

impl Extension {
    /// `basicConstraints`, critical.
    pub fn basic_constraints(authority: bool, path_length: Option<u8>) -> Self {
        let value = construct_der(|writer| {
            writer.write_sequence(|writer| {
                if authority {
                    writer.next().write_bool(true);
                }
                if let Some(length) = path_length {
                    writer.next().write_u8(length);
                }
            });
        });
        Self { oid: vec![2, 5, 29, 19], critical: true, value }
    }

    /// `keyUsage`, critical; bit 0 of `bits` is the first of the BIT STRING (digitalSignature), bit 5 keyCertSign.
    pub fn key_usage(bits: u8) -> Self {
        let value = construct_der(|writer| writer.write_bitvec_bytes(&[bits.reverse_bits()], 8));
        Self { oid: vec![2, 5, 29, 15], critical: true, value }
    }

    /// One of another kind, not critical.
    pub fn plain(oid: &[u64], value: Vec<u8>) -> Self {
        Self { oid: oid.to_vec(), critical: false, value }
    }
}

/// A certificate before it is signed.
#[derive(Clone)]
pub struct Certificate {
    /// 2 stands for version 3.
    pub version: u8,
    /// The serial number, big-endian.
    pub serial: Vec<u8>,
    /// Who signs.
    pub issuer: Name,
    /// Whose key it is.
    pub subject: Name,
    /// Beginning, as `UTCTime` writes it: `250101000000Z`.
    pub not_before: String,
    /// End, in the same way.
    pub not_after: String,
    /// The public key (`SubjectPublicKeyInfo`).
    pub spki: Vec<u8>,
    /// In their order.
    pub extensions: Vec<Extension>,
    /// The algorithm outside.
    pub algorithm: Written,
    /// The algorithm inside; `None` where it is the same.
    pub inner: Option<Written>,
    /// The key that signs.
    pub signed_by: &'static Key,
}

impl Certificate {
    /// The certificate, laid out and signed.
    pub fn der(&self) -> Vec<u8> {
        let body = construct_der(|writer| {
            writer.write_sequence(|writer| {
                if self.version > 0 {
                    writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(self.version));
                }
                writer.next().write_bigint_bytes(&self.serial, true);
                self.inner.unwrap_or(self.algorithm).write(writer.next());
                self.issuer.write(writer.next());
                writer.next().write_sequence(|writer| {
                    for time in [&self.not_before, &self.not_after] {
                        writer.next().write_utctime(&UTCTime::parse(time.as_bytes()).unwrap());
                    }
                });
                self.subject.write(writer.next());
                writer.next().write_der(&self.spki);
                if !self.extensions.is_empty() {
                    writer.next().write_tagged(Tag::context(3), |writer| write_extensions(writer, &self.extensions));
                }
            });
        });
        signed(&body, self.algorithm, self.signed_by)
    }

    /// The extension with this object identifier, to be made wrong. One is added where there is none.
    pub fn extension(&mut self, oid: &[u64]) -> &mut Extension {
        let at = self.extensions.iter().position(|extension| extension.oid == oid).unwrap_or_else(|| {
            self.extensions.push(Extension::plain(oid, Vec::new()));
            self.extensions.len() - 1
        });
        self.extensions.get_mut(at).unwrap()
    }

    /// Leaves an extension out.
    pub fn without(&mut self, oid: &[u64]) {
        self.extensions.retain(|extension| extension.oid != oid);
    }
}

fn write_extensions(writer: DERWriter<'_>, extensions: &[Extension]) {
    writer.write_sequence(|writer| {
        for extension in extensions {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(&extension.oid));
                if extension.critical {
                    writer.next().write_bool(true);
                }
                writer.next().write_bytes(&extension.value);
            });
        }
    });
}

fn signed(body: &[u8], algorithm: Written, key: &Key) -> Vec<u8> {
    let signature = key.sign(body);
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(body);
            algorithm.write(writer.next());
            writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    })
}

/// A list of revoked certificates before it is signed.
#[derive(Clone)]
pub struct Crl {
    /// Whose.
    pub issuer: Name,
    /// When it was made, as `UTCTime` writes it.
    pub this_update: String,
    /// When the next one comes; `None` leaves it out.
    pub next_update: Option<String>,
    /// Serial numbers, big-endian.
    pub revoked: Vec<Vec<u8>>,
    /// Extensions.
    pub extensions: Vec<Extension>,
    /// The algorithm outside.
    pub algorithm: Written,
    /// The algorithm inside; `None` where it is the same.
    pub inner: Option<Written>,
    /// The key that signs.
    pub signed_by: &'static Key,
}

impl Crl {
    /// The list, laid out and signed.
    pub fn der(&self) -> Vec<u8> {
        let time = |text: &str| UTCTime::parse(text.as_bytes()).unwrap();
        let body = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(1);
                self.inner.unwrap_or(self.algorithm).write(writer.next());
                self.issuer.write(writer.next());
                writer.next().write_utctime(&time(&self.this_update));
                if let Some(next) = &self.next_update {
                    writer.next().write_utctime(&time(next));
                }
                if !self.revoked.is_empty() {
                    writer.next().write_sequence(|writer| {
                        for serial in &self.revoked {
                            writer.next().write_sequence(|writer| {
                                writer.next().write_bigint_bytes(serial, true);
                                writer.next().write_utctime(&time(&self.this_update));
                            });
                        }
                    });
                }
                if !self.extensions.is_empty() {
                    writer.next().write_tagged(Tag::context(0), |writer| write_extensions(writer, &self.extensions));
                }
            });
        });
        signed(&body, self.algorithm, self.signed_by)
    }
}

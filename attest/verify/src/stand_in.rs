//! A TPM and a vendor's CA for tests: every field of what they produce can be made wrong.

use crate::{
    Refused, TrustAnchors, der,
    enrol::{EkIdentity, verify_ek_certificate},
    tpm::{HashAlg, Public},
};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self, EcdsaKeyPair, KeyPair},
};
use std::sync::LazyLock;

/// 2026-01-01, inside every validity here unless a test says otherwise.
pub(crate) const NOW: u64 = 1_767_225_600;
pub(crate) const RESTRICTED_SIGNING: u32 = 0x0005_0072;

/// Keys of a TPM, made once a test run.
pub(crate) static RSA_A: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
pub(crate) static RSA_B: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

pub(crate) fn modulus(key: &RsaKeyPair) -> Vec<u8> {
    key.public_key().modulus().big_endian_without_leading_zero().to_vec()
}

/// `TPMT_PUBLIC`, field by field.
#[derive(Clone)]
pub(crate) struct PublicSpec {
    pub(crate) kind: u16,
    pub(crate) name_alg: u16,
    pub(crate) attributes: u32,
    pub(crate) policy: Vec<u8>,
    /// Algorithm, key bits, mode.
    pub(crate) symmetric: Option<[u16; 3]>,
    /// Scheme and hash.
    pub(crate) scheme: Option<[u16; 2]>,
    pub(crate) rsa_bits: u16,
    pub(crate) exponent: u32,
    pub(crate) curve: u16,
    /// Modulus, or x and y.
    pub(crate) unique: Vec<Vec<u8>>,
}

impl PublicSpec {
    pub(crate) fn rsa_ek(key: &RsaKeyPair) -> Self {
        Self {
            kind: 0x0001,
            name_alg: 0x000b,
            attributes: 0x0003_00b2,
            policy: policy_a_sha256(),
            symmetric: Some([0x0006, 128, 0x0043]),
            scheme: None,
            rsa_bits: 2048,
            exponent: 0,
            curve: 0,
            unique: vec![modulus(key)],
        }
    }

    pub(crate) fn ecc_ek(point: &[u8]) -> Self {
        Self { kind: 0x0023, curve: 0x0003, unique: coordinates(point), ..Self::rsa_ek(&RSA_A) }
    }

    pub(crate) fn ecc_ak(point: &[u8]) -> Self {
        Self {
            attributes: RESTRICTED_SIGNING,
            policy: vec![],
            symmetric: None,
            scheme: Some([0x0018, 0x000b]),
            ..Self::ecc_ek(point)
        }
    }

    pub(crate) fn rsa_ak(key: &RsaKeyPair) -> Self {
        Self {
            attributes: RESTRICTED_SIGNING,
            policy: vec![],
            symmetric: None,
            scheme: Some([0x0014, 0x000b]),
            ..Self::rsa_ek(key)
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, &[self.kind, self.name_alg]);
        out.extend_from_slice(&self.attributes.to_be_bytes());
        sized(&mut out, &self.policy);
        match self.symmetric {
            Some(symmetric) => push(&mut out, &symmetric),
            None => push(&mut out, &[0x0010]),
        }
        match self.scheme {
            Some([scheme @ (0x0010 | 0x0015), _]) => push(&mut out, &[scheme]),
            Some(scheme) => push(&mut out, &scheme),
            None => push(&mut out, &[0x0010]),
        }
        if self.kind == 0x0023 {
            push(&mut out, &[self.curve, 0x0010]);
        } else {
            push(&mut out, &[self.rsa_bits]);
            out.extend_from_slice(&self.exponent.to_be_bytes());
        }
        for part in &self.unique {
            sized(&mut out, part);
        }
        out
    }

    pub(crate) fn public(&self) -> Public {
        Public::parse(&self.bytes()).unwrap()
    }
}

/// `PolicySecret` of the endorsement hierarchy, computed as a TPM does (Part 3, §23.2.1, §23.4).
pub(crate) fn policy_a_sha256() -> Vec<u8> {
    let first = HashAlg::Sha256.digest(&[&[0; 32], &[0, 0, 1, 0x51], &[0x40, 0, 0, 0x0b]]);
    HashAlg::Sha256.digest(&[&first])
}

/// x and y of an uncompressed point.
pub(crate) fn coordinates(point: &[u8]) -> Vec<Vec<u8>> {
    let half = point.len() / 2;
    vec![point[1..=half].to_vec(), point[half + 1..].to_vec()]
}

/// A key that signs quotes.
pub(crate) enum SigningKey {
    Rsa(&'static RsaKeyPair),
    Ecc(EcdsaKeyPair),
}

impl SigningKey {
    pub(crate) fn p256() -> Self {
        Self::Ecc(EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn p384() -> Self {
        Self::Ecc(EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn spec(&self) -> PublicSpec {
        match self {
            Self::Rsa(key) => PublicSpec::rsa_ak(key),
            Self::Ecc(key) => {
                let point = key.public_key().as_ref();
                let mut spec = PublicSpec::ecc_ak(point);
                if point.len() > 65 {
                    (spec.curve, spec.scheme) = (0x0004, Some([0x0018, 0x000c]));
                }
                spec
            }
        }
    }

    /// `TPMT_SIGNATURE` over the message, by the key's own way or, for RSA, the one given.
    pub(crate) fn sign(
        &self,
        message: &[u8],
        rsa: Option<(&'static signature::RsaSignatureEncoding, [u16; 2])>,
    ) -> Vec<u8> {
        let rng = SystemRandom::new();
        let mut out = Vec::new();
        match self {
            Self::Rsa(key) => {
                let (padding, scheme) = rsa.unwrap_or((&signature::RSA_PKCS1_SHA256, [0x0014, 0x000b]));
                let mut value = vec![0; key.public_modulus_len()];
                key.sign(padding, &rng, message, &mut value).unwrap();
                push(&mut out, &scheme);
                sized(&mut out, &value);
            }
            Self::Ecc(key) => {
                let value = key.sign(&rng, message).unwrap();
                let (r, s) = value.as_ref().split_at(value.as_ref().len() / 2);
                push(&mut out, &[0x0018, if r.len() > 32 { 0x000c } else { 0x000b }]);
                sized(&mut out, r);
                sized(&mut out, s);
            }
        }
        out
    }
}

/// `TPMS_ATTEST`, field by field.
#[derive(Clone)]
pub(crate) struct AttestSpec {
    pub(crate) magic: u32,
    pub(crate) kind: u16,
    pub(crate) qualified_signer: Vec<u8>,
    pub(crate) extra_data: Vec<u8>,
    pub(crate) clock: u64,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    pub(crate) safe: u8,
    pub(crate) firmware_version: u64,
    /// Bank and bitmap.
    pub(crate) selection: Vec<(u16, Vec<u8>)>,
    pub(crate) digest: Vec<u8>,
    pub(crate) trailing: Vec<u8>,
}

impl AttestSpec {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_be_bytes().to_vec();
        push(&mut out, &[self.kind]);
        sized(&mut out, &self.qualified_signer);
        sized(&mut out, &self.extra_data);
        out.extend_from_slice(&self.clock.to_be_bytes());
        out.extend_from_slice(&self.reset_count.to_be_bytes());
        out.extend_from_slice(&self.restart_count.to_be_bytes());
        out.push(self.safe);
        out.extend_from_slice(&self.firmware_version.to_be_bytes());
        out.extend_from_slice(&u32::try_from(self.selection.len()).unwrap().to_be_bytes());
        for (bank, bitmap) in &self.selection {
            push(&mut out, &[*bank]);
            out.push(u8::try_from(bitmap.len()).unwrap());
            out.extend_from_slice(bitmap);
        }
        sized(&mut out, &self.digest);
        out.extend_from_slice(&self.trailing);
        out
    }
}

fn push(out: &mut Vec<u8>, numbers: &[u16]) {
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

pub(crate) fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    push(out, &[u16::try_from(bytes.len()).unwrap()]);
    out.extend_from_slice(bytes);
}

// ---- certificates -------------------------------------------------------------------------------

pub(crate) const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
pub(crate) const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
pub(crate) const EXT_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
pub(crate) const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";
/// keyUsage bits as the first byte of their BIT STRING.
pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(crate) const KEY_AGREEMENT: u8 = 0x08;
pub(crate) const CERT_AND_CRL_SIGN: u8 = 0x06;
const ECDSA_WITH_SHA256: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
pub(crate) const ECDSA_WITH_SHA1: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x01";

/// One extension.
#[derive(Clone)]
pub(crate) struct Extension {
    pub(crate) oid: &'static [u8],
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

/// A certificate, field by field.
#[derive(Clone)]
pub(crate) struct CertificateSpec {
    /// 2 means v3.
    pub(crate) version: u8,
    pub(crate) serial: u8,
    pub(crate) algorithm: &'static [u8],
    pub(crate) subject: Vec<u8>,
    pub(crate) validity: [&'static str; 2],
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
}

impl CertificateSpec {
    /// A well-formed EK certificate's specification.
    pub(crate) fn ek(ek: &Public) -> Self {
        let usage = if ek.as_bytes()[1] == 1 { KEY_ENCIPHERMENT } else { KEY_AGREEMENT };
        Self {
            version: 2,
            serial: 7,
            algorithm: ECDSA_WITH_SHA256,
            subject: der::sequence(&[]),
            validity: ["20200101000000Z", "20401231235959Z"],
            spki: ek.spki_der(),
            extensions: vec![
                Extension { oid: BASIC_CONSTRAINTS, critical: true, value: der::sequence(&[]) },
                key_usage(usage),
                Extension { oid: EXT_KEY_USAGE, critical: false, value: purposes(&[b"\x67\x81\x05\x08\x01"]) },
                Extension {
                    oid: SUBJECT_ALT_NAME,
                    critical: true,
                    value: alt_names(&[tpm_name("id:49465800", "SLB9672", "id:00100010")]),
                },
            ],
        }
    }

    pub(crate) fn ca(subject: &str, key: &EcdsaKeyPair) -> Self {
        let constraints = der::sequence(&[&der::tagged(0x01, &[&[0xff]])]);
        Self {
            version: 2,
            serial: 1,
            algorithm: ECDSA_WITH_SHA256,
            subject: common_name(subject),
            validity: ["20200101000000Z", "20401231235959Z"],
            spki: p256_spki(key.public_key().as_ref()),
            extensions: vec![
                Extension { oid: BASIC_CONSTRAINTS, critical: true, value: constraints },
                key_usage(CERT_AND_CRL_SIGN),
            ],
        }
    }

    pub(crate) fn extension(&mut self, oid: &[u8]) -> &mut Extension {
        self.extensions.iter_mut().find(|extension| extension.oid == oid).unwrap()
    }

    pub(crate) fn remove(&mut self, oid: &[u8]) {
        self.extensions.retain(|extension| extension.oid != oid);
    }

    pub(crate) fn signed_by(&self, issuer: &Ca) -> Vec<u8> {
        self.sign(&issuer.spec.subject, &issuer.key)
    }

    fn sign(&self, issuer: &[u8], key: &EcdsaKeyPair) -> Vec<u8> {
        let algorithm = der::sequence(&[&der::tagged(0x06, &[self.algorithm])]);
        let time = |text: &str| der::tagged(0x18, &[text.as_bytes()]);
        let extensions: Vec<_> = self.extensions.iter().map(Extension::der).collect();
        let extensions: Vec<_> = extensions.iter().map(Vec::as_slice).collect();
        // RFC 5280 wants UTCTime before 2050; GeneralizedTime is read all the same.
        let tbs = der::sequence(&[
            &der::tagged(0xa0, &[&der::unsigned(&[self.version])]),
            &der::unsigned(&[self.serial]),
            &algorithm,
            issuer,
            &der::sequence(&[&time(self.validity[0]), &time(self.validity[1])]),
            &self.subject,
            &self.spki,
            &der::tagged(0xa3, &[&der::sequence(&extensions)]),
        ]);
        sign_der(&tbs, &algorithm, key)
    }
}

impl Extension {
    fn der(&self) -> Vec<u8> {
        let oid = der::tagged(0x06, &[self.oid]);
        let value = der::tagged(0x04, &[&self.value]);
        let critical = der::tagged(0x01, &[&[0xff]]);
        if self.critical { der::sequence(&[&oid, &critical, &value]) } else { der::sequence(&[&oid, &value]) }
    }
}

/// A CA with its certificate.
pub(crate) struct Ca {
    pub(crate) key: EcdsaKeyPair,
    pub(crate) spec: CertificateSpec,
    pub(crate) certificate: Vec<u8>,
}

impl Ca {
    pub(crate) fn root(name: &str, change: impl FnOnce(&mut CertificateSpec)) -> Self {
        let key = ca_key();
        let mut spec = CertificateSpec::ca(name, &key);
        change(&mut spec);
        let certificate = spec.sign(&spec.subject, &key);
        Self { key, spec, certificate }
    }

    pub(crate) fn intermediate(name: &str, issuer: &Self, change: impl FnOnce(&mut CertificateSpec)) -> Self {
        let key = ca_key();
        let mut spec = CertificateSpec::ca(name, &key);
        change(&mut spec);
        let certificate = spec.signed_by(issuer);
        Self { key, spec, certificate }
    }

    /// A CRL of this CA that revokes the serials.
    pub(crate) fn crl(&self, next_update: &str, revoked: &[u8]) -> Vec<u8> {
        let algorithm = der::sequence(&[&der::tagged(0x06, &[ECDSA_WITH_SHA256])]);
        let time = |text: &str| der::tagged(0x18, &[text.as_bytes()]);
        let this_update = time("20250101000000Z");
        let entries: Vec<_> =
            revoked.iter().map(|serial| der::sequence(&[&der::unsigned(&[*serial]), &this_update])).collect();
        let entries: Vec<_> = entries.iter().map(Vec::as_slice).collect();
        let number = Extension { oid: b"\x55\x1d\x14", critical: false, value: der::unsigned(&[1]) };
        let mut parts = vec![
            der::unsigned(&[1]),
            algorithm.clone(),
            self.spec.subject.clone(),
            this_update.clone(),
            time(next_update),
        ];
        if !entries.is_empty() {
            parts.push(der::sequence(&entries));
        }
        parts.push(der::tagged(0xa0, &[&der::sequence(&[&number.der()])]));
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        sign_der(&der::sequence(&parts), &algorithm, &self.key)
    }
}

/// A vendor: a root, an intermediate, and a TPM with its EK certificate.
pub(crate) struct Vendor {
    pub(crate) root: Ca,
    pub(crate) intermediate: Ca,
    pub(crate) ek: Public,
    pub(crate) leaf: CertificateSpec,
    /// A certificate that is sent besides the leaf and the intermediate.
    pub(crate) above: Option<Vec<u8>>,
    pub(crate) crls: Vec<Vec<u8>>,
    pub(crate) at: u64,
    pub(crate) padding: Vec<u8>,
}

impl Vendor {
    pub(crate) fn rsa() -> Self {
        Self::of(PublicSpec::rsa_ek(&RSA_A).public())
    }

    pub(crate) fn ecc() -> Self {
        let key = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self::of(PublicSpec::ecc_ek(key.public_key().as_ref()).public())
    }

    pub(crate) fn of(ek: Public) -> Self {
        let root = Ca::root("Vendor TPM Root CA", |_| {});
        let intermediate = Ca::intermediate("Vendor TPM EK CA 01", &root, |_| {});
        let leaf = CertificateSpec::ek(&ek);
        Self { root, intermediate, ek, leaf, above: None, crls: vec![], at: NOW, padding: vec![] }
    }

    pub(crate) fn verify(&self) -> Result<EkIdentity, Refused> {
        self.verify_with(&self.anchors())
    }

    pub(crate) fn anchors(&self) -> TrustAnchors {
        TrustAnchors::from_der([self.root.certificate.as_slice()]).unwrap()
    }

    pub(crate) fn leaf_der(&self) -> Vec<u8> {
        let mut leaf = self.leaf.signed_by(&self.intermediate);
        leaf.extend_from_slice(&self.padding);
        leaf
    }

    pub(crate) fn verify_with(&self, anchors: &TrustAnchors) -> Result<EkIdentity, Refused> {
        let crls: Vec<_> = self.crls.iter().map(Vec::as_slice).collect();
        let mut chain = vec![self.leaf_der(), self.intermediate.certificate.clone()];
        chain.extend(self.above.clone());
        let chain: Vec<_> = chain.iter().map(Vec::as_slice).collect();
        verify_ek_certificate(&chain, &self.ek, anchors, &crls, self.at)
    }
}

/// The verification with one thing changed.
pub(crate) fn changed(mut vendor: Vendor, change: impl FnOnce(&mut Vendor)) -> Result<EkIdentity, Refused> {
    change(&mut vendor);
    vendor.verify()
}

pub(crate) fn key_usage(bits: u8) -> Extension {
    let unused = u8::try_from(bits.trailing_zeros()).unwrap();
    Extension { oid: KEY_USAGE, critical: true, value: der::tagged(0x03, &[&[unused, bits]]) }
}

pub(crate) fn purposes(oids: &[&[u8]]) -> Vec<u8> {
    let oids: Vec<_> = oids.iter().map(|oid| der::tagged(0x06, &[oid])).collect();
    let oids: Vec<_> = oids.iter().map(Vec::as_slice).collect();
    der::sequence(&oids)
}

/// subjectAltName of directory names.
pub(crate) fn alt_names(names: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| der::tagged(0xa4, &[name])).collect();
    let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
    der::sequence(&names)
}

/// A name of manufacturer, model and version, in one RDN.
pub(crate) fn tpm_name(manufacturer: &str, model: &str, version: &str) -> Vec<u8> {
    let attributes: Vec<_> = [manufacturer, model, version]
        .iter()
        .zip(1_u8..)
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, last)| {
            let oid = der::tagged(0x06, &[b"\x67\x81\x05\x02", &[last]]);
            der::sequence(&[&oid, &der::tagged(0x0c, &[text.as_bytes()])])
        })
        .collect();
    let attributes: Vec<_> = attributes.iter().map(Vec::as_slice).collect();
    der::sequence(&[&der::tagged(0x31, &attributes)])
}

pub(crate) fn common_name(text: &str) -> Vec<u8> {
    let oid = der::tagged(0x06, &[b"\x55\x04\x03"]);
    let attribute = der::sequence(&[&oid, &der::tagged(0x0c, &[text.as_bytes()])]);
    der::sequence(&[&der::tagged(0x31, &[&attribute])])
}

fn ca_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()
}

fn p256_spki(point: &[u8]) -> Vec<u8> {
    PublicSpec::ecc_ek(point).public().spki_der()
}

fn sign_der(tbs: &[u8], algorithm: &[u8], key: &EcdsaKeyPair) -> Vec<u8> {
    let signature = key.sign(&SystemRandom::new(), tbs).unwrap();
    der::sequence(&[tbs, algorithm, &der::bit_string(signature.as_ref())])
}

//! Intel's certificates: root, PCK CA, PCK with the SGX extension, TCB signing.

use crate::{
    issued::{self, Date},
    text::pem,
};
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use std::sync::OnceLock;
use yasna::{DERWriterSeq, construct_der, models::ObjectIdentifier};

/// Intel's arc for SGX: 1.2.840.113741.1.13.1.
const SGX: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];

/// A P-256 key, made when it is asked for.
pub struct Key(KeyPair);

impl Default for Key {
    fn default() -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }
}

impl Key {
    /// ECDSA with SHA-256: r and s, 32 bytes each.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        issued::sign(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0, message)
    }

    /// The point without its first byte: x and y, 32 bytes each.
    pub fn point(&self) -> Vec<u8> {
        self.0.public_key_raw().get(1..).unwrap_or_default().to_vec()
    }

    fn pair(&self) -> &KeyPair {
        &self.0
    }
}

/// One certificate before it is signed.
pub struct Certificate {
    /// Its key.
    pub key: Key,
    /// The subject's common name.
    pub name: String,
    /// Serial number.
    pub serial: Vec<u8>,
    /// Its first day.
    pub not_before: Date,
    /// Its last day.
    pub not_after: Date,
}

impl Certificate {
    fn named(name: &str, serial: u8) -> Self {
        let serial = vec![0x10, serial];
        let (not_before, not_after) = ((2018, 5, 21), (2049, 12, 31));
        Self { key: Key::default(), name: name.to_owned(), serial, not_before, not_after }
    }

    pub(super) fn params(&self, ca: bool) -> CertificateParams {
        let time = (self.not_before, self.not_after);
        let mut params = issued::params(&self.name, "Intel Corporation", &self.serial, time);
        params.use_authority_key_identifier_extension = true;
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }
        params
    }

    pub(super) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::new(self.params(true), self.key.pair())
    }
}

/// The four certificates.
pub struct Certificates {
    /// `Intel SGX Root CA`.
    pub root: Certificate,
    /// `Intel SGX PCK Platform CA`.
    pub ca: Certificate,
    /// The platform's `Intel SGX PCK Certificate`.
    pub pck: Certificate,
    /// `Intel SGX TCB Signing`.
    pub tcb: Certificate,
    /// Certificates (PEM) that stand in the quote behind the honest ones.
    pub more: String,
    /// The root's certificate, made when it is first asked for: a signature is another each time, and the root is
    /// known by its fingerprint.
    made: OnceLock<Vec<u8>>,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            root: Certificate::named("Intel SGX Root CA", 1),
            ca: Certificate::named("Intel SGX PCK Platform CA", 2),
            pck: Certificate::named("Intel SGX PCK Certificate", 3),
            tcb: Certificate::named("Intel SGX TCB Signing", 4),
            more: String::new(),
            made: OnceLock::new(),
        }
    }
}

impl Certificates {
    pub(super) fn root_der(&self) -> Vec<u8> {
        let make = || self.root.params(true).self_signed(self.root.key.pair()).unwrap().der().to_vec();
        self.made.get_or_init(make).clone()
    }

    fn root_pem(&self) -> String {
        pem(&self.root_der())
    }

    /// PCK, its CA, the root.
    pub(super) fn pck_chain(&self, platform: &Platform) -> String {
        let mut params = self.pck.params(false);
        params.custom_extensions = vec![CustomExtension::from_oid_content(&SGX, platform.extension())];
        let leaf = params.signed_by(self.pck.key.pair(), &self.ca.issuer()).unwrap();
        [pem(leaf.der()), self.ca_chain(), self.more.clone()].concat()
    }

    /// The PCK's CA, the root.
    pub(super) fn ca_chain(&self) -> String {
        let ca = self.ca.params(true).signed_by(self.ca.key.pair(), &self.root.issuer()).unwrap();
        [pem(ca.der()), self.root_pem()].concat()
    }

    /// TCB signing, the root.
    pub(super) fn tcb_chain(&self) -> String {
        let tcb = self.tcb.params(false).signed_by(self.tcb.key.pair(), &self.root.issuer()).unwrap();
        [pem(tcb.der()), self.root_pem()].concat()
    }
}

/// What the SGX extension of a PCK certificate says (Intel SGX PCK Certificate and CRL Profile, §1.3.5).
#[derive(Debug, Clone)]
pub struct Platform {
    /// Platform provisioning id, 16 bytes.
    pub ppid: Vec<u8>,
    /// 6 bytes.
    pub fmspc: Vec<u8>,
    /// 2 bytes.
    pub pce_id: Vec<u8>,
    /// 16 components.
    pub cpu_svn: [u8; 16],
    /// Security version of the provisioning certification enclave.
    pub pce_svn: u16,
    /// 1: scalable.
    pub sgx_type: u8,
    /// Only platforms have one.
    pub instance_id: Option<Vec<u8>>,
    /// Only platforms say so.
    pub smt: Option<bool>,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            ppid: (1..=16).collect(),
            fmspc: vec![0xb0, 0xc0, 0x6f, 0, 0, 0],
            pce_id: vec![0, 0],
            cpu_svn: [3; 16],
            pce_svn: 13,
            sgx_type: 1,
            instance_id: Some(vec![7; 16]),
            smt: Some(true),
        }
    }
}

impl Platform {
    fn extension(&self) -> Vec<u8> {
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                octets(writer, &[1], &self.ppid);
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(&[2]));
                    writer.next().write_sequence(|writer| {
                        for (number, svn) in (1..).zip(&self.cpu_svn) {
                            integer(writer, &[2, number], u16::from(*svn));
                        }
                        integer(writer, &[2, 17], self.pce_svn);
                        octets(writer, &[2, 18], &self.cpu_svn);
                    });
                });
                octets(writer, &[3], &self.pce_id);
                octets(writer, &[4], &self.fmspc);
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(&[5]));
                    writer.next().write_enum(i64::from(self.sgx_type));
                });
                if let Some(instance) = &self.instance_id {
                    octets(writer, &[6], instance);
                }
                if let Some(smt) = self.smt {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(&[7]));
                        writer.next().write_sequence(|writer| {
                            for (number, value) in [(1, false), (2, true), (3, smt)] {
                                writer.next().write_sequence(|writer| {
                                    writer.next().write_oid(&oid(&[7, number]));
                                    writer.next().write_bool(value);
                                });
                            }
                        });
                    });
                }
            });
        })
    }
}

fn oid(of: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::new([&SGX[..], of].concat())
}

fn octets(writer: &mut DERWriterSeq<'_>, of: &[u64], value: &[u8]) {
    writer.next().write_sequence(|writer| {
        writer.next().write_oid(&oid(of));
        writer.next().write_bytes(value);
    });
}

fn integer(writer: &mut DERWriterSeq<'_>, of: &[u64], value: u16) {
    writer.next().write_sequence(|writer| {
        writer.next().write_oid(&oid(of));
        writer.next().write_u16(value);
    });
}

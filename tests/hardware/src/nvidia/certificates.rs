//! Chains on P-384: of a device, and of a manifest's signer.

use crate::issued::{self, Date};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, PublicKeyData as _,
};
use ring::digest::{SHA256, digest};
use std::sync::{Arc, OnceLock};
use yasna::{Tag, construct_der, models::ObjectIdentifier};

/// A P-384 key, made when it is asked for.
#[derive(Clone)]
pub struct Key(Arc<KeyPair>);

impl Default for Key {
    fn default() -> Self {
        Self(Arc::new(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()))
    }
}

impl Key {
    /// ECDSA with SHA-384: r and s, 48 bytes each.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        issued::sign(&ECDSA_P384_SHA384_FIXED_SIGNING, &self.0, message)
    }

    /// ECDSA with SHA-384, as certificates have it.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        issued::sign(&ECDSA_P384_SHA384_ASN1_SIGNING, &self.0, message)
    }

    /// `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// The point.
    pub fn point(&self) -> Vec<u8> {
        self.0.public_key_raw().to_vec()
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

/// One certificate before it is signed.
#[derive(Clone)]
pub struct Certificate {
    /// Its key.
    pub key: Key,
    /// The subject's common name.
    pub name: String,
    /// Serial number.
    pub serial: Vec<u8>,
    /// Its first day.
    pub not_before: Date,
    /// The day after its last.
    pub not_after: Date,
    /// Whether it is a CA's.
    pub ca: bool,
    /// Most intermediates below it.
    pub path_length: Option<u8>,
    /// What its key is for.
    pub usages: Vec<KeyUsagePurpose>,
    /// Further extensions: identifier, critical, contents.
    pub extensions: Vec<(Vec<u64>, bool, Vec<u8>)>,
}

impl Certificate {
    /// A CA that may sign revocation lists.
    pub fn ca(name: &str, serial: u8) -> Self {
        Self {
            key: Key::default(),
            name: name.to_owned(),
            serial: vec![0x41, 0x43, serial],
            not_before: (2021, 11, 5),
            not_after: (2049, 12, 31),
            ca: true,
            path_length: None,
            usages: vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            extensions: vec![],
        }
    }

    /// A certificate that ends a chain.
    pub fn leaf(name: &str, serial: u8) -> Self {
        Self { ca: false, usages: vec![KeyUsagePurpose::DigitalSignature], ..Self::ca(name, serial) }
    }

    pub(super) fn params(&self, more: Option<(Vec<u64>, Vec<u8>)>) -> CertificateParams {
        let time = (self.not_before, self.not_after);
        let mut params = issued::params(&self.name, "Stand-in of NVIDIA", &self.serial, time);
        params.is_ca = match (self.ca, self.path_length) {
            (false, _) => IsCa::NoCa,
            (true, None) => IsCa::Ca(BasicConstraints::Unconstrained),
            (true, Some(length)) => IsCa::Ca(BasicConstraints::Constrained(length)),
        };
        params.key_usages.clone_from(&self.usages);
        let further = self.extensions.iter().map(|(id, critical, content)| {
            let mut extension = CustomExtension::from_oid_content(id, content.clone());
            extension.set_criticality(*critical);
            extension
        });
        let more = more.map(|(id, content)| CustomExtension::from_oid_content(&id, content));
        params.custom_extensions = further.chain(more).collect();
        params
    }

    /// Signed by its issuer, or by itself.
    fn signed(&self, more: Option<(Vec<u64>, Vec<u8>)>, issuer: Option<&Self>) -> Vec<u8> {
        let params = self.params(more);
        let signed = match issuer {
            Some(issuer) => params.signed_by(self.key.pair(), &issuer.issuer()),
            None => params.self_signed(self.key.pair()),
        };
        signed.unwrap().der().to_vec()
    }

    /// Who signs with this certificate's key, whatever the certificate allows.
    pub(super) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        let mut params = self.params(None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Issuer::new(params, self.key.pair())
    }
}

/// A chain before it is signed.
///
/// ECDSA signs anew each time, and a root is pinned by all of its bytes: what stands above the leaf is signed when it
/// is first asked for, and is the same from then on. Change certificates before that.
pub struct Chain {
    /// From the root to the leaf.
    pub certificates: Vec<Certificate>,
    signed: OnceLock<Vec<Vec<u8>>>,
}

impl Chain {
    /// As a Hopper has it: root, identity CA, provisioning CA, device, reporting key.
    pub fn of_device() -> Self {
        // The device signs certificates, and no revocation lists.
        let device = Certificate::ca("GH100 A01 GSP BROM", 4);
        let device = Certificate { usages: vec![KeyUsagePurpose::KeyCertSign], ..device };
        Self {
            certificates: vec![
                Certificate::ca("Stand-in Device Identity CA", 1),
                Certificate::ca("Stand-in GH100 Identity", 2),
                Certificate::ca("Stand-in GH100 Provisioner", 3),
                device,
                Certificate::leaf("GH100 A01 GSP FMC LF", 5),
            ],
            signed: OnceLock::new(),
        }
    }

    /// Another device of the same CAs, with this serial number and keys of its own: what one list of pins and one of
    /// revocations is for.
    #[must_use]
    pub fn another_device(&self, serial: &[u8]) -> Self {
        let above = self.certificates.iter().take(3).cloned();
        let last = Self::of_device().certificates.into_iter().skip(3);
        let mut certificates: Vec<Certificate> = above.chain(last).collect();
        certificates[3].serial = serial.to_vec();
        let device = certificates[3].signed(None, certificates.get(2));
        // Below the leaf there is nothing, above the device all stays as it was signed.
        let signed: Vec<Vec<u8>> = [vec![device], self.ders().split_off(2)].concat();
        Self { certificates, signed: OnceLock::from(signed) }
    }

    /// As a manifest's signer has it: root, CA of a chip's values, CA of a level, signer.
    pub fn of_signer() -> Self {
        Self {
            certificates: vec![
                Certificate::ca("Stand-in CoRIM signing Root CA", 0x11),
                Certificate::ca("Stand-in Reference Value GH100 CA", 0x12),
                Certificate { path_length: Some(0), ..Certificate::ca("Stand-in Reference Value L3", 0x13) },
                Certificate::leaf("Stand-in RIM signer", 0x14),
            ],
            signed: OnceLock::new(),
        }
    }

    /// The last certificate.
    pub fn leaf(&self) -> &Certificate {
        self.certificates.last().unwrap()
    }

    /// The chain as DER, leaf first.
    pub fn ders(&self) -> Vec<Vec<u8>> {
        self.ders_with(None)
    }

    /// SHA-256 of the root.
    pub fn root_sha256(&self) -> [u8; 32] {
        let root = self.ders().pop().unwrap();
        digest(&SHA256, &root).as_ref().try_into().unwrap()
    }

    /// The same with an extension (identifier, contents) in the leaf.
    pub(super) fn ders_with(&self, more: Option<(Vec<u64>, Vec<u8>)>) -> Vec<Vec<u8>> {
        let (leaf, above) = self.certificates.split_last().unwrap();
        let above_signed = self.signed.get_or_init(|| {
            let signed = |(place, certificate): (usize, &Certificate)| {
                certificate.signed(None, place.checked_sub(1).and_then(|issuer| above.get(issuer)))
            };
            let mut signed: Vec<Vec<u8>> = above.iter().enumerate().map(signed).collect();
            signed.reverse();
            signed
        });
        let leaf = leaf.signed(more, above.last());
        [vec![leaf], above_signed.clone()].concat()
    }
}

/// How the extension of the reporting key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `CompositeDeviceID`, as NVIDIA's certificates have it.
    Composite,
    /// `TcbInfo` of the published standard.
    TcbInfo,
    /// A list with one `TcbInfo`.
    Multi,
    /// Not at all.
    Absent,
}

/// The DICE extension of the reporting key's certificate.
#[derive(Debug, Clone)]
pub struct Dice {
    /// How it is written.
    pub form: Form,
    /// Digest of the firmware.
    pub fwid: Vec<u8>,
    /// The digest's algorithm.
    pub algorithm: Vec<u64>,
    /// The device's key, if another than that of the certificate above.
    pub device: Option<Vec<u8>>,
    /// How many FWIDs a `TcbInfo` has.
    pub copies: usize,
}

impl Default for Dice {
    fn default() -> Self {
        Self {
            form: Form::Composite,
            fwid: vec![0xf5; 48],
            algorithm: vec![2, 16, 840, 1, 101, 3, 4, 2, 2],
            device: None,
            copies: 1,
        }
    }
}

impl Dice {
    pub(super) fn extension(&self, chain: &Chain) -> Option<(Vec<u64>, Vec<u8>)> {
        let above = chain.certificates.len().checked_sub(2).and_then(|above| chain.certificates.get(above));
        let device = self.device.clone().or_else(|| above.map(|above| above.key.spki())).unwrap_or_default();
        let fwid = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_oid(&ObjectIdentifier::from_slice(&self.algorithm));
                writer.next().write_bytes(&self.fwid);
            });
        });
        let composite = || {
            construct_der(|writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_u8(1);
                    writer.next().write_der(&device);
                    writer.next().write_der(&fwid);
                });
            })
        };
        let tcb_info = || {
            construct_der(|writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_utf8_string("NVIDIA"));
                    writer.next().write_tagged_implicit(Tag::context(6), |writer| {
                        writer.write_sequence(|writer| {
                            for _ in 0..self.copies {
                                writer.next().write_der(&fwid);
                            }
                        });
                    });
                });
            })
        };
        let id = |last: u64| vec![2, 23, 133, 5, 4, last];
        match self.form {
            Form::Composite => Some((id(1), composite())),
            Form::TcbInfo => Some((id(1), tcb_info())),
            Form::Multi => {
                let one = tcb_info();
                let list = construct_der(|writer| writer.write_sequence(|writer| writer.next().write_der(&one)));
                Some((id(5), list))
            }
            Form::Absent => None,
        }
    }
}

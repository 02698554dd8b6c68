//! A TPM vendor: a root, an intermediate, lists of revoked certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use strongroom_protocol::sha256;
use time::OffsetDateTime;

pub(crate) struct Vendor {
    pub(crate) root: Issuer,
    pub(crate) intermediate: Issuer,
}

pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

impl Vendor {
    pub(crate) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(params("Vendor Root"), KeyPair::generate().unwrap()).unwrap();
        let issued = CertifiedIssuer::signed_by(params("Vendor Issuing CA"), KeyPair::generate().unwrap(), &root);
        Self { root: Issuer(root), intermediate: Issuer(issued.unwrap()) }
    }
}

impl Issuer {
    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.as_ref().der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(sha256(&self.der()))
    }

    /// Its name in the store.
    pub(crate) fn name(&self) -> String {
        format!("tpm-vendor/certificate/{}.der", self.fingerprint())
    }

    /// A certificate (PEM) of somebody who issues nothing.
    pub(crate) fn issues(&self, name: &str) -> String {
        let mut below = params(name);
        (below.is_ca, below.key_usages) = (IsCa::ExplicitNoCa, vec![KeyUsagePurpose::DigitalSignature]);
        below.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap().pem()
    }

    /// A list that revokes nothing, valid from and until these times, Unix seconds.
    pub(crate) fn list(&self, from: i64, until: i64) -> Vec<u8> {
        let list = CertificateRevocationListParams {
            this_update: at(from),
            next_update: at(until),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().der().to_vec()
    }
}

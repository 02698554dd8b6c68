//! What the stand-ins have in common whose certificates `rcgen` makes.
#![allow(clippy::unwrap_used, reason = "a stand-in that cannot be made ends the test that wants it")]

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{EcdsaKeyPair, EcdsaSigningAlgorithm},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber, date_time_ymd};

/// A day: year, month, day. Everything begins and ends at midnight UTC.
pub type Date = (i32, u8, u8);

/// Signs a message in the algorithm's form.
pub(crate) fn sign(algorithm: &'static EcdsaSigningAlgorithm, pair: &KeyPair, message: &[u8]) -> Vec<u8> {
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pair.serialized_der()).unwrap();
    key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

/// A certificate of this name, organisation, serial number and time, which allows nothing yet.
pub(crate) fn params(
    name: &str,
    organization: &str,
    serial: &[u8],
    (not_before, not_after): (Date, Date),
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    let date = |(year, month, day): Date| date_time_ymd(year, month, day);
    (params.not_before, params.not_after) = (date(not_before), date(not_after));
    params
}

//! E1: is this the certificate of an endorsement key? (TCG EK Credential Profile 2.6, §3.2.)
//!
//! What vendors do wrong and what is accepted of it stands in [`Tolerance`].

use crate::{
    Refused, Tolerance,
    tpm::{Curve, Key, Public},
};
use strongroom_protocol::limits;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, X509Extension},
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
        OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
        OID_X509_EXT_SUBJECT_ALT_NAME, Oid, asn1_rs::oid,
    },
    prelude::FromDer,
    public_key::RSAPublicKey,
    x509::{SubjectPublicKeyInfo, X509Name, X509Version},
};

const EK_CERTIFICATE: Oid<'static> = oid!(2.23.133.8.1);
const RSAES_OAEP: Oid<'static> = oid!(1.2.840.113549.1.1.7);
const TPM_MANUFACTURER: Oid<'static> = oid!(2.23.133.2.1);
const TPM_MODEL: Oid<'static> = oid!(2.23.133.2.2);
const TPM_VERSION: Oid<'static> = oid!(2.23.133.2.3);
/// Characters of a TPM attribute; the profile's are far shorter.
const MAX_ATTRIBUTE: usize = 64;

/// A chain within its caps.
pub(super) struct Chain<'a> {
    pub(super) leaf: &'a [u8],
    pub(super) intermediates: &'a [&'a [u8]],
}

/// What the EK certificate says, once its profile holds.
pub(super) struct Profile<'a> {
    /// The certificate without padding.
    pub(super) der: &'a [u8],
    pub(super) issuer: String,
    pub(super) key: CertifiedKey,
    pub(super) manufacturer: String,
    pub(super) manufacturer_id: String,
    pub(super) model: String,
    pub(super) version: String,
    pub(super) tolerances: Vec<Tolerance>,
}

/// The public key that the vendor certifies.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CertifiedKey {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ecc { curve: Curve, point: Vec<u8> },
}

/// Caps of a chain, before anything is parsed.
pub(super) fn capped<'a>(chain: &'a [&'a [u8]]) -> Result<Chain<'a>, Refused> {
    let [leaf, intermediates @ ..] = chain else {
        return Err(Refused::E1Chain { problem: "there is no certificate".to_owned() });
    };
    if chain.len() > limits::CERTIFICATES {
        let problem = format!("{} certificates, at most {}", chain.len(), limits::CERTIFICATES);
        return Err(Refused::E1Chain { problem });
    }
    if let Some(large) = chain.iter().find(|der| der.len() > limits::CERTIFICATE) {
        let problem = format!("a certificate of {} bytes, at most {}", large.len(), limits::CERTIFICATE);
        return Err(Refused::E1Chain { problem });
    }
    Ok(Chain { leaf, intermediates })
}

/// Checks the profile and reads what the certificate says of the TPM.
pub(super) fn check_profile(bytes: &[u8]) -> Result<Profile<'_>, Refused> {
    let (padding, certificate) =
        X509Certificate::from_der(bytes).map_err(|_| Refused::E1Malformed { field: "its DER" })?;
    let mut tolerances = Vec::new();
    match padding.split_first() {
        None => {}
        Some((first, rest)) if matches!(first, 0x00 | 0xff) && rest.iter().all(|byte| byte == first) => {
            tolerances.push(Tolerance::TrailingPadding);
        }
        Some(_) => return Err(profile("end", "is followed by other data")),
    }
    let der = bytes.get(..bytes.len() - padding.len()).unwrap_or(bytes);
    if certificate.version() != X509Version::V3 {
        return Err(profile("version", "is not 3"));
    }
    check_constraints(&certificate, &mut tolerances)?;
    let key = read_key(certificate.public_key(), &mut tolerances)?;
    check_usage(&certificate, &key, &mut tolerances)?;
    let name = read_name(&certificate, &mut tolerances)?;
    let manufacturer_id = attribute(name, &TPM_MANUFACTURER, "TPM manufacturer")?;
    let (manufacturer, formatted) = decode_manufacturer(&manufacturer_id);
    if !formatted {
        tolerances.push(Tolerance::ManufacturerFormat);
    }
    Ok(Profile {
        der,
        issuer: printable(&certificate.issuer().to_string()),
        key,
        manufacturer,
        manufacturer_id,
        model: attribute(name, &TPM_MODEL, "TPM model")?,
        version: attribute(name, &TPM_VERSION, "TPM version")?,
        tolerances,
    })
}

impl CertifiedKey {
    /// E3, first half: the EK's public area holds this key.
    pub(super) fn check_equals(&self, ek: &Public) -> Result<(), Refused> {
        let problem = match (self, ek.key()) {
            (Self::Rsa { modulus, exponent }, Key::Rsa { modulus: ek, .. }) => {
                if exponent != &[1, 0, 1] {
                    "the certified exponent is not 65537"
                } else if modulus != ek {
                    "the moduli differ"
                } else {
                    return Ok(());
                }
            }
            (Self::Ecc { curve, point }, Key::Ecc { curve: ek, x, y }) => {
                if curve != ek {
                    "the curves differ"
                } else if *point != crate::tpm::uncompressed_point(*curve, x, y) {
                    "the points differ"
                } else {
                    return Ok(());
                }
            }
            _ => "one is RSA, the other ECC",
        };
        Err(Refused::E3KeyMismatch { problem })
    }
}

fn check_constraints(certificate: &X509Certificate<'_>, tolerances: &mut Vec<Tolerance>) -> Result<(), Refused> {
    let field = "basicConstraints";
    match extension(certificate, &OID_X509_EXT_BASIC_CONSTRAINTS, field)? {
        None => tolerances.push(Tolerance::BasicConstraintsMissing),
        Some(extension) => {
            let ParsedExtension::BasicConstraints(constraints) = extension.parsed_extension() else {
                return Err(Refused::E1Malformed { field });
            };
            if constraints.ca {
                return Err(profile(field, "say that it is a CA"));
            }
            if !extension.critical {
                tolerances.push(Tolerance::BasicConstraintsNotCritical);
            }
        }
    }
    Ok(())
}

/// keyUsage and extKeyUsage: one of the two must say what the certificate is for, and neither may contradict it.
fn check_usage(
    certificate: &X509Certificate<'_>,
    key: &CertifiedKey,
    tolerances: &mut Vec<Tolerance>,
) -> Result<(), Refused> {
    let field = "keyUsage";
    let usage = extension(certificate, &OID_X509_EXT_KEY_USAGE, field)?;
    let purposes = extension(certificate, &OID_X509_EXT_EXTENDED_KEY_USAGE, "extKeyUsage")?;
    if let Some(extension) = usage {
        let ParsedExtension::KeyUsage(usage) = extension.parsed_extension() else {
            return Err(Refused::E1Malformed { field });
        };
        check_key_usage(*usage, key, tolerances)?;
        if !extension.critical {
            tolerances.push(Tolerance::KeyUsageNotCritical);
        }
    }
    if let Some(extension) = purposes {
        let ParsedExtension::ExtendedKeyUsage(ExtendedKeyUsage { other, .. }) = extension.parsed_extension() else {
            return Err(Refused::E1Malformed { field: "extKeyUsage" });
        };
        if !other.contains(&EK_CERTIFICATE) {
            return Err(profile("extKeyUsage", "does not have tcg-kp-EKCertificate (2.23.133.8.1)"));
        }
    }
    match (usage, purposes) {
        (Some(_), Some(_)) => {}
        (Some(_), None) => tolerances.push(Tolerance::ExtendedKeyUsageMissing),
        (None, Some(_)) => tolerances.push(Tolerance::KeyUsageMissing),
        (None, None) => return Err(profile(field, "and extKeyUsage are both missing, so nothing says what it is for")),
    }
    Ok(())
}

fn check_key_usage(usage: KeyUsage, key: &CertifiedKey, tolerances: &mut Vec<Tolerance>) -> Result<(), Refused> {
    let field = "keyUsage";
    let (wanted, bit, name) = match key {
        CertifiedKey::Rsa { .. } => (usage.key_encipherment(), 1 << 2, "keyEncipherment"),
        CertifiedKey::Ecc { .. } => (usage.key_agreement(), 1 << 4, "keyAgreement"),
    };
    if !wanted {
        return Err(profile(field, &format!("lacks {name}")));
    }
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(profile(field, "allows signing of certificates or CRLs"));
    }
    if usage.flags != bit {
        tolerances.push(Tolerance::KeyUsageExtra);
    }
    Ok(())
}

/// The one directory name in subjectAltName, which says what TPM it is.
fn read_name<'a>(
    certificate: &'a X509Certificate<'_>,
    tolerances: &mut Vec<Tolerance>,
) -> Result<&'a X509Name<'a>, Refused> {
    let field = "subjectAltName";
    let Some(extension) = extension(certificate, &OID_X509_EXT_SUBJECT_ALT_NAME, field)? else {
        return Err(profile(field, "is missing"));
    };
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
        return Err(Refused::E1Malformed { field });
    };
    if certificate.subject().iter_attributes().next().is_none() && !extension.critical {
        tolerances.push(Tolerance::SubjectAltNameNotCritical);
    }
    let mut directory_names = names.general_names.iter().filter_map(|name| match name {
        GeneralName::DirectoryName(name) => Some(name),
        _ => None,
    });
    match (directory_names.next(), directory_names.next()) {
        (Some(name), None) => Ok(name),
        (None, _) => Err(profile(field, "has no directory name")),
        (Some(_), Some(_)) => Err(profile(field, "has more than one directory name")),
    }
}

fn attribute(name: &X509Name<'_>, oid: &Oid<'_>, field: &'static str) -> Result<String, Refused> {
    // Vendors put the three attributes into one RDN or into three.
    let mut values = name.iter_attributes().filter(|attribute| attribute.attr_type() == oid);
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) => return Err(profile(field, "is missing in subjectAltName")),
        (Some(_), Some(_)) => return Err(profile(field, "stands twice in subjectAltName")),
    };
    let text = value.as_str().map_err(|_| Refused::E1Malformed { field })?;
    if text.is_empty() || text.len() > MAX_ATTRIBUTE || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(profile(field, "is not 1 to 64 printable ASCII characters"));
    }
    Ok(text.to_owned())
}

/// `id:` and the four bytes of `TPM_PT_MANUFACTURER` in hexadecimal, which for most vendors are text.
fn decode_manufacturer(id: &str) -> (String, bool) {
    let digits = id.strip_prefix("id:").filter(|digits| digits.len() == 8);
    let Some(number) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
        return (id.to_owned(), false);
    };
    let bytes = number.to_be_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches(['\0', ' ']);
    let printable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    (if printable { text.to_owned() } else { id.to_owned() }, true)
}

fn read_key(spki: &SubjectPublicKeyInfo<'_>, tolerances: &mut Vec<Tolerance>) -> Result<CertifiedKey, Refused> {
    let field = "public key";
    let malformed = || Refused::E1Malformed { field };
    let bits = spki.subject_public_key.data.as_ref();
    let algorithm = &spki.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION || *algorithm == RSAES_OAEP {
        if *algorithm == RSAES_OAEP {
            tolerances.push(Tolerance::RsaOaepKeyAlgorithm);
        }
        let (rest, key) = RSAPublicKey::from_der(bits).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let unsigned = |number: &[u8]| number.strip_prefix(&[0]).unwrap_or(number).to_vec();
        return Ok(CertifiedKey::Rsa { modulus: unsigned(key.modulus), exponent: unsigned(key.exponent) });
    }
    if *algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return Err(profile(field, "is neither RSA nor ECC"));
    }
    let parameters = spki.algorithm.parameters.as_ref().ok_or_else(malformed)?;
    let curve = parameters.as_oid().map_err(|_| profile(field, "does not name its curve"))?;
    let curve = if curve == OID_EC_P256 {
        Curve::P256
    } else if curve == OID_NIST_EC_P384 {
        Curve::P384
    } else {
        return Err(profile(field, "is on a curve other than P-256 and P-384"));
    };
    Ok(CertifiedKey::Ecc { curve, point: bits.to_vec() })
}

fn extension<'a>(
    certificate: &'a X509Certificate<'a>,
    oid: &Oid<'_>,
    field: &'static str,
) -> Result<Option<&'a X509Extension<'a>>, Refused> {
    certificate.get_extension_unique(oid).map_err(|_| profile(field, "stands twice"))
}

fn profile(field: &'static str, problem: &str) -> Refused {
    Refused::E1Profile { field, problem: problem.to_owned() }
}

/// Names go into messages: no control characters, and not without end.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests;

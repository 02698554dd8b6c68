//! The endorsement key and its certificate (TCG EK Credential Profile for TPM 2.0, version 2.6).

use crate::{
    error::CollectError,
    tcti::TctiConfig,
    tpm::{Step, handles_from},
};
use serde::{Deserialize, Serialize};
use std::fmt;
use strongroom_protocol::limits;
use tss_esapi::{
    Context,
    abstraction::{
        AsymmetricAlgorithmSelection, DefaultKey,
        ek::{create_ek_object_2, create_ek_public_from_default_template_2},
        nv,
    },
    constants::response_code::Tss2ResponseCodeKind as Kind,
    handles::{KeyHandle, NvIndexTpmHandle, TpmHandle},
    interface_types::{ecc::EccCurve, key_bits::RsaKeyBits, resource_handles::NvAuth, session_handles::AuthSession},
    structures::{Public, PublicKeyRsa},
};

/// EK certificates and templates (profile 2.6, §2.2.1): 0x01C00000 to 0x01C07FFF.
const NV_FIRST: u32 = 0x01c0_0000;
/// Issuers' certificates, DER one after the other, flowing over from index to index (§2.2.1.5.2).
const NV_CHAIN: std::ops::RangeInclusive<u32> = 0x01c0_0100..=0x01c0_01ff;
/// Where platforms keep EKs loaded for good (TCG Registry of Reserved TPM 2.0 Handles).
const PERSISTENT_EKS: std::ops::RangeInclusive<u32> = 0x8101_0000..=0x8101_00ff;

/// An EK that this crate can use: the profile's templates L-1 and L-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EkKind {
    /// NIST P-256 (template L-2).
    EccP256,
    /// RSA 2048 (template L-1).
    Rsa2048,
}

impl EkKind {
    /// NV index of the certificate.
    pub fn certificate_index(self) -> u32 {
        match self {
            Self::EccP256 => 0x01c0_000a,
            Self::Rsa2048 => 0x01c0_0002,
        }
    }

    fn algorithm(self) -> AsymmetricAlgorithmSelection {
        match self {
            Self::EccP256 => AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256),
            Self::Rsa2048 => AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048),
        }
    }
}

impl fmt::Display for EkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EccP256 => "ecc-p256",
            Self::Rsa2048 => "rsa2048",
        })
    }
}

/// Which EK to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EkChoice {
    /// The one with a certificate, P-256 before RSA.
    #[default]
    Auto,
    /// P-256 only.
    EccP256,
    /// RSA only.
    Rsa2048,
}

impl From<EkKind> for EkChoice {
    fn from(kind: EkKind) -> Self {
        match kind {
            EkKind::EccP256 => Self::EccP256,
            EkKind::Rsa2048 => Self::Rsa2048,
        }
    }
}

impl EkChoice {
    fn candidates(self) -> &'static [EkKind] {
        match self {
            Self::Auto => &[EkKind::EccP256, EkKind::Rsa2048],
            Self::EccP256 => &[EkKind::EccP256],
            Self::Rsa2048 => &[EkKind::Rsa2048],
        }
    }
}

/// EK certificates as the TPM stores them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EkCertificates {
    /// The EK that the first certificate is of, by its NV index.
    pub kind: EkKind,
    /// DER: the EK's certificate, then whatever issuers' certificates the TPM carries, in its order; at most 8.
    pub chain: Vec<Vec<u8>>,
}

/// Reads the certificate of the EK chosen, and the issuers' certificates beside it.
pub(crate) fn certificates(ctx: &mut Context, tcti: &TctiConfig, choice: EkChoice) -> Result<EkCertificates, Step> {
    let present = handles_from(ctx, NV_FIRST)?;
    let candidates = choice.candidates();
    let Some(kind) = candidates.iter().copied().find(|kind| present.contains(&kind.certificate_index())) else {
        let tried: Vec<_> = candidates.iter().map(|kind| format!("{:#010x}", kind.certificate_index())).collect();
        return Err(CollectError::NoEkCertificate { device: tcti.clone(), tried: tried.join(", ") }.into());
    };
    let unreadable = |index, what| CollectError::EkCertificateUnreadable { device: tcti.clone(), index, what };

    let index = kind.certificate_index();
    let mut chain = certificates_in(&nv_read(ctx, index)?, 1).map_err(|what| unreadable(index, what))?;
    if chain.is_empty() {
        return Err(unreadable(index, "it is empty").into());
    }
    let mut issuers = Vec::new();
    for index in present.into_iter().filter(|index| NV_CHAIN.contains(index)) {
        issuers.extend(nv_read(ctx, index)?);
        if issuers.len() > limits::CERTIFICATES * limits::CERTIFICATE {
            return Err(unreadable(index, "too much of it").into());
        }
    }
    let issuers = certificates_in(&issuers, limits::CERTIFICATES - 1);
    chain.extend(issuers.map_err(|what| unreadable(*NV_CHAIN.start(), what))?);
    Ok(EkCertificates { kind, chain })
}

/// An NV index that may be read by its own authorisation.
pub(crate) fn nv_read(ctx: &mut Context, index: u32) -> Result<Vec<u8>, Step> {
    let handle = NvIndexTpmHandle::new(index)?;
    let object = ctx.execute_without_session(|ctx| ctx.tr_from_tpm_public(TpmHandle::NvIndex(handle)))?;
    Ok(ctx.execute_with_session(Some(AuthSession::Password), |ctx| {
        nv::read_full(ctx, NvAuth::NvIndex(object.into()), handle)
    })?)
}

/// Splits DER `SEQUENCE`s that follow each other; an NV index may end in padding (0x00 or 0xff).
fn certificates_in(mut bytes: &[u8], most: usize) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut found = Vec::new();
    while let Some(&first) = bytes.first() {
        if bytes.iter().all(|byte| *byte == first) && matches!(first, 0x00 | 0xff) {
            break;
        }
        let length = sequence_length(bytes)?;
        let (certificate, rest) = bytes.split_at_checked(length).ok_or("a certificate is cut off")?;
        if length > limits::CERTIFICATE {
            return Err("a certificate is too long");
        }
        if found.len() == most {
            return Err("too many certificates");
        }
        found.push(certificate.to_vec());
        bytes = rest;
    }
    Ok(found)
}

/// Length of the DER `SEQUENCE` at the start, header included (X.690 §8.1.3).
fn sequence_length(bytes: &[u8]) -> Result<usize, &'static str> {
    match *bytes {
        [0x30, short @ 0..=0x7f, ..] => Ok(2 + usize::from(short)),
        [0x30, 0x81, length, ..] => Ok(3 + usize::from(length)),
        [0x30, 0x82, high, low, ..] => Ok(4 + usize::from(u16::from_be_bytes([high, low]))),
        _ => Err("not a DER sequence"),
    }
}

/// Loads the EK: the one that the platform keeps loaded if it is made from our template, else a
/// new one from the endorsement seed (the same key; on a hardware TPM an RSA one takes seconds).
pub(crate) fn load(ctx: &mut Context, tcti: &TctiConfig, kind: EkKind) -> Result<KeyHandle, Step> {
    let template = create_ek_public_from_default_template_2(kind.algorithm(), DefaultKey)?;
    for handle in handles_from(ctx, *PERSISTENT_EKS.start())? {
        if !PERSISTENT_EKS.contains(&handle) {
            continue;
        }
        let key = KeyHandle::from(ctx.execute_without_session(|ctx| ctx.tr_from_tpm_public(handle.try_into()?))?);
        let (public, _, _) = ctx.execute_without_session(|ctx| ctx.read_public(key))?;
        if is_made_from(public, &template) {
            return Ok(key);
        }
    }
    create_ek_object_2(ctx, kind.algorithm(), DefaultKey).map_err(|error| match kind_of(error) {
        Some(Kind::BadAuth | Kind::AuthFail) => CollectError::EndorsementAuthorisation { device: tcti.clone() }.into(),
        Some(Kind::Value | Kind::Curve | Kind::KeySize | Kind::Asymmetric | Kind::Scheme | Kind::Hash) => {
            CollectError::NoEk { device: tcti.clone(), kind, source: error }.into()
        }
        _ => Step::Tpm(error),
    })
}

/// Whether a public area differs from the template in nothing but the key itself.
fn is_made_from(public: Public, template: &Public) -> bool {
    let blank = match (public, template) {
        (
            Public::Rsa { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. },
            Public::Rsa { unique, .. },
        ) => Public::Rsa {
            object_attributes,
            name_hashing_algorithm,
            auth_policy,
            parameters,
            unique: PublicKeyRsa::clone(unique),
        },
        (
            Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. },
            Public::Ecc { unique, .. },
        ) => Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique: unique.clone() },
        _ => return false,
    };
    blank == *template
}

/// The TPM's response code, if that is what the error is.
pub(crate) fn kind_of(error: tss_esapi::Error) -> Option<Kind> {
    match error {
        tss_esapi::Error::Tss2Error(code) => code.kind(),
        tss_esapi::Error::WrapperError(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(length: usize) -> Vec<u8> {
        let mut der = vec![0x30, 0x82];
        der.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        der.resize(length + 4, 5);
        der
    }

    #[test]
    fn certificates_are_split_and_padding_is_dropped() {
        let (a, b) = (sequence(300), sequence(700));
        for padding in [0x00, 0xff] {
            let mut stored = [a.clone(), b.clone()].concat();
            stored.resize(1600, padding);
            assert_eq!(certificates_in(&stored, 7).unwrap(), [a.clone(), b.clone()]);
        }
        assert_eq!(certificates_in(&[0x30, 0x01, 0x05, 0x30, 0x81, 0x01, 0x05], 2).unwrap().len(), 2);
        assert!(certificates_in(&[], 7).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_certificates_is_refused() {
        assert_eq!(certificates_in(&sequence(300)[..200], 7), Err("a certificate is cut off"));
        assert_eq!(certificates_in(&[0x31, 0x01, 0x00], 7), Err("not a DER sequence"));
        assert_eq!(certificates_in(&[0x30, 0x80, 0x00, 0x00], 7), Err("not a DER sequence"));
        assert_eq!(certificates_in(&[0x30], 7), Err("not a DER sequence"));
        assert_eq!(certificates_in(&sequence(limits::CERTIFICATE), 7), Err("a certificate is too long"));
        assert_eq!(certificates_in(&[sequence(10), sequence(10)].concat(), 1), Err("too many certificates"));
    }

    #[test]
    fn a_public_area_of_another_template_is_not_taken_for_the_ek() {
        let rsa = create_ek_public_from_default_template_2(EkKind::Rsa2048.algorithm(), DefaultKey).unwrap();
        let ecc = create_ek_public_from_default_template_2(EkKind::EccP256.algorithm(), DefaultKey).unwrap();
        let p384 = AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP384);
        let p384 = create_ek_public_from_default_template_2(p384, DefaultKey).unwrap();
        assert!(is_made_from(rsa.clone(), &rsa));
        assert!(is_made_from(ecc.clone(), &ecc));
        assert!(!is_made_from(rsa, &ecc));
        assert!(!is_made_from(p384, &ecc));
    }
}

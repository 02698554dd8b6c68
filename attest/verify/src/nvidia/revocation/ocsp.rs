//! OCSP answers, RFC 6960 §4.2.1: read by hand, for no crate here reads them.

use super::{Judge, Period};
use crate::nvidia::{
    GpuRefused,
    chain::certificate_signed,
    der::{self, Reader, Value},
};
use aws_lc_rs::digest;
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
};

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
/// ecdsa-with-SHA384, 1.2.840.10045.4.3.3.
const ECDSA_SHA384: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x03";
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
/// Most single answers in one response.
const SINGLES: usize = 16;

/// `[n]`, constructed.
const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// A `BasicOCSPResponse`.
struct Basic<'a> {
    signed: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<&'a [u8]>,
    singles: Vec<Single<'a>>,
}

/// A `SingleResponse`.
struct Single<'a> {
    algorithm: &'a [u8],
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: u8,
    period: Period,
}

impl Judge {
    /// Whether an answer is of this issuer and speaks of the certificate.
    pub(super) fn answer(
        &self,
        der: &[u8],
        certificate: &X509Certificate<'_>,
        issuer: &X509Certificate<'_>,
    ) -> Result<bool, GpuRefused> {
        let basic = read(der).ok_or_else(|| self.refuse("it is no successful answer"))?;
        let Some(single) = basic.singles.iter().find(|single| single.is_of(certificate, issuer)) else {
            return Ok(false);
        };
        if !self.is_signed(&basic, issuer) {
            return Err(self.refuse("the answer is not signed by the issuer, nor by whom the issuer named"));
        }
        self.period(&single.period, false)?;
        match single.status {
            GOOD => Ok(true),
            REVOKED => Err(self.revoked(certificate)),
            _ => Err(self.refuse("the answer is that the certificate is not known")),
        }
    }

    /// By the issuer's key, or by that of a certificate in the answer that the issuer signed for answering.
    fn is_signed(&self, basic: &Basic<'_>, issuer: &X509Certificate<'_>) -> bool {
        if certificate_signed(issuer, basic.signed, basic.signature) {
            return true;
        }
        let Some(Ok((rest, responder))) = basic.certificates.first().map(|der| X509Certificate::from_der(der)) else {
            return false;
        };
        let validity = responder.validity();
        rest.is_empty()
            && responder.issuer().as_raw() == issuer.subject().as_raw()
            && super::check_time(validity.not_before.timestamp(), validity.not_after.timestamp(), self.at).is_ok()
            && answers(&responder)
            && certificate_signed(issuer, responder.tbs_certificate.as_ref(), responder.signature_value.data.as_ref())
            && certificate_signed(&responder, basic.signed, basic.signature)
    }
}

/// id-kp-OCSPSigning, and no unknown critical extension.
fn answers(responder: &X509Certificate<'_>) -> bool {
    let purposes = responder.extended_key_usage();
    let unknown = responder.extensions().iter().any(|extension| {
        let parsed = extension.parsed_extension();
        extension.critical && matches!(parsed, ParsedExtension::UnsupportedExtension { .. })
    });
    !unknown && purposes.is_ok_and(|purposes| purposes.is_some_and(|purposes| purposes.value.ocsp_signing))
}

const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;

impl Single<'_> {
    fn is_of(&self, certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
        let algorithm = match self.algorithm {
            // The hash only names an issuer; the signature is what is believed.
            SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => &digest::SHA256,
            SHA384 => &digest::SHA384,
            _ => return false,
        };
        let hash = |bytes: &[u8]| digest::digest(algorithm, bytes);
        self.serial == certificate.raw_serial()
            && self.issuer_name == hash(issuer.subject().as_raw()).as_ref()
            && self.issuer_key == hash(issuer.public_key().subject_public_key.data.as_ref()).as_ref()
    }
}

fn read(bytes: &[u8]) -> Option<Basic<'_>> {
    let mut response = Reader::only(bytes, der::SEQUENCE)?;
    response.take(der::ENUMERATED).filter(|status| *status == [0])?;
    let mut given = response.enter(explicit(0)).filter(|_| response.is_empty())?;
    let mut given = given.enter(der::SEQUENCE)?;
    given.take(der::OID).filter(|kind| *kind == BASIC)?;
    let basic = given.take(der::OCTET_STRING).filter(|_| given.is_empty())?;

    let mut basic = Reader::only(basic, der::SEQUENCE)?;
    let Value { tag, content, whole: signed } = basic.next()?;
    let singles = data(Some(content).filter(|_| tag == der::SEQUENCE)?)?;
    basic.enter(der::SEQUENCE)?.take(der::OID).filter(|algorithm| *algorithm == ECDSA_SHA384)?;
    let signature = basic.take(der::BIT_STRING)?.strip_prefix(&[0])?;
    let mut certificates = Vec::new();
    if basic.is(explicit(0)) {
        let mut list = basic.enter(explicit(0))?.enter(der::SEQUENCE)?;
        while let Some(certificate) = list.next() {
            certificates.push(certificate.whole);
        }
    }
    basic.is_empty().then_some(Basic { signed, signature, certificates, singles })
}

/// `ResponseData`.
fn data(content: &[u8]) -> Option<Vec<Single<'_>>> {
    let mut data = Reader::new(content);
    if data.is(explicit(0)) {
        data.next()?;
    }
    // Who answers: only the key counts.
    data.next().filter(|who| who.tag == explicit(1) || who.tag == explicit(2))?;
    data.take(der::GENERALIZED_TIME)?;
    let mut list = data.enter(der::SEQUENCE)?;
    let mut singles = Vec::new();
    while !list.is_empty() {
        if singles.len() == SINGLES {
            return None;
        }
        singles.push(single(list.enter(der::SEQUENCE)?)?);
    }
    Some(singles)
}

fn single(mut single: Reader<'_>) -> Option<Single<'_>> {
    let mut id = single.enter(der::SEQUENCE)?;
    let algorithm = id.enter(der::SEQUENCE)?.take(der::OID)?;
    let (issuer_name, issuer_key) = (id.take(der::OCTET_STRING)?, id.take(der::OCTET_STRING)?);
    let serial = id.take(der::INTEGER)?;
    let status = single.next()?.tag;
    let this_update = time(single.next()?)?;
    let next_update = if single.is(explicit(0)) { Some(time(single.enter(explicit(0))?.next()?)?) } else { None };
    let period = Period { this_update, next_update };
    Some(Single { algorithm, issuer_name, issuer_key, serial, status, period })
}

fn time(value: Value<'_>) -> Option<i64> {
    let (_, time) = ASN1Time::from_der(value.whole).ok().filter(|_| value.tag == der::GENERALIZED_TIME)?;
    Some(time.timestamp())
}

//! OCSP answers, RFC 6960 §4.2.1: read by hand, for no crate here reads them.

use crate::{
    der::{self, Reader, Value},
    x509::Certificate,
};
use aws_lc_rs::digest;
use strongroom_protocol::sha256;
use x509_parser::{prelude::FromDer, time::ASN1Time};

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
/// ecdsa-with-SHA384, 1.2.840.10045.4.3.3.
const ECDSA_SHA384: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x03";
/// id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2.
const NONCE: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x02";
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
/// id-sha384, 2.16.840.1.101.3.4.2.2.
pub(super) const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
/// Most single answers in one response.
const SINGLES: usize = 16;

/// `[n]`, constructed.
const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// A `BasicOCSPResponse`.
pub(crate) struct Answer<'a> {
    signed: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<&'a [u8]>,
    singles: Vec<Single<'a>>,
}

/// A `SingleResponse`.
pub(crate) struct Single<'a> {
    algorithm: &'a [u8],
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    /// [`GOOD`], [`REVOKED`], or that the responder does not know the certificate.
    pub(super) status: u8,
    /// When it was made, Unix seconds.
    pub(crate) this_update: i64,
    /// Until when it speaks, Unix seconds.
    pub(crate) next_update: Option<i64>,
}

pub(super) const GOOD: u8 = 0x80;
pub(super) const REVOKED: u8 = 0xa1;

impl<'a> Answer<'a> {
    /// Reads a successful response; `None` where it is none.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        read(bytes)
    }

    /// What it says, where it speaks of one certificate only.
    pub(crate) fn only(&self) -> Option<&Single<'a>> {
        self.singles.first().filter(|_| self.singles.len() == 1)
    }

    /// Whether it says of any certificate that it is revoked.
    pub(super) fn says_revoked(&self) -> bool {
        self.singles.iter().any(Single::is_revoked)
    }

    /// What it says of a certificate that this issuer issued.
    pub(super) fn on(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Option<&Single<'a>> {
        self.singles.iter().find(|single| single.is_of(certificate, issuer))
    }

    /// By the issuer's key, or by that of a certificate in the answer that the issuer signed for answering. A
    /// certificate with a critical extension that is not understood is no certificate here.
    pub(crate) fn is_signed(&self, issuer: &Certificate<'_>, at: u64) -> bool {
        if issuer.has_signed(self.signed, self.signature) {
            return true;
        }
        let responder = self.certificates.first().and_then(|der| Certificate::parse(der).ok());
        responder.is_some_and(|responder| {
            responder.check_valid_at(at).is_ok()
                && responder.may_answer()
                && responder.check_leaf().is_ok()
                && responder.check_signed_by(issuer).is_ok()
                && responder.has_signed(self.signed, self.signature)
        })
    }
}

impl Single<'_> {
    /// The contents of the serial number's INTEGER, big-endian.
    pub(crate) fn serial(&self) -> &[u8] {
        self.serial
    }

    /// Whether the responder says that it is revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        self.status == REVOKED
    }

    /// SHA-256 of what it says: status and dates. Two with the same say the same, whoever signed them when.
    pub(crate) fn said(&self) -> [u8; 32] {
        let end = self.next_update.unwrap_or(i64::MAX);
        sha256(&[[self.status].as_slice(), &self.this_update.to_be_bytes(), &end.to_be_bytes()].concat())
    }

    /// Whether the responder knows it.
    pub(crate) fn is_known(&self) -> bool {
        [GOOD, REVOKED].contains(&self.status)
    }

    fn is_of(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
        self.serial == certificate.serial() && self.is_by(issuer)
    }

    /// Whether it is about a certificate of this issuer.
    pub(crate) fn is_by(&self, issuer: &Certificate<'_>) -> bool {
        let algorithm = match self.algorithm {
            // The hash only names an issuer; the signature is what is believed.
            SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => &digest::SHA256,
            SHA384 => &digest::SHA384,
            _ => return false,
        };
        let hash = |bytes: &[u8]| digest::digest(algorithm, bytes);
        self.issuer_name == hash(issuer.subject_der()).as_ref() && self.issuer_key == hash(issuer.bare_key()).as_ref()
    }
}

/// What a responder says that gives no answer (RFC 6960 §4.2.1, `OCSPResponseStatus`).
pub(super) fn unsuccessful(bytes: &[u8]) -> Option<&'static str> {
    match Reader::only(bytes, der::SEQUENCE)?.take(der::ENUMERATED)? {
        [1] => Some("the responder could not read the request"),
        [2] => Some("the responder has a fault of its own (internalError)"),
        [3] => Some("the responder is busy (tryLater)"),
        [5] => Some("the responder answers signed requests only"),
        [6] => Some("the responder does not answer for this issuer (unauthorized)"),
        _ => None,
    }
}

fn read(bytes: &[u8]) -> Option<Answer<'_>> {
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
    basic.is_empty().then_some(Answer { signed, signature, certificates, singles })
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
    check_extensions(&mut data)?;
    data.is_empty().then_some(singles)
}

/// Passes over extensions, where there are any. A critical one that is not understood makes the whole no use (RFC 6960
/// §4.4); a nonce is understood: it was for who asked.
fn check_extensions(data: &mut Reader<'_>) -> Option<()> {
    if !data.is(explicit(1)) {
        return Some(());
    }
    let mut list = data.enter(explicit(1))?.enter(der::SEQUENCE)?;
    while !list.is_empty() {
        let mut extension = list.enter(der::SEQUENCE)?;
        let id = extension.take(der::OID)?;
        let critical = extension.is(der::BOOLEAN) && extension.take(der::BOOLEAN)? != [0];
        if critical && id != NONCE {
            return None;
        }
    }
    Some(())
}

fn single(mut single: Reader<'_>) -> Option<Single<'_>> {
    let mut id = single.enter(der::SEQUENCE)?;
    let algorithm = id.enter(der::SEQUENCE)?.take(der::OID)?;
    let (issuer_name, issuer_key) = (id.take(der::OCTET_STRING)?, id.take(der::OCTET_STRING)?);
    let serial = id.take(der::INTEGER)?;
    let status = single.next()?.tag;
    let this_update = time(single.next()?)?;
    let next_update = if single.is(explicit(0)) { Some(time(single.enter(explicit(0))?.next()?)?) } else { None };
    check_extensions(&mut single)?;
    let one = Single { algorithm, issuer_name, issuer_key, serial, status, this_update, next_update };
    single.is_empty().then_some(one)
}

fn time(value: Value<'_>) -> Option<i64> {
    let (_, time) = ASN1Time::from_der(value.whole).ok().filter(|_| value.tag == der::GENERALIZED_TIME)?;
    Some(time.timestamp())
}

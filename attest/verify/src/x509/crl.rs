//! Lists of revoked certificates.

use super::{Certificate, X509Problem, algorithm::Algorithm, check_dates, named};
use crate::der::{INTEGER, Reader, SEQUENCE};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Bytes of a list: those of vendors have some hundred, those with thousands of certificates some ten thousand.
pub const MAX_CRL: usize = 256 << 10;
/// Bytes of all lists of one judgement: each entry costs most of a microsecond to read.
pub(crate) const MAX_CRLS: usize = 1 << 20;
/// The extensions of a list that are understood: its number, and whose key signed it.
const UNDERSTOOD: [&str; 2] = ["2.5.29.20", AUTHORITY_KEY];
const AUTHORITY_KEY: &str = "2.5.29.35";
/// `[0]`, implicit, in an authorityKeyIdentifier (RFC 5280 §4.2.1.1).
const KEY_ID: u8 = 0x80;

/// A list of revoked certificates whose form holds. That says nothing of who signed it.
#[derive(Debug, Clone)]
pub struct Crl<'a> {
    parsed: CertificateRevocationList<'a>,
    algorithm: Algorithm,
}

impl<'a> Crl<'a> {
    /// Reads one list (DER, at most [`MAX_CRL`] bytes, nothing after it).
    pub fn parse(der: &'a [u8]) -> Result<Self, X509Problem> {
        if der.len() > MAX_CRL {
            return Err(X509Problem::TooLarge { limit: MAX_CRL, actual: der.len() });
        }
        let malformed = |field| X509Problem::Malformed { field };
        let (rest, parsed) = CertificateRevocationList::from_der(der).map_err(|_| malformed("its DER"))?;
        if !rest.is_empty() {
            return Err(malformed("its end: something follows it"));
        }
        if parsed.tbs_cert_list.signature != parsed.signature_algorithm {
            return Err(malformed("signatureAlgorithm: it is another inside"));
        }
        let algorithm = Algorithm::read(&parsed.signature_algorithm)?;
        for extension in parsed.extensions() {
            let oid = extension.oid.to_id_string();
            if extension.critical && !UNDERSTOOD.contains(&oid.as_str()) {
                return Err(X509Problem::Critical { oid });
            }
        }
        Ok(Self { parsed, algorithm })
    }

    /// Whether a list (DER) might be `issuer`'s, told without reading its entries, of which there may be thousands: false
    /// only where it names another.
    pub(crate) fn may_be_of(der: &[u8], issuer: &Certificate<'_>) -> bool {
        issuer_of(der).is_none_or(|name| name == issuer.subject_der())
    }

    /// Whether it says that it is `issuer`'s: it has its name, and not another key. Two authorities may have one name;
    /// what names another key, and that key signed, is passed over. A name alone decides nothing: what `issuer`'s key
    /// signed is its own, and what nobody is named for has to be.
    pub fn is_of(&self, issuer: &Certificate<'_>) -> bool {
        if self.parsed.tbs_cert_list.issuer.as_raw() != issuer.subject_der() {
            return false;
        }
        let others = match (self.key_id(), issuer.key_id()) {
            (Some(named), Some(own)) => named != own,
            _ => false,
        };
        !others || self.check_signature(issuer).is_ok()
    }

    /// Which key it names as its signer's (authorityKeyIdentifier).
    fn key_id(&self) -> Option<&[u8]> {
        let mut extensions = self.parsed.extensions().iter();
        let named = extensions.find(|extension| extension.oid.to_id_string() == AUTHORITY_KEY)?;
        Reader::only(named.value, SEQUENCE)?.take(KEY_ID)
    }

    fn check_signature(&self, issuer: &Certificate<'_>) -> Result<(), X509Problem> {
        let signature = &self.parsed.signature_value;
        issuer.check_signature(self.algorithm, self.parsed.tbs_cert_list.as_ref(), signature.data.as_ref())
    }

    /// When it was made, and until when it holds, Unix seconds.
    pub fn validity(&self) -> Result<(i64, i64), X509Problem> {
        let list = &self.parsed.tbs_cert_list;
        let until = list.next_update.ok_or(X509Problem::Undated)?;
        Ok((list.this_update.timestamp(), until.timestamp()))
    }

    /// Whether the key of `issuer` signed it, and `at` (Unix seconds) lies in its time.
    pub fn check(&self, issuer: &Certificate<'_>, at: u64) -> Result<(), X509Problem> {
        if !self.is_of(issuer) {
            let got = named(&self.parsed.tbs_cert_list.issuer);
            return Err(X509Problem::Issuer { expected: issuer.subject(), got });
        }
        let (from, until) = self.validity()?;
        check_dates(from, until, at)?;
        self.check_signature(issuer)
    }

    /// Whether a serial number (contents of the INTEGER) is on it.
    pub fn revokes(&self, serial: &[u8]) -> bool {
        self.parsed.iter_revoked_certificates().any(|revoked| revoked.raw_serial() == serial)
    }
}

/// The issuer (DER): version and algorithm stand before it (RFC 5280 §5.1).
fn issuer_of(der: &[u8]) -> Option<&[u8]> {
    let mut body = Reader::new(der).enter(SEQUENCE)?.enter(SEQUENCE)?;
    if body.is(INTEGER) {
        body.next()?;
    }
    body.take(SEQUENCE)?;
    body.next().map(|name| name.whole)
}

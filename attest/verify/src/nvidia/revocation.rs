//! G5: revocation of the certificates of a device and of its manifests' signers, from stored lists (CRL, RFC 5280 §5)
//! and stored answers (OCSP, RFC 6960). Nothing is fetched here: what was imported is judged, with a maximum age.
//!
//! A certificate counts as covered where a list or an answer of its own issuer speaks of it. Covered must be every
//! certificate whose issuer may sign such (`cRLSign`): not the root, and not the reporting key, which the device
//! itself certified and replaces with its firmware; its device's certificate is what NVIDIA would revoke.

mod ocsp;

use super::{
    GpuRefused,
    chain::{certificate_signed, check_time},
};
use crate::quote::hex;
use x509_parser::{
    oid_registry::OID_X509_EXT_CRL_NUMBER,
    prelude::{CertificateRevocationList, FromDer, X509Certificate},
};

/// Most bytes of a list.
const LIST: usize = 256 << 10;
/// Most bytes of an answer.
const ANSWER: usize = 16 << 10;
/// Most lists, and most answers.
const MANY: usize = 16;

/// Stored lists and answers. Those of other issuers than are asked for are passed over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Revocation<'a> {
    /// Certificate revocation lists (DER).
    pub crls: &'a [&'a [u8]],
    /// OCSP responses (DER).
    pub ocsp: &'a [&'a [u8]],
}

/// When a list or an answer was made, and until when it speaks.
struct Period {
    this_update: i64,
    next_update: Option<i64>,
}

/// What is judged by, for messages too.
#[derive(Clone, Copy)]
struct Judge {
    at: u64,
    max_age: Option<u64>,
    of: &'static str,
}

impl Revocation<'_> {
    /// Judges the certificates of a chain: the serial numbers (lower-case hexadecimal) of those that nothing covers.
    pub(super) fn check(
        &self,
        chain: &[X509Certificate<'_>],
        of: &'static str,
        at: u64,
        max_age: Option<u64>,
    ) -> Result<Vec<String>, GpuRefused> {
        let judge = Judge { at, max_age, of };
        judge.bounds(self)?;
        let mut uncovered = Vec::new();
        for pair in chain.windows(2) {
            let [certificate, issuer] = pair else { continue };
            if !may_revoke(issuer) {
                continue;
            }
            let mut covered = false;
            for der in self.crls {
                covered |= judge.list(der, certificate, issuer)?;
            }
            for der in self.ocsp {
                covered |= judge.answer(der, certificate, issuer)?;
            }
            if !covered {
                uncovered.push(hex(certificate.raw_serial()));
            }
        }
        Ok(uncovered)
    }
}

/// Whether an issuer may sign revocation lists.
fn may_revoke(issuer: &X509Certificate<'_>) -> bool {
    issuer.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.value.crl_sign()))
}

impl Judge {
    fn refuse(&self, problem: impl Into<String>) -> GpuRefused {
        GpuRefused::G5Revocation { of: self.of, problem: problem.into() }
    }

    fn revoked(&self, certificate: &X509Certificate<'_>) -> GpuRefused {
        GpuRefused::G5Revoked { of: self.of, serial: hex(certificate.raw_serial()) }
    }

    fn bounds(&self, given: &Revocation<'_>) -> Result<(), GpuRefused> {
        if given.crls.len() > MANY || given.ocsp.len() > MANY {
            return Err(self.refuse(format!("more than {MANY} were given")));
        }
        let large = given.crls.iter().any(|der| der.len() > LIST) || given.ocsp.iter().any(|der| der.len() > ANSWER);
        if large { Err(self.refuse("it is larger than any")) } else { Ok(()) }
    }

    /// Whether a list is of this issuer, so that it covers the certificate.
    fn list(
        &self,
        der: &[u8],
        certificate: &X509Certificate<'_>,
        issuer: &X509Certificate<'_>,
    ) -> Result<bool, GpuRefused> {
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| self.refuse("it is no list"))?;
        if list.issuer().as_raw() != issuer.subject().as_raw() {
            return Ok(false);
        }
        if !rest.is_empty() {
            return Err(self.refuse("bytes follow the list"));
        }
        let signature = list.signature_value.data.as_ref();
        if !certificate_signed(issuer, list.tbs_cert_list.as_ref(), signature) {
            return Err(self.refuse("the list is not signed by its issuer"));
        }
        let next_update = list.next_update().map(|time| time.timestamp());
        self.period(&Period { this_update: list.last_update().timestamp(), next_update }, true)?;
        // A list of some certificates or reasons only would say nothing of the others.
        if list.extensions().iter().any(|found| found.critical && found.oid != OID_X509_EXT_CRL_NUMBER) {
            return Err(self.refuse("the list has a critical extension that is not understood"));
        }
        let revoked = list.iter_revoked_certificates().any(|entry| entry.raw_serial() == certificate.raw_serial());
        if revoked { Err(self.revoked(certificate)) } else { Ok(true) }
    }

    /// Not older than was asked for, not from the future, not past its end.
    fn period(&self, period: &Period, must_end: bool) -> Result<(), GpuRefused> {
        if must_end && period.next_update.is_none() {
            return Err(self.refuse("it does not say until when it speaks"));
        }
        let end = period.next_update.unwrap_or(i64::MAX);
        check_time(period.this_update, end, self.at).map_err(|problem| self.refuse(format!("it {problem}")))?;
        let made = u64::try_from(period.this_update).unwrap_or_default();
        let age = self.at.saturating_sub(made);
        match self.max_age {
            Some(most) if age > most => Err(self.refuse(format!("it is {age} seconds old, more than {most}"))),
            _ => Ok(()),
        }
    }
}

/// The chain as it was stored, parsed again.
pub(super) fn parsed(ders: &[Vec<u8>]) -> Vec<X509Certificate<'_>> {
    ders.iter().filter_map(|der| X509Certificate::from_der(der).ok()).map(|(_, certificate)| certificate).collect()
}

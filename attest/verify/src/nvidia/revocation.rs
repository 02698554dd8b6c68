//! G5: revocation of the certificates of a device and of its manifests' signers, from stored lists (CRL, RFC 5280 §5)
//! and stored answers (OCSP, RFC 6960). Nothing is fetched here: what was imported is judged, with a maximum age.
//!
//! A certificate counts as covered where a list or an answer of its own issuer speaks of it. Covered must be every
//! certificate whose issuer may sign such (`cRLSign`): not the root, and not the reporting key, which the device
//! itself certified and replaces with its firmware; its device's certificate is what NVIDIA would revoke.

mod ocsp;
mod request;

use super::GpuRefused;
use crate::{
    quote::hex,
    x509::{Certificate, Crl, MAX_CRLS, check_dates},
};
pub(crate) use ocsp::Answer;
pub use request::{StatusRequest, answers, says_revoked, status_requests, unsuccessful};

/// Most bytes of an answer.
pub(crate) const MAX_ANSWER: usize = 16 << 10;
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

/// The same, read: once for all chains of a report, since a list may be long.
pub(super) struct Stored<'a> {
    crls: Vec<Crl<'a>>,
    answers: Vec<Answer<'a>>,
    at: u64,
    max_age: Option<u64>,
}

impl<'a> Revocation<'a> {
    /// Whether every list and every answer can be read. Who signed them, and whether they are in time, is judged with a
    /// chain.
    pub fn check_form(&self) -> Result<(), GpuRefused> {
        read(self.crls.to_vec(), self.ocsp, 0, None).map(drop)
    }

    /// Reads those that may speak of certificates of these issuers, which are whole chains, to be judged at `at` (Unix
    /// seconds) and not older than `max_age` seconds. One that cannot be read is refused: it might be the one that
    /// revokes. A store has lists of other families of devices, and answers of other devices: those count towards no
    /// bound.
    pub(super) fn read(
        &self,
        issuers: &[&Certificate<'_>],
        at: u64,
        max_age: Option<u64>,
    ) -> Result<Stored<'a>, GpuRefused> {
        let asked_for = |der: &&&[u8]| issuers.iter().any(|issuer| Crl::may_be_of(der, issuer));
        // An answer about one of these has its serial number somewhere.
        let about = |der: &&&[u8]| issuers.iter().any(|certificate| contains(der, certificate.serial()));
        let answers: Vec<&[u8]> = self.ocsp.iter().filter(about).copied().collect();
        read(self.crls.iter().filter(asked_for).copied().collect(), &answers, at, max_age)
    }
}

/// Whether these bytes stand somewhere in others.
fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

fn read<'a>(crls: Vec<&'a [u8]>, ocsp: &[&'a [u8]], at: u64, max_age: Option<u64>) -> Result<Stored<'a>, GpuRefused> {
    const OF: &str = "the chains of a report";
    if crls.len() > MANY || ocsp.len() > MANY {
        return Err(refused(OF, format!("more than {MANY} were given")));
    }
    let bytes: usize = crls.iter().map(|der| der.len()).sum();
    if bytes > MAX_CRLS {
        return Err(refused(OF, format!("lists of {bytes} bytes were given, more than {MAX_CRLS}")));
    }
    if ocsp.iter().any(|der| der.len() > MAX_ANSWER) {
        return Err(refused(OF, "an answer is larger than any"));
    }
    let list = |der: &'a [u8]| Crl::parse(der).map_err(|problem| refused(OF, format!("of a list: {problem}")));
    let answer = |der: &&'a [u8]| Answer::read(der).ok_or_else(|| refused(OF, "it is no successful answer"));
    Ok(Stored {
        crls: crls.into_iter().map(list).collect::<Result<_, _>>()?,
        answers: ocsp.iter().map(answer).collect::<Result<_, _>>()?,
        at,
        max_age,
    })
}

impl Stored<'_> {
    /// Judges the certificates of a chain, from the leaf up: the serial numbers (lower-case hexadecimal) of those that
    /// nothing covers. `of` says whose chain it is.
    pub(super) fn check(&self, chain: &[Certificate<'_>], of: &'static str) -> Result<Vec<String>, GpuRefused> {
        let mut uncovered = Vec::new();
        for pair in chain.windows(2) {
            let [certificate, issuer] = pair else { continue };
            if !issuer.may_sign_lists() {
                continue;
            }
            let mut covered = false;
            for list in &self.crls {
                covered |= self.listed(list, (certificate, issuer), of)?;
            }
            for answer in &self.answers {
                covered |= self.answered(answer, (certificate, issuer), of)?;
            }
            if !covered {
                uncovered.push(hex(certificate.serial()));
            }
        }
        Ok(uncovered)
    }

    /// Whether a list is of this issuer, so that it covers the certificate.
    fn listed(
        &self,
        list: &Crl<'_>,
        (certificate, issuer): (&Certificate<'_>, &Certificate<'_>),
        of: &'static str,
    ) -> Result<bool, GpuRefused> {
        if !list.is_of(issuer) {
            return Ok(false);
        }
        let problem = |problem| refused(of, format!("of a list: {problem}"));
        list.check(issuer, self.at).map_err(problem)?;
        self.check_age(list.validity().map_err(problem)?.0, of)?;
        if list.revokes(certificate.serial()) { Err(revoked(certificate, of)) } else { Ok(true) }
    }

    /// Whether an answer is of this issuer and speaks of the certificate.
    fn answered(
        &self,
        answer: &Answer<'_>,
        (certificate, issuer): (&Certificate<'_>, &Certificate<'_>),
        of: &'static str,
    ) -> Result<bool, GpuRefused> {
        let Some(single) = answer.on(certificate, issuer) else { return Ok(false) };
        if !answer.is_signed(issuer, self.at) {
            return Err(refused(of, "the answer is not signed by the issuer, nor by whom the issuer named"));
        }
        // An answer may leave its end open (RFC 6960 §4.2.2.1): then its age alone counts.
        let until = single.next_update.unwrap_or(i64::MAX);
        check_dates(single.this_update, until, self.at)
            .map_err(|problem| refused(of, format!("an answer: {problem}")))?;
        self.check_age(single.this_update, of)?;
        match single.status {
            ocsp::GOOD => Ok(true),
            ocsp::REVOKED => Err(revoked(certificate, of)),
            _ => Err(refused(of, "the answer is that the certificate is not known")),
        }
    }

    /// Not older than was asked for.
    fn check_age(&self, made: i64, of: &'static str) -> Result<(), GpuRefused> {
        let age = self.at.saturating_sub(u64::try_from(made).unwrap_or_default());
        match self.max_age {
            Some(most) if age > most => Err(refused(of, format!("it is {age} seconds old, more than {most}"))),
            _ => Ok(()),
        }
    }
}

fn refused(of: &'static str, problem: impl Into<String>) -> GpuRefused {
    GpuRefused::G5Revocation { of, problem: problem.into() }
}

fn revoked(certificate: &Certificate<'_>, of: &'static str) -> GpuRefused {
    GpuRefused::G5Revoked { of, serial: hex(certificate.serial()) }
}

/// A chain as it was stored, parsed again: it was read whole when it was verified.
pub(super) fn parsed(ders: &[Vec<u8>]) -> Vec<Certificate<'_>> {
    ders.iter().filter_map(|der| Certificate::parse(der).ok()).collect()
}

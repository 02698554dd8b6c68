//! What may take the place of what: nothing that a vendor published goes back. Dates alone do not show that: a later
//! list may be of a stale copy, and collateral has parts that are published each at its own time.
//!
//! | content | refused |
//! |---|---|
//! | list | an earlier `thisUpdate`; a lower number, or none where there was one; another list of the same time; of AMD's roots, one that revokes less |
//! | collateral | any part of an earlier date or a lower number, another list of the same time |
//! | answer | an earlier `thisUpdate`, another answer of the same time, one that takes a revocation back |
//! | certificate, manifest | an earlier beginning |

use super::{Content, Endorsement, EndorsementError};
use crate::{nvidia::Answer, pins::PinKind, quote::hex, tdx::Collateral, x509::instant};
use strongroom_protocol::sha256;
use x509_parser::{
    num_bigint::BigUint,
    prelude::{CertificateRevocationList, FromDer},
};

/// How far the clock of a vendor may be before that of whoever imports, seconds.
pub const SKEW: u64 = 300;

/// Something with a date that says how new it is.
#[derive(Debug)]
pub(crate) struct Part {
    /// What it is, for people.
    what: &'static str,
    /// When it was made, Unix seconds.
    made: u64,
    /// Which of its kind it is: it only grows.
    number: Option<(&'static str, BigUint)>,
    /// SHA-256 of what is signed, where two of one time must be one.
    signed: Option<[u8; 32]>,
}

impl Part {
    /// A revocation list (DER). RFC 5280 §5.2.3 wants a number in each, and vendors of TPMs have lists without: of
    /// those the date alone counts, until one has come with a number.
    pub(crate) fn list(what: &'static str, der: &[u8]) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        let made = u64::try_from(list.last_update().timestamp()).ok()?;
        let number = list.crl_number().map(|number| ("CRL number", number.clone()));
        Some(Self { what, made, number, signed: Some(sha256(list.tbs_cert_list.as_ref())) })
    }

    /// A document of Intel's.
    pub(crate) fn document(what: &'static str, made: u64, number: u32) -> Self {
        Self { what, made, number: Some(("tcbEvaluationDataNumber", number.into())), signed: None }
    }

    /// Whether `given` may take the place of this, under `name`.
    fn check(&self, given: &Self, name: &str) -> Result<(), EndorsementError> {
        let older = |of: &str, there: String, given: String| EndorsementError::Older {
            name: name.to_owned(),
            part: if of.is_empty() { self.what.to_owned() } else { format!("{}'s {of}", self.what) },
            there,
            given,
        };
        if given.made < self.made {
            return Err(older("", instant(self.made), instant(given.made)));
        }
        match (&self.number, &given.number) {
            (Some((what, there)), Some((_, given))) if given < there => {
                return Err(older(what, there.to_string(), given.to_string()));
            }
            (Some((what, there)), None) => return Err(older(what, there.to_string(), "none".to_owned())),
            _ => {}
        }
        // Of two of one time nobody knows which was meant to hold, and one may revoke what the other does not.
        if given.made == self.made && given.signed != self.signed {
            let (name, part, made) = (name.to_owned(), self.what, instant(self.made));
            return Err(EndorsementError::Rival { name, part, made });
        }
        Ok(())
    }
}

/// Whether `given` may take the place of what lies there under its name.
pub(super) fn check(there: &Endorsement, given: &Endorsement) -> Result<(), EndorsementError> {
    if there.sha256 == given.sha256 {
        return Ok(());
    }
    if there.content == Content::Answer && revoked_serial(there).is_none() && revoked_serial(given).is_some() {
        // Whenever it was said: what revokes is never kept out by what did not know of it.
        return Ok(());
    }
    let (before, after) = (parts(there), parts(given));
    for (part, given) in before.iter().zip(&after) {
        part.check(given, &there.name)?;
    }
    match there.content {
        Content::RevocationList if there.of == PinKind::AmdArk => check_none_is_taken_back(there, given),
        Content::Answer => check_stays_revoked(there, given),
        _ => Ok(()),
    }
}

/// Of AMD's roots: what they signed is valid for decades, so that nothing leaves a list for its age, and of the two
/// lists of a root one could be given for the other.
fn check_none_is_taken_back(there: &Endorsement, given: &Endorsement) -> Result<(), EndorsementError> {
    let (Some(before), Some(after)) = (revoked(&there.bytes), revoked(&given.bytes)) else { return Ok(()) };
    match before.into_iter().find(|serial| !after.contains(serial)) {
        Some(serial) => Err(EndorsementError::TakenBack { name: there.name.clone(), serial: hex(&serial) }),
        None => Ok(()),
    }
}

/// A certificate of NVIDIA's that was revoked does not come back.
fn check_stays_revoked(there: &Endorsement, given: &Endorsement) -> Result<(), EndorsementError> {
    match (revoked_serial(there), revoked_serial(given)) {
        (Some(serial), None) => Err(EndorsementError::TakenBack { name: there.name.clone(), serial }),
        _ => Ok(()),
    }
}

/// What an answer revokes.
fn revoked_serial(one: &Endorsement) -> Option<String> {
    let answer = Answer::read(&one.bytes)?;
    let single = answer.only()?;
    single.is_revoked().then(|| hex(single.serial()))
}

fn revoked(list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    Some(list.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect())
}

/// What of an endorsement may not go back, in an order that is the same for each content.
fn parts(one: &Endorsement) -> Vec<Part> {
    let whole = |what, signed| Part { what, made: one.from, number: None, signed };
    match one.content {
        Content::RevocationList => Part::list("list", &one.bytes).into_iter().collect(),
        Content::Collateral => Collateral::parse(&one.bytes).map(|read| read.parts()).unwrap_or_default(),
        // Each time that a responder is asked it signs anew: what it says counts.
        Content::Answer => {
            let said = Answer::read(&one.bytes).and_then(|answer| Some(answer.only()?.said()));
            vec![whole("answer", said)]
        }
        Content::Certificate => vec![whole("certificate", None)],
        Content::Manifest => vec![whole("manifest", None)],
    }
}

impl Endorsement {
    /// Whether it was made after `at` (Unix seconds) by more than [`SKEW`]: what a vendor will say is not known yet, and
    /// something that is dated ahead would keep out all that comes before that date.
    pub fn check_made_by(&self, at: u64) -> Result<(), EndorsementError> {
        let dated = matches!(self.content, Content::RevocationList | Content::Collateral | Content::Answer);
        if dated && self.from > at.saturating_add(SKEW) {
            let (name, from, at) = (self.name.clone(), instant(self.from), instant(at));
            return Err(EndorsementError::Ahead { name, from, at });
        }
        Ok(())
    }
}

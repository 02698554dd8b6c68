//! What is it? Recognition of what was given, capped before anything is parsed. Nothing here is believed.

use super::EndorsementError;
use crate::{
    nvidia::{Answer, MAX_ANSWER},
    quote::hex,
    tdx::{COLLATERAL_BYTES, Collateral},
    x509::{MAX_CRL, printable},
};
use rustls_pki_types::pem::{PemObject, SectionKind};
use strongroom_protocol::{limits, sha256};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Most bytes of one import.
pub const MAX_BYTES: usize = 1 << 20;
/// Most certificates and lists of one import.
pub const MAX_ITEMS: usize = 64;
/// Most bytes of a manifest.
const MANIFEST_BYTES: usize = 512 << 10;

/// What an endorsement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// An X.509 certificate.
    Certificate,
    /// A list of revoked certificates.
    RevocationList,
    /// What a responder answered about one certificate (OCSP, RFC 6960).
    Answer,
    /// Intel's collateral of a kind of platform.
    Collateral,
    /// A reference integrity manifest of NVIDIA's.
    Manifest,
}

impl Content {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::RevocationList => "revocation list",
            Self::Answer => "answer",
            Self::Collateral => "collateral",
            Self::Manifest => "manifest",
        }
    }
}

/// One thing that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub content: Content,
    /// What or whom it is about: the subject of a certificate, the issuer of a list, the serial number that an answer
    /// speaks of, the platform of collateral. Of a manifest nothing is known before its signature was verified.
    pub subject: String,
    /// DER, JSON or XML.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// Since when it is valid, Unix seconds; 0 for a manifest.
    pub from: u64,
    /// Until when, Unix seconds: `notAfter` or `nextUpdate`; 0 for a manifest.
    pub until: u64,
}

impl Found {
    /// Recognises everything in `bytes`, of which there are at most [`MAX_BYTES`]. Strict: what cannot be read wholly,
    /// or has no end in time, is refused with all that came with it.
    pub fn read(bytes: &[u8]) -> Result<Vec<Self>, EndorsementError> {
        capped("bytes", MAX_BYTES, bytes.len())?;
        match bytes.trim_ascii_start() {
            text if text.starts_with(b"{") => Self::collateral(bytes).map(|one| vec![one]),
            text if text.starts_with(b"<") || text.starts_with(b"\xef\xbb\xbf<") => {
                capped("bytes of a manifest", MANIFEST_BYTES, bytes.len())?;
                Ok(vec![Self::new(Content::Manifest, "a manifest", bytes, (0, 0))])
            }
            _ if bytes.first() == Some(&0x30) => Self::der(bytes).map(|one| vec![one]),
            text if text.starts_with(b"-----BEGIN") => Self::pem(bytes),
            _ => Err(EndorsementError::Unknown("it begins like none of them".to_owned())),
        }
    }

    fn new(content: Content, subject: &str, bytes: &[u8], (from, until): (u64, u64)) -> Self {
        // Subjects go into messages and lists.
        let subject = printable(subject);
        Self { content, subject, bytes: bytes.to_vec(), sha256: sha256(bytes), from, until }
    }

    fn pem(bytes: &[u8]) -> Result<Vec<Self>, EndorsementError> {
        let unknown = |problem: String| EndorsementError::Unknown(problem);
        let mut found = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section.map_err(|error| unknown(error.to_string()))?;
            capped("certificates and lists", MAX_ITEMS, found.len() + 1)?;
            found.push(match kind {
                SectionKind::Certificate => Self::certificate(&der)?,
                SectionKind::Crl => Self::list(&der)?,
                _ => return Err(unknown("a PEM block is neither a certificate nor a revocation list".to_owned())),
            });
        }
        if found.is_empty() { Err(unknown("there is no PEM block in it".to_owned())) } else { Ok(found) }
    }

    fn der(bytes: &[u8]) -> Result<Self, EndorsementError> {
        match (X509Certificate::from_der(bytes), Answer::read(bytes)) {
            (Ok(_), _) => Self::certificate(bytes),
            (Err(_), Some(answer)) => Self::answer(bytes, &answer),
            (Err(_), None) => Self::list(bytes),
        }
    }

    /// An answer is kept as long as it says that it holds, so one that does not say is not kept.
    fn answer(der: &[u8], answer: &Answer<'_>) -> Result<Self, EndorsementError> {
        capped("bytes of an answer", MAX_ANSWER, der.len())?;
        let unusable = |problem: &str| unusable("an answer of a responder (OCSP)", problem);
        let single =
            answer.only().ok_or_else(|| unusable("it is not about one certificate: ask about one at a time"))?;
        let until = single.next_update.ok_or_else(|| unusable("it does not say until when it is valid"))?;
        let seconds = |at: i64| u64::try_from(at).map_err(|_| unusable("it has a date before 1970"));
        let dates = (seconds(single.this_update)?, seconds(until)?);
        Ok(Self::new(Content::Answer, &format!("certificate {}", hex(single.serial())), der, dates))
    }

    fn certificate(der: &[u8]) -> Result<Self, EndorsementError> {
        capped("bytes of a certificate", limits::CERTIFICATE, der.len())?;
        let unreadable = || EndorsementError::Unknown("a certificate in it cannot be read as DER".to_owned());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
        let subject = printable(&certificate.subject().to_string());
        let unusable = |problem: &str| unusable(&subject, problem);
        if !rest.is_empty() {
            return Err(unusable("bytes follow it"));
        }
        let validity = certificate.validity();
        let seconds = |at: i64| u64::try_from(at).map_err(|_| unusable("it has a date before 1970"));
        let dates = (seconds(validity.not_before.timestamp())?, seconds(validity.not_after.timestamp())?);
        Ok(Self::new(Content::Certificate, &subject, der, dates))
    }

    fn list(der: &[u8]) -> Result<Self, EndorsementError> {
        capped("bytes of a revocation list", MAX_CRL, der.len())?;
        let unreadable = || EndorsementError::Unknown("its DER is that of neither".to_owned());
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| unreadable())?;
        let subject = printable(&list.issuer().to_string());
        let unusable = |problem: &str| unusable(&subject, problem);
        if !rest.is_empty() {
            return Err(unusable("bytes follow it"));
        }
        let next = list.next_update().ok_or_else(|| unusable("it does not say until when it is valid"))?;
        let seconds = |at: i64| u64::try_from(at).map_err(|_| unusable("it has a date before 1970"));
        let dates = (seconds(list.last_update().timestamp())?, seconds(next.timestamp())?);
        Ok(Self::new(Content::RevocationList, &subject, der, dates))
    }

    fn collateral(json: &[u8]) -> Result<Self, EndorsementError> {
        capped("bytes of collateral", COLLATERAL_BYTES, json.len())?;
        let collateral = Collateral::parse(json)?;
        let subject = format!("platforms {}", collateral.key());
        Ok(Self::new(Content::Collateral, &subject, json, (collateral.valid_from(), collateral.next_update())))
    }
}

pub(super) fn unusable(subject: &str, problem: &str) -> EndorsementError {
    EndorsementError::Unusable { subject: subject.to_owned(), problem: problem.to_owned() }
}

fn capped(what: &'static str, limit: usize, actual: usize) -> Result<(), EndorsementError> {
    if actual > limit { Err(EndorsementError::TooMany { what, limit, actual }) } else { Ok(()) }
}

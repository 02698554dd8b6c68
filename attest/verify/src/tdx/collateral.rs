//! Intel's collateral for one kind of platform: TCB info, identity of the quoting enclave, revocation lists, and the
//! certificates that signed them.

mod written;

use super::{TdxRefused, quote::certificates};
use crate::endorsements::Part;
use crate::quote::hex;
use dcap_qvl::{QeIdentity, QuoteCollateralV3, TcbInfo};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::fmt;
use strongroom_protocol::sha256;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Most bytes of a collateral's JSON.
pub const COLLATERAL_BYTES: usize = 256 << 10;

/// Collateral that was read. Its signatures are verified together with a quote, or by
/// [`crate::endorsements`] on import.
#[derive(Debug, Clone)]
pub struct Collateral {
    pub(super) given: QuoteCollateralV3,
    key: CollateralKey,
    root: CertificateDer<'static>,
    dated: Vec<Dated>,
    /// `tcbEvaluationDataNumber` of the TCB info and of the identity.
    numbers: [u32; 2],
}

/// What collateral is looked up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollateralKey {
    /// FMSPC: 12 lower-case hexadecimal digits.
    pub fmspc: String,
    /// The CA of the platform's PCK certificate, whose revocation list the collateral has.
    pub ca: PckCa,
}

/// A CA of PCK certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PckCa {
    /// Single packages.
    Processor,
    /// Platforms that may have several packages.
    Platform,
}

/// Why collateral was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollateralError {
    /// Larger than any.
    #[error("{actual} bytes are more than the {limit} that collateral may have")]
    TooLong {
        /// The cap, bytes.
        limit: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// Not JSON of the expected shape, or a part of it cannot be read.
    #[error("{part} cannot be read: {problem}")]
    Malformed {
        /// The part.
        part: &'static str,
        /// What was wrong.
        problem: String,
    },
    /// Collateral of something else than TDX platforms.
    #[error("{part} is of {got}, expected is {expected}: fetch the collateral of TDX")]
    Kind {
        /// The part.
        part: &'static str,
        /// What is wanted.
        expected: &'static str,
        /// What was given.
        got: String,
    },
}

/// A part with its time, Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dated {
    what: &'static str,
    from: u64,
    until: u64,
}

impl PckCa {
    /// The CA that issued a PCK certificate (DER), by the issuer's name; `None` if it is neither.
    pub(super) fn of_issuer(leaf: &[u8]) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        Self::of_name(leaf.issuer().iter_common_name().next()?.as_str().ok()?)
    }

    fn of_name(name: &str) -> Option<Self> {
        match name {
            "Intel SGX PCK Processor CA" => Some(Self::Processor),
            "Intel SGX PCK Platform CA" => Some(Self::Platform),
            _ => None,
        }
    }

    /// As Intel's services write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }
}

impl fmt::Display for CollateralKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.fmspc, self.ca.as_str())
    }
}

impl Collateral {
    /// Reads collateral as JSON of at most [`COLLATERAL_BYTES`]: an object with `pck_crl_issuer_chain`, `root_ca_crl`,
    /// `pck_crl`, `tcb_info_issuer_chain`, `tcb_info`, `tcb_info_signature`, `qe_identity_issuer_chain`, `qe_identity`,
    /// `qe_identity_signature`, in snake or camel case, as `dcap-qvl` writes it.
    ///
    /// What Intel's services and their caches give is taken as it is: chains with percent signs, lists as PEM or as
    /// hexadecimal DER, and whole answers (`{"tcbInfo": …, "signature": …}`, `{"enclaveIdentity": …, "signature": …}`)
    /// in place of a document and its signature.
    pub fn parse(json: &[u8]) -> Result<Self, CollateralError> {
        if json.len() > COLLATERAL_BYTES {
            return Err(CollateralError::TooLong { limit: COLLATERAL_BYTES, actual: json.len() });
        }
        Self::of(written::read(json)?)
    }

    fn of(given: QuoteCollateralV3) -> Result<Self, CollateralError> {
        let info: TcbInfo =
            serde_json::from_str(&given.tcb_info).map_err(|error| malformed("tcb_info", error.to_string()))?;
        let identity: QeIdentity =
            serde_json::from_str(&given.qe_identity).map_err(|error| malformed("qe_identity", error.to_string()))?;
        for (part, expected, got) in [("tcb_info", "TDX", &info.id), ("qe_identity", "TD_QE", &identity.id)] {
            if got != expected {
                return Err(CollateralError::Kind { part, expected, got: got.clone() });
            }
        }
        let fmspc = info.fmspc.to_ascii_lowercase();
        if fmspc.len() != 12 || !fmspc.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(malformed("tcb_info", "its fmspc is not 12 hexadecimal digits".to_owned()));
        }
        let mut dated = vec![
            document("tcb_info", &info.issue_date, &info.next_update)?,
            document("qe_identity", &identity.issue_date, &identity.next_update)?,
            revocations("root_ca_crl", &given.root_ca_crl)?,
            revocations("pck_crl", &given.pck_crl)?,
        ];
        let mut chain = |part: &'static str, pem: &str| {
            let found = certificates(pem.as_bytes()).map_err(|problem| malformed(part, problem.to_owned()))?;
            for der in &found {
                dated.push(certificate(part, der)?.0);
            }
            Ok(found)
        };
        let signers = chain("tcb_info_issuer_chain", &given.tcb_info_issuer_chain)?;
        chain("qe_identity_issuer_chain", &given.qe_identity_issuer_chain)?;
        let issuers = chain("pck_crl_issuer_chain", &given.pck_crl_issuer_chain)?;
        let (Some(root), Some(issuer)) = (signers.last(), issuers.first()) else {
            return Err(malformed("tcb_info_issuer_chain", "there is no certificate in it".to_owned()));
        };
        let name = certificate("pck_crl_issuer_chain", issuer)?.1;
        let ca = PckCa::of_name(&name).ok_or(CollateralError::Kind {
            part: "pck_crl_issuer_chain",
            expected: "Intel SGX PCK Processor CA or Intel SGX PCK Platform CA",
            got: name,
        })?;
        Ok(Self {
            key: CollateralKey { fmspc, ca },
            root: root.clone(),
            dated,
            numbers: [info.tcb_evaluation_data_number, identity.tcb_evaluation_data_number],
            given,
        })
    }

    /// What it is looked up by.
    pub fn key(&self) -> &CollateralKey {
        &self.key
    }

    /// The certificate (DER) that its chains end at. It is trusted only if it is pinned.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// When its first part expires, Unix seconds.
    pub fn next_update(&self) -> u64 {
        self.dated.iter().map(|dated| dated.until).min().unwrap_or_default()
    }

    /// Since when all of it is valid, Unix seconds.
    pub fn valid_from(&self) -> u64 {
        self.dated.iter().map(|dated| dated.from).max().unwrap_or(u64::MAX)
    }

    /// The lower `tcbEvaluationDataNumber` of its two documents.
    pub fn evaluation_data_number(&self) -> u32 {
        let [info, identity] = self.numbers;
        info.min(identity)
    }

    /// What of it is published each at its own time, and may not go back: the two documents and the two lists.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let document = |what: &'static str, number| {
            let dated = self.dated.iter().find(|dated| dated.what == what);
            dated.map(|dated| Part::document(what, dated.from, number))
        };
        let [info, identity] = self.numbers;
        let documents = [document("tcb_info", info), document("qe_identity", identity)];
        let (of_root, of_ca, _) = self.lists();
        let lists = [Part::list("root_ca_crl", of_root), Part::list("pck_crl", of_ca)];
        documents.into_iter().chain(lists).flatten().collect()
    }

    /// Certificates (PEM), document and signature (raw, 64 bytes) of its two documents.
    pub(crate) fn documents(&self) -> [(&str, &str, &[u8]); 2] {
        let given = &self.given;
        [
            (&given.tcb_info_issuer_chain, &given.tcb_info, &given.tcb_info_signature),
            (&given.qe_identity_issuer_chain, &given.qe_identity, &given.qe_identity_signature),
        ]
    }

    /// The revocation lists (DER): of the root, and of the PCK CA with the chain (PEM) that signed it.
    pub(crate) fn lists(&self) -> (&[u8], &[u8], &str) {
        (&self.given.root_ca_crl, &self.given.pck_crl, &self.given.pck_crl_issuer_chain)
    }

    /// Every part must be valid at the time.
    pub(super) fn check_dates(&self, at: u64) -> Result<(), TdxRefused> {
        for &Dated { what, from, until } in &self.dated {
            if at < from {
                return Err(TdxRefused::T1CollateralEarly { what, from, at });
            }
            if at > until {
                return Err(TdxRefused::T1CollateralExpired { what, until, at });
            }
        }
        Ok(())
    }

    /// The root must be pinned.
    pub(crate) fn check_root(&self, pins: &crate::Pins) -> Result<(), TdxRefused> {
        match pins.of_certificate(crate::PinKind::IntelSgxRoot, &self.root) {
            Some(_) => Ok(()),
            None => Err(TdxRefused::T1Root { sha256: hex(&sha256(&self.root)) }),
        }
    }
}

fn malformed(part: &'static str, problem: String) -> CollateralError {
    CollateralError::Malformed { part, problem }
}

fn seconds(part: &'static str, timestamp: i64) -> Result<u64, CollateralError> {
    u64::try_from(timestamp).map_err(|_| malformed(part, "it has a date before 1970".to_owned()))
}

fn document(what: &'static str, issued: &str, next: &str) -> Result<Dated, CollateralError> {
    let read = |text: &str| {
        let date = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| malformed(what, error.to_string()))?;
        seconds(what, date.unix_timestamp())
    };
    Ok(Dated { what, from: read(issued)?, until: read(next)? })
}

fn revocations(what: &'static str, der: &[u8]) -> Result<Dated, CollateralError> {
    let (rest, list) = CertificateRevocationList::from_der(der)
        .map_err(|_| malformed(what, "it is no revocation list in DER".to_owned()))?;
    let next = list.next_update().filter(|_| rest.is_empty());
    let next = next.ok_or_else(|| malformed(what, "it has no nextUpdate, or bytes follow it".to_owned()))?;
    Ok(Dated { what, from: seconds(what, list.last_update().timestamp())?, until: seconds(what, next.timestamp())? })
}

/// The time of a certificate, and its subject's common name.
fn certificate(what: &'static str, der: &[u8]) -> Result<(Dated, String), CollateralError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| malformed(what, "it is no certificate in DER".to_owned()))?;
    let validity = certificate.validity();
    let dated = Dated {
        what,
        from: seconds(what, validity.not_before.timestamp())?,
        until: seconds(what, validity.not_after.timestamp())?,
    };
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    Ok((dated, name.unwrap_or("a certificate without a name").to_owned()))
}

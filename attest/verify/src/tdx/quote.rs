//! The quote (Intel TDX DCAP Quoting Library API, appendix "Quote Format"): versions 4 and 5 of a TDX guest.

use super::{CollateralKey, PckCa, TdxRefused};
use dcap_qvl::{
    INTEL_QE_VENDOR_ID, intel,
    quote::{AuthData, Quote as Parsed, TDReport10, TDReport15, TDReport15Ex},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use strongroom_protocol::{
    identity::{Identity, IdentityKind},
    limits,
};

const TEE_TDX: u32 = 0x81;
/// ECDSA with P-256.
const KEY_TYPE: u16 = 2;
/// Certification data: what the quoting enclave's report says, and a chain of certificates in it.
const ENCLAVE_REPORT: u16 = 6;
const CERTIFICATE_CHAIN: u16 = 5;
/// Most certificates in a quote: leaf, CA, root, and one to spare.
pub(super) const MAX_CERTIFICATES: usize = 4;

/// A quote that is laid out as one. Nothing in it is believed yet.
#[derive(Debug, Clone)]
pub struct Quote<'a> {
    /// Without what is behind it.
    bytes: &'a [u8],
    parsed: Parsed,
    body: TDReport10,
    certificates: Vec<CertificateDer<'static>>,
}

impl<'a> Quote<'a> {
    /// Reads a quote of at most [`limits::TDX_QUOTE`] bytes: a TDX guest's, version 4 or 5, signed by P-256, with the
    /// PCK certificate's chain in it, and nothing but zeros behind it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TdxRefused> {
        if bytes.len() > limits::TDX_QUOTE {
            return Err(TdxRefused::T1TooLong { limit: limits::TDX_QUOTE, actual: bytes.len() });
        }
        let malformed = |problem: String| TdxRefused::T1Malformed { problem };
        let parsed = Parsed::parse(bytes).map_err(|error| malformed(format!("{error:#}")))?;
        let body = *check_kind(&parsed)?;
        let signed = parsed.signed_length();
        // The length of the signature data follows what is signed.
        let length = bytes.get(signed..).and_then(|rest| rest.first_chunk()).map(|length| u32::from_le_bytes(*length));
        let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
        let end = signed.saturating_add(4).saturating_add(length);
        let (whole, rest) = bytes.split_at_checked(end).ok_or_else(|| malformed("it is cut off".to_owned()))?;
        if rest.iter().any(|&byte| byte != 0) {
            return Err(malformed(format!("{} bytes that are not zeros follow it", rest.len())));
        }
        check_filled(&parsed, length)?;
        let certificates = certificates(parsed.inner_cert_data()).map_err(|problem| {
            let problem = problem.to_owned();
            TdxRefused::T1Certificates { problem }
        })?;
        Ok(Self { bytes: whole, parsed, body, certificates })
    }

    /// What the quoting enclave says of its platform, by which Intel's collateral is looked up. Not verified: another
    /// platform's collateral refuses the quote.
    pub fn key(&self) -> Result<CollateralKey, TdxRefused> {
        let refused = |problem: &str| TdxRefused::T1Certificates { problem: problem.to_owned() };
        let leaf = self.certificates.first().ok_or_else(|| refused("there is none"))?;
        let extension = intel::parse_pck_extension(leaf);
        let extension = extension.map_err(|_| refused("the first is not a PCK certificate with Intel's extension"))?;
        let ca = PckCa::of_issuer(leaf).ok_or_else(|| refused("the first is not issued by a PCK CA of Intel's"))?;
        Ok(CollateralKey { fmspc: crate::quote::hex(&extension.fmspc), ca })
    }

    /// The platform that the quote says it is of: good for looking a node up, and for nothing else before
    /// [`super::verify`]. `None` where its certificate names none.
    pub fn said_identity(&self) -> Option<Identity> {
        let extension = intel::parse_pck_extension(self.certificates.first()?).ok()?;
        Identity::read(IdentityKind::TdxPpid, &crate::quote::hex(&extension.ppid)).ok()
    }

    /// The quote's version: 4 or 5.
    pub fn version(&self) -> u16 {
        self.parsed.header.version
    }

    /// What it binds. Believe it only after [`super::verify`].
    pub fn report_data(&self) -> &[u8; 64] {
        &self.body.report_data
    }

    /// The bytes that are signed.
    pub fn signed(&self) -> &'a [u8] {
        self.bytes.get(..self.parsed.signed_length()).unwrap_or_default()
    }

    /// The platform's certificate (DER), as the quote has it.
    pub(super) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certificates.first()
    }

    /// The quote without what is behind it.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What every version of the report has.
    pub(super) fn body(&self) -> &TDReport10 {
        &self.body
    }

    /// What the report of TDX 1.5 has beside it.
    pub(super) fn body15(&self) -> Option<&TDReport15> {
        self.parsed.report.as_td15()
    }

    /// What the extended report has beside that.
    pub(super) fn body15_ex(&self) -> Option<&TDReport15Ex> {
        self.parsed.report.as_td15_ex()
    }
}

/// The report of a quote of the kind that is verified here.
fn check_kind(quote: &Parsed) -> Result<&TDReport10, TdxRefused> {
    let kind = |field, expected, got: String| Err(TdxRefused::T1Kind { field, expected, got });
    let header = &quote.header;
    if !matches!(header.version, 4 | 5) {
        return kind("version", "4 or 5", header.version.to_string());
    }
    let Some(body) = quote.report.as_td10().filter(|_| header.tee_type == TEE_TDX) else {
        return kind("kind", "0x81 with a report of a TDX guest", format!("{:#x}", header.tee_type));
    };
    if header.attestation_key_type != KEY_TYPE {
        return kind("attestation key", "2, ECDSA with P-256", header.attestation_key_type.to_string());
    }
    if header.qe_vendor_id != INTEL_QE_VENDOR_ID {
        return kind("quoting enclave's vendor", "Intel", crate::quote::hex(&header.qe_vendor_id));
    }
    let AuthData::V4(auth) = &quote.auth_data else {
        return kind("signature data", "of version 4", "of version 3".to_owned());
    };
    let outer = auth.certification_data.cert_type;
    if outer != ENCLAVE_REPORT {
        return kind("certification data", "6, the quoting enclave's report", outer.to_string());
    }
    let inner = quote.inner_cert_type();
    if inner != CERTIFICATE_CHAIN {
        return kind("enclave's certification data", "5, the PCK certificate's chain", inner.to_string());
    }
    Ok(body)
}

/// The sized parts fill what holds them: there is no place for bytes that nobody reads.
fn check_filled(quote: &Parsed, length: usize) -> Result<(), TdxRefused> {
    let AuthData::V4(auth) = &quote.auth_data else { return Ok(()) };
    let outer = auth.certification_data.body.data.len();
    let inner = &auth.qe_report_data;
    // Report and signature of the enclave, and the sizes and the type before what is sized.
    let needed = 384 + 64 + 2 + inner.qe_auth_data.data.len() + 6 + inner.certification_data.body.data.len();
    if outer == needed && length == 64 + 64 + 6 + outer {
        Ok(())
    } else {
        Err(TdxRefused::T1Malformed { problem: "its sized parts do not fill what holds them".to_owned() })
    }
}

/// Certificates as PEM: counted and capped before anybody builds paths of them.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "they are not PEM")?;
        if found.len() == MAX_CERTIFICATES {
            return Err("there are more than four");
        }
        if certificate.len() > limits::CERTIFICATE {
            return Err("one is larger than any certificate");
        }
        found.push(certificate);
    }
    if found.is_empty() { Err("there is none") } else { Ok(found) }
}

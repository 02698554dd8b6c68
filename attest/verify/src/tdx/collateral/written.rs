//! Collateral as it is written: by `dcap-qvl`, by Intel's services, by their caches.

use super::{CollateralError, malformed};
use dcap_qvl::QuoteCollateralV3;
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// Reads the JSON into its parts. The documents stay as they were signed, byte by byte.
pub(super) fn read(json: &[u8]) -> Result<QuoteCollateralV3, CollateralError> {
    let written: Written =
        serde_json::from_slice(json).map_err(|error| malformed("the collateral", error.to_string()))?;
    let (tcb_info, tcb_info_signature) = signed("tcb_info", &written.tcb_info, written.tcb_info_signature)?;
    let (qe_identity, qe_identity_signature) =
        signed("qe_identity", &written.qe_identity, written.qe_identity_signature)?;
    Ok(QuoteCollateralV3 {
        pck_crl_issuer_chain: plain(&written.pck_crl_issuer_chain),
        root_ca_crl: list("root_ca_crl", &written.root_ca_crl)?,
        pck_crl: list("pck_crl", &written.pck_crl)?,
        tcb_info_issuer_chain: plain(&written.tcb_info_issuer_chain),
        tcb_info,
        tcb_info_signature,
        qe_identity_issuer_chain: plain(&written.qe_identity_issuer_chain),
        qe_identity,
        qe_identity_signature,
        // The chain is that of the quote, always.
        pck_certificate_chain: None,
    })
}

/// Collateral as files have it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(alias = "pckCrlIssuerChain")]
    pck_crl_issuer_chain: String,
    #[serde(alias = "rootCaCrl")]
    root_ca_crl: String,
    #[serde(alias = "pckCrl")]
    pck_crl: String,
    #[serde(alias = "tcbInfoIssuerChain")]
    tcb_info_issuer_chain: String,
    #[serde(alias = "tcbInfo")]
    tcb_info: Box<RawValue>,
    #[serde(alias = "tcbInfoSignature")]
    tcb_info_signature: Option<String>,
    #[serde(alias = "qeIdentityIssuerChain")]
    qe_identity_issuer_chain: String,
    #[serde(alias = "qeIdentity")]
    qe_identity: Box<RawValue>,
    #[serde(alias = "qeIdentitySignature")]
    qe_identity_signature: Option<String>,
    #[serde(alias = "pckCertificateChain", rename = "pck_certificate_chain")]
    _pck_certificate_chain: Option<IgnoredAny>,
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(alias = "teeType", rename = "tee_type")]
    _tee_type: Option<IgnoredAny>,
}

/// A whole answer of Intel's service. The signature is over the document as it stands there, byte by byte.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer<'a> {
    #[serde(borrow, rename = "tcbInfo", alias = "enclaveIdentity")]
    document: &'a RawValue,
    signature: String,
}

/// The document as it was signed, and its signature.
fn signed(
    part: &'static str,
    given: &RawValue,
    signature: Option<String>,
) -> Result<(String, Vec<u8>), CollateralError> {
    // A text that holds JSON, or the JSON itself.
    let text = match serde_json::from_str::<String>(given.get()) {
        Ok(text) => text,
        Err(_) => given.get().to_owned(),
    };
    let (text, signature) = match (serde_json::from_str::<Answer<'_>>(&text), signature) {
        (Ok(_), Some(_)) => return Err(malformed(part, "its signature is given twice".to_owned())),
        (Ok(answer), None) => (answer.document.get().to_owned(), answer.signature),
        (Err(_), Some(signature)) => (text, signature),
        (Err(_), None) => return Err(malformed(part, "its signature is missing".to_owned())),
    };
    let signature = unhex(&signature).filter(|signature| signature.len() == 64);
    let signature =
        signature.ok_or_else(|| malformed(part, "its signature is not 128 hexadecimal digits".to_owned()))?;
    Ok((text, signature))
}

/// A revocation list as DER.
fn list(part: &'static str, text: &str) -> Result<Vec<u8>, CollateralError> {
    if text.contains("-----BEGIN") {
        let der = CertificateRevocationListDer::from_pem_slice(plain(text).as_bytes());
        return der.map(|der| der.to_vec()).map_err(|error| malformed(part, error.to_string()));
    }
    unhex(text.trim()).ok_or_else(|| malformed(part, "it is neither PEM nor hexadecimal".to_owned()))
}

/// Undoes the percent signs of HTTP headers.
fn plain(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        let escaped = (byte == b'%').then(|| more.split_at_checked(2)).flatten();
        match escaped.and_then(|(digits, after)| Some((*unhex(str::from_utf8(digits).ok()?)?.first()?, after))) {
            Some((decoded, after)) => {
                out.push(decoded);
                rest = after;
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    pairs.iter().map(byte).collect::<Option<_>>().filter(|_| rest.is_empty())
}

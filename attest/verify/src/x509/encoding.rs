//! Certificates as people have them: DER, or one PEM or several.

use super::X509Problem;
use crate::der::SEQUENCE;
use std::borrow::Cow;
use strongroom_protocol::limits;
use x509_parser::pem::Pem;

/// How PEM starts, after white space and comments that some files have.
const PEM: &[u8] = b"-----BEGIN ";
/// Bytes of a file of PEM: every certificate of the longest chain in base64, with its lines.
const MAX_PEM: usize = limits::CERTIFICATES * limits::CERTIFICATE * 3 / 2;

/// The certificates of one piece of bytes: itself where it is DER, and each of PEM, in their order. At most
/// [`limits::CERTIFICATES`]; other kinds of PEM are left out.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, X509Problem> {
    if bytes.first() == Some(&SEQUENCE) || !bytes.windows(PEM.len()).take(limits::CERTIFICATE).any(|some| some == PEM) {
        return Ok(vec![Cow::Borrowed(bytes)]);
    }
    if bytes.len() > MAX_PEM {
        return Err(X509Problem::TooLarge { limit: MAX_PEM, actual: bytes.len() });
    }
    let mut found = Vec::new();
    for pem in Pem::iter_from_buffer(bytes) {
        let pem = pem.map_err(|_| X509Problem::Malformed { field: "its PEM" })?;
        if pem.label == "CERTIFICATE" {
            if found.len() == limits::CERTIFICATES {
                return Err(X509Problem::TooMany { limit: limits::CERTIFICATES });
            }
            found.push(Cow::Owned(pem.contents));
        }
    }
    Ok(found)
}

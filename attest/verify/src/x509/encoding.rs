//! Certificates as people have them: DER, or one PEM or several.

use super::{SEQUENCE, X509Problem};
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

/// A SEQUENCE of these parts.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, parts)
}

/// A BIT STRING of whole bytes.
pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    const BIT_STRING: u8 = 0x03;
    tagged(BIT_STRING, &[&[0], bytes])
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let bytes: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match (length, u8::try_from(bytes.len())) {
        (0..=0x7f, _) => out.extend(u8::try_from(length)),
        (_, Ok(count)) => {
            out.push(0x80 | count);
            out.extend(bytes);
        }
        (_, Err(_)) => {}
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

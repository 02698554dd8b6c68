//! The DICE extension of the reporting key's certificate: which firmware holds the key, and whose device it is.
//!
//! NVIDIA's certificates have the identifier 2.23.133.5.4.1 with what the first drafts of TCG's DICE attestation had
//! there, `CompositeDeviceID ::= SEQUENCE { version, deviceID SubjectPublicKeyInfo, fwid FWID }`. The published
//! standard (DICE Attestation Architecture 1.1, 6.1.1) has `TcbInfo` under the same identifier, and lists of them under
//! 2.23.133.5.4.5; both are read too, where they have exactly one FWID.

use crate::{
    der::{self, Reader},
    x509::Certificate,
};

const DICE: &str = "2.23.133.5.4.1";
const MULTI: &str = "2.23.133.5.4.5";
/// SHA-384, 2.16.840.1.101.3.4.2.2, as the contents of its DER.
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
/// `fwids` of a `TcbInfo`.
const FWIDS: u8 = 0xa6;

/// What the extension says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Firmware<'a> {
    /// SHA-384 of the firmware.
    pub(super) fwid: &'a [u8; 48],
    /// The device's identity key (`SubjectPublicKeyInfo`), where the extension has it.
    pub(super) device: Option<&'a [u8]>,
}

/// The firmware of a certificate; `None` where there is not exactly one, or it is not by SHA-384.
pub(super) fn of<'a>(certificate: &Certificate<'a>) -> Option<Firmware<'a>> {
    let mut list = match (certificate.extension(DICE), certificate.extension(MULTI)) {
        (Some(one), None) => Reader::only(one, der::SEQUENCE)?,
        (None, Some(several)) => {
            let mut list = Reader::only(several, der::SEQUENCE)?;
            list.enter(der::SEQUENCE).filter(|_| list.is_empty())?
        }
        _ => return None,
    };
    if list.is(der::INTEGER) {
        list.take(der::INTEGER).filter(|version| *version == [1])?;
        let device = list.next().filter(|value| value.tag == der::SEQUENCE)?;
        let fwid = fwid(&mut list).filter(|_| list.is_empty())?;
        return Some(Firmware { fwid, device: Some(device.whole) });
    }
    let mut fwids = None;
    while let Some(value) = list.next() {
        if value.tag == FWIDS && fwids.replace(value.content).is_some() {
            return None;
        }
    }
    let mut fwids = Reader::new(fwids.filter(|_| list.is_empty())?);
    let fwid = fwid(&mut fwids).filter(|_| fwids.is_empty())?;
    Some(Firmware { fwid, device: None })
}

/// `FWID ::= SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING }`
fn fwid<'a>(list: &mut Reader<'a>) -> Option<&'a [u8; 48]> {
    let mut fwid = list.enter(der::SEQUENCE)?;
    fwid.take(der::OID).filter(|algorithm| *algorithm == SHA384)?;
    fwid.take(der::OCTET_STRING).filter(|_| fwid.is_empty())?.try_into().ok()
}

//! UEFI variables in events, and the signature lists in them (UEFI 2.10, §32.4; PFP 1.06, §10.4.2.6).

use super::{event::Event, guid::Guid, kind::Measured};
use crate::quote::hex;
use strongroom_protocol::claims::SignatureDatabase;

/// Most certificates of a database that are listed. Machines have up to some tens.
const MAX_CERTIFICATES: usize = 1024;

/// Longest name that is read, in UTF-16 units. Names that matter here have at most twelve.
const MAX_NAME: usize = 256;

/// Most zeros that old shims measure behind a variable.
const SHIM_ZEROS: usize = 5;

/// `UEFI_VARIABLE_DATA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable<'a> {
    /// The vendor's GUID.
    pub(super) guid: Guid,
    /// The name.
    pub(super) name: String,
    /// The value.
    pub(super) value: &'a [u8],
}

impl<'a> Variable<'a> {
    /// Reads one that fills `data` exactly.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        Self::split(data).filter(|(_, rest)| rest.is_empty()).map(|(variable, _)| variable)
    }

    /// Reads the one that an event's digests are of. Shim before 15.3 measures up to five zeros behind an
    /// authority, and logs a byte more.
    pub(super) fn measured(event: &Event<'a>) -> Option<Self> {
        let data = event.data();
        let (variable, mut rest) = Self::split(data)?;
        if event.kind().measured() == Measured::Authority {
            if !event.digests_are_of(data) {
                rest = rest.split_last()?.1;
            }
            rest = rest.get(rest.iter().take(SHIM_ZEROS).take_while(|&&byte| byte == 0).count()..)?;
        }
        rest.is_empty().then_some(variable)
    }

    /// Reads one, and gives what follows it.
    fn split(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (guid, rest) = data.split_first_chunk::<16>()?;
        let (name, rest) = rest.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*name)).ok().filter(|&length| length <= MAX_NAME)?;
        let (name, rest) = rest.split_at_checked(length * 2)?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*size)).ok()?)?;
        let units: Vec<u16> = name.as_chunks::<2>().0.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
        Some((Self { guid: Guid(*guid), name: String::from_utf16(&units).ok()?, value }, rest))
    }
}

/// Whether a value is an X.509 certificate as it stands: a DER sequence that fills it.
pub(super) fn is_certificate(value: &[u8]) -> bool {
    matches!(value, &[0x30, 0x82, high, low, ref rest @ ..] if rest.len() == usize::from(u16::from_be_bytes([high, low])))
}

/// Reads the lists that a value holds; `None` if they do not fill it exactly, or hold more certificates than any.
pub(super) fn database(value: &[u8]) -> Option<SignatureDatabase> {
    let digest = |bytes: &[u8]| hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    let mut database = SignatureDatabase { sha256: digest(value), ..SignatureDatabase::default() };
    let mut rest = value;
    while !rest.is_empty() {
        let (kind, fields) = rest.split_first_chunk::<16>()?;
        let (sizes, _) = fields.split_first_chunk::<12>()?;
        let [list, header, entry] = [0, 4, 8].map(|at| size(sizes, at));
        let (taken, next) = rest.split_at_checked(list?)?;
        let entries = taken.get(28_usize.checked_add(header?)?..)?;
        // Each entry has its owner's GUID before it.
        let entry = entry.filter(|&entry| entry > 16)?;
        if entries.len() % entry != 0 {
            return None;
        }
        for data in entries.chunks_exact(entry) {
            if Guid(*kind) == Guid::CERT_X509 {
                if database.certificates.len() == MAX_CERTIFICATES {
                    return None;
                }
                database.certificates.push(digest(data.get(16..)?));
            } else {
                database.others = database.others.saturating_add(1);
            }
        }
        rest = next;
    }
    Some(database)
}

fn size(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

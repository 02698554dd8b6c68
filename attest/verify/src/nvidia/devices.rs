//! G4: the devices of a node, over all reports of a request.

use super::GpuRefused;
use std::collections::BTreeSet;
use strongroom_protocol::claims::GpuClaims;

/// The GPUs of a node: exactly those of its record, each once, all bound to one nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    /// Their ids, in order.
    pub ids: BTreeSet<String>,
    /// What all of their reports bind, lower-case hexadecimal.
    pub nonce: String,
}

/// Compares the devices of a request's reports with the ids of the node's record.
///
/// This is not yet row G4 as a whole: a GPU that is in its record may still be plugged into another machine that
/// relays its reports. The caller counts [`Devices`] only beside CPU-TEE evidence of the same statement, from a guest
/// whose software collected the reports itself; `nonce` and that evidence's binding are of the same statement bytes.
pub fn devices(claims: &[GpuClaims], record: &BTreeSet<String>) -> Result<Devices, GpuRefused> {
    let mut ids = BTreeSet::new();
    for claim in claims {
        in_record(&claim.device, record)?;
        if !ids.insert(claim.device.clone()) {
            return Err(GpuRefused::G4Twice { device: claim.device.clone() });
        }
    }
    let missing: Vec<String> = record.difference(&ids).cloned().collect();
    if !missing.is_empty() {
        return Err(GpuRefused::G4Missing { missing, expected: record.len() });
    }
    let Some(first) = claims.first() else { return Err(GpuRefused::G4None) };
    match claims.iter().find(|claim| claim.nonce != first.nonce) {
        Some(other) => Err(GpuRefused::G4Nonce { device: other.device.clone() }),
        None => Ok(Devices { ids, nonce: first.nonce.clone() }),
    }
}

/// Whether one device is in the record.
pub(super) fn in_record(device: &str, record: &BTreeSet<String>) -> Result<(), GpuRefused> {
    if record.contains(device) {
        return Ok(());
    }
    Err(GpuRefused::G4Unknown { device: device.to_owned() })
}

//! The event log of a TDX guest (CCEL; UEFI 2.10, §38.4): crypto-agile as a TPM's, its registers counted otherwise.

use super::TdxRefused;
use crate::{
    log::{BootLog, EventType, extend, text_of},
    tpm::HashAlg,
};
use strongroom_protocol::claims::TdxLog;

/// As logs count registers: 0 is MRTD, 1 to 4 are RTMR0 to RTMR3.
const RTMRS: std::ops::RangeInclusive<u32> = 1..=4;
/// The register that the boot loader extends (RTMR2).
const LOADER: u32 = 3;

/// A log that was read, with what it leads to. It explains a quote and never replaces it.
#[derive(Debug, Clone)]
pub struct Ccel {
    rtmrs: [Vec<u8>; 4],
    claims: TdxLog,
}

impl Ccel {
    /// Reads a log of at most [`strongroom_protocol::limits::BOOT_LOG`] bytes and extends RTMR0 to RTMR3, which start
    /// from zeros, by its SHA-384 digests.
    pub fn parse(bytes: &[u8]) -> Result<Self, TdxRefused> {
        let log = BootLog::parse_ccel(bytes).map_err(TdxRefused::T1Log)?;
        if !log.algorithms().contains(&HashAlg::Sha384) {
            return Err(TdxRefused::T1LogBank);
        }
        let mut rtmrs: [Vec<u8>; 4] = Default::default();
        rtmrs.fill(vec![0; HashAlg::Sha384.digest_length()]);
        let mut claims = TdxLog { events: 0, texts: Vec::new(), unread: 0 };
        for event in log.events().iter().filter(|event| event.kind() != EventType::NO_ACTION) {
            let index = event.pcr();
            let misplaced = TdxRefused::T1LogIndex { event: event.number(), index };
            // MRTD is fixed when the guest is built: no event of a log can be part of it.
            let rtmr = RTMRS.contains(&index).then(|| rtmrs.get_mut(index.saturating_sub(1) as usize)).flatten();
            let (Some(rtmr), Some(digest)) = (rtmr, event.digest(HashAlg::Sha384)) else { return Err(misplaced) };
            extend(HashAlg::Sha384, rtmr, digest);
            claims.events = claims.events.saturating_add(1);
            if index == LOADER {
                match text_of(event) {
                    Some(text) => claims.texts.push(text),
                    None => claims.unread = claims.unread.saturating_add(1),
                }
            }
        }
        Ok(Self { rtmrs, claims })
    }

    /// What the log leads to: RTMR0 to RTMR3.
    pub fn rtmrs(&self) -> &[Vec<u8>; 4] {
        &self.rtmrs
    }

    /// What it says. Believe it only if it leads to the quoted registers.
    pub fn claims(&self) -> &TdxLog {
        &self.claims
    }
}

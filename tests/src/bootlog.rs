//! A crypto-agile event log of one SHA-256 bank, to be made right or wrong event by event.
//!
//! Source: TCG PC Client Platform Firmware Profile, version 1.06, §10 ("Event Logging").

use crate::tpm_commands;
use anyhow::Context as _;
use std::{collections::BTreeMap, fs::OpenOptions, io::Write as _, path::Path};
use strongroom_protocol::sha256;

/// Event types (§10.4.1, table 27).
pub mod kind {
    /// Never extended.
    pub const NO_ACTION: u32 = 0x03;
    /// Ends the firmware's own measurements in a PCR.
    pub const SEPARATOR: u32 = 0x04;
    /// Version of the first code that ran.
    pub const S_CRTM_VERSION: u32 = 0x08;
    /// Anything that a boot loader measures.
    pub const IPL: u32 = 0x0d;
    /// A variable that decides on Secure Boot.
    pub const EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
    /// A boot option; the digest is of the variable's value only.
    pub const EFI_VARIABLE_BOOT: u32 = 0x8000_0002;
    /// A loaded program; the digest is its Authenticode hash.
    pub const EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
    /// A loaded driver; the digest is its Authenticode hash.
    pub const EFI_BOOT_SERVICES_DRIVER: u32 = 0x8000_0004;
    /// The partition table.
    pub const EFI_GPT_EVENT: u32 = 0x8000_0006;
    /// A step of the boot, as text.
    pub const EFI_ACTION: u32 = 0x8000_0007;
    /// A firmware volume; the digest is of its contents.
    pub const EFI_PLATFORM_FIRMWARE_BLOB: u32 = 0x8000_0008;
    /// The certificate or hash that let an image pass.
    pub const EFI_VARIABLE_AUTHORITY: u32 = 0x8000_00e0;
}

const TPM_ALG_SHA256: u16 = 0x000b;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The PCR, 0 to 23.
    pub pcr: u32,
    /// The type; one of [`kind`] in a right log.
    pub kind: u32,
    /// What the PCR was extended with.
    pub digest: [u8; 32],
    /// The event's data.
    pub data: Vec<u8>,
}

impl Event {
    /// An event whose digest is of its data.
    pub fn of_data(pcr: u32, kind: u32, data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        Self { pcr, kind, digest: sha256(&data), data }
    }

    /// An event whose digest is of something else, which the data describes.
    pub fn of(pcr: u32, kind: u32, measured: &[u8], data: impl Into<Vec<u8>>) -> Self {
        Self { pcr, kind, digest: sha256(measured), data: data.into() }
    }

    /// Writes the event behind those that a log has.
    pub fn append(&self, log: &Path) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        let file = OpenOptions::new().append(true).open(log);
        file.and_then(|mut file| file.write_all(&bytes)).with_context(|| format!("appending to {}", log.display()))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pcr.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&1_u32.to_le_bytes());
        out.extend_from_slice(&TPM_ALG_SHA256.to_le_bytes());
        out.extend_from_slice(&self.digest);
        push_sized(out, &self.data);
    }
}

/// A log: the `Spec ID Event03` header, then the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLog {
    /// The header's data (`TCG_EfiSpecIDEvent`).
    pub spec_id: Vec<u8>,
    /// The events in order.
    pub events: Vec<Event>,
}

impl BootLog {
    /// A log of these events under a right header.
    pub fn new(events: Vec<Event>) -> Self {
        Self { spec_id: spec_id_event03(), events }
    }

    /// The log as firmware writes it and Linux shows it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // The header is a TCG_PCR_EVENT of TPM 1.2: PCR, type, SHA-1 digest of zeros, data.
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(&kind::NO_ACTION.to_le_bytes());
        out.extend_from_slice(&[0; 20]);
        push_sized(&mut out, &self.spec_id);
        for event in &self.events {
            event.encode(&mut out);
        }
        out
    }

    /// What the PCRs hold after this log, starting from zeros; only PCRs that an event extends.
    pub fn replay(&self) -> BTreeMap<u32, [u8; 32]> {
        let mut pcrs = BTreeMap::new();
        for event in self.extending() {
            let value = pcrs.entry(event.pcr).or_insert([0; 32]);
            *value = sha256(&[*value, event.digest].concat());
        }
        pcrs
    }

    /// Extends the TPM's PCRs by every event, as the firmware would have done.
    pub fn extend_into(&self, tcti: &str) -> anyhow::Result<()> {
        let mut tpm = tpm_commands::connect(tcti)?;
        for event in self.extending() {
            tpm_commands::extend(&mut tpm, event.pcr, event.digest)
                .with_context(|| format!("extending PCR {}", event.pcr))?;
        }
        Ok(())
    }

    /// Writes the log, whole or not at all.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let draft = path.with_extension("draft");
        std::fs::write(&draft, self.encode()).with_context(|| format!("writing {}", draft.display()))?;
        std::fs::rename(&draft, path).with_context(|| format!("naming {}", path.display()))
    }

    fn extending(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.kind != kind::NO_ACTION)
    }
}

/// `TCG_EfiSpecIDEvent` (§10.4.5.1) of a 64-bit platform with one bank, SHA-256.
fn spec_id_event03() -> Vec<u8> {
    let mut out = b"Spec ID Event03\0".to_vec();
    out.extend_from_slice(&0_u32.to_le_bytes()); // platformClass: client
    out.extend_from_slice(&[0, 2, 106, 2]); // minor, major, errata, uintnSize in units of 32 bits
    out.extend_from_slice(&1_u32.to_le_bytes());
    out.extend_from_slice(&TPM_ALG_SHA256.to_le_bytes());
    out.extend_from_slice(&32_u16.to_le_bytes());
    out.push(0); // vendorInfoSize
    out
}

fn push_sized(out: &mut Vec<u8>, data: &[u8]) {
    // Saturating: no test makes an event of 4 GiB.
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_laid_out_as_the_profile_says() {
        let log = BootLog::new(vec![Event::of_data(7, kind::SEPARATOR, [0; 4])]).encode();
        // 32 bytes of frame and 33 of data, as in logs of real machines.
        assert_eq!(log[28..32], 33_u32.to_le_bytes());
        let event = &log[32 + 33..];
        assert_eq!(event[..4], 7_u32.to_le_bytes());
        assert_eq!(event[4..8], 4_u32.to_le_bytes());
        assert_eq!(event[8..12], 1_u32.to_le_bytes());
        assert_eq!(event[12..14], [0x0b, 0]);
        assert_eq!(hex::encode(&event[14..46]), "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119");
        assert_eq!(event[46..], [4, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn events_that_take_no_action_do_not_extend() {
        let silent = Event::of_data(0, kind::NO_ACTION, *b"StartupLocality\0\x03");
        assert!(BootLog::new(vec![silent]).replay().is_empty());
    }

    /// A separator alone gives the value that real machines show in PCR 3 and 6.
    #[test]
    fn replay_gives_the_known_value() {
        let pcrs = BootLog::new(vec![Event::of_data(3, kind::SEPARATOR, [0; 4])]).replay();
        assert_eq!(hex::encode(pcrs[&3]), "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969");
    }
}
